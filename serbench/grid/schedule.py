"""Which job runs next: as many at once as there are workers and memory for, each by one process of all on a store.

A job whose worker died is run once more, at the end and alone; one whose worker dies twice has failed.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serbench.errors import DiskError, SerbenchError
from serbench.grid.estimate import PROCESS
from serbench.grid.plan import Job
from serbench.store.results import Locks, Store

POLL_S = 0.2
"""Seconds between two looks at jobs that other processes have in hand."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a job gave nothing; `is_worker_fault` where it may go well with another worker."""

    reason: str
    is_worker_fault: bool = False


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The job was done by another process on the same store."""


Outcome = float | Failed | Elsewhere
"""Seconds that a job took, or why there are none."""


class Crew(Protocol):
    """Workers that jobs are handed to."""

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
        """Say whether a job fits beside those that run; one that fits nowhere runs alone."""
        under_way = list(running)
        left = self.free - sum(self.memory[other.key] for other in under_way)
        return self.memory[job.key] <= left or not under_way


def run_jobs(jobs: Sequence[Job], crew: Crew, store: Store, room: Room) -> Generator[tuple[Job, Outcome], None, None]:
    """Yield each job with its outcome, as they end; what another process does meanwhile is not done again.

    Raises
    ------
    DiskError : the store cannot be written; jobs done so far are stored.
    """
    with store.locks() as locks:
        yield from _Schedule(jobs, crew, store, room, locks).outcomes()


class _Schedule:
    """Jobs that wait and those that run; `retried` are those that had a worker die."""

    def __init__(self, jobs: Sequence[Job], crew: Crew, store: Store, room: Room, locks: Locks) -> None:
        self.waiting = OrderedDict((job.key, job) for job in jobs)  # taken from the front, slow with a plain dict
        self.running: dict[str, Job] = {}
        self.retried: set[str] = set()
        self.is_told = False
        self.crew, self.store, self.room, self.locks = crew, store, room, locks

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        while self.waiting or self.running:
            for job in self._hand_over():
                yield job, Elsewhere()
            # What waits although a worker is free may be in other hands, so it is soon looked at again.
            is_kept_waiting = self.crew.n_free > 0 and bool(self.waiting)
            for job, outcome in self.crew.wait(POLL_S if is_kept_waiting else None):
                del self.running[job.key]
                self.locks.release(job.key)
                if isinstance(outcome, Failed) and outcome.is_worker_fault and job.key not in self.retried:
                    self._put_back(job)
                else:
                    yield job, _worded(outcome)

    def _hand_over(self) -> Iterator[Job]:
        """Give jobs to the workers that are free; yield those that another process has done."""
        for job in tuple(self.waiting.values()):
            if not self.crew.n_free:
                return
            if not self.room.has_room(job, self.running.values()):
                continue
            if self.store.has_job(job.key):
                del self.waiting[job.key]
                yield job
            elif self.locks.acquire(job.key):
                if self.store.has_job(job.key):  # done and released between the two looks
                    self.locks.release(job.key)
                    continue
                self.running[job.key] = self.waiting.pop(job.key)
                self.crew.start(job)
        self._say_waiting()

    def _say_waiting(self) -> None:
        """Tell, once, that all that is left is in the hands of others."""
        if self.waiting and not self.running and not self.is_told:
            self.is_told = True
            warnings.warn(f"waiting for {len(self.waiting)} jobs that another process has in hand", stacklevel=2)

    def _put_back(self, job: Job) -> None:
        """Run a job once more when nothing else runs: it may have been the memory that all of them took."""
        self.retried.add(job.key)
        self.waiting[job.key] = job
        self.room = dataclasses.replace(self.room, memory={**self.room.memory, job.key: float("inf")})


def _worded(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Failed) and outcome.is_worker_fault:
        return Failed(f"{outcome.reason}, twice")
    return outcome


def failure_of(error: BaseException) -> Failed:
    """Word why a job failed.

    Raises
    ------
    DiskError : the worker could not write to the store, as none could.
    """
    if isinstance(error, DiskError):
        raise error
    return Failed(str(error) if isinstance(error, SerbenchError) else f"{type(error).__name__}: {error}")
