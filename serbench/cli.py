"""The command line: parse, call the API, print. The only home of typer and exit codes.

Tables go to stdout, progress and messages to stderr. Exit 0: all done. 1: something failed, and is named. 2: usage.
"""

from __future__ import annotations

import atexit
import gc
import io
import shlex
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serbench.errors import CorpusError, SerbenchError
from serbench.stopping import say_stopped, stop_on_signals
from serbench.terminal import (
    ProgressLine,
    print_audit,
    print_comparison,
    print_plain,
    print_plan,
    print_provenance,
    print_scored,
    print_self_check,
    print_table,
    prose,
    say,
    say_failures,
    say_grid,
    say_missing,
)

if TYPE_CHECKING:
    from serbench.api import Workspace
    from serbench.plugins import Known, Package

app = typer.Typer(
    help="Fair classical-ML baselines for speech emotion recognition: extract, grid, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
corpora_app = typer.Typer(help="The catalogue of corpora and the copies on this disk.", no_args_is_help=True)
store_app = typer.Typer(help="The files of a results folder.", no_args_is_help=True)
features_app = typer.Typer(help="Feature sets.", no_args_is_help=True)
classifiers_app = typer.Typer(help="Classifiers.", no_args_is_help=True)
app.add_typer(corpora_app, name="corpora")
app.add_typer(features_app, name="features")
app.add_typer(store_app, name="store")
app.add_typer(classifiers_app, name="classifiers")


def _print_version(wanted: bool) -> None:
    if wanted:
        import serbench

        print(f"serbench {serbench.__version__}")
        raise typer.Exit


@app.callback()
def _serbench(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Fair classical-ML baselines for speech emotion recognition: extract, grid, report."""


Corpora = Annotated[
    list[str] | None,
    typer.Argument(help="Names of corpora; none means every corpus on this disk.", metavar="[CORPUS]..."),
]
Results = Annotated[
    str, typer.Option("--results", help="Results folder, or a URL such as s3://bucket/results.", metavar="DIR|URL")
]
CorporaFile = Annotated[
    Path | None,
    typer.Option(
        "--corpora",
        help="YAML that adds to or overrides the catalogue; default: ./corpora.yaml if there is one.",
        metavar="FILE",
    ),
]
Partial = Annotated[bool, typer.Option("--partial", help="Accept incomplete or altered copies; tables will say so.")]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Workers; default: one per core.")]
Features = Annotated[
    list[str] | None,
    typer.Option("--features", "-f", help="Feature set; may be repeated. Default: IS09 and mfcc.", metavar="NAME"),
]
Task = Annotated[str | None, typer.Option("--task", help="Preset of emotions. Default: paper5.", metavar="NAME")]
Emotions = Annotated[
    str | None, typer.Option("--emotions", help="Emotions, e.g. anger,happiness=happiness+excitement.")
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help="Only utterances with FIELD=VALUE; may be repeated.", metavar="FIELD=VALUE"),
]
TextIndependent = Annotated[
    bool,
    typer.Option("--text-independent", help="Hold out the sentences of a fold too, where the corpus knows its texts."),
]

DEFAULT_RESULTS = "results"
_progress = ProgressLine()


@corpora_app.command("list")
def corpora_list(corpora_file: CorporaFile = None) -> None:
    """List the catalogue: which corpora are on this disk, and where to get the others."""
    import serbench.api as api

    corpora = api.list_corpora(api.Workspace(corpora_file=corpora_file))
    for here in (True, False):
        chosen = {name: (c, reason) for name, (c, reason) in corpora.items() if (reason is None) == here}
        print(("On this disk:" if here else "Not on this disk:") + ("" if chosen else " none"))
        for name, (corpus, reason) in chosen.items():
            mark = "" if corpus.verified else " [names not verified]"
            print(f"  {name:9} {corpus.language:6} {corpus.title}{mark}")
            if not here:
                print(f"  {'':9} {'':6} {corpus.root}: {reason}. Get it: {corpus.homepage} ({corpus.licence})")


@corpora_app.command("check")
def corpora_check(
    names: Corpora = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every sample too: damage, silence, duplicates.")] = False,
    partial: Partial = False,
    corpora_file: CorporaFile = None,
) -> None:
    """Check copies of corpora against their entries and against the traps seen in real copies."""
    import serbench.api as api

    workspace = api.Workspace(corpora_file=corpora_file, partial=partial)
    catalogue = workspace.catalogue()
    corpora = [catalogue.corpus(name) for name in names or catalogue.on_disk()]
    if not corpora:
        print("No corpus of the catalogue is on this disk; `serbench corpora list` tells where to get them")
    sound = [_print_check(corpus.name, workspace, deep=deep) for corpus in corpora]
    if not all(sound):
        raise typer.Exit(1)


@corpora_app.command("stats")
def corpora_stats(
    names: Corpora = None,
    partial: Partial = False,
    results: Results = DEFAULT_RESULTS,
    corpora_file: CorporaFile = None,
) -> None:
    """Print Table 1 (data statistics) of corpora on this disk."""
    import serbench.api as api

    table, extracted = api.corpus_statistics(names, _workspace(results, corpora_file, partial=partial))
    print_table(table)
    if say_failures(extracted):
        raise typer.Exit(1)


@corpora_app.command("schema")
def corpora_schema() -> None:
    """Print the JSON Schema of corpora.yaml, for editors."""
    import json

    from serbench.corpora.schema import catalogue_schema

    print(json.dumps(catalogue_schema(), indent=1))


@app.command()
def audit(
    corpora: Corpora = None,
    serbench_itself: Annotated[
        bool, typer.Option("--self", help="Check serbench on shuffled labels; beside the corpora named, if any.")
    ] = False,
    partial: Partial = False,
    results: Results = DEFAULT_RESULTS,
    jobs: Jobs = None,
    corpora_file: CorporaFile = None,
) -> None:
    """Audit corpora before any number is believed: copies, confounding, counts, and what the recordings give away."""
    import serbench.api as api

    sound = []
    if corpora or not serbench_itself:
        workspace = _workspace(results, corpora_file, partial=partial, jobs=jobs)
        for one in api.audit_corpora(corpora, workspace):
            print_audit(one)
            sound.append(one.is_sound)
    if serbench_itself:
        check = api.audit_serbench(progress=_progress)
        print_self_check(check)
        sound.append(check.is_sound)
    if not all(sound):
        raise typer.Exit(1)


@app.command()
def extract(
    corpora: Corpora = None,
    features: Features = None,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Read every recording again, also where its file is as it was.")
    ] = False,
    partial: Partial = False,
    results: Results = DEFAULT_RESULTS,
    jobs: Jobs = None,
    corpora_file: CorporaFile = None,
) -> None:
    """Index corpora and extract features into the store; what is there is not done again."""
    import serbench.api as api

    workspace = _workspace(results, corpora_file, partial=partial, jobs=jobs, rehash=rehash)
    extracted = api.extract_features(corpora, tuple(features or api.DEFAULT_FEATURES), workspace)
    for done in extracted.done:
        for name, n in done.computed.items():
            failed = sum(failure.features == name for failure in done.failed)
            print(f"{done.corpus} {name}: {n} extracted, {done.stored[name]} already there, {failed} failed")
        for utterance, reason in done.copies.items():
            print(f"  {utterance} takes no part: {reason}")
    if say_failures(extracted):
        raise typer.Exit(1)


@features_app.command("list")
def features_list() -> None:
    """List the feature sets with their number of features; those of plug-ins with the package that brings them."""
    from serbench.features import known_feature_sets

    known = known_feature_sets()
    width = max(map(len, known.records))
    for one in known.records.values():
        print(f"{one.name:{width}} {one.n_features:5}  {one.title} ({one.citation}){_brought_by(one.package)}")
    _say_faults(known)


@classifiers_app.command("list")
def classifiers_list() -> None:
    """List the classifiers with their number of settings; those of plug-ins with the package that brings them."""
    from serbench.classifiers import known_classifiers

    known = known_classifiers()
    width = max(map(len, known.records))
    for one in known.records.values():
        print(f"{one.name:{width}} {len(one.space):5}  {one.title}{_brought_by(one.package)}")
    _say_faults(known)


@features_app.command("export")
def features_export(
    name: Annotated[str, typer.Argument(help="Feature set.")],
    output: Annotated[Path, typer.Argument(help="File to write, .csv or .parquet.")],
    corpora: Annotated[
        list[str] | None, typer.Option("--corpus", help="Corpus; may be repeated. Default: all on this disk.")
    ] = None,
    partial: Partial = False,
    results: Results = DEFAULT_RESULTS,
    jobs: Jobs = None,
    corpora_file: CorporaFile = None,
) -> None:
    """Write a feature set as one CSV or parquet file, one row per utterance."""
    import serbench.api as api

    done = api.export_features(name, output, corpora, _workspace(results, corpora_file, partial=partial, jobs=jobs))
    print(f"{name} of {', '.join(e.corpus for e in done.done)} written to {output}")
    if say_failures(done):
        raise typer.Exit(1)


@app.command()
def grid(
    corpora: Corpora = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            "-f",
            help="Feature set, or a .parquet or .csv file with an utterance column; repeatable. Default: IS09, mfcc.",
            metavar="NAME|FILE",
        ),
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            "--classifier", "-c", help="Classifier; may be repeated. Default: svc, rf and mlp.", metavar="NAME"
        ),
    ] = None,
    task: Task = None,
    emotions: Emotions = None,
    where: Where = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="within (default) or within-text.", metavar="NAME")
    ] = None,
    text_independent: TextIndependent = False,
    scaling: Annotated[str, typer.Option("--scaling", help="train, speaker (transductive) or none.")] = "train",
    inner: Annotated[
        str, typer.Option("--inner", help="Inner validation: auto, all, an even number of groups, or none.")
    ] = "auto",
    space: Annotated[Path | None, typer.Option("--space", help="YAML file of settings to try.", metavar="FILE")] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", min=0, help="Random state; may be repeated. Default: 0.")
    ] = None,
    job_timeout: Annotated[
        float | None,
        typer.Option(
            "--job-timeout",
            min=1,
            help="Seconds after which a job is stopped and fails; the start of its worker, a second or two, counts.",
            metavar="SECONDS",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            help="Address of a dask scheduler whose workers run the jobs, or 'local'.",
            metavar="tcp://HOST:PORT",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan only: cells, jobs, what is there, expected time.")
    ] = False,
    partial: Partial = False,
    results: Results = DEFAULT_RESULTS,
    jobs: Jobs = None,
    corpora_file: CorporaFile = None,
) -> None:
    """Run corpora x feature sets x classifiers, speaker-independent, with nested tuning; resumes where it stopped."""
    import serbench.api as api

    request = api.GridRequest(
        features=tuple(features or api.DEFAULT_FEATURES),
        classifiers=tuple(classifier or api.DEFAULT_CLASSIFIERS),
        task=task,
        emotions=emotions,
        where=tuple(where or ()),
        protocol=_protocol(protocol, text_independent=text_independent),
        scaling=scaling,
        inner=inner,
        space=space,
        seeds=tuple(dict.fromkeys(seed or (0,))),
    )
    workspace = _workspace(results, corpora_file, partial=partial, jobs=jobs)
    workspace = replace(workspace, job_timeout_s=job_timeout, scheduler=scheduler)
    result = api.plan_grid(corpora, request, workspace, dry_run=dry_run)
    print_plan(result.plan, workspace, cell_by_cell=dry_run, to_extract=result.to_extract)
    if not dry_run:
        result = api.run_planned_grid(result)
    failed = say_grid(result)
    if result.run is not None:
        print("Next: serbench report" + _results_option(results))
    if failed:
        raise typer.Exit(1)


@app.command()
def report(
    provenance: Annotated[
        bool, typer.Option("--provenance", help="Print for each table what made it, in place of Table 2.")
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="Draw every figure as SVG and PDF, too; those of an earlier report go.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print Table 2 for other programs: parted by tabs, without colour or notes.")
    ] = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Score all stored predictions, write results/report/ with a page to open, and print Table 2."""
    import serbench.api as api

    workspace = api.Workspace(results=results, progress=_progress)
    made = api.make_report(workspace)
    drawn = api.write_figures(made, workspace) if figures else []
    if provenance:
        print_provenance(made)
    else:
        for table in made.of("table2-uar"):
            (print_plain if plain else print_table)(table)
    say_missing(made)
    for command in made.commands:
        say(f"Missing; to fill: {command}{_results_option(results)}")
    if plain:
        return
    if made.made_with and not provenance:
        print(prose(f"Made with {made.made_with}; `serbench report --provenance` tells more."))
    files = f", {len(drawn)} figures" if drawn else ""
    print(
        f"Open {results}/report/index.html; beside it tables as Markdown, CSV and LaTeX, scores and provenance{files}"
    )


@app.command()
def compare(
    results_a: Annotated[str, typer.Argument(help="Results folder or URL, the earlier one.", metavar="RESULTS_A")],
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


@store_app.command("check")
def store_check(results: Results = DEFAULT_RESULTS) -> None:
    """Read every file of the results folder and say which are not what was written; nothing is changed."""
    import serbench.api as api

    check = api.check_store(api.Workspace(results=results))
    print(f"{results}: " + (", ".join(f"{n} {kind}" for kind, n in check.counts.items()) or "no files of serbench"))
    for path, reason in check.damaged.items():
        say(f"damaged: {path}: {reason}")
    if check.damaged:
        say(f"{len(check.damaged)} damaged; `serbench extract`, `grid` and `score` make them anew")
        raise typer.Exit(1)
    print("All are what was written")


@store_app.command("clean")
def store_clean(
    results: Results = DEFAULT_RESULTS,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove what no cell refers to any more, after saying how much that is."""
    import serbench.api as api

    workspace = api.Workspace(results=results)
    litter = api.find_litter(workspace)
    for kind, paths in litter.files.items():
        print(f"{len(paths)} {kind}, e.g. {paths[0].relative_to(workspace.store().root)}")
    if not litter.files:
        print("Nothing to remove: cells refer to every file")
        return
    print(f"{litter.size / 1e6:.1f} MB in all")
    if yes or typer.confirm("Remove them?"):
        api.clean_store(litter, workspace)
        print("Removed")


@app.command()
def folds(
    corpus: Annotated[str, typer.Argument(help="Corpus.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file; default: standard output.")] = None,
    task: Task = None,
    emotions: Emotions = None,
    where: Where = None,
    inner: Annotated[
        str, typer.Option("--inner", help="Inner validation: auto, all, an even number, or none.")
    ] = "auto",
    text_independent: TextIndependent = False,
    partial: Partial = False,
    results: Results = DEFAULT_RESULTS,
    corpora_file: CorporaFile = None,
) -> None:
    """Write the folds of a corpus as CSV, for other tools."""
    import serbench.api as api
    from serbench.report.formats import frame_to_csv
    from serbench.sealed import write_text

    request = api.GridRequest(
        task=task,
        emotions=emotions,
        where=tuple(where or ()),
        protocol=_protocol(None, text_independent=text_independent),
        inner=inner,
    )
    table = api.list_folds(corpus, request, _workspace(results, corpora_file, partial=partial))
    text = frame_to_csv(table)
    if output is None:
        sys.stdout.write(text)
    else:
        write_text(output, text)
        print(f"{len(table)} utterances in {table['fold'].nunique()} folds written to {output}")


@app.command()
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

    protocol = _protocol(None, text_independent=text_independent)
    request = api.GridRequest(task=task, emotions=emotions, where=tuple(where or ()), protocol=protocol)
    workspace = _workspace(results, corpora_file, partial=partial)
    scored = api.score_predictions(
        predictions, request, workspace, name=name, features=features, allow_missing=allow_missing
    )
    print_scored(scored, results)
    print("Next: serbench report" + _results_option(results))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.", metavar="[DIR]")] = Path("serbench-demo"),
    jobs: Jobs = None,
) -> None:
    """Make a small SYNTHETIC corpus and take it from audio to tables, in about a minute."""
    import serbench.api as api

    made = api.run_demo(folder, jobs=jobs, progress=_progress)
    for table in made.of("table2-uar"):
        print_table(table)
    print(f"This corpus is SYNTHETIC: its numbers say nothing about people. Tables: {folder / 'results' / 'report'}")
    print("\nFor a real corpus: set SERBENCH_DATA to the folder that holds it, then")
    print("  serbench corpora list            which corpora are known, and where to get them")
    print("  serbench extract emodb           features into results/")
    print("  serbench grid emodb              predictions, nested and speaker-independent")
    print("  serbench report                  the tables, in results/report/")
    print(f"A corpus of your own is one block of YAML; {folder / 'corpora.yaml'} shows one.")


def main() -> None:
    """Run the command line; the one place where errors become messages and exit codes."""
    # Most objects come from imports and stay. Looking through them while they are made, and again when the process
    # ends, takes time that the user of a short command feels.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    warnings.showwarning = _say_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without dashes shows a question mark
    stop_on_signals(_progress)
    try:
        app()
    except SerbenchError as error:
        say(f"serbench: {error}")
        sys.exit(1)
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code > 128:
            say_stopped(_progress)
        raise


def _say_warning(message: Warning | str, *where: object, **more: object) -> None:
    """Show a warning as a message; its place in the code says nothing to the user of a command."""
    say(f"serbench: {message}")


def _brought_by(package: Package | None) -> str:
    return "" if package is None else f" [{package}]"


def _say_faults(known: Known[Any]) -> None:
    """Print what is wrong with plug-ins; the others are of use all the same, so that this is no failure."""
    for fault in known.faults:
        say(f"serbench: {fault}")


def _workspace(
    results: str,
    corpora_file: Path | None,
    *,
    partial: bool,
    jobs: int | None = None,
    rehash: bool = False,
) -> Workspace:
    from serbench.api import Workspace

    return Workspace(results, corpora_file, partial, jobs, _progress, rehash)


def _protocol(given: str | None, *, text_independent: bool) -> str:
    """Name the protocol that `--protocol` and `--text-independent` ask for."""
    if not text_independent:
        return given or "within"
    if given not in (None, "within-text"):
        raise typer.BadParameter(f"--text-independent is --protocol within-text, not {given}; give one of them")
    return "within-text"


def _print_check(name: str, workspace: Workspace, *, deep: bool) -> bool:
    """Print what the check of one corpus found; say whether it is sound."""
    import serbench.api as api

    try:
        check = api.check_corpus(name, workspace, deep=deep)
    except CorpusError as error:
        print(f"{name}: not sound\n  error: {error}")
        return False
    print(f"{name}: {'sound' if check.is_sound else 'not sound'}")
    for fact, text in check.facts.items():
        print(f"  {fact:14} {text}")
    for finding in check.findings:
        print(f"  {finding.level}: {finding.text}")
    return check.is_sound


def _results_option(results: str) -> str:
    return "" if results == DEFAULT_RESULTS else f" --results {shlex.quote(results)}"
