"""Worker processes of this machine: each runs one job at a time, and may die or be stopped without any other.

Every worker is a pool of its own, because a pool falls with any of its processes. Workers that have nothing to do stay
for a minute, for the next grid of the same program. Where no process can be started (they need shared memory), a single
worker is this process itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, TypeAlias

from loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from serbench.errors import STOPS, ClusterError
from serbench.grid.fit import run_job, settle_process
from serbench.grid.plan import Job
from serbench.grid.schedule import Failed, Outcome, failure_of
from serbench.store.results import Store

IDLE_S = 60
"""Seconds after which a worker without a job ends itself."""

WATCH_S = 0.5
"""Seconds between two looks of a worker at whether the program that started it is still there."""

_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")}
_ONE_THREAD["VECLIB_MAXIMUM_THREADS"] = "1"

Worker: TypeAlias = "ProcessPoolExecutor | None"
"""A process for one job at a time; None stands for this process."""

_idle: list[ProcessPoolExecutor] = []


@dataclass(frozen=True, slots=True)
class _Run:
    """A job under way, the worker that has it, and since when."""

    job: Job
    worker: Worker
    started: float


class LocalCrew:
    """So many worker processes over one store; a job that takes longer than `timeout_s` is stopped."""

    def __init__(self, store: Store, *, workers: int, timeout_s: float | None = None) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._may_work_here = workers == 1 and timeout_s is None  # a fit of this process cannot be stopped
        self._free: list[Worker] = [_idle.pop() if _idle else self._new_worker() for _ in range(workers)]
        self._running: dict[Future[Outcome], _Run] = {}

    @property
    def n_free(self) -> int:
        """How many jobs could be started now."""
        return len(self._free)

    def start(self, job: Job) -> None:
        """Hand a job to a free worker."""
        worker = self._free.pop()
        try:
            future = self._submit(worker, job)
        except BrokenProcessPool:  # it died while it had nothing to do
            _kill(worker)
            worker = self._new_worker()
            future = self._submit(worker, job)
        except OSError as error:  # the process could not be started
            _kill(worker)
            worker = self._none_for(error)
            future = self._submit(worker, job)
        self._running[future] = _Run(job, worker, time.monotonic())

    def _submit(self, worker: Worker, job: Job) -> Future[Outcome]:
        """Hand over a job, and with it maybe start a process, which inherits that Ctrl-C is not for it."""
        future: Future[Outcome] = Future()
        if worker is None:
            future.set_result(attempt(job.key, job.json, str(self._store.root)))
            return future
        with _sigint_blocked():
            future = worker.submit(attempt, job.key, job.json, str(self._store.root))
        return future

    def _new_worker(self) -> Worker:
        try:
            return _new_worker()
        except OSError as error:
            return self._none_for(error)

    def _none_for(self, error: OSError) -> Worker:
        """Go on in this process where one worker is enough; say so.

        Raises
        ------
        ClusterError : more workers are asked for, or a limit of time.
        """
        found = f"no worker process can be started ({error.strerror or error})"
        if not self._may_work_here:
            todo = "Mend /dev/shm and the limit of processes, or use --jobs 1 without --job-timeout"
            raise ClusterError("workers", found, "shared memory to write to, and room for processes", todo) from error
        warnings.warn(f"{found}; the jobs run in this process, and one that crashes ends it", stacklevel=2)
        return None

    def wait(self, timeout_s: float | None) -> Sequence[tuple[Job, Outcome]]:
        """Return the jobs that have ended, once there are any or the time is over."""
        if not self._running:  # `wait` would come back at once
            time.sleep(timeout_s or 0.0)
        ended = wait(self._running, timeout=self._nearest(timeout_s), return_when=FIRST_COMPLETED).done
        outcomes = [self._ended(future, self._running.pop(future)) for future in ended]
        overdue = [future for future, run in self._running.items() if self._left_s(run) <= 0]
        return outcomes + [self._stopped(self._running.pop(future)) for future in overdue]

    def close(self) -> None:
        """Leave the workers to the next crew; those that still run a job are killed, wherever in it they are."""
        for run in self._running.values():
            _kill(run.worker)
        _idle.extend(worker for worker in self._free if worker is not None)
        self._running, self._free = {}, []

    def _ended(self, future: Future[Outcome], run: _Run) -> tuple[Job, Outcome]:
        try:
            outcome = future.result()
        except BrokenProcessPool:
            _kill(run.worker)
            self._store.clear_leftovers()
            self._free.append(self._new_worker())
            return run.job, Failed("its worker process died (killed, or out of memory)", is_worker_fault=True)
        except Exception as error:  # of the disk, or on the way back
            outcome = failure_of(error)
        self._free.append(run.worker)
        return run.job, outcome

    def _stopped(self, run: _Run) -> tuple[Job, Outcome]:
        _kill(run.worker)
        self._store.clear_leftovers()
        self._free.append(self._new_worker())
        return run.job, Failed(f"it took longer than --job-timeout {self._timeout_s:g} seconds")

    def _left_s(self, run: _Run) -> float:
        return float("inf") if self._timeout_s is None else run.started + self._timeout_s - time.monotonic()

    def _nearest(self, timeout_s: float | None) -> float | None:
        """Seconds to wait at most: as asked, or until the first job is overdue."""
        until = [self._left_s(run) for run in self._running.values() if self._timeout_s is not None]
        until += [] if timeout_s is None else [timeout_s]
        return max(0.0, min(until)) if until else None


def attempt(key: str, job: Mapping[str, Any], root: str) -> Outcome:
    """Run a job; whatever it raises is its own fault, and told in words, as not every error survives the way back."""
    try:
        return run_job(key, job, root)
    except STOPS:
        raise
    except BaseException as error:  # a plug-in may raise SystemExit, a compiled one its own kind
        return failure_of(error)


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it later would let the signal in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _new_worker() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, timeout=IDLE_S, env=_ONE_THREAD, initializer=_start_worker, initargs=(os.getpid(),))


def _kill(worker: Worker) -> None:
    if worker is not None:
        worker.shutdown(wait=True, kill_workers=True)


def _start_worker(parent: int) -> None:
    """Ready a worker process: Ctrl-C is for the program that started it, without which it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    settle_process()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)
