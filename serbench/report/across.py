"""What follows from who trains whom: scalings, languages, learning curves and protocols side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serbench.corpora.languages import family, primary
from serbench.protocols import PROTOCOLS, find_protocol
from serbench.report.breakdowns import difference_interval
from serbench.report.matrices import Variant, task_title
from serbench.report.pools import Pool
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table, signed
from serbench.report.transfer import (
    Crossing,
    Order,
    Pair,
    Row,
    Setup,
    Value,
    in_row_order,
    mark_notes,
    pools_of,
    remarks,
    row_of,
    transfer_table,
)
from serbench.scores.metrics import METRICS
from serbench.scores.outcomes import CellOutcomes
from serbench.scores.scores import pool_confusion


def scaling_tables(found: Sequence[Crossing]) -> list[Table]:
    """What each scaling does to the same pairs, for what was run with more than one."""
    alike: dict[tuple[object, ...], list[Crossing]] = {}
    for crossing in found:
        alike.setdefault(crossing.setup.question, []).append(crossing)
    return [_scaling_table(of) for of in alike.values() if len(of) > 1]


def _scaling_table(found: Sequence[Crossing]) -> Table:
    first, *others = found
    rows = []
    for row in first.rows:
        pairs = [(a, b) for a in first.corpora for b in first.corpora]
        for pair in sorted(pairs, key=lambda pair: pair[0] == pair[1]):
            base = first.of(row, pair)
            if base is not None:
                rows.append((*_labels(row, pair), Entry(base.shown), *_differences(base, others, row, pair)))
        rows += _means(first, others, row)
    base_name = first.setup.scaling
    header = ("features", "classifier", "pair", base_name, *(f"{c.setup.scaling} - {base_name}" for c in others))
    notes = (
        f"UAR with --scaling {base_name}, and what the others add to it on the same utterances, with 95 % intervals "
        "over the speakers tested. Means are over all pairs of different corpora.",
        *mark_notes(value for crossing in found for value in crossing.values.values()),
        *remarks(cell for crossing in found for cell in crossing.cells),
    )
    task = task_title(first.setup.task, first.setup.map)
    title = f"What scaling does across corpora: {task}, seed {first.setup.seed}"
    made = [key for crossing in found for key in crossing.keys]
    return make_table("scalings", title, header, rows, n_labels=3, notes=notes, cells=made)


def _labels(row: Row, pair: Pair) -> tuple[Entry, Entry, Entry]:
    return Entry(row[0]), Entry(row[1]), Entry(f"{pair[0]} -> {pair[1]}" if pair[0] != pair[1] else f"{pair[0]} within")


def _differences(base: Value, others: Sequence[Crossing], row: Row, pair: Pair) -> Iterator[Entry]:
    for crossing in others:
        value = crossing.of(row, pair)
        if value is None:
            yield Entry(NOTHING)
            continue
        interval = difference_interval(value.cell, value.outcome, base.cell, base.outcome)
        yield Entry(signed(_difference(value, base)), aside=bracketed(interval))


def _difference(value: Value, base: Value) -> float:
    """Difference in UAR on the utterances that both cells are scored on."""
    both = sorted(set(value.outcome.predictions) & set(base.outcome.predictions))
    one, other = (METRICS["uar"](pool_confusion(v.cell, v.outcome, both)) for v in (value, base))
    return float(one - other)


def _means(first: Crossing, others: Sequence[Crossing], row: Row) -> list[tuple[Entry, ...]]:
    """Return the mean over pairs that all scalings have, without those that lack utterances."""
    pairs = [(a, b) for a in first.corpora for b in first.corpora if a != b]
    whole = [p for p in pairs if all((v := c.of(row, p)) and not v.is_short for c in (first, *others))]
    if len(whole) < 2:
        return []
    means = [_mean(crossing, row, whole) for crossing in (first, *others)]
    added = [Entry(signed(mean - means[0])) for mean in means[1:]]
    return [(Entry(row[0]), Entry(row[1]), Entry(f"mean of {len(whole)}"), Entry(f"{means[0]:.3f}", bold=True), *added)]


def _mean(crossing: Crossing, row: Row, pairs: Sequence[Pair]) -> float:
    return float(np.mean([value.uar for pair in pairs if (value := crossing.of(row, pair))]))


RELATIONS = ("same corpus", "same language", "same family", "other family", "unknown family")


def relation_of(one: str, other: str) -> str:
    """How near the languages of two different corpora are, by their tags.

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
            found = [crossing.of(row, pair) for pair, r in relation.items() if r == name]
            of = [value.uar for value in found if value and not value.is_short]
            entries.append(Entry(f"{np.mean(of):.3f}", aside=f"({len(of)})") if of else Entry(NOTHING))
        rows.append((Entry(row[0]), Entry(row[1]), *entries))
    shown = sorted({corpus for pair in pairs for corpus in pair})
    spoken = "; ".join(f"{name}: {languages[name]}, {family(languages[name]) or 'unknown'}" for name in shown)
    notes = (
        "Mean UAR over pairs of corpora, and in brackets how many. Corpora differ in more than their language (who "
        "speaks, how emotions were brought about, the recording), so that a difference need not be the language's.",
        f"Languages and their branch of a family: {spoken}.",
        *dict.fromkeys(note for value in crossing.values.values() if (note := value.coverage_note)),
        *remarks(crossing.cells),
    )
    title = f"By language: {crossing.setup.title}"
    header = ("features", "classifier", *there)
    return make_table("languages", title, header, rows, n_labels=2, notes=notes, cells=crossing.keys)


@dataclass(frozen=True, slots=True)
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
        return f"{' '.join(self.row)}, {self.pair[0]} -> {self.pair[1]}{self.weight}"


def curves(cells: Sequence[CellOutcomes], found: Sequence[Crossing], order: Order) -> list[Curve]:
    """Learning curves of the cells of `adapt`."""
    by_curve: dict[tuple[Setup, Row, Pair, str], dict[int, Value]] = {}
    pools = pools_of(cells)
    for cell in cells:
        value = Value.of(cell, pools) if cell.cell["protocol"] == "adapt" else None
        if value is not None:
            given = dict(option.split("=") for option in cell.cell["options"].split())
            weight = f", weight {given['weight']}" if "weight" in given else ""
            key = Setup.of(cell), row_of(cell), (cell.cell["train"], cell.cell["corpus"]), weight
            by_curve.setdefault(key, {})[int(given["k"])] = value
    of_setup = {crossing.setup: crossing for crossing in found}
    made = []
    for (setup, row, pair, weight), points in by_curve.items():
        crossing = of_setup.get(setup)
        start = crossing.of(row, pair) if crossing else None
        whole = {**({0: start} if start else {}), **points}
        within = crossing.of(row, (pair[1], pair[1])) if crossing else None
        made.append(Curve(setup, row, pair, weight, dict(sorted(whole.items())), within))
    places = {row: i for i, row in enumerate(in_row_order({curve.row for curve in made}, order))}
    return sorted(made, key=lambda c: (c.setup.title, places[c.row], c.pair, c.weight))


def curve_tables(found: Sequence[Curve]) -> list[Table]:
    """One table per setup: UAR over k."""
    by_setup: dict[Setup, list[Curve]] = {}
    for curve in found:
        by_setup.setdefault(curve.setup, []).append(curve)
    return [_curve_table(setup, of) for setup, of in by_setup.items()]


def curve_title(setup: Setup) -> str:
    """Title of the table of a setup's learning curves."""
    return f"Learning curves: {setup.title}"


def _curve_table(setup: Setup, found: Sequence[Curve]) -> Table:
    numbers = sorted({k for curve in found for k in curve.points})
    rows = []
    for curve in found:
        shown = [*(curve.points.get(k) for k in numbers), curve.within]
        entries = [value.entry() if value else Entry(NOTHING) for value in shown]
        pair = f"{curve.pair[0]} -> {curve.pair[1]}{curve.weight}"
        rows.append((Entry(curve.row[0]), Entry(curve.row[1]), Entry(pair), *entries))
    header = ("features", "classifier", "pair", *(f"k={k}" for k in numbers), "within")
    drawn = "utterances" if setup.preprocessing == "none" else "pieces"
    notes = [
        f"UAR when k {drawn} of the test corpus, of others than the people tested, train too; k=0 is cross. They "
        "are drawn for each test group, each emotion in proportion, and one draw holds the smaller ones. within trains "
        "on all other people of the test corpus and nothing else.",
        "One draw per seed: --seed shows how much values depend on it. In plots, numbers stand at equal distances.",
        f"In brackets: 95 % intervals over the speakers tested. Chance: {setup.chance:.3f}.",
    ]
    shown_values = [value for curve in found for value in (*curve.points.values(), curve.within) if value]
    notes += [*mark_notes(shown_values), *remarks(value.cell for value in shown_values)]
    made = [value.cell.provenance.key for curve in found for value in (*curve.points.values(), curve.within) if value]
    return make_table("curves", curve_title(setup), header, rows, n_labels=3, notes=notes, cells=made)


def protocol_tables(cells: Sequence[CellOutcomes], order: Order) -> list[Table]:
    """Protocols side by side, setup by setup, where corpora meet in some of them."""
    by_setup: dict[Setup, list[CellOutcomes]] = {}
    for cell in cells:
        if not cell.is_outside and cell.outcomes:
            by_setup.setdefault(Setup.of(cell), []).append(cell)
    across = {s: of for s, of in by_setup.items() if any(find_protocol(c.cell["protocol"]).is_across for c in of)}
    pools = pools_of(cells)
    tables = [_protocol_table(setup, of, order, pools) for setup, of in across.items()]
    return sorted(tables, key=lambda table: table.title)


def _protocol_table(
    setup: Setup, cells: Sequence[CellOutcomes], order: Order, pools: Mapping[tuple[object, ...], Pool]
) -> Table:
    corpora = sorted({cell.cell["corpus"] for cell in cells})
    kinds: dict[tuple[int, str], None] = {}
    placed: dict[tuple[Row, str, str], Value] = {}
    for cell in cells:
        variant, value = Variant.of(cell), Value.of(cell, pools)
        kinds[list(PROTOCOLS).index(variant.protocol), variant.protocol_title] = None
        if value is not None:
            placed[row_of(cell), variant.protocol_title, cell.cell["corpus"]] = value
    rows = []
    for row in in_row_order({row_of(cell) for cell in cells}, order):
        for _, kind in sorted(kinds):
            found = [placed.get((row, kind, corpus)) for corpus in corpora]
            if any(found):
                entries = [value.entry() if value else Entry(NOTHING) for value in found]
                rows.append((Entry(row[0]), Entry(row[1]), Entry(kind), *entries))
    notes = [f"UAR over all utterances tested, with 95 % intervals over speakers. Chance: {setup.chance:.3f}."]
    notes += [*mark_notes(placed.values()), *remarks(cells)]
    made = [cell.provenance.key for cell in cells]
    header = ("features", "classifier", "protocol", *corpora)
    title = f"Protocols side by side: {setup.title}"
    return make_table("protocols", title, header, rows, n_labels=3, notes=notes, cells=made)


def transfer_tables(
    cells: Sequence[CellOutcomes],
    found: Sequence[Crossing],
    drawn: Sequence[Curve],
    languages: Mapping[str, str],
    order: Order,
) -> list[Table]:
    """All tables of what was trained and tested across corpora."""
    tables = [transfer_table(crossing) for crossing in found]
    tables += scaling_tables(found)
    tables += [table for crossing in found if (table := language_table(crossing, languages))]
    return [*tables, *curve_tables(drawn), *protocol_tables(cells, order)]
