"""`serbench audit | compare | folds | score`, and what lists and checks: corpora, experiments, features, store."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

import serbench
from serbench.cli.options import Corpora, flag, parted, results_option, takes
from serbench.cli.show import print, print_table, prose, say, say_failures
from serbench.grid.request import GridRequest
from serbench.workspace import Workspace

corpora_app = typer.Typer(help="The catalogue of corpora and the copies on this disk.", no_args_is_help=True)
experiments_app = typer.Typer(help="Whole tables of papers, to run and to compare with ours.", no_args_is_help=True)
features_app = typer.Typer(help="Feature sets.", no_args_is_help=True)
classifiers_app = typer.Typer(help="Classifiers.", no_args_is_help=True)
cells_app = typer.Typer(help="The cells of a results folder, which the report shows.", no_args_is_help=True)
store_app = typer.Typer(help="The files of a results folder.", no_args_is_help=True)

_EXIT_CODE = "End with 1 where cells or predictions differ or cannot be compared."
_COMPARED = "File for all that was compared: .csv, .md or .tex."
_NAME = "What tables call the system. Default: the name of the file."
_CELLS = "Names of cells, or patterns such as 'within-emodb-*'."
_REFUSED = "Only cells that could not be carried out."
_SHOWN = "What tables show as its feature set."
_MISSING = "Accept utterances without a prediction; tables will say so."


class NamesMetrics(TyperCommand):
    """A command whose help names the metrics of `--metric`, which are imported once this help is asked for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from serbench.scores.metrics import METRICS

        for option in self.params:
            if isinstance(option, TyperOption) and option.name == "metric":
                option.help = f"One of {', '.join(METRICS)}."
        super().format_help(ctx, formatter)


@takes("partial", "results", "jobs", "corpora_file")
def audit(workspace: Workspace, corpora: Corpora = None) -> None:
    """Audit corpora before any number is believed: counts, damage, copies, labels, and what the recordings give away.

    Several corpora that are named are also compared with each other, for recordings that they share.
    """
    audits = []
    for one in serbench.audit_corpora(corpora, workspace):
        audits.append(one)
        print(prose(f"{one.corpus}: {one.verdict}."))
        for fact, text in one.facts.items():
            print(f"  {fact:14} {text}")
        for finding in one.findings:
            print(prose(f"{finding.level}, {finding.kind}: {finding.text}", indent="  "))
        if cues := one.baseline:
            text = f"baseline: duration and level alone give UAR {cues.uar:.2f} (chance {1 / len(cues.emotions):.2f}) "
            text += f"over {cues.n_groups} test groups, {cues.n_utterances} utterances of {', '.join(cues.emotions)}. "
            text += "They are cues of emotion, so this is no fault; features should do better."
            print(prose(text, indent="  "))
        print(flush=True)
    if not all(one.is_sound for one in audits):
        raise typer.Exit(1)


def compare(
    results_a: Annotated[str, typer.Argument(help="Results folder, the earlier one.", metavar="RESULTS_A")],
    results_b: Annotated[str, typer.Argument(help="Another one.", metavar="RESULTS_B")],
    metric: Annotated[str, typer.Option("--metric", help="A metric.", metavar="NAME")] = "uar",
    output: Annotated[Path | None, typer.Option("--output", "-o", help=_COMPARED, metavar="FILE")] = None,
    exit_code: Annotated[bool, flag("--exit-code", help=_EXIT_CODE)] = False,
) -> None:
    """Report what changed between two results folders, of two runs or two releases, with intervals."""
    found = serbench.compare_results(results_a, results_b, metric=metric)
    for table in found.tables:
        print_table(table)
        print()
    for sentence in found.sentences:
        print(prose(sentence))
    if output is not None:
        serbench.write_comparison(found, output)
    if exit_code and not found.is_same:
        raise typer.Exit(1)


@takes("partial", "results", "corpora_file", request=("task", "emotions", "target", "where", "inner"))
def folds(
    workspace: Workspace,
    request: GridRequest,
    corpus: Annotated[str, typer.Argument(help="Corpus.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV file; default: standard output.", metavar="FILE")
    ] = None,
) -> None:
    """Write the folds of a corpus as CSV, for other tools."""
    table = serbench.list_folds(corpus, request, workspace)

    from serbench.store.files import frame_to_csv, write_text

    if output is None:
        sys.stdout.write(frame_to_csv(table))
    else:
        write_text(output, frame_to_csv(table))
        print(f"{len(table)} utterances in {table['fold'].nunique()} folds written to {output}")


@takes("partial", "results", "corpora_file", request=("task", "emotions", "target", "where"))
def score(
    workspace: Workspace,
    request: GridRequest,
    predictions: Annotated[
        Path, typer.Argument(help="CSV or parquet file: utterance, prediction, and basis and fold.")
    ],
    name: Annotated[str | None, typer.Option("--name", help=_NAME, metavar="NAME")] = None,
    shown: Annotated[str, typer.Option("--features", "-f", help=_SHOWN, metavar="NAME")] = "own",
    allow_missing: Annotated[bool, flag("--allow-missing", help=_MISSING)] = False,
) -> None:
    """Put the predictions of another system, on the folds of `serbench folds`, into the tables of the report."""
    how = {"name": name, "features": shown, "allow_missing": allow_missing}
    for one in serbench.score_predictions(predictions, request, workspace, **how):
        task = f"{one.cell.task} ({one.cell.map})" if one.cell.map else one.cell.task
        tested = f"{one.n_utterances} utterances of {task} in {len(one.record.folds)} folds, UAR {one.uar:.3f}"
        print(f"{one.cell.corpus}: {tested}, as {one.cell.classifier} with {one.cell.features} features")
        print(f"  serbench cells remove {one.cell.name}{results_option(workspace)} takes it out again")
        for note in one.notes:
            say(f"{one.cell.corpus}: {note}")
    print("Next: serbench report" + results_option(workspace))


@corpora_app.command("list")
@takes("corpora_file")
def corpora_list(workspace: Workspace) -> None:
    """List the catalogue: which corpora are on this disk, and where to get the others."""
    from serbench.corpora.catalogue import place_of

    corpora = serbench.list_corpora(workspace)
    for here in (True, False):
        chosen = {name: (c, reason) for name, (c, reason) in corpora.items() if (reason is None) == here}
        print(("On this disk:" if here else "Not on this disk:") + ("" if chosen else " none"))
        for name, (corpus, reason) in chosen.items():
            mark = "" if corpus.verified else " [names not verified]"
            print(f"  {name:9} {corpus.language:6} {corpus.title or 'no title'}{mark}")
            if not here:
                print(f"  {'':9} {'':6} {place_of(corpus)}: {reason}. Get it: {corpus.homepage} ({corpus.licence})")


@corpora_app.command("init")
@takes("corpora_file")
def corpora_init(
    workspace: Workspace,
    folder: Annotated[Path, typer.Argument(help="Folder of the recordings, with tables of labels if there are any.")],
    name: Annotated[str, typer.Option("--name", help="Name of the corpus. Default: that of the folder.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the block and write nothing.")] = False,
) -> None:
    """Guess the entry of a corpus of yours from file names and tables, check it, and add it to corpora.yaml."""
    from serbench.corpora.guess import CHECK, FILL_IN, guess_corpus, with_block
    from serbench.store.files import write_text

    file = Path(workspace.corpora_file or "corpora.yaml")
    catalogue = serbench.load_catalogue(file if file.is_file() else None)
    guess = guess_corpus(folder, catalogue, name=name, file=file)
    print(f"{guess.name}: {guess.n_recordings} recordings. Labels are read from {guess.labels.source}:")
    for path, told in guess.labels.examples:
        print(f"  {path}\n    {told or 'nothing'}")
    for title, mark in (("To check:", CHECK), ("To fill in:", FILL_IN)):
        if comments := guess.comments(mark):
            print("\n".join([title, *(prose(f"- {text}", indent="  ") for text in comments)]))
    if not dry_run:
        write_text(file, with_block(file, guess.block))
    print(f"\n{'The block' if dry_run else f'Added to {file}'}:\n\n{guess.block}")
    option = f" --corpora {shlex.quote(str(file))}" if workspace.corpora_file else ""
    for fault in guess.faults:
        say(f"serbench: {fault}")
    if guess.scan is None or guess.comments(FILL_IN):
        todo = "Fill in what is missing" if guess.comments(FILL_IN) else "Correct the block"
        print(f"{todo}, then: serbench audit {guess.name}{option}")
        raise typer.Exit(1)
    rows = guess.scan.table
    emotions = ", ".join(f"{emotion} {n}" for emotion, n in rows["emotion"].value_counts().sort_index().items())
    print(prose(f"The block can be read: {len(rows)} utterances of {rows['speaker'].nunique()} speakers; {emotions}."))
    print(f"Next: serbench audit {guess.name}{' --partial' if guess.faults else ''}{option}")


@corpora_app.command("stats")
@takes("partial", "results", "corpora_file")
def corpora_stats(workspace: Workspace, corpora: Corpora = None) -> None:
    """Print Table 1 (data statistics) of corpora on this disk."""
    table, extracted = serbench.corpus_statistics(corpora, workspace)
    print_table(table)
    if say_failures(extracted):
        raise typer.Exit(1)


@corpora_app.command("schema")
def corpora_schema() -> None:
    """Print the JSON Schema of corpora.yaml, for editors."""
    from serbench.corpora.entry import catalogue_schema

    print(json.dumps(catalogue_schema(), indent=1))


@experiments_app.command("list")
@takes("corpora_file")
def experiments_list(workspace: Workspace) -> None:
    """List the experiments that come with serbench, and which of their corpora are on this disk."""
    corpora = serbench.list_corpora(workspace)
    for name, described in serbench.list_experiments().items():
        experiment = described.experiment
        marked = [c if c in corpora and corpora[c][1] is None else f"{c} (not here)" for c in experiment.corpora]
        print(prose(f"{name}: {experiment.title}. Corpora: {', '.join(marked)}."))


@experiments_app.command("show")
def experiments_show(
    experiment: Annotated[str, typer.Argument(help="Name of an experiment, or a .yaml file of your own.")],
) -> None:
    """Print an experiment as it is described, after checking it; the digest names this state of it."""
    from serbench.experiments.load import find_experiment

    described = find_experiment(experiment)
    print(described.text.rstrip())
    print(f"\n# {described.name}, digest {described.digest}")


@features_app.command("list")
def features_list() -> None:
    """List the feature sets with their number of features; those of plug-ins with the package that brings them."""
    from serbench.features import known_feature_sets

    def frames(hop_s: float | None) -> str:
        return f", one every {hop_s * 1000:g} ms" if hop_s else ""

    _list_known(*known_feature_sets(), lambda one: (one.n_features, f"{frames(one.hop_s)} ({one.citation})"))


@classifiers_app.command("list")
def classifiers_list() -> None:
    """List the classifiers with their number of settings; those of plug-ins with the package that brings them."""
    from serbench.classifiers import known_classifiers

    _list_known(*known_classifiers(), lambda one: (len(one.space), ", takes frames" if one.input == "frames" else ""))


def _list_known(known: Mapping[str, Any], faults: Iterable[Exception], more: Callable[[Any], tuple[int, str]]) -> None:
    """Print what is registered; plug-ins that are broken are named, and the others are of use all the same."""
    width = max(map(len, known))
    for one in known.values():
        size, text = more(one)
        print(f"{one.name:{width}} {size:5}  {one.title}{text}" + (f" [{one.package}]" if one.package else ""))
    for fault in faults:
        say(f"serbench: {fault}")


@classifiers_app.command("show")
def classifiers_show(name: Annotated[str, typer.Argument(help="Classifier.")]) -> None:
    """Print the settings of a classifier as YAML: what a grid tries, and a file for --space to start from."""
    import yaml

    from serbench.classifiers import find_classifier

    one = find_classifier(name)
    print(f"# {one.title}: {len(one.space)} settings, in the order in which ties are decided")
    for parameter, unit in one.units.items():
        print(f"# {parameter} counts in units of {unit}")
    block = {"default": dict(one.default), "settings": [dict(setting) for setting in one.space]}
    print(yaml.safe_dump({one.name: block}, sort_keys=False, default_flow_style=None), end="")


@features_app.command("export")
@takes("partial", "results", "jobs", "corpora_file")
def features_export(
    workspace: Workspace,
    name: Annotated[str, typer.Argument(help="Feature set.")],
    output: Annotated[Path, typer.Argument(help="File to write, .csv or .parquet.")],
    corpora: Annotated[
        list[str] | None,
        typer.Option("--corpus", help="Corpora. Default: all on this disk.", metavar="NAME,...", parser=parted),
    ] = None,
) -> None:
    """Write a feature set as one CSV or parquet file, one row per utterance."""
    done = serbench.export_features(name, output, corpora, workspace)
    print(f"{name} of {', '.join(one.corpus for one in done.done)} written to {output}")
    if say_failures(done):
        raise typer.Exit(1)


Cells = Annotated[list[str] | None, typer.Argument(help=_CELLS, metavar="CELL", parser=parted)]
Refused = Annotated[bool, flag("--refused", help=_REFUSED)]


@cells_app.command("list")
@takes("results")
def cells_list(workspace: Workspace, cells: Cells = None, refused: Refused = False) -> None:
    """List cells by name, with what they are made of."""
    for name, record in serbench.find_cells(cells or (), workspace, refused=refused).items():
        print(name)
        found = f"{record.cell.title}{f': refused. {record.reason}' if record.reason else ''}" if record else "damaged"
        print(prose(found, indent="  "))


@cells_app.command("remove")
@takes("results")
def cells_remove(
    workspace: Workspace,
    cells: Cells = None,
    refused: Refused = False,
    yes: Annotated[bool, flag("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove cells from the results, and so from the next report; the same grid makes them again at once."""
    if not cells and not refused:
        raise typer.BadParameter("name cells or patterns (`serbench cells list` shows them), or give --refused")
    found = [*serbench.find_cells(cells or (), workspace, refused=refused)]
    print("\n".join(found) or "Nothing to remove")
    if found and (yes or typer.confirm(f"Remove {'this cell' if len(found) == 1 else f'these {len(found)} cells'}?")):
        serbench.remove_cells(found, workspace)
        print("Removed; serbench store clean removes predictions that no cell uses any more")


@store_app.command("check")
@takes("results")
def store_check(workspace: Workspace) -> None:
    """Read every file of the results folder and report which are not what was written; nothing is changed."""
    check = serbench.check_store(workspace)
    counts = ", ".join(f"{n} {kind}" for kind, n in check.counts.items())
    print(f"{workspace.results}: {counts or 'no files of serbench'}")
    for path, reason in check.damaged.items():
        say(f"damaged: {path}: {reason}")
    if check.damaged:
        say(f"{len(check.damaged)} damaged; `serbench extract`, `grid`, `score` and `report` make them again")
        raise typer.Exit(1)
    print("All are what was written")


@store_app.command("clean")
@takes("results")
def store_clean(workspace: Workspace, yes: Annotated[bool, flag("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Remove what no cell uses any more, after listing it; names that serbench does not write stay."""
    unused = serbench.find_unused(workspace)
    for kind, paths in unused.items():
        names = ", ".join(path.relative_to(workspace.store().root).as_posix() for path in paths[:3])
        print(f"{len(paths)} {kind}: {names}{', ...' if len(paths) > 3 else ''}")
    if not unused:
        print("Nothing to remove: cells use every file")
        return
    files = [file for paths in unused.values() for path in paths for file in (path, *path.rglob("*"))]
    print(f"{sum(file.lstat().st_size for file in files if file.is_file()) / 1e6:.1f} MB in all")
    if yes or typer.confirm("Remove them?"):
        serbench.clean_store(unused, workspace)
        print("Removed")
