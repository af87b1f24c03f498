"""What a notebook calls: each stage as one function, chained where one needs another.

A `Workspace` says where results go and how to run; the default is `results/` in the working directory with one
worker per core. Stages are imported inside the functions, so that errors in names come at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serbench import __version__
from serbench.classifiers import CLASSIFIERS, DEFAULT_CLASSIFIERS, find_classifier
from serbench.corpora.catalogue import Catalogue, load_catalogue, root_of, why_absent
from serbench.corpora.schema import Corpus
from serbench.corpora.tasks import EmotionTask, common_task, find_task
from serbench.errors import (
    ConfigError,
    CorpusError,
    Fault,
    FeatureError,
    ProtocolError,
    SerbenchError,
    StoreError,
    UnknownNameError,
)
from serbench.features import DEFAULT_FEATURES, FEATURE_SETS, find_feature_set
from serbench.progress import Progress, silent
from serbench.protocols import Protocol, find_protocol
from serbench.workspace import HERE, Workspace

if TYPE_CHECKING:
    import pandas as pd

    from serbench.audit import CorpusAudit
    from serbench.audit.self_check import SelfCheck
    from serbench.corpora.check import CorpusCheck
    from serbench.experiments import Described
    from serbench.extract import Extraction, Failure
    from serbench.features import FeatureSet
    from serbench.features.own import OwnFeatures
    from serbench.grid import GridPlan, GridRun
    from serbench.members import CorpusData, FeatureSource
    from serbench.report import Report
    from serbench.report.compare import RunComparison
    from serbench.report.formats import Table
    from serbench.score import Scored
    from serbench.store import Store
    from serbench.upkeep import Litter, StoreCheck


Names = Sequence[str] | str | None
"""Names of corpora, features or classifiers; one alone may be given as it is."""


@dataclass(frozen=True, slots=True)
class GridRequest:
    """What a grid runs; every field has the default of `serbench grid`.

    `features`: names or files with an `utterance` column. `emotions` (e.g. "anger,happiness=happiness+excitement") or
    the name of a `task`, or instead a `target`: "arousal", "valence", "gender" or "language"; without any of them,
    protocols across corpora take all emotions that these have in common. `where`: filters such as "style=improvised".
    `protocol`: a name of `serbench.protocols.PROTOCOLS`; "holdout" needs a `partition` of the corpora's entries,
    "adapt" numbers `k` of utterances to draw, which weigh `weight` each. `space`: a file of spaces. `segment`: seconds
    of the pieces that utterances are cut into, or None.
    """

    features: Names = DEFAULT_FEATURES
    classifiers: Names = DEFAULT_CLASSIFIERS
    task: str | None = None
    emotions: str | None = None
    target: str | None = None
    where: Names = ()
    protocol: str = "within"
    partition: str | None = None
    k: tuple[int, ...] = ()
    weight: float = 1.0
    scaling: str = "train"
    inner: str = "auto"
    space: Path | str | None = None
    seeds: tuple[int, ...] = (0,)
    segment: float | None = None


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an extraction did; `refused` maps corpora that could not be used to the reason.

    `imported` is what a user's own features lack.
    """

    done: tuple[Extraction, ...] = field(repr=False)
    refused: Mapping[str, str]
    imported: tuple[Failure, ...] = field(default=(), repr=False)

    @property
    def failed(self) -> tuple[Failure, ...]:
        """Utterances without features, with the reason."""
        return (*(failure for one in self.done for failure in one.failed), *self.imported)

    @property
    def failures(self) -> pd.DataFrame:
        """Utterances without features as a table: columns utterance, features, reason."""
        import pandas as pd

        rows = [(failure.utterance, failure.features, failure.reason) for failure in self.failed]
        return pd.DataFrame(rows, columns=["utterance", "features", "reason"], dtype="string")


@dataclass(frozen=True, slots=True)
class GridResult:
    """A grid as planned and, once `run` is not None, as done."""

    plan: GridPlan = field(repr=False)
    run: GridRun | None = field(repr=False)
    extracted: Extracted = field(repr=False)
    workspace: Workspace = field(repr=False)
    to_extract: int = 0

    def __repr__(self) -> str:
        done = "planned" if self.run is None else f"{len(self.plan.todo) - len(self.run.failed)} done"
        cells, jobs = len(self.plan.cells), len(self.plan.plan.jobs)
        return f"GridResult({cells} cells, {jobs} jobs, {done}, {len(self.refused)} refused)"

    @property
    def refused(self) -> dict[str, str]:
        """Corpora and cells without a result, with the reason."""
        cells = self.run.refused if self.run else {c.cell.name: c.refused for c in self.plan.cells if c.refused}
        return {**self.extracted.refused, **cells}

    def scores(self) -> pd.DataFrame:
        """Scores of the cells of this grid; `load_scores` has those of the whole results folder."""
        import pandas as pd

        from serbench.corpora.segments import shown_as

        cells = [asdict(one.cell) for one in self.plan.cells]
        planned = pd.DataFrame([{**c, "preprocessing": shown} for c in cells for shown in shown_as(c["preprocessing"])])
        return load_scores(self.workspace).merge(planned)


def list_corpora(workspace: Workspace = HERE) -> dict[str, tuple[Corpus, str | None]]:
    """Return every corpus of the catalogue with the reason why it is not on this disk, or None."""
    return {name: (corpus, why_absent(corpus)) for name, corpus in workspace.catalogue().corpora.items()}


def check_corpus(name: str, workspace: Workspace = HERE, *, deep: bool = False) -> CorpusCheck:
    """Check a corpus on disk against its entry and against the traps of real copies.

    Parameters
    ----------
    deep : decode every sample too, which finds damaged audio and byte-identical recordings.
    """
    from serbench.corpora.check import check_copy

    return check_copy(workspace.catalogue().corpus(name), partial=workspace.partial, deep=deep)


def audit_corpora(names: Names = None, workspace: Workspace = HERE) -> Iterator[CorpusAudit]:
    """Audit the corpora named, or all on disk, before any of their numbers is believed: each as it is asked for.

    Nothing is written but the index of each. Faults of a copy are findings, where other functions raise.

    Raises
    ------
    SerbenchError : a name is unknown, there is no corpus, or the store cannot be written.
    """
    catalogue = workspace.catalogue()
    entries = _entries(catalogue, names)

    from serbench.audit import AuditOptions, audit_corpus

    task = find_task(catalogue, task=None, emotions=None, where=())
    options = AuditOptions(task, workspace.partial, workspace.rehash, workspace.workers)
    store = workspace.store()
    store.prepare()

    def each() -> Iterator[CorpusAudit]:
        with workspace.saving():
            for corpus in entries:
                yield audit_corpus(corpus, store, options, progress=workspace.progress)

    return each()


def audit_serbench(*, progress: Progress = silent) -> SelfCheck:
    """Run serbench on shuffled labels of a synthetic corpus and hold its scores against what they must be."""
    from serbench.audit.self_check import check_self

    return check_self(progress=progress)


def corpus_statistics(names: Names = None, workspace: Workspace = HERE) -> tuple[Table, Extracted]:
    """Return Table 1 (data statistics) of the corpora named, or of all on disk, and what indexing them told."""
    from serbench.report import read_indexes
    from serbench.report.tables import data_table

    extracted = extract_features(names, (), workspace)
    wanted = {e.corpus for e in extracted.done}
    return data_table([corpus for corpus in read_indexes(workspace.store()) if corpus.name in wanted]), extracted


def extract_features(
    corpora: Names = None,
    features: Names = DEFAULT_FEATURES,
    workspace: Workspace = HERE,
    *,
    segment: float | None = None,
) -> Extracted:
    """Index corpora and compute the feature sets that the store lacks.

    Parameters
    ----------
    corpora : names; None for every corpus that is on disk.
    features : names of feature sets; none to make the index only.
    segment : seconds of the pieces that every utterance is cut into, or None; what remains at its end is dropped.

    Raises
    ------
    SerbenchError : a name is unknown, the store cannot be written, or not one corpus could be used.
    """
    catalogue = workspace.catalogue()
    entries = _entries(catalogue, corpora)
    sets = [find_feature_set(name) for name in dict.fromkeys(_names(features) or ())]

    from serbench.corpora.labels import scan_corpus
    from serbench.corpora.segments import check_segment, segmented
    from serbench.extract import extract_corpus

    if segment is not None:
        check_segment(segment)
    store = workspace.store()
    store.prepare()

    with workspace.saving():

        def one(corpus: Corpus) -> Extraction:
            scan = scan_corpus(corpus, partial=workspace.partial)
            return extract_corpus(
                scan if segment is None else segmented(scan, segment),
                sets,
                store,
                jobs=workspace.workers,
                partial=workspace.partial,
                rehash=workspace.rehash,
                progress=workspace.progress,
            )

        done, refused = _each(entries, one)
    return Extracted(tuple(done), refused)


def load_index(corpus: str, workspace: Workspace = HERE, *, segment: float | None = None) -> pd.DataFrame:
    """Return the index of a corpus on disk: one row per utterance, columns as DESIGN section 3 promises.

    With `segment` (seconds) it has one row per piece, and the column `whole` names the utterance of each.
    """
    return extract_features([corpus], (), workspace, segment=segment).done[0].index


def load_features(
    corpus: str, features: str, workspace: Workspace = HERE, *, segment: float | None = None
) -> pd.DataFrame:
    """Return a feature set of a corpus, or of its pieces of `segment` seconds, extracting what is missing.

    Returns
    -------
    float32, one row per utterance (the index), one column per feature; of a framewise set one row per frame, the index
    (utterance, frame), frames from 0. Utterances that failed are absent.
    """
    from serbench.extract import read_corpus_features

    feature_set = find_feature_set(features)
    index = extract_features([corpus], [features], workspace, segment=segment).done[0].index
    return read_corpus_features(index, feature_set.key, workspace.store()).frame()


def run_grid(corpora: Names = None, request: GridRequest = GridRequest(), workspace: Workspace = HERE) -> GridResult:
    """Run every combination of corpora, features and classifiers that the store lacks; see `plan_grid`."""
    return run_planned_grid(plan_grid(corpora, request, workspace))


def plan_grid(
    corpora: Names = None,
    request: GridRequest = GridRequest(),
    workspace: Workspace = HERE,
    *,
    dry_run: bool = False,
) -> GridResult:
    """Lay out cells and jobs and fit nothing; what the plan needs is indexed and extracted first.

    Parameters
    ----------
    corpora : names; None for every corpus that is on disk.
    dry_run : index only, and plan as if the features had been extracted; `to_extract` counts those that lack.

    Raises
    ------
    SerbenchError : a name or option is wrong, or not one corpus could be used.
    """
    catalogue = workspace.catalogue()
    entries = _entries(catalogue, corpora)
    task = _asked_task(catalogue, request)
    classifiers = [find_classifier(name) for name in dict.fromkeys(_names(request.classifiers) or ())]
    check_request(request, [entry.name for entry in entries])
    registered, own = _sources(_names(request.features) or ())

    from serbench.cells import GridOptions, check_inputs
    from serbench.classifiers.spaces import read_spaces
    from serbench.extract import count_lacking
    from serbench.grid import plan_grid as lay_out
    from serbench.members import CorpusData

    check_inputs([*map(_source, own), *map(_source, registered)], classifiers)
    spaces = {} if request.space is None else read_spaces(Path(request.space))
    wanted = () if dry_run else [s.name for s in registered]
    extracted = extract_features([c.name for c in entries], wanted, workspace, segment=request.segment)
    store = workspace.store()
    data = [CorpusData(catalogue.corpus(e.corpus), e.index, e.partial, e.note) for e in extracted.done]
    imported = _import_own(own, [d.index for d in data], store)
    sources = [_source(features) for features in own] + [_source(s, is_assumed=dry_run) for s in registered]
    space_file = "" if request.space is None else Path(request.space).name
    task = _task_of(request, task, data, catalogue)
    options = GridOptions(
        task=task,
        protocol=request.protocol,
        scaling=request.scaling,
        inner=str(request.inner),
        seeds=tuple(request.seeds),
        space_file=space_file,
        partition=request.partition or "",
        draws=tuple((k, request.weight) for k in request.k),
        pool="+".join(sorted(d.corpus.name for d in data)),
        segment=request.segment,
    )
    plan = lay_out(data, sources, classifiers, spaces, options, store)
    to_extract = sum(count_lacking(d.index, registered, store) for d in data) if dry_run else 0
    return GridResult(plan, None, replace(extracted, imported=tuple(imported)), workspace, to_extract)


def check_request(request: GridRequest, corpora: Sequence[str]) -> None:
    """Check the options of a grid against each other, before anything is read.

    Raises
    ------
    SerbenchError : a name is unknown, or a protocol lacks what it needs, or is given what it does not take.
    """
    from serbench.cells import check_scaling
    from serbench.protocols import check_inner

    protocol = find_protocol(request.protocol)
    check_inner(str(request.inner))
    check_scaling(request.scaling)
    faults = [*_protocol_faults(protocol, request, corpora)]
    if any(seed < 0 for seed in request.seeds):
        faults.append(Fault("--seed", f"{min(request.seeds)}", "0 or more"))
    if faults:
        raise ConfigError(faults)


def _protocol_faults(protocol: Protocol, request: GridRequest, corpora: Sequence[str]) -> Iterator[Fault]:
    name = f"--protocol {protocol.name}"
    if protocol.is_across and len(corpora) < 2:
        yield Fault(name, f"{len(corpora)} corpus ({', '.join(corpora)})", "at least two")
    if bool(request.partition) != (protocol.needs == "partition"):
        found = f"--partition {request.partition}" if request.partition else "no --partition"
        yield Fault(name, found, "--partition NAME with --protocol holdout, and only there")
    if bool(request.k) != (protocol.needs == "k"):
        found = f"--k {', '.join(map(str, request.k))}" if request.k else "no --k"
        yield Fault(name, found, "--k N (may be repeated) with --protocol adapt, and only there")
    if request.target == "language" and protocol.name != "pooled":
        todo = "Only corpora of several languages together can be told apart by it"
        yield Fault("--target language", name, "--protocol pooled", todo)
    if any(k < 1 for k in request.k):
        yield Fault("--k", str(min(request.k)), "1 or more utterances; --protocol cross is none of them")
    if not 0 < request.weight < float("inf"):
        yield Fault("--weight", str(request.weight), "a number above 0")


def _task_of(request: GridRequest, task: EmotionTask, data: Sequence[CorpusData], catalogue: Catalogue) -> EmotionTask:
    """Return the task of a grid: across corpora, unless told otherwise, all emotions that they have in common."""
    is_told = task.target != "emotion" or request.task is not None or request.emotions is not None
    if is_told or not find_protocol(request.protocol).is_across:
        return task.for_corpora([d.corpus for d in data])
    indexes = {d.corpus.name: d.index for d in data}
    return common_task(catalogue, indexes, where=_names(request.where) or ())


def run_planned_grid(planned: GridResult) -> GridResult:
    """Run the jobs of a plan that the store lacks and record its cells."""
    from serbench.grid import Workers
    from serbench.grid import run_grid as run_jobs

    workspace = planned.workspace
    workers = Workers(workspace.workers, workspace.job_timeout_s, workspace.scheduler)
    with workspace.saving():
        run = run_jobs(planned.plan, workspace.store(), workers, progress=workspace.progress)
    return replace(planned, run=run)


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """An experiment as run: `absent` corpora, grids `skipped` and `failed`, each with the reason.

    `grids` are those that were planned or run, `report` is None where it was only planned. `earlier` is the digest of
    the description that this results folder was run with before, where that was another one.
    """

    described: Described = field(repr=False)
    present: tuple[str, ...]
    absent: Mapping[str, str]
    skipped: Mapping[str, str]
    failed: Mapping[str, str]
    earlier: str
    grids: tuple[GridResult, ...] = field(repr=False)
    report: Report | None = field(repr=False)

    @property
    def tables(self) -> list[Table]:
        """The tables of this experiment: the paper's values beside ours, and the verdicts on its sentences."""
        mine = f": {self.described.name}"
        found = [*self.report.of("experiment"), *self.report.of("claims")] if self.report else []
        return [table for table in found if table.title.partition(",")[0].endswith(mine)]


def list_experiments() -> dict[str, Described]:
    """Return the experiments that come with serbench, by name."""
    from serbench.experiments import built_in_names, find_experiment

    return {name: find_experiment(name) for name in built_in_names()}


def run_experiment(
    experiment: str,
    workspace: Workspace = HERE,
    corpora: Names = None,
    *,
    dry_run: bool = False,
    on_plan: Callable[[GridResult], None] = lambda planned: None,
) -> ExperimentResult:
    """Run the grids of an experiment one after the other, on those of its corpora that are on this disk, and report.

    Parameters
    ----------
    experiment : a name of `list_experiments`, or a file whose name ends in .yaml.
    corpora : some of the experiment's; None for all.
    dry_run : plan only; nothing is recorded.
    on_plan : called with every grid before it is run.

    Raises
    ------
    ConfigError : with every fault of the experiment.
    CorpusError : not one of its corpora is on this disk.
    """
    from serbench.experiments import check_names, find_experiment

    described = find_experiment(experiment)
    catalogue = workspace.catalogue()
    check_names(described, catalogue)
    present, absent = _here(described, catalogue, _names(corpora))
    earlier = _earlier_digest(described, workspace)
    grids, skipped, failed = [], {}, {}
    for grid in described.experiment.grids:
        names = [name for name in grid.corpora or described.experiment.corpora if name in present]
        fewest = 2 if find_protocol(grid.protocol).is_across else 1
        if len(names) < fewest:
            skipped[grid.title] = f"needs {fewest} corpora, here: {', '.join(names) or 'none'}"
            continue
        try:
            planned = plan_grid(names, GridRequest(**grid.request), workspace, dry_run=dry_run)
        except (ConfigError, CorpusError, FeatureError, ProtocolError) as error:
            failed[grid.title] = str(error)
            continue
        on_plan(planned)
        grids.append(planned if dry_run else run_planned_grid(planned))
    result = ExperimentResult(described, tuple(present), absent, skipped, failed, earlier, tuple(grids), None)
    if dry_run or not grids:
        return result
    _record_experiment(result, workspace)
    return replace(result, report=make_report(workspace))


def _here(
    described: Described, catalogue: Catalogue, wanted: tuple[str, ...] | None
) -> tuple[list[str], dict[str, str]]:
    """Part the corpora of an experiment into those on this disk and the others, with where to get them."""
    of_experiment = described.experiment.corpora
    for name in wanted or ():
        if name not in of_experiment:
            raise UnknownNameError(f"corpus of {described.name}", name, of_experiment)
    absent: dict[str, str] = {}
    for name in of_experiment:
        corpus = catalogue.corpus(name)
        if wanted is not None and name not in wanted:
            absent[name] = "not asked for"
        elif reason := why_absent(corpus):
            absent[name] = f"not on this disk: {reason}"
    present = [name for name in of_experiment if name not in absent]
    if not present:
        expected = "at least one corpus of the experiment"
        raise CorpusError([Fault(name, why, expected, _LIST) for name, why in absent.items()])
    return present, absent


def _earlier_digest(described: Described, workspace: Workspace) -> str:
    """Digest of the description that was run before under this name, where it was another one."""
    from serbench.sealed import read_json

    path = workspace.store().experiment(described.name)
    earlier = str(read_json(path)["digest"]) if path.is_file() else ""
    return earlier if earlier != described.digest else ""


def _record_experiment(result: ExperimentResult, workspace: Workspace) -> None:
    """Write down what was run, on what, and which cells came of it."""
    from serbench.experiments import built_in_names
    from serbench.sealed import write_json

    described = result.described
    refused = {name: why for grid in result.grids for name, why in grid.extracted.refused.items()}
    record = {
        "name": described.name,
        "digest": described.digest,
        "is_built_in": described.name in built_in_names(),
        "serbench": __version__,
        "corpora": [name for name in result.present if name not in refused],
        "absent": {**result.absent, **refused},
        "skipped": {**result.skipped, **result.failed},
        "cells": [asdict(one.cell) for grid in result.grids for one in grid.plan.cells],
        "text": described.text,
    }
    with workspace.saving():
        write_json(workspace.store().experiment(described.name), record)


def make_report(workspace: Workspace = HERE) -> Report:
    """Score every cell of the results folder and write its `report/`."""
    from serbench.report import write_report

    report = _score(workspace)
    with workspace.saving():
        write_report(report, workspace.store())
    return report


def write_figures(report: Report, workspace: Workspace = HERE) -> list[Path]:
    """Draw a report's figures as SVG and PDF into `report/figures/` of the results folder; return the files."""
    from serbench.report.figures import write_figures as write

    with workspace.saving():
        return write(report, workspace.store().report, workspace.progress)


def load_scores(workspace: Workspace = HERE) -> pd.DataFrame:
    """Return the scores of all cells of the results folder: one row per cell, rule and metric. Nothing is written."""
    return _score(workspace).scores


def compare_results(a: Workspace | Path | str, b: Workspace | Path | str, *, metric: str = "uar") -> RunComparison:
    """Say what changed between two results folders (or URLs), cell by cell, or why cells cannot be compared.

    Differences are B minus A, on the utterances that both predict. Nothing is written.

    Parameters
    ----------
    metric : uar, war, kappa or macro_f1; only the first two are tested.
    """
    from serbench.report.compare import check_metric, compare_stores

    check_metric(metric)
    both = [place if isinstance(place, Workspace) else Workspace(results=place) for place in (a, b)]
    names = str(both[0].results), str(both[1].results)
    return compare_stores(both[0].store(), both[1].store(), names, metric=metric)


def write_comparison(comparison: RunComparison, path: Path | str) -> None:
    """Write a comparison: every cell as CSV, or what changed as tables in Markdown or LaTeX."""
    from serbench.report.formats import FORMATS, frame_to_csv
    from serbench.sealed import write_text

    target = Path(path)
    ending = target.suffix.removeprefix(".")
    if ending not in FORMATS:
        raise StoreError(str(target), f"'{target.suffix}'", "a name that ends in .csv, .md or .tex")
    write_text(
        target,
        frame_to_csv(comparison.frame)
        if ending == "csv"
        else FORMATS[ending]([comparison.overview, *comparison.tables]),
    )


def check_store(workspace: Workspace = HERE) -> StoreCheck:
    """Hold every file of the results folder against what was written; nothing is changed."""
    from serbench.upkeep import check_store as check

    return check(workspace.store())


def find_litter(workspace: Workspace = HERE) -> Litter:
    """Find what no cell of the results folder refers to any more; `clean_store` removes it."""
    from serbench.upkeep import find_litter as find

    return find(workspace.store())


def clean_store(litter: Litter, workspace: Workspace = HERE) -> None:
    """Remove what `find_litter` found."""
    from serbench.upkeep import remove_litter

    with workspace.saving():
        remove_litter(litter, workspace.store())


def list_folds(corpus: str, request: GridRequest = GridRequest(), workspace: Workspace = HERE) -> pd.DataFrame:
    """Return the folds of a corpus, for other tools: one row per utterance of the task.

    `fold` is the test group; train on all other folds. `tuning_folds` are the folds, separated by blanks, whose
    held-out predictions choose the settings for this one. `basis` names this state of labels, recordings and folds:
    predictions are comparable with the cells of a report that have the same in `provenance.csv`.

    With the protocol `within-text` a fold is a group of speakers (`speaker_fold`) with a group of texts (`text_fold`):
    train on the rows that differ from it in both. The predictions for its `tuning_folds` come from models that have
    seen neither these folds' speakers nor its own speakers and texts.
    """
    from serbench.folds import fold_table
    from serbench.members import CorpusData

    _check_whole(request)
    catalogue = workspace.catalogue()
    task = _asked_task(catalogue, request)
    data = CorpusData(catalogue.corpus(corpus), load_index(corpus, workspace), "")
    task = task.for_corpora([data.corpus])
    return fold_table(data, task, find_protocol(request.protocol), inner=str(request.inner))


def score_predictions(
    path: Path | str,
    request: GridRequest = GridRequest(),
    workspace: Workspace = HERE,
    *,
    name: str | None = None,
    features: str = "own",
    allow_missing: bool = False,
) -> list[Scored]:
    """Record the predictions of another system on the folds of `list_folds`, for every report from then on.

    Parameters
    ----------
    path : CSV or parquet with the columns `utterance` and `prediction`, and where there are, `basis` and `fold`.
    request : emotions, filters and protocol that were asked of `list_folds`; nothing else of it is looked at.
    name, features : what tables call the system, as classifier and feature set; the file's name where none is given.
    allow_missing : accept utterances without a prediction; tables then use those that all cells have.

    Raises
    ------
    ScoreError : predictions that are not of these utterances, folds or emotions, or too few of them.
    """
    from serbench.members import CorpusData
    from serbench.predictions import read_prediction_file
    from serbench.score import ScoreOptions, System, check_system, plan_scores, record_scores

    system = System(Path(path).stem if name is None else name, features)
    check_system(system)
    _check_whole(request)
    find_protocol(request.protocol)
    catalogue = workspace.catalogue()
    task = _asked_task(catalogue, request)
    file = read_prediction_file(Path(path))
    extracted = extract_features([catalogue.corpus(corpus).name for corpus in file.by_corpus], (), workspace)
    if extracted.refused:
        raise CorpusError([Fault(corpus, reason) for corpus, reason in extracted.refused.items()])
    data = [CorpusData(catalogue.corpus(e.corpus), e.index, e.partial) for e in extracted.done]
    task = task.for_corpora([d.corpus for d in data])
    scored = plan_scores(file, data, system, ScoreOptions(task, request.protocol, allow_missing))
    with workspace.saving():
        return record_scores(scored, workspace.store())


def export_features(features: str, path: Path | str, corpora: Names = None, workspace: Workspace = HERE) -> Extracted:
    """Write a feature set of corpora as one CSV or parquet file; utterances that failed are not in it.

    Of a framewise set each frame is a row; the column `frame` counts them from 0.
    The metadata of a parquet file (`serbench`, as JSON) says what made it; a CSV holds utterances and numbers only.
    """
    import pandas as pd

    from serbench.extract import read_corpus_features
    from serbench.report.formats import frame_to_csv
    from serbench.sealed import write_frame, write_text

    target = Path(path)
    if target.suffix not in (".csv", ".parquet"):
        raise StoreError(str(target), f"'{target.suffix}'", "a name that ends in .csv or .parquet")
    extracted = extract_features(corpora, [features], workspace)
    store, about = workspace.store(), find_feature_set(features)
    tables = [read_corpus_features(e.index, about.key, store) for e in extracted.done]
    table = pd.concat([t.frame() for t in tables if t.utterances] or [tables[-1].frame()]).reset_index()

    if target.suffix == ".csv":
        write_text(target, frame_to_csv(table))
    else:
        partial = {e.corpus: e.partial for e in extracted.done}
        write_frame(target, table, metadata={"serbench": __version__, "corpora": partial, **about.description})
    return extracted


def run_demo(folder: Path | str = "serbench-demo", *, jobs: int | None = None, progress: Progress = silent) -> Report:
    """Write a small synthetic corpus and take it from audio to tables, through the same code as any corpus."""
    from serbench.demo import CORPUS_NAME, write_demo_corpus

    place = Path(folder)
    corpora_file = write_demo_corpus(place)
    workspace = Workspace(results=place / "results", corpora_file=corpora_file, jobs=jobs, progress=progress)
    result = run_grid([CORPUS_NAME], GridRequest(), workspace)
    if result.refused:
        raise StoreError(str(place), f"the demo failed: {next(iter(result.refused.values()))}")
    return make_report(workspace)


def _check_whole(request: GridRequest) -> None:
    """Refuse pieces where other systems meet serbench: they are told whole utterances, and predict these."""
    if request.segment is not None:
        todo = "Cut the utterances in your own program, and let their pieces vote"
        raise ConfigError([Fault("segment", f"{request.segment:g} s", "none: folds are of whole utterances", todo)])


def _names(value: Names) -> tuple[str, ...] | None:
    """Let a single name stand for a list of one: "emodb" is not five corpora of a letter each."""
    return (value,) if isinstance(value, str) else None if value is None else tuple(value)


def _score(workspace: Workspace) -> Report:
    from serbench.report import make_report as make

    # Those of plug-ins and a user's own follow by name.
    return make(workspace.store(), row_order=[*FEATURE_SETS, *CLASSIFIERS])


def _asked_task(catalogue: Catalogue, request: GridRequest) -> EmotionTask:
    """Resolve what a request tells apart."""
    where = _names(request.where) or ()
    return find_task(catalogue, task=request.task, emotions=request.emotions, where=where, target=request.target)


def _entries(catalogue: Catalogue, given: Names) -> list[Corpus]:
    names = _names(given)
    if names:
        return [catalogue.corpus(name) for name in dict.fromkeys(names)]
    here = catalogue.on_disk()
    if not here:
        todo = "Set SERBENCH_DATA to the folder that holds your corpora, or `root` in a corpora.yaml of your own; "
        raise CorpusError([Fault("corpora", "none of the catalogue is on this disk", "at least one", todo + _LIST)])
    return [catalogue.corpus(name) for name in here]


_LIST = "`serbench corpora list` tells where to get them"


def _each(entries: Sequence[Corpus], act: Callable[[Corpus], Any]) -> tuple[list[Any], dict[str, str]]:
    """Do the same for every corpus; one that fails does not stop the others, but is an error when it is alone."""
    done, refused = [], {}
    for corpus in entries:
        try:
            done.append(act(corpus))
        except CorpusError as error:
            if len(entries) == 1:
                raise
            refused[corpus.name] = str(error)
    if not done:
        raise CorpusError([Fault(name, reason) for name, reason in refused.items()])
    return done, refused


def _sources(names: Sequence[str]) -> tuple[list[FeatureSet], list[OwnFeatures]]:
    """Split `--features` into registered sets and files, reading the files."""
    from serbench.features.own import is_file_name, read_own_features

    unique = list(dict.fromkeys(names))
    files = [name for name in unique if is_file_name(name)]
    own = [read_own_features(Path(name)) for name in files]
    if len({features.name for features in own}) < len(own):
        raise FeatureError("--features", f"{', '.join(files)}: two files of one name", "names that tell them apart")
    return [find_feature_set(n) for n in unique if n not in files], own


def _source(features: FeatureSet | OwnFeatures, *, is_assumed: bool = False) -> FeatureSource:
    from serbench.members import FeatureSource

    about = features.name, features.key, features.n_features, features.versions, features.argument
    return FeatureSource(*about, is_assumed=is_assumed, hop_s=features.hop_s)


def _import_own(own: Sequence[OwnFeatures], indexes: Sequence[pd.DataFrame], store: Store) -> list[Failure]:
    """Copy a user's features into the store and return what has none; a file must cover one of the corpora at least."""
    from serbench.extract import import_features

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


__all__ = [
    "DEFAULT_CLASSIFIERS",
    "DEFAULT_FEATURES",
    "Corpus",
    "ExperimentResult",
    "Extracted",
    "GridRequest",
    "GridResult",
    "SerbenchError",
    "UnknownNameError",
    "Workspace",
    "audit_corpora",
    "audit_serbench",
    "check_corpus",
    "check_store",
    "clean_store",
    "compare_results",
    "corpus_statistics",
    "export_features",
    "extract_features",
    "find_litter",
    "list_corpora",
    "list_experiments",
    "list_folds",
    "load_catalogue",
    "load_features",
    "load_index",
    "load_scores",
    "make_report",
    "plan_grid",
    "root_of",
    "run_demo",
    "run_experiment",
    "run_grid",
    "run_planned_grid",
    "score_predictions",
    "write_comparison",
    "write_figures",
]
