"""Results in an object store: a folder on this machine is worked on, and kept the same as a place such as s3://.

Object stores know neither renaming nor locks, so that one program, the coordinator, writes there: whole files, each
once it is finished. What a killed program had not put there yet is still in the folder, and goes there the next time.
Files that can be made of others (the mapped features), claims and temporary files stay here.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from serbench.errors import StoreError
from serbench.keys import digest
from serbench.sealed import write_atomically, write_text

PUT_S = 5.0
"""Seconds between two looks for finished files while a run goes on: what a lost machine loses, about."""

_STATE, _TRIAL = ".remote.json", ".serbench"
_OURS_ALONE = re.compile(r"(^|/)(\.|claims/|rows-[0-9a-f]+\.arrow$)")
_VERSION = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created", "size")
"""What file systems say of a file that changes with its content; each says some of them."""

Stat = tuple[int, int]
"""Size and time of change, in ns, of a file on this machine."""


def is_url(results: object) -> bool:
    """Say whether results are to lie elsewhere than in a folder.

    >>> is_url("s3://bucket/results"), is_url("s3:/typo"), is_url("results"), is_url("C:/results")
    (True, True, False, False)
    """
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/", str(results)) is not None and not Path(str(results)).exists()


@functools.cache
def mirror_of(url: str) -> Mirror:
    """Return the one mirror of a place in this process.

    Raises
    ------
    StoreError : fsspec or the package for this kind of place is not installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Mirror(url, cache / "serbench" / digest(url))


class Mirror:
    """A place for results, by its URL, and the folder on this machine that is kept the same.

    Processes and threads of this machine take turns in keeping it the same.
    """

    def __init__(self, url: str, folder: Path) -> None:
        if not re.fullmatch(r"[^:]+://.*[^/].*", url) or url.startswith("memory:"):
            expected = "a folder, or a URL that lasts, such as s3://bucket/results or gs://bucket/results"
            raise StoreError(url, "no place for results", expected)
        self.url, self.folder = url.rstrip("/"), folder
        with self._worded("opened"):
            from fsspec.core import url_to_fs

            folders = {"auto_mkdir": True} if self.url.startswith("file:") else {}  # object stores have none
            self._files, self._root = url_to_fs(self.url, **folders)
        self._turn = threading.RLock()
        self._pulled = float("-inf")
        self._is_tried = False

    def pull(self) -> None:
        """Fetch what has changed there, and forget what is there no more."""
        with self._remembering("read") as known:
            there = self._listing()
            for name, version in there.items():
                path = self.folder / name
                if (known.get(name) or [None])[0] != version or not path.is_file():
                    self._fetch(name, version, known)
            for name in set(known) - set(there):
                path = self.folder / name
                if path.is_file() and _stat(path) == tuple(known[name][1]):
                    path.unlink()
                del known[name]
        self._pulled = time.monotonic()

    def pull_now_and_then(self) -> None:
        """Fetch what has changed there, unless that was done a few seconds ago."""
        if time.monotonic() - self._pulled >= PUT_S:
            self.pull()

    def push(self) -> None:
        """Put finished files there that are new or have changed, and remove those that are gone here."""
        with self._remembering("written") as known:
            for path in self._own_files():
                self._put(path, known)
            for name in [name for name in known if not (self.folder / name).is_file()]:
                with contextlib.suppress(FileNotFoundError):  # gone there too
                    self._files.rm_file(f"{self._root}/{name}")
                del known[name]

    @contextlib.contextmanager
    def pushing(self) -> Iterator[None]:
        """Put finished files there every few seconds, and all of them in the end; only start and end must succeed."""
        if not self._is_tried:
            with self._worded("written"):
                self._files.pipe_file(f"{self._root}/{_TRIAL}", b"")  # before hours of work, not after them
            self._is_tried = True
        is_over = threading.Event()
        sender = threading.Thread(target=self._push_until, args=(is_over,), daemon=True)
        sender.start()
        try:
            yield
        finally:
            is_over.set()
            sender.join()
            self.push()

    def _push_until(self, is_over: threading.Event) -> None:
        is_told = False
        while not is_over.wait(PUT_S):
            try:
                self.push()
            except StoreError as error:  # a hiccup of the network must not end a run of hours
                if not is_told:
                    warnings.warn(f"{error} It is tried again every {PUT_S:g} seconds", stacklevel=2)
                is_told = True

    def _listing(self) -> dict[str, str]:
        """Names below the place, each with what tells its version."""
        self._files.invalidate_cache()
        start = len(self._root.rstrip("/")) + 1
        found = self._files.find(self._root, detail=True)
        names = {place[start:]: _version(info) for place, info in found.items()}
        return {name: version for name, version in names.items() if _is_shared(name)}

    def _fetch(self, name: str, version: str, known: dict[str, Any]) -> None:
        try:
            content = self._files.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:  # removed since it was listed
            known.pop(name, None)
            return
        path = self.folder / name
        write_atomically(path, lambda temporary: _write_bytes(temporary, content))
        known[name] = [version, _stat(path)]

    def _put(self, path: Path, known: dict[str, Any]) -> None:
        name = path.relative_to(self.folder).as_posix()
        try:
            stat = _stat(path)
        except FileNotFoundError:  # removed since it was listed
            return
        if name not in known or tuple(known[name][1]) != stat:
            place = f"{self._root}/{name}"
            self._files.put_file(str(path), place)
            known[name] = [_version(self._files.info(place, refresh=True)), stat]

    def _own_files(self) -> Iterator[Path]:
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and _is_shared(path.relative_to(self.folder).as_posix()):
                yield path

    def _known(self) -> dict[str, Any]:
        """By name, the version there and the file here when both were last the same."""
        try:
            known: dict[str, Any] = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or torn: everything is fetched again
            return {}
        return known

    @contextlib.contextmanager
    def _remembering(self, what: str) -> Iterator[dict[str, Any]]:
        """Give what was the same when last looked at, to be brought up to date, and remember it however this ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._turn, FileLock(self.folder / ".remote.lock", thread_local=False), self._worded(what):
            known = self._known()
            try:
                yield known
            finally:
                write_text(self.folder / _STATE, json.dumps(known))

    @contextlib.contextmanager
    def _worded(self, what: str) -> Iterator[None]:
        """Word what a file system of any kind may raise; their errors have no common kind."""
        try:
            yield
        except StoreError:
            raise
        except ImportError as error:
            todo = "pip install 'serbench[remote]', or the package named here"
            raise StoreError(self.url, f"needs a package that is not installed ({error})", todo=todo) from error
        except Exception as error:
            reason = str(error).strip() or type(error).__name__
            todo = f"Check the address and your credentials; what was computed is kept in {self.folder}"
            raise StoreError(self.url, f"cannot be {what} ({reason})", todo=todo) from error


def _is_shared(name: str) -> bool:
    """Whether a name is one of serbench's files that both sides have; an odd key could lead out of the folder."""
    return not _OURS_ALONE.search(name) and all(part not in ("", ".", "..") for part in name.split("/"))


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _stat(path: Path) -> Stat:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _version(info: Mapping[str, Any]) -> str:
    return " ".join(str(info[key]) for key in _VERSION if info.get(key) is not None)
