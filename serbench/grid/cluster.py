"""Workers on other machines, by dask.distributed: the same jobs, and predictions of the same bytes.

Workers need serbench and nothing else: features are sent to them, predictions come back, and only this program writes
to the store. A worker that has other versions of what moves numbers gets no job, also when it joins later.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any

from serbench.errors import STOPS, ClusterError, SerbenchError, listed
from serbench.features.table import FeatureTable, map_features
from serbench.grid.fit import Predicted, made_with, predict, store_predictions
from serbench.grid.plan import Job
from serbench.grid.schedule import Failed, Outcome, failure_of
from serbench.store.results import Store

LOCAL = "local"
"""Scheduler that this program starts itself, with workers on this machine."""

POLL_S = 0.02
"""Seconds between two looks at whether a job has ended."""

LOOK_S = 1.0
"""Seconds between two looks at which workers there are."""

ANSWER_S = 5
"""Seconds to wait for the first answer of a scheduler, or for that of a worker whose job has ended."""

CONNECT_S = 30
"""Seconds after which an address counts as no scheduler's, or one of this program's own as not started."""

CLOSE_S = 10
"""Seconds to wait for a scheduler of this program's own to end."""

PATIENCE_S = 600.0
"""Seconds without a single worker after which the run stops: queues of clusters take their time."""

BUSY_S = 10.0
"""Seconds after which a worker counts as busy with a fit that another program left there."""

_one_fit = threading.Lock()
"""Warnings of a fit are caught for the whole process, so that its threads take turns."""

Fact = tuple[int, dict[str, str]] | str
"""Revision of a classifier and the versions behind it, or why it cannot be had."""

Facts = dict[str, Fact]
"""What a process would fit classifiers with, by their names."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A job under way, the worker that has it, and since when."""

    job: Job
    worker: str
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
        self._store, self._timeout_s, self._scheduler = store, timeout_s, scheduler
        self._wanted = facts(sorted({job.recipe.classifier for job in jobs}))
        self._client = _connect(scheduler, workers=workers)
        self._tables: dict[tuple[str, str], Any] = {}
        self._running: dict[Any, _Run] = {}
        self._refused: set[str] = set()
        self._workers: set[str] = set()
        self._last_look = self._last_seen = time.monotonic()
        try:
            self._wait_for_workers()
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
        return len(self._free)

    @property
    def _free(self) -> list[str]:
        return sorted(self._workers - {run.worker for run in self._running.values()})

    def start(self, job: Job) -> None:
        """Hand a job to a free worker."""
        given, worker = job.json, self._free[0]
        with self._reaching():
            tables = {corpus: self._table(given["features"], corpus) for corpus in given["corpora"]}
            future = self._client.submit(_predict, given, list(tables), *tables.values(), workers=[worker], pure=False)
        self._running[future] = _Run(job, worker, time.monotonic())

    def wait(self, timeout_s: float | None) -> Sequence[tuple[Job, Outcome]]:
        """Return the jobs that have ended, once there are any or the time is over."""
        until = time.monotonic() + (LOOK_S if timeout_s is None else min(LOOK_S, timeout_s))
        while time.monotonic() < until and not any(future.done() for future in self._running):
            time.sleep(POLL_S)
        ended = [future for future in self._running if future.done()]
        outcomes = [outcome for future in ended if (outcome := self._ended(future))]
        if time.monotonic() - self._last_look >= LOOK_S:
            self._look()
            outcomes += self._stranded()
        return outcomes + self._overdue()

    def close(self) -> None:
        """Let go of the scheduler, and stop what still runs there, with the processes that run it."""
        with contextlib.suppress(Exception):  # whatever fails here, the run is over and its results are stored
            self._restart({run.worker for run in self._running.values()})
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
            self._tables[features, corpus] = self._scattered(table)
        return self._tables[features, corpus]

    def _scattered(self, table: FeatureTable) -> Any:
        """Send a table to the workers that may be used, and to no other: one without serbench cannot read it."""
        while self._workers:
            try:
                return self._client.scatter(table, workers=sorted(self._workers), broadcast=True, hash=False)
            except KeyError:  # a worker has just gone
                time.sleep(LOOK_S)
                self._look()
        raise self._error("all workers are gone")

    def _ended(self, future: Any) -> tuple[Job, Outcome] | None:
        """Fetch what a worker answered; nothing yet if it died with the answer, as dask then waits for it."""
        if future.status in ("cancelled", "lost"):  # features that all workers had are lost with them
            self._tables = {}
            return self._taken_back(future, Failed("the scheduler lost it with its worker", is_worker_fault=True))
        try:
            told: Predicted | Failed = future.result(timeout=ANSWER_S)
        except Exception as error:  # of dask, as the worker tells its own in words
            if isinstance(error, TimeoutError) and future.status != "error":
                return None
            reason = f"its worker failed ({type(error).__name__}: {error})"
            return self._taken_back(future, Failed(reason, is_worker_fault=True))
        return self._answered(self._running.pop(future), told)

    def _answered(self, run: _Run, told: Predicted | Failed) -> tuple[Job, Outcome]:
        if isinstance(told, Failed):
            if told.is_worker_fault:
                self._refuse(run.worker, told.reason)
            return run.job, told
        store_predictions(run.job.key, run.job.json, told, self._store)
        return run.job, told.seconds

    def _wait_for_workers(self) -> None:
        """Wait for the first worker that may be used; a queue may hold them all back."""
        self._look()
        if not self._workers and not self._refused:
            warnings.warn(f"waiting for the first worker of {self._scheduler}", stacklevel=2)
        while not self._workers and not self._refused:
            time.sleep(LOOK_S)
            self._look()
        if not self._workers:
            todo = "Start some with `dask worker`, with the same packages as this program"
            raise ClusterError(self._scheduler, "no worker that may be used", todo=todo)

    def _look(self) -> None:
        """See which workers there are; those that are new are asked what they have."""
        with self._reaching():
            there = set(self._client.nthreads())
            new = sorted(there - self._workers - self._refused)
            told = self._client.run(facts, list(self._wanted), workers=new, on_error="return") if new else {}
        for worker, found in told.items():
            if isinstance(found, OSError):  # it is just going, or coming: asked again at the next look
                there.discard(worker)
            elif found != self._wanted:
                self._refuse(worker, _difference_of(found, self._wanted))
        self._workers = there - self._refused
        self._last_look = time.monotonic()
        if self._workers:
            self._last_seen = self._last_look
        elif self._last_look - self._last_seen > PATIENCE_S:
            raise self._error(f"no worker for {PATIENCE_S:g} seconds")

    def _refuse(self, worker: str, reason: str) -> None:
        """Give a worker no further job, and say why."""
        told = self._client.scheduler_info(n_workers=-1)["workers"].get(worker, {})
        name = str(told.get("name", worker))
        named = worker if name == worker else f"{worker} ({name})"
        warnings.warn(f"worker {named} gets no job: {reason}", stacklevel=2)
        self._refused.add(worker)
        self._workers.discard(worker)

    def _stranded(self) -> list[tuple[Job, Outcome]]:
        """Take back jobs whose workers are gone; dask would wait for these very workers."""
        gone = [future for future, run in self._running.items() if run.worker not in self._workers]
        reason = Failed("its worker process died (killed, or out of memory)", is_worker_fault=True)
        return [self._taken_back(future, reason) for future in gone]

    def _overdue(self) -> list[tuple[Job, Outcome]]:
        """Stop jobs that take too long, with the process of their worker."""
        if self._timeout_s is None:
            return []
        late = [f for f, run in self._running.items() if time.monotonic() - run.started > self._timeout_s]
        owners = {self._running[future].worker for future in late}
        reason = Failed(f"it took longer than --job-timeout {self._timeout_s:g} seconds")
        outcomes = [self._taken_back(future, reason) for future in late]
        if owners:
            self._restart(owners)
        return outcomes

    def _taken_back(self, future: Any, outcome: Failed) -> tuple[Job, Outcome]:
        future.cancel(force=True)
        return self._running.pop(future).job, outcome

    def _restart(self, workers: set[str]) -> None:
        """End the processes of workers, the only way to end a fit; dask's nannies start them anew."""
        for worker in sorted(workers):
            try:
                self._client.restart_workers([worker], raise_for_error=False)
            except ValueError:
                self._refuse(worker, "its fit cannot be stopped, as it was started without a nanny")
        self._workers -= workers

    def _error(self, found: str) -> ClusterError:
        todo = "What was finished is stored; the same command goes on from there"
        return ClusterError(f"--scheduler {self._scheduler}", found, todo=todo)

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Word that the scheduler cannot be reached any more."""
        try:
            yield
        except (OSError, CancelledError) as error:
            raise self._error(f"the scheduler does not answer any more ({error})") from error


def facts(classifiers: Sequence[str]) -> Facts:
    """Say what this process would fit classifiers with; runs on workers too."""
    told: Facts = {}
    for name in classifiers:
        try:
            told[name] = made_with(name)
        except Exception as error:  # told in words, as the error itself may not survive the way back
            told[name] = str(error) if isinstance(error, SerbenchError) else f"{type(error).__name__}: {error}"
    return told


def _predict(job: Mapping[str, Any], corpora: Sequence[str], *tables: FeatureTable) -> Predicted | Failed:
    """Do a job on a worker, one at a time whatever its number of threads; what goes wrong is told in words."""
    from threadpoolctl import threadpool_limits

    if not _one_fit.acquire(timeout=BUSY_S):
        return Failed("it is busy with a fit that another program left there", is_worker_fault=True)
    try:
        with threadpool_limits(1):  # limits of OpenMP are a thread's own
            return predict(job, dict(zip(corpora, tables, strict=True)))
    except STOPS:
        raise
    except BaseException as error:
        return failure_of(error)
    finally:
        _one_fit.release()


def _silence() -> None:
    """Silence dask's own log: what matters is told as an outcome or an error.

    Some of its loggers, that of the client among them, have a level of their own.
    """
    of_dask = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    for name in ("distributed", *of_dask):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _connect(scheduler: str, *, workers: int) -> Any:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        todo = "pip install 'serbench[dask]'"
        raise ClusterError(f"--scheduler {scheduler}", "dask.distributed is not installed", todo=todo) from error
    _silence()

    def connect() -> Any:
        if scheduler != LOCAL:
            return Client(scheduler, timeout=ANSWER_S)
        quiet = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
        return Client(LocalCluster(workers, threads_per_worker=1, **quiet))

    with warnings.catch_warnings():  # of versions, which are looked at more closely than by dask
        warnings.simplefilter("ignore")
        return _in_time(connect, scheduler)


def _in_time(connect: Callable[[], Any], scheduler: str) -> Any:
    """Connect, or say within a time that nobody answers; another service at the address may keep dask waiting."""
    given: list[Any] = []

    def run() -> None:
        if hasattr(signal, "pthread_sigmask"):  # inherited by workers that are started here: Ctrl-C is not for them
            resource_tracker.ensure_running()  # which would let the signal in again
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            given.append(connect())
        except Exception as error:  # of dask, asyncio or whatever answers at that address
            given.append(error)

    attempt = threading.Thread(target=run, daemon=True)
    attempt.start()
    attempt.join(CONNECT_S)
    if given and not isinstance(given[0], Exception):
        return given[0]
    reason = f"{type(given[0]).__name__}: {given[0]}" if given else f"nothing for {CONNECT_S:g} seconds"
    todo = "Start one with `dask scheduler`, and say the address that it prints as 'Scheduler at' (port 8786 as a rule)"
    where = f"--scheduler {scheduler}"
    raise ClusterError(where, f"no dask scheduler answers ({reason})", f"tcp://HOST:PORT or {LOCAL}", todo)


def _difference_of(found: Facts | BaseException, wanted: Facts) -> str:
    """Word why a worker would fit something else than this program."""
    if isinstance(found, BaseException):
        return f"{type(found).__name__}: {found}"
    reasons = [_difference(name, found.get(name, "unknown"), wanted[name]) for name in wanted]
    return next(reason for reason in reasons if reason)


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
