"""`serbench corpora ...` and `serbench audit`: what is on this disk, and whether it can be believed."""

from __future__ import annotations

import typer

from serbench.cli.options import DEFAULT_RESULTS, Corpora, CorporaFile, Jobs, Partial, Results, workspace_of
from serbench.cli.show import print, print_audit, print_table, say_failures

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
    partial: Partial = False,
    results: Results = DEFAULT_RESULTS,
    jobs: Jobs = None,
    corpora_file: CorporaFile = None,
) -> None:
    """Audit corpora before any number is believed: counts, damage, copies, labels, and what the recordings give away.

    Several corpora that are named are also compared with each other, for recordings that they share.
    """
    from serbench.audit import audit_corpora

    workspace = workspace_of(results, corpora_file, partial=partial, jobs=jobs)
    sound = []
    for one in audit_corpora(corpora, workspace):
        print_audit(one)
        sound.append(one.is_sound)
    if not all(sound):
        raise typer.Exit(1)
