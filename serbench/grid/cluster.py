"""Workers on other machines, by dask.distributed: the same jobs, and predictions of the same bytes.

Workers need serbench and nothing else: features are sent to them, predictions come back, and only this program writes
to the store. A worker checks the versions of what moves numbers before each fit; one that has others is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import pickle
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

from serbench.errors import STOPS, ClusterError
from serbench.features.table import map_features
from serbench.grid.fit import Predicted, check_versions, predict, store_predictions
from serbench.grid.plan import Job
from serbench.grid.workers import DEAD, Failed, Outcome, Run, failure_of, sigint_blocked
from serbench.store.results import Store

LOCAL = "local"  # the scheduler that this program starts itself, with workers on this machine
GO_ON = "What was finished is stored; the same command goes on from there"

POLL_S, LOOK_S = 0.02, 1.0  # between two looks at whether a job has ended, and at which workers there are
ANSWER_S, CONNECT_S, CLOSE_S = 5, 30, 10  # for an answer, for a scheduler to be reached or started, and to end
PATIENCE_S = 600.0  # without a single worker, after which the run stops: queues of clusters take their time
BUSY_S = 10.0  # after which a worker counts as busy with a fit that another program left there

_unpacked = functools.lru_cache(maxsize=16)(pickle.loads)  # the same object for every job of a process
_one_fit = threading.Lock()  # warnings of a fit are caught for the whole process, so that its threads take turns


class ClusterCrew:
    """The workers of a dask scheduler, one job at a time each.

    Raises
    ------
    ClusterError : dask is not installed, the scheduler does not answer, or it has no worker that may be used.
    """

    def __init__(self, store: Store, *, scheduler: str, workers: int, timeout_s: float | None) -> None:
        self._store, self._timeout_s, self._scheduler = store, timeout_s, scheduler
        self._client = _connect(scheduler, workers=workers)
        self._tables: dict[tuple[str, str], Any] = {}
        self._running: dict[Any, Run] = {}
        self._workers: set[str] = set()
        self._refused: set[str] = set()
        self._last_seen = time.monotonic()
        try:
            self._look()
            if not self._workers:
                warnings.warn(f"waiting for the first worker of {scheduler}", stacklevel=2)
            while not self._workers:  # a queue may hold them all back
                time.sleep(LOOK_S)
                self._look()
        except BaseException:
            self.close()
            raise

    @property
    def n_free(self) -> int:
        """How many jobs could be started now."""
        return len(self._workers - {run.worker for run in self._running.values()})

    def start(self, job: Job) -> None:
        """Hand a job to a free worker, and with it the features that no job had before."""

        def fit(*given: Any) -> Predicted | Failed:
            # Within a function, this one is sent by value: a worker without serbench fails the job, and not itself.
            from serbench.grid.cluster import run_there

            return run_there(*given)

        given = job.json
        names = [(given["features"], corpus) for corpus in given["corpora"]]
        worker = min(self._workers - {run.worker for run in self._running.values()})
        with self._reaching(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large graphs: features that are lost with a worker are there again
            for name in (name for name in names if name not in self._tables):
                content = pickle.dumps(map_features(self._store.features(*name)))
                self._tables[name] = self._client.submit(bytes, content, pure=False)  # held without serbench, too
            tables = [self._tables[name] for name in names]
            future = self._client.submit(fit, given, *tables, workers=[worker], pure=False)
        self._running[future] = Run(job, worker, time.monotonic())

    def wait(self, timeout_s: float | None) -> Sequence[tuple[Job, Outcome]]:
        """Return the jobs that have ended, once there are any or the time is over."""
        until = time.monotonic() + (LOOK_S if timeout_s is None else min(LOOK_S, timeout_s))
        while time.monotonic() < until and not any(future.done() for future in self._running):
            time.sleep(POLL_S)
        if time.monotonic() - self._last_look >= LOOK_S:
            self._look()
        ended = []
        for future, run in list(self._running.items()):
            if (outcome := self._outcome(future, run)) is not None:
                ended.append((run.job, outcome))
                del self._running[future]
                future.cancel(force=True)
        return ended

    def close(self) -> None:
        """Let go of the scheduler, and stop what still runs there, with the processes that run it."""
        with contextlib.suppress(Exception):  # whatever fails here, the run is over and its results are stored
            for run in self._running.values():
                self._stop(run.worker)
            self._client.cancel(list(self._running), force=True)
        self._running = {}
        cluster = self._client.cluster
        with contextlib.suppress(TimeoutError):  # what does not end now ends with this program
            self._client.close(timeout=CLOSE_S)
            if cluster is not None:
                cluster.close(timeout=CLOSE_S)

    def _outcome(self, future: Any, run: Run) -> Outcome | None:
        """What became of a job; None while it runs, and while a worker that died with the answer is not yet missed."""
        try:
            answer: Predicted | Failed | None = future.result(timeout=ANSWER_S) if future.done() else None
        except Exception as error:  # of dask, as the worker words its own
            is_late = isinstance(error, TimeoutError) and future.status != "error"
            reason = f"its worker failed ({type(error).__name__}: {error})"
            answer = None if is_late else Failed(reason, is_worker_fault=True)
            self._look()
        if isinstance(answer, Predicted):
            store_predictions(run.job.key, run.job.json, answer, self._store)
            return answer.seconds
        if run.worker not in self._workers:  # dask would wait for this very worker
            return answer or DEAD
        if answer is not None and answer.is_worker_fault:
            self._refuse(run.worker, answer.reason)
        if answer is None and self._timeout_s is not None and time.monotonic() - run.started > self._timeout_s:
            self._stop(run.worker)
            return Failed(f"it took longer than --job-timeout {self._timeout_s:g} seconds")
        return answer

    def _look(self) -> None:
        """See which workers there are."""
        with self._reaching():
            there = set(self._client.nthreads())
        self._workers, self._last_look = there - self._refused, time.monotonic()
        if self._workers:
            self._last_seen = self._last_look
        elif there:
            todo = "Start some with `dask worker`, with the same packages as this program, and run the command again"
            raise ClusterError(f"--scheduler {self._scheduler}", "no worker that may be used", todo=todo)
        elif self._last_look - self._last_seen > PATIENCE_S:
            raise ClusterError(f"--scheduler {self._scheduler}", f"no worker for {PATIENCE_S:g} seconds", todo=GO_ON)

    def _refuse(self, worker: str, reason: str) -> None:
        """Give a worker no further job, and say why."""
        about = self._client.scheduler_info(n_workers=-1)["workers"].get(worker, {})
        warnings.warn(f"worker {worker} ({about.get('name', worker)}) gets no job: {reason}", stacklevel=2)
        self._refused.add(worker)
        self._workers.discard(worker)

    def _stop(self, worker: str) -> None:
        """End the process of a worker, the only way to end a fit; dask's nanny starts it again."""
        try:
            self._client.restart_workers([worker], raise_for_error=False)
        except ValueError:
            self._refuse(worker, "its fit cannot be stopped, as it was started without a nanny")
        self._workers.discard(worker)

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Word that the scheduler cannot be reached any more."""
        try:
            yield
        except (OSError, CancelledError) as error:
            found = f"the scheduler does not answer any more ({error})"
            raise ClusterError(f"--scheduler {self._scheduler}", found, todo=GO_ON) from error


def run_there(job: Mapping[str, Any], *contents: bytes) -> Predicted | Failed:
    """Do a job on a worker, one at a time whatever its number of threads; what goes wrong is put into words."""
    from threadpoolctl import threadpool_limits

    if not _one_fit.acquire(timeout=BUSY_S):
        return Failed("it is busy with a fit that another program left there", is_worker_fault=True)
    is_alike = False
    try:
        check_versions(job)
        is_alike = True
        with threadpool_limits(1):  # limits of OpenMP are a thread's own
            return predict(job, list(map(_unpacked, contents)))
    except STOPS:
        raise
    except BaseException as error:
        return dataclasses.replace(failure_of(error), is_worker_fault=not is_alike)
    finally:
        _one_fit.release()


def _connect(scheduler: str, *, workers: int) -> Any:
    """Connect within a time: another service at the address may keep dask waiting."""
    where = f"--scheduler {scheduler}"
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        todo = "pip install 'serbench[dask]'"
        raise ClusterError(where, "dask.distributed is not installed", todo=todo) from error
    # What matters is an outcome or an error here; some of dask's loggers have a level of their own.
    for name in ("distributed", *logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    answer: Future[Any] = Future()

    def connect() -> None:
        options = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
        try:
            with sigint_blocked():  # inherited by workers that are started here: Ctrl-C is not for them
                at = LocalCluster(workers, **options) if scheduler == LOCAL else scheduler
                answer.set_result(Client(at) if scheduler == LOCAL else Client(at, timeout=ANSWER_S))
        except Exception as error:  # of dask, asyncio or whatever answers at that address
            answer.set_exception(error)

    with warnings.catch_warnings():  # of versions, which workers look at more closely
        warnings.simplefilter("ignore")
        threading.Thread(target=connect, daemon=True).start()
        try:
            return answer.result(CONNECT_S)
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error) or f'nothing for {CONNECT_S:g} seconds'}"
            todo = "Start one with `dask scheduler`, and give the address that it prints as 'Scheduler at'"
            found = f"no dask scheduler answers ({reason})"
            raise ClusterError(where, found, f"tcp://HOST:PORT (port 8786 as a rule) or {LOCAL}", todo) from error
