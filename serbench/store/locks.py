"""Locks on work in hand, so that several processes on one results folder do not compute the same thing."""

from __future__ import annotations

import contextlib
import errno
import functools
import re
import warnings
from pathlib import Path

from filelock import FileLock, Timeout

_OWN_NAME = re.compile(r"[0-9a-f]{24}|.+-[0-9]+")
"""What is locked: keys of jobs, and chunks of recordings by corpus and number."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class Locks:
    """Locks that this process holds in a folder.

    A lock is one of the operating system on a file of its own, so it ends with its process, however that ends. It
    saves work and guards nothing: where a file system has no locks, and in the instant when the file of a lock is
    removed, two processes may do the same, which is harmless.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, FileLock] = {}

    def acquire(self, name: str) -> bool:
        """Lock something; return whether no other process holds it."""
        path = self._folder / f"{name}.lock"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # A lock that is a file's mere being there outlives its process, and everyone would wait for ever.
            lock = FileLock(path, fallback_to_soft=False)
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:  # no locks here, or not for this user
            if error.errno in _NO_LOCKS:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)  # nobody can hold it, and it would be taken for a lock
                _warn_of_no_locks(self._folder)
            return True
        self._held[name] = lock
        return True

    def release(self, name: str) -> None:
        """Leave something to others."""
        lock = self._held.pop(name, None)
        if lock is not None:
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: nobody waits for this file
            lock.release()

    def __enter__(self) -> Locks:
        return self

    def __exit__(self, *raised: object) -> None:
        for name in tuple(self._held):
            self.release(name)
        with contextlib.suppress(OSError):  # others are at work
            self._folder.rmdir()

    def held(self) -> list[str]:
        """Return what any process has locked, and remove the files of locks that nobody holds, left by killed ones."""
        names = [path.stem for path in self._folder.glob("*.lock") if _OWN_NAME.fullmatch(path.stem)]
        for name in [name for name in names if self.acquire(name)]:
            self.release(name)
        return [name for name in names if (self._folder / f"{name}.lock").exists()]


@functools.cache
def _warn_of_no_locks(folder: Path) -> None:
    meaning = "has no locks: run one serbench at a time on it, as several would do the same work twice"
    warnings.warn(f"the file system of {folder.parent} {meaning}", stacklevel=2)
