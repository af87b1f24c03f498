"""Keys: digests of everything that decides a number, package versions among it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

_EXACT = frozenset({"opensmile"})  # packages whose every release may move a number; of the others major.minor is enough


def digest(value: object) -> str:
    """Return the key of a JSON value: 24 hexadecimal digits of SHA-256 over its canonical text.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return what part of each package's version enters a key: the whole for opensmile, else major.minor."""
    from importlib.metadata import version  # slow to import

    versions = {name: version(name) for name in sorted(packages)}
    return {name: v if name in _EXACT else ".".join(v.split(".")[:2]) for name, v in versions.items()}
