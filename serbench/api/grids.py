"""Grids: planned, then run; the folds for other systems, and the scores of their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from serbench.api.requests import (
    asked_task,
    check_corpora_left,
    check_pieces,
    check_request,
    check_whole,
    task_of,
)
from serbench.classifiers import find_classifier
from serbench.corpora.catalogue import Names, as_names, entries_of
from serbench.errors import (
    CorpusError,
    Fault,
    FeatureError,
)
from serbench.features import find_feature_set
from serbench.grid.request import DEFAULTS, GridRequest
from serbench.protocols import find_protocol
from serbench.workspace import HERE, Workspace

if TYPE_CHECKING:
    import pandas as pd

    from serbench.features import FeatureSet
    from serbench.features.extract import Extracted, Failure
    from serbench.features.own import OwnFeatures
    from serbench.grid.run import GridPlan, GridRun
    from serbench.grid.utterances import FeatureSource
    from serbench.scores.outside import Scored
    from serbench.store.results import Store


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
        from serbench.report import load_scores

        return load_scores(self.workspace).merge(planned)


def run_grid(corpora: Names = None, request: GridRequest = DEFAULTS, workspace: Workspace = HERE) -> GridResult:
    """Run every combination of corpora, features and classifiers that the store lacks; see `plan_grid`."""
    return run_planned_grid(plan_grid(corpora, request, workspace))


def plan_grid(
    corpora: Names = None,
    request: GridRequest = DEFAULTS,
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
    entries = entries_of(catalogue, corpora)
    task = asked_task(catalogue, request)
    classifiers = [find_classifier(name) for name in dict.fromkeys(as_names(request.classifiers) or ())]
    check_request(request, [entry.name for entry in entries])
    registered, own = _sources(as_names(request.features) or ())

    from serbench.classifiers.spaces import read_spaces
    from serbench.features.extract import count_lacking, extract_features
    from serbench.grid.plan import GridOptions, check_inputs
    from serbench.grid.run import plan_grid as lay_out
    from serbench.grid.utterances import CorpusData

    check_pieces(registered, request)
    check_inputs([*map(_source, own), *map(_source, registered)], classifiers)
    spaces = {} if request.space is None else read_spaces(Path(request.space))
    wanted = () if dry_run else [s.name for s in registered]
    extracted = extract_features([c.name for c in entries], wanted, workspace, segment=request.segment)
    check_corpora_left(request, extracted)
    store = workspace.store()
    data = [
        CorpusData(catalogue.corpus(e.corpus), e.index, e.partial, e.note, catalogue.namespace(e.corpus))
        for e in extracted.done
    ]
    imported = _import_own(own, [d.index for d in data], store)
    sources = [_source(features) for features in own] + [_source(s, is_assumed=dry_run) for s in registered]
    space_file = "" if request.space is None else Path(request.space).name
    task = task_of(request, task, data, catalogue)
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


def run_planned_grid(planned: GridResult) -> GridResult:
    """Run the jobs of a plan that the store lacks and record its cells."""
    from serbench.grid.run import Workers
    from serbench.grid.run import run_grid as run_jobs

    workspace = planned.workspace
    workers = Workers(workspace.workers, workspace.job_timeout_s, workspace.scheduler)
    run = run_jobs(planned.plan, workspace.store(), workers, progress=workspace.progress)
    return replace(planned, run=run)


def list_folds(corpus: str, request: GridRequest = DEFAULTS, workspace: Workspace = HERE) -> pd.DataFrame:
    """Return the folds of a corpus, for other tools: one row per utterance of the task.

    `fold` is the test group; train on all other folds. `tuning_folds` are the folds, separated by blanks, whose
    held-out predictions choose the settings for this one. `basis` names this state of labels, recordings and folds:
    predictions are comparable with the cells of a report that have the same in `provenance.csv`.

    With the protocol `within-text` a fold is a group of speakers (`speaker_fold`) with a group of texts (`text_fold`):
    train on the rows that differ from it in both. The predictions for its `tuning_folds` come from models that have
    seen neither these folds' speakers nor its own speakers and texts.
    """
    from serbench.features.extract import load_index
    from serbench.grid.utterances import CorpusData
    from serbench.scores.folds import fold_table

    check_whole(request)
    catalogue = workspace.catalogue()
    task = asked_task(catalogue, request)
    data = CorpusData(catalogue.corpus(corpus), load_index(corpus, workspace), "")
    task = task.for_corpora([data.corpus]).for_index(data.index, data.corpus)
    return fold_table(data, task, find_protocol(request.protocol), inner=str(request.inner))


def score_predictions(
    path: Path | str,
    request: GridRequest = DEFAULTS,
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
    from serbench.features.extract import extract_features
    from serbench.grid.utterances import CorpusData
    from serbench.scores.given import read_prediction_file
    from serbench.scores.outside import ScoreOptions, System, check_system, plan_scores, record_scores

    system = System(Path(path).stem if name is None else name, features)
    check_system(system)
    check_whole(request)
    find_protocol(request.protocol)
    catalogue = workspace.catalogue()
    task = asked_task(catalogue, request)
    file = read_prediction_file(Path(path))
    extracted = extract_features([catalogue.corpus(corpus).name for corpus in file.by_corpus], (), workspace)
    if extracted.refused:
        raise CorpusError([Fault(corpus, reason) for corpus, reason in extracted.refused.items()])
    data = [CorpusData(catalogue.corpus(e.corpus), e.index, e.partial, e.note) for e in extracted.done]
    task = task.for_corpora([d.corpus for d in data])
    scored = plan_scores(file, data, system, ScoreOptions(task, request.protocol, allow_missing))
    return record_scores(scored, workspace.store())


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
    from serbench.grid.utterances import FeatureSource

    about = features.name, features.key, features.n_features, features.versions, features.argument
    return FeatureSource(*about, is_assumed=is_assumed, hop_s=features.hop_s)


def _import_own(own: Sequence[OwnFeatures], indexes: Sequence[pd.DataFrame], store: Store) -> list[Failure]:
    """Copy a user's features into the store and return what has none; a file must cover one of the corpora at least."""
    from serbench.features.extract import import_features

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
