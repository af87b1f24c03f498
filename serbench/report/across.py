"""Cells across corpora -> who trains whom, what scaling changes, languages, learning curves, protocols side by side.

Values are UAR by the rule of Table 2, with their intervals over speakers. All cells that test a corpus are scored on
the utterances that they share, whatever their protocol, training corpora, features, classifier and scaling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serbench.corpora.tasks import family, primary
from serbench.protocols import PROTOCOLS, find_protocol
from serbench.report.comparisons import (
    Order,
    Row,
    Setup,
    in_row_order,
    is_hopeful,
    paired,
    paired_stack,
    pool_of,
    row_of,
    task_title,
)
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table, signed
from serbench.report.tables import DEFAULT_MARK, MARK_NOTES, SHORT_MARK, short_note, transductive_note
from serbench.scores.metrics import METRICS
from serbench.scores.predictions import CellPredictions
from serbench.scores.statistics import ALPHA, Interval, flip_p, jackknife_interval, shares_of, smallest_p

Pair = tuple[str, str]
"""Corpora that train, corpus that is tested."""

SCALINGS = ("train", "speaker", "corpus", "none")
RELATIONS = ("same corpus", "same language", "same family", "other family", "unknown family")
CHANCE_NOTES = {
    "c": "c: cannot be told from chance (p > 0.05, corrected for all cells of this set-up that test the same people).",
    "b": "b: below chance, by more than chance explains.",
    "?": "?: cannot be tested against chance: too few speakers.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """The UAR of a cell with its interval.

    Parameters
    ----------
    scored : the cell on the utterances that its column is compared on, `n_all` of which any cell of the column has.
    setup : whatever its protocol and the corpora that train it.
    p : of the test against chance, after correction; NaN where there are too few units for one.
    """

    scored: CellPredictions
    setup: Setup
    n_all: int
    uar: float
    interval: Interval | None
    p: float = np.nan

    @property
    def row(self) -> Row:
        """Feature set and classifier."""
        return row_of(self.scored)

    @property
    def pair(self) -> Pair:
        """Who trains, and who is tested."""
        return self.scored.cell["train"], self.scored.cell["corpus"]

    @property
    def mark(self) -> str:
        """How it compares with chance by the test; nothing where it is above."""
        return "?" if np.isnan(self.p) else "c" if self.p > ALPHA else "b" if self.uar < self.setup.chance else ""

    def entry(self, *, bold: bool = False) -> Entry:
        """Return it as a place of a table."""
        marks = ("" if self.scored.is_chosen else DEFAULT_MARK) + (SHORT_MARK if self.scored.is_short else "")
        aside = f"{bracketed(self.interval)} {self.mark}".strip()
        return Entry(f"{self.uar:.3f}{marks}", aside, bold, self.uar, self.scored.provenance.key)


def across_of(cell: CellPredictions) -> Setup:
    """Return the setup of a cell whatever its protocol, and the corpora that train it."""
    return Setup.of(cell).without("protocol", "train", "options")


def values_of(cells: Iterable[CellPredictions]) -> dict[int, Value]:
    """Score cells of the grid on the utterances that all cells of their test corpus have; by their position.

    Only where corpora meet in some cell of a question, cells share utterances; others keep their own. All cells of one
    setup that test the same people are one family of tests against chance. References such as the dummy are tested by
    themselves and change no test of others.
    """
    own = {i: cell for i, cell in enumerate(cells) if cell.with_values and not cell.is_outside}
    setups = {i: across_of(cell) for i, cell in own.items()}
    questions = {i: setup.without("scaling") for i, setup in setups.items()}
    across = {questions[i] for i, cell in own.items() if find_protocol(cell.cell["protocol"]).is_across}
    columns: dict[object, list[int]] = {}
    for i, cell in own.items():
        columns.setdefault((questions[i], cell.cell["corpus"]) if questions[i] in across else i, []).append(i)
    values: dict[int, Value] = {}
    families: dict[object, dict[int, np.ndarray]] = {}
    for members in columns.values():
        pool = pool_of([own[i] for i in members])
        for i in members:
            scored = replace(pool.of(own[i]), is_short=pool.is_short(own[i]))
            if not (scored.n_utterances and scored.has_all_emotions()):
                continue
            stack = scored.stack("unit")
            interval = jackknife_interval(stack, METRICS["uar"], bounds=(0, 1))
            values[i] = Value(scored, setups[i], pool.n_utterances, METRICS["uar"](stack.sum(axis=0)), interval)
            if smallest_p(len(stack)) <= ALPHA:
                shares, weights = shares_of(stack, "uar", METRICS["uar"])
                alone = i if scored.is_reference else None
                family = setups[i], scored.cell["corpus"], tuple(scored.coded("unit")[1]), alone
                families.setdefault(family, {})[i] = shares - weights * setups[i].chance
    for of_family in families.values():
        for i, p in zip(of_family, flip_p(np.stack(list(of_family.values()), axis=1)).tolist(), strict=True):
            values[i] = replace(values[i], p=p)
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """All pairs of corpora of one setup, by feature set and classifier; a corpus with itself is from `within`."""

    setup: Setup
    corpora: tuple[str, ...]
    rows: tuple[Row, ...]
    values: Mapping[tuple[Row, Pair], Value]
    refused: Mapping[tuple[Row, Pair], str]
    cells: tuple[CellPredictions, ...]


def crossings(cells: Sequence[CellPredictions], values: Mapping[int, Value], order: Order) -> list[Crossing]:
    """Put cells of `cross` and those of `within` that belong to them together, setup by setup."""
    by_setup: dict[Setup, list[int]] = {}
    for i, cell in enumerate(cells):
        if not cell.is_outside and cell.cell["protocol"] in ("cross", "within"):
            by_setup.setdefault(across_of(cell), []).append(i)
    found = []
    for setup, members in by_setup.items():
        across = [i for i in members if cells[i].cell["protocol"] == "cross"]
        if not any(cells[i].with_values for i in across):
            continue
        corpora = sorted({cells[i].cell[name] for i in across for name in ("train", "corpus")})
        rows = in_row_order({row_of(cells[i]) for i in across}, order)
        members = [i for i in members if cells[i].cell["corpus"] in corpora and row_of(cells[i]) in rows]
        members.sort(key=lambda i: bool(cells[i].with_values))  # one that was refused gives way to one with predictions
        placed = {(row_of(cells[i]), (cells[i].cell["train"], cells[i].cell["corpus"])): i for i in members}
        shown = {place: values[i] for place, i in placed.items() if i in values}
        refused = {place: cells[i].reason for place, i in placed.items() if cells[i].reason}
        found.append(Crossing(setup, tuple(corpora), rows, shown, refused, tuple(cells[i] for i in members)))
    axes = ("task", "map", "inner", "preprocessing", "seed")
    places = [[getattr(c.setup.axes, axis) for axis in axes] + [SCALINGS.index(c.setup.axes.scaling)] for c in found]
    return [found[i] for i in sorted(range(len(found)), key=places.__getitem__)]


def transfer_table(crossing: Crossing) -> Table:
    """Who trains (rows) whom (columns); the diagonal is each corpus by itself."""
    rows = []
    for row in crossing.rows:
        for source in crossing.corpora:
            of_source = [(crossing.values.get((row, (source, target))), target) for target in crossing.corpora]
            rows.append((*row, source, *(_entry(value, bold=source == target) for value, target in of_source)))
    notes = [
        "Rows train, columns are tested. Bold: the diagonal, each corpus by itself (within). "
        "Settings are chosen on the corpus that trains.",
        _bracket_note(crossing.setup),
    ]
    for (row, pair), value in crossing.values.items():
        if value.uar <= crossing.setup.chance:
            where = "below" if value.uar < crossing.setup.chance else "at"
            shares = np.bincount(value.scored.of()["prediction"]) / value.scored.n_utterances
            most = f"{shares.max():.0%} of its predictions are {value.scored.emotions[int(shares.argmax())]}"
            notes.append(f"{' -> '.join(pair)}, {' '.join(row)}: {value.uar:.3f} is {where} chance; {most}.")
    notes += [f"{NOTHING} {' -> '.join(pair)}, {' '.join(row)}: {why}" for (row, pair), why in crossing.refused.items()]
    title, header = f"Across corpora, UAR: {crossing.setup.title}", ("trained on", *crossing.corpora)
    return _table("transfer", title, header, rows, notes, crossing.values.values(), crossing.cells)


def scaling_tables(found: Sequence[Crossing]) -> list[Table]:
    """Return what each scaling does to the same pairs, for what was run with more than one."""
    alike: dict[Setup, list[Crossing]] = {}
    for crossing in found:
        alike.setdefault(crossing.setup.without("scaling"), []).append(crossing)
    return [_scaling_table(*of) for of in alike.values() if len(of) > 1]


def _scaling_table(first: Crossing, *others: Crossing) -> Table:
    rows: list[Sequence[object]] = []
    pairs = sorted(((a, b) for a in first.corpora for b in first.corpora), key=lambda pair: pair[0] == pair[1])
    for row in first.rows:
        whole = []
        for pair in pairs:
            base, *compared = (crossing.values.get((row, pair)) for crossing in (first, *others))
            if base is None:
                continue
            added = []
            for other in compared:
                one, two, interval = paired(paired_stack(other.scored, base.scored)) if other else (0, 0, None)
                added.append(Entry(signed(one - two), bracketed(interval)) if other else Entry(NOTHING))
            label = " -> ".join(pair) if pair[0] != pair[1] else f"{pair[0]} within"
            rows.append((*row, label, base.entry().text, *added))
            full = [value for value in (base, *compared) if value and not value.scored.is_short]
            if pair[0] != pair[1] and len(full) > len(others):
                whole.append([value.uar for value in full])
        if len(whole) > 1:
            mean, *means = (float(mean) for mean in np.mean(whole, axis=0))
            gains = (signed(other - mean) for other in means)
            rows.append((*row, f"mean of {len(whole)}", Entry(f"{mean:.3f}", bold=True), *gains))
    axes = first.setup.axes
    notes = [
        f"UAR with --scaling {axes.scaling}, and what the others add to it on the same utterances, with 95 % intervals "
        "over the speakers tested. Means are over all pairs of different corpora."
    ]
    title = f"What scaling does across corpora: {task_title(axes.task, axes.map)}, seed {axes.seed}"
    header = ("pair", axes.scaling, *(f"{crossing.setup.axes.scaling} - {axes.scaling}" for crossing in others))
    values = [value for crossing in (first, *others) for value in crossing.values.values()]
    cells = [cell for crossing in (first, *others) for cell in crossing.cells]
    return _table("scalings", title, header, rows, notes, values, cells)


def relation_of(one: str, other: str) -> str:
    """Word how near the languages of two different corpora are, by their tags.

    >>> relation_of("en-US", "en-GB"), relation_of("de", "en"), relation_of("de", "pl")
    ('same language', 'same family', 'other family')
    """
    if primary(one) == primary(other):
        return "same language"
    families = family(one), family(other)
    if None in families:
        return "unknown family"
    return "same family" if families[0] == families[1] else "other family"


def language_table(crossing: Crossing, languages: Mapping[str, str]) -> Table | None:
    """Mean UAR by how near the language of the training corpus is; None for fewer than two relations of pairs."""
    pairs = sorted({pair for _, pair in crossing.values})  # of a corpus without values the index may be gone
    relation = {(a, b): "same corpus" if a == b else relation_of(languages[a], languages[b]) for a, b in pairs}
    there = [name for name in RELATIONS if name in relation.values()]
    if len(set(there) - {"same corpus"}) < 2:
        return None
    rows = []
    for row in crossing.rows:
        entries = []
        for name in there:
            found = [crossing.values.get((row, pair)) for pair, r in relation.items() if r == name]
            of = [value.uar for value in found if value and not value.scored.is_short]
            entries.append(Entry(f"{np.mean(of):.3f}", f"({len(of)})") if of else Entry(NOTHING))
        rows.append((*row, *entries))
    shown = sorted({corpus for pair in pairs for corpus in pair})
    spoken = "; ".join(f"{name}: {languages[name]}, {family(languages[name]) or 'unknown'}" for name in shown)
    notes = [
        "Mean UAR over pairs of corpora, and in brackets how many. Corpora differ in more than their language (who "
        "speaks, how emotions were brought about, the recording), so that a difference need not be the language's.",
        f"Languages and their branch of a family: {spoken}.",
    ]
    title, values = f"By language: {crossing.setup.title}", crossing.values.values()
    return _table("languages", title, there, rows, notes, values, crossing.cells, n_labels=2)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """UAR over the number k of utterances of the test corpus that train too; k = 0 is `cross`."""

    setup: Setup
    row: Row
    pair: Pair
    weight: str
    points: Mapping[int, Value]
    within: Value | None


def curves(values: Iterable[Value], found: Sequence[Crossing], order: Order) -> list[Curve]:
    """Learning curves of the cells of `adapt`."""
    by_curve: dict[tuple[Setup, Row, Pair, str], dict[int, Value]] = {}
    for value in values:
        if value.scored.cell["protocol"] == "adapt":
            given = dict(option.split("=") for option in value.scored.cell["options"].split())
            weight = f", weight {given['weight']}" if "weight" in given else ""
            by_curve.setdefault((value.setup, value.row, value.pair, weight), {})[int(given["k"])] = value
    of_setup = {crossing.setup: crossing.values for crossing in found}
    made = []
    for (setup, row, pair, weight), points in by_curve.items():
        known = of_setup.get(setup, {})
        start = {0: known[row, pair]} if (row, pair) in known else {}
        within = known.get((row, (pair[1], pair[1])))
        made.append(Curve(setup, row, pair, weight, dict(sorted((start | points).items())), within))
    places = {row: i for i, row in enumerate(in_row_order({curve.row for curve in made}, order))}
    return sorted(made, key=lambda c: (c.setup.title, places[c.row], c.pair, c.weight))


def curve_tables(found: Sequence[Curve]) -> list[Table]:
    """One table per setup: UAR over k."""
    tables = []
    for setup in dict.fromkeys(curve.setup for curve in found):
        of_setup = [curve for curve in found if curve.setup == setup]
        numbers = sorted({k for curve in of_setup for k in curve.points})
        rows, values = [], []
        for curve in of_setup:
            shown = [*(curve.points.get(k) for k in numbers), curve.within]
            rows.append((*curve.row, f"{' -> '.join(curve.pair)}{curve.weight}", *map(_entry, shown)))
            values += [value for value in shown if value]
        drawn = "utterances" if setup.axes.preprocessing == "none" else "pieces"
        notes = [
            f"UAR when k {drawn} of the test corpus, of others than the people tested, train too; k=0 is cross. They "
            "are drawn for each test group, each emotion in proportion, and one draw holds the smaller ones. within "
            "trains on all other people of the test corpus and nothing else.",
            "One draw per seed: --seed shows how much values depend on it. In plots, numbers stand at equal distances.",
            _bracket_note(setup),
        ]
        header, cells = ("pair", *(f"k={k}" for k in numbers), "within"), [value.scored for value in values]
        tables.append(_table("curves", f"Learning curves: {setup.title}", header, rows, notes, values, cells))
    return tables


def protocol_tables(cells: Sequence[CellPredictions], values: Iterable[Value], order: Order) -> list[Table]:
    """Protocols side by side, setup by setup, where corpora meet in some of them."""
    by_setup: dict[Setup, list[CellPredictions]] = {}
    for cell in cells:
        if cell.with_values and not cell.is_outside:
            by_setup.setdefault(across_of(cell), []).append(cell)
    placed = {(v.setup, v.row, Setup.of(v.scored).protocol_title, v.pair[1]): v for v in values}
    tables = []
    for setup, of in by_setup.items():
        if not any(find_protocol(cell.cell["protocol"]).is_across for cell in of):
            continue
        corpora = sorted({cell.cell["corpus"] for cell in of})
        kinds = sorted({(list(PROTOCOLS).index(s.axes.protocol), s.protocol_title) for s in map(Setup.of, of)})
        rows = []
        for row in in_row_order({row_of(cell) for cell in of}, order):
            for _, kind in kinds:
                found = [placed.get((setup, row, kind, corpus)) for corpus in corpora]
                rows += [(*row, kind, *map(_entry, found))] if any(found) else []
        notes = [f"UAR over all utterances tested, with 95 % intervals over speakers. Chance: {setup.chance:.3f}."]
        own = [value for (of_setup, *_), value in placed.items() if of_setup == setup]
        title, header = f"Protocols side by side: {setup.title}", ("protocol", *corpora)
        tables.append(_table("protocols", title, header, rows, notes, own, of))
    return sorted(tables, key=lambda table: table.title)


def across_tables(
    cells: Sequence[CellPredictions], languages: Mapping[str, str], order: Order
) -> tuple[list[Table], list[Curve]]:
    """Return all tables of what was trained and tested across corpora, and the learning curves among them."""
    values = values_of(cells)
    found = crossings(cells, values, order)
    drawn = curves(values.values(), found, order)
    by_language = [table for crossing in found if (table := language_table(crossing, languages))]
    tables = [*map(transfer_table, found), *scaling_tables(found), *by_language, *curve_tables(drawn)]
    return [*tables, *protocol_tables(cells, values.values(), order)], drawn


def fill_pairs(cells: Iterable[CellPredictions]) -> list[str]:
    """Commands that run again what pairs of corpora miss; one that was refused for what it asks is not among them."""
    commands = []
    for cell in cells:
        if find_protocol(cell.cell["protocol"]).is_pairwise and not cell.with_values and is_hopeful(cell):
            pair = f"{cell.cell['train']} {cell.cell['corpus']}"
            asked = f"--features {cell.record.features_argument} --classifier {cell.cell['classifier']}"
            partial = " --partial" if cell.record.partials else ""
            commands.append(f"serbench grid {pair} {asked}{Setup.of(cell).options_of_grid}{partial}")
    return commands


def remarks(cells: Iterable[CellPredictions]) -> list[str]:
    """Say of cells which copies are partial, what was dropped, and which unlabelled audio scaling used."""
    notes, seen = set(), set()
    for cell in (cell for cell in cells if cell.with_values):
        protocol, corpus = cell.cell["protocol"], cell.cell["corpus"]
        for note in cell.record.notes:
            is_named = find_protocol(protocol).is_across or note.startswith("the audit of")
            if not note.startswith("trained on"):
                notes.add(f"{note}." if is_named else f"{corpus}: {note}.")
        notes |= {f"{name.partition('@')[0]}: {why}." for name, why in cell.record.partials.items()}
        if cell.record.transductive:
            seen.add((cell.cell["scaling"], protocol))
    of_scaling = {scaling: ", ".join(sorted(p for s, p in seen if s == scaling)) for scaling, _ in sorted(seen)}
    return [*sorted(notes), *(f"{transductive_note(scaling)} Here: {of}." for scaling, of in of_scaling.items())]


def _entry(value: Value | None, *, bold: bool = False) -> Entry:
    return value.entry(bold=bold) if value else Entry(NOTHING)


def _bracket_note(setup: Setup) -> str:
    return f"In brackets: 95 % intervals over the speakers tested. Chance: {setup.chance:.3f}."


def _table(
    stem: str,
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    notes: Sequence[str],
    values: Iterable[Value],
    cells: Iterable[CellPredictions],
    *,
    n_labels: int = 3,
) -> Table:
    """Make a table; its notes end with what marks mean, which values miss utterances, and what is said of cells."""
    shown, of = list(values), [cell for cell in cells if cell.with_values]
    marked = [] if stem == "languages" else [n for m, n in CHANCE_NOTES.items() if any(v.mark == m for v in shown)]
    if any(not value.scored.is_chosen for value in shown):
        marked.append(MARK_NOTES[DEFAULT_MARK])
    for value in shown:
        (source, target), cell, n = value.pair, value.scored.cell, value.scored.n_utterances
        if value.scored.is_short:
            protocol = f"{cell['protocol']} {cell['options']}".strip()
            place = f"{protocol}, {source} -> {target}, {' '.join(value.row)}"
            marked.append(f"{short_note(f'{place}: {n} of {value.n_all}')}.")
        elif n < value.n_all:
            marked.append(f"{target}: {n} of {value.n_all} utterances, those that all cells have.")
    keys, notes = [cell.provenance.key for cell in of], [*notes, *dict.fromkeys(marked), *remarks(of)]
    whole = ("features", "classifier", *header)
    return make_table(stem, title, whole, rows, n_labels=n_labels, notes=notes, cells=keys)
