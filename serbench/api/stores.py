"""Upkeep of a results folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serbench.workspace import HERE, Workspace

if TYPE_CHECKING:
    from serbench.grid.check import Litter, StoreCheck


def check_store(workspace: Workspace = HERE) -> StoreCheck:
    """Hold every file of the results folder against what was written; nothing is changed."""
    from serbench.grid.check import check_store as check

    return check(workspace.store())


def find_litter(workspace: Workspace = HERE) -> Litter:
    """Find what no cell of the results folder refers to any more; `clean_store` removes it."""
    from serbench.grid.check import find_litter as find

    return find(workspace.store())


def clean_store(litter: Litter, workspace: Workspace = HERE) -> None:
    """Remove what `find_litter` found."""
    from serbench.grid.check import remove_litter

    remove_litter(litter, workspace.store())
