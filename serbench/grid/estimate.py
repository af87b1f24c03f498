"""How long jobs will take and how much memory: each classifier's guess, its time corrected by past jobs of this store.

Estimates inform `--dry-run`, the order of jobs and how many run at once, never a result.
"""

from __future__ import annotations

import contextlib
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from serbench.classifiers import find_classifier
from serbench.errors import STOPS, PluginError
from serbench.grid.plan import Job
from serbench.store.results import Store

PROCESS = 3e8  # bytes of a worker process before its first fit
START_S = 2.0  # until workers have started and imported
RECENT = 200  # jobs of a classifier that correct its guess: what came before may have been another machine


@dataclass(frozen=True, slots=True)
class Estimate:
    """Guesses seconds and memory of a job.

    `n_features` is the numbers of a mean utterance by feature key, and `corrections` measured over guessed time by
    classifier.
    """

    n_features: Mapping[str, int]
    corrections: Mapping[str, float]

    @staticmethod
    def of(store: Store, n_features: Mapping[str, int]) -> Estimate:
        """Learn from the store's past jobs."""
        text = store.timings.read_text(encoding="utf-8", errors="replace") if store.timings.is_file() else ""
        ratios: dict[str, list[float]] = defaultdict(list)
        for classifier, _, ratio in (line.partition(",") for line in text.splitlines()):
            with contextlib.suppress(ValueError):  # a line torn by a crash
                measured = float(ratio)
                ratios[classifier].append(measured)
        return Estimate(n_features, {name: statistics.median(values[-RECENT:]) for name, values in ratios.items()})

    def memory(self, job: Job) -> float:
        """Bytes that a worker process is expected to take at most while it does the job."""
        return PROCESS + self._guess(job, "memory", len(job.train.utterances), len(job.evaluated))

    def seconds(self, job: Job) -> float:
        """Seconds that the job is expected to take on one core."""
        guessed = self._guess(job, "seconds", len(job.train.utterances))
        return guessed * self.corrections.get(job.recipe.classifier, 1.0)

    def note(self, store: Store, job: Job, seconds: float) -> None:
        """Remember how a job's time compares with its guess; a disk that refuses loses an estimate and no result."""
        ratio = seconds / self._guess(job, "seconds", len(job.train.utterances))
        with contextlib.suppress(OSError), store.timings.open("a", encoding="utf-8") as file:
            file.write(f"{job.recipe.classifier},{ratio:.4g}\n")

    def _guess(self, job: Job, what: str, *sizes: int) -> float:
        """Ask the classifier of a job for its estimate; code of a plug-in may raise anything, SystemExit too."""
        classifier = find_classifier(job.recipe.classifier)
        sizes = (*sizes, self.n_features[job.recipe.features])
        sizes = (*sizes, len(job.recipe.settings)) if what == "seconds" else sizes
        try:
            return float(getattr(classifier, what)(*sizes))
        except STOPS:
            raise
        except BaseException as error:
            where, found = f"classifier '{classifier.name}'", f"{what}{sizes} fails ({type(error).__name__}: {error})"
            raise PluginError(where, found, "a number", "Upgrade or uninstall its package") from error
