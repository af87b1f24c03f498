"""`serbench extract | grid | folds | demo`: what computes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from serbench.cli.options import (
    DEFAULT_RESULTS,
    PROGRESS,
    Corpora,
    CorporaFile,
    Emotions,
    Features,
    Jobs,
    Partial,
    Results,
    Segment,
    Target,
    Task,
    TextIndependent,
    Where,
    protocol_named,
    results_option,
    workspace_of,
)
from serbench.cli.show import print, print_plan, print_table, say_failures, say_grid
from serbench.protocols import PROTOCOLS


def extract(
    corpora: Corpora = None,
    features: Features = None,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Read every recording again, also where its file is as it was.")
    ] = False,
    segment: Segment = None,
    partial: Partial = False,
    results: Results = DEFAULT_RESULTS,
    jobs: Jobs = None,
    corpora_file: CorporaFile = None,
) -> None:
    """Index corpora and extract features into the store; what is there is not done again."""
    import serbench.api as api

    workspace = workspace_of(results, corpora_file, partial=partial, jobs=jobs, rehash=rehash)
    extracted = api.extract_features(corpora, tuple(features or api.DEFAULT_FEATURES), workspace, segment=segment)
    for done in extracted.done:
        for name, n in done.computed.items():
            failed = sum(failure.features == name for failure in done.failed)
            print(f"{done.name} {name}: {n} extracted, {done.stored[name]} already there, {failed} failed")
        if done.note:
            print(f"  {done.note}")
        for utterance, reason in done.copies.items():
            print(f"  {utterance} takes no part: {reason}")
    if say_failures(extracted):
        raise typer.Exit(1)


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
    target: Target = None,
    where: Where = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help=f"{', '.join(PROTOCOLS)}. Default: within.", metavar="NAME")
    ] = None,
    text_independent: TextIndependent = False,
    partition: Annotated[
        str | None,
        typer.Option("--partition", help="With holdout: a partition of the corpora's entries.", metavar="NAME"),
    ] = None,
    k: Annotated[
        list[int] | None,
        typer.Option(
            "--k", help="With adapt: utterances of the test corpus to train on; may be repeated.", metavar="N"
        ),
    ] = None,
    weight: Annotated[float, typer.Option("--weight", help="With adapt: how much each of these counts.")] = 1.0,
    scaling: Annotated[
        str, typer.Option("--scaling", help="train, corpus, none, or speaker (transductive, as corpus may be).")
    ] = "train",
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
    segment: Segment = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan only: cells, jobs, what is there, expected time.")
    ] = False,
    partial: Partial = False,
    results: Results = DEFAULT_RESULTS,
    jobs: Jobs = None,
    corpora_file: CorporaFile = None,
) -> None:
    """Run corpora x feature sets x classifiers, people left out in turn, with nested tuning; resumes where stopped."""
    import serbench.api as api

    request = api.GridRequest(
        features=tuple(features or api.DEFAULT_FEATURES),
        classifiers=tuple(classifier or api.DEFAULT_CLASSIFIERS),
        task=task,
        emotions=emotions,
        target=target,
        where=tuple(where or ()),
        protocol=protocol_named(protocol, text_independent=text_independent),
        partition=partition,
        k=tuple(dict.fromkeys(k or ())),
        weight=weight,
        scaling=scaling,
        inner=inner,
        space=space,
        seeds=tuple(dict.fromkeys(seed or (0,))),
        segment=segment,
    )
    workspace = workspace_of(results, corpora_file, partial=partial, jobs=jobs)
    workspace = replace(workspace, job_timeout_s=job_timeout, scheduler=scheduler)
    result = api.plan_grid(corpora, request, workspace, dry_run=dry_run)
    for done in result.extracted.done:
        if done.note:
            print(f"{done.corpus}: {done.note}")
    print_plan(result.plan, workspace, is_dry_run=dry_run, to_extract=result.to_extract)
    if not dry_run:
        result = api.run_planned_grid(result)
    failed = say_grid(result)
    if result.run is not None:
        print("Next: serbench report" + results_option(results))
    if failed:
        raise typer.Exit(1)


def folds(
    corpus: Annotated[str, typer.Argument(help="Corpus.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file; default: standard output.")] = None,
    task: Task = None,
    emotions: Emotions = None,
    target: Target = None,
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
    from serbench.store.files import frame_to_csv, write_text

    request = api.GridRequest(
        task=task,
        emotions=emotions,
        target=target,
        where=tuple(where or ()),
        protocol=protocol_named(None, text_independent=text_independent),
        inner=inner,
    )
    table = api.list_folds(corpus, request, workspace_of(results, corpora_file, partial=partial))
    text = frame_to_csv(table)
    if output is None:
        sys.stdout.write(text)
    else:
        write_text(output, text)
        print(f"{len(table)} utterances in {table['fold'].nunique()} folds written to {output}")


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.", metavar="[DIR]")] = Path("serbench-demo"),
    jobs: Jobs = None,
) -> None:
    """Make a small SYNTHETIC corpus and take it from audio to tables, in about a minute."""
    import serbench.api as api

    made = api.run_demo(folder, jobs=jobs, progress=PROGRESS)
    for table in made.of("table2-uar"):
        print_table(table)
    print(f"This corpus is SYNTHETIC: its numbers say nothing about people. Tables: {folder / 'results' / 'report'}")
    print("\nFor a real corpus: set SERBENCH_DATA to the folder that holds it, then")
    print("  serbench corpora list            which corpora are known, and where to get them")
    print("  serbench extract emodb           features into results/")
    print("  serbench grid emodb              predictions, nested and speaker-independent")
    print("  serbench report                  the tables, in results/report/")
    print(f"A corpus of your own is one block of YAML; {folder / 'corpora.yaml'} shows one.")
