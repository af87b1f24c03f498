"""The answer that a table gives: the best cell of each corpus, and by how much it is above the others, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serbench.report.comparisons import Matrix, Row, entry_of
from serbench.report.table import bracketed
from serbench.scores.statistics import Interval, units_needed

NEAREST = 2
"""Cells whose difference to the best a sentence gives."""
MANY = 1000
"""Units from which on nobody will record them: their number is not given more exactly."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a column of Table 2 says.

    Parameters
    ----------
    sentence : the best cell, the nearest others, and how many are worse or cannot be told apart.
    rows : the rows of `Matrix.differences` of the corpus, the nearest first.
    """

    corpus: str
    best: Row
    sentence: str
    rows: Sequence[Mapping[str, Any]]


def answers(matrix: Matrix, metric: str = "uar") -> list[Answer]:
    """Answer for each corpus of a matrix with at least two cells to compare."""
    found = []
    for corpus in matrix.corpora:
        rows = [row for row in matrix.differences if (row["metric"], row["corpus"]) == (metric, corpus)]
        if rows:
            rows.sort(key=lambda row: row["below_best"])
            best = rows[0]["best_features"], rows[0]["best_classifier"]
            value = entry_of(matrix.scored[(*best, corpus)], metric=metric)
            says = [f"{corpus}: best is {_named(best)}, {metric.upper()} {value.text} {value.aside}".rstrip()]
            says += _others([row for row in rows if not row["is_reference"]])
            found.append(Answer(corpus, best, f"{'. '.join(says)}.", rows))
    return found


def _named(row: Row) -> str:
    return f"{row[1]} on {row[0]}"


def _others(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Word how other cells differ from the best one: the nearest by name, the rest by number."""
    if not rows:
        return []
    near = []
    for row in rows[:NEAREST]:
        between = bracketed(_interval(row))
        near.append(
            f"{_named((row['features'], row['classifier']))} is {row['below_best']:.3f} below {between}".rstrip()
        )
    says = ["; ".join(near)]
    verdicts = [row["verdict"] for row in rows]
    n, unit = len(rows), rows[0]["unit"]
    if "untestable" in verdicts:
        return [*says, f"With {rows[0]['n_units']} {unit}s, no difference can be tested"]
    if ties := verdicts.count("tie"):
        cell = "the other cell" if n == 1 else f"{ties} of {n} other cells"
        told = f"{cell} cannot be told apart from it"
        tie = next(row for row in rows if row["verdict"] == "tie")
        needed = units_needed(tie["below_best"], _interval(tie), tie["n_units"])
        if needed is not None:
            many = f"more than {MANY:,}" if needed > MANY else f"about {float(f'{needed:.1e}'):.0f}"
            told += f" (to tell the nearest would take {many} {unit}s)"
        says.append(told[0].upper() + told[1:])
    worse = [row["below_best"] for row in rows if row["verdict"] == "worse"]
    if worse:
        far = f"{worse[0]:.3f}" if len(worse) == 1 else f"{worse[0]:.3f} to {worse[-1]:.3f}"
        says.append(f"{len(worse)} of {n} are worse, by {far}")
    return says


def _interval(row: Mapping[str, Any]) -> Interval | None:
    return None if row["low"] is None else Interval(row["low"], row["high"])
