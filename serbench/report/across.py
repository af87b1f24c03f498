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
    Pool,
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
from serbench.report.tables import DEFAULT_MARK, SHORT_MARK, short_note, transductive_note
from serbench.scores.metrics import METRICS
from serbench.scores.predictions import CellPredictions
from serbench.scores.statistics import (
    ALPHA,
    Interval,
    flip_p,
    jackknife_interval,
    shares_of,
    smallest_p,
)

Pair = tuple[str, str]
"""Corpora that train, corpus that is tested."""

SCALINGS = ("train", "speaker", "corpus", "none")
RELATIONS = ("same corpus", "same language", "same family", "other family", "unknown family")
MARK_NOTES = {
    "c": "c: cannot be told from chance (p > 0.05, corrected for all cells of this set-up that test the same people).",
    "b": "b: below chance, by more than chance explains.",
    "?": "?: cannot be tested against chance: too few speakers.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """The UAR of a cell with its interval; `scored` is the cell on the utterances that its column is compared on.

    `p` is that of the test against chance, after correction; None where there are too few units for one.
    """

    scored: CellPredictions
    setup: Setup
    pool: Pool
    uar: float
    interval: Interval | None
    p: float | None = None

    @property
    def row(self) -> Row:
        """Feature set and classifier."""
        return row_of(self.scored)

    @property
    def pair(self) -> Pair:
        """Who trains, and who is tested."""
        return self.scored.cell["train"], self.scored.cell["corpus"]

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return str(self.scored.cell["protocol"])

    @property
    def is_short(self) -> bool:
        """Whether it misses too many utterances of its column to be compared with the others."""
        return self.scored.is_short

    @property
    def coverage_note(self) -> str:
        """What a table must say of the utterances that it is scored on; empty where these are all of its column."""
        n, n_all = self.scored.n_utterances, self.pool.n_utterances
        if self.is_short:
            protocol = f"{self.protocol} {self.scored.cell['options']}".strip()
            return short_note(f"{protocol}, {' -> '.join(self.pair)}, {' '.join(self.row)}: {n} of {n_all}") + "."
        return f"{self.pair[1]}: {n} of {n_all} utterances, those that all cells have." if n < n_all else ""

    @property
    def mark(self) -> str:
        """How it compares with chance by the test; nothing where it is above."""
        return "?" if self.p is None else "c" if self.p > ALPHA else "b" if self.uar < self.setup.chance else ""

    def entry(self, *, bold: bool = False) -> Entry:
        """Return it as a place of a table."""
        marks = ("" if self.scored.is_chosen else DEFAULT_MARK) + (SHORT_MARK if self.is_short else "")
        aside = f"{bracketed(self.interval)} {self.mark}".strip()
        return Entry(f"{self.uar:.3f}{marks}", aside, bold, self.uar, self.scored.provenance.key)


def across_of(cell: CellPredictions) -> Setup:
    """Return the setup of a cell whatever its protocol, and the corpora that train it."""
    return Setup.of(cell).without("protocol", "train", "options")


def values_of(cells: Iterable[CellPredictions]) -> dict[int, Value]:
    """Score cells of the grid on the utterances that all cells of their test corpus have; by their position.

    Only where corpora meet in some cell of a question, cells share utterances; others keep their own.
    """
    own = {i: cell for i, cell in enumerate(cells) if cell.with_values and not cell.is_outside}
    setups = {i: across_of(cell) for i, cell in own.items()}
    questions = {i: setup.without("scaling") for i, setup in setups.items()}
    across = {questions[i] for i, cell in own.items() if find_protocol(cell.cell["protocol"]).is_across}
    columns: dict[object, list[int]] = {}
    for i, cell in own.items():
        columns.setdefault((questions[i], cell.cell["corpus"]) if questions[i] in across else i, []).append(i)
    values = {}
    for members in columns.values():
        pool = pool_of([own[i] for i in members])
        for i in members:
            scored = replace(pool.of(own[i]), is_short=pool.is_short(own[i]))
            if scored.n_utterances and scored.has_all_emotions():
                stack = scored.stack("unit")
                interval = jackknife_interval(stack, METRICS["uar"], bounds=(0, 1))
                values[i] = Value(scored, setups[i], pool, float(METRICS["uar"](stack.sum(axis=0))), interval)
    return _against_chance(values)


def _against_chance(values: Mapping[int, Value]) -> dict[int, Value]:
    """Test each value against chance; all of one setup that test the same people are one family of tests.

    References such as the dummy are tested by themselves and change no test of others.
    """
    families: dict[object, dict[int, np.ndarray]] = {}
    for i, value in values.items():
        stack = value.scored.stack("unit")
        if smallest_p(len(stack)) <= ALPHA:
            shares, weights = shares_of(stack, "uar", METRICS["uar"])
            units = tuple(value.scored.coded("unit")[1])
            family = value.setup, value.pair[1], units, i if value.scored.is_reference else None
            families.setdefault(family, {})[i] = shares - weights * value.setup.chance
    p: dict[int, float] = {}
    for of in families.values():
        p |= dict(zip(of, flip_p(np.stack(list(of.values()), axis=1)).tolist(), strict=True))
    return {i: replace(value, p=p.get(i)) for i, value in values.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """All pairs of corpora of one setup, by feature set and classifier; a corpus with itself is from `within`."""

    setup: Setup
    corpora: tuple[str, ...]
    rows: tuple[Row, ...]
    values: Mapping[tuple[Row, Pair], Value]
    refused: Mapping[tuple[Row, Pair], str]
    cells: tuple[CellPredictions, ...]

    @property
    def keys(self) -> list[str]:
        """Provenance of its values."""
        return [cell.provenance.key for cell in self.cells if cell.with_values]


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

    def place(crossing: Crossing) -> tuple[object, ...]:
        a = crossing.setup.axes
        return a.task, a.map, a.inner, a.preprocessing, a.seed, SCALINGS.index(a.scaling)

    return sorted(found, key=place)


def transfer_table(crossing: Crossing) -> Table:
    """Who trains (rows) whom (columns); the diagonal is each corpus by itself."""
    rows = []
    for row in crossing.rows:
        for source in crossing.corpora:
            of_source = [(crossing.values.get((row, (source, target))), target) for target in crossing.corpora]
            entries = [v.entry(bold=source == target) if v else Entry(NOTHING) for v, target in of_source]
            rows.append((*row, source, *entries))
    notes = [
        "Rows train, columns are tested. Bold: the diagonal, each corpus by itself (within). "
        "Settings are chosen on the corpus that trains.",
        _bracket_note(crossing.setup),
        *mark_notes(crossing.values.values()),
    ]
    for (row, pair), value in crossing.values.items():
        if value.uar <= crossing.setup.chance:
            where = "below" if value.uar < crossing.setup.chance else "at"
            shares = np.bincount(value.scored.of()["prediction"]) / value.scored.n_utterances
            most = f"{shares.max():.0%} of its predictions are {value.scored.emotions[int(shares.argmax())]}"
            notes.append(f"{' -> '.join(pair)}, {' '.join(row)}: {value.uar:.3f} is {where} chance; {most}.")
    notes += remarks(crossing.cells)
    notes += [f"{NOTHING} {' -> '.join(pair)}, {' '.join(row)}: {why}" for (row, pair), why in crossing.refused.items()]
    title = f"Across corpora, UAR: {crossing.setup.title}"
    header = ("features", "classifier", "trained on", *crossing.corpora)
    return make_table("transfer", title, header, rows, n_labels=3, notes=notes, cells=crossing.keys)


def scaling_tables(found: Sequence[Crossing]) -> list[Table]:
    """Return what each scaling does to the same pairs, for what was run with more than one."""
    alike: dict[Setup, list[Crossing]] = {}
    for crossing in found:
        alike.setdefault(crossing.setup.without("scaling"), []).append(crossing)
    return [_scaling_table(of) for of in alike.values() if len(of) > 1]


def _scaling_table(found: Sequence[Crossing]) -> Table:
    first, *others = found
    pairs = sorted(((a, b) for a in first.corpora for b in first.corpora), key=lambda pair: pair[0] == pair[1])
    rows: list[Sequence[object]] = []
    for row in first.rows:
        for pair in pairs:
            base = first.values.get((row, pair))
            if base is None:
                continue
            added = [_added(base, crossing.values.get((row, pair))) for crossing in others]
            label = " -> ".join(pair) if pair[0] != pair[1] else f"{pair[0]} within"
            rows.append((*row, label, base.entry().text, *added))
        of_pairs = [[crossing.values.get((row, pair)) for crossing in found] for pair in pairs if pair[0] != pair[1]]
        whole = [[v.uar for v in of if v and not v.is_short] for of in of_pairs]
        whole = [of for of in whole if len(of) == len(found)]
        if len(whole) > 1:
            base_mean, *means = (float(mean) for mean in np.mean(whole, axis=0))
            mean = Entry(f"{base_mean:.3f}", bold=True)
            rows.append((*row, f"mean of {len(whole)}", mean, *(signed(other - base_mean) for other in means)))
    base_name = first.setup.axes.scaling
    notes = (
        f"UAR with --scaling {base_name}, and what the others add to it on the same utterances, with 95 % intervals "
        "over the speakers tested. Means are over all pairs of different corpora.",
        *mark_notes(value for crossing in found for value in crossing.values.values()),
        *remarks(cell for crossing in found for cell in crossing.cells),
    )
    axes = first.setup.axes
    title = f"What scaling does across corpora: {task_title(axes.task, axes.map)}, seed {axes.seed}"
    names = (f"{crossing.setup.axes.scaling} - {base_name}" for crossing in others)
    header = ("features", "classifier", "pair", base_name, *names)
    made = [key for crossing in found for key in crossing.keys]
    return make_table("scalings", title, header, rows, n_labels=3, notes=notes, cells=made)


def _added(base: Value, other: Value | None) -> Entry:
    if other is None:
        return Entry(NOTHING)
    one, two, interval = paired(paired_stack(other.scored, base.scored))
    return Entry(signed(one - two), bracketed(interval))


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
            of = [value.uar for value in found if value and not value.is_short]
            entries.append(Entry(f"{np.mean(of):.3f}", f"({len(of)})") if of else Entry(NOTHING))
        rows.append((*row, *entries))
    shown = sorted({corpus for pair in pairs for corpus in pair})
    spoken = "; ".join(f"{name}: {languages[name]}, {family(languages[name]) or 'unknown'}" for name in shown)
    notes = (
        "Mean UAR over pairs of corpora, and in brackets how many. Corpora differ in more than their language (who "
        "speaks, how emotions were brought about, the recording), so that a difference need not be the language's.",
        f"Languages and their branch of a family: {spoken}.",
        *dict.fromkeys(note for value in crossing.values.values() if (note := value.coverage_note)),
        *remarks(crossing.cells),
    )
    title, header = f"By language: {crossing.setup.title}", ("features", "classifier", *there)
    return make_table("languages", title, header, rows, n_labels=2, notes=notes, cells=crossing.keys)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """UAR over the number k of utterances of the test corpus that train too; k = 0 is `cross`."""

    setup: Setup
    row: Row
    pair: Pair
    weight: str
    points: Mapping[int, Value]
    within: Value | None

    @property
    def name(self) -> str:
        """What tables and figures call it."""
        return f"{' '.join(self.row)}, {' -> '.join(self.pair)}{self.weight}"


def curves(values: Iterable[Value], found: Sequence[Crossing], order: Order) -> list[Curve]:
    """Learning curves of the cells of `adapt`."""
    by_curve: dict[tuple[Setup, Row, Pair, str], dict[int, Value]] = {}
    for value in values:
        if value.protocol == "adapt":
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


def curve_title(setup: Setup) -> str:
    """Title of the table of a setup's learning curves."""
    return f"Learning curves: {setup.title}"


def curve_tables(found: Sequence[Curve]) -> list[Table]:
    """One table per setup: UAR over k."""
    by_setup: dict[Setup, list[Curve]] = {}
    for curve in found:
        by_setup.setdefault(curve.setup, []).append(curve)
    return [_curve_table(setup, of) for setup, of in by_setup.items()]


def _curve_table(setup: Setup, found: Sequence[Curve]) -> Table:
    numbers = sorted({k for curve in found for k in curve.points})
    rows = []
    for curve in found:
        shown = [*(curve.points.get(k) for k in numbers), curve.within]
        entries = [value.entry() if value else Entry(NOTHING) for value in shown]
        rows.append((*curve.row, f"{' -> '.join(curve.pair)}{curve.weight}", *entries))
    drawn = "utterances" if setup.axes.preprocessing == "none" else "pieces"
    values = [value for curve in found for value in (*curve.points.values(), curve.within) if value]
    notes = [
        f"UAR when k {drawn} of the test corpus, of others than the people tested, train too; k=0 is cross. They "
        "are drawn for each test group, each emotion in proportion, and one draw holds the smaller ones. within trains "
        "on all other people of the test corpus and nothing else.",
        "One draw per seed: --seed shows how much values depend on it. In plots, numbers stand at equal distances.",
        _bracket_note(setup),
        *mark_notes(values),
        *remarks(value.scored for value in values),
    ]
    header = ("features", "classifier", "pair", *(f"k={k}" for k in numbers), "within")
    made = [value.scored.provenance.key for value in values]
    return make_table("curves", curve_title(setup), header, rows, n_labels=3, notes=notes, cells=made)


def protocol_tables(cells: Sequence[CellPredictions], values: Iterable[Value], order: Order) -> list[Table]:
    """Protocols side by side, setup by setup, where corpora meet in some of them."""
    by_setup: dict[Setup, list[CellPredictions]] = {}
    for cell in cells:
        if cell.with_values and not cell.is_outside:
            by_setup.setdefault(across_of(cell), []).append(cell)
    tables = []
    for setup, of in by_setup.items():
        if any(find_protocol(cell.cell["protocol"]).is_across for cell in of):
            own = [value for value in values if value.setup == setup]
            tables.append(_protocol_table(setup, of, own, order))
    return sorted(tables, key=lambda table: table.title)


def _protocol_table(setup: Setup, cells: Sequence[CellPredictions], values: Sequence[Value], order: Order) -> Table:
    corpora = sorted({cell.cell["corpus"] for cell in cells})
    kinds = {(list(PROTOCOLS).index(s.axes.protocol), s.protocol_title) for s in map(Setup.of, cells)}
    placed = {(v.row, Setup.of(v.scored).protocol_title, v.pair[1]): v for v in values}
    rows = []
    for row in in_row_order({row_of(cell) for cell in cells}, order):
        for _, kind in sorted(kinds):
            found = [placed.get((row, kind, corpus)) for corpus in corpora]
            if any(found):
                rows.append((*row, kind, *(value.entry() if value else Entry(NOTHING) for value in found)))
    notes = [
        f"UAR over all utterances tested, with 95 % intervals over speakers. Chance: {setup.chance:.3f}.",
        *mark_notes(placed.values()),
        *remarks(cells),
    ]
    made = [cell.provenance.key for cell in cells]
    title, header = f"Protocols side by side: {setup.title}", ("features", "classifier", "protocol", *corpora)
    return make_table("protocols", title, header, rows, n_labels=3, notes=notes, cells=made)


def across_tables(
    cells: Sequence[CellPredictions], languages: Mapping[str, str], order: Order
) -> tuple[list[Table], list[Curve]]:
    """Return all tables of what was trained and tested across corpora, and the learning curves among them."""
    values = values_of(cells)
    found = crossings(cells, values, order)
    drawn = curves(values.values(), found, order)
    by_language = [table for crossing in found if (table := language_table(crossing, languages))]
    tables = [*map(transfer_table, found), *scaling_tables(found), *by_language, *curve_tables(drawn)]
    return [*tables, *protocol_tables(cells, list(values.values()), order)], drawn


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


def mark_notes(values: Iterable[Value]) -> list[str]:
    """Say what the marks of values mean, and which values miss utterances."""
    shown = list(values)
    notes = [note for mark, note in MARK_NOTES.items() if any(value.mark == mark for value in shown)]
    is_default = any(not value.scored.is_chosen for value in shown)
    notes += [f"{DEFAULT_MARK} default setting, as there is no nested one."] if is_default else []
    return notes + list(dict.fromkeys(note for value in shown if (note := value.coverage_note)))


def remarks(cells: Iterable[CellPredictions]) -> list[str]:
    """Say of cells which copies are partial, what was dropped, and which unlabelled audio scaling used."""
    shown = [cell for cell in cells if cell.with_values]
    notes, seen = set(), set()
    for cell in shown:
        protocol, corpus = cell.cell["protocol"], cell.cell["corpus"]
        for note in cell.record.notes:
            is_named = find_protocol(protocol).is_across or note.startswith("the audit of")
            if not note.startswith("trained on"):
                notes.add(f"{note}." if is_named else f"{corpus}: {note}.")
        notes |= {f"{name.partition('@')[0]}: {why}." for name, why in cell.record.partials.items()}
        if cell.record.transductive:
            seen.add((cell.cell["scaling"], protocol))
    of_scaling = {scaling: ", ".join(sorted(p for s, p in seen if s == scaling)) for scaling, _ in sorted(seen)}
    transductive = [f"{transductive_note(scaling)} Here: {of}." for scaling, of in of_scaling.items()]
    return [*sorted(notes), *transductive]


def _bracket_note(setup: Setup) -> str:
    return f"In brackets: 95 % intervals over the speakers tested. Chance: {setup.chance:.3f}."
