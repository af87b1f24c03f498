"""Files that others wrote, read within bounds: regular files of some bytes, and YAML whose values stay text.

A pipe in the place of a file would wait for ever, a device never ends, and a few lines of YAML aliases may stand for a
billion values; all that is refused by name before it costs time or memory. Nothing in a YAML file runs, and all its
faults are reported at once, each with its line.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from serbench.errors import ConfigError, Fault

Place = tuple[str | int, ...]
"""Keys and numbers that lead to a value of a file."""

MOST_BYTES = 2**20
"""Bytes of a YAML file."""

MOST_VALUES = 20_000
"""Blocks, lists and values of a YAML file; aliases count as often as they stand for something."""

DEEPEST = 20
"""Blocks within blocks; an entry of a corpus needs four."""

# Tabs and line ends may be in text; other control characters and halves of characters are in no file name or table.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")


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
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        raise OSError(errno.EINVAL, f"{kinds.get(stat.S_IFMT(found.st_mode), 'a device')}, not a file")
    if at_most is not None and found.st_size > at_most:
        raise OSError(errno.EFBIG, f"{found.st_size} bytes, at most {at_most} are read")


def read_whole(path: Path, *, at_most: int) -> bytes:
    """Read a regular file of `at_most` bytes.

    Raises
    ------
    OSError : no such file, no file, or a larger one.
    """
    check_regular(path, at_most=at_most)
    with path.open("rb") as file:
        content = file.read(at_most + 1)  # some files of the system claim 0 bytes and go on
    if len(content) > at_most:
        raise OSError(errno.EFBIG, f"more than {at_most} bytes, at most {at_most} are read")
    return content


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file: its entries as nested text, and the line of each place in it."""

    name: str
    folder: Path
    entries: dict[str, Any]
    lines: dict[Place, int]

    def where(self, place: Place) -> str:
        """Word a place, e.g. `corpora.yaml: emodb.labels.pattern (line 12)`."""
        line = next((self.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.lines), None)
        return _at(self.name, place, line)


def parse_document(path: Path, *, holds: str = "corpora", loader: Any = yaml.BaseLoader) -> Document:
    """Parse a YAML file into nested text with line numbers.

    Parameters
    ----------
    holds : what the file is about, for messages.
    loader : with `yaml.BaseLoader`, `01`, `no` and `1e3` stay text; with `yaml.SafeLoader`, values have types.

    Raises
    ------
    ConfigError : with all faults; a key given twice is one.
    """
    try:
        text = read_whole(path, at_most=MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise ConfigError([Fault(str(path), found, f"a YAML file of {holds}")]) from error
    except ValueError as error:
        raise ConfigError([Fault(path.name, str(error), "text in UTF-8", "Save it as UTF-8")]) from error
    return parse_text(text, path.name, path.resolve().parent, holds=holds, loader=loader)


def parse_text(
    text: str, name: str, folder: Path, *, holds: str = "corpora", loader: Any = yaml.BaseLoader
) -> Document:
    """Parse the text of a YAML file, as `parse_document` does; `name` and `folder` are those of the file."""
    lines: dict[Place, int] = {}
    faults: list[Fault] = []
    try:
        node = yaml.compose(text, Loader=loader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two for numbers that make no character
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or (str(error).splitlines() or [type(error).__name__])[0]
        found = f"{problem} on line {mark.line + 1}, column {mark.column + 1}" if mark else problem
        raise ConfigError([Fault(name, found, "YAML", "Correct this line")]) from error
    except RecursionError as error:
        raise ConfigError([Fault(name, "blocks nested without end", "a few levels")]) from error

    def plain(node: yaml.Node, place: Place) -> Any:
        lines.setdefault(place, node.start_mark.line + 1)
        if len(place) > DEEPEST or len(lines) > MOST_VALUES:
            found = "blocks nested without end" if len(place) > DEEPEST else f"more than {MOST_VALUES} values"
            todo = "Write blocks out instead of anchors that contain one another"
            raise ConfigError([Fault(_at(name, (), lines[place]), found, f"{DEEPEST} levels at most", todo)])
        faults.extend(_oddities(node, _at(name, place, node.start_mark.line + 1)))
        if isinstance(node, yaml.SequenceNode):
            return [plain(child, (*place, i)) for i, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            try:
                return loader("").construct_object(node)
            except (yaml.YAMLError, ValueError, OverflowError):
                at, wanted = _at(name, place, lines[place]), "a value that YAML can read"
                faults.append(Fault(at, f"'{short(node.value)}'", wanted, "Put quotes around it"))
                return ""
        entries: dict[str, Any] = {}
        for key, child in node.value:
            inner, line = (*place, str(key.value)), key.start_mark.line + 1
            odd = list(_oddities(key, _at(name, place, line), is_key=True))
            if not odd and key.value in entries:
                found = f"the key '{short(key.value)}' a second time (first on line {lines[inner]})"
                odd = [Fault(_at(name, inner, line), found, "each key once", "Remove one of the two")]
            faults.extend(odd)
            if not odd:
                lines[inner] = line
                entries[key.value] = plain(child, inner)
        return entries

    entries = {} if node is None else plain(node, ())
    if not isinstance(entries, dict):
        faults.append(Fault(name, f"no block of {holds}", "`name:` lines with a block of fields each"))
    if faults:
        raise ConfigError(faults)
    return Document(name, folder, entries, lines)


def _oddities(node: yaml.Node, where: str, *, is_key: bool = False) -> Iterator[Fault]:
    """Faults of one node: a tag, a key that is no text, a character that no text has."""
    if node.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
        yield Fault(where, f"the tag '{short(node.tag)}'", "plain text, lists and blocks", "Remove it")
    elif is_key and not isinstance(node, yaml.ScalarNode):
        yield Fault(where, "a key that is a list or a block", "plain text before the colon", "Put quotes around it")
    elif isinstance(node, yaml.ScalarNode) and (odd := _UNPRINTABLE.search(node.value)):
        yield Fault(where, f"the character U+{ord(odd[0]):04X}", "characters that can be printed", "Remove it")


def _at(name: str, place: Place, line: int | None) -> str:
    dotted = ".".join(short(str(part)) for part in place)
    if not dotted:
        return f"{name}, line {line}" if line else name
    return f"{name}: {dotted}" + (f" (line {line})" if line else "")


def short(text: str) -> str:
    """Cut a text that a message repeats after 80 characters."""
    return text if len(text) <= 80 else f"{text[:80]}..."
