"""Cells -> which of them stand in one table, on which utterances, and how each differs from the best of its corpus.

All cells of a table share a `Setup`: the axes of a cell but for those that are its place in the table. Cells of a
column are compared on the utterances that all of them have. A cell that misses too many of these is `short`: it is
scored on its own utterances, and is not compared.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from serbench.corpora.segments import MAJORITY, seconds_of
from serbench.corpora.tasks import DEFAULT_TASK, OF_PEOPLE
from serbench.errors import StoreError
from serbench.features import has_feature_set
from serbench.grid.cells import Cell
from serbench.protocols import PROTOCOLS, find_protocol
from serbench.scores.metrics import BOUNDS, METRICS
from serbench.scores.predictions import UNKNOWN, CellPredictions
from serbench.scores.scores import n_incomplete
from serbench.scores.statistics import (
    ALPHA,
    SHARES,
    Interval,
    Ranking,
    against_best,
    difference_of,
    jackknife_interval,
    rank_over,
    smallest_p,
)

Row = tuple[str, str]
"""Feature set, and classifier with its space where that is not the standard one."""
Place = tuple[str, str, str]
"""Row and corpus."""
Order = Callable[[str], int]
"""Name of a feature set or classifier -> its place among the rows."""
LACKING_AT_MOST = 0.05
"""Share of a column's utterances that a cell may miss and still be compared with the others."""
_PLACE = ("features", "classifier", "space", "corpus")
"""Axes of a cell that are its place in a table."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What all cells of a table share.

    Parameters
    ----------
    axes : the axes of a cell; those that are its place are empty, and those that cells of the table differ in.
    emotions : in the order of their codes.
    target : what the emotions are labels of, where these are none.
    """

    axes: Cell
    emotions: tuple[str, ...]
    target: str = "emotion"

    @staticmethod
    def of(cell: CellPredictions) -> Setup:
        """Return the setup of a cell; `train` is the corpora that meet, where a protocol has several."""
        own = dict.fromkeys(_PLACE, "") | {"train": cell.record.pool, "inner": cell.record.inner_title}
        return Setup(Cell(**{**cell.cell, **own}), cell.emotions, cell.record.target)

    def without(self, *axes: str) -> Setup:
        """Return the setup with some axes empty, to bring cells together that differ in these."""
        blank: dict[str, Any] = {name: 0 if name == "seed" else "" for name in axes}
        return replace(self, axes=replace(self.axes, **blank))

    @property
    def label(self) -> str:
        """What is told apart, for one of them."""
        return "emotion" if self.target == "emotion" else "class"

    @property
    def is_of_people(self) -> bool:
        """Whether all utterances of a speaker have one label, so that nothing can be said of single speakers."""
        return self.target in OF_PEOPLE

    @property
    def chance(self) -> float:
        """UAR of guessing."""
        return 1 / len(self.emotions)

    @property
    def is_transductive(self) -> bool:
        """Whether scaling used unlabelled audio of what is tested."""
        seen = self.axes.inner == UNKNOWN or find_protocol(self.axes.protocol).sees_target
        return self.axes.scaling == "speaker" or (self.axes.scaling == "corpus" and not seen)

    @property
    def protocol_title(self) -> str:
        """The protocol with the corpora that meet and its options."""
        a, protocol = self.axes, find_protocol(self.axes.protocol)
        words = " (text-independent)" if protocol.holds_out_texts else ""
        pool = f" {'from' if protocol.is_pairwise else 'over'} {a.train}" if a.train else ""
        return f"{a.protocol}{words}{pool}{f' ({a.options})' if a.options else ''}"

    @property
    def title(self) -> str:
        """The setup in words; a table of several protocols names none."""
        a = self.axes
        task = task_title(a.task, a.map)
        if a.inner == UNKNOWN:
            return f"{a.protocol}, {task}"
        scaling = f"scaling {'per ' if a.scaling in ('speaker', 'corpus') else ''}{a.scaling}"
        known = {"protocol", "task", "train", "scaling", "inner", "preprocessing", "seed", "options", "map"}
        others = [f"{name} {value}" for name, value in dataclasses.asdict(a).items() if name not in known and value]
        cut = [a.preprocessing] if seconds_of(a.preprocessing) else []
        if a.protocol:
            transductive = ", transductive" if self.is_transductive else ""
            parts = [self.protocol_title, task, f"{scaling}{transductive}", f"inner {a.inner}", *cut]
        else:
            inner = [f"inner {a.inner}"] if a.inner != "auto" else []
            parts = [task, *cut, scaling, *inner]
        return ", ".join([*parts, *others, f"seed {a.seed}"])

    def described(self, persons: Mapping[str, str]) -> str:
        """Describe the setup in sentences, and what keeps the people of each corpus apart."""
        a, protocol = self.axes, find_protocol(self.axes.protocol)
        if len(set(persons.values())) == 1:
            independence = protocol.independence_of(next(iter(persons.values())))
        else:
            others = (f"{c}: {protocol.independence_of(p)}" for c, p in persons.items() if p != "speaker")
            independence = f"{protocol.independence}, but {'; '.join(others)}"
        name, _, filters = a.task.partition(" where ")
        emotions = f" ({', '.join(self.emotions)})" if name != ",".join(self.emotions) else ""
        emotions = f" ({a.map.replace(',', ', ')})" if a.map else emotions
        only = f", only where {filters}" if filters else ""
        title = protocol.title
        kind = "emotions" if self.target == "emotion" else "target"
        cut, seconds = "", seconds_of(a.preprocessing)
        if seconds:
            vote = "an utterance gets the emotion of most of its pieces, and of as many the one that comes first"
            scored = (
                vote if a.preprocessing.endswith(MAJORITY) else "each piece is scored, and called an utterance below"
            )
            cut = f" Utterances are cut into pieces of {seconds} s, and the remainder is dropped; {scored}."
        return f"{title[0].upper()}{title[1:]}, {independence}; {kind}: {name}{emotions}{only}.{cut}"

    @property
    def order(self) -> tuple[bool | int | str, ...]:
        """Place among setups: the default task, inner rule, scaling and protocol, and whole utterances come first."""
        a = self.axes
        others = a.task != DEFAULT_TASK, a.inner != "auto", a.scaling != "train"
        place = list(PROTOCOLS).index(a.protocol), bool(seconds_of(a.preprocessing))
        return *others, *place, a.preprocessing.endswith(MAJORITY), self.title

    @property
    def options_of_grid(self) -> str:
        """Options of `serbench grid` that lead to it, beyond the defaults."""
        a = self.axes
        name, _, filters = a.task.partition(" where ")
        given = [f"--protocol {a.protocol}"] if a.protocol != "within" else []
        given += [f"--{option.replace('=', ' ')}" for option in a.options.split()]
        if self.target != "emotion":
            given.append(f"--target {self.target}")
        elif name != DEFAULT_TASK or a.train:  # across corpora, as others may have other emotions in common
            given.append(f"--emotions {name}" if "," in name else f"--task {name}")
        given += [f"--where {shlex.quote(text)}" for text in filters.split(", ") if text]
        own = {"scaling": a.scaling, "inner": a.inner, "segment": seconds_of(a.preprocessing), "seed": a.seed}
        usual = {"scaling": "train", "inner": "auto", "segment": "", "seed": 0}
        given += [f"--{option} {value}" for option, value in own.items() if value != usual[option]]
        return "".join(f" {option}" for option in given)


def task_title(task: str, of_emotions: str) -> str:
    """Word a task, and what it makes of emotions where its name does not say that.

    >>> task_title("mine", "happiness=excitement+happiness,neutral")
    'mine (happiness=excitement+happiness, neutral)'
    """
    return f"{task} ({of_emotions.replace(',', ', ')})" if of_emotions else task


@dataclass(frozen=True, slots=True)
class Pool:
    """The utterances that cells are compared on; a cell with fewer than `least` is scored on its own.

    `n_utterances` counts those that any of the cells has.
    """

    utterances: frozenset[str] = frozenset()
    least: float = 0.0
    n_utterances: int = 0

    def is_short(self, cell: CellPredictions) -> bool:
        """Whether a cell misses so many utterances that it would move the numbers of all others."""
        return cell.n_utterances < self.least

    def of(self, cell: CellPredictions) -> CellPredictions:
        """Return a cell with the utterances that it is scored on."""
        is_whole = self.is_short(cell) or cell.n_utterances == len(self.utterances)
        return cell if is_whole else cell.on(self.utterances)


def pool_of(cells: Iterable[CellPredictions]) -> Pool:
    """Choose the utterances that cells with predictions are compared on; where all miss too many, the largest stay."""
    have = [frozenset(cell.of()["utterance"]) for cell in cells if cell.with_values]
    if not have:
        return Pool()
    n_all = len(frozenset.union(*have))
    least = min((1 - LACKING_AT_MOST) * n_all, max(map(len, have)))
    return Pool(frozenset.intersection(*(of for of in have if len(of) >= least)), least, n_all)


def row_of(cell: CellPredictions) -> Row:
    """Feature set and classifier of a cell, with its space where that is not the standard one."""
    name, space = cell.cell["classifier"], cell.cell["space"]
    return cell.cell["features"], name if space == "standard" or cell.is_outside else f"{name} ({space})"


def in_row_order(rows: Iterable[Row], order: Order) -> tuple[Row, ...]:
    """Sort rows by feature set and classifier."""
    return tuple(sorted(rows, key=lambda r: (order(r[0]), r[0], order(r[1].partition(" ")[0]), r[1])))


def stacks_by(cell: CellPredictions, by: str) -> dict[str, np.ndarray]:
    """Value of a column of predictions -> confusion matrix; empty where the corpus does not know the column."""
    return dict(zip(cell.coded(by)[1], cell.stack(by), strict=True)) if by in cell.rows else {}


def paired_stack(first: CellPredictions, second: CellPredictions, rule: str = "") -> np.ndarray:
    """Confusion matrices of two cells by unit, on the utterances of both; shape (n_units, 2, n_emotions, n_emotions).

    Without a rule, each cell has the one that tables show.
    """
    pair, (one, other) = (first, second), (cell.of(rule)["utterance"] for cell in (first, second))
    if not one.reset_index(drop=True).equals(other.reset_index(drop=True)):
        both = set(one) & set(other)
        pair = first.on(both), second.on(both)
    return np.stack([cell.stack("unit", rule=rule) for cell in pair], axis=1)


def paired(stack: np.ndarray, metric: str = "uar") -> tuple[float, float, Interval | None]:
    """Return the metric of the first and of the second predictions, and the interval of first less second."""
    first, second = (float(METRICS[metric](total)) for total in stack.sum(axis=0))
    widest = BOUNDS[metric][1] - BOUNDS[metric][0]
    return first, second, jackknife_interval(stack, difference_of(METRICS[metric]), bounds=(-widest, widest))


@dataclass(frozen=True, eq=False)
class Matrix:
    """The cells of one Table 2 by row and corpus.

    Parameters
    ----------
    cells : every cell, on all its utterances.
    scored : cells with values, on the utterances that they are scored on; these have every emotion.
    remarks : what every table must say of a cell with predictions.
    """

    setup: Setup
    cells: Mapping[Place, CellPredictions]
    scored: Mapping[Place, CellPredictions]
    rows: tuple[Row, ...]
    corpora: tuple[str, ...]
    pools: Mapping[str, Pool]
    remarks: Mapping[Place, tuple[str, ...]]

    def is_outside(self, row: Row) -> bool:
        """Whether a row has predictions of another system."""
        return any(place[:2] == row and cell.is_outside for place, cell in self.cells.items())

    def in_order(self, *, every: bool = False) -> list[tuple[Place, CellPredictions]]:
        """Cells with predictions (or every cell) corpus by corpus, in the order of the rows."""
        places = [(f, c, corpus) for corpus in self.corpora for f, c in self.rows if (f, c, corpus) in self.cells]
        return [(place, self.cells[place]) for place in places if every or self.cells[place].with_values]

    def of_corpus(self, corpus: str) -> list[CellPredictions]:
        """Cells with predictions of a corpus."""
        return [cell for place, cell in self.in_order() if place[2] == corpus]

    def remarks_on(self, corpus: str) -> list[str]:
        """What every table must say of a corpus."""
        return sorted({remark for place, of in self.remarks.items() if place[2] == corpus for remark in of})

    @property
    def persons(self) -> dict[str, str]:
        """Corpus -> the field that keeps its people apart."""
        known = {place[2]: cell.person for place, cell in sorted(self.cells.items()) if cell.with_values}
        return known or dict.fromkeys(self.corpora, "speaker")

    @property
    def facets(self) -> dict[str, str]:
        """What a page chooses its tables by."""
        axes, whole = self.setup.axes, self.setup.title
        task = task_title(axes.task, axes.map)
        return {"protocol": self.setup.protocol_title, "task": task, "setup": whole.partition(f"{task}, ")[2]}

    @property
    def keys(self) -> list[str]:
        """Provenance of its values."""
        return [cell.provenance.key for _, cell in self.in_order()]

    @functools.cached_property
    def differences(self) -> list[dict[str, Any]]:
        """How nested values, and those of other systems, differ from the best of their corpus: rows of a table.

        The best is the first contender; references such as a dummy are tested against all contenders, in families of
        their own, and are contenders only where there is nothing else. `verdict` is `worse`, `tie` (cannot be told
        apart), `untestable` or, of a reference above the best contender, `better`.
        """
        rows = []
        for metric, corpus in itertools.product(SHARES, self.corpora):
            cells = {row: self.scored[(*row, corpus)] for row in self.rows if (*row, corpus) in self.scored}
            cells = {row: cell for row, cell in cells.items() if cell.is_chosen and not cell.is_short}
            references = {row for row, cell in cells.items() if cell.is_reference}
            references = references if len(references) < len(cells) else set()
            if len(cells) < 2:
                continue
            best, others = against_best({r: c.stack("unit") for r, c in cells.items()}, metric, references=references)
            n_contenders, n_units = len(cells) - len(references), len(cells[best].stack("unit"))
            for row, found in others.items():
                told = ("worse" if found.difference > 0 else "better") if found.is_different else "tie"
                columns: dict[str, Any] = {"table": self.setup.title, "corpus": corpus, "metric": metric}
                columns |= {"features": row[0], "classifier": row[1]}
                columns |= {"best_features": best[0], "best_classifier": best[1], "below_best": found.difference}
                low, high = found.interval.ends if found.interval else (None, None)
                columns |= {"low": low, "high": high}
                columns |= {"p": found.p, "verdict": told if smallest_p(n_units) <= ALPHA else "untestable"}
                columns["n_comparisons"] = n_contenders if row in references else math.comb(n_contenders, 2)
                columns |= {"unit": cells[best].unit, "n_units": n_units, "n_utterances": cells[best].n_utterances}
                rows.append({**columns, "is_reference": row in references})
        return rows


def matrices(cells: Iterable[CellPredictions], order: Order) -> list[Matrix]:
    """Sort cells into one matrix per setup that has predictions, or may have; `order` places the rows.

    Protocols of pairs of corpora have tables of their own; see `across`. Cells of other systems are in every table of
    their task: scaling, inner rule and seed are not known of them. A task without cells of the grid has its own.
    """
    by_setup: dict[Setup, list[CellPredictions]] = {}
    for cell in cells:
        if not find_protocol(cell.cell["protocol"]).is_pairwise:
            by_setup.setdefault(Setup.of(cell), []).append(cell)

    def question(setup: Setup) -> tuple[Setup, str]:
        return setup.without("scaling", "inner", "seed", "preprocessing"), seconds_of(setup.axes.preprocessing)

    outside = {setup: of for setup, of in by_setup.items() if of[0].is_outside}
    placed = {setup: list(of) for setup, of in by_setup.items() if setup not in outside}
    for setup, of in outside.items():
        hosts = [own for own in placed if own not in outside and question(own) == question(setup)]
        for host in hosts:
            placed[host] += of
        if not hosts:
            placed[setup] = of
    ordered = sorted(placed.items(), key=lambda item: item[0].order)
    return [_matrix(setup, of, order) for setup, of in ordered if any(is_hopeful(cell) for cell in of)]


def _matrix(setup: Setup, cells: Iterable[CellPredictions], order: Order) -> Matrix:
    placed: dict[Place, CellPredictions] = {}
    for cell in sorted(cells, key=lambda cell: bool(cell.with_values)):  # one that was refused gives way
        place = (*row_of(cell), cell.cell["corpus"])
        if place in placed and placed[place].with_values:
            found = f"two cells for one place of '{setup.title}'"
            raise StoreError("cells", found, "one", "Delete one and run it again")
        placed[place] = cell
    of_grid = [place for place, cell in placed.items() if not cell.is_outside]
    rows = itertools.product({f for f, _, _ in of_grid}, {c for _, c, _ in of_grid})
    others = sorted({place[:2] for place, cell in placed.items() if cell.is_outside})
    corpora = tuple(sorted({corpus for _, _, corpus in placed}))
    pools = {corpus: pool_of(cell for place, cell in placed.items() if place[2] == corpus) for corpus in corpora}
    marked = {place: replace(cell, is_short=pools[place[2]].is_short(cell)) for place, cell in placed.items()}
    scored = {place: pools[place[2]].of(cell) for place, cell in marked.items() if cell.with_values}
    scored = {place: cell for place, cell in scored.items() if cell.has_all_emotions()}
    remarks = {place: _remarks(cell) for place, cell in marked.items() if cell.with_values}
    return Matrix(setup, marked, scored, (*in_row_order(rows, order), *others), corpora, pools, remarks)


def _remarks(cell: CellPredictions) -> tuple[str, ...]:
    n, label = n_incomplete(cell), "emotion" if cell.record.target == "emotion" else "class"
    many = f"{n} {cell.unit}s have a {label} each" if n > 1 else f"one {cell.unit} has a {label}"
    alone = [f"{many} that no other has, so that intervals leave it out there"] if n else []
    return tuple(sorted([*cell.notes, *alone]))


def is_hopeful(cell: CellPredictions) -> bool:
    """Whether a cell has predictions, or running it again may give some: one refused for what it asks may not."""
    return cell.state != "refused"


def fill_commands(matrix: Matrix) -> list[str]:
    """Commands that would fill the empty places of a matrix, one per corpus, feature set and space.

    A user's own features may have no rows of a corpus: only where they were tried there, a command can fill a place.
    """
    wanted: dict[tuple[str, str, str], list[str]] = {}
    for corpus, row in itertools.product(matrix.corpora, matrix.rows):
        cell = matrix.cells.get((*row, corpus))
        alike = [c for place, c in matrix.cells.items() if place[0] == row[0]]
        argument = next((c.record.features_argument for c in alike if c.record.features_argument), row[0])
        is_tried = any(c.cell["corpus"] == corpus and not c.is_outside for c in alike)
        can_be_filled = not cell.with_values and is_hopeful(cell) if cell else is_tried or has_feature_set(argument)
        if can_be_filled and not matrix.is_outside(row):
            name, _, space = row[1].partition(" ")
            files = [c.record.space_file for place, c in matrix.cells.items() if place[1] == row[1] and space]
            wanted.setdefault((corpus, argument, next(filter(None, files), "")), []).append(name)
    commands = []
    for (corpus, argument, file), classifiers in wanted.items():
        corpora = " ".join(dict.fromkeys(filter(None, [*matrix.setup.axes.train.split("+"), *corpus.split("+")])))
        options = "".join(f" --classifier {name}" for name in classifiers)
        options += f" --space {shlex.quote(file)}" if file else ""
        is_partial = any(cell.record.partial for place, cell in matrix.cells.items() if place[2] == corpus)
        options += matrix.setup.options_of_grid + (" --partial" if is_partial else "")
        commands.append(f"serbench grid {corpora} --features {shlex.quote(argument)}{options}")
    return commands


def ranking(matrix: Matrix, metric: str) -> Ranking | None:
    """Rank the rows that have a nested value, or one of another system, in every corpus; references are left out."""
    values: dict[str, list[float]] = {}
    for row in matrix.rows:
        cells = [matrix.scored.get((*row, corpus)) for corpus in matrix.corpora]
        own = [c for c in cells if c is not None and c.is_chosen and not c.is_short and not c.is_reference]
        if len(own) == len(matrix.corpora):
            values[" ".join(row)] = [METRICS[metric](cell.stack()) for cell in own]
    return rank_over(values)


def difference_table(found: Iterable[Matrix]) -> pd.DataFrame:
    """One row per setup, corpus, metric and cell that is not the best: the difference, its interval and verdict."""
    rows = [row for matrix in found for row in matrix.differences]
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["corpus", "metric"])
