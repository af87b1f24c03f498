"""`serbench run` and `serbench experiments ...`: whole tables of papers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serbench.cli.options import (
    DEFAULT_RESULTS,
    CorporaFile,
    Jobs,
    Partial,
    Results,
    results_option,
    workspace_of,
)
from serbench.cli.show import print, print_plan, print_table, prose, say, say_grid

if TYPE_CHECKING:
    from serbench.api import Corpus, ExperimentResult, GridResult, Workspace

experiments_app = typer.Typer(help="Whole tables of papers, to run and to hold against ours.", no_args_is_help=True)


def run(
    experiment: Annotated[str, typer.Argument(help="Name of an experiment, or a .yaml file of your own.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan only: grids, cells, jobs, what is there, expected time.")
    ] = False,
    partial: Partial = False,
    results: Results = DEFAULT_RESULTS,
    jobs: Jobs = None,
    corpora_file: CorporaFile = None,
) -> None:
    """Run a table of a paper on those of its corpora that are here; print it beside the paper's, and its claims."""
    import serbench.api as api

    _check_is_file(corpora_file)
    workspace = workspace_of(results, corpora_file, partial=partial, jobs=jobs)
    show = _plan_printer(workspace, is_dry_run=dry_run)
    result = api.run_experiment(experiment, workspace, dry_run=dry_run, on_plan=show)
    has_failed = any([say_grid(grid) for grid in result.grids])
    for table in result.tables:
        print_table(table)
        print()
    _say_left_out(result, api.list_corpora(workspace))
    if result.report is not None:
        print(f"Open {results}/report/index.html; more tables: serbench report{results_option(results)}")
    if has_failed or result.failed:
        raise typer.Exit(1)


def _check_is_file(corpora_file: Path | None) -> None:
    """Refuse names of corpora where a catalogue is asked for."""
    given = str(corpora_file or "")
    if re.fullmatch(r"[\w-]+([, ]+[\w-]+)*", given) and not Path(given).is_file():
        told = f"takes a catalogue file (YAML), not names of corpora: '{given}'"
        todo = "An experiment runs on those of its corpora that are on this disk; leave the option out"
        raise typer.BadParameter(f"{told}. {todo}", param_hint="--corpora")


@experiments_app.command("list")
def experiments_list(corpora_file: CorporaFile = None) -> None:
    """List the experiments that come with serbench, and which of their corpora are on this disk."""
    import serbench.api as api

    corpora = api.list_corpora(api.Workspace(corpora_file=corpora_file))
    for name, described in api.list_experiments().items():
        experiment = described.experiment
        marked = [c if c in corpora and corpora[c][1] is None else f"{c} (not here)" for c in experiment.corpora]
        print(prose(f"{name}: {experiment.title}. Corpora: {', '.join(marked)}."))


@experiments_app.command("show")
def experiments_show(
    experiment: Annotated[str, typer.Argument(help="Name of an experiment, or a .yaml file of your own.")],
) -> None:
    """Print an experiment as it is described, after checking it; the digest names this state of it."""
    from serbench.experiments import find_experiment

    described = find_experiment(experiment)
    print(described.text.rstrip())
    print(f"\n# {described.name}, digest {described.digest}")


def _plan_printer(workspace: Workspace, *, is_dry_run: bool) -> Callable[[GridResult], None]:
    """Return what prints each grid of an experiment before it is run, with its number."""
    numbers = itertools.count(1)

    def show(planned: GridResult) -> None:
        print(f"Grid {next(numbers)}: ", end="\n" if is_dry_run else "", flush=True)
        print_plan(planned.plan, workspace, is_dry_run=is_dry_run, to_extract=planned.to_extract)

    return show


def _say_left_out(result: ExperimentResult, known: Mapping[str, tuple[Corpus, str | None]]) -> None:
    """Say what is missing on this disk, which grids that leaves out, and whether the description has changed."""
    n = len(result.absent) + len(result.present)
    if result.absent:
        say(f"{len(result.absent)} of {n} corpora of {result.described.name} took no part:")
    for name, reason in result.absent.items():
        say(f"  {name}: {reason}; get it: {known[name][0].homepage or known[name][0].licence}")
    for title, reason in result.skipped.items():
        say(prose(f"Left out, {title}: {reason}"))
    for title, reason in result.failed.items():
        say(prose(f"Failed, {title}: {reason}"))
    if result.earlier:
        name, digest = result.described.name, result.described.digest
        say(f"{name} has changed: it was run as {result.earlier} before, and is {digest} now")
