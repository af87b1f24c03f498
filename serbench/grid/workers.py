"""Which job runs next, and the worker processes of this machine that run them.

As many jobs run at once as there are workers and memory for, each by one process of all on a store. A thread waits for
each job that runs. A job whose worker died is run once more, at the end and alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from multiprocessing import resource_tracker
from typing import Any, Protocol

from loky.process_executor import ProcessPoolExecutor

from serbench.errors import STOPS, ClusterError, DiskError, SerbenchError
from serbench.grid.fit import run_job, settle_process
from serbench.grid.plan import Job
from serbench.store.results import Store

POLL_S = 0.2  # between two looks at jobs that other processes have in hand
IDLE_S = 60  # after which a worker without a job ends itself
WATCH_S = 0.5  # between two looks of a worker at whether the program that started it is still there

Outcome = float | str | None
"""Seconds that a job took, or why it failed; None where another process did it."""

_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")}
_ONE_THREAD["VECLIB_MAXIMUM_THREADS"] = "1"

_idle: list[ProcessPoolExecutor] = []  # workers of one process each, for the next job or the next grid


class Crew(Protocol):
    """Workers, on this machine or on others."""

    @property
    def n_workers(self) -> int:
        """How many jobs may run at once."""
        ...

    def run(self, job: Job) -> Outcome:
        """Run a job, in a thread of its own; `BrokenExecutor` where its worker died."""
        ...

    def close(self) -> None:
        """Stop the jobs that still run."""
        ...


def run_jobs(
    jobs: Sequence[Job], crew: Crew, store: Store, *, memory: Mapping[str, float], free: float
) -> Generator[tuple[Job, Outcome], None, None]:
    """Yield each job with its outcome, as they end, and close the crew.

    Parameters
    ----------
    memory, free : bytes that each job takes at most, by key, and that all may take at once. A job that fits nowhere
        runs alone. Jobs of which there cannot be one for each worker go first, and others fill what they leave.

    Raises
    ------
    ClusterError, DiskError : there are no workers, or the store cannot be written; jobs done so far are stored.
    """
    least = free / max(1, crew.n_workers)
    ordered = sorted(jobs, key=lambda job: -memory[job.key] if memory[job.key] > least else 0.0)
    waiting = OrderedDict((job.key, job) for job in ordered)  # taken from the front, slow with a plain dict
    running: dict[Future[Outcome], Job] = {}
    again: set[str] = set()
    ended: list[tuple[Job, Outcome]] = []
    is_told = False
    with store.locks() as locks, contextlib.closing(crew):
        while waiting or running or ended:
            n_workers = crew.n_workers
            for job in tuple(waiting.values()):
                if len(running) >= n_workers:
                    break
                others = [other.key for other in running.values()]
                is_alone = not again.isdisjoint([job.key, *others])  # it may have been the memory that all took
                if others and (is_alone or memory[job.key] > free - sum(memory[key] for key in others)):
                    continue
                if not locks.acquire(job.key):
                    continue
                del waiting[job.key]
                if store.job(job.key).is_file():
                    locks.release(job.key)
                    ended.append((job, None))
                else:
                    running[in_thread(crew.run, job)] = job
            yield from ended  # only now, when all workers are busy again
            ended.clear()
            if waiting and n_workers and not running and not is_told:
                is_told = True
                warnings.warn(f"waiting for {len(waiting)} jobs that another process has in hand", stacklevel=2)
            if running:
                wait(running, POLL_S, FIRST_COMPLETED)
            elif waiting:
                time.sleep(POLL_S)
            for future in [future for future in running if future.done()]:
                job = running.pop(future)
                locks.release(job.key)
                try:
                    outcome = future.result()
                except BrokenExecutor:
                    if job.key not in again:
                        again.add(job.key)
                        waiting[job.key] = job
                        continue
                    outcome = "its worker process died (killed, or out of memory), twice"
                ended.append((job, outcome))


class LocalCrew:
    """Worker processes of this machine; jobs longer than `timeout_s` are stopped.

    Every worker is a pool of its own, because a pool falls with any of its processes. Where no process can be started
    (they need shared memory), a single worker is this process itself.
    """

    def __init__(self, store: Store, *, n_workers: int, timeout_s: float | None = None) -> None:
        self.n_workers = n_workers
        self._store, self._timeout_s = store, timeout_s
        self._busy: set[ProcessPoolExecutor] = set()
        self._is_closed = False

    def run(self, job: Job) -> Outcome:
        """Run a job in a worker that has nothing to do, or in a new one."""
        given = job.key, job.json, str(self._store.root)
        try:
            worker = _take_worker()
            with sigint_blocked():  # this may start a process, which inherits that Ctrl-C is not for it
                future: Future[Outcome] = worker.submit(attempt, *given)
        except OSError as error:
            return self._run_here(error, *given)
        except BrokenExecutor:  # it died while it had nothing to do
            _end_idle_workers()
            raise
        self._busy.add(worker)
        if self._is_closed:
            _kill(worker)
        is_lost = True
        try:
            outcome = future.result(self._timeout_s)
            is_lost = False
        except TimeoutError:
            outcome = f"it took longer than --job-timeout {self._timeout_s:g} seconds"
        except BrokenExecutor:
            _end_idle_workers()
            raise
        except Exception as error:  # of the disk, or on the way back
            outcome, is_lost = failure_of(error), False
        finally:
            self._busy.discard(worker)
            if is_lost or self._is_closed:
                _kill(worker)
                self._store.clear_leftovers()
            else:
                _idle.append(worker)
        return outcome

    def _run_here(self, refused: OSError, *given: Any) -> Outcome:
        """Run a job in this process where no other can be started; a fit of this process cannot be stopped."""
        from threadpoolctl import threadpool_limits

        found = f"no worker process can be started ({refused.strerror or refused})"
        if self.n_workers > 1 or self._timeout_s is not None:
            todo = "Mend /dev/shm and the limit of processes, or use --jobs 1 without --job-timeout"
            raise ClusterError("workers", found, "shared memory to write to, and room for processes", todo)
        warnings.warn(f"{found}; the jobs run in this process, and one that crashes ends it", stacklevel=2)
        with threadpool_limits(1):  # limits of OpenMP are a thread's own
            return attempt(*given)

    def close(self) -> None:
        """Kill the workers that still run a job, wherever in it they are; the others wait for the next crew."""
        self._is_closed = True
        for worker in tuple(self._busy):
            _kill(worker)


def attempt(key: str, job: Mapping[str, Any], root: str) -> Outcome:
    """Run a job; whatever it raises is its own fault, and put into words, as not every error survives the way back."""
    try:
        return run_job(key, job, root)
    except STOPS:
        raise
    except BaseException as error:  # a plug-in may raise SystemExit, a compiled one its own kind
        return failure_of(error)


def failure_of(error: BaseException) -> str:
    """Word why a job failed; a DiskError goes on, as no other worker could write to the store either."""
    if isinstance(error, DiskError):
        raise error
    return str(error) if isinstance(error, SerbenchError) else f"{type(error).__name__}: {error}"


def in_thread(call: Callable[..., Any], *given: Any) -> Future[Any]:
    """Call a function in a thread that does not outlive the program."""
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(call(*given))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


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


def _take_worker() -> ProcessPoolExecutor:
    with contextlib.suppress(IndexError):
        return _idle.pop()
    options = {"timeout": IDLE_S, "env": _ONE_THREAD, "initializer": _start_worker, "initargs": (os.getpid(),)}
    return ProcessPoolExecutor(1, **options)


def _end_idle_workers() -> None:
    """End the workers that have nothing to do: where one has died, they may have died as well."""
    with contextlib.suppress(IndexError):
        while True:
            _kill(_idle.pop())


def _kill(worker: ProcessPoolExecutor) -> None:
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
