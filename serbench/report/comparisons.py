"""Cells -> which of them meet in one table, on which utterances, how they differ from the best, and what to note.

All cells of a table share a `Setup`: the axes of a cell but for those that are its place in the table. Cells of a
column are compared on the utterances that all of them have. A cell that misses too many of these is `short`: it is
scored on its own utterances, and is not compared.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from serbench.classifiers.spaces import UNTUNED
from serbench.corpora.segments import MAJORITY, seconds_of
from serbench.corpora.tasks import DEFAULT_TASK
from serbench.errors import StoreError
from serbench.features import has_feature_set
from serbench.grid.cells import Cell
from serbench.grid.request import DEFAULTS, GridRequest
from serbench.protocols import PROTOCOLS, find_protocol
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table
from serbench.scores.metrics import METRICS
from serbench.scores.predictions import UNKNOWN, CellPredictions
from serbench.scores.scores import n_incomplete, values_by
from serbench.scores.statistics import (
    ALPHA,
    FEWEST,
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

DEFAULT_MARK, OUTSIDE_MARK, SHORT_MARK = "°", "†", "‡"
MARK_NOTES = {
    DEFAULT_MARK: f"{DEFAULT_MARK} default setting, as there is no nested one.",
    OUTSIDE_MARK: f"{OUTSIDE_MARK} predictions from outside; how that system was trained and tuned is not checked.",
}
"""What the marks behind classifiers and values mean."""


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
    def of(cell: CellPredictions, *differ: str) -> Setup:
        """Return the setup of a cell, without axes that differ; `train` is the corpora that meet in a protocol."""
        axes = replace(cell.record.cell, train=cell.record.pool, inner=cell.record.inner_title)
        return Setup(axes, cell.emotions, cell.record.target).without(
            "features", "classifier", "space", "corpus", *differ
        )

    def without(self, *axes: str) -> Setup:
        """Return the setup with some axes empty, to bring cells together that differ in these."""
        blank: dict[str, Any] = {name: type(getattr(self.axes, name))() for name in axes}
        return replace(self, axes=replace(self.axes, **blank))

    @property
    def chance(self) -> float:
        """UAR of guessing."""
        return 1 / len(self.emotions)

    @property
    def protocol_title(self) -> str:
        """The protocol with the corpora that meet and its options."""
        a, protocol = self.axes, find_protocol(self.axes.protocol)
        words = " (text-independent)" if protocol.holds_out_texts else ""
        pool = f" {'from' if protocol.is_pairwise else 'over'} {a.train}" if a.train else ""
        return f"{a.protocol}{words}{pool}{f' ({a.options})' if a.options else ''}"

    @property
    def task_title(self) -> str:
        """The task, with what it makes of emotions where its name does not tell."""
        return self.axes.task + (f" ({self.axes.map.replace(',', ', ')})" if self.axes.map else "")

    @property
    def title(self) -> str:
        """The setup in words; a table of several protocols names none."""
        a = self.axes
        if a.inner == UNKNOWN:
            return f"{a.protocol}, {self.task_title}"
        scaling = f"scaling {'per ' if a.scaling in ('speaker', 'corpus') else ''}{a.scaling}"
        cut = [a.preprocessing] if seconds_of(a.preprocessing) else []
        if a.protocol:
            sees_target = find_protocol(a.protocol).sees_target
            is_transductive = a.scaling == "speaker" or (a.scaling == "corpus" and not sees_target)
            scaling += ", transductive" if is_transductive else ""
            parts = [self.protocol_title, self.task_title, scaling, f"inner {a.inner}", *cut]
        else:
            parts = [self.task_title, *cut, scaling, *([f"inner {a.inner}"] if a.inner != "auto" else [])]
        own = {name: value for name, value in a.axes.items() if name != "scaling"}
        others = [f"{name} {value}" for name, value in own.items() if value != DEFAULTS.axes[name]]
        return ", ".join([*parts, *others, f"seed {a.seed}"])

    @property
    def order(self) -> tuple[bool | int | str, ...]:
        """Place among setups: the default task, inner rule, scaling and protocol, and whole utterances come first."""
        a = self.axes
        others = a.task != DEFAULT_TASK, a.inner != "auto", a.scaling != "train"
        place = list(PROTOCOLS).index(a.protocol), bool(seconds_of(a.preprocessing))
        return *others, *place, a.preprocessing.endswith(MAJORITY), self.title


def score_together(cells: Sequence[CellPredictions]) -> list[CellPredictions]:
    """Return the cells of a column, each with the utterances that all of them have.

    A cell that misses more than a twentieth of the utterances would move the numbers of all others: it keeps its own
    and is `short`. Where all miss as many, the largest are compared.
    """
    have = [cell.utterances.names for cell in cells]
    n_all = len(frozenset[str]().union(*have))
    least = min((1 - LACKING_AT_MOST) * n_all, max(map(len, have), default=0))
    shared = frozenset[str]().union(*have).intersection(*(of for of in have if len(of) >= least))
    made = []
    for cell, own in zip(cells, have, strict=True):
        is_short = len(own) < least
        on = cell if is_short or len(own) == len(shared) else cell.on(shared)
        made.append(replace(on, is_short=is_short, n_column=n_all))
    return made


def row_of(cell: CellPredictions) -> Row:
    """Feature set and classifier of a cell, with its space where that is not the standard one."""
    name, space = cell.cell["classifier"], cell.cell["space"]
    return cell.cell["features"], name if space == "standard" or cell.is_outside else f"{name} ({space})"


def in_row_order(rows: Iterable[Row], order: Order) -> tuple[Row, ...]:
    """Sort rows by feature set and classifier."""
    return tuple(sorted(rows, key=lambda r: (order(r[0]), r[0], order(r[1].partition(" ")[0]), r[1])))


def paired_stack(first: CellPredictions, second: CellPredictions, rule: str = "") -> np.ndarray:
    """Confusion matrices of two cells by unit, on the utterances of both; shape (n_units, 2, n_emotions, n_emotions).

    Without a rule, each cell has the one that tables show.
    """
    pair, (one, other) = (first, second), (cell.utterances.names for cell in (first, second))
    if one != other:
        pair = first.on(one & other), second.on(one & other)
    return np.stack([cell.stack("unit", rule=rule) for cell in pair], axis=1)


def paired(stack: np.ndarray, metric: str = "uar") -> tuple[float, float, Interval | None]:
    """Return the metric of the first and of the second predictions, and the interval of first less second."""
    first, second = (float(METRICS[metric](total)) for total in stack.sum(axis=0))
    widest = METRICS[metric].bounds[1] - METRICS[metric].bounds[0]
    return first, second, jackknife_interval(stack, difference_of(METRICS[metric]), bounds=(-widest, widest))


def entry_of(
    cell: CellPredictions | None, mark: str = "", *, metric: str = "uar", rule: str = "", bold: bool = False
) -> Entry:
    """Word a value of a cell with its interval and a mark; without a rule, by the one that tables show."""
    if cell is None:
        return Entry(NOTHING)
    of = values_by(cell, rule or cell.rule)[metric]
    marks = (DEFAULT_MARK if not (rule or cell.is_chosen) else "") + (SHORT_MARK if cell.is_short else "")
    aside = f"{bracketed(of.interval)} {mark}".strip()
    return Entry(f"{of.value:.3f}{marks}", aside, bold, of.value, cell.key)


def mark_of(cell: CellPredictions) -> str:
    """Mark a classifier whose values are not by the nested rule."""
    return OUTSIDE_MARK if cell.is_outside else "" if cell.is_chosen else DEFAULT_MARK


def table_of(
    stem: str,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    cells: Iterable[CellPredictions],
    *,
    n_labels: int,
    notes: Iterable[str] = (),
    marks: Mapping[str, str] | None = None,
    facts: Mapping[str, Sequence[str]] | None = None,
    facets: Mapping[str, str] | None = None,
) -> Table:
    """Make a table of cells; its notes end with what its marks mean and what every table must say of these cells.

    Parameters
    ----------
    marks : what marks behind intervals mean. `facts` begin the note on a corpus.
    """
    shown: set[str] = set()
    for entry in (entry for row in rows for entry in row):
        text, aside = (entry.text, entry.aside) if isinstance(entry, Entry) else (str(entry), "")
        shown |= {*(mark for mark in text[-2:] if mark in MARK_NOTES), *aside.split()}
    explained = [note for mark, note in {**(marks or {}), **MARK_NOTES}.items() if mark in shown]
    of = [cell for cell in cells if cell.with_values]
    notes, keys = [*notes, *explained, *notes_on(of, facts or {})], [cell.key for cell in of]
    return make_table(stem, title, header, rows, n_labels=n_labels, notes=notes, cells=keys, facets=facets)


def notes_on(cells: Iterable[CellPredictions], facts: Mapping[str, Sequence[str]]) -> list[str]:
    """Word what every table must say of its cells: utterances they miss, remarks on corpora, what scaling has heard."""
    of_corpus = {corpus: dict.fromkeys(of) for corpus, of in facts.items()}
    of_all, short, heard = set(), dict[str, None](), set()
    for cell in cells:
        fields, record, n = cell.cell, cell.record, cell.n_utterances
        protocol, corpus = find_protocol(fields["protocol"]), fields["corpus"]
        remarks = of_corpus.setdefault(corpus, {})
        n_all = max(cell.n_column, len(record.utterances["id"]))
        if cell.is_short:
            pair = corpus if fields["train"] == corpus else f"{fields['train']} -> {corpus}"
            asked = f"{protocol.name} {fields['options']}".strip()
            short[f"{asked}, {pair}, {' '.join(row_of(cell))}: {n} of {n_all}"] = None
        elif n < n_all:
            remarks[f"{n} of {n_all} utterances, those that all cells have" if cell.n_column else cell.coverage] = None
        for about, note in sorted(record.notes):
            if about or not protocol.is_across:
                of_corpus.setdefault(about or corpus, {})[note] = None
            else:
                of_all.add(f"{note}.")
        for name, why in record.partials.items():
            of_corpus.setdefault(name.partition("@")[0], {})[why] = None
        if (n_units := len(cell.stack("unit"))) < FEWEST:
            remarks[f"{counted(n_units, cell.unit)}: no interval"] = None
        elif n_alone := n_incomplete(cell):
            label = "an emotion" if record.target == "emotion" else "a class"
            many = f"{n_alone} {cell.unit}s have {label} each" if n_alone > 1 else f"one {cell.unit} has {label}"
            remarks[f"{many} that no other has, so that intervals leave it out there"] = None
        if record.transductive:
            heard.add((fields["scaling"], protocol.name))
    notes = [f"{corpus}: {'; '.join(of_corpus[corpus])}." for corpus in sorted(of_corpus) if of_corpus[corpus]]
    if short:
        at_least = f"fewer than {1 - LACKING_AT_MOST:.0%} of the column"
        told = f"{SHORT_MARK} {at_least}, so scored on these and not compared with the others: {'; '.join(short)}."
        notes.append(told)
    of_scaling = {scaling: ", ".join(sorted(p for s, p in heard if s == scaling)) for scaling, _ in sorted(heard)}
    notes += [f"{transductive_note(scaling)} Here: {of}." for scaling, of in of_scaling.items()]
    return [*notes, *sorted(of_all)]


def counted(n: int, unit: str) -> str:
    """Word a number of units."""
    return f"{n} {unit}{'s' if n > 1 else ''}"


def never_predicted(cell: CellPredictions) -> list[str]:
    """Name the emotions that a cell never predicts, each with its number of utterances."""
    counts = cell.stack()
    each = zip(cell.emotions, counts.sum(axis=1), counts.sum(axis=0), strict=True)
    return [f"{emotion} (0 of {n})" for emotion, n, n_said in each if not n_said]


def transductive_note(scaling: str) -> str:
    """Say which unlabelled audio scaling used of what is tested."""
    what = {"speaker": "speakers", "corpus": "corpus"}[scaling]
    return f"Transductive: features are scaled per {scaling} on the unlabelled audio of the test {what} too."


@dataclass(frozen=True, eq=False)
class Matrix:
    """The cells of one setup by row and corpus: Table 2, and what there is besides it.

    Parameters
    ----------
    cells : every cell, on all its utterances.
    compared : cells with predictions, on the utterances that they are compared on.
    cues : UAR of the simple cues by corpus, where an audit has measured it on these emotions and utterances.
    """

    setup: Setup
    cells: Mapping[Place, CellPredictions]
    compared: Mapping[Place, CellPredictions]
    rows: tuple[Row, ...]
    corpora: tuple[str, ...]
    cues: Mapping[str, float] = field(default_factory=dict)

    @functools.cached_property
    def scored(self) -> dict[Place, CellPredictions]:
        """Cells with values: those compared that have every emotion."""
        return {place: cell for place, cell in self.compared.items() if cell.has_all_emotions()}

    def compared_in(self, corpus: str) -> dict[Row, CellPredictions]:
        """Cells of a corpus that are compared, by row: all but those that are short.

        Where settings cannot be chosen, all have their default, which no test has chosen either.
        """
        cells = ((row, self.scored.get((*row, corpus))) for row in self.rows)
        return {row: cell for row, cell in cells if cell is not None and not cell.is_short}

    def is_outside(self, row: Row) -> bool:
        """Whether a row has predictions of another system."""
        return any(place[:2] == row and cell.is_outside for place, cell in self.cells.items())

    def in_order(self, *, every: bool = False) -> list[tuple[Place, CellPredictions]]:
        """Cells with predictions (or every cell) corpus by corpus, in the order of the rows."""
        places = [(f, c, corpus) for corpus in self.corpora for f, c in self.rows if (f, c, corpus) in self.cells]
        return [(place, self.cells[place]) for place in places if every or self.cells[place].with_values]

    @property
    def facets(self) -> dict[str, str]:
        """What a page chooses its tables by."""
        task = self.setup.task_title
        setup = self.setup.title.partition(f"{task}, ")[2]
        return {"protocol": self.setup.protocol_title, "task": task, "setup": setup}

    @functools.cached_property
    def differences(self) -> list[dict[str, Any]]:
        """How the cells that are compared differ from the best of their corpus: rows of a table.

        The best is the first contender; references such as a dummy are tested against all contenders, in families of
        their own, and are contenders only where there is nothing else. `verdict` is `worse`, `tie` (cannot be told
        apart), `untestable` or, of a reference above the best contender, `better`.
        """
        rows = []
        for metric, corpus in itertools.product(SHARES, self.corpora):
            cells = self.compared_in(corpus)
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
                low, high = found.interval or (None, None)
                columns |= {"low": low, "high": high}
                columns |= {"p": found.p, "verdict": told if smallest_p(n_units) <= ALPHA else "untestable"}
                columns["n_comparisons"] = n_contenders if row in references else math.comb(n_contenders, 2)
                columns |= {"unit": cells[best].unit, "n_units": n_units, "n_utterances": cells[best].n_utterances}
                rows.append({**columns, "is_reference": row in references})
        return rows

    def ranking(self, metric: str) -> Ranking | None:
        """Rank the rows with a nested value, or one of another system, in every corpus; references are left out."""
        values: dict[str, list[float]] = {}
        for row in self.rows:
            cells = [self.scored.get((*row, corpus)) for corpus in self.corpora]
            own = [c for c in cells if c is not None and c.is_chosen and not c.is_short and not c.is_reference]
            if len(own) == len(self.corpora):
                values[" ".join(row)] = [METRICS[metric](cell.stack()) for cell in own]
        return rank_over(values)


def matrices(cells: Iterable[CellPredictions], order: Order) -> list[Matrix]:
    """Sort cells into one matrix per setup that was not refused as a whole; `order` places the rows.

    Cells of other systems are in every table of their task: scaling, inner rule and seed are not known of them. A task
    without cells of the grid has its own.
    """
    by_setup: dict[Setup, list[CellPredictions]] = {}
    for cell in cells:
        by_setup.setdefault(Setup.of(cell), []).append(cell)

    def question(setup: Setup) -> tuple[Setup, str]:
        return setup.without(*DEFAULTS.axes, "inner", "seed", "preprocessing"), seconds_of(setup.axes.preprocessing)

    outside = {setup: of for setup, of in by_setup.items() if of[0].is_outside}
    placed = {setup: list(of) for setup, of in by_setup.items() if setup not in outside}
    for setup, of in outside.items():
        hosts = [own for own in placed if own not in outside and question(own) == question(setup)]
        for host in hosts:
            placed[host] += of
        if not hosts:
            placed[setup] = of
    ordered = sorted(placed.items(), key=lambda item: item[0].order)
    return [_matrix(setup, of, order) for setup, of in ordered if any(c.state != "refused" for c in of)]


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
    corpora, compared = tuple(sorted({corpus for _, _, corpus in placed})), dict[Place, CellPredictions]()
    for corpus in corpora:
        column = {place: cell for place, cell in placed.items() if place[2] == corpus and cell.with_values}
        compared |= dict(zip(column, score_together(list(column.values())), strict=True))
    return Matrix(setup, placed, compared, (*in_row_order(rows, order), *others), corpora)


def fill_commands(found: Iterable[Matrix]) -> list[str]:
    """Commands that would fill the empty places of matrices, one per setup, corpus, feature set and space.

    A user's own features may have no rows of a corpus: only where they were tried there, a command can fill a place.
    """
    wanted: dict[tuple[str, GridRequest, str], list[str]] = {}
    for matrix in found:
        usual = request_of(matrix.setup)
        for corpus, row in itertools.product(matrix.corpora, matrix.rows):
            cell = matrix.cells.get((*row, corpus))
            alike = [c for place, c in matrix.cells.items() if place[0] == row[0]]
            argument = next((c.record.features_argument for c in alike if c.record.features_argument), row[0])
            is_tried = any(c.cell["corpus"] == corpus and not c.is_outside for c in alike)
            can_be_filled = is_tried or has_feature_set(argument)
            if cell:  # one refused for what it asks has no value when it is run again either
                can_be_filled = not cell.with_values and cell.state != "refused"
            if can_be_filled and not matrix.is_outside(row):
                name, _, space = row[1].partition(" ")
                files = [c.record.space_file for place, c in matrix.cells.items() if place[1] == row[1] and space]
                file = next(filter(None, files), "")
                corpora = [*matrix.setup.axes.train.split("+"), *corpus.split("+")]
                is_partial = any(c.record.partials for place, c in matrix.cells.items() if place[2] == corpus)
                inner = "auto" if (is_quick := space == f"({UNTUNED})") else usual.inner
                asked = replace(usual, features=argument, space=file or None, inner=inner, quick=is_quick)
                key = " ".join(dict.fromkeys(filter(None, corpora))), asked, " --partial" * is_partial
                wanted.setdefault(key, []).append(name)
    asked_for = ((c, replace(asked, classifiers=tuple(names)), p) for (c, asked, p), names in wanted.items())
    return [f"serbench grid {corpora} {request.options}{partial}" for corpora, request, partial in asked_for]


def request_of(setup: Setup) -> GridRequest:
    """Return what leads to the cells of a setup, whatever their features and classifiers."""
    a = setup.axes
    name, _, filters = a.task.partition(" where ")
    given: dict[str, Any] = dict(option.split("=") for option in a.options.split())
    given |= {option: kind(given[option]) for option, kind in (("k", int), ("weight", float)) if option in given}
    if setup.target != "emotion":
        given["target"] = setup.target
    elif name != DEFAULT_TASK or a.train:  # across corpora, as others may have other emotions in common
        given["emotions" if "," in name else "task"] = name
    if seconds := seconds_of(a.preprocessing):
        given["segment"] = float(seconds)
    where = tuple(filter(None, filters.split(", ")))
    return GridRequest(where=where, protocol=a.protocol, inner=a.inner, seeds=(a.seed,), **given, **a.axes)
