"""Cells -> what lies behind a pooled value: the rule that chose settings, speakers, genders, sentences, seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from serbench.protocols import find_protocol
from serbench.report.comparisons import claimed_gain
from serbench.report.matrices import Matrix, Place, Variant, in_corpus_order
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table, signed
from serbench.report.tables import MARK_NOTES, corpus_remarks, mark_of
from serbench.scores.metrics import METRICS, uar_of_present
from serbench.scores.outcomes import GROUPED_BY, CellOutcomes, Outcome
from serbench.scores.scores import fold_stack, pool_confusion
from serbench.scores.statistics import STATISTICS, Interval, difference_of, gap_interval, jackknife_interval

SAID_OFTEN = 10
"""Utterances from which on a sentence has a UAR worth printing; it must have been said with every emotion, too."""
GENDERS = ("female", "male")


def group_table(cells: Iterable[CellOutcomes]) -> pd.DataFrame:
    """One row per cell and speaker, gender or sentence: its UAR over the emotions it has, by the headline rule."""
    rows = [
        {**cell.fields, "rule": outcome.rule, "by": by, "group": name, **_summed(confusion)}
        for cell, outcome in _headlines(cells)
        for by in GROUPED_BY
        for name, confusion in _confusions_by(cell, outcome, by).items()
    ]
    return pd.DataFrame(rows, columns=None if rows else ["corpus", "by", "group"])


def _summed(confusion: np.ndarray) -> dict[str, Any]:
    present = confusion.sum(axis=1) > 0
    return {
        "uar": uar_of_present(confusion),
        "war": METRICS["war"](confusion),
        "n_emotions": int(present.sum()),
        "n_utterances": int(confusion.sum()),
    }


def rule_table(matrix: Matrix) -> Table | None:
    """What each rule of choosing a setting says of the same cells, and what tuning on the test data adds."""
    rows = []
    of_grid = [(place, cell) for place, cell in in_corpus_order(matrix) if not cell.is_outside]
    for place, cell in of_grid:
        values = {rule: f"{_uar(pool_confusion(cell, outcome)):.3f}" for rule, outcome in cell.outcomes.items()}
        shown = [Entry(values.get(rule, NOTHING)) for rule in ("nested", "default", "oracle")]
        rows.append((*_labels(place, cell), *shown, _claimed(cell), _over_folds(cell)))
    if not rows:  # other systems alone, of whose rules nothing is known
        return None
    header = ("corpus", "features", "classifier", "nested", "default", "oracle", "oracle - nested", "folds")
    notes = [
        "UAR over all test utterances of each cell. nested: settings chosen without the test speakers. oracle: the one "
        "setting that is best on the test data of the whole cell, as a paper tuned on its test set would have it (now "
        "and then below nested, which may take another setting for each fold).",
        "folds: mean over folds and its standard deviation (nested, or else default), each over the emotions it has.",
        *_lacking(matrix),
    ]
    return _table("rules", "What the choice of rule does", matrix, header, rows, notes)


def speaker_table(matrix: Matrix) -> Table | None:
    """The weakest and the strongest speaker of each cell, and the gap between genders; None where none is known.

    A target that all utterances of a speaker share has none: each speaker's UAR would be one recall.
    """
    if matrix.variant.is_of_people:
        return None
    rows = []
    for place, cell in in_corpus_order(matrix):
        outcome = _headline(cell)
        uars = {name: uar_of_present(c) for name, c in _confusions_by(cell, outcome, "speaker").items()}
        if uars:
            ends = min(uars, key=uars.__getitem__), max(uars, key=uars.__getitem__)
            named = [_named(cell, name, uars[name]) for name in ends]
            rows.append((*_labels(place, cell), *named, *_genders(cell, outcome)))
    if not rows:
        return None
    header = ("corpus", "features", "classifier", "weakest", "strongest", "female", "male", "f - m")
    notes = [
        "UAR over the emotions that a speaker has. Genders are pooled, over the emotions that both have; f - m with "
        "its 95 % interval, the speakers of each gender jackknifed by themselves.",
    ]
    return _table("speakers", "By speaker and gender", matrix, header, rows, notes)


def text_table(matrix: Matrix) -> Table | None:
    """The hardest and the easiest sentence of each cell; None where no corpus says the same sentences often."""
    rows = []
    for place, cell in in_corpus_order(matrix):
        by_text = _confusions_by(cell, _headline(cell), "text")
        often = {name: _uar(c) for name, c in by_text.items() if c.sum() >= SAID_OFTEN and c.sum(axis=1).all()}
        if len(often) > 1:
            ends = min(often, key=often.__getitem__), max(often, key=often.__getitem__)
            shown = [Entry(f"{name}: {often[name]:.3f}") for name in ends]
            rows.append((*_labels(place, cell), *shown, Entry(f"{len(often)} of {len(by_text)}")))
    if not rows:
        return None
    header = ("corpus", "features", "classifier", "hardest", "easiest", "sentences")
    held_out = find_protocol(matrix.variant.protocol).holds_out_texts
    where = "other speakers' recordings of them are not in training" if held_out else "others say them in training too"
    notes = [f"UAR of sentences said with every emotion and at least {SAID_OFTEN} times; {where}."]
    return _table("texts", "By sentence", matrix, header, rows, notes)


def held_out_tables(matrices: Sequence[Matrix]) -> list[Table]:
    """What holding out the sentences too changes, for what was run both ways."""
    by_variant = {matrix.variant: matrix for matrix in matrices}
    holding_out = [m for m in matrices if find_protocol(m.variant.protocol).holds_out_texts]
    pairs = [(by_variant.get(replace(m.variant, protocol="within")), m) for m in holding_out]
    return [_held_out_table(within, without) for within, without in pairs if within]


def _held_out_table(within: Matrix, without: Matrix) -> Table:
    rows = []
    for place, cell in in_corpus_order(without):
        other = within.cells.get(place)
        if other is not None and {"nested"} <= set(cell.outcomes) & set(other.outcomes):
            rows.append((*_labels(place, cell), *_fall(other, cell)))
    header = ("corpus", "features", "classifier", "within", "text-independent", "difference")
    notes = [
        "UAR (nested) on the utterances that both have, and the difference with its 95 % interval. Folds that hold out "
        "sentences train on less, which lowers values too: a difference does not show that sentences tell emotions.",
    ]
    table = _table("held-out-texts", "With the sentence held out too", without, header, rows, notes)
    compared = [m.cells[place] for m in (within, without) for place in without.cells if place in m.cells]
    return replace(table, cells=tuple(sorted({cell.provenance.key for cell in compared if cell.outcomes})))


def _fall(within: CellOutcomes, without: CellOutcomes) -> tuple[Entry, ...]:
    one, other = within.outcomes["nested"], without.outcomes["nested"]
    both = sorted(set(one.predictions) & set(other.predictions))
    uars = _uar(pool_confusion(within, one, both)), _uar(pool_confusion(without, other, both))
    interval = difference_interval(without, other, within, one)
    return (*(Entry(f"{uar:.3f}") for uar in uars), Entry(signed(uars[1] - uars[0]), aside=bracketed(interval)))


def seed_tables(matrices: Sequence[Matrix]) -> list[Table]:
    """Mean and standard deviation over seeds of nested values, for what was run with more than one seed."""
    alike: dict[Variant, list[Matrix]] = {}
    for matrix in matrices:
        alike.setdefault(replace(matrix.variant, seed=0), []).append(matrix)
    tables = [_seed_table(of) for of in alike.values() if len(of) > 1]
    return [table for table in tables if len(table.body)]


def _seed_table(matrices: Sequence[Matrix]) -> Table:
    values: dict[Place, list[float]] = {}
    for matrix in matrices:
        for place, cell in in_corpus_order(matrix):
            if "nested" in cell.outcomes:
                common = matrix.scored_on(place)
                values.setdefault(place, []).append(_uar(pool_confusion(cell, cell.outcomes["nested"], common)))
    corpora = sorted({place[2] for place in values})
    rows = [
        (Entry(row[0]), Entry(row[1]), *(_mean_entry(values.get((*row, corpus), [])) for corpus in corpora))
        for row in dict.fromkeys(place[:2] for place in values)
    ]
    seeds = ", ".join(str(matrix.variant.seed) for matrix in matrices)
    title = f"Over seeds: UAR (nested): {matrices[0].variant.title.rpartition(', seed')[0]}"
    told = f"Mean and standard deviation over seeds {seeds}; what does not draw at random has 0."
    notes = (told, *dict.fromkeys(remark for matrix in matrices for remark in corpus_remarks(matrix)))
    made = [c.provenance.key for matrix in matrices for c in matrix.cells.values() if c.outcomes]
    header = ("features", "classifier", *corpora)
    return make_table("seeds", title, header, rows, n_labels=2, notes=notes, cells=made)


def _mean_entry(values: Sequence[float]) -> Entry:
    if not values:
        return Entry(NOTHING)
    if len(values) == 1:
        return Entry(f"{values[0]:.3f}", aside="(one seed)")
    return Entry(f"{np.mean(values):.3f}", aside=f"± {np.std(values, ddof=1):.3f}")


def _headline(cell: CellOutcomes) -> Outcome:
    return cell.headline or cell.outcomes["default"]


def _headlines(cells: Iterable[CellOutcomes]) -> Iterator[tuple[CellOutcomes, Outcome]]:
    return ((cell, _headline(cell)) for cell in cells if cell.outcomes)


def _uar(confusion: np.ndarray) -> float:
    """UAR of a pool, NaN where it lacks an emotion."""
    return METRICS["uar"](confusion) if confusion.sum(axis=1).all() else math.nan


def _confusions_by(cell: CellOutcomes, outcome: Outcome, by: str) -> dict[str, np.ndarray]:
    """Confusion matrices by speaker, gender or sentence; empty where the corpus does not know it."""
    groups: dict[str, list[str]] = {}
    known = cell.groups.get(by, {})
    for utterance in sorted(outcome.predictions):
        if utterance in known:
            groups.setdefault(known[utterance], []).append(utterance)
    return {name: pool_confusion(cell, outcome, groups[name]) for name in sorted(groups)}


def _labels(place: Place, cell: CellOutcomes) -> tuple[Entry, Entry, Entry]:
    features, classifier, corpus = place
    return Entry(corpus), Entry(features), Entry(classifier + mark_of(cell))


def _claimed(cell: CellOutcomes) -> Entry:
    """What the oracle has more than the nested rule, with its interval."""
    if not {"nested", "oracle"} <= set(cell.outcomes):
        return Entry(NOTHING)
    interval = difference_interval(cell, cell.outcomes["oracle"], cell, cell.outcomes["nested"])
    return Entry(signed(claimed_gain(cell)), aside=bracketed(interval))


def difference_interval(
    cell: CellOutcomes, outcome: Outcome, other_cell: CellOutcomes, other: Outcome
) -> Interval | None:
    """Interval of the difference in UAR between two sets of predictions, on the utterances that both have."""
    both = sorted(set(outcome.predictions) & set(other.predictions))
    by_unit: dict[str, list[str]] = {}
    for utterance in both:
        by_unit.setdefault(cell.units[utterance], []).append(utterance)
    stack = np.stack(
        [
            np.stack([pool_confusion(cell, outcome, us), pool_confusion(other_cell, other, us)])
            for us in by_unit.values()
        ]
    )
    return jackknife_interval(stack, difference_of(STATISTICS["uar"]), bounds=(-1, 1))


def _over_folds(cell: CellOutcomes) -> Entry:
    folds = [uar_of_present(fold) for fold in fold_stack(cell, _headline(cell)).sum(axis=0)]
    return Entry(f"{np.mean(folds):.3f}", aside=f"± {np.std(folds, ddof=1):.3f}" if len(folds) > 1 else "")


def _lacking(matrix: Matrix) -> Iterator[str]:
    """Name the folds of each corpus that lack an emotion; of another target's labels a speaker may have but one."""
    for corpus in () if matrix.variant.is_of_people else matrix.corpora:
        cell = next((c for p, c in in_corpus_order(matrix) if p[2] == corpus), None)
        lacks = _emotions_lacking(cell) if cell else {}
        if lacks:
            named = "; ".join(f"{fold}: {', '.join(emotions)}" for fold, emotions in lacks.items())
            yield f"{corpus}: emotions that folds lack: {named}."


def _emotions_lacking(cell: CellOutcomes) -> Mapping[str, list[str]]:
    lacking = {}
    for fold, utterances in cell.folds.items():
        there = {cell.truth[u] for u in utterances}
        lacking[fold] = [emotion for code, emotion in enumerate(cell.emotions) if code not in there]
    return {fold: emotions for fold, emotions in lacking.items() if emotions}


def _named(cell: CellOutcomes, speaker: str, uar: float) -> Entry:
    return Entry(f"{speaker.removeprefix(cell.cell['corpus'] + '/')}: {uar:.3f}")


def _genders(cell: CellOutcomes, outcome: Outcome) -> tuple[Entry, Entry, Entry]:
    by_unit = _by_gender_and_unit(cell, outcome)
    pools = {gender: np.stack(list(units.values())).sum(axis=0) for gender, units in by_unit.items()}
    if not set(GENDERS) <= set(pools):
        alone = [Entry(f"{uar_of_present(pools[g]):.3f}") if g in pools else Entry(NOTHING) for g in GENDERS]
        return alone[0], alone[1], Entry(NOTHING)
    shared = np.logical_and(*(pools[gender].any(axis=1) for gender in GENDERS))
    female, male = (float(STATISTICS["uar"](pools[gender] * shared[:, None])) for gender in GENDERS)
    if math.isnan(female):  # no emotion is said by both
        return Entry(NOTHING), Entry(NOTHING), Entry(NOTHING)
    interval = _gap_interval(by_unit, shared)
    return Entry(f"{female:.3f}"), Entry(f"{male:.3f}"), Entry(signed(female - male), aside=bracketed(interval))


def _by_gender_and_unit(cell: CellOutcomes, outcome: Outcome) -> dict[str, dict[str, np.ndarray]]:
    """Confusion matrices by gender and independent unit."""
    groups: dict[str, dict[str, list[str]]] = {}
    known = cell.groups.get("gender", {})
    for utterance in sorted(outcome.predictions):
        if utterance in known:
            of_unit = groups.setdefault(known[utterance], {})
            of_unit.setdefault(cell.units[utterance], []).append(utterance)
    return {g: {u: pool_confusion(cell, outcome, us) for u, us in sorted(of.items())} for g, of in groups.items()}


def _gap_interval(by_unit: Mapping[str, Mapping[str, np.ndarray]], shared: np.ndarray) -> Interval | None:
    """Interval of the gap between genders; in sessions of both, each session is left out as a whole."""
    women, men = (by_unit[gender] for gender in GENDERS)
    female, male = (np.stack(list(units.values())) * shared[:, None] for units in (women, men))
    if not set(women) & set(men):
        return gap_interval(female, male, STATISTICS["uar"], bounds=(-1, 1))
    if set(women) != set(men):
        return None
    return jackknife_interval(np.stack([female, male], axis=1), difference_of(STATISTICS["uar"]), bounds=(-1, 1))


def _table(
    stem: str,
    title: str,
    matrix: Matrix,
    header: tuple[str, ...],
    rows: Sequence[tuple[Entry, ...]],
    notes: Sequence[str],
) -> Table:
    whole = f"{title}: {matrix.variant.title}"
    shown = {row[2].text[-1:] for row in rows}
    told = [*notes, *corpus_remarks(matrix), *(note for mark, note in MARK_NOTES.items() if mark in shown)]
    return make_table(stem, whole, header, rows, n_labels=3, notes=told, cells=matrix.keys)


BREAKDOWNS: tuple[Callable[[Matrix], Table | None], ...] = (rule_table, speaker_table, text_table)
"""Tables that each matrix has besides those of the paper, where its corpora have what they tell of."""
