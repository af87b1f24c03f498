"""Cells -> what is behind a pooled value: the rule that chose settings, speakers, genders, sentences and seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from serbench.corpora.tasks import OF_PEOPLE
from serbench.protocols import find_protocol
from serbench.report.comparisons import Matrix, Place, Setup, mark_of, paired, paired_stack, table_of
from serbench.report.table import NOTHING, Entry, Table, bracketed, signed
from serbench.scores.metrics import METRICS, uar_of_each
from serbench.scores.predictions import GROUPED_BY, CellPredictions
from serbench.scores.scores import Columns, long_table
from serbench.scores.statistics import difference_of, gap_interval, jackknife_interval

SAID_OFTEN = 10
"""Utterances from which on a sentence has a UAR worth printing; each emotion must be among them, too."""
GENDERS = ("female", "male")
RULES_COMPARED = (("nested", "default"), ("oracle", "nested"))
"""Rules whose difference a table gives: what tuning brings, and what tuning on the test data would have claimed."""


def group_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """One row per cell and speaker, gender or sentence: its UAR over the emotions it has, by the rule of the tables."""
    parts = []
    for cell in cells:
        for by in (by for by in GROUPED_BY if by in cell.utterances.rows):
            stack, groups = cell.stack(by), cell.values(by)
            columns: Columns = {"rule": [cell.rule] * len(groups), "by": [by] * len(groups), "group": groups}
            columns |= {"uar": uar_of_each(stack), "war": METRICS["war"](stack).tolist()}
            columns |= {"n_emotions": stack.any(axis=2).sum(axis=1).tolist()}
            parts.append((cell, columns | {"n_utterances": stack.sum(axis=(1, 2)).tolist()}))
    return long_table(parts)


def rule_table(matrix: Matrix) -> Table | None:
    """Return what each rule of choosing a setting gives for the same cells, and what tuning on the test data adds."""
    rows, lacking, gains = [], dict[str, dict[str, None]](), [list[float]() for _ in RULES_COMPARED]
    for place, cell in matrix.in_order():
        if cell.is_outside:
            continue
        pooled = {rule: _uar(cell.stack(rule=rule)) for rule in cell.with_values}
        shown = [Entry(f"{pooled[r]:.3f}") if r in pooled else Entry(NOTHING) for r in ("nested", "default", "oracle")]
        for i, (rule, other) in enumerate(RULES_COMPARED):
            shown.append(Entry(NOTHING))
            if {rule, other} <= set(pooled):
                one, two, interval = paired(np.stack([cell.stack("unit", rule=r) for r in (rule, other)], axis=1))
                shown[-1] = Entry(signed(one - two), bracketed(interval, digits=3))
                if len(cell.record.settings) > 1:
                    gains[i].append(one - two)
        of_fold = _stacks_by(cell, "fold")
        folds = [METRICS["uar"](fold) for fold in of_fold.values()]
        spread = f"± {np.std(folds, ddof=1):.3f}" if len(folds) > 1 else ""
        rows.append((*_labels(place, cell), *shown, Entry(f"{np.mean(folds):.3f}", spread)))
        for fold, confusion in of_fold.items():
            absent = [e for e, n in zip(cell.emotions, confusion.sum(axis=1), strict=True) if not n]
            if absent and matrix.setup.target not in OF_PEOPLE:  # whose folds may have one label alone
                lacking.setdefault(place[2], {})[f"{fold}: {', '.join(absent)}"] = None
    notes = [
        "UAR over all test utterances of each cell. nested: settings chosen without the test speakers. oracle: the one "
        "setting that is best on the test data of the whole cell, as a paper tuned on its test set would have it (now "
        "and then below nested, which may take another setting for each fold).",
        *(
            f"Mean of {rule} - {other} over {len(of)} cells with settings to choose from: {signed(float(np.mean(of)))}."
            for (rule, other), of in zip(RULES_COMPARED, gains, strict=True)
            if of
        ),
        "folds: mean over folds and its standard deviation (nested, or else default), each over the emotions it has.",
        *(f"{corpus}: emotions that folds lack: {'; '.join(of)}." for corpus, of in lacking.items()),
    ]
    header = ("nested", "default", "oracle", *map(" - ".join, RULES_COMPARED), "folds")
    return _table("rules", "What the choice of rule does", matrix, header, rows, notes)


def speaker_table(matrix: Matrix) -> Table | None:
    """Return the weakest and the strongest speaker of each cell, and the gap between genders.

    A target that all utterances of a speaker share has none: each speaker's UAR would be one recall.
    """
    rows = []
    for place, cell in [] if matrix.setup.target in OF_PEOPLE else matrix.in_order():
        by_speaker = _stacks_by(cell, "speaker")
        uars = {n.removeprefix(f"{place[2]}/"): float(METRICS["uar"](of)) for n, of in by_speaker.items()}
        rows += [(*_labels(place, cell), *_ends(uars), *_genders(cell))] if uars else []
    header = ("weakest", "strongest", "female", "male", "f - m")
    notes = [
        "UAR over the emotions that a speaker has. Genders are pooled, over the emotions that both have; f - m with "
        "its 95 % interval, the speakers of each gender jackknifed by themselves.",
    ]
    return _table("speakers", "By speaker and gender", matrix, header, rows, notes)


def _genders(cell: CellPredictions) -> tuple[Entry, Entry, Entry]:
    """UAR of each gender over the emotions that both have, and their difference."""
    uar = METRICS["uar"]
    units = {g: cell.stack("gender", "unit")[i] for i, g in enumerate(cell.values("gender")) if g in GENDERS}
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
        by_text = _stacks_by(cell, "text")
        often = {name: _uar(c) for name, c in by_text.items() if c.sum() >= SAID_OFTEN and c.any(axis=1).all()}
        if len(often) > 1:
            rows.append((*_labels(place, cell), *_ends(often), f"{len(often)} of {len(by_text)}"))
    held_out = find_protocol(matrix.setup.axes.protocol).holds_out_texts
    where = "other speakers' recordings of them are not in training" if held_out else "others say them in training too"
    notes = [f"UAR of sentences said with every emotion and at least {SAID_OFTEN} times; {where}."]
    return _table("texts", "By sentence", matrix, ("hardest", "easiest", "sentences"), rows, notes)


def held_out_tables(matrices: Sequence[Matrix]) -> list[Table]:
    """Return what holding out the sentences too changes, for what was run both ways."""
    tables: list[Table] = []
    usual_of = {m.setup.without("protocol"): m for m in matrices if m.setup.axes.protocol == "within"}
    for matrix in (m for m in matrices if find_protocol(m.setup.axes.protocol).holds_out_texts):
        within = usual_of.get(matrix.setup.without("protocol"))
        rows, cells = [], []
        for place, cell in matrix.in_order() if within else ():
            other = within.cells.get(place) if within else None
            if other is not None and {"nested"} <= set(cell.with_values) & set(other.with_values):
                independent, usual, interval = paired(paired_stack(cell, other, "nested"))
                change = Entry(signed(independent - usual), bracketed(interval))
                rows.append((*_labels(place, cell), f"{usual:.3f}", f"{independent:.3f}", change))
                cells += [cell, other]
        header = ("within", "text-independent", "difference")
        notes = [
            "UAR (nested) on the utterances that both have, and the difference with its 95 % interval. Folds that hold "
            "out sentences train on less, which lowers values too: a difference does not show that sentences tell "
            "emotions.",
        ]
        title = "With the sentence held out too"
        tables += filter(None, [_table("held-out-texts", title, matrix, header, rows, notes, cells)])
    return tables


def seed_tables(matrices: Sequence[Matrix]) -> list[Table]:
    """Mean and standard deviation over seeds of nested values, for what was run with more than one seed."""
    alike: dict[Setup, list[Matrix]] = {}
    for matrix in matrices:
        alike.setdefault(matrix.setup.without("seed"), []).append(matrix)
    tables = []
    for of_seeds in (of for of in alike.values() if len(of) > 1):
        values: dict[Place, list[float]] = {}
        for place, cell in (item for matrix in of_seeds for item in matrix.scored.items()):
            if "nested" in cell.with_values:
                values.setdefault(place, []).append(_uar(cell.stack(rule="nested")))
        corpora = sorted({place[2] for place in values})
        rows = []
        for row in (row for row in of_seeds[0].rows if any(place[:2] == row for place in values)):
            entries = []
            for of in (values.get((*row, corpus), []) for corpus in corpora):
                spread = f"± {np.std(of, ddof=1):.3f}" if len(of) > 1 else "(one seed)"
                entries.append(Entry(f"{np.mean(of):.3f}", spread) if of else Entry(NOTHING))
            rows.append((*row, *entries))
        seeds = ", ".join(str(matrix.setup.axes.seed) for matrix in of_seeds)
        title = f"Over seeds: UAR (nested): {of_seeds[0].setup.title.rpartition(', seed')[0]}"
        notes = [f"Mean and standard deviation over seeds {seeds}; what does not draw at random has 0."]
        cells, header = [c for m in of_seeds for c in m.compared.values()], ("features", "classifier", *corpora)
        tables += [table_of("seeds", title, header, rows, cells, n_labels=2, notes=notes)] if rows else []
    return tables


def _uar(confusion: np.ndarray) -> float:
    """UAR of a pool, NaN where it misses an emotion."""
    return METRICS["uar"](confusion) if confusion.any(axis=1).all() else math.nan


def _stacks_by(cell: CellPredictions, by: str) -> dict[str, np.ndarray]:
    """Value of a column of predictions -> confusion matrix; empty where the corpus does not know the column."""
    names = cell.values(by)
    return dict(zip(names, cell.stack(by), strict=True)) if names else {}


def _ends(uars: Mapping[str, float]) -> list[str]:
    """Name the lowest and the highest value."""
    return [f"{name}: {uars[name]:.3f}" for name in (min(uars, key=uars.__getitem__), max(uars, key=uars.__getitem__))]


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
    cells: Iterable[CellPredictions] = (),
) -> Table | None:
    """Make a table with a row per cell of a matrix; None without rows."""
    title, whole = f"{title}: {matrix.setup.title}", ("corpus", "features", "classifier", *header)
    of = list(cells) or [cell for _, cell in matrix.in_order()]
    return table_of(stem, title, whole, rows, of, n_labels=3, notes=notes, facets=matrix.facets) if rows else None


BREAKDOWNS: tuple[Callable[[Matrix], Table | None], ...] = (rule_table, speaker_table, text_table)
"""Tables that each matrix has besides those of the paper, where its corpora have what they tell of."""
