"""The answer that a table gives: the best cell of each corpus, and by how much it is above the others, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serbench.classifiers.spaces import UNTUNED
from serbench.report.comparisons import Matrix, Row, counted, never_predicted
from serbench.report.table import bracketed, signed
from serbench.scores.metrics import METRICS
from serbench.scores.predictions import CellPredictions
from serbench.scores.scores import values_by
from serbench.scores.statistics import FEWEST, TINY, Interval, units_needed

NEAREST = 2
"""Cells whose difference to the best a sentence gives."""
MANY = 1000
"""Units from which on nobody will record them: their number is not given more exactly."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a column of Table 2 says.

    Parameters
    ----------
    title : the setup of the table.
    sentence : the best cell, the nearest others, how many are worse or cannot be told apart, and the simple cues.
    rows : the rows of `Matrix.differences` of the corpus, the nearest first; none where nothing is compared.
    """

    title: str
    corpus: str
    best: Row
    sentence: str
    rows: Sequence[Mapping[str, Any]]


def answers(matrix: Matrix, metric: str = "uar") -> list[Answer]:
    """Answer for each corpus of a matrix that has a value."""
    found = []
    for corpus in matrix.corpora:
        cells = matrix.compared_in(corpus)
        if cells:
            rows = [row for row in matrix.differences if (row["metric"], row["corpus"]) == (metric, corpus)]
            rows.sort(key=lambda row: row["below_best"])
            best = (rows[0]["best_features"], rows[0]["best_classifier"]) if rows else next(iter(cells))
            others = [row for row in rows if not row["is_reference"]]
            says = [*_best(best, cells[best], metric, is_only=not others), *_others(others)]
            says += _not_compared(matrix, corpus) + _cues(matrix, corpus, cells, metric)
            copy = f" ({cells[best].record.partial})" if cells[best].record.partial else ""
            found.append(Answer(matrix.setup.title, corpus, best, f"{corpus}{copy}: {'. '.join(says)}.", rows))
    return found


def first_answers(matrices: Iterable[Matrix]) -> list[Answer]:
    """Answer once for each corpus, by the first matrix that has a value for it."""
    found: dict[str, Answer] = {}
    for matrix in matrices:
        for answer in answers(matrix):
            found.setdefault(answer.corpus, answer)
    return list(found.values())


def headed(found: Iterable[Answer]) -> dict[str, list[str]]:
    """Return the sentences of answers below a line that names their setup, and says once how a best cell was picked."""
    blocks: dict[str, list[Answer]] = {}
    for answer in found:
        blocks.setdefault(answer.title, []).append(answer)
    picked = "; a best cell is picked on the test data, so its value is somewhat too high"
    is_picked = {title: any(not row["is_reference"] for one in of for row in one.rows) for title, of in blocks.items()}
    return {
        f"Best cells ({title}){picked if is_picked[title] else ''}:": [answer.sentence for answer in of]
        for title, of in blocks.items()
    }


def _best(row: Row, cell: CellPredictions, metric: str, *, is_only: bool) -> list[str]:
    """Word the best cell with its interval, what chance gives where it is as good, and emotions never predicted."""
    score = values_by(cell, cell.rule)[metric]
    rule = "" if cell.is_chosen or cell.cell["space"] == UNTUNED else " with its default setting"
    first = f"{'one cell,' if is_only else 'best is'} {_named(row)}{rule}, {METRICS[metric].short_name} "
    few = f"({counted(score.n_units, cell.unit)}: no interval)"
    between = few if score.n_units < FEWEST else bracketed(score.interval)
    says = [f"{first}{score.value:.3f} {between}".rstrip()]
    chance = METRICS[metric].chance(cell.stack().sum(axis=1))
    if chance is not None and (score.interval.low if score.interval else score.value) <= chance:
        says.append(f"It is not clearly above chance ({chance:.3f})")
    if not cell.is_reference and (never := never_predicted(cell)):
        says.append(f"It never predicts {', '.join(never)}")
    return says


def _named(row: Row) -> str:
    return f"{row[1]} on {row[0]}"


def _others(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Word how other cells differ from the best one: the nearest by name, the rest by number."""
    near = []
    for row in rows[:NEAREST]:
        below = row["below_best"]
        told = "equal" if below < TINY else "less than 0.001 below" if below < 0.0005 else signed(-below)
        near.append(f"{_named((row['features'], row['classifier']))}, {told} {_range(row)}".rstrip())
    says = [f"Next: {'; '.join(near)}"] if near else []
    ties = [row for row in rows if row["verdict"] == "tie"]
    worse = [row["below_best"] for row in rows if row["verdict"] == "worse"]
    if rows and rows[0]["verdict"] == "untestable":
        says.append(f"With {counted(rows[0]['n_units'], rows[0]['unit'])}, no difference can be tested")
    if ties:
        which = "It cannot" if len(rows) == 1 else f"{len(ties)} of {len(rows)} others cannot"
        which = f"None of {len(rows)} others can" if len(ties) == len(rows) > 1 else which
        says.append(f"{which} be told apart from the best{_needed(ties[0])}")
    if worse:
        which = (
            "It is" if len(rows) == 1 else f"{len(worse)} of {len(rows)} others {'is' if len(worse) == 1 else 'are'}"
        )
        far = f"{worse[0]:.3f}" if len(worse) == 1 else f"{worse[0]:.3f} to {worse[-1]:.3f}"
        says.append(f"{which} worse, by {far}")
    return says


def _range(row: Mapping[str, Any]) -> str:
    return "" if row["low"] is None else bracketed(Interval(-row["high"], -row["low"]), digits=3)


def _needed(row: Mapping[str, Any]) -> str:
    """Word how many units would tell a cell from the best; nothing where the number at hand is enough for two cells."""
    interval = None if row["low"] is None else Interval(row["low"], row["high"])
    needed = units_needed(row["below_best"], interval, row["n_units"])
    if needed is None or needed <= row["n_units"]:
        return ""
    many = f"more than {MANY:,}" if needed > MANY else f"about {float(f'{needed:.1e}'):.0f}"
    return f"; a test of {_named((row['features'], row['classifier']))} alone would need {many} {row['unit']}s"


def _not_compared(matrix: Matrix, corpus: str) -> list[str]:
    n = sum(place[2] == corpus and cell.is_short for place, cell in matrix.scored.items())
    return [f"{n} {'cells miss' if n > 1 else 'cell misses'} utterances and cannot be compared"] if n else []


def _cues(matrix: Matrix, corpus: str, cells: Mapping[Row, CellPredictions], metric: str) -> list[str]:
    """Word how cells stand to the simple cues, where an audit has measured these."""
    cues = matrix.cues.get(corpus)
    if cues is None or metric != "uar":
        return []
    above = {key: values_by(cell, cell.rule)[metric].value - cues for key, cell in cells.items()}
    tried = [above[key] for key, cell in cells.items() if not cell.is_reference]
    n, of = sum(by < -TINY for by in tried), len(tried)
    which = f"{n} of {of} are below" if n else "no cell is below"
    for word, sign in (("above", 1), ("below", -1)):
        if all(sign * by > TINY for by in tried):
            aside = "" if all(sign * by > TINY for by in above.values()) else " but dummy"
            which = f"{'the' if of == 1 else 'every'} cell{aside} is {word}"
    return [f"Duration and level alone give {cues:.3f}: {which} that"]
