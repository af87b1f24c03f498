"""The grid: cells -> jobs -> predictions, in parallel worker processes and resumable job by job.

One failed job fails the cells that need it, with its reason, and stops no other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serbench.classifiers import Classifier
from serbench.classifiers.spaces import Space
from serbench.errors import StoreError, UnknownNameError
from serbench.features.table import map_features
from serbench.grid.cells import Cell, CellRecord, read_cell, write_cell
from serbench.grid.estimate import Estimate, note_seconds
from serbench.grid.plan import Choice, GridOptions, Job, Plan, PlannedCell, make_plan, plan_cell, with_jobs
from serbench.grid.utterances import CorpusData, FeatureSource
from serbench.grid.workers import Crew, Elsewhere, Failed, LocalCrew, Room, run_jobs
from serbench.protocols import Draw, Protocol, all_at_once, find_protocol
from serbench.store.files import is_damaged
from serbench.store.memory import free_memory
from serbench.store.results import Store
from serbench.workspace import Progress, silent

SCALINGS = ("train", "speaker", "corpus", "none")


def check_scaling(scaling: str) -> None:
    """Check the name of a scaling; `UnknownNameError` suggests the nearest."""
    if scaling not in SCALINGS:
        raise UnknownNameError("scaling", scaling, SCALINGS)


@dataclass(frozen=True, slots=True)
class GridPlan:
    """Cells, their jobs, and which of the jobs the store lacks; `damaged` are those of them that it has damaged."""

    cells: tuple[PlannedCell, ...]
    plan: Plan
    todo: tuple[Job, ...]
    estimate: Estimate
    damaged: tuple[Job, ...] = ()

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
    """What a run did: `failed` maps job keys to reasons, `elsewhere` counts what another process did meanwhile."""

    plan: GridPlan
    failed: Mapping[str, str]
    elsewhere: int = 0

    @property
    def refused(self) -> dict[str, str]:
        """Cells without predictions, by name, with the reason."""
        refused = {cell.cell.name: cell.refused for cell in self.plan.cells if cell.refused}
        for cell in self.plan.cells:
            lost = [key for key in cell.record.jobs if key in self.failed]
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
    choices = _choices(corpora, features, classifiers, spaces, options)
    cells = [plan_cell(choice, options.of(choice), store) for choice in choices]
    plan = make_plan([cell.request for cell in cells if cell.request is not None])
    planned = iter(plan.folds)
    whole = tuple(
        cell if cell.request is None else dataclasses.replace(cell, record=with_jobs(cell.record, next(planned)))
        for cell in cells
    )
    absent = [job for job in plan.jobs.values() if not store.has_job(job.key)]
    damaged = [job for job in plan.jobs.values() if is_damaged(store.job(job.key))]
    todo = absent + damaged
    estimate = Estimate.of(store, {source.key: source.numbers(corpora) for source in features})
    longest_first = sorted(todo, key=lambda job: (-estimate.seconds(job), job.key))
    return GridPlan(whole, plan, tuple(longest_first), estimate, tuple(damaged))


def _choices(
    corpora: Sequence[CorpusData],
    features: Sequence[FeatureSource],
    classifiers: Sequence[Classifier],
    spaces: Mapping[str, Space],
    options: GridOptions,
) -> Iterator[Choice]:
    """Yield every combination, with the cells of the diagonal where a protocol has one of its own."""
    asked = find_protocol(options.protocol)
    protocols = [find_protocol(asked.diagonal), asked] if asked.diagonal else [asked]
    for protocol, source, c, seed in itertools.product(protocols, features, classifiers, options.seeds):
        space = spaces.get(c.name, Space.of(c))
        for tested, others in _paired(corpora, protocol, options):
            for draw in _draws(protocol, options, seed):
                yield Choice(tested, others, protocol, source, c, space, seed, draw)


_Paired = tuple[tuple[CorpusData, ...], tuple[CorpusData, ...]]


def _paired(corpora: Sequence[CorpusData], protocol: Protocol, options: GridOptions) -> Iterator[_Paired]:
    """Yield the corpora that cells test, and the others that they train on."""
    pairings = all_at_once if options.task.target == "language" else protocol.pairings
    for tested, others in pairings([data.language for data in corpora]):
        yield tuple(corpora[i] for i in tested), tuple(corpora[i] for i in others)


def _draws(protocol: Protocol, options: GridOptions, seed: int) -> list[Draw | None]:
    return [Draw(k, weight, seed) for k, weight in options.draws] if protocol.needs == "k" else [None]


@dataclass(frozen=True, slots=True)
class Workers:
    """Who runs jobs: processes of this machine, or the workers of a dask `scheduler` (its address, or "local").

    `jobs` is how many at a time, where that is not the scheduler's to say; one that takes longer than `timeout_s`
    seconds is stopped and has failed.
    """

    jobs: int
    timeout_s: float | None = None
    scheduler: str | None = None


def run_grid(plan: GridPlan, store: Store, workers: Workers, *, progress: Progress = silent) -> GridRun:
    """Record the cells, run the jobs that the store lacks by workers, and record what failed.

    Raises
    ------
    ClusterError : the scheduler cannot be used.
    DiskError : the store cannot be written; what was done until then is stored.
    """
    remove_replaced(plan, store)
    for cell in plan.cells:
        write_cell(store, cell.record)
    for path in (store.job(job.key) for job in plan.damaged):
        if is_damaged(path):  # still: another process may have made it anew
            warnings.warn(f"{path} is damaged; its predictions are made anew", stacklevel=2)
            path.unlink(missing_ok=True)
    _map_all(plan.todo, store)
    run = _run_all(plan, store, workers, progress) if plan.todo else GridRun(plan, {})
    for cell in plan.cells:
        reason = run.refused.get(cell.cell.name)
        if reason and not cell.refused:
            write_cell(store, dataclasses.replace(cell.record, state="refused", reason=store.worded(reason)))
    return run


def _run_all(plan: GridPlan, store: Store, workers: Workers, progress: Progress) -> GridRun:
    memory = {job.key: plan.estimate.memory(job) for job in plan.todo}
    if workers.scheduler is None:
        room = Room.of(memory, workers=workers.jobs, free=free_memory())
        local = LocalCrew(store, workers=room.workers, timeout_s=workers.timeout_s)
        with contextlib.closing(local):
            return _run_by(local, plan, store, room, progress)

    from serbench.grid.cluster import ClusterCrew  # dask is optional, and slow to import

    distant = ClusterCrew(store, scheduler=workers.scheduler, workers=workers.jobs, timeout_s=workers.timeout_s)
    with contextlib.closing(distant):  # memory is what each worker's machine says
        return _run_by(distant, plan, store, Room(distant.n_free, sys.float_info.max, memory), progress)


def _run_by(crew: Crew, plan: GridPlan, store: Store, room: Room, progress: Progress) -> GridRun:
    """Run the jobs of a plan, noting how long they take and which fail."""
    failed: dict[str, str] = {}
    elsewhere = 0
    seconds_done = 0.0
    progress("grid", 0, len(plan.todo), 0.0)
    # Closed whatever happens: a notebook keeps the frames of an exception, and with them claims, alive.
    with contextlib.closing(run_jobs(room.in_order(plan.todo), crew, store, room)) as outcomes:
        for done, (job, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, Failed):
                failed[job.key] = outcome.reason
            elif isinstance(outcome, Elsewhere):
                elsewhere += 1
            else:
                note_seconds(store, job, seconds=outcome, estimate=plan.estimate)
            seconds_done += plan.estimate.seconds(job)
            progress("grid", done, len(plan.todo), seconds_done / plan.seconds)
    return GridRun(plan, {key: why for key, why in failed.items() if not store.has_job(key)}, elsewhere)


def _map_all(jobs: Sequence[Job], store: Store) -> None:
    """Put the features of all jobs into files that the workers map, before any of them would."""
    rows = {(job.recipe.features, id(job.rows)): job.rows for job in jobs}
    for (features, _), known in rows.items():
        for corpus in sorted(set(known.corpora.values())):
            with contextlib.suppress(StoreError):  # a damaged part: the jobs that need it will say so
                map_features(store.features(features, corpus))


def remove_replaced(plan: GridPlan, store: Store) -> None:
    """Remove cells of the store that were asked for as those of this plan, before their inner rule was another."""
    asked = {_asked_as(cell.record) for cell in plan.cells}
    own = {cell.cell.name for cell in plan.cells}
    for path in store.cells:
        record = None if path.stem in own else _read_if_sound(path)
        if record is not None and _asked_as(record) in asked:
            path.unlink(missing_ok=True)


def _read_if_sound(path: Path) -> CellRecord | None:
    """Read a cell's record; nothing where another process has removed it or it is damaged, which is told."""
    try:
        return read_cell(path)
    except StoreError as error:
        if path.exists():
            warnings.warn(str(error), stacklevel=2)
        return None


def _asked_as(record: CellRecord) -> Cell:
    """Return the cell with the inner rule as it was asked for."""
    return dataclasses.replace(record.cell, inner=record.inner_title)
