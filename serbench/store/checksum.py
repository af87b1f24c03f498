"""Seals: a checksum inside each stored file, over every byte of it.

A file that is to be sealed holds, somewhere in its text or metadata, a marker and 64 zeros. They are replaced by the
SHA-256 of the whole file as it was with the zeros, so that one bit that flips anywhere, or a byte that lacks, shows.
Other programs read such a file as they would without.
"""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path

_MARKER = b"serbench-sha256:"
_ZEROS = b"0" * 64

UNSEALED = (_MARKER + _ZEROS).decode()
"""What a file must hold to be sealed; where it occurs more than once, the last one counts."""


def seal(path: Path) -> None:
    """Fill in the checksum of a file that was written with `UNSEALED` in it."""
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place = content.rfind(_MARKER) + len(_MARKER)
            if content[place : place + len(_ZEROS)] != _ZEROS:
                raise ValueError(f"no place for a seal in {path}")
            checksum = hashlib.sha256(content).hexdigest()
        file.seek(place)
        file.write(checksum.encode())  # not through the map: a full disk must show as an error


def is_intact(content: bytes | mmap.mmap) -> bool:
    """Say whether a file holds what it held when it was sealed."""
    place = content.rfind(_MARKER) + len(_MARKER)
    told = content[place : place + len(_ZEROS)]
    with memoryview(content) as view:
        computed = hashlib.sha256(view[:place])
        computed.update(_ZEROS)
        computed.update(view[place + len(_ZEROS) :])
    return place >= len(_MARKER) and told == computed.hexdigest().encode()
