"""`serbench store ...`: the files of a results folder."""

from __future__ import annotations

from typing import Annotated

import typer

from serbench.cli.options import DEFAULT_RESULTS, Results
from serbench.cli.show import print, say

store_app = typer.Typer(help="The files of a results folder.", no_args_is_help=True)


@store_app.command("check")
def store_check(results: Results = DEFAULT_RESULTS) -> None:
    """Read every file of the results folder and report which are not what was written; nothing is changed."""
    import serbench.api as api

    check = api.check_store(api.Workspace(results=results))
    print(f"{results}: " + (", ".join(f"{n} {kind}" for kind, n in check.counts.items()) or "no files of serbench"))
    for path, reason in check.damaged.items():
        say(f"damaged: {path}: {reason}")
    if check.damaged:
        say(f"{len(check.damaged)} damaged; `serbench extract`, `grid`, `score` and `report` make them anew")
        raise typer.Exit(1)
    print("All are what was written")


@store_app.command("clean")
def store_clean(
    results: Results = DEFAULT_RESULTS,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove what no cell uses any more, after listing it; names that serbench does not write stay."""
    import serbench.api as api

    workspace = api.Workspace(results=results)
    unused = api.find_unused(workspace)
    for kind, paths in unused.files.items():
        names = ", ".join(path.relative_to(workspace.store().root).as_posix() for path in paths[:3])
        print(f"{len(paths)} {kind}: {names}{', ...' if len(paths) > 3 else ''}")
    if not unused.files:
        print("Nothing to remove: cells use every file")
        return
    print(f"{unused.size / 1e6:.1f} MB in all")
    if yes or typer.confirm("Remove them?"):
        api.clean_store(unused, workspace)
        print("Removed")
