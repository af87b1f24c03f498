"""How much memory is free, under the limit of a container or a job of a cluster."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

_GROUPS, _OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
_VERSION_2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))
"""What a version of control groups calls the limit, the use, and the cache in `memory.stat`, which gives way."""


def free_memory() -> float:
    """Bytes of memory that this process may still take: what is free, or what its control groups leave of a limit."""
    left, lines = [float(psutil.virtual_memory().available)], []
    with contextlib.suppress(OSError):  # no control groups
        lines = _OWN_GROUP.read_text().splitlines()
    for _, controllers, own in (line.split(":", 2) for line in lines):
        if controllers and "memory" not in controllers.split(","):
            continue
        top, (limit, used, cache) = (_GROUPS / "memory", _VERSION_1) if controllers else (_GROUPS, _VERSION_2)
        path = Path(own.lstrip("/"))
        for group in (path, *path.parents):  # in a container, the path may be the host's, and only the top is there
            with contextlib.suppress(OSError, ValueError):  # no such group seen from here, or no limit
                counts = dict(line.split() for line in (top / group / "memory.stat").read_text().splitlines())
                taken = int((top / group / used).read_text()) - sum(int(counts.get(name, 0)) for name in cache)
                left.append(float(int((top / group / limit).read_text()) - taken))
    return max(1.0, min(left))
