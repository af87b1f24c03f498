"""YAML files that others wrote -> `Document`: bounded in size, depth and number of values, each with its line.

Aliases count as often as they stand for something. Nothing in a file runs: tags, merge keys, keys that are no text and
characters that cannot be printed are faults, and all faults of a file are reported at once.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from serbench.errors import ConfigError, Fault

Place = tuple[str | int, ...]
"""Keys and numbers that lead to a value of a file."""

ValueOf = Callable[[yaml.Node], Any]
"""What reads a scalar of a file."""

MOST_BYTES = 2**20
"""Bytes of a file."""

MOST_VALUES = 20_000
"""Blocks, lists and values of a file, at most; aliases count as often as they stand for something."""

DEEPEST = 20
"""Blocks within blocks; a corpus' entry needs four."""

# Tabs and line ends may stand in text; other control characters and halves of characters end in no file name or table.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_TAG = "tag:yaml.org,2002:"
_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_regular(path: Path, *, at_most: int | None = None) -> None:
    """Check that a path leads to a regular file of `at_most` bytes, without opening it: opening a pipe waits.

    Raises
    ------
    OSError : it does not; `strerror` says what is there.
    """
    try:
        found = os.stat(path)
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, f"no name of a file: {error}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = next((word for is_kind, word in _KINDS if is_kind(found.st_mode)), "something else")
        raise OSError(errno.EINVAL, f"{kind}, not a file")
    if at_most is not None and found.st_size > at_most:
        raise _too_large(f"{found.st_size} bytes", at_most)


def read_whole(path: Path, *, at_most: int) -> bytes:
    """Read a regular file of `at_most` bytes.

    Raises
    ------
    OSError : no such file, no file, or a larger one.
    """
    check_regular(path, at_most=at_most)
    with path.open("rb") as file:
        content = file.read(at_most + 1)  # some files of the system say 0 bytes and go on
    if len(content) > at_most:
        raise _too_large(f"more than {at_most} bytes", at_most)
    return content


def _too_large(found: str, at_most: int) -> OSError:
    return OSError(errno.EFBIG, f"{found}, at most {at_most} are read")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file: its entries as nested strings, and the line of each place in it."""

    name: str
    folder: Path
    entries: dict[str, Any]
    lines: dict[Place, int]

    def where(self, place: Place) -> str:
        """Word a place, e.g. `corpora.yaml: emodb.labels.pattern (line 12)`."""
        line = next((self.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.lines), None)
        dotted = ".".join(short(str(part)) for part in place)
        return f"{self.name}: {dotted}" + (f" (line {line})" if line else "")


def text_of(node: yaml.Node) -> str:
    """Return a scalar as the text that stands in the file: `01`, `no` and `1e3` stay."""
    return str(node.value)


def typed_value_of(node: yaml.Node) -> Any:
    """Return a scalar as YAML 1.1 reads it: a number, text, a truth value."""
    return yaml.constructor.SafeConstructor().construct_object(node)


def parse_document(
    path: Path, *, holds: str = "corpora", loader: Any = yaml.SafeLoader, value_of: ValueOf = text_of
) -> Document:
    """Parse a YAML file into nested strings with line numbers; duplicate keys are faults.

    `holds` says in messages what the file is about. `value_of` reads a scalar; by default it stays text.
    """
    try:
        text = read_whole(path, at_most=MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise ConfigError([Fault(str(path), found, f"a YAML file of {holds}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Fault(path.name, _yaml_problem(error), "text in UTF-8", "Save it as UTF-8")]) from error
    except ValueError as error:
        raise ConfigError([Fault(path.name, _yaml_problem(error), "YAML", "Mend this line")]) from error
    return parse_text(text, path.name, path.resolve().parent, holds=holds, loader=loader, value_of=value_of)


def parse_text(
    text: str,
    name: str,
    folder: Path,
    *,
    holds: str = "corpora",
    loader: Any = yaml.SafeLoader,
    value_of: ValueOf = text_of,
) -> Document:
    """Parse the text of a YAML file, as `parse_document` does; `name` and `folder` are those of the file."""
    try:
        node = yaml.compose(text, Loader=loader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two for numbers that make no character
        raise ConfigError([Fault(name, _yaml_problem(error), "YAML", "Mend this line")]) from error
    except RecursionError as error:
        raise ConfigError([Fault(name, "blocks nested without end", "a few levels")]) from error
    lines: dict[Place, int] = {}
    faults: list[Fault] = []
    entries = _plain(node, (), name, lines, faults, value_of) if node is not None else {}
    if not isinstance(entries, dict):
        faults.append(Fault(name, f"no block of {holds}", "`name:` lines with a block of fields each"))
    if faults:
        raise ConfigError(faults)
    return Document(name, folder, entries, lines)


def _plain(
    node: yaml.Node, place: Place, name: str, lines: dict[Place, int], faults: list[Fault], value_of: ValueOf
) -> Any:
    """Turn a YAML node into nested dicts, lists and scalars, noting lines and what plain YAML does not have."""
    lines[place] = node.start_mark.line + 1
    if len(place) > DEEPEST or len(lines) > MOST_VALUES:
        found = "blocks nested without end" if len(place) > DEEPEST else f"more than {MOST_VALUES} values"
        todo = "Write blocks out instead of anchors that contain one another"
        raise ConfigError([Fault(f"{name}, line {lines[place]}", found, f"{DEEPEST} levels at most", todo)])
    faults.extend(_oddities(node, place, name))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*place, i), name, lines, faults, value_of) for i, child in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        try:
            return value_of(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            wanted = "a value that YAML can read"
            faults.append(Fault(_at(name, place, node), f"'{short(str(node.value))}'", wanted, "Put quotes around it"))
            return ""
    entries: dict[str, Any] = {}
    for key_node, child in node.value:
        odd = list(_oddities(key_node, place, name, is_key=True))
        faults.extend(odd)
        if odd:
            continue
        key = str(key_node.value)
        inner = (*place, key)
        if key in entries:
            found = f"the key '{key}' a second time (first on line {lines[inner]})"
            faults.append(Fault(_at(name, inner, key_node), found, "each key once", "Remove one of the two"))
            continue
        entries[key] = _plain(child, inner, name, lines, faults, value_of)
        lines[inner] = key_node.start_mark.line + 1
    return entries


def _oddities(node: yaml.Node, place: Place, name: str, *, is_key: bool = False) -> Iterator[Fault]:
    """Faults of one node: a tag, a key that is no text or merges, a character that no text has."""
    where = _at(name, place, node)
    tag = str(node.tag)
    if tag.removeprefix(_TAG) not in _TAGS:
        yield Fault(where, f"the tag '{short(tag)}'", "plain text, lists and blocks", "Remove it")
    elif is_key and not isinstance(node, yaml.ScalarNode):
        yield Fault(where, "a key that is a list or a block", "plain text before the colon", "Put quotes around it")
    elif is_key and tag == f"{_TAG}merge":
        yield Fault(where, "the merge key '<<'", "fields written out", "Write the merged fields out")
    elif isinstance(node, yaml.ScalarNode) and (odd := _UNPRINTABLE.search(node.value)):
        yield Fault(where, f"the character U+{ord(odd[0]):04X}", "characters that can be printed", "Remove it")


def _at(name: str, place: Place, node: yaml.Node) -> str:
    dotted = ".".join(short(str(part)) for part in place)
    return (
        f"{name}: {dotted} (line {node.start_mark.line + 1})" if dotted else f"{name}, line {node.start_mark.line + 1}"
    )


def short(text: str) -> str:
    """Cut a text that a message repeats after 80 characters."""
    return text if len(text) <= 80 else f"{text[:80]}..."


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} on line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
    return (str(error).splitlines() or [type(error).__name__])[0]
