"""How long jobs will take and how much memory: each classifier's guess, its time corrected by past jobs of this store.

Estimates inform `--dry-run`, the order of jobs and how many run at once, never a result.
"""

from __future__ import annotations

import contextlib
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from serbench.classifiers import find_classifier
from serbench.plan import Job
from serbench.store import Store

PROCESS = 3e8
"""Bytes of a worker process before its first fit."""

RECENT = 200
"""Jobs of a classifier that correct its guess, the last ones: what came before may have been another machine."""

_GROUPS, _OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Estimate:
    """Guesses seconds and memory of a job; `corrections` are measured over guessed time, by classifier."""

    n_features: Mapping[str, int]
    corrections: Mapping[str, float]

    @staticmethod
    def of(store: Store, n_features: Mapping[str, int]) -> Estimate:
        """Learn from the store's past jobs; `n_features`, the numbers of a mean utterance, is by feature key."""
        ratios: dict[str, list[float]] = defaultdict(list)
        lines = (
            store.timings.read_text(encoding="utf-8", errors="replace").splitlines() if store.timings.is_file() else []
        )
        for line in lines:
            classifier, _, ratio = line.partition(",")
            with contextlib.suppress(ValueError):  # a line torn by a crash
                ratio_found = float(ratio)
                ratios[classifier].append(ratio_found)
        return Estimate(n_features, {name: statistics.median(values[-RECENT:]) for name, values in ratios.items()})

    def guess(self, job: Job) -> float:
        """Seconds by the classifier's own formula."""
        classifier = find_classifier(job.recipe.classifier)
        return classifier.seconds(job.n_training, self.n_features[job.recipe.features], len(job.recipe.settings))

    def memory(self, job: Job) -> float:
        """Bytes that a worker process is expected to take at most while it does the job."""
        classifier = find_classifier(job.recipe.classifier)
        return PROCESS + classifier.memory(job.n_training, len(job.evaluated), self.n_features[job.recipe.features])

    def seconds(self, job: Job) -> float:
        """Seconds that the job is expected to take on one core."""
        return self.guess(job) * self.corrections.get(job.recipe.classifier, 1.0)


def free_memory() -> float:
    """Bytes of memory that this process may still take: what is free, or what its control groups leave of a limit."""
    free = float(psutil.virtual_memory().available)
    left = [left for group in _control_groups() if (left := _left_of_limit(group)) is not None]
    return max(1.0, min([free, *left]))


def _control_groups() -> list[Path]:
    """Folders of this process' control group and of those above it; none where there are no such groups."""
    try:
        lines = _OWN_GROUP.read_text().splitlines()
    except OSError:
        return []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    return [_GROUPS / own, *(_GROUPS / above for above in Path(own).parents)]


def _left_of_limit(group: Path) -> float | None:
    """Bytes that a control group leaves of its limit, without the cache that gives way; None without a limit."""
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    cache = sum(int(counts.get(name, 0)) for name in ("inactive_file", "active_file"))
    return float(limit - used + cache)


def note_seconds(store: Store, job: Job, *, seconds: float, estimate: Estimate) -> None:
    """Remember how a job's time compares with its guess; a disk that refuses loses an estimate and no result."""
    with contextlib.suppress(OSError), store.timings.open("a", encoding="utf-8") as file:
        file.write(f"{job.recipe.classifier},{seconds / estimate.guess(job):.4g}\n")
