"""Cells -> what is behind a pooled value: the rule that chose settings, speakers, genders, sentences and seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from serbench.protocols import find_protocol
from serbench.report.comparisons import Matrix, Place, Setup, paired, paired_stack, stacks_by
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table, signed
from serbench.report.tables import MARK_NOTES, corpus_remarks, mark_of
from serbench.scores.metrics import METRICS
from serbench.scores.predictions import GROUPED_BY, CellPredictions
from serbench.scores.scores import Columns, long_table
from serbench.scores.statistics import difference_of, gap_interval, jackknife_interval

SAID_OFTEN = 10
"""Utterances from which on a sentence has a UAR worth printing; each emotion must be among them, too."""
GENDERS = ("female", "male")
_LABELS = ("corpus", "features", "classifier")


def group_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """One row per cell and speaker, gender or sentence: its UAR over the emotions it has, by the rule of the tables."""
    parts = []
    for cell in cells:
        for by in (by for by in GROUPED_BY if by in cell.rows):
            stack, groups = cell.stack(by), cell.coded(by)[1]
            columns: Columns = {"rule": [cell.rule] * len(groups), "by": [by] * len(groups), "group": groups}
            columns |= {"uar": list(map(METRICS["uar"], stack)), "war": METRICS["war"](stack).tolist()}
            columns |= {"n_emotions": stack.any(axis=2).sum(axis=1).tolist()}
            parts.append((cell, columns | {"n_utterances": stack.sum(axis=(1, 2)).tolist()}))
    return long_table(parts)


def rule_table(matrix: Matrix) -> Table | None:
    """Return what each rule of choosing a setting gives for the same cells, and what tuning on the test data adds."""
    rows = []
    for place, cell in matrix.in_order():
        if cell.is_outside:
            continue
        pooled = {rule: _uar(cell.stack(rule=rule)) for rule in cell.with_values}
        shown = [Entry(f"{pooled[r]:.3f}") if r in pooled else Entry(NOTHING) for r in ("nested", "default", "oracle")]
        claimed = Entry(NOTHING)
        if {"nested", "oracle"} <= set(pooled):
            oracle, nested, interval = paired(
                np.stack([cell.stack("unit", rule=rule) for rule in ("oracle", "nested")], axis=1)
            )
            claimed = Entry(signed(oracle - nested), bracketed(interval))
        folds = [METRICS["uar"](fold) for fold in cell.stack("fold")]
        spread = f"± {np.std(folds, ddof=1):.3f}" if len(folds) > 1 else ""
        rows.append((*_labels(place, cell), *shown, claimed, Entry(f"{np.mean(folds):.3f}", spread)))
    if not rows:  # other systems alone, of whose rules nothing is known
        return None
    notes = [
        "UAR over all test utterances of each cell. nested: settings chosen without the test speakers. oracle: the one "
        "setting that is best on the test data of the whole cell, as a paper tuned on its test set would have it (now "
        "and then below nested, which may take another setting for each fold).",
        "folds: mean over folds and its standard deviation (nested, or else default), each over the emotions it has.",
    ]
    for corpus in () if matrix.setup.is_of_people else matrix.corpora:  # whose folds may have one label alone
        lacking = []
        for cell in matrix.of_corpus(corpus)[:1]:
            for fold, confusion in stacks_by(cell, "fold").items():
                absent = [e for e, n in zip(cell.emotions, confusion.sum(axis=1), strict=True) if not n]
                lacking += [f"{fold}: {', '.join(absent)}"] if absent else []
        notes += [f"{corpus}: emotions that folds lack: {'; '.join(lacking)}."] if lacking else []
    header = ("nested", "default", "oracle", "oracle - nested", "folds")
    return _table("rules", "What the choice of rule does", matrix, header, rows, notes)


def speaker_table(matrix: Matrix) -> Table | None:
    """Return the weakest and the strongest speaker of each cell, and the gap between genders.

    A target that all utterances of a speaker share has none: each speaker's UAR would be one recall.
    """
    rows = []
    for place, cell in [] if matrix.setup.is_of_people else matrix.in_order():
        by_speaker = stacks_by(cell, "speaker")
        uars = {name: float(METRICS["uar"](confusion)) for name, confusion in by_speaker.items()}
        if uars:
            ends = min(uars, key=uars.__getitem__), max(uars, key=uars.__getitem__)
            named = [f"{name.removeprefix(f'{place[2]}/')}: {uars[name]:.3f}" for name in ends]
            rows.append((*_labels(place, cell), *named, *_genders(cell)))
    if not rows:
        return None
    header = ("weakest", "strongest", "female", "male", "f - m")
    notes = [
        "UAR over the emotions that a speaker has. Genders are pooled, over the emotions that both have; f - m with "
        "its 95 % interval, the speakers of each gender jackknifed by themselves.",
    ]
    return _table("speakers", "By speaker and gender", matrix, header, rows, notes)


def _genders(cell: CellPredictions) -> tuple[Entry, Entry, Entry]:
    """UAR of each gender over the emotions that both have, and their difference."""
    uar = METRICS["uar"]
    known = cell.coded("gender")[1] if "gender" in cell.rows else []
    units = {name: cell.stack("gender", "unit")[i] for i, name in enumerate(known) if name in GENDERS}
    pools = {gender: stack.sum(axis=0) for gender, stack in units.items()}
    if len(pools) < 2:
        alone = [Entry(f"{uar(pools[g]):.3f}" if g in pools else NOTHING) for g in GENDERS]
        return alone[0], alone[1], Entry(NOTHING)
    shared = np.all([pools[gender].any(axis=1) for gender in GENDERS], axis=0)[:, None]
    if not shared.any():
        return Entry(NOTHING), Entry(NOTHING), Entry(NOTHING)
    is_woman, is_man = (units[gender].any(axis=(1, 2)) for gender in GENDERS)
    female, male = units["female"][is_woman] * shared, units["male"][is_man] * shared
    if not (is_woman & is_man).any():
        interval = gap_interval(female, male, uar, bounds=(-1, 1))
    elif (is_woman == is_man).all():  # sessions of both, each of which is left out as a whole
        interval = jackknife_interval(np.stack([female, male], axis=1), difference_of(uar), bounds=(-1, 1))
    else:
        interval = None
    of_women, of_men = (float(uar(stack.sum(axis=0))) for stack in (female, male))
    gap = Entry(signed(of_women - of_men), bracketed(interval))
    return Entry(f"{of_women:.3f}"), Entry(f"{of_men:.3f}"), gap


def text_table(matrix: Matrix) -> Table | None:
    """Return the hardest and the easiest sentence of each cell, where corpora have the same sentences often."""
    rows = []
    for place, cell in matrix.in_order():
        by_text = stacks_by(cell, "text")
        often = {name: _uar(c) for name, c in by_text.items() if c.sum() >= SAID_OFTEN and c.any(axis=1).all()}
        if len(often) > 1:
            ends = min(often, key=often.__getitem__), max(often, key=often.__getitem__)
            shown = [f"{name}: {often[name]:.3f}" for name in ends]
            rows.append((*_labels(place, cell), *shown, f"{len(often)} of {len(by_text)}"))
    if not rows:
        return None
    held_out = find_protocol(matrix.setup.axes.protocol).holds_out_texts
    where = "other speakers' recordings of them are not in training" if held_out else "others say them in training too"
    notes = [f"UAR of sentences said with every emotion and at least {SAID_OFTEN} times; {where}."]
    return _table("texts", "By sentence", matrix, ("hardest", "easiest", "sentences"), rows, notes)


def held_out_tables(matrices: Sequence[Matrix]) -> list[Table]:
    """Return what holding out the sentences too changes, for what was run both ways."""
    tables = []
    usual_of = {m.setup.without("protocol"): m for m in matrices if m.setup.axes.protocol == "within"}
    for matrix in (m for m in matrices if find_protocol(m.setup.axes.protocol).holds_out_texts):
        within = usual_of.get(matrix.setup.without("protocol"))
        if within is None:
            continue
        rows, made = [], []
        for place, cell in matrix.in_order():
            other = within.cells.get(place)
            made += [c.provenance.key for c in (cell, other) if c is not None and c.with_values]
            if other is not None and {"nested"} <= set(cell.with_values) & set(other.with_values):
                independent, usual, interval = paired(paired_stack(cell, other, "nested"))
                change = Entry(signed(independent - usual), bracketed(interval))
                rows.append((*_labels(place, cell), f"{usual:.3f}", f"{independent:.3f}", change))
        header = ("within", "text-independent", "difference")
        notes = [
            "UAR (nested) on the utterances that both have, and the difference with its 95 % interval. Folds that hold "
            "out sentences train on less, which lowers values too: a difference does not show that sentences tell "
            "emotions.",
        ]
        title = "With the sentence held out too"
        tables.append(_table("held-out-texts", title, matrix, header, rows, notes, cells=made))
    return tables


def seed_tables(matrices: Sequence[Matrix]) -> list[Table]:
    """Mean and standard deviation over seeds of nested values, for what was run with more than one seed."""
    alike: dict[Setup, list[Matrix]] = {}
    for matrix in matrices:
        alike.setdefault(matrix.setup.without("seed"), []).append(matrix)
    tables = []
    for of_seeds in (of for of in alike.values() if len(of) > 1):
        values: dict[Place, list[float]] = {}
        for matrix in of_seeds:
            for place, cell in matrix.in_order():
                if "nested" in cell.with_values:
                    scored = matrix.pools[place[2]].of(cell)
                    values.setdefault(place, []).append(_uar(scored.stack(rule="nested")))
        corpora = sorted({place[2] for place in values})
        rows = []
        for row in dict.fromkeys(place[:2] for place in values):
            entries = []
            for of in (values.get((*row, corpus), []) for corpus in corpora):
                spread = f"± {np.std(of, ddof=1):.3f}" if len(of) > 1 else "(one seed)"
                entries.append(Entry(f"{np.mean(of):.3f}", spread) if of else Entry(NOTHING))
            rows.append((*row, *entries))
        seeds = ", ".join(str(matrix.setup.axes.seed) for matrix in of_seeds)
        title = f"Over seeds: UAR (nested): {of_seeds[0].setup.title.rpartition(', seed')[0]}"
        first = f"Mean and standard deviation over seeds {seeds}; what does not draw at random has 0."
        notes = (first, *dict.fromkeys(remark for matrix in of_seeds for remark in corpus_remarks(matrix)))
        made, header = [key for matrix in of_seeds for key in matrix.keys], ("features", "classifier", *corpora)
        if rows:
            tables.append(make_table("seeds", title, header, rows, n_labels=2, notes=notes, cells=made))
    return tables


def _uar(confusion: np.ndarray) -> float:
    """UAR of a pool, NaN where it misses an emotion."""
    return METRICS["uar"](confusion) if confusion.any(axis=1).all() else math.nan


def _labels(place: Place, cell: CellPredictions) -> tuple[str, str, str]:
    features, classifier, corpus = place
    return corpus, features, classifier + mark_of(cell)


def _table(
    stem: str,
    title: str,
    matrix: Matrix,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: Sequence[str],
    *,
    cells: Iterable[str] = (),
) -> Table:
    """Make a table with a row per cell; its notes end with what every table must say of its corpora."""
    shown = {str(row[2])[-1:] for row in rows}
    marked = [note for mark, note in MARK_NOTES.items() if mark in shown]
    notes, made = [*notes, *corpus_remarks(matrix), *marked], list(cells) or matrix.keys
    title = f"{title}: {matrix.setup.title}"
    return make_table(stem, title, (*_LABELS, *header), rows, n_labels=3, notes=notes, cells=made, facets=matrix.facets)


BREAKDOWNS: tuple[Callable[[Matrix], Table | None], ...] = (rule_table, speaker_table, text_table)
"""Tables that each matrix has besides those of the paper, where its corpora have what they tell of."""
