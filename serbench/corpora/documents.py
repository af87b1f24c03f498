"""Files that others wrote, read within bounds: regular files of some bytes, YAML whose values stay text, and folders.

A pipe in the place of a file would wait for ever, a device never ends, and a few lines of YAML aliases may stand for a
billion values; all that is refused by name before it costs time or memory. Nothing in a YAML file runs, and all its
faults are reported at once, each with its line.
"""

from __future__ import annotations

import errno
import fnmatch
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from serbench.errors import ConfigError, CorpusError, Fault, listed, printable

Place = tuple[str | int, ...]  # keys and numbers that lead to a value of a file

MOST_BYTES = 2**20  # of a YAML file
MOST_VALUES = 20_000  # of a YAML file: blocks, lists and texts; aliases count as often as they stand for something
DEEPEST = 20  # blocks within blocks; an entry of a corpus needs four
MOST_ENTRIES = 2_000_000  # files and folders that a glob of a corpus looks at
MOST_STEPS, MOST_STARS = 64, 3  # of a glob, and folders within each other: the time of a match grows with their power

# Tabs and line ends may be in text; other control characters and halves of characters are in no file name or table.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")


def check_regular(path: Path, *, at_most: int | None = None) -> None:
    """Check that a path leads to a regular file of `at_most` bytes, or raise OSError; opening a pipe would wait."""
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
    """Read a regular file of `at_most` bytes, or raise OSError."""
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

    def where(self, place: Place, *, line: int | None = None) -> str:
        """Word a place, e.g. `corpora.yaml: emodb.labels.pattern (line 12)`; its line or that of the nearest block."""
        for n in range(len(place), 0, -1):
            line = line or self.lines.get(place[:n])
        if place:
            return f"{self.name}: {'.'.join(short(str(part)) for part in place)}" + (f" (line {line})" if line else "")
        return f"{self.name}, line {line}" if line else self.name


def parse_document(path: Path, *, holds: str = "corpora", loader: Any = yaml.BaseLoader) -> Document:
    """Parse a YAML file into nested text with line numbers, or raise ConfigError with all faults.

    With `yaml.BaseLoader`, `01`, `no` and `1e3` stay text; with `yaml.SafeLoader`, values have types. `holds` is for
    messages: what the file is about.
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
    faults: list[Fault] = []
    document = Document(name, folder, {}, {})
    lines, values = document.lines, loader("")
    try:
        root = yaml.compose(text, Loader=loader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two for numbers that make no character
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or (str(error).splitlines() or [type(error).__name__])[0]
        found = f"{problem} on line {mark.line + 1}, column {mark.column + 1}" if mark else problem
        raise ConfigError([Fault(name, found, "YAML", "Correct this line")]) from error
    except RecursionError as error:
        raise ConfigError([Fault(name, "blocks nested without end", "a few levels")]) from error

    def fault(node: yaml.Node, place: Place, *words: str) -> None:
        faults.append(Fault(document.where(place, line=node.start_mark.line + 1), *words))

    def check(node: yaml.Node, place: Place) -> None:
        """Report a tag, and a character that no text has."""
        if node.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
            fault(node, place, f"the tag '{short(node.tag)}'", "plain text, lists and blocks", "Remove it")
        elif isinstance(node, yaml.ScalarNode) and (odd := _UNPRINTABLE.search(node.value)):
            fault(node, place, f"the character U+{ord(odd[0]):04X}", "characters that can be printed", "Remove it")

    def plain(node: yaml.Node, place: Place) -> Any:
        line = lines.setdefault(place, node.start_mark.line + 1)
        if len(place) > DEEPEST or len(lines) > MOST_VALUES:
            found = "blocks nested without end" if len(place) > DEEPEST else f"more than {MOST_VALUES} values"
            todo = "Write blocks out instead of anchors that contain one another"
            raise ConfigError([Fault(document.where((), line=line), found, f"{DEEPEST} levels at most", todo)])
        check(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [plain(child, (*place, i)) for i, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            try:
                return values.construct_object(node)
            except (yaml.YAMLError, ValueError, OverflowError):
                fault(node, place, f"'{short(node.value)}'", "a value that YAML can read", "Put quotes around it")
                return ""
        entries: dict[str, Any] = {}
        for key, child in node.value:
            check(key, place)
            inner = (*place, str(key.value))
            if not isinstance(key, yaml.ScalarNode):
                fault(
                    key, place, "a key that is a list or a block", "plain text before the colon", "Put quotes around it"
                )
            elif key.value in entries:
                found = f"the key '{short(key.value)}' a second time (first on line {lines[inner]})"
                fault(key, inner, found, "each key once", "Remove one of the two")
            else:
                lines[inner] = key.start_mark.line + 1
                entries[key.value] = plain(child, inner)
        return entries

    entries = {} if root is None else plain(root, ())
    if not isinstance(entries, dict):
        faults.append(Fault(name, f"no block of {holds}", "`name:` lines with a block of fields each"))
    if faults:
        raise ConfigError(faults)
    document.entries.update(entries)
    return document


def number_of(text: str) -> float:
    """Return the number that a text is, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def short(text: str) -> str:
    """Cut a text that a message repeats after 80 characters."""
    return text if len(text) <= 80 else f"{text[:80]}..."


@dataclass(frozen=True, slots=True)
class Folder:
    """A corpus' root; `fenced` means that nothing outside may be read, `where` names the entry in messages."""

    root: Path
    where: str
    fenced: bool

    def file(self, path: str, *, key: str) -> Path:
        """Return where a file lies that the entry names under `key`; CorpusError where that is out of the root."""
        self._refuse_outside([path], key)
        return self.root / path

    def files(self, globs: Sequence[str], *, key: str) -> list[str]:
        """Return the paths that match globs as Python's `glob` means them: below the root, sorted, without folders."""
        found = {path for glob in globs for path in self._matches(glob, f"{self.where}.{key}")}
        # What is no link is inside, as only folders inside are walked; a glob itself is there where it starts outside.
        self._refuse_outside((path for path in found if path in globs or os.path.islink(f"{self.root}/{path}")), key)
        return sorted(found)

    def _matches(self, glob: str, where: str) -> Iterator[str]:
        """Yield the files that match, and links to folders outside that may hold some."""
        steps = [step for step in glob.split("/") if step not in ("", ".")]
        steps = [step for i, step in enumerate(steps) if step != "**" or steps[i - 1 : i] != ["**"]]
        if not steps:
            return
        if len(steps) > MOST_STEPS or steps.count("**") > MOST_STARS:
            wanted = f"at most {MOST_STEPS} steps, {MOST_STARS} of them '**'"
            raise CorpusError([Fault(where, f"the glob '{short(glob)}'", wanted, "Correct `root` or the glob")])
        n_plain = next((i for i, step in enumerate(steps) if set("*?[") & set(step)), len(steps) - 1)
        prefix, steps = ("/" if glob.startswith("/") else "") + "/".join(steps[:n_plain]), steps[n_plain:]
        if prefix and self.fenced and self._outside(prefix):
            yield glob
            return
        heads = [steps[:n] for n in range(1, len(steps))] + ([steps] if steps[-1:] == ["**"] else [])
        start, n_seen = os.path.join(self.root, prefix), 0
        for place, folders, files in os.walk(start, followlinks=True):
            below = [part for part in place[len(start) :].split(os.sep) if part]
            n_seen += len(folders) + len(files)
            if n_seen > MOST_ENTRIES or len(below) > MOST_STEPS:
                found = f"more than {MOST_ENTRIES} files and folders"
                found = f"more than {MOST_STEPS} folders within each other" if len(below) > MOST_STEPS else found
                raise CorpusError([Fault(where, found, "a corpus", "Narrow the glob, or correct `root`")])
            before = "".join(f"{part}/" for part in (prefix, *below) if part).replace("//", "/")
            if _fits(below, steps if steps[-1] == "**" else steps[:-1]):
                shown = [name for name in files if steps[-1].startswith(".") or not name.startswith(".")]
                yield from (before + name for name in fnmatch.filter(shown, steps[-1]))
            folders[:] = [name for name in folders if any(_fits([*below, name], head) for head in heads)]
            for path in [path for name in folders if os.path.islink(path := os.path.join(place, name))]:
                above = {os.path.realpath(os.path.join(start, *below[:n])) for n in range(len(below) + 1)}
                leads_out = bool(self.fenced and self._outside(path))
                if leads_out:
                    yield before + os.path.basename(path)
                if leads_out or os.path.realpath(path) in above:  # a link to a folder above goes round for ever
                    folders.remove(os.path.basename(path))

    def _outside(self, path: str) -> str:
        """Return where a path leads, links followed, if that is out of the root."""
        target = os.path.realpath(os.path.join(self.root, path))
        return "" if Path(target).is_relative_to(os.path.realpath(self.root)) else target

    def _refuse_outside(self, paths: Iterable[str], key: str) -> None:
        """Refuse paths that lead out of the root, unless the entry allows it."""
        out = {path: target for path in sorted(paths) if self.fenced and (target := self._outside(path))}
        if not out:
            return
        first = printable(next(iter(out.values())))
        annex = " (git-annex keeps contents there)" if f"{os.sep}annex{os.sep}" in first else ""
        lead = "1 path leads" if len(out) == 1 else f"{len(out)} paths lead"
        found = f"{lead} out of the corpus' folder ({listed(map(printable, out))}), the first to {first}{annex}"
        todo = "Copy them into it or correct `root`; `outside: allow` in the corpus' entry reads them where they are"
        within = f"paths within {printable(os.path.realpath(self.root))}"
        raise CorpusError([Fault(f"{self.where}.{key}", found, within, todo)])


def _fits(path: Sequence[str], glob: Sequence[str]) -> bool:
    """Match the steps of a path: `**` is any number of folders, and a hidden name needs a step with its dot."""
    if not path or not glob:
        return not path and list(glob) in ([], ["**"])
    hidden = path[0].startswith(".") and not glob[0].startswith(".")
    if glob[0] == "**":
        return _fits(path, glob[1:]) or (not hidden and _fits(path[1:], glob))
    return not hidden and fnmatch.fnmatchcase(path[0], glob[0]) and _fits(path[1:], glob[1:])
