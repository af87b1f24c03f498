"""What a process has in hand, so that others on the same store do something else meanwhile."""

from __future__ import annotations

import contextlib
import errno
import functools
import re
import warnings
from pathlib import Path

from filelock import FileLock, Timeout

_NAME = re.compile(r"[0-9a-f]{24}|.+-[0-9]+")
"""What is claimed: keys of jobs, and chunks of recordings by corpus and number."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class Claims:
    """What this process has in hand, so that others on the same store do something else meanwhile.

    A claim is a lock of the operating system on a file of its own, so it ends with its process, however that ends. It
    saves work and guards nothing: where a file system has no locks, and in the instant when a file of a lock is
    removed, two processes may do the same, which is harmless.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, FileLock] = {}

    def take(self, name: str) -> bool:
        """Claim something; say whether nobody else has it in hand."""
        path = self._place(name)
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
                    path.unlink(missing_ok=True)  # nobody can hold it, and it would be taken for a claim
                _say_no_locks(self._folder)
            return True
        self._held[name] = lock
        return True

    def release(self, name: str) -> None:
        """Leave something to others."""
        lock = self._held.pop(name, None)
        if lock is not None:
            with contextlib.suppress(OSError):
                self._place(name).unlink(missing_ok=True)  # while it is held: nobody waits for this file
            lock.release()

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *raised: object) -> None:
        for name in tuple(self._held):
            self.release(name)
        with contextlib.suppress(OSError):  # others are at work
            self._folder.rmdir()

    def clear(self) -> None:
        """Remove the files of claims that nobody holds: what killed processes left. Others' files stay."""
        for path in self._places():
            if self.take(path.stem):
                self.release(path.stem)

    def _place(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    @property
    def is_any_held(self) -> bool:
        """Whether a process has anything in hand."""
        self.clear()
        return bool(self._places())

    def _places(self) -> list[Path]:
        """Files of claims: of keys of jobs, and of numbered chunks of recordings."""
        return [path for path in self._folder.glob("*.lock") if _NAME.fullmatch(path.stem)]


@functools.cache
def _say_no_locks(folder: Path) -> None:
    """Say, once, what a file system without locks means."""
    told = "has no locks: run one serbench at a time on it, as several would do the same work twice"
    warnings.warn(f"the file system of {folder.parent} {told}", stacklevel=2)
