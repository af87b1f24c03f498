"""`serbench features ...` and `serbench classifiers ...`: what there is, and features as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serbench.cli.options import DEFAULT_RESULTS, CorporaFile, Jobs, Partial, Results, workspace_of
from serbench.cli.show import print, say, say_failures

if TYPE_CHECKING:
    from serbench.plugins import Known, Package

features_app = typer.Typer(help="Feature sets.", no_args_is_help=True)
classifiers_app = typer.Typer(help="Classifiers.", no_args_is_help=True)


@features_app.command("list")
def features_list() -> None:
    """List the feature sets with their number of features; those of plug-ins with the package that brings them."""
    from serbench.features import known_feature_sets

    known = known_feature_sets()
    width = max(map(len, known.records))
    for one in known.records.values():
        frames = f", one every {one.hop_s * 1000:g} ms" if one.hop_s else ""
        print(f"{one.name:{width}} {one.n_features:5}  {one.title}{frames} ({one.citation}){_brought_by(one.package)}")
    _say_faults(known)


@classifiers_app.command("list")
def classifiers_list() -> None:
    """List the classifiers with their number of settings; those of plug-ins with the package that brings them."""
    from serbench.classifiers import known_classifiers

    known = known_classifiers()
    width = max(map(len, known.records))
    for one in known.records.values():
        takes = ", takes frames" if one.input == "frames" else ""
        print(f"{one.name:{width}} {len(one.space):5}  {one.title}{takes}{_brought_by(one.package)}")
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

    done = api.export_features(name, output, corpora, workspace_of(results, corpora_file, partial=partial, jobs=jobs))
    print(f"{name} of {', '.join(e.corpus for e in done.done)} written to {output}")
    if say_failures(done):
        raise typer.Exit(1)


def _brought_by(package: Package | None) -> str:
    return "" if package is None else f" [{package}]"


def _say_faults(known: Known[Any]) -> None:
    """Print what is wrong with plug-ins; the others are of use all the same, so that this is no failure."""
    for fault in known.faults:
        say(f"serbench: {fault}")
