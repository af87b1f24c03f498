"""Corpora: the catalogue (`catalogue`, `entry`), labels on disk (`labels`), tasks (`tasks`), indexes (`index`)."""

from __future__ import annotations

from collections.abc import Sequence

Names = Sequence[str] | str | None  # of corpora, features or classifiers; one alone may be given as it is


def as_names(value: Names) -> tuple[str, ...] | None:
    """Let a single name stand for a list of one: "emodb" is not five corpora of a letter each."""
    return (value,) if isinstance(value, str) else None if value is None else tuple(value)
