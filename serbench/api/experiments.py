"""Experiments: the tables of papers, run on the corpora at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from serbench import __version__
from serbench.api.grids import GridResult, plan_grid, run_planned_grid
from serbench.api.reports import make_report
from serbench.corpora.catalogue import WHERE_TO_GET, Catalogue, Names, as_names, why_absent
from serbench.errors import (
    ConfigError,
    CorpusError,
    Fault,
    FeatureError,
    ProtocolError,
    UnknownNameError,
)
from serbench.grid.request import GridRequest
from serbench.protocols import find_protocol
from serbench.workspace import HERE, Workspace

if TYPE_CHECKING:
    from serbench.experiments.load import Described, Grid
    from serbench.report import Report
    from serbench.report.table import Table


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
    from serbench.experiments.load import built_in_names, find_experiment

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

    What was planned is recorded before it is run, so that a report of a stopped run has what is there.

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
    from serbench.experiments.load import check_names, find_experiment

    described = find_experiment(experiment)
    catalogue = workspace.catalogue()
    check_names(described, catalogue)
    present, absent = _here(described, catalogue, as_names(corpora))
    earlier = _earlier_digest(described, workspace)
    result = ExperimentResult(described, tuple(present), absent, {}, {}, earlier, (), None)
    for i, grid in enumerate(described.experiment.grids, start=1):
        before, result = result, _with_plan(result, grid, workspace, dry_run=dry_run)
        if len(result.grids) > len(before.grids):
            on_plan(result.grids[-1])
            result = result if dry_run else _with_run(result, workspace, waiting=described.experiment.grids[i:])
    if dry_run or not result.grids:
        return result
    _record_experiment(result, workspace)
    return replace(result, report=make_report(workspace))


def _with_plan(result: ExperimentResult, grid: Grid, workspace: Workspace, *, dry_run: bool) -> ExperimentResult:
    """Add the plan of a grid to a result, or why there is none."""
    names = [name for name in grid.corpora or result.described.experiment.corpora if name in result.present]
    fewest = 2 if find_protocol(grid.protocol).is_across else 1
    if len(names) < fewest:
        reason = f"needs {fewest} corpora, here: {', '.join(names) or 'none'}"
        return replace(result, skipped={**result.skipped, grid.title: reason})
    try:
        planned = plan_grid(names, GridRequest(**grid.request), workspace, dry_run=dry_run)
    except (ConfigError, CorpusError, FeatureError, ProtocolError) as error:
        return replace(result, failed={**result.failed, grid.title: str(error)})
    return replace(result, grids=(*result.grids, planned))


def _with_run(result: ExperimentResult, workspace: Workspace, *, waiting: Sequence[Grid]) -> ExperimentResult:
    """Record a result and run the last grid that it has a plan of."""
    _record_experiment(result, workspace, waiting=waiting)
    *before, planned = result.grids
    return replace(result, grids=(*before, run_planned_grid(planned)))


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
        raise CorpusError([Fault(name, why, expected, WHERE_TO_GET) for name, why in absent.items()])
    return present, absent


def _earlier_digest(described: Described, workspace: Workspace) -> str:
    """Digest of the description that was run before under this name, where it was another one."""
    from serbench.store.files import read_json

    path = workspace.store().experiment(described.name)
    earlier = str(read_json(path)["digest"]) if path.is_file() else ""
    return earlier if earlier != described.digest else ""


_STOPPED = "the run was stopped before this grid; run it again"


def _record_experiment(result: ExperimentResult, workspace: Workspace, *, waiting: Sequence[Grid] = ()) -> None:
    """Write down what is run, on what, and which cells come of it; `waiting` are the grids that are not yet planned."""
    from serbench.experiments.load import built_in_names
    from serbench.store.files import write_json

    described = result.described
    store = workspace.store()
    refused = {n: store.worded(why) for grid in result.grids for n, why in grid.extracted.refused.items()}
    failed = {title: store.worded(why) for title, why in result.failed.items()}
    record = {
        "name": described.name,
        "digest": described.digest,
        "is_built_in": described.name in built_in_names(),
        "serbench": __version__,
        "corpora": [name for name in result.present if name not in refused],
        "absent": {**result.absent, **refused},
        "skipped": {**result.skipped, **failed, **{grid.title: _STOPPED for grid in waiting}},
        "cells": [asdict(one.cell) for grid in result.grids for one in grid.plan.cells],
        "text": described.text,
    }
    write_json(store.experiment(described.name), record)
