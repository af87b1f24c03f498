"""Workers on other machines, by dask.distributed: the same jobs, and predictions of the same bytes.

Workers need serbench and nothing else: features are sent to them, predictions come back, and only this program writes
to the store. A worker that has other versions of what moves numbers gets no job, also when it joins later.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serbench.errors import ClusterError, SerbenchError, listed
from serbench.jobs import Predicted, made_with, predict, store_predictions
from serbench.plan import Job
from serbench.schedule import Failed, Outcome, failure_of
from serbench.store import FeatureTable, Store, map_features

LOCAL = "local"
"""Scheduler that this program starts itself, with workers on this machine."""

LOOK_S = 1.0
"""Seconds between two looks at which workers there are."""

CLOSE_S = 10
"""Seconds to wait for a scheduler of this program's own to end."""

ANSWER_S = 5
"""Seconds to wait for the first answer of a scheduler."""

PATIENCE_S = 60.0
"""Seconds without a single worker after which the run stops."""

_one_fit = threading.Lock()
"""Warnings of a fit are caught for the whole process, so that its threads take turns."""

Fact = tuple[int, dict[str, str]] | str
"""Revision of a classifier and the versions behind it, or why it cannot be had."""

Facts = dict[str, Fact]
"""What a process would fit classifiers with, by their names."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A job under way, the workers that may have it, and since when."""

    job: Job
    workers: frozenset[str]
    started: float


class ClusterCrew:
    """The workers of a dask scheduler, one job at a time each.

    Raises
    ------
    ClusterError : dask is not installed, the scheduler does not answer, or it has no worker that may be used.
    """

    def __init__(
        self, store: Store, jobs: Sequence[Job], *, scheduler: str, workers: int, timeout_s: float | None
    ) -> None:
        self._store, self._timeout_s = store, timeout_s
        self._wanted = facts(sorted({job.recipe.classifier for job in jobs}))
        self._client = _connect(scheduler, workers=workers)
        self._tables: dict[tuple[str, str], Any] = {}
        self._running: dict[Any, _Run] = {}
        self._refused: set[str] = set()
        self._workers: frozenset[str] = frozenset()
        self._last_look = self._last_seen = time.monotonic()
        try:
            self._look()
            if not self._workers:
                raise ClusterError(scheduler, "no worker that may be used", todo="Start some with `dask worker`")
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    @property
    def n_free(self) -> int:
        """How many jobs could be started now."""
        return max(0, len(self._workers) - len(self._running))

    def start(self, job: Job) -> None:
        """Hand a job to the scheduler, which gives it to one of the workers."""
        given = job.json
        tables = {corpus: self._table(given["features"], corpus) for corpus in given["corpora"]}
        future = self._client.submit(
            _predict, given, list(tables), *tables.values(), workers=list(self._workers), pure=False, key=None
        )
        self._running[future] = _Run(job, self._workers, time.monotonic())

    def wait(self, timeout_s: float | None) -> Sequence[tuple[Job, Outcome]]:
        """Return the jobs that have ended, once there are any or the time is over."""
        self._sleep(LOOK_S if timeout_s is None else min(LOOK_S, timeout_s))
        ended = [future for future in self._running if future.done()]
        outcomes = [self._ended(future, self._running.pop(future)) for future in ended]
        if time.monotonic() - self._last_look >= LOOK_S:
            self._look()
            outcomes += self._stranded()
        return outcomes + self._overdue()

    def _sleep(self, seconds: float) -> None:
        """Wait for the first job to end, no longer than so many seconds."""
        from distributed import wait

        if not self._running:
            time.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            wait(list(self._running), timeout=seconds, return_when="FIRST_COMPLETED")

    def close(self) -> None:
        """Let go of the scheduler, and of what still runs there."""
        self._client.cancel(list(self._running), force=True)
        self._running = {}
        cluster = self._client.cluster
        with contextlib.suppress(TimeoutError):  # what does not end now ends with this program
            self._client.close(timeout=CLOSE_S)
            if cluster is not None:
                cluster.close(timeout=CLOSE_S)

    def _table(self, features: str, corpus: str) -> Any:
        """Send a corpus' features to the workers, once."""
        if (features, corpus) not in self._tables:
            table = map_features(self._store.features(features, corpus))
            self._tables[features, corpus] = self._client.scatter(table, broadcast=True, hash=False)
        return self._tables[features, corpus]

    def _ended(self, future: Any, run: _Run) -> tuple[Job, Outcome]:
        from distributed import KilledWorker

        try:
            predicted: Predicted = future.result()
        except KilledWorker:
            return run.job, Failed("its worker process died again and again (killed, or out of memory)")
        except Exception as error:
            return run.job, self._failure(future, error)
        store_predictions(run.job.key, run.job.json, predicted, self._store)
        return run.job, predicted.seconds

    def _failure(self, future: Any, error: Exception) -> Failed:
        """Tell a job that failed from one that the scheduler lost, with the features that all workers had."""
        if future.status in ("cancelled", "lost"):
            self._tables = {}
            return Failed("the scheduler lost it with its workers", is_worker_fault=True)
        return failure_of(error)

    def _look(self) -> None:
        """See which workers there are; those that are new are asked what they have."""
        there = frozenset(self._client.nthreads())
        new = sorted(there - self._workers - self._refused)
        told = self._client.run(facts, list(self._wanted), workers=new, on_error="return") if new else {}
        for worker, found in told.items():
            if found != self._wanted:
                self._refused.add(worker)
                warnings.warn(_refusal(self._named(worker), found, self._wanted), stacklevel=2)
        self._workers = there - self._refused
        self._last_look = time.monotonic()
        if self._workers:
            self._last_seen = self._last_look
        elif self._last_look - self._last_seen > PATIENCE_S:
            raise ClusterError(
                self._client.scheduler.address,
                f"no worker for {PATIENCE_S:g} seconds",
                todo="What was finished is stored; start workers and run the same command again",
            )

    def _named(self, worker: str) -> str:
        """A worker's address, and its name where it was given one."""
        told = self._client.scheduler_info(n_workers=-1)["workers"].get(worker, {})
        name = str(told.get("name", worker))
        return worker if name == worker else f"{worker} ({name})"

    def _stranded(self) -> list[tuple[Job, Outcome]]:
        """Take back jobs whose workers are all gone; dask would wait for these very workers."""
        gone = [future for future, run in self._running.items() if not run.workers & self._workers]
        return [self._taken_back(f, Failed("its workers are gone", is_worker_fault=True)) for f in gone]

    def _overdue(self) -> list[tuple[Job, Outcome]]:
        """Stop jobs that take too long, with the process of their worker."""
        if self._timeout_s is None:
            return []
        late = [f for f, run in self._running.items() if time.monotonic() - run.started > self._timeout_s]
        at_work = self._client.processing() if late else {}
        owners = {worker for worker, keys in at_work.items() if any(f.key in keys for f in late)}
        reason = Failed(f"it took longer than --job-timeout {self._timeout_s:g} seconds")
        outcomes = [self._taken_back(future, reason) for future in late]
        if owners:
            self._client.restart_workers(sorted(owners), raise_for_error=False)
        return outcomes

    def _taken_back(self, future: Any, outcome: Failed) -> tuple[Job, Outcome]:
        future.cancel(force=True)
        return self._running.pop(future).job, outcome


def facts(classifiers: Sequence[str]) -> Facts:
    """Say what this process would fit classifiers with; runs on workers too."""
    told: Facts = {}
    for name in classifiers:
        try:
            told[name] = made_with(name)
        except Exception as error:  # told in words, as the error itself may not survive the way back
            told[name] = str(error) if isinstance(error, SerbenchError) else f"{type(error).__name__}: {error}"
    return told


def _predict(job: Mapping[str, Any], corpora: Sequence[str], *tables: FeatureTable) -> Predicted:
    """Do a job on a worker, one at a time whatever its number of threads."""
    with _one_fit:
        return predict(job, dict(zip(corpora, tables, strict=True)))


def _connect(scheduler: str, *, workers: int) -> Any:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ClusterError(
            f"--scheduler {scheduler}", "dask.distributed is not installed", todo="pip install 'serbench[dask]'"
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is told as an outcome or an error
    try:
        if scheduler == LOCAL:
            cluster = LocalCluster(workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL)
            return Client(cluster)
        return Client(scheduler, timeout=ANSWER_S)
    except (OSError, ValueError) as error:
        todo = "Start one with `dask scheduler`, and say its address as it prints it"
        raise ClusterError(f"--scheduler {scheduler}", f"no scheduler answers ({error})", todo=todo) from error


def _refusal(worker: str, found: Facts | BaseException, wanted: Facts) -> str:
    """Word why a worker gets no job."""
    if isinstance(found, BaseException):
        return f"worker {worker} gets no job: {type(found).__name__}: {found}"
    reasons = [_difference(name, found.get(name, "unknown"), wanted[name]) for name in wanted]
    return f"worker {worker} gets no job: {next(reason for reason in reasons if reason)}"


def _difference(classifier: str, there: Fact, here: Fact) -> str:
    """Word what differs in what a classifier is fitted with, or nothing."""
    if there == here:
        return ""
    if isinstance(there, str) or isinstance(here, str):
        return f"{classifier}: {there}"
    (revision, versions), (own_revision, own_versions) = there, here
    if revision != own_revision:
        return f"{classifier} revision {revision}, here {own_revision}"
    other = [name for name in {**versions, **own_versions} if versions.get(name) != own_versions.get(name)]
    return listed(f"{name} {versions.get(name, 'none')}, here {own_versions.get(name, 'none')}" for name in other)
