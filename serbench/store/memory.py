"""How much memory is free, under the limit of a container or a job of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_GROUPS, _OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class _Files:
    """What a version of control groups calls the limit, the use, and the cache in `memory.stat`."""

    limit: str
    used: str
    cache: tuple[str, ...]


_VERSION_1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
_VERSION_2 = _Files("memory.max", "memory.current", ("inactive_file", "active_file"))


def free_memory() -> float:
    """Bytes of memory that this process may still take: what is free, or what its control groups leave of a limit."""
    free = float(psutil.virtual_memory().available)
    left = [left for group, files in _control_groups() if (left := _left_of_limit(group, files)) is not None]
    return max(1.0, min([free, *left]))


def _control_groups() -> Iterator[tuple[Path, _Files]]:
    """Yield the control groups of this process' memory and those above them; none where there are no such groups."""
    try:
        lines = _OWN_GROUP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, own = line.split(":", 2)
        if not controllers:
            top, files = _GROUPS, _VERSION_2
        elif "memory" in controllers.split(","):
            top, files = _GROUPS / "memory", _VERSION_1
        else:
            continue
        path = Path(own.lstrip("/"))
        for group in (path, *path.parents):  # in a container, the path may be the host's, and only the top is there
            yield top / group, files


def _left_of_limit(group: Path, files: _Files) -> float | None:
    """Bytes that a control group leaves of its limit, without the cache that gives way; None without a limit."""
    try:
        limit, used = (int((group / name).read_text()) for name in (files.limit, files.used))
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    cache = sum(int(counts.get(name, 0)) for name in files.cache)
    return float(limit - used + cache)
