"""Workers on other machines, by dask.distributed: the same jobs, and predictions of the same bytes.

Workers need serbench and nothing else: features are sent to them, predictions come back, and only this program writes
to the store. Dask divides the jobs, and gives those of a worker that died to another one. A worker checks the versions
of what moves numbers before each fit; one that has others is refused.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import pickle
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError
from typing import Any

from serbench.errors import STOPS, ClusterError
from serbench.features.table import map_features
from serbench.grid.fit import Predicted, predict, store_predictions
from serbench.grid.plan import Job
from serbench.grid.workers import Outcome, failure_of, in_thread, sigint_blocked
from serbench.store.results import Store
from serbench.workspace import Workspace

LOCAL = "local"  # the scheduler that this program starts itself, with workers on this machine
GO_ON = "What was finished is stored; the same command goes on from there"

LOOK_S = 0.5  # between two looks at a job that runs
ANSWER_S, CONNECT_S, CLOSE_S = 5, 30, 10  # for an answer, for a scheduler to be reached or started, and to end
PATIENCE_S = 600.0  # without a single worker, after which the run stops: queues of clusters take their time

_unpacked = functools.lru_cache(maxsize=16)(pickle.loads)  # the same object for every job of a process
_one_fit = threading.Lock()  # warnings of a fit are caught for the whole process, so that its threads take turns


class ClusterCrew:
    """The workers of a dask scheduler; `ClusterError` where dask is not installed or the scheduler does not answer."""

    def __init__(self, store: Store, workspace: Workspace) -> None:
        self._store, self._timeout_s = store, workspace.job_timeout_s
        self._where = f"--scheduler {workspace.scheduler}"
        self._client = _connect(str(workspace.scheduler), workers=workspace.workers)
        self._tables: dict[tuple[str, str], Any] = {}
        self._sending = threading.Lock()
        self._running: set[Any] = set()
        self._workers: set[str] = set()
        self._refused: set[str] = set()
        self._last_seen = time.monotonic()
        if not self.n_workers:
            warnings.warn(f"waiting for the first worker of {workspace.scheduler}", stacklevel=2)

    @property
    def n_workers(self) -> int:
        """How many workers may be used now; `ClusterError` where all are refused, or for long there was none."""
        try:
            there = set(self._client.nthreads())
        except (OSError, CancelledError) as error:
            raise self._lost(error) from error
        self._workers, now = there - self._refused, time.monotonic()
        if there and not self._workers:
            todo = "Start some with `dask worker`, with the same packages as this program, and run the command again"
            raise ClusterError(self._where, "no worker that may be used", todo=todo)
        self._last_seen = now if there else self._last_seen
        if now - self._last_seen > PATIENCE_S:
            raise ClusterError(self._where, f"no worker for {PATIENCE_S:g} seconds", todo=GO_ON)
        return len(self._workers)

    def run(self, job: Job) -> Outcome:
        """Let dask run a job, with the features that no job had before, and store its predictions."""

        def fit(given: Mapping[str, Any], *contents: bytes) -> Predicted | str | tuple[str, str, str]:
            # Within a function, this one is sent by value: a worker without serbench answers too.
            from distributed import get_worker

            worker = get_worker()
            try:
                from serbench.grid import cluster, fit

                fit.check_versions(given)
            except Exception as error:
                return worker.address, str(worker.name), str(error)
            return cluster.run_there(given, *contents)

        given = job.json
        while True:
            among = sorted(self._workers) if self._refused else None
            if among == []:  # dask would take it for all
                raise BrokenExecutor
            try:
                tables = self._sent([(given["features"], corpus) for corpus in given["corpora"]])
                future = self._client.submit(fit, given, *tables, workers=among, pure=False)
                answer = self._answer(future, among)
            except (OSError, CancelledError) as error:
                raise self._lost(error) from error
            except Exception as error:  # of dask, as the worker words its own
                if isinstance(error, BrokenExecutor):
                    raise
                return f"its worker failed ({type(error).__name__}: {error})"
            if isinstance(answer, Predicted):
                store_predictions(job.key, given, answer, self._store)
                return answer.seconds
            if isinstance(answer, str):
                return answer
            self._refuse(*answer)

    def close(self) -> None:
        """Let go of the scheduler, and stop what still runs there, with the processes that run it."""
        with contextlib.suppress(Exception):  # whatever fails here, the run is over and its results are stored
            self._stop(tuple(self._running))
        cluster = self._client.cluster
        with contextlib.suppress(TimeoutError):  # what does not end now ends with this program
            self._client.close(timeout=CLOSE_S)
            if cluster is not None:
                cluster.close(timeout=CLOSE_S)

    def _sent(self, names: Sequence[tuple[str, str]]) -> list[Any]:
        """Return tables of features as dask holds them, sent once; those lost with a worker are sent again by dask."""
        with self._sending:
            for name in (name for name in names if name not in self._tables):
                content = pickle.dumps(map_features(self._store.features(*name)))
                self._tables[name] = self._client.submit(bytes, content, pure=False)  # held without serbench, too
        return [self._tables[name] for name in names]

    def _answer(self, future: Any, among: Sequence[str] | None) -> Predicted | str | tuple[str, str, str]:
        """Wait for the answer to a job that was given to dask, for all workers or for some."""
        started = time.monotonic()
        self._running.add(future)
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    answer: Predicted | str | tuple[str, str, str] = future.result(timeout=LOOK_S)
                    return answer
                if self._timeout_s is not None and time.monotonic() - started > self._timeout_s:
                    self._stop([future])
                    return f"it took longer than --job-timeout {self._timeout_s:g} seconds"
                if among is not None and self._workers.isdisjoint(among):  # dask would wait for these very workers
                    raise BrokenExecutor
        finally:
            self._running.discard(future)

    def _refuse(self, address: str, name: str, reason: str) -> None:
        """Give a worker no further job, and say why."""
        if address not in self._refused:
            warnings.warn(f"worker {address} ({name}) gets no job: {reason}", stacklevel=2)
        self._refused.add(address)
        self._workers = self._workers - self._refused

    def _stop(self, futures: Sequence[Any]) -> None:
        """End the processes that work on these jobs, the only way to end a fit; dask's nanny starts them again."""
        keys = {future.key for future in futures}
        at = [worker for worker, tasks in self._client.processing().items() if not keys.isdisjoint(tasks)]
        self._client.cancel(list(futures), force=True)
        for worker in at:
            try:
                self._client.restart_workers([worker], raise_for_error=False)
            except ValueError:
                self._refuse(worker, worker, "its fit cannot be stopped, as it was started without a nanny")

    def _lost(self, error: Exception) -> ClusterError:
        return ClusterError(self._where, f"the scheduler does not answer any more ({error})", todo=GO_ON)


def run_there(job: Mapping[str, Any], *contents: bytes) -> Predicted | str:
    """Do a job on a worker, one at a time whatever its number of threads; what goes wrong is put into words."""
    from threadpoolctl import threadpool_limits

    with _one_fit, threadpool_limits(1):  # limits of OpenMP are a thread's own
        try:
            return predict(job, list(map(_unpacked, contents)))
        except STOPS:
            raise
        except BaseException as error:
            return failure_of(error)


def _connect(scheduler: str, *, workers: int) -> Any:
    """Connect within a time: another service at the address may keep dask waiting."""
    where = f"--scheduler {scheduler}"
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        todo = "pip install 'serbench[dask]'"
        raise ClusterError(where, "dask.distributed is not installed", todo=todo) from error
    # What matters is an outcome or an error here; some of dask's loggers have a level of their own.
    for name in ("distributed", *logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PB"})  # features may well be large

    def connect() -> Any:
        options = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
        with sigint_blocked():  # inherited by workers that are started here: Ctrl-C is not for them
            at = LocalCluster(workers, **options) if scheduler == LOCAL else scheduler
            return Client(at) if scheduler == LOCAL else Client(at, timeout=ANSWER_S)

    with warnings.catch_warnings():  # of versions, which workers look at more closely
        warnings.simplefilter("ignore")
        try:
            return in_thread(connect).result(CONNECT_S)
        except Exception as error:  # of dask, asyncio or whatever answers at that address
            reason = f"{type(error).__name__}: {str(error) or f'nothing for {CONNECT_S:g} seconds'}"
            todo = "Start one with `dask scheduler`, and give the address that it prints as 'Scheduler at'"
            found = f"no dask scheduler answers ({reason})"
            raise ClusterError(where, found, f"tcp://HOST:PORT (port 8786 as a rule) or {LOCAL}", todo) from error
