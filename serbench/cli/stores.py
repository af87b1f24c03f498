"""`serbench store ...`: the files of a results folder."""

from __future__ import annotations

from typing import Annotated

import typer

from serbench.cli.options import DEFAULT_RESULTS, Results
from serbench.cli.show import print, say

store_app = typer.Typer(help="The files of a results folder.", no_args_is_help=True)


@store_app.command("check")
def store_check(results: Results = DEFAULT_RESULTS) -> None:
    """Read every file of the results folder and say which are not what was written; nothing is changed."""
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
    """Remove what no cell refers to any more, after saying what that is; names that serbench does not write stay."""
    import serbench.api as api

    workspace = api.Workspace(results=results)
    litter = api.find_litter(workspace)
    for kind, paths in litter.files.items():
        names = ", ".join(path.relative_to(workspace.store().root).as_posix() for path in paths[:3])
        print(f"{len(paths)} {kind}: {names}{', ...' if len(paths) > 3 else ''}")
    if not litter.files:
        print("Nothing to remove: cells refer to every file")
        return
    print(f"{litter.size / 1e6:.1f} MB in all")
    if yes or typer.confirm("Remove them?"):
        api.clean_store(litter, workspace)
        print("Removed")
