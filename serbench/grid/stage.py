"""The stage `grid`: names and options -> cells -> jobs -> predictions.

Modules that are slow to import are imported inside the functions, so that errors in names come at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from serbench.classifiers import find_classifier
from serbench.corpora.catalogue import Catalogue, Names, as_names, entries_of
from serbench.corpora.entry import AVAILABLE
from serbench.corpora.tasks import EmotionTask, common_task, find_task
from serbench.errors import ConfigError, CorpusError, Fault, FeatureError
from serbench.features import find_feature_set
from serbench.grid.request import DEFAULTS, GridRequest
from serbench.protocols import Protocol, find_protocol
from serbench.workspace import HERE, Workspace

if TYPE_CHECKING:
    import pandas as pd

    from serbench.features import FeatureSet
    from serbench.features.extract import Extracted, Failure
    from serbench.features.own import OwnFeatures
    from serbench.grid.run import GridPlan, GridRun
    from serbench.grid.utterances import CorpusData, FeatureSource
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

        import serbench
        from serbench.corpora.segments import shown_as

        cells = [asdict(one.cell) for one in self.plan.cells]
        planned = pd.DataFrame([{**c, "preprocessing": shown} for c in cells for shown in shown_as(c["preprocessing"])])
        scores: pd.DataFrame = serbench.load_scores(self.workspace).merge(planned)
        return scores


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


def check_request(request: GridRequest, corpora: Sequence[str]) -> None:
    """Check the options of a grid against each other, before anything is read.

    Raises
    ------
    SerbenchError : a name is unknown, or a protocol lacks what it needs, or is given what it does not take.
    """
    from serbench.grid.run import check_scaling
    from serbench.protocols import check_inner

    protocol = find_protocol(request.protocol)
    check_inner(str(request.inner))
    check_scaling(request.scaling)
    faults = [*_protocol_faults(protocol, request, corpora)]
    if any(seed < 0 for seed in request.seeds):
        faults.append(Fault("--seed", f"{min(request.seeds)}", "0 or more"))
    if faults:
        raise ConfigError(faults)


def check_corpora_left(request: GridRequest, extracted: Extracted) -> None:
    """Check that corpora still meet once those that cannot be used are left out.

    Raises
    ------
    CorpusError : one is left, so that another question would be answered than was asked.
    """
    left = [done.corpus for done in extracted.done]
    if find_protocol(request.protocol).is_across and len(left) < 2:
        faults = [Fault(name, reason) for name, reason in extracted.refused.items()]
        wanted = Fault(f"--protocol {request.protocol}", f"1 corpus that can be used ({left[0]})", "at least two")
        raise CorpusError([wanted, *faults])


def check_pieces(features: Iterable[FeatureSet], request: GridRequest) -> None:
    """Check that feature sets of pieces of one length are given these.

    Raises
    ------
    ConfigError : utterances are not cut, or into pieces of another length.
    """
    for feature_set in features:
        if feature_set.piece_s is not None and request.segment != feature_set.piece_s:
            found = "utterances that are not cut" if request.segment is None else f"pieces of {request.segment:g} s"
            wanted = f"pieces of {feature_set.piece_s:g} s"
            raise ConfigError([Fault(feature_set.name, found, wanted, f"Give --segment {feature_set.piece_s:g}")])


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
    if request.target == "language" and request.scaling in ("corpus", "speaker"):
        found = f"--scaling {request.scaling}: what is scaled by itself has one language"
        yield Fault("--target language", found, "--scaling train", "The scaler would tell the language")
    if request.weight != 1 and protocol.needs != "k":
        yield Fault(name, f"--weight {request.weight:g}", "--weight with --protocol adapt only")
    if any(k < 1 for k in request.k):
        yield Fault("--k", str(min(request.k)), "1 or more utterances; --protocol cross is none of them")
    if not 0 < request.weight < float("inf"):
        yield Fault("--weight", str(request.weight), "a number above 0")


def check_whole(request: GridRequest) -> None:
    """Refuse pieces where other systems meet serbench: they are told whole utterances, and predict these."""
    if request.segment is not None:
        todo = "Cut the utterances in your own program, and let their pieces vote"
        raise ConfigError([Fault("segment", f"{request.segment:g} s", "none: folds are of whole utterances", todo)])


def asked_task(catalogue: Catalogue, request: GridRequest) -> EmotionTask:
    """Resolve what a request tells apart."""
    where = as_names(request.where) or ()
    return find_task(catalogue, task=request.task, emotions=request.emotions, where=where, target=request.target)


def task_of(request: GridRequest, task: EmotionTask, data: Sequence[CorpusData], catalogue: Catalogue) -> EmotionTask:
    """Return the task of a grid: across corpora, unless told otherwise, all emotions that they have in common."""
    is_told = task.target != "emotion" or request.task not in (None, AVAILABLE) or request.emotions is not None
    if is_told or not find_protocol(request.protocol).is_across:
        return task.for_corpora([d.corpus for d in data])
    indexes = {d.corpus.name: d.index for d in data}
    return common_task(catalogue, indexes, where=as_names(request.where) or ())
