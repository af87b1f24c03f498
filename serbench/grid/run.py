"""The stage `grid`: names and options -> cells -> jobs -> predictions, resumable job by job.

Jobs run in parallel worker processes. One failed job fails the cells that need it, with its reason, and stops no other.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

import serbench
from serbench.classifiers import find_classifier
from serbench.classifiers.spaces import Space, read_spaces
from serbench.corpora import Names, as_names
from serbench.corpora.catalogue import Catalogue, entries_of
from serbench.corpora.entry import AVAILABLE, UNSTATED, Corpus
from serbench.corpora.labels import scan_corpus
from serbench.corpora.segments import MAJORITY
from serbench.corpora.tasks import EmotionTask, common_task, find_task
from serbench.errors import (
    ConfigError,
    CorpusError,
    Fault,
    FeatureError,
    ProtocolError,
    SerbenchError,
    StoreError,
    listed,
)
from serbench.features import FeatureSet, find_feature_set
from serbench.features.extract import Extracted, Failure, audio_hashes, count_missing, extract_features, import_features
from serbench.features.own import OwnFeatures, is_file_name, read_own_features
from serbench.features.table import map_features, stored_rows
from serbench.grid.cells import CellRecord, read_cell, write_cell
from serbench.grid.cluster import ClusterCrew
from serbench.grid.estimate import PROCESS, START_S, Estimate
from serbench.grid.plan import Job, PlannedCell, check_input, make_plan, plan_cells
from serbench.grid.request import DEFAULTS, GridRequest, check_request
from serbench.grid.utterances import CorpusData, Question, check_has_emotions, joined
from serbench.grid.workers import Crew, LocalCrew, run_jobs
from serbench.protocols import Draw, find_protocol
from serbench.store.files import is_damaged
from serbench.store.memory import free_memory
from serbench.store.results import Store
from serbench.workspace import HERE, Workspace


@dataclass(frozen=True, slots=True)
class GridPlan:
    """Cells, their jobs by key, and which of the jobs the store misses or has damaged."""

    cells: tuple[CellRecord, ...]
    jobs: Mapping[str, Job]
    todo: tuple[Job, ...]
    estimate: Estimate

    @staticmethod
    def of_all(plans: Sequence[GridPlan]) -> GridPlan:
        """Return what several plans do together: cells and jobs that they share are there once."""
        cells = {one.cell.name: one for plan in plans for one in plan.cells}
        jobs = {key: job for plan in plans for key, job in plan.jobs.items()}
        todo = {job.key: job for plan in plans for job in plan.todo}
        n_features = {key: n for plan in plans for key, n in plan.estimate.n_features.items()}
        estimate = replace(plans[0].estimate, n_features=n_features)
        return GridPlan(tuple(cells.values()), jobs, tuple(todo.values()), estimate)

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
        """Time that the jobs to do are expected to take with so many workers, from their start, and bytes of memory."""
        seconds = [self.estimate.seconds(job) for job in self.todo]
        filled = sum(s * min(1.0, self.estimate.memory(job) / free) for s, job in zip(seconds, self.todo, strict=True))
        return START_S + max(sum(seconds) / workers, filled, *seconds) if seconds else 0.0


@dataclass(frozen=True, slots=True)
class GridResult:
    """A grid as planned and, once `failed` is not None, as done.

    Parameters
    ----------
    to_extract : in a dry run, rows of features that a run would extract first, and the seconds of one core they take.
    left_out : why corpora on this disk take no part, where none was named: they lack what is asked for.
    failed : why jobs failed, by key.
    elsewhere : how many of the jobs another process did meanwhile.
    """

    plan: GridPlan = field(repr=False)
    extracted: Extracted = field(repr=False)
    workspace: Workspace = field(repr=False)
    to_extract: tuple[int, float] = (0, 0.0)
    failed: Mapping[str, str] | None = field(default=None, repr=False)
    elsewhere: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        done = "planned" if self.failed is None else f"{len(self.plan.todo) - len(self.failed)} done"
        cells, jobs = len(self.plan.cells), len(self.plan.jobs)
        return f"GridResult({cells} cells, {jobs} jobs, {done}, {len(self.refused)} refused)"

    @property
    def refused(self) -> dict[str, str]:
        """Corpora and cells without a result, with the reason."""
        failed, refused = self.failed or {}, dict(self.extracted.refused)
        for record in self.plan.cells:
            lost = [key for key in record.jobs if key in failed]
            if lost or record.reason:
                reason = f"{len(lost)} of its jobs failed: {failed[lost[0]]}" if lost else record.reason
                refused[record.cell.name] = reason
        return refused

    def scores(self) -> pd.DataFrame:
        """Scores of the cells of this grid; `load_scores` has those of the whole results folder."""
        cells = [one.cell.row for one in self.plan.cells]
        shown = [{**c, "preprocessing": c["preprocessing"] + vote} for c in cells for vote in ("", MAJORITY)]
        scores: pd.DataFrame = serbench.load_scores(self.workspace).merge(pd.DataFrame(shown))
        return scores


def run_grid(corpora: Names = None, request: GridRequest = DEFAULTS, workspace: Workspace = HERE) -> GridResult:
    """Run every combination of corpora, features and classifiers that the store lacks; see `plan_grid`."""
    return run_planned_grid(plan_grid(corpora, request, workspace))


def plan_grid(
    corpora: Names = None, request: GridRequest = DEFAULTS, workspace: Workspace = HERE, *, dry_run: bool = False
) -> GridResult:
    """Lay out cells and jobs and fit nothing; what the plan needs is indexed and extracted first.

    Parameters
    ----------
    corpora : names; None for every corpus that is on disk and has the labels that are asked for.
    dry_run : index only, and plan as if the features had been extracted; `to_extract` counts those that lack.

    Raises
    ------
    SerbenchError : a name or option is wrong, or not one corpus could be used or has the labels that are asked for.
    """
    catalogue = workspace.catalogue()
    entries = entries_of(catalogue, corpora)
    names = [entry.name for entry in entries]
    classifiers = [find_classifier(name) for name in dict.fromkeys(as_names(request.classifiers) or ())]
    check_request(request, names)
    task, (registered, own) = asked_task(catalogue, request), _features(request)
    sources: list[FeatureSet | OwnFeatures] = [*own, *registered]
    for source, classifier in itertools.product(sources, classifiers):
        with contextlib.suppress(SerbenchError):
            check_input(source, classifier)
            break
    else:  # nothing goes together
        check_input(sources[0], classifiers[0])
    spaces = {} if request.space is None else read_spaces(Path(request.space))
    left_out = _left_out(entries, task, request, workspace, is_named=bool(corpora))
    names = [name for name in names if name not in left_out]
    wanted = () if dry_run else [features.name for features in registered]
    extracted = extract_features(names, wanted, workspace, segment=request.segment)
    protocol, store = find_protocol(request.protocol), workspace.store()
    if protocol.is_across and len(extracted.done) < 2:  # another question would be answered than was asked
        found = f"1 corpus that can be used ({extracted.done[0].corpus})"
        faults = [Fault(name, reason) for name, reason in extracted.refused.items()]
        raise CorpusError([Fault(f"--protocol {protocol.name}", found, "at least two"), *faults])
    data = [
        CorpusData(catalogue.corpus(e.corpus), e.index, e.partial, e.note, catalogue.namespace(e.corpus))
        for e in extracted.done
    ]
    extracted = replace(extracted, imported=tuple(_import_own(own, [d.index for d in data], store)))
    is_told = task.target != "emotion" or request.task not in (None, AVAILABLE) or request.emotions is not None
    if is_told or not protocol.is_across:
        task = task.for_corpora([d.corpus for d in data])
    else:  # all emotions that the corpora have in common
        task = common_task(catalogue, {d.name: d.index for d in data}, where=as_names(request.where) or ())
    space_file = "" if request.space is None else Path(request.space).name
    cells: list[tuple[CellRecord, PlannedCell | None]] = []
    for source in sources:
        if dry_run and source in registered:  # as if they were extracted
            features = {d.name: set(audio_hashes(d.index).items()) for d in data}
        else:
            features = {d.name: stored_rows(store.features(source.key, d.stored)) for d in data}
        for question, seeds in _questions(data, source, features, task, request):
            space_of = {c.name: spaces.get(c.name) or Space.of(c, is_quick=request.quick) for c in classifiers}
            variants = [(c, space_of[c.name], seed) for c in classifiers for seed in seeds]
            cells += plan_cells(question, variants, store, space_file=space_file)
    jobs, made = make_plan([planned for _, planned in cells if planned is not None])
    fields = iter(made)
    records = tuple(record if planned is None else replace(record, **next(fields)) for record, planned in cells)
    todo = [job for job in jobs.values() if not (path := store.job(job.key)).is_file() or is_damaged(path)]
    estimate = Estimate.of(store, {source.key: _numbers(source, data) for source in sources})
    todo.sort(key=lambda job: (-estimate.seconds(job), job.key))
    missing = [count_missing(d.index, features, store) for d in data for features in registered] if dry_run else []
    plan = GridPlan(records, jobs, tuple(todo), estimate)
    to_extract = sum(n for n, _ in missing), sum(seconds for _, seconds in missing)
    return GridResult(plan, extracted, workspace, to_extract, left_out=left_out)


def _left_out(
    entries: Sequence[Corpus], task: EmotionTask, request: GridRequest, workspace: Workspace, *, is_named: bool
) -> dict[str, str]:
    """Return which corpora lack what is asked for, by their labels alone; none where corpora are named.

    `ConfigError` where not one corpus has it; nothing has been decoded or stored yet.
    """
    lacking: dict[str, SerbenchError] = {}
    for corpus in entries:
        try:
            scanned = scan_corpus(corpus, partial=workspace.partial).table
        except CorpusError:  # extraction will say why
            continue
        try:
            selected = task.select(scanned, corpus)
            if not find_protocol(request.protocol).is_across and task.name != AVAILABLE:
                check_has_emotions(corpus.name, selected, task)
        except SerbenchError as error:
            lacking[corpus.name] = error
        else:
            if is_named:
                return {}
    if len(lacking) == len(entries):
        raise ConfigError([fault for error in lacking.values() for fault in error.faults])
    return {} if is_named else {name: str(error) for name, error in lacking.items()}


def _questions(
    corpora: Sequence[CorpusData],
    source: FeatureSet | OwnFeatures,
    extracted: Mapping[str, set[tuple[str, str]]],
    task: EmotionTask,
    request: GridRequest,
) -> Iterator[tuple[Question, Sequence[int]]]:
    """Yield every question with its seeds, with those of the diagonal where a protocol has one of its own."""
    named = find_protocol(request.protocol)
    nameless = [data.corpus.name for data in corpora if data.language == UNSTATED]
    if nameless and (named.meets == "other languages" or task.target == "language"):
        todo = "Add `language: TAG`, e.g. fi or en-US, to its block in corpora.yaml"
        found = f"corpora without a language ({listed(nameless)})"
        raise ProtocolError(f"--protocol {named.name}", found, "the language of each corpus", todo)
    for protocol in [find_protocol(named.diagonal), named] if named.diagonal else [named]:
        pairings = protocol.pairings([data.language for data in corpora])
        if task.target == "language":  # all corpora in one cell
            pairings = [(tuple(range(len(corpora))), ())]
        draws: list[tuple[Draw | None, Sequence[int]]] = [(None, request.seeds)]
        if protocol.needs == "k":
            draws = [(Draw(k, request.weight, seed), [seed]) for seed in request.seeds for k in request.k]
        for (tested, others), (draw, seeds) in itertools.product(pairings, draws):
            own, first = task, corpora[tested[0]]
            with contextlib.suppress(SerbenchError):  # a filter that does not fit: its cell will be refused
                own = task.for_index(first.index, first.corpus)
            question = Question(
                tested=tuple(corpora[i] for i in tested),
                others=tuple(corpora[i] for i in others),
                protocol=protocol,
                task=own,
                source=source,
                extracted=extracted,
                inner="none" if request.quick else str(request.inner),
                partition=request.partition or "",
                draw=draw,
                pool=joined(corpora),
                segment=request.segment,
                **request.axes,
            )
            yield question, seeds


def _numbers(source: FeatureSet | OwnFeatures, corpora: Sequence[CorpusData]) -> int:
    """Count the features of an utterance, of a framewise set those of all frames of one of mean length."""
    if source.hop_s is None:
        return source.n_features
    durations = [seconds for data in corpora for seconds in data.index["duration_s"].dropna()]
    return source.n_features * max(1, round(float(sum(durations)) / max(1, len(durations)) / source.hop_s))


def run_planned_grid(planned: GridResult) -> GridResult:
    """Run the jobs of a plan that the store lacks and record its cells.

    Raises
    ------
    ClusterError : the scheduler cannot be used.
    DiskError : the store cannot be written; what was done until then is stored.
    """
    plan, store = planned.plan, planned.workspace.store()
    if plan.jobs:  # else no cell can be carried out, and the records of all would stay without a value
        _remove_replaced(plan, store)
        for record in plan.cells:
            write_cell(store, record)
    for path in (store.job(job.key) for job in plan.todo):
        if is_damaged(path):  # still: another process may have made it again
            warnings.warn(f"{path} is damaged; its predictions are made anew", stacklevel=2)
            path.unlink(missing_ok=True)
    failed, elsewhere = _run_jobs(plan, store, planned.workspace) if plan.todo else ({}, 0)
    done = replace(planned, failed=failed, elsewhere=elsewhere)
    for record in plan.cells:
        reason = done.refused.get(record.cell.name)
        if reason and not record.reason:
            write_cell(store, replace(record, reason=store.worded(reason)))
    return done


def _run_jobs(plan: GridPlan, store: Store, workspace: Workspace) -> tuple[dict[str, str], int]:
    """Run jobs by local processes, or by a dask scheduler; return which failed, and how many others did meanwhile."""
    tables = {(job.recipe.features, id(job.rows)): job.rows for job in plan.todo}
    for features, corpus in sorted({(key, name) for (key, _), rows in tables.items() for name in set(rows["stored"])}):
        with contextlib.suppress(StoreError):  # a damaged part: the jobs that need it will say so
            map_features(store.features(features, corpus))  # before any of the workers would
    memory, free = {job.key: plan.estimate.memory(job) for job in plan.todo}, free_memory()
    crew: Crew
    if workspace.scheduler is None:
        n_workers = max(1, min(workspace.workers, len(plan.todo), int(free / PROCESS)))
        crew = LocalCrew(store, n_workers=n_workers, timeout_s=workspace.job_timeout_s)
        for name in sorted({job.recipe.classifier for job in plan.todo}):
            find_classifier(name).prepare(workspace.progress)
    else:
        crew, free = ClusterCrew(store, workspace), math.inf  # memory is what each worker's machine says
    failed: dict[str, str] = {}
    elsewhere, seconds_done, expected_s = 0, 0.0, plan.seconds
    workspace.progress("grid", 0, len(plan.todo), 0.0)
    # Closed whatever happens: a notebook keeps the frames of an exception, and with them locks, alive.
    with contextlib.closing(run_jobs(plan.todo, crew, store, memory=memory, free=free)) as outcomes:
        for done, (job, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, str):
                failed[job.key] = outcome
            elif outcome is None:
                elsewhere += 1
            else:
                plan.estimate.note(store, job, outcome)
            seconds_done += plan.estimate.seconds(job)
            workspace.progress("grid", done, len(plan.todo), seconds_done / expected_s)
    return {key: why for key, why in failed.items() if not store.job(key).is_file()}, elsewhere


def _remove_replaced(plan: GridPlan, store: Store) -> None:
    """Remove cells of the store that were asked for as those of this plan, before their inner rule was another."""
    replaced = {replace(record.cell, inner=record.inner_title) for record in plan.cells}
    own = {record.cell.name for record in plan.cells}
    for path in (path for path in store.cells if path.stem not in own):
        try:
            record = read_cell(path)
        except StoreError as error:
            if path.exists():  # else another process has removed it
                warnings.warn(str(error), stacklevel=2)
            continue
        if replace(record.cell, inner=record.inner_title) in replaced:
            path.unlink(missing_ok=True)


def _features(request: GridRequest) -> tuple[list[FeatureSet], list[OwnFeatures]]:
    """Find the registered sets among `--features`, and read the files."""
    names = list(dict.fromkeys(as_names(request.features) or ()))
    files = [name for name in names if is_file_name(name)]
    own = [read_own_features(Path(name)) for name in files]
    if len({features.name for features in own}) < len(own):
        raise FeatureError("--features", f"{', '.join(files)}: two files of one name", "names that tell them apart")
    registered = [find_feature_set(name) for name in names if name not in files]
    for of in registered:
        if of.piece_s is not None and request.segment != of.piece_s:
            found = "utterances that are not cut" if request.segment is None else f"pieces of {request.segment:g} s"
            raise ConfigError(of.name, found, f"pieces of {of.piece_s:g} s", f"Give --segment {of.piece_s:g}")
    return registered, own


def _import_own(own: Sequence[OwnFeatures], indexes: Sequence[pd.DataFrame], store: Store) -> list[Failure]:
    """Copy a user's features into the store and return what has none; a file must cover one of the corpora at least."""
    failed: list[Failure] = []
    for features in own:
        unknown: list[FeatureError] = []
        for index in indexes:
            try:
                failed += import_features(features, index, store)
            except FeatureError as error:
                unknown.append(error)
        if len(unknown) == len(indexes):
            raise unknown[0]
    return failed


def check_whole(request: GridRequest) -> None:
    """Refuse pieces where other systems meet serbench: they are told whole utterances, and predict these."""
    if request.segment is not None:
        todo = "Cut the utterances in your own program, and let their pieces vote"
        raise ConfigError("segment", f"{request.segment:g} s", "none: folds are of whole utterances", todo)


def asked_task(catalogue: Catalogue, request: GridRequest) -> EmotionTask:
    """Resolve what a request tells apart."""
    where = as_names(request.where) or ()
    return find_task(catalogue, task=request.task, emotions=request.emotions, where=where, target=request.target)
