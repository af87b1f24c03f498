"""`serbench report | compare | score`: what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from serbench.cli.options import (
    DEFAULT_RESULTS,
    PROGRESS,
    CorporaFile,
    Emotions,
    Partial,
    Results,
    Target,
    Task,
    TextIndependent,
    Where,
    protocol_named,
    results_option,
    workspace_of,
)
from serbench.cli.show import (
    print,
    print_comparison,
    print_plain,
    print_scored,
    print_table,
    prose,
    say,
    say_missing,
)


def report(
    provenance: Annotated[
        bool, typer.Option("--provenance", help="Print provenance.json, what made every cell, in place of Table 2.")
    ] = False,
    figures: Annotated[
        bool,
        typer.Option(
            "--figures", help="Draw every figure as SVG and PDF, too; without, those that are there are drawn again."
        ),
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print Table 2 for other programs: parted by tabs, without colour or notes.")
    ] = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Score all stored predictions, write results/report/ with a page to open, and print Table 2 and its kin."""
    import serbench.api as api

    workspace = api.Workspace(results=results, progress=PROGRESS)
    made = api.make_report(workspace, figures=figures)
    if provenance:
        print(json.dumps(made.provenance, indent=1, ensure_ascii=False))
    else:
        for table in (table for stem in ("table2-uar", "transfer", "curves", "seeds") for table in made.of(stem)):
            (print_plain if plain else print_table)(table)
        for table in () if plain else (*made.of("experiment"), *made.of("claims")):
            print_table(table)
    say_missing(made)
    for command in made.commands:
        say(f"Missing; to fill: {command}{results_option(results)}")
    if plain:
        return
    if made.made_with and not provenance:
        print(prose(f"Made with {made.made_with}; `serbench report --provenance` tells more."))
    drawn = [name for name in made.provenance["files"] if name.startswith("figures/")]
    files = f", {len(drawn)} files of figures" if drawn else ""
    print(
        f"Open {results}/report/index.html; beside it tables as Markdown, CSV and LaTeX, scores and provenance{files}"
    )


def compare(
    results_a: Annotated[str, typer.Argument(help="Results folder, the earlier one.", metavar="RESULTS_A")],
    results_b: Annotated[str, typer.Argument(help="Another one.", metavar="RESULTS_B")],
    metric: Annotated[str, typer.Option("--metric", help="uar, war, kappa or macro_f1.")] = "uar",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for all that was compared: .csv, .md or .tex.")
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 1 where cells or predictions differ or cannot be compared.")
    ] = False,
) -> None:
    """Say what changed between two results folders, of two runs or two releases, with intervals."""
    import serbench.api as api

    found = api.compare_results(results_a, results_b, metric=metric)
    print_comparison(found)
    if output is not None:
        api.write_comparison(found, output)
    if exit_code and not found.is_same:
        raise typer.Exit(1)


def score(
    predictions: Annotated[
        Path, typer.Argument(help="CSV or parquet file: utterance, prediction, and basis and fold.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="What tables call the system. Default: the name of the file.")
    ] = None,
    features: Annotated[str, typer.Option("--features", "-f", help="What tables show as its feature set.")] = "own",
    task: Task = None,
    emotions: Emotions = None,
    target: Target = None,
    where: Where = None,
    text_independent: TextIndependent = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Accept utterances without a prediction; tables will say so.")
    ] = False,
    partial: Partial = False,
    results: Results = DEFAULT_RESULTS,
    corpora_file: CorporaFile = None,
) -> None:
    """Put the predictions of another system, on the folds of `serbench folds`, into the tables of the report."""
    import serbench.api as api

    protocol = protocol_named(None, text_independent=text_independent)
    filters = tuple(where or ())
    request = api.GridRequest(task=task, emotions=emotions, target=target, where=filters, protocol=protocol)
    workspace = workspace_of(results, corpora_file, partial=partial)
    scored = api.score_predictions(
        predictions, request, workspace, name=name, features=features, allow_missing=allow_missing
    )
    print_scored(scored, results)
    print("Next: serbench report" + results_option(results))
