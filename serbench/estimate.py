"""How long jobs will take: each classifier's guess, corrected by what past jobs took in this store.

Estimates inform `--dry-run` and the order of jobs, never a result.
"""

from __future__ import annotations

import contextlib
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from serbench.classifiers import find_classifier
from serbench.plan import Job
from serbench.store import Store


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

    def seconds(self, job: Job) -> float:
        """Seconds that the job is expected to take on one core."""
        return self.guess(job) * self.corrections.get(job.recipe.classifier, 1.0)


def note_seconds(store: Store, job: Job, *, seconds: float, estimate: Estimate) -> None:
    """Remember how a job's time compares with its guess; a disk that refuses loses an estimate and no result."""
    with contextlib.suppress(OSError), store.timings.open("a", encoding="utf-8") as file:
        file.write(f"{job.recipe.classifier},{seconds / estimate.guess(job):.4g}\n")
