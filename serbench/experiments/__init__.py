"""Experiments: the tables of papers, run on the corpora at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from serbench import __version__
from serbench.corpora.catalogue import WHERE_TO_GET, why_absent
from serbench.errors import ConfigError, CorpusError, Fault, FeatureError, ProtocolError
from serbench.experiments.load import Described, built_in, check_names, find_experiment
from serbench.grid.request import GridRequest
from serbench.grid.run import GridResult, plan_grid, run_planned_grid
from serbench.protocols import find_protocol
from serbench.report import Report, make_report
from serbench.report.table import Table
from serbench.store.files import read_json, write_json
from serbench.store.results import Store
from serbench.workspace import HERE, Workspace

STOPPED = "the run was stopped before this grid; run it again"
"""Why a grid has no cells that was not planned when the experiment was written down."""


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """An experiment as run: `absent` corpora, grids `skipped` and `failed`, each with the reason.

    `grids` were planned or run; `report` is None where they were only planned. `earlier` is the digest of another
    description that this results folder was run with before.
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
        """The tables of this experiment: the paper's values and ours, and the verdicts on its sentences."""
        found = self.report.tables if self.report else ()
        return [table for table in found if table.facets.get("experiment") == self.described.name]


def list_experiments() -> dict[str, Described]:
    """Return the experiments that come with serbench, by name."""
    return {name: find_experiment(name) for name in built_in()}


def run_experiment(
    experiment: str,
    workspace: Workspace = HERE,
    *,
    dry_run: bool = False,
    on_plan: Callable[[str, GridResult], None] = lambda title, planned: None,
) -> ExperimentResult:
    """Run the grids of an experiment one after the other, on those of its corpora that are on this disk, and report.

    What was planned is recorded before it is run, so that a report of a stopped run has what is there.

    Parameters
    ----------
    experiment : a name of `list_experiments`, or a file whose name ends in .yaml.
    dry_run : plan only; nothing is recorded.
    on_plan : called with the title and the plan of every grid before it is run.

    Raises
    ------
    ConfigError : with every fault of the experiment.
    CorpusError : not one of its corpora is on this disk.
    """
    described = find_experiment(experiment)
    catalogue, store = workspace.catalogue(), workspace.store()
    check_names(described, catalogue)
    corpora = described.experiment.corpora
    reasons = {name: why_absent(catalogue.corpus(name)) for name in corpora}
    absent = {name: f"not on this disk: {why}" for name, why in reasons.items() if why}
    if len(absent) == len(reasons):
        expected = "at least one corpus of the experiment"
        raise CorpusError([Fault(name, why, expected, WHERE_TO_GET) for name, why in absent.items()])
    present = tuple(name for name in corpora if name not in absent)
    path = store.experiment(described.name)
    before = str(read_json(path)["digest"]) if path.is_file() else ""
    earlier = before if before != described.digest else ""
    result = ExperimentResult(described, present, absent, {}, {}, earlier, (), None)
    for n_planned, grid in enumerate(described.experiment.grids, start=1):
        names = [name for name in grid.corpora or corpora if name in present]
        fewest = 2 if find_protocol(grid.protocol).is_across else 1
        if len(names) < fewest:
            why = f"needs {fewest} corpora, here: {', '.join(names) or 'none'}"
            result = replace(result, skipped={**result.skipped, grid.title: why})
            continue
        try:
            planned = plan_grid(names, GridRequest(**grid.request), workspace, dry_run=dry_run)
        except (ConfigError, CorpusError, FeatureError, ProtocolError) as error:
            result = replace(result, failed={**result.failed, grid.title: str(error)})
            continue
        on_plan(grid.title, planned)
        result = replace(result, grids=(*result.grids, planned))
        if not dry_run:
            _write_down(result, store, n_planned)
            result = replace(result, grids=(*result.grids[:-1], run_planned_grid(planned)))
    if result.grids and not dry_run:
        _write_down(result, store, len(described.experiment.grids))
        result = replace(result, report=make_report(workspace))
    return result


def _write_down(result: ExperimentResult, store: Store, n_planned: int) -> None:
    """Write down what is run, on what, and which cells come from it, though later grids are not planned yet."""
    described = result.described
    waiting = [grid.title for grid in described.experiment.grids[n_planned:]]
    failed = {title: store.worded(why) for title, why in result.failed.items()}
    refused = {name: store.worded(why) for grid in result.grids for name, why in grid.extracted.refused.items()}
    made = {
        "name": described.name,
        "digest": described.digest,
        "serbench": __version__,
        "absent": {**result.absent, **refused},
        "skipped": {**result.skipped, **failed, **dict.fromkeys(waiting, STOPPED)},
        "cells": [one.cell.row for grid in result.grids for one in grid.plan.cells],
        "text": described.text,
    }
    write_json(store.experiment(described.name), made)
