"""Cells across corpora -> tables: who trains whom, what scaling does, how near languages are, what k utterances add.

Values are UAR by the headline rule, with their intervals over speakers. All cells that test a corpus are scored on the
utterances that they share; see `pools`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serbench.protocols import find_protocol
from serbench.report.matrices import Variant, is_hopeful, row_name, task_title
from serbench.report.pools import Pool, pool_of
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table
from serbench.report.tables import DEFAULT_MARK, SHORT_MARK, short_note, transductive_note
from serbench.scores.metrics import METRICS
from serbench.scores.outcomes import CellOutcomes, Outcome
from serbench.scores.scores import has_all_emotions, metric_interval, pool_confusion, unit_stack
from serbench.scores.statistics import ALPHA, STATISTICS, Interval, flip_p, shares_of, smallest_p

Row = tuple[str, str]
"""Feature set and classifier."""
Pair = tuple[str, str]
"""Corpus that trains, corpus that is tested."""
Order = Callable[[str], int]

SCALINGS = ("train", "speaker", "corpus", "none")
DIAGONAL_NOTE = "Bold: the diagonal, each corpus by itself (within)."
MARK_NOTES = {
    "c": "c: cannot be told from chance (p > 0.05, corrected for all cells of this set-up that test the same people).",
    "b": "b: below chance, by more than chance explains.",
    "?": "?: cannot be tested against chance: too few speakers.",
}


def mark_notes(values: Iterable[Value | None]) -> list[str]:
    """Say what the marks of values mean."""
    shown = [value for value in values if value]
    told = [note for mark, note in MARK_NOTES.items() if any(value.mark == mark for value in shown)]
    is_default = any(not value.cell.chosen for value in shown)
    told += [f"{DEFAULT_MARK} default setting, as there is no nested one."] if is_default else []
    return told + list(dict.fromkeys(note for value in shown if (note := value.coverage_note)))


def pools_of(cells: Iterable[CellOutcomes]) -> dict[tuple[object, ...], Pool]:
    """Choose the utterances that cells are compared on in all tables across corpora: one pool per test corpus.

    Cells of one question share it, whatever their protocol, training corpora, features, classifier and scaling.
    """
    own = [cell for cell in cells if cell.outcomes and not cell.is_outside]
    across = {Setup.of(cell).question for cell in own if find_protocol(cell.cell["protocol"]).is_across}
    columns: dict[tuple[object, ...], list[CellOutcomes]] = {}
    for cell in own:
        if Setup.of(cell).question in across:
            columns.setdefault(_column(cell), []).append(cell)
    return {column: pool_of(of) for column, of in columns.items()}


def _column(cell: CellOutcomes) -> tuple[object, ...]:
    return *Setup.of(cell).question, cell.cell["corpus"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What all cells of a table across corpora share."""

    task: str
    scaling: str
    inner: str
    preprocessing: str
    seed: int
    emotions: tuple[str, ...]
    map: str = ""

    @staticmethod
    def of(cell: CellOutcomes) -> Setup:
        """Return the setup of a cell."""
        v = Variant.of(cell)
        return Setup(v.task, v.scaling, v.inner, v.preprocessing, v.seed, v.emotions, v.map)

    @property
    def title(self) -> str:
        """The setup in words."""
        pieces = [] if self.preprocessing == "none" else [self.preprocessing]
        scaling = f"scaling per {self.scaling}" if self.scaling in ("speaker", "corpus") else f"scaling {self.scaling}"
        inner = [] if self.inner == "auto" else [f"inner {self.inner}"]
        return ", ".join([task_title(self.task, self.map), *pieces, scaling, *inner, f"seed {self.seed}"])

    @property
    def question(self) -> tuple[object, ...]:
        """What is asked, however features are scaled."""
        return self.task, self.map, self.inner, self.preprocessing, self.seed, self.emotions

    @property
    def chance(self) -> float:
        """UAR of guessing."""
        return 1 / len(self.emotions)


@dataclass(frozen=True, slots=True)
class Value:
    """The UAR of a cell with its interval, against chance; `outcome` is what it predicts for what it is scored on."""

    cell: CellOutcomes
    uar: float
    interval: Interval | None
    outcome: Outcome
    pool: Pool

    @staticmethod
    def of(cell: CellOutcomes, pools: Mapping[tuple[object, ...], Pool] | None = None) -> Value | None:
        """Score a cell on what its column is compared on; None where it has no predictions, or lacks an emotion."""
        if cell.headline is None:
            return None
        pool = (pools or {}).get(_column(cell)) or pool_of([cell])
        predictions = {u: cell.headline.predictions[u] for u in pool.of(cell)}
        outcome = replace(cell.headline, predictions=predictions)
        if not predictions or not has_all_emotions(cell, predictions):
            return None
        stack = unit_stack(cell, outcome)
        return Value(cell, METRICS["uar"](stack.sum(axis=0)), metric_interval(stack, "uar"), outcome, pool)

    @property
    def is_short(self) -> bool:
        """Whether it lacks too many utterances of its column to be compared with the others."""
        return self.pool.is_short(self.cell)

    @property
    def coverage_note(self) -> str:
        """What a table must say of the utterances that it is scored on; empty where these are all of its column."""
        fields, n, n_all = self.cell.cell, len(self.outcome.predictions), self.pool.n_utterances
        if self.is_short:
            protocol = f"{fields['protocol']} {fields['options']}".strip()
            who = f"{fields['train']} -> {fields['corpus']}, {' '.join(row_of(self.cell))}"
            return short_note(f"{protocol}, {who}: {n} of {n_all}") + "."
        return f"{fields['corpus']}: {n} of {n_all} utterances, those that all cells have." if n < n_all else ""

    @property
    def chance(self) -> float:
        """UAR of guessing."""
        return 1 / len(self.cell.emotions)

    @property
    def mark(self) -> str:
        """How it stands to chance by the test; nothing where it is above."""
        p = self.cell.p_chance
        if p is None:
            return "?"
        return "c" if p > ALPHA else "b" if self.uar < self.chance else ""

    @property
    def reason_below(self) -> str:
        """What a model did that came out below chance: which emotion it said most, where it should have been 1 in n."""
        predicted = pool_confusion(self.cell, self.outcome).sum(axis=0)
        most = int(predicted.argmax())
        share = predicted[most] / predicted.sum()
        return f"{share:.0%} of its predictions are {self.cell.emotions[most]}"

    @property
    def shown(self) -> str:
        """The UAR as tables print it, with a mark where it is not by the nested rule."""
        return f"{self.uar:.3f}" + ("" if self.cell.chosen else DEFAULT_MARK) + (SHORT_MARK if self.is_short else "")

    def entry(self, *, is_diagonal: bool = False) -> Entry:
        """Return it as a place of a heat map."""
        aside = f"{bracketed(self.interval)} {self.mark}".strip()
        return Entry(self.shown, aside, is_diagonal, self.uar, self.cell.provenance.key)


@dataclass(frozen=True, slots=True)
class Crossing:
    """All pairs of corpora of one setup, by feature set and classifier; a corpus with itself is from `within`."""

    setup: Setup
    corpora: tuple[str, ...]
    rows: tuple[Row, ...]
    values: Mapping[tuple[Row, Pair], Value]
    refused: Mapping[tuple[Row, Pair], str]
    cells: tuple[CellOutcomes, ...]

    @property
    def keys(self) -> list[str]:
        """Provenance of its values."""
        return [cell.provenance.key for cell in self.cells if cell.outcomes]

    def of(self, row: Row, pair: Pair) -> Value | None:
        """Return the value of a pair, where there is one."""
        return self.values.get((row, pair))


def against_chance(cells: Sequence[CellOutcomes]) -> list[CellOutcomes]:
    """Test each cell against chance; all cells of one setup that test the same people are one family of tests.

    References such as the dummy are tested by themselves and change no test of others.
    """
    families: dict[tuple[object, ...], dict[int, np.ndarray]] = {}
    pools = pools_of(cells)
    for i, cell in enumerate(cells):
        value = None if cell.is_outside else Value.of(cell, pools)
        if value is None:
            continue
        stack = unit_stack(cell, value.outcome)
        if smallest_p(len(stack)) <= ALPHA:
            shares, weights = shares_of(stack, "uar", STATISTICS["uar"])
            units = tuple(sorted({cell.units[u] for u in value.outcome.predictions}))
            family = Setup.of(cell), cell.cell["corpus"], units, i if cell.is_reference else None
            families.setdefault(family, {})[i] = shares - weights / len(cell.emotions)
    p: dict[int, float] = {}
    for of in families.values():
        p |= dict(zip(of, flip_p(np.stack(list(of.values()), axis=1)).tolist(), strict=True))
    return [replace(cell, p_chance=p.get(i)) for i, cell in enumerate(cells)]


def crossings(cells: Sequence[CellOutcomes], order: Order) -> list[Crossing]:
    """Put cells of `cross` and those of `within` that belong to them together, setup by setup."""
    by_setup: dict[Setup, list[CellOutcomes]] = {}
    for cell in cells:
        if not cell.is_outside and cell.cell["protocol"] in ("cross", "within"):
            by_setup.setdefault(Setup.of(cell), []).append(cell)
    wanted = {s: of for s, of in by_setup.items() if any(c.cell["protocol"] == "cross" and c.outcomes for c in of)}
    pools = pools_of(cells)
    in_order = sorted(
        wanted, key=lambda s: (s.task, s.map, s.inner, s.preprocessing, s.seed, SCALINGS.index(s.scaling))
    )
    return [_crossing(setup, wanted[setup], order, pools) for setup in in_order]


def _crossing(
    setup: Setup, cells: Sequence[CellOutcomes], order: Order, pools: Mapping[tuple[object, ...], Pool]
) -> Crossing:
    across = [cell for cell in cells if cell.cell["protocol"] == "cross"]
    corpora = sorted({name for cell in across for name in (cell.cell["train"], cell.cell["corpus"])})
    rows = in_row_order({row_of(cell) for cell in across}, order)
    members = [c for c in cells if c.cell["corpus"] in corpora and row_of(c) in rows]
    members.sort(key=lambda cell: bool(cell.outcomes))  # one that was refused gives way to one with predictions
    placed = {(row_of(cell), (cell.cell["train"], cell.cell["corpus"])): cell for cell in members}
    values = {place: value for place, cell in placed.items() if (value := Value.of(cell, pools))}
    refused = {place: cell.reason for place, cell in placed.items() if cell.reason}
    return Crossing(setup, tuple(corpora), rows, values, refused, tuple(members))


def row_of(cell: CellOutcomes) -> Row:
    """Feature set and classifier of a cell."""
    return cell.cell["features"], row_name(cell)


def in_row_order(rows: Iterable[Row], order: Order) -> tuple[Row, ...]:
    """Sort rows as in Table 2."""
    return tuple(sorted(rows, key=lambda r: (order(r[0]), r[0], order(r[1].partition(" ")[0]), r[1])))


def transfer_table(crossing: Crossing) -> Table:
    """Who trains (rows) whom (columns); the diagonal is each corpus by itself."""
    rows = []
    for row in crossing.rows:
        for source in crossing.corpora:
            values = [(crossing.of(row, (source, target)), source == target) for target in crossing.corpora]
            entries = [v.entry(is_diagonal=d) if v else Entry(NOTHING) for v, d in values]
            rows.append((Entry(row[0]), Entry(row[1]), Entry(source), *entries))
    header = ("features", "classifier", "trained on", *crossing.corpora)
    title = f"Across corpora, UAR: {crossing.setup.title}"
    notes = _transfer_notes(crossing)
    return make_table("transfer", title, header, rows, n_labels=3, notes=notes, cells=crossing.keys)


def remarks(cells: Iterable[CellOutcomes]) -> list[str]:
    """What tables must say of the cells that they show: partial copies, what was dropped, what scaling has heard."""
    shown = [cell for cell in cells if cell.outcomes]
    told = {f"{_named(cell, note)}." for cell in shown for note in cell.record.get("notes", ())}
    told = {note for note in told if not note.startswith("trained on")}
    partial = {(name, why) for cell in shown for name, why in cell.record["partials"].items()}
    told |= {f"{name.partition('@')[0]}: {why}." for name, why in partial}
    heard: dict[str, set[str]] = {}
    for cell in shown:
        if cell.is_transductive:
            heard.setdefault(cell.cell["scaling"], set()).add(cell.cell["protocol"])
    return [
        *sorted(told),
        *(f"{transductive_note(scaling)} Here: {', '.join(sorted(of))}." for scaling, of in sorted(heard.items())),
    ]


def _named(cell: CellOutcomes, note: str) -> str:
    """Say of which corpus a note is, where it is of a cell of one corpus, whose own tables need no name."""
    fields = cell.cell
    is_told = find_protocol(fields["protocol"]).is_across or note.startswith(("trained on", "the audit of"))
    return note if is_told else f"{fields['corpus']}: {note}"


def _transfer_notes(crossing: Crossing) -> Iterator[str]:
    yield f"Rows train, columns are tested. {DIAGONAL_NOTE} Settings are chosen on the corpus that trains."
    yield f"In brackets: 95 % intervals over the speakers tested. Chance: {crossing.setup.chance:.3f}."
    yield from mark_notes(crossing.values.values())
    for (row, pair), value in crossing.values.items():
        if value.uar <= value.chance:
            where = "below" if value.uar < value.chance else "at"
            yield f"{pair[0]} -> {pair[1]}, {' '.join(row)}: {value.uar:.3f} is {where} chance; {value.reason_below}."
    yield from remarks(crossing.cells)
    for (row, pair), reason in crossing.refused.items():
        yield f"{NOTHING} {pair[0]} -> {pair[1]}, {' '.join(row)}: {reason}"


def fill_pairs(cells: Iterable[CellOutcomes]) -> list[str]:
    """Commands that run again what pairs of corpora lack; one that was refused for what it asks is not among them."""
    commands = []
    for cell in cells:
        if find_protocol(cell.cell["protocol"]).is_pairwise and not cell.outcomes and is_hopeful(cell):
            pair = f"{cell.cell['train']} {cell.cell['corpus']}"
            asked = f"--features {cell.record['features_argument']} --classifier {cell.cell['classifier']}"
            partial = " --partial" if cell.record["partials"] else ""
            commands.append(f"serbench grid {pair} {asked}{Variant.of(cell).options_of_grid}{partial}")
    return commands
