"""Which job runs next, and the worker processes of this machine that run them.

As many jobs run at once as there are workers and memory for, each by one process of all on a store. A job whose worker
died is run once more, at the end and alone; one whose worker dies twice has failed.

Every worker is a pool of its own, because a pool falls with any of its processes. Workers that have nothing to do stay
for a minute, for the next grid of the same program. Where no process can be started (they need shared memory), a single
worker is this process itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, Protocol

from loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from serbench.errors import STOPS, ClusterError, DiskError, SerbenchError
from serbench.grid.estimate import PROCESS
from serbench.grid.fit import run_job, settle_process
from serbench.grid.plan import Job
from serbench.store.results import Store

POLL_S = 0.2  # between two looks at jobs that other processes have in hand
IDLE_S = 60  # after which a worker without a job ends itself
WATCH_S = 0.5  # between two looks of a worker at whether the program that started it is still there

_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")}
_ONE_THREAD["VECLIB_MAXIMUM_THREADS"] = "1"

_idle: list[ProcessPoolExecutor] = []


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a job gave nothing; `is_worker_fault` where it may go well with another worker."""

    reason: str
    is_worker_fault: bool = False


DEAD = Failed("its worker process died (killed, or out of memory)", is_worker_fault=True)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The job was done by another process on the same store."""


Outcome = float | Failed | Elsewhere  # seconds that a job took, or why there are none


@dataclass(frozen=True, slots=True)
class Run:
    """A job under way, the worker that has it, and since when."""

    job: Job
    worker: Any
    started: float


class Crew(Protocol):
    """Workers that jobs are handed to, on this machine or on others."""

    @property
    def n_free(self) -> int:
        """How many jobs could be started now."""
        ...

    def start(self, job: Job) -> None:
        """Hand a job to a free worker."""
        ...

    def wait(self, timeout_s: float | None) -> Sequence[tuple[Job, Outcome]]:
        """Return the jobs that have ended, once there are any or the time is over."""
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """What jobs may take at once: `workers` processes, and `free` bytes of which each job takes `memory`."""

    workers: int
    free: float
    memory: Mapping[str, float]

    @staticmethod
    def of(memory: Mapping[str, float], *, workers: int, free: float) -> Room:
        """Make room for no more processes than there are jobs, or than fit when they do nothing yet."""
        return Room(max(1, min(workers, len(memory), int(free / PROCESS))), free, memory)

    def in_order(self, jobs: Sequence[Job]) -> list[Job]:
        """Put first, the largest before, the jobs of which there cannot be one for each worker at once.

        Others fill the memory that these leave; the other way round they would wait to the end and run alone.
        """
        least = self.free / self.workers
        return sorted(jobs, key=lambda job: -self.memory[job.key] if self.memory[job.key] > least else 0.0)

    def has_room(self, job: Job, running: Iterable[Job]) -> bool:
        """Return whether a job fits beside those that run; one that fits nowhere runs alone."""
        taken = [self.memory[other.key] for other in running]
        return not taken or self.memory[job.key] <= self.free - sum(taken)


def run_jobs(jobs: Sequence[Job], crew: Crew, store: Store, room: Room) -> Generator[tuple[Job, Outcome], None, None]:
    """Yield each job with its outcome, as they end; what another process does meanwhile is not done again.

    Raises
    ------
    DiskError : the store cannot be written; jobs done so far are stored.
    """
    waiting = OrderedDict((job.key, job) for job in jobs)  # taken from the front, slow with a plain dict
    running: dict[str, Job] = {}
    retried: set[str] = set()
    is_told = False
    with store.locks() as locks:
        while waiting or running:
            for job in tuple(waiting.values()):
                if not crew.n_free:
                    break
                if not room.has_room(job, running.values()) or not locks.acquire(job.key):
                    continue
                del waiting[job.key]
                if store.job(job.key).is_file():
                    locks.release(job.key)
                    yield job, Elsewhere()
                else:
                    running[job.key] = job
                    crew.start(job)
            if waiting and not running and not is_told:
                is_told = True
                warnings.warn(f"waiting for {len(waiting)} jobs that another process has in hand", stacklevel=2)
            # What waits although a worker is free may be in other hands, so it is soon looked at again.
            for job, outcome in crew.wait(POLL_S if waiting and crew.n_free else None):
                del running[job.key]
                locks.release(job.key)
                if not isinstance(outcome, Failed) or not outcome.is_worker_fault:
                    yield job, outcome
                elif job.key in retried:
                    yield job, Failed(f"{outcome.reason}, twice")
                else:  # once more when nothing else runs: it may have been the memory that all of them took
                    retried.add(job.key)
                    waiting[job.key] = job
                    room = dataclasses.replace(room, memory={**room.memory, job.key: float("inf")})


class LocalCrew:
    """Worker processes, each a pool of one (None is this process); jobs longer than `timeout_s` are stopped."""

    def __init__(self, store: Store, *, workers: int, timeout_s: float | None = None) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._may_work_here = workers == 1 and timeout_s is None  # a fit of this process cannot be stopped
        self._free = [_idle.pop() if _idle else self._new_worker() for _ in range(workers)]
        self._running: dict[Future[Outcome], Run] = {}

    @property
    def n_free(self) -> int:
        """How many jobs could be started now."""
        return len(self._free)

    def start(self, job: Job) -> None:
        """Hand a job to a free worker."""
        worker = self._free.pop()
        try:
            future = self._submit(worker, job)
        except (BrokenProcessPool, OSError) as error:  # it died while it had nothing to do, or could not be started
            _kill(worker)
            worker = self._new_worker(error if isinstance(error, OSError) else None)
            future = self._submit(worker, job)
        self._running[future] = Run(job, worker, time.monotonic())

    def wait(self, timeout_s: float | None) -> Sequence[tuple[Job, Outcome]]:
        """Return the jobs that have ended, once there are any or the time is over."""
        if not self._running:  # `wait` would come back at once
            time.sleep(timeout_s or 0.0)
        until = [] if timeout_s is None else [timeout_s]
        if self._timeout_s is not None:
            until += [run.started + self._timeout_s - time.monotonic() for run in self._running.values()]
        wait(self._running, timeout=max(0.0, min(until)) if until else None, return_when=FIRST_COMPLETED)
        outcomes = [(run.job, self._outcome(future, run)) for future, run in tuple(self._running.items())]
        return [(job, outcome) for job, outcome in outcomes if outcome is not None]

    def close(self) -> None:
        """Leave the workers to the next crew; those that still run a job are killed, wherever in it they are."""
        for run in self._running.values():
            _kill(run.worker)
        _idle.extend(worker for worker in self._free if worker is not None)
        self._running, self._free = {}, []

    def _submit(self, worker: ProcessPoolExecutor | None, job: Job) -> Future[Outcome]:
        """Hand over a job, and with it maybe start a process, which inherits that Ctrl-C is not for it."""
        given = job.key, job.json, str(self._store.root)
        future: Future[Outcome] = Future()
        if worker is None:
            future.set_result(attempt(*given))
        else:
            with sigint_blocked():
                future = worker.submit(attempt, *given)
        return future

    def _outcome(self, future: Future[Outcome], run: Run) -> Outcome | None:
        """What became of a job, None while it runs; its worker, or a new one, is free then."""
        outcome: Outcome
        worker, is_lost = run.worker, False
        if future.done():
            try:
                outcome = future.result()
            except BrokenProcessPool:
                outcome, is_lost = DEAD, True
            except Exception as error:  # of the disk, or on the way back
                outcome = failure_of(error)
        elif self._timeout_s is not None and time.monotonic() - run.started >= self._timeout_s:
            outcome, is_lost = Failed(f"it took longer than --job-timeout {self._timeout_s:g} seconds"), True
        else:
            return None
        if is_lost:
            _kill(worker)
            self._store.clear_leftovers()
            worker = self._new_worker()
        del self._running[future]
        self._free.append(worker)
        return outcome

    def _new_worker(self, refused: OSError | None = None) -> ProcessPoolExecutor | None:
        """Make a worker; where no process can be started and one worker is enough, this process, with a warning.

        Raises
        ------
        ClusterError : no process can be started, and more workers are asked for, or a limit of time.
        """
        if refused is None:
            options = {"timeout": IDLE_S, "env": _ONE_THREAD, "initializer": _start_worker, "initargs": (os.getpid(),)}
            try:
                return ProcessPoolExecutor(1, **options)
            except OSError as error:
                refused = error
        found = f"no worker process can be started ({refused.strerror or refused})"
        if not self._may_work_here:
            todo = "Mend /dev/shm and the limit of processes, or use --jobs 1 without --job-timeout"
            raise ClusterError("workers", found, "shared memory to write to, and room for processes", todo) from refused
        warnings.warn(f"{found}; the jobs run in this process, and one that crashes ends it", stacklevel=2)
        return None


def attempt(key: str, job: Mapping[str, Any], root: str) -> Outcome:
    """Run a job; whatever it raises is its own fault, and put into words, as not every error survives the way back."""
    try:
        return run_job(key, job, root)
    except STOPS:
        raise
    except BaseException as error:  # a plug-in may raise SystemExit, a compiled one its own kind
        return failure_of(error)


def failure_of(error: BaseException) -> Failed:
    """Word why a job failed; a DiskError goes on, as no other worker could write to the store either."""
    if isinstance(error, DiskError):
        raise error
    return Failed(str(error) if isinstance(error, SerbenchError) else f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def sigint_blocked() -> Iterator[None]:
    """Let processes that are started meanwhile inherit that Ctrl-C is not for them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it later would let the signal in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill(worker: ProcessPoolExecutor | None) -> None:
    if worker is not None:
        worker.shutdown(wait=True, kill_workers=True)


def _start_worker(parent: int) -> None:
    """Ready a worker process: Ctrl-C is for the program that started it, without which it ends."""

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    settle_process()
