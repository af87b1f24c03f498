"""How long jobs will take and how much memory: each classifier's guess, its time corrected by past jobs of this store.

Estimates inform `--dry-run`, the order of jobs and the number of workers, never a result.
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

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Estimate:
    """Guesses seconds of a job; `corrections` are measured over guessed time, by classifier."""

    n_features: Mapping[str, int]
    corrections: Mapping[str, float]

    @staticmethod
    def of(store: Store, n_features: Mapping[str, int]) -> Estimate:
        """Learn from the store's past jobs; `n_features` is by feature key."""
        ratios: dict[str, list[float]] = defaultdict(list)
        lines = store.timings.read_text(encoding="utf-8").splitlines() if store.timings.is_file() else []
        for line in lines:
            classifier, _, ratio = line.partition(",")
            try:
                ratios[classifier].append(float(ratio))
            except ValueError:
                continue  # a line torn by a crash
        return Estimate(n_features, {name: statistics.median(values) for name, values in ratios.items() if values})

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
    """Bytes of memory that this process may still take: what is free, or what its control group leaves of its limit."""
    free = float(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no control group, or one without a limit
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        counts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        free = min(free, float(limit - used + int(counts.get("inactive_file", 0))))  # a cache that gives way
    return free


def note_seconds(store: Store, job: Job, *, seconds: float, estimate: Estimate) -> None:
    """Remember how a job's time compares with its guess; a disk that refuses loses an estimate and no result."""
    with contextlib.suppress(OSError), store.timings.open("a", encoding="utf-8") as file:
        file.write(f"{job.recipe.classifier},{seconds / estimate.guess(job):.4g}\n")
