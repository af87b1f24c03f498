"""The grid: cells -> jobs -> predictions, in parallel worker processes and resumable job by job.

One failed job fails the cells that need it, with its reason, and stops no other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool

from serbench.cells import (
    Choice,
    CorpusData,
    FeatureSource,
    GridOptions,
    PlannedCell,
    plan_cell,
    with_evaluations,
)
from serbench.classifiers import Classifier
from serbench.classifiers.spaces import Space
from serbench.comparable import BASIS, Facts, column, differing, facts, is_comparable
from serbench.errors import SerbenchError, StoreError, listed
from serbench.estimate import PROCESS, Estimate, free_memory, note_seconds
from serbench.jobs import run_job, settle_process
from serbench.keys import digest
from serbench.plan import Job, Plan, make_plan
from serbench.progress import Progress, silent
from serbench.store import OUTDATED, Store, map_features, read_json, write_json

_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")}
_ONE_THREAD["VECLIB_MAXIMUM_THREADS"] = "1"


@dataclass(frozen=True, slots=True)
class GridPlan:
    """Cells, their jobs, and which of the jobs the store has."""

    cells: tuple[PlannedCell, ...]
    plan: Plan
    todo: tuple[Job, ...]
    estimate: Estimate

    @property
    def seconds(self) -> float:
        """Time that the jobs to do are expected to take on one core."""
        return sum(map(self.estimate.seconds, self.todo))

    @property
    def memory(self) -> float:
        """Bytes that the largest of the jobs to do is expected to take."""
        return max(map(self.estimate.memory, self.todo), default=0.0)

    def at_once(self, *, workers: int, free: float) -> int:
        """How many of the largest jobs fit into `free` bytes at once; one that does not fit runs alone."""
        return max(1, min(workers, int(free / self.memory))) if self.todo else workers

    def expected_seconds(self, *, workers: int, free: float) -> float:
        """Time that the jobs to do are expected to take with so many workers and so many bytes of memory."""
        seconds = [self.estimate.seconds(job) for job in self.todo]
        filled = sum(s * min(1.0, self.estimate.memory(job) / free) for s, job in zip(seconds, self.todo, strict=True))
        return max(sum(seconds) / workers, filled, *seconds) if seconds else 0.0


@dataclass(frozen=True, slots=True)
class GridRun:
    """What a run did: `failed` maps job keys to reasons."""

    plan: GridPlan
    failed: Mapping[str, str]

    @property
    def refused(self) -> dict[str, str]:
        """Cells without predictions, by name, with the reason."""
        refused = {cell.cell.name: cell.refused for cell in self.plan.cells if cell.refused}
        for cell in self.plan.cells:
            lost = [key for key in cell.record.get("jobs", ()) if key in self.failed]
            if lost:
                refused[cell.cell.name] = f"{len(lost)} of its jobs failed: {self.failed[lost[0]]}"
        return refused


def plan_grid(
    corpora: Sequence[CorpusData],
    features: Sequence[FeatureSource],
    classifiers: Sequence[Classifier],
    spaces: Mapping[str, Space],
    options: GridOptions,
    store: Store,
) -> GridPlan:
    """Lay out every cell, merge their jobs, and see which the store has.

    Raises
    ------
    ProtocolError : the plan leaks.
    """
    choices = itertools.product(corpora, features, classifiers, options.seeds)
    cells = [
        plan_cell(Choice(data, source, c, spaces.get(c.name, Space.of(c)), seed), options, store)
        for data, source, c, seed in choices
    ]
    plan = make_plan([cell.request for cell in cells if cell.request is not None])
    planned = iter(plan.evaluations)
    whole = tuple(
        cell if cell.request is None else dataclasses.replace(cell, record=with_evaluations(cell.record, next(planned)))
        for cell in cells
    )
    todo = [job for job in plan.jobs.values() if not store.job(job.key).is_file()]
    estimate = Estimate.of(store, {source.key: source.n_features for source in features})
    longest_first = sorted(todo, key=lambda job: (-estimate.seconds(job), job.key))
    return GridPlan(whole, plan, tuple(longest_first), estimate)


def run_grid(plan: GridPlan, store: Store, *, jobs: int, progress: Progress = silent) -> GridRun:
    """Record the cells, run the jobs that the store lacks in worker processes, and record what failed."""
    mark_outdated(plan, store)
    for cell in plan.cells:
        write_json(store.cell(cell.cell.name), cell.record)
    failed: dict[str, str] = {}
    done, seconds_done = 0, 0.0
    _map_all(plan.todo, store)
    room = Room.of(plan, workers=jobs, free=free_memory())
    for job, outcome in _run_jobs(room.in_order(plan.todo), store, room):
        done += 1
        if isinstance(outcome, str):
            failed[job.key] = outcome
        else:
            note_seconds(store, job, seconds=outcome, estimate=plan.estimate)
        seconds_done += plan.estimate.seconds(job)
        progress("grid", done, len(plan.todo), seconds_done / plan.seconds)
    run = GridRun(plan, failed)
    refused = run.refused
    for cell in plan.cells:
        if cell.cell.name in refused and not cell.refused:
            write_json(store.cell(cell.cell.name), {**cell.record, "refused": refused[cell.cell.name]})
    return run


def _map_all(jobs: Sequence[Job], store: Store) -> None:
    """Put the features of all jobs into files that the workers map, before any of them would."""
    rows = {(job.recipe.features, id(job.rows)): job.rows for job in jobs}
    for (features, _), known in rows.items():
        for corpus in sorted(set(known.corpora.values())):
            with contextlib.suppress(StoreError):  # a damaged part: the jobs that need it will say so
                map_features(store.features(features, corpus))


def mark_outdated(plan: GridPlan, store: Store) -> None:
    """Refuse cells in the store that must not stand in one column with those of this plan.

    They were made of other labels, audio or test groups of the same corpus and task, or with other versions of what
    moves numbers. Running them again replaces them.
    """
    current: dict[tuple[str, str, str], dict[str, str]] = {}
    for cell in plan.cells:
        if cell.request is not None:
            current.setdefault(column(cell.record), {}).update(facts(cell.record))
    places = {_place(cell.record) for cell in plan.cells}
    own = {cell.cell.name for cell in plan.cells}
    for path in store.cells:
        record = _read_if_there(path)
        if path.stem in own or record is None:
            continue
        if _place(record) in places:  # the same request, before the number of test groups changed
            path.unlink(missing_ok=True)
            continue
        beside = current.get(column(record))
        if record["refused"] or beside is None:
            continue
        reason = _outdated(record, beside)
        if reason:
            write_json(path, {**record, "refused": f"{OUTDATED} {reason}; run it again"})


def _read_if_there(path: Path) -> Any:
    """Read a cell's record, or nothing where another process has removed it; a damaged one is an error."""
    try:
        return read_json(path)
    except StoreError:
        if path.exists():
            raise
        return None


def _outdated(record: Mapping[str, Any], now: Facts) -> str:
    if not is_comparable(record):
        return "recorded by an earlier serbench"
    own = facts(record)
    names = differing(own, now)
    if BASIS in names:
        return "made from earlier labels, recordings or folds"
    return f"made with {listed(f'{name} {own[name]}, now {now[name]}' for name in names)}" if names else ""


def _place(record: Mapping[str, Any]) -> str:
    """What is asked for: all fields of a cell, the inner rule as it was asked."""
    return digest({**record["cell"], "inner": record["inner_title"]})


@dataclass(frozen=True, slots=True)
class Room:
    """What jobs may take at once: `workers` processes, and `free` bytes of which each job takes `memory`."""

    workers: int
    free: float
    memory: Mapping[str, float]

    @staticmethod
    def of(plan: GridPlan, *, workers: int, free: float) -> Room:
        """Make room for no more processes than there are jobs, or than fit when they do nothing yet."""
        useful = max(1, min(workers, len(plan.todo), int(free / PROCESS)))
        return Room(useful, free, {job.key: plan.estimate.memory(job) for job in plan.todo})

    def in_order(self, jobs: Sequence[Job]) -> list[Job]:
        """Put first, the largest before, the jobs of which there cannot be one for each worker at once.

        Others fill the memory that these leave; the other way round they would wait to the end and run alone.
        """
        least = self.free / self.workers
        return sorted(jobs, key=lambda job: -self.memory[job.key] if self.memory[job.key] > least else 0.0)

    def next_of(self, waiting: Iterable[Job], running: Iterable[Job]) -> Job | None:
        """Choose the first of the jobs that wait to be handed to the pool; None while there is no room for any.

        A worker should find its next job when it ends one, so twice as many as there are workers are handed over.
        """
        under_way = list(running)
        if len(under_way) >= 2 * self.workers:
            return None
        left = self.free - sum(self.memory[job.key] for job in under_way)
        return next((job for job in waiting if self.memory[job.key] <= left or not under_way), None)


def _run_jobs(jobs: Sequence[Job], store: Store, room: Room) -> Iterator[tuple[Job, float | str]]:
    """Yield each job with its seconds, or with the reason why it failed, as they finish.

    A worker that dies takes its pool with it. The jobs that were running are then run one at a time, so that only the
    one that kills its worker fails, and the rest goes on in a new pool.
    """
    left = {job.key: job for job in jobs}
    while left:
        suspects: dict[str, Job] = {}
        try:
            yield from _run_pool(left, suspects, store, room)
        except BrokenProcessPool:
            for job in suspects.values():
                try:
                    yield from _run_pool({job.key: job}, {}, store, dataclasses.replace(room, workers=1))
                except BrokenProcessPool:
                    yield job, "its worker process died twice (killed, or out of memory)"
                del left[job.key]
            store.clear_leftovers()


def _run_pool(
    left: dict[str, Job], suspects: dict[str, Job], store: Store, room: Room
) -> Iterator[tuple[Job, float | str]]:
    """Run jobs in child processes, even with one worker, so that results never depend on the number of workers.

    Finished jobs are taken out of `left`; when a worker dies, `suspects` holds the jobs that were under way.
    """
    pool = get_reusable_executor(max_workers=room.workers, env=_ONE_THREAD, timeout=60, initializer=settle_process)
    waiting = OrderedDict(left)  # taken from the front, which a plain dict does ever more slowly
    running: dict[Future[float], Job] = {}
    try:
        while waiting or running:
            while job := room.next_of(waiting.values(), running.values()):
                del waiting[job.key]
                suspects[job.key] = job
                running[pool.submit(run_job, job.key, job.json, str(store.root))] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                outcome = _outcome(future)
                job = running.pop(future)
                del left[job.key], suspects[job.key]
                yield job, outcome
    except BaseException:
        pool.shutdown(kill_workers=True)
        raise


def _outcome(future: Future[float]) -> float | str:
    """Return a job's seconds, or the reason why it failed; a dead worker is not the job's fault and is raised."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except SerbenchError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
