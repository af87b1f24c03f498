"""How long work tells how far it is: a function that the caller gives and that may do nothing."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done (e.g. `extract emodb`), how many units are done, and how many there are."""


def silent(activity: str, done: int, total: int) -> None:
    """Ignore progress: the default in a notebook."""
