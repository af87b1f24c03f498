"""Cells and indexes -> the tables of a paper: Table 1 (data), Table 2 (scores), recalls and confusion matrices."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from serbench.corpora.divisions import confounded
from serbench.corpora.entry import EMOTIONS
from serbench.corpora.index import index_fingerprint
from serbench.protocols import find_protocol
from serbench.report.comparisons import (
    LACKING_AT_MOST,
    Matrix,
    Place,
    ranking,
)
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table
from serbench.scores.metrics import FOLD_METRICS, METRICS, recalls
from serbench.scores.predictions import CellPredictions
from serbench.scores.scores import Row, values_by
from serbench.scores.statistics import ALPHA, SHARES, Interval, smallest_p

DEFAULT_MARK = "°"
OUTSIDE_MARK = "†"
SHORT_MARK = "‡"
MARK_NOTES = {
    DEFAULT_MARK: f"{DEFAULT_MARK} default setting, as there is no nested one.",
    OUTSIDE_MARK: f"{OUTSIDE_MARK} predictions from outside; how that system was trained and tuned is not checked.",
}
"""What the marks behind classifiers mean."""
MARKS = {"worse": "", "": "", "tie": "≈", "untestable": "?", "better": "↑"}
"""What is behind a value, by the verdict on it."""
RANKS_NAMED = 3
"""Methods that a note names with their mean ranks."""

TITLES = {"uar": "unweighted average recall (UAR)", "war": "accuracy (WAR)", "kappa": "Cohen's kappa"}
"""Metrics whose Table 2 is a file."""
METRIC_NAMES = {
    **{metric: f"{title[0].upper()}{title[1:]}" for metric, title in TITLES.items()},
    "macro_f1": "Macro F1",
    "uar_folds": "UAR, mean over folds",
    "war_folds": "Accuracy (WAR), mean over folds",
}
"""Every metric in words."""
RULE_NAMES = {
    "nested": "settings chosen by nested validation",
    "default": "default settings",
    "oracle": "oracle, settings tuned on the test data",
    "given": "predictions from outside",
}
"""How settings were chosen, in words."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """The index of a corpus with what its copy misses."""

    name: str
    index: pd.DataFrame
    language: str
    partial: str


def data_table(corpora: Sequence[Indexed]) -> Table:
    """Table 1: what each corpus has, all its emotions included."""
    facts, notes = [], []
    for c in corpora:
        counts, rates = c.index["emotion"].value_counts(), sorted(c.index["sampling_rate"].dropna().unique())
        n = c.index["speaker"].nunique()
        speakers = str(n) if n else "unknown"
        if n and "gender" in c.index:
            by_sex = c.index.groupby("gender")["speaker"].nunique()
            speakers = f"{n} ({', '.join(f'{of_sex} {str(sex)[0]}' for sex, of_sex in by_sex.items())})"
        facts.append(
            {
                "language": c.language,
                "speakers": speakers,
                "utterances": len(c.index),
                **{emotion: counts.get(emotion, 0) for emotion in EMOTIONS},
                "no emotion": c.index["emotion"].isna().sum(),
                "unusable": (c.index["problem"].notna() | c.index["duplicate"].notna()).sum(),
                "minutes": f"{c.index['duration_s'].sum() / 60:.1f}",
                "mean duration, s": f"{c.index['duration_s'].mean():.2f}",
                "sampling rate, kHz": ", ".join(f"{rate / 1000:g}" for rate in rates) or NOTHING,
            }
        )
        labelled = c.index[c.index["emotion"].notna() & c.index["speaker"].notna()]
        remarks = [c.partial, confounded(labelled, "speaker") if len(labelled) else ""]
        notes += [f"{c.name}: {'; '.join(filter(None, remarks))}."] if any(remarks) else []
    body = pd.DataFrame(facts, dtype=object).T
    body = body[[name not in EMOTIONS or body.loc[name].any() for name in body.index]]
    made = [f"{c.name} {index_fingerprint(c.index)}" for c in corpora]
    title, header = "Table 1. Data statistics", ("", *(c.name for c in corpora))
    return make_table("table1", title, header, body.itertuples(), n_labels=1, notes=notes, cells=made)


def score_matrix(matrix: Matrix, metric: str, rule: str) -> Table:
    """Table 2 by one metric and rule: values with intervals, the best of each corpus in bold, chance on top.

    By `nested`, predictions of other systems have their own value, and a cell without a nested value its default.
    """
    compared = [row for row in matrix.differences if row["metric"] == metric] if rule == "nested" else []
    verdicts = {(row["features"], row["classifier"], row["corpus"]): row["verdict"] for row in compared}
    rules = {place: cell.rule if rule == "nested" else rule for place, cell in matrix.scored.items()}
    scored = {place: cell for place, cell in matrix.scored.items() if rules[place] in cell.with_values}
    scores = {place: values_by(cell, rules[place])[metric] for place, cell in scored.items()}
    contenders: dict[str, list[float]] = {}
    for place, cell in scored.items():
        if _is_contender(cell, rule):
            contenders.setdefault(place[2], []).append(scores[place]["value"])
    best = {corpus: max(of) for corpus, of in contenders.items() if len(of) > 1}

    def entry(place: Place) -> Entry:
        if place not in scored:
            return Entry(NOTHING, key=matrix.cells[place].provenance.key if place in matrix.cells else "")
        cell, value, low, high = scored[place], *(scores[place][name] for name in ("value", "low", "high"))
        marks = DEFAULT_MARK if rule == "nested" and not cell.is_chosen else ""
        text = f"{value:.3f}{marks}{SHORT_MARK if cell.is_short else ''}"
        interval = None if low is None else Interval(low, high, scores[place]["n_units"])
        aside = f"{bracketed(interval)} {MARKS[verdicts.get(place, '')]}".strip()
        is_best = _is_contender(cell, rule) and value == best.get(place[2])
        return Entry(text, aside, is_best, value, cell.provenance.key)

    rows = []
    for features, classifier in matrix.rows:
        name = classifier + (OUTSIDE_MARK if matrix.is_outside((features, classifier)) else "")
        rows.append((features, name, *(entry((features, classifier, corpus)) for corpus in matrix.corpora)))
    is_file = rule == "nested" and metric in TITLES
    name = f"Table 2. {METRIC_NAMES[metric]}" if is_file else f"{METRIC_NAMES[metric]}, {RULE_NAMES[rule]}"
    return make_table(
        f"table2-{metric}" + ("" if rule == "nested" else f"-{rule}"),
        f"{name}: {matrix.setup.title}",
        ("features", "classifier", *matrix.corpora),
        [*_chance_rows(matrix, metric), *rows],
        n_labels=2,
        notes=_score_notes(matrix, metric, rule, scores, compared),
        cells=matrix.keys,
        facets={**matrix.facets, "metric": metric, "rule": rule},
    )


def _is_contender(cell: CellPredictions, rule: str) -> bool:
    """Whether a value can be the best of its corpus."""
    return not (cell.is_short or cell.is_reference) and (rule != "nested" or cell.is_chosen)


def _chance_rows(matrix: Matrix, metric: str) -> list[tuple[str, ...]]:
    """Chance by corpus: one emotion at random (UAR), always the most frequent one (WAR); other metrics have none."""
    if metric not in TITLES:
        return []
    shown = []
    for corpus in matrix.corpora:
        of_corpus = (cell for place, cell in matrix.scored.items() if place[2] == corpus and not cell.is_short)
        cell = next(of_corpus, None)
        if cell is None:
            shown.append(NOTHING)
            continue
        counts = cell.of()["truth"].value_counts()
        chance = {"uar": 1 / len(cell.emotions), "war": counts.max() / counts.sum(), "kappa": 0.0}
        shown.append(f"{chance[metric]:.3f}")
    return [("chance", "", *shown)]


def _score_notes(
    matrix: Matrix, metric: str, rule: str, values: Collection[Place], compared: Sequence[Row]
) -> Iterator[str]:
    """Yield what a reader of Table 2 must know: how values came about, what marks mean, and what is missing."""
    setup, cells = matrix.setup, [cell for _, cell in matrix.in_order()]
    persons = set(matrix.persons.values())
    apart = f"{persons.pop()}-independent " if len(persons) == 1 else ""
    tuning = {
        "nested": f"Settings are chosen by nested {apart}validation. ",
        "default": "Every classifier has its default setting. ",
        "oracle": "Oracle: the one setting that is best on the test data of each cell, so most values are too high. ",
    }[rule]
    is_tuned = rule != "nested" or any("nested" in cell.with_values for cell in cells)
    over_folds, over_all = "means over folds, each over the emotions it has", "pooled over all test utterances"
    pooled = over_folds if metric in FOLD_METRICS else over_all
    chance = f" Chance: one {setup.label} at random (UAR), always the most frequent one (WAR)."
    described = setup.described(matrix.persons)
    yield f"{described} {tuning if is_tuned else ''}Values are {pooled}.{chance if metric in TITLES else ''}"
    if cells:
        units = " or ".join(sorted({f"{cell.unit}s" for cell in cells}))
        yield f"In brackets: 95 % intervals over {units} (delete-one jackknife with Student's t)."
    contenders = [place[2] for place in values if _is_contender(matrix.scored[place], rule)]
    if len(contenders) > len(set(contenders)):
        yield "Bold: the best cell of a corpus; as that is chosen on test data, it is optimistic."
    yield from _verdict_notes(compared)
    for corpus in matrix.corpora:
        yield _corpus_note(matrix, corpus, [row for row in compared if row["corpus"] == corpus])
    if setup.is_transductive:
        yield transductive_note(setup.axes.scaling)
    if any(map(matrix.is_outside, matrix.rows)):
        yield MARK_NOTES[OUTSIDE_MARK]
    if rule == "nested" and any(not matrix.scored[place].is_chosen for place in values):
        yield f"{DEFAULT_MARK} default setting: nested is missing for the reason given."
    if len(values) < len(matrix.rows) * len(matrix.corpora):
        yield f"{NOTHING} missing."
    for (features, classifier, corpus), cell in matrix.in_order(every=True):
        if cell.reason:
            yield f"{NOTHING} {corpus}, {features}, {classifier}: {cell.reason}"
    if rule == "nested" and metric == "uar":
        gains = []
        for place, cell in matrix.in_order():
            if {"nested", "oracle"} <= set(cell.with_values) and len(cell.record.settings) > 1:
                oracle, nested = (float(METRICS["uar"](cell.stack(rule=name))) for name in ("oracle", "nested"))
                gains.append((oracle - nested, place))
        if gains and max(gains)[0] > 0:
            largest, (features, classifier, corpus) = max(gains)
            mean = sum(gain for gain, _ in gains) / len(gains)
            yield (
                f"Settings tuned on the test data would have claimed {100 * mean:.1f} points more on average, "
                f"at most {100 * largest:.1f} ({corpus}, {features}, {classifier}): see rules.md."
            )
    if rule == "nested" and metric in SHARES:
        yield from _rank_notes(matrix, metric)


def _verdict_notes(compared: Sequence[Row]) -> Iterator[str]:
    verdicts = {row["verdict"] for row in compared}
    if "tie" in verdicts:
        yield f"{MARKS['tie']} cannot be told apart from the best of its corpus (p > {ALPHA:g} after correction)."
    if "better" in verdicts:
        yield f"{MARKS['better']} a dummy that is above the best other cell of its corpus by more than chance explains."
    if "worse" in verdicts:
        yield "Values without a mark are below the best by more than chance explains."
    if verdicts - {"untestable"}:
        yield (
            "Tests flip the signs of speakers' (or sessions') differences. They are corrected for all pairs of cells "
            "of a corpus by step-down max-T (Westfall and Young 1993). Intervals and tests cover the choice of test "
            "speakers. They do not cover the choice of training speakers, sentences or seeds."
        )
    if any(row["is_reference"] and row["verdict"] != "untestable" for row in compared):
        yield "A dummy is a reference: it is tested against all other cells of its corpus, and changes no other test."
    if "untestable" in verdicts:
        units = " or ".join(sorted({f"{row['unit']}s" for row in compared if row["verdict"] == "untestable"}))
        yield f"{MARKS['untestable']} cannot be tested against the best: too few {units}."


def _corpus_note(matrix: Matrix, corpus: str, compared: Sequence[Row]) -> str:
    cells = matrix.of_corpus(corpus)
    if not cells:
        return f"{corpus}: no predictions."
    pool, whole = matrix.pools[corpus], [cell for cell in cells if not cell.is_short]
    cell = next((c for c in whole if not c.is_outside), whole[0])
    n, n_all = len(pool.utterances), len(cell.record.utterances["id"])
    fewest = min(whole, key=lambda c: c.n_utterances)
    scored = f"{n} of {n_all} utterances, those that all cells have ({fewest.coverage})"
    n_folds = pool.of(cell).of()["fold"].nunique()
    is_holdout = find_protocol(matrix.setup.axes.protocol).needs == "partition"
    folds = f"{n_folds} groups held out" if is_holdout else f"{n_folds} folds"
    parts = [scored if n < n_all else f"{n_all} utterances", f"{folds}, inner {cell.cell['inner']}"]
    if compared:
        units = f"{compared[0]['n_units']} {compared[0]['unit']}{'s' if compared[0]['n_units'] > 1 else ''}"
        pairs = [row["n_comparisons"] for row in compared if not row["is_reference"]]
        n, kind = (pairs[0], "cells") if pairs else (len(compared), "a cell and a dummy")
        sentence = f"{n} pair{'s' if n != 1 else ''} of {kind} compared, over {units}"
        if compared[0]["verdict"] == "untestable":
            least = smallest_p(compared[0]["n_units"])
            sentence = f"differences cannot be tested, as over {units} p cannot be below {least:.2g}"
        parts.append(sentence)
    parts += [f"nested missing: {reason}" for reason in sorted({r for c in cells for r in c.reasons.values()})]
    if not any(place[2] == corpus and not scored.is_short for place, scored in matrix.scored.items()):
        parts.append("no value, as the utterances that all cells have lack an emotion")
    short = dict.fromkeys(cell.coverage for cell in cells if cell.is_short)
    parts += [short_note(f"{', '.join(short)}, of {pool.n_utterances}")] if short else []
    return f"{corpus}: {'; '.join([*parts, *matrix.remarks_on(corpus)])}."


def _rank_notes(matrix: Matrix, metric: str) -> Iterator[str]:
    ranks = ranking(matrix, metric)
    if ranks is None:
        return
    order = sorted(ranks.mean_ranks.items(), key=lambda item: item[1])
    named = ", ".join(f"{name} {rank:.1f}" for name, rank in order[:RANKS_NAMED])
    n, corpora = len(order), f"{ranks.n_corpora} corpora"
    yield f"Mean ranks of {n} methods over {corpora}: {named}, ...; Friedman's statistic, permuted: p = {ranks.p:.2g}."
    if not ranks.can_be_drawn:
        apart = f"{ranks.critical_difference:.1f} of at most {n - 1} apart"
        yield f"No critical-difference diagram: over {corpora}, mean ranks differ only if {apart} (Nemenyi)."


def short_note(found: str) -> str:
    """Say which cells miss too many utterances to be compared, and with how many they are scored."""
    at_least = f"fewer than {1 - LACKING_AT_MOST:.0%} of the column"
    return f"{SHORT_MARK} {at_least}, so scored on these and not compared with the others: {found}"


def transductive_note(scaling: str) -> str:
    """Say which unlabelled audio scaling used of what is tested."""
    what = {"speaker": "speakers", "corpus": "corpus"}[scaling]
    return f"Transductive: features are scaled per {scaling} on the unlabelled audio of the test {what} too."


def corpus_remarks(matrix: Matrix) -> list[str]:
    """Return what tables that are not scored on common utterances must say of the corpora of a matrix."""
    notes = []
    for corpus in matrix.corpora:
        cells = matrix.of_corpus(corpus)
        fewer = [cell.coverage for cell in cells if cell.n_utterances < len(cell.record.utterances["id"])]
        remarks = [*matrix.remarks_on(corpus), *dict.fromkeys(fewer)]
        notes += [f"{corpus}: {'; '.join(remarks)}."] if remarks else []
    return notes


def mark_of(cell: CellPredictions) -> str:
    """Mark a classifier whose values are not by the nested rule."""
    return OUTSIDE_MARK if cell.is_outside else "" if cell.is_chosen else DEFAULT_MARK


def recall_matrix(matrix: Matrix) -> Table:
    """Recall of each emotion per cell, by the nested rule or, where there is none, the default."""
    emotions = sorted({e for cell in matrix.cells.values() for e in cell.emotions})
    rows = []
    for (features, classifier, corpus), cell in matrix.in_order():
        of = dict(zip(cell.emotions, recalls(cell.stack()), strict=True))
        shown = [Entry(f"{of[e]:.3f}") if np.isfinite(of.get(e, np.nan)) else Entry(NOTHING) for e in emotions]
        rows.append((corpus, features, classifier + mark_of(cell), *shown))
    marks = {mark_of(cell) for _, cell in matrix.in_order()}
    marked = [note for mark, note in MARK_NOTES.items() if mark in marks]
    notes = ["Over all utterances that each cell has.", *marked, *corpus_remarks(matrix)]
    title = f"Recall per {matrix.setup.label}: {matrix.setup.title}"
    header = ("corpus", "features", "classifier", *emotions)
    return make_table("recall", title, header, rows, n_labels=3, notes=notes, cells=matrix.keys, facets=matrix.facets)


def confusion_matrices(matrix: Matrix) -> list[Table]:
    """One confusion matrix per cell: rows are the truth, columns the predictions; values are shares of a row."""
    tables = []
    for (features, classifier, corpus), cell in matrix.in_order():
        header, rows = confusion_of(cell)
        title = f"Confusion matrix: {corpus}, {features}, {classifier} ({cell.rule}): {matrix.setup.title}"
        notes = [f"{corpus}: {remark}." for remark in matrix.remarks[features, classifier, corpus]]
        keys = [cell.provenance.key]
        tables.append(make_table("confusion", title, header, rows, n_labels=1, notes=notes, cells=keys))
    return tables


def confusion_of(cell: CellPredictions) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return header and rows of a confusion matrix."""
    rows: list[tuple[object, ...]] = []
    for i, (emotion, counts) in enumerate(zip(cell.emotions, cell.stack().tolist(), strict=True)):
        total = sum(counts)
        entries = [Entry(str(n), bold=i == j, value=n / max(total, 1)) for j, n in enumerate(counts)]
        rows.append((emotion, *entries, str(total)))
    return ("truth \\ prediction", *cell.emotions, "utterances"), rows
