"""Cells across corpora -> who trains whom, what scaling changes, languages, learning curves, protocols side by side.

Values are UAR by the rule of Table 2, with their intervals over speakers. All cells that test a corpus are scored on
the utterances that they share, whatever their protocol, training corpora, features, classifier and scaling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serbench.corpora.entry import UNSTATED
from serbench.corpora.tasks import family, primary
from serbench.grid.request import SCALINGS
from serbench.protocols import PROTOCOLS, find_protocol
from serbench.report.comparisons import (
    Order,
    Row,
    Setup,
    entry_of,
    in_row_order,
    paired,
    paired_stack,
    row_of,
    score_together,
    table_of,
)
from serbench.report.table import NOTHING, Entry, Table, bracketed, signed
from serbench.scores.metrics import METRICS
from serbench.scores.predictions import CellPredictions
from serbench.scores.scores import values_by
from serbench.scores.statistics import ALPHA, corrected, shares_of

Pair = tuple[str, str]
"""Corpora that train, corpus that is tested."""

RELATIONS = ("same corpus", "same language", "same family", "other family", "unknown family")
CHANCE_MARKS = {
    "c": "c: cannot be told from chance (p > 0.05, corrected for all cells of this set-up that test the same people).",
    "b": "b: below chance, by more than chance explains.",
    "?": "?: cannot be tested against chance: too few speakers.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Across:
    """The cells of one setup whatever their protocol and the corpora that train, as they are compared.

    Parameters
    ----------
    cells : all cells with values by row, protocol in words, and corpus.
    marks : how cells compare with chance by the test; nothing where they are above.
    corpora, rows : of `cross`. `pairs` are its cells by row and pair, with those of `within` on the diagonal.
    refused : why pairs have no value.
    order : places the rows.
    """

    setup: Setup
    cells: Mapping[tuple[Row, str, str], CellPredictions]
    marks: Mapping[CellPredictions, str]
    corpora: tuple[str, ...]
    rows: tuple[Row, ...]
    pairs: Mapping[tuple[Row, Pair], CellPredictions]
    refused: Mapping[tuple[Row, Pair], str]
    order: Order

    def table(
        self,
        stem: str,
        title: str,
        header: Sequence[str],
        rows: Sequence[Sequence[object]],
        cells: Iterable[CellPredictions],
        notes: Sequence[str],
        *,
        n_labels: int = 3,
    ) -> Table:
        """Make a table with rows for feature sets and classifiers."""
        whole, facets = ("features", "classifier", *header), {"task": self.setup.task_title}
        return table_of(
            stem, title, whole, rows, cells, n_labels=n_labels, notes=notes, marks=CHANCE_MARKS, facets=facets
        )

    def entry(self, cell: CellPredictions | None, *, bold: bool = False) -> Entry:
        """Return the UAR of a cell as a place of a table."""
        return entry_of(cell, self.marks[cell] if cell else "", bold=bold)

    @property
    def brackets(self) -> str:
        """What stands in brackets."""
        return f"In brackets: 95 % intervals over the speakers tested. Chance: {self.setup.chance:.3f}."


def sort_across(cells: Iterable[CellPredictions], order: Order) -> list[Across]:
    """Put cells of the grid together setup by setup, where corpora meet in some cell of a question.

    Cells of a question that test the same corpus are scored together, whatever their scaling. Those of one setup that
    test the same people are one family of tests against chance. References such as the dummy are tested by themselves
    and change no test of others.
    """
    setups = {cell: Setup.of(cell, "protocol", "train", "options") for cell in cells if not cell.is_outside}
    questions = {setup.without("scaling") for cell, setup in setups.items() if cell.with_values and _is_across(cell)}
    columns: dict[tuple[Setup, str], list[CellPredictions]] = {}
    by_setup: dict[Setup, list[CellPredictions]] = {}
    for cell, setup in setups.items():
        if setup.without("scaling") in questions:
            by_setup.setdefault(setup, []).append(cell)
            if cell.with_values:
                columns.setdefault((setup.without("scaling"), cell.cell["corpus"]), []).append(cell)
    scored: dict[CellPredictions, CellPredictions] = {}
    families: dict[object, dict[CellPredictions, np.ndarray]] = {}
    for members in columns.values():
        for whole, cell in zip(members, score_together(members), strict=True):
            if cell.has_all_emotions():
                scored[whole], setup, stack = cell, setups[whole], cell.stack("unit")
                shares, weights = shares_of(stack, METRICS["uar"])
                same = setup, cell.cell["corpus"], tuple(cell.values("unit")), cell if cell.is_reference else None
                families.setdefault(same, {})[cell] = shares - weights * setup.chance
    marks: dict[CellPredictions, str] = {}
    for of_people in families.values():
        for cell, p in corrected(of_people).items():
            below = "b" if uar_of(cell) < 1 / len(cell.emotions) else ""
            marks[cell] = "?" if p is None else "c" if p > ALPHA else below
    names = ("task", "map", "inner", "preprocessing", "seed")
    ordered = sorted(
        by_setup, key=lambda s: [*(getattr(s.axes, name) for name in names), SCALINGS.index(s.axes.scaling)]
    )
    return [_across(setup, by_setup[setup], scored, marks, order) for setup in ordered]


def _across(
    setup: Setup,
    members: Sequence[CellPredictions],
    scored: Mapping[CellPredictions, CellPredictions],
    marks: Mapping[CellPredictions, str],
    order: Order,
) -> Across:
    """Place the cells of a setup; corpora and rows are those of `cross`, where one of its cells has predictions."""
    cells = {(row_of(c), Setup.of(c).protocol_title, c.cell["corpus"]): scored[c] for c in members if c in scored}
    crossed = [cell for cell in members if cell.cell["protocol"] == "cross"]
    crossed = crossed if any(cell.with_values for cell in crossed) else []
    corpora = sorted({cell.cell[name] for cell in crossed for name in ("train", "corpus")})
    rows = in_row_order({row_of(cell) for cell in crossed}, order)
    pairs: dict[tuple[Row, Pair], CellPredictions] = {}
    for cell in sorted(members, key=lambda cell: bool(cell.with_values)):  # one that was refused gives way
        row, pair = row_of(cell), (cell.cell["train"], cell.cell["corpus"])
        if cell.cell["protocol"] in ("cross", "within") and pair[1] in corpora and row in rows:
            pairs[row, pair] = cell
    refused = {place: cell.reason for place, cell in pairs.items() if cell.reason}
    shown = {place: scored[cell] for place, cell in pairs.items() if cell in scored}
    return Across(setup, cells, marks, tuple(corpora), rows, shown, refused, order)


def transfer_table(of: Across) -> Table:
    """Who trains (rows) whom (columns); the diagonal is each corpus by itself."""
    rows = []
    for row in of.rows:
        for a in of.corpora:
            rows.append((*row, a, *(of.entry(of.pairs.get((row, (a, b))), bold=a == b) for b in of.corpora)))
    notes = [
        "Rows train, columns are tested. Bold: the diagonal, each corpus by itself (within). "
        "Settings are chosen on the corpus that trains.",
        of.brackets,
    ]
    for (row, pair), cell in of.pairs.items():
        if (uar := uar_of(cell)) <= of.setup.chance:
            where = "below" if uar < of.setup.chance else "at"
            shares = cell.stack().sum(axis=0) / cell.n_utterances
            most = f"{shares.max():.0%} of its predictions are {cell.emotions[int(shares.argmax())]}"
            notes.append(f"{' -> '.join(pair)}, {' '.join(row)}: {uar:.3f} is {where} chance; {most}.")
    notes += [f"{NOTHING} {' -> '.join(pair)}, {' '.join(row)}: {why}" for (row, pair), why in of.refused.items()]
    title, header = f"Across corpora, UAR: {of.setup.title}", ("trained on", *of.corpora)
    return of.table("transfer", title, header, rows, of.pairs.values(), notes)


def scaling_table(first: Across, *others: Across) -> Table:
    """What each scaling does to the same pairs."""
    rows: list[Sequence[object]] = []
    pairs = sorted(((a, b) for a in first.corpora for b in first.corpora), key=lambda pair: pair[0] == pair[1])
    for row in first.rows:
        whole = []
        for pair in (pair for pair in pairs if (row, pair) in first.pairs):
            base, compared = first.pairs[row, pair], [of.pairs.get((row, pair)) for of in others]
            added = []
            for other in compared:
                one, two, interval = paired(paired_stack(other, base)) if other else (0, 0, None)
                added.append(Entry(signed(one - two), bracketed(interval)) if other else Entry(NOTHING))
            label = " -> ".join(pair) if pair[0] != pair[1] else f"{pair[0]} within"
            rows.append((*row, label, entry_of(base).text, *added))
            full = [uar_of(cell) for cell in (base, *compared) if cell and not cell.is_short]
            if pair[0] != pair[1] and len(full) > len(others):
                whole.append(full)
        if len(whole) > 1:
            mean, *means = (float(mean) for mean in np.mean(whole, axis=0))
            gains = (signed(other - mean) for other in means)
            rows.append((*row, f"mean of {len(whole)}", Entry(f"{mean:.3f}", bold=True), *gains))
    scaling = first.setup.axes.scaling
    notes = [
        f"UAR with --scaling {scaling}, and what the others add to it on the same utterances, with 95 % intervals "
        "over the speakers tested. Means are over all pairs of different corpora."
    ]
    title = f"What scaling does across corpora: {first.setup.task_title}, seed {first.setup.axes.seed}"
    header = ("pair", scaling, *(f"{of.setup.axes.scaling} - {scaling}" for of in others))
    cells = [cell for of in (first, *others) for cell in of.pairs.values()]
    return first.table("scalings", title, header, rows, cells, notes)


def relation_of(one: str, other: str) -> str:
    """Word how near the languages of two different corpora are, by their tags.

    >>> relation_of("en-US", "en-GB"), relation_of("de", "en"), relation_of("de", "pl")
    ('same language', 'same family', 'other family')
    """
    if primary(one) == primary(other) != UNSTATED:
        return "same language"
    families = family(one), family(other)
    if None in families:
        return "unknown family"
    return "same family" if families[0] == families[1] else "other family"


def language_table(of: Across, languages: Mapping[str, str]) -> Table | None:
    """Mean UAR by how near the language of the training corpus is; None for fewer than two relations of pairs."""
    pairs = sorted({pair for _, pair in of.pairs})  # of a corpus without values the index may be gone
    relation = {(a, b): "same corpus" if a == b else relation_of(languages[a], languages[b]) for a, b in pairs}
    there = [name for name in RELATIONS if name in relation.values()]
    if len(set(there) - {"same corpus"}) < 2:
        return None
    rows = []
    for row in of.rows:
        entries = []
        for name in there:
            found = [of.pairs.get((row, pair)) for pair, r in relation.items() if r == name]
            uars = [uar_of(cell) for cell in found if cell and not cell.is_short]
            entries.append(Entry(f"{np.mean(uars):.3f}", f"({len(uars)})") if uars else Entry(NOTHING))
        rows.append((*row, *entries))
    shown = sorted({corpus for pair in pairs for corpus in pair})
    spoken = "; ".join(f"{name}: {languages[name]}, {family(languages[name]) or 'unknown'}" for name in shown)
    notes = [
        "Mean UAR over pairs of corpora, and in brackets how many. Corpora differ in more than their language (who "
        "speaks, how emotions were brought about, the recording), so that a difference need not be the language's.",
        f"Languages and their branch of a family: {spoken}.",
    ]
    return of.table("languages", f"By language: {of.setup.title}", there, rows, of.pairs.values(), notes, n_labels=2)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Cells over the number k of utterances of the test corpus that train too; k = 0 is `cross`."""

    setup: Setup
    row: Row
    pair: Pair
    weight: str
    points: Mapping[int, CellPredictions]

    @property
    def drawn(self) -> list[tuple[int, float, float, float]]:
        """K, UAR, and the ends of its interval, which are the UAR where it has none."""
        values = {k: values_by(cell, cell.rule)["uar"] for k, cell in self.points.items()}
        return [(k, v.value, *(v.interval or (v.value, v.value))) for k, v in values.items()]


def curves_of(of: Across) -> list[Curve]:
    """Learning curves of the cells of `adapt`."""
    by_curve: dict[tuple[Row, Pair, str], dict[int, CellPredictions]] = {}
    for (row, _, corpus), cell in of.cells.items():
        if cell.cell["protocol"] == "adapt":
            given = dict(option.split("=") for option in cell.cell["options"].split())
            weight, pair = f", weight {given['weight']}" if "weight" in given else "", (cell.cell["train"], corpus)
            start = {0: of.pairs[row, pair]} if (row, pair) in of.pairs else {}
            by_curve.setdefault((row, pair, weight), start)[int(given["k"])] = cell
    places = {row: i for i, row in enumerate(in_row_order({row for row, _, _ in by_curve}, of.order))}
    ordered = sorted(by_curve, key=lambda curve: (places[curve[0]], *curve[1:]))
    return [Curve(of.setup, *curve, dict(sorted(by_curve[curve].items()))) for curve in ordered]


def curve_table(of: Across, curves: Sequence[Curve]) -> Table:
    """UAR over k."""
    numbers = sorted({k for curve in curves for k in curve.points})
    rows, cells = [], []
    for curve in curves:
        within = of.pairs.get((curve.row, (curve.pair[1], curve.pair[1])))
        shown = [*(curve.points.get(k) for k in numbers), within]
        rows.append((*curve.row, f"{' -> '.join(curve.pair)}{curve.weight}", *map(of.entry, shown)))
        cells += [cell for cell in shown if cell]
    drawn = "utterances" if of.setup.axes.preprocessing == "none" else "pieces"
    notes = [
        f"UAR when k {drawn} of the test corpus, of others than the people tested, train too; k=0 is cross. They "
        "are drawn for each test group, each emotion in proportion, and one draw holds the smaller ones. within "
        "trains on all other people of the test corpus and nothing else.",
        "One draw per seed: --seed shows how much values depend on it.",
        of.brackets,
    ]
    header = ("pair", *(f"k={k}" for k in numbers), "within")
    return of.table("curves", f"Learning curves: {of.setup.title}", header, rows, cells, notes)


def protocol_table(of: Across) -> Table:
    """Protocols side by side."""
    corpora = sorted({corpus for _, _, corpus in of.cells})
    kinds = {kind: list(PROTOCOLS).index(cell.cell["protocol"]) for (_, kind, _), cell in of.cells.items()}
    rows = []
    for row in in_row_order({row for row, _, _ in of.cells}, of.order):
        for kind in sorted(kinds, key=lambda kind: (kinds[kind], kind)):
            found = [of.cells.get((row, kind, corpus)) for corpus in corpora]
            rows += [(*row, kind, *map(of.entry, found))] if any(found) else []
    notes = [f"UAR over all utterances tested, with 95 % intervals over speakers. Chance: {of.setup.chance:.3f}."]
    title, header = f"Protocols side by side: {of.setup.title}", ("protocol", *corpora)
    return of.table("protocols", title, header, rows, of.cells.values(), notes)


def across_tables(
    cells: Iterable[CellPredictions], languages: Mapping[str, str], order: Order
) -> tuple[list[Table], list[Curve]]:
    """Return all tables of what was trained and tested across corpora, and the learning curves among them."""
    found = sort_across(cells, order)
    crossed = [of for of in found if of.corpora]
    alike: dict[Setup, list[Across]] = {}
    for of in crossed:
        alike.setdefault(of.setup.without("scaling"), []).append(of)
    tables = [*map(transfer_table, crossed), *(scaling_table(*of) for of in alike.values() if len(of) > 1)]
    tables += [table for of in crossed if (table := language_table(of, languages))]
    curves = {of: curves_of(of) for of in found}
    tables += [curve_table(of, drawn) for of, drawn in curves.items() if drawn]
    tables += [protocol_table(of) for of in found if any(map(_is_across, of.cells.values()))]
    return tables, [curve for drawn in curves.values() for curve in drawn]


def uar_of(cell: CellPredictions) -> float:
    """UAR of a cell by the rule that tables show."""
    return float(values_by(cell, cell.rule)["uar"].value)


def _is_across(cell: CellPredictions) -> bool:
    return find_protocol(cell.cell["protocol"]).is_across
