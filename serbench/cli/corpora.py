"""`serbench corpora ...` and `serbench audit`: what is on this disk, and whether it can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from serbench.cli.options import DEFAULT_RESULTS, PROGRESS, Corpora, CorporaFile, Jobs, Partial, Results, workspace_of
from serbench.cli.show import print, print_audit, print_self_check, print_table, say_failures
from serbench.errors import CorpusError

if TYPE_CHECKING:
    from serbench.api import Workspace

corpora_app = typer.Typer(help="The catalogue of corpora and the copies on this disk.", no_args_is_help=True)


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

    table, extracted = api.corpus_statistics(names, workspace_of(results, corpora_file, partial=partial))
    print_table(table)
    if say_failures(extracted):
        raise typer.Exit(1)


@corpora_app.command("schema")
def corpora_schema() -> None:
    """Print the JSON Schema of corpora.yaml, for editors."""
    import json

    from serbench.corpora.entry import catalogue_schema

    print(json.dumps(catalogue_schema(), indent=1))


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
    """Audit corpora before any number is believed: copies, confounding, counts, and what the recordings give away.

    Several corpora that are named are also held against each other, for recordings that they share.
    """
    import serbench.api as api

    sound = []
    if corpora or not serbench_itself:
        workspace = workspace_of(results, corpora_file, partial=partial, jobs=jobs)
        for one in api.audit_corpora(corpora, workspace):
            print_audit(one)
            sound.append(one.is_sound)
    if serbench_itself:
        check = api.audit_serbench(progress=PROGRESS)
        print_self_check(check)
        sound.append(check.is_sound)
    if not all(sound):
        raise typer.Exit(1)


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
