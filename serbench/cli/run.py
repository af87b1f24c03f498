"""`serbench extract | grid | run | report | demo`: from recordings to tables."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import serbench
from serbench.cli.options import ALL_AXES, PROGRESS, RUN, Corpora, completing, flag, parted, results_option, takes
from serbench.cli.show import (
    print,
    print_cells,
    print_lead,
    print_plain,
    print_plan,
    print_table,
    prose,
    say,
    say_failures,
    say_grid,
)
from serbench.errors import LISTED_AT_MOST
from serbench.grid.request import SEGMENT_HELP, GridRequest, check_request
from serbench.workspace import Workspace

if TYPE_CHECKING:
    from serbench import GridResult

_FEATURES = "Feature sets. Default: IS09,mfcc."
_DRY_RUN = "Plan only: cells, jobs, what is there, expected time."
_FIGURES = "Draw every figure as SVG and PDF, too; without it, where the last report has some."
_PLAIN = "Print Table 2 for other programs: parted by tabs, without colour or notes."
_SHOW = "Open the page in a browser. Default: from a terminal with a display."
_SYNTHETIC = """\
This corpus is SYNTHETIC: its numbers say nothing about people.
Next: serbench corpora init FOLDER (your recordings), or serbench corpora list."""

Experiment = Annotated[str, typer.Argument(help="Name of an experiment, or a .yaml file of your own.")]
DryRun = Annotated[bool, flag("--dry-run", help=_DRY_RUN, rich_help_panel=RUN)]


@takes("rehash", "partial", "results", "jobs", "corpora_file")
def extract(
    workspace: Workspace,
    corpora: Corpora = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            "-f",
            help=_FEATURES,
            metavar="NAME,...",
            parser=parted,
            autocompletion=completing("features"),
        ),
    ] = None,
    segment: Annotated[float | None, typer.Option("--segment", help=SEGMENT_HELP, metavar="SECONDS")] = None,
) -> None:
    """Index corpora and extract features into the store; what is there is not done again."""
    extracted = serbench.extract_features(
        corpora, tuple(features or serbench.DEFAULT_FEATURES), workspace, segment=segment
    )
    for done in extracted.done:
        for name, n in done.computed.items():
            failed = sum(failure.features == name for failure in done.failed)
            print(f"{done.name} {name}: {n} extracted, {done.stored[name]} already there, {failed} failed")
        if done.note:
            print(f"  {done.note}")
        out: dict[str | None, list[dict[str, str]]] = {}  # by speaker; Arrow's, as pandas takes longer to import
        for row in done.indexed.select(["utterance", "speaker", "duplicate"]).to_pylist():
            if row["duplicate"]:
                out.setdefault(row["speaker"], []).append(row)
        for speaker, rows in out.items():
            first, more = rows[0], f" and {len(rows) - 1} more of {speaker} take" if len(rows) > 1 else " takes"
            print(f"  {first['utterance']}{more} no part: {first['duplicate']}")
    if say_failures(extracted):
        raise typer.Exit(1)


@takes("job_timeout_s", "scheduler", "partial", "results", "jobs", "corpora_file", request=ALL_AXES)
def grid(workspace: Workspace, request: GridRequest, corpora: Corpora = None, dry_run: DryRun = False) -> None:
    """Run corpora x feature sets x classifiers, people left out in turn, with nested tuning; resumes where stopped."""
    check_request(request, corpora)  # before what is slow to import
    result = serbench.plan_grid(corpora, request, workspace, dry_run=dry_run)
    for reason in result.left_out.values():
        say(prose(f"Left out: {reason}"))
    for done in result.extracted.done:
        if done.note:
            print(f"{done.corpus}: {done.note}")
    if dry_run:
        print_cells(result.plan)
    print_plan(result.plan, workspace, is_dry_run=dry_run, to_extract=result.to_extract)
    if not dry_run:
        result = serbench.run_planned_grid(result)
    failed = say_grid(result)
    if result.failed is not None and result.plan.jobs:
        print("Next: serbench report" + results_option(workspace))
    if failed:
        raise typer.Exit(1)


@takes("partial", "results", "jobs", "corpora_file")
def run(workspace: Workspace, experiment: Experiment, dry_run: DryRun = False) -> None:
    """Run a table of a paper on those of its corpora that are here; print it with the paper's, and its claims."""
    file = str(workspace.corpora_file or "")
    if re.fullmatch(r"[\w-]+([, ]+[\w-]+)*", file) and not Path(file).is_file():
        told = f"takes a catalogue file (YAML), not names of corpora: '{file}'"
        todo = "An experiment runs on those of its corpora that are on this disk; leave the option out"
        raise typer.BadParameter(f"{told}. {todo}", param_hint="--corpora")
    numbers = itertools.count(1)

    def show(title: str, planned: GridResult) -> None:
        print(prose(f"Grid {next(numbers)}, {title}"))
        if dry_run:
            print_cells(planned.plan)
        print_plan(planned.plan, workspace, is_dry_run=dry_run, to_extract=planned.to_extract)

    result = serbench.run_experiment(experiment, workspace, dry_run=dry_run, on_plan=show)
    if dry_run and len(result.grids) > 1:
        from serbench.grid.run import GridPlan  # which needs numpy

        print(f"All {len(result.grids)} grids, with the cells and jobs that they share counted once")
        print_plan(GridPlan.of_all([grid.plan for grid in result.grids]), workspace, is_dry_run=True)
    has_failed = any([say_grid(grid) for grid in result.grids])
    for table in result.tables:
        print_table(table)
        print()
    name, known = result.described.name, serbench.list_corpora(workspace) if result.absent else {}
    if result.absent:
        say(f"{len(result.absent)} of {len(result.absent) + len(result.present)} corpora of {name} took no part:")
    for corpus, reason in result.absent.items():
        say(f"  {corpus}: {reason}; get it: {known[corpus][0].homepage or known[corpus][0].licence}")
    for word, reasons in (("Left out", result.skipped), ("Failed", result.failed)):
        for title, reason in reasons.items():
            say(prose(f"{word}, {title}: {reason}"))
    if result.earlier:
        say(f"{name} has changed: it was run as {result.earlier} before, and is {result.described.digest} now")
    if result.report is not None:
        print(f"Open {workspace.results}/report/index.html; more tables: serbench report{results_option(workspace)}")
    if has_failed or result.failed:
        raise typer.Exit(1)


@takes("results")
def report(
    workspace: Workspace,
    provenance: Annotated[
        bool, flag("--provenance", help="Print provenance.json, what made every cell, in place of Table 2.")
    ] = False,
    figures: Annotated[bool, flag("--figures", help=_FIGURES)] = False,
    plain: Annotated[bool, flag("--plain", help=_PLAIN)] = False,
    show: Annotated[bool, flag("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Score all stored predictions, write results/report/ with a page to open, and print Table 2 and its kin."""
    made = serbench.make_report(workspace, figures=figures)
    if provenance:
        print(json.dumps(made.provenance, indent=1, ensure_ascii=False))
    else:
        print_lead({} if plain else made.lead)
        stems = ("table2-uar", "transfer", "curves", "seeds", *(() if plain else ("experiment", "claims")))
        for table in (table for stem in stems for table in made.of(stem)):
            (print_plain if plain else print_table)(table)
    missing = made.missing
    if missing:
        say(f"{sum(map(len, missing.values()))} of {len(made.long['provenance'])} cells have no result:")
    for reason, cells in list(missing.items())[:LISTED_AT_MOST]:
        say(f"  {cells[0]}{f' and {len(cells) - 1} more' if len(cells) > 1 else ''}: {reason}")
    if len(missing) > LISTED_AT_MOST:
        say(f"  ... {len(missing)} reasons in all; missing.csv has them")
    for command in made.commands:
        say(f"Missing; to fill: {command}{results_option(workspace)}")
    page = Path(workspace.results, "report", "index.html")
    if show:
        _open(page)
    if plain:
        return
    if made.made_with and not provenance:
        print(prose(f"Made with {made.made_with}; `serbench report --provenance` tells more."))
    drawn = sum(name.startswith("figures/") for name in made.provenance["files"])
    written = f"{page}; with it tables as Markdown, CSV and LaTeX, scores and provenance"
    print(f"Open {written}{f', {drawn} files of figures' if drawn else ''}")


def _open(page: Path) -> None:
    """Open a page in a browser."""
    if not webbrowser.open(page.resolve().as_uri()):
        say(f"No browser can be started here; open {page}")


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.", metavar="[DIR]")] = Path("serbench-demo"),
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Workers; default: one per core.")] = None,
    show: Annotated[bool | None, flag("--open/--no-open", help=_SHOW)] = None,
) -> None:
    """Make a small SYNTHETIC corpus and take it from audio to tables and their page, in less than a minute."""
    made = serbench.run_demo(folder, jobs=jobs, progress=PROGRESS)
    for table in made.of("table2-uar"):
        print_table(table)
    print()
    print_lead(made.lead)
    print(_SYNTHETIC)
    page = folder / "results" / "report" / "index.html"
    has_display = sys.platform in ("darwin", "win32") or os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}
    if show or (show is None and has_display and sys.stdout.isatty()):
        _open(page)
    print(f"Open {page}")
