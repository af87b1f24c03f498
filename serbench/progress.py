"""How long work tells how far it is: a function that the caller gives and that may do nothing."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int, float], None]
"""Called with what is being done (e.g. `extract emodb`), units done, units in all, and the share of the work done.

The share tells the time left better than the units where these differ in size, as jobs of the grid do.
"""


def silent(activity: str, done: int, total: int, share: float) -> None:
    """Ignore progress: the default in a notebook."""
