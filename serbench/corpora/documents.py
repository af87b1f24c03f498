"""Files that others wrote, read within bounds: regular files of some bytes, YAML whose values stay text, and folders.

Pipes, devices, tags and aliases without end are refused by name; all faults of a YAML file are reported at once.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

import yaml

from serbench.errors import ConfigError, CorpusError, Fault, listed, printable

KeyPath = tuple[str | int, ...]  # keys and numbers that lead to a value of a file

MOST_BYTES = 2**20  # of a YAML file
MOST_VALUES = 20_000  # of a YAML file: blocks, lists and texts; aliases count as often as they stand for something
DEEPEST = 20  # blocks within blocks; an entry of a corpus needs four
MOST_FILES = 1_000_000  # that a glob of a corpus may match

# Tabs and line ends may be in text; other control characters and halves of characters are in no file name or table.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")  # of values without a tag


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
    lines: dict[KeyPath, int]

    def where(self, place: KeyPath, *, line: int | None = None) -> str:
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
        raise ConfigError(str(path), found, f"a YAML file of {holds}") from error
    except ValueError as error:
        raise ConfigError(path.name, str(error), "text in UTF-8", "Save it as UTF-8") from error
    return parse_text(text, path.name, path.resolve().parent, holds=holds, loader=loader)


def parse_text(
    text: str, name: str, folder: Path, *, holds: str = "corpora", loader: Any = yaml.BaseLoader
) -> Document:
    """Parse the text of a YAML file, as `parse_document` does; `name` and `folder` are those of the file."""
    try:
        root = yaml.compose(text, Loader=loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        found = "blocks nested without end" if isinstance(error, RecursionError) else problem.partition("\n")[0]
        found += f" on line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        quoted = "Put single quotes around the text: in double quotes, a backslash begins a character of YAML's own"
        raise ConfigError(name, found, "YAML", quoted if "unknown escape" in found else "Correct this line") from error
    document, faults = Document(name, folder, {}, {}), list[Fault]()
    lines, values = document.lines, loader("")

    def fault(node: yaml.Node, place: KeyPath, *words: str) -> None:
        faults.append(Fault(document.where(place, line=node.start_mark.line + 1), *words))

    def plain(node: yaml.Node, place: KeyPath) -> Any:
        line = lines.setdefault(place, node.start_mark.line + 1)
        if len(place) > DEEPEST or len(lines) > MOST_VALUES:
            found = "blocks nested without end" if len(place) > DEEPEST else f"more than {MOST_VALUES} values"
            todo = "Write blocks out instead of anchors that contain one another"
            raise ConfigError(document.where((), line=line), found, f"{DEEPEST} levels at most", todo)
        if node.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
            fault(node, place, f"the tag '{short(node.tag)}'", "plain text, lists and blocks", "Remove it")
            return {} if place == () else ""
        if isinstance(node, yaml.ScalarNode) and (odd := _UNPRINTABLE.search(node.value)):
            fault(node, place, f"the character U+{ord(odd[0]):04X}", "characters that can be printed", "Remove it")
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
            inner = (*place, str(key.value))
            plain(key, place)
            if not isinstance(key, yaml.ScalarNode):
                expected = "plain text before the colon"
                fault(key, place, "a key that is a list or a block", expected, "Put quotes around it")
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
        """Return the files that globs match, sorted. Only a step with a dot matches hidden names.

        `**` enters links to folders, except to a folder above. A link that leads out of a fenced root is refused.
        """
        found: set[str] = set()
        for glob in globs:
            plain = re.split(r"[*?[]", glob)[0].rpartition("/")[0]
            self._refuse_outside([glob] if self._outside(plain or "/" * glob.startswith("/")) else [], key)
            try:
                if not set(glob) - set("./") or ".." in glob[len(plain) :].split("/"):
                    raise ValueError("it names no file, or has '..' after a wildcard")
                paths = list(itertools.islice(self._matches(glob), MOST_FILES + 1))
                if len(paths) > MOST_FILES:
                    raise ValueError(f"more than {MOST_FILES} files and folders")
            except (ValueError, NotImplementedError, RecursionError) as error:
                problem, todo = f"the glob '{short(glob)}' cannot be used ({error})", "Correct the glob, or `root`"
                raise CorpusError(f"{self.where}.{key}", problem, "a glob below the root", todo) from error
            hidden = r"(^|/)\.[^./]"
            found |= {name for name in paths if re.search(hidden, glob) or not re.search(hidden, name)}
        out = {folder for folder in {path.rpartition("/")[0] for path in found} if self._outside(folder)}
        odd = [path for path in found if path.rpartition("/")[0] in out or os.path.islink(self.root / path)]
        self._refuse_outside(odd, key)
        return sorted(found)

    def _matches(self, glob: str) -> Iterator[str]:
        """Yield the files that a glob matches, and the links in the way of its `**` that lead out of a fenced root."""
        glob, base = re.sub(r"(?<![^/])(\./+)+", "", glob), Path("/") if glob.startswith("/") else self.root

        def named(path: Path) -> str:
            return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()

        files = base.glob(re.sub(r"\*\*$", "**/*", glob).lstrip("/"))
        yield from (named(path) for path in files if not os.path.isdir(path))
        for stars in re.finditer(r"(?<![^/])\*\*(?=/|$)", glob):
            above = glob[: stars.start()].lstrip("/")
            for start in base.glob(above) if above else [base]:
                folders = (Path(place, name) for place, names, _ in os.walk(start) for name in names)
                for link in filter(os.path.islink, folders):
                    if self._outside(named(link)):
                        yield named(link)
                    elif os.path.realpath(link) not in map(os.path.realpath, Path(os.path.normpath(link)).parents):
                        yield from self._matches(f"{escape(named(link))}/{glob[stars.start() :]}")

    def _outside(self, path: str) -> str:
        """Return where a path leads, links followed, if that is out of a fenced root."""
        target = os.path.realpath(os.path.join(self.root, path)) if self.fenced else ""
        return "" if not target or Path(target).is_relative_to(os.path.realpath(self.root)) else target

    def _refuse_outside(self, paths: Iterable[str], key: str) -> None:
        """Refuse paths that lead out of the root, unless the entry allows it."""
        out = {path: target for path in sorted(paths) if (target := self._outside(path))}
        if not out:
            return
        first = printable(next(iter(out.values())))
        annex = " (git-annex keeps contents there)" if f"{os.sep}annex{os.sep}" in first else ""
        lead = "1 path leads" if len(out) == 1 else f"{len(out)} paths lead"
        found = f"{lead} out of the corpus' folder ({listed(map(printable, out))}), the first to {first}{annex}"
        todo = "Copy them into it or correct `root`; `outside: allow` in the corpus' entry reads them where they are"
        within = f"paths within {printable(os.path.realpath(self.root))}"
        raise CorpusError(f"{self.where}.{key}", found, within, todo)
