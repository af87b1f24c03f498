"""What lies in a corpus' folder: globs that end, and the fence around the folder.

A glob means what Python's `glob` means by it, hidden files apart, but each folder is looked at once however often `**`
stands in the glob, and a link to a folder above is not followed again. Paths are given as they stand below the root;
where they lead is held against the root with links followed on both sides.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serbench.errors import CorpusError, Fault, listed, printable

MOST_ENTRIES = 2_000_000
"""Files and folders that the globs of a corpus look at, at most."""

LONGEST_GLOB = 4096
"""Characters of a glob."""

MOST_PARTS = 64
"""Steps of a glob from its first wildcard."""

_MAGIC = re.compile(r"[*?\[]")

Part = str | Callable[[str], object]
"""One step of a glob: a name, `**`, or what tells whether a name matches."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A corpus' root; `fenced` says that nothing outside of it may be read, `where` names the entry in messages."""

    root: Path
    where: str
    fenced: bool
    real: str = field(init=False)
    _folders: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "real", os.path.realpath(self.root))

    def files(self, globs: Iterable[str], *, key: str) -> list[str]:
        """Return the paths that match, below the root and sorted; folders are left out.

        Raises
        ------
        CorpusError : some lead out of the root, or there are too many entries; `key` is the field of the globs.
        """
        walk = _Walk(self, f"{self.where}.{key}")
        found = {path: is_sure for pattern in globs for path, is_sure in walk.matches(pattern)}
        self._refuse([*walk.left, *(path for path, is_sure in found.items() if not is_sure)], key=key)
        return sorted(path.replace(os.sep, "/") for path in found)

    def file(self, path: str, *, key: str) -> Path:
        """Return where a file of the entry lies.

        Raises
        ------
        CorpusError : outside the root.
        """
        self._refuse([path], key=key)
        return self.root / path

    def leads_out(self, path: str) -> bool:
        """Tell whether a path leads out of the root."""
        real = self.target(path)
        return real != self.real and not real.startswith(self.real.rstrip(os.sep) + os.sep)

    def target(self, path: str) -> str:
        """Return where a path leads; the folders on the way are resolved once."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(os.path.join(self.root, folder))
        whole = os.path.join(self._folders[folder], name)
        return os.path.realpath(whole) if os.path.islink(whole) or name in ("..", ".") else whole

    def _refuse(self, given: Sequence[str], *, key: str) -> None:
        """Refuse paths that lead out of the root, unless the entry allows it."""
        if not self.fenced:
            return
        out = sorted({path for path in given if self.leads_out(path)})
        if not out:
            return
        annex = " (git-annex keeps contents there)" if f"{os.sep}annex{os.sep}" in self.target(out[0]) else ""
        paths = "1 path leads" if len(out) == 1 else f"{len(out)} paths lead"
        found = f"{paths} out of the corpus' folder ({listed(map(printable, out))}), the first to "
        found += f"{printable(self.target(out[0]))}{annex}"
        todo = "Copy them into it or correct `root`; `outside: allow` in the corpus' entry reads them where they are"
        raise CorpusError([Fault(f"{self.where}.{key}", found, f"paths within {printable(self.real)}", todo)])


class _Walk:
    """Walks a corpus' folder for one field of its entry; `left` collects links to folders outside that it met."""

    def __init__(self, folder: Folder, where: str) -> None:
        self.folder = folder
        self.where = where
        self.left: list[str] = []
        self.n_entries = 0

    def matches(self, pattern: str) -> Iterator[tuple[str, bool]]:
        """Yield the paths that match, and for each whether it surely lies where the walk is: links do not."""
        prefix, written = _split(pattern)
        if len(pattern) > LONGEST_GLOB or len(written) > MOST_PARTS or ".." in written:
            shown = pattern if len(pattern) < 80 else f"{pattern[:80]}..."
            wanted = f"a glob of at most {MOST_PARTS} steps, without '..' after a wildcard"
            raise CorpusError([Fault(self.where, f"'{shown}'", wanted, "Correct `root` or the glob")])
        start = os.path.join(self.folder.root, prefix)
        if not written:
            if os.path.lexists(start) and not os.path.isdir(start):
                yield prefix, False
        elif prefix and self.folder.fenced and self.folder.leads_out(prefix):
            self.left.append(prefix)
        elif os.path.isdir(start):
            yield from self._below(prefix, list(map(_part, written)))

    def _below(self, prefix: str, parts: Sequence[Part]) -> Iterator[tuple[str, bool]]:
        """Walk the folders below one; states are the steps of the glob that may come next."""
        real = os.path.realpath(os.path.join(self.folder.root, prefix))
        todo: list[tuple[str, frozenset[int], tuple[str, ...]]] = [(prefix, _closed(parts, {0}), (real,))]
        while todo:
            place, states, above = todo.pop()
            for entry in self._entries(place):
                after = _closed(parts, _advanced(parts, states, entry.name))
                path = os.path.join(place, entry.name)
                if not after:
                    continue
                if not _is_folder(entry):
                    if len(parts) in after:
                        yield path, not entry.is_symlink()
                elif (deeper := after - {len(parts)}) and self._may_enter(path, entry):
                    real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above[-1], entry.name)
                    if real not in above:  # else a link to a folder above, which goes round for ever
                        todo.append((path, deeper, (*above, real)))

    def _may_enter(self, path: str, entry: os.DirEntry[str]) -> bool:
        if entry.is_symlink() and self.folder.fenced and self.folder.leads_out(path):
            self.left.append(path)
            return False
        return True

    def _entries(self, place: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(os.path.join(self.folder.root, place)) as entries:
                found = list(entries)
        except OSError:  # no right to look: what lies there counts as not there, as it does for Python's glob
            return []
        self.n_entries += len(found)
        if self.n_entries > MOST_ENTRIES:
            todo = "Narrow the glob, or correct `root`; links to folders count as often as they are followed"
            found_text = f"more than {MOST_ENTRIES} files and folders to look at"
            raise CorpusError([Fault(self.where, found_text, "a corpus", todo)])
        return found


def _split(pattern: str) -> tuple[str, list[str]]:
    """Part a glob into the path before its first wildcard and the steps from there, `**` once where it is doubled."""
    steps = [step for step in pattern.split("/") if step not in ("", ".")]
    steps = [step for i, step in enumerate(steps) if step != "**" or steps[i - 1 : i] != ["**"]]
    n_plain = next((i for i, step in enumerate(steps) if _MAGIC.search(step)), len(steps))
    return ("/" if pattern.startswith("/") else "") + "/".join(steps[:n_plain]), steps[n_plain:]


def _part(text: str) -> Part:
    """Return what a step of a glob asks of a name; wildcards do not stand for the dot of a hidden name."""
    if text == "**" or not _MAGIC.search(text):
        return text
    return re.compile(("" if text.startswith(".") else r"(?!\.)") + fnmatch.translate(text)).match


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _closed(parts: Sequence[Part], states: Iterable[int]) -> frozenset[int]:
    """Add the steps that come next when `**` stands for no folder at all."""
    every = set(states)
    for state in sorted(every):
        while state < len(parts) and parts[state] == "**":
            state += 1
            every.add(state)
    return frozenset(every)


def _advanced(parts: Sequence[Part], states: Iterable[int], name: str) -> set[int]:
    """Return the steps that may come after an entry of this name; hidden entries only match a step that shows it."""
    after = set()
    for state in states:
        part = parts[state] if state < len(parts) else None
        if part == "**" and not name.startswith("."):
            after.add(state)
        elif isinstance(part, str):
            after |= {state + 1} if part == name else set()
        elif part is not None and part(name):
            after.add(state + 1)
    return after
