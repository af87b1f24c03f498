"""Cells and indexes -> the tables of a paper: Table 1 (data), Table 2 (scores), recalls and confusion matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from serbench.corpora.divisions import confounded
from serbench.corpora.entry import EMOTIONS
from serbench.corpora.segments import MAJORITY, seconds_of
from serbench.protocols import find_protocol
from serbench.report.comparisons import (
    OUTSIDE_MARK,
    Matrix,
    Place,
    Setup,
    counted,
    entry_of,
    mark_of,
    never_predicted,
    table_of,
)
from serbench.report.table import NOTHING, Entry, Table, make_table
from serbench.scores.metrics import ALL_METRICS, FOLD_METRICS, METRICS, recalls
from serbench.scores.predictions import CellPredictions, Index
from serbench.scores.scores import values_by
from serbench.scores.statistics import ALPHA, FEWEST, SHARES, TINY, smallest_p

MARKS = {"worse": "", "": "", "tie": "≈", "untestable": "?", "better": "↑"}
"""What is behind a value, by the verdict on it."""
VERDICT_NOTES = {
    "≈": f"≈ cannot be told apart from the best of its corpus (p > {ALPHA:g} after correction).",
    "?": "? cannot be tested against the best: too few speakers (or other independent units).",
    "↑": "↑ a dummy that is above the best other cell of its corpus by more than chance explains.",
    "↓": "↓ below the cues; the two values are compared without a test.",
}
RANKS_NAMED = 3
"""Methods that a note names with their mean ranks."""

NAMES = {
    **{key: metric.short_name for key, metric in ALL_METRICS.items()},
    "nested": "Chosen by nested validation",
    "default": "Default",
    "oracle": "Oracle, tuned on the test data",
    "given": "Predictions of another system",
}
"""Metrics, and rules of choosing settings, in words."""


def data_table(corpora: Sequence[Index]) -> Table:
    """Table 1: what each corpus has, all its emotions included."""
    facts, notes = [], []
    own = {emotion for c in corpora for emotion in c.frame["emotion"].dropna().unique()}
    emotions = (*EMOTIONS, *sorted(own.difference(EMOTIONS)))
    for c in corpora:
        counts, rates = c.frame["emotion"].value_counts(), sorted(c.frame["sampling_rate"].dropna().unique())
        n = c.frame["speaker"].nunique()
        speakers = str(n) if n else "unknown"
        if n and "gender" in c.frame:
            by_sex = c.frame.groupby("gender")["speaker"].nunique()
            speakers = f"{n} ({', '.join(f'{of_sex} {str(sex)[0]}' for sex, of_sex in by_sex.items())})"
        facts.append(
            {
                "language": c.about.get("language", ""),
                "speakers": speakers,
                "utterances": len(c.frame),
                **{emotion: counts.get(emotion, 0) for emotion in emotions},
                "no emotion": c.frame["emotion"].isna().sum(),
                "unusable": (c.frame["problem"].notna() | c.frame["duplicate"].notna()).sum(),
                "minutes": f"{c.frame['duration_s'].sum() / 60:.1f}",
                "mean duration, s": f"{c.frame['duration_s'].mean():.2f}",
                "sampling rate, kHz": ", ".join(f"{rate / 1000:g}" for rate in rates) or NOTHING,
            }
        )
        labelled = c.frame[c.frame["emotion"].notna() & c.frame["speaker"].notna()]
        remarks = [c.about.get("partial", ""), confounded(labelled, "speaker") if len(labelled) else ""]
        notes += [f"{c.name}: {'; '.join(filter(None, remarks))}."] if any(remarks) else []
    body = pd.DataFrame(facts, dtype=object).T
    body = body[[name not in EMOTIONS or body.loc[name].any() for name in body.index]]
    made = [f"{c.name} {c.state}" for c in corpora]
    title, header = "Table 1. Data statistics", ("", *(c.name for c in corpora))
    return make_table("table1", title, header, body.itertuples(), n_labels=1, notes=notes, cells=made)


def score_matrix(matrix: Matrix, metric: str, rule: str) -> Table:
    """Table 2 by one metric and rule: values with intervals, the best of each corpus in bold, chance on top.

    By `nested`, predictions of other systems have their own value, and a cell without a nested value its default.
    """
    is_nested, own_rule = rule == "nested", "" if rule == "nested" else rule
    compared = [row for row in matrix.differences if row["metric"] == metric] if is_nested else []
    verdicts = {(row["features"], row["classifier"], row["corpus"]): MARKS[row["verdict"]] for row in compared}
    scored = {place: c for place, c in matrix.scored.items() if is_nested or rule in c.with_values}
    contenders: dict[str, dict[Place, float]] = {}
    for place, cell in scored.items():
        if not (cell.is_short or cell.is_reference):
            value = values_by(cell, own_rule or cell.rule)[metric].value
            contenders.setdefault(place[2], {})[place] = value
    best = {p for of in contenders.values() for p, value in of.items() if len(of) > 1 and value == max(of.values())}
    cues = matrix.cues if metric == "uar" else {}
    below = {p for corpus, of in contenders.items() for p, value in of.items() if value < cues.get(corpus, 0) - TINY}
    rows: list[tuple[str | Entry, ...]] = []
    for features, classifier in matrix.rows:
        name = classifier + (OUTSIDE_MARK if matrix.is_outside((features, classifier)) else "")
        made = []
        for place in ((features, classifier, corpus) for corpus in matrix.corpora):
            key = matrix.cells[place].key if place in matrix.cells else ""
            mark, is_best = f"{'↓' * (place in below)} {verdicts.get(place, '')}".strip(), place in best
            entry = entry_of(scored.get(place), mark, metric=metric, rule=own_rule, bold=is_best)
            made.append(entry._replace(key=key))
        rows.append((features, name, *made))
    of = ALL_METRICS[metric]
    name = f"{of.short_name}, settings {NAMES[rule].lower()}"
    name = f"Table 2. {of.name}" if is_nested and of.is_table else name
    notes = [*_method_notes(matrix, metric, rule, bool(best)), *_verdict_notes(compared)]
    if len(scored) < len(matrix.rows) * len(matrix.corpora):
        notes.append(f"{NOTHING} missing.")
    every = matrix.in_order(every=True)
    notes += [f"{NOTHING} {c}, {f}, {name}: {cell.reason}" for (f, name, c), cell in every if cell.reason]
    if is_nested and metric in SHARES:
        notes += [*(_tuning_note(matrix) if metric == "uar" else []), *_rank_notes(matrix, metric)]
    if is_nested and metric == "uar":
        notes += _never_notes(matrix)
    return table_of(
        f"table2-{metric}" + ("" if is_nested else f"-{rule}"),
        f"{name}: {matrix.setup.title}",
        ("features", "classifier", *matrix.corpora),
        [*_chance_rows(matrix, metric), *rows],
        matrix.compared.values(),
        n_labels=2,
        notes=notes,
        marks=VERDICT_NOTES,
        facts={c: _facts(matrix, c, [row for row in compared if row["corpus"] == c]) for c in matrix.corpora},
        facets={**matrix.facets, "metric": metric, "rule": rule},
    )


def _chance_rows(matrix: Matrix, metric: str) -> list[tuple[str, ...]]:
    """Return the rows of what is to be beaten: chance, for a metric that has it, and the simple cues of audits."""
    if not ALL_METRICS[metric].has_chance:
        return []
    shown = []
    for corpus in matrix.corpora:
        cell = next((c for place, c in matrix.scored.items() if place[2] == corpus and not c.is_short), None)
        shown.append(f"{ALL_METRICS[metric].chance(cell.stack().sum(axis=1)):.3f}" if cell else NOTHING)
    rows = [("chance", "", *shown)]
    if matrix.cues and metric == "uar":
        cues = (f"{matrix.cues[corpus]:.3f}" if corpus in matrix.cues else NOTHING for corpus in matrix.corpora)
        rows.append(("cues", "", *cues))
    return rows


def described(setup: Setup, persons: Mapping[str, str]) -> str:
    """Describe a setup in sentences, and what keeps the people of each corpus apart."""
    a, protocol = setup.axes, find_protocol(setup.axes.protocol)
    if len(set(persons.values())) == 1:
        independence = protocol.independence_of(next(iter(persons.values())))
    else:
        others = (f"{c}: {protocol.independence_of(p)}" for c, p in persons.items() if p != "speaker")
        independence = f"{protocol.independence}, but {'; '.join(others)}"
    name, _, filters = a.task.partition(" where ")
    merged = a.map.replace(",", ", ") or (", ".join(setup.emotions) if name != ",".join(setup.emotions) else "")
    task = f"{name} ({merged})" if merged else name
    only = f", only where {filters}" if filters else ""
    kind = "emotions" if setup.target == "emotion" else "target"
    text = f"{protocol.title[0].upper()}{protocol.title[1:]}, {independence}; {kind}: {task}{only}."
    if seconds := seconds_of(a.preprocessing):
        vote = "an utterance gets the emotion of most of its pieces, and of as many the one that comes first"
        each = "each piece is scored, and called an utterance below"
        scored = vote if a.preprocessing.endswith(MAJORITY) else each
        text += f" Utterances are cut into pieces of {seconds} s, and the remainder is dropped; {scored}."
    return text


def _method_notes(matrix: Matrix, metric: str, rule: str, has_best: bool) -> Iterator[str]:
    """Yield how the values of Table 2 came about."""
    setup, cells = matrix.setup, [cell for _, cell in matrix.in_order()]
    persons = {place[2]: c.person for place, c in sorted(matrix.cells.items()) if c.with_values}
    persons = persons or dict.fromkeys(matrix.corpora, "speaker")
    apart = f"{next(iter(persons.values()))}-independent " if len(set(persons.values())) == 1 else ""
    tuning = {
        "nested": f" Settings are chosen by nested {apart}validation.",
        "default": " Every classifier has its default setting.",
        "oracle": " Oracle: the one setting that is best on the test data of each cell, so most values are too high.",
    }
    has = {name for cell in cells for name in cell.with_values}
    shown = "default" if rule == "nested" and "nested" not in has else rule
    over_folds, over_all = "means over folds, each over the emotions it has", "pooled over all test utterances"
    pooled = over_folds if metric in FOLD_METRICS else over_all
    label = "emotion" if setup.target == "emotion" else "class"
    chance = f" Chance: the most frequent {label} for every utterance."
    text = f"{described(setup, persons)}{tuning[shown] if shown in has else ''} Values are {pooled}."
    yield text + (chance if ALL_METRICS[metric].has_chance else "")
    if matrix.cues and metric == "uar":
        yield "Cues: an SVM on duration and level alone, as the audit of a corpus has measured it on the same folds."
    if units := " or ".join(sorted({f"{cell.unit}s" for cell in cells if len(cell.stack("unit")) >= FEWEST})):
        yield f"In brackets: 95 % intervals over {units} (delete-one jackknife with Student's t)."
    if has_best:
        yield "Bold: the best cell of a corpus; as that is chosen on test data, it is optimistic."


def _verdict_notes(compared: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield how the tests were made."""
    verdicts = {row["verdict"] for row in compared}
    if "worse" in verdicts:
        yield "Values without ≈ or ? are below the best by more than chance explains."
    if verdicts - {"untestable"}:
        yield (
            "Tests flip the signs of speakers' (or sessions') differences. They are corrected for all pairs of cells "
            "of a corpus by step-down max-T (Westfall and Young 1993). Intervals and tests cover the choice of test "
            "speakers. They do not cover the choice of training speakers, sentences or seeds."
        )
    if any(row["is_reference"] and row["verdict"] != "untestable" for row in compared):
        yield "A dummy is a reference: it is tested against all other cells of its corpus, and changes no other test."


def _facts(matrix: Matrix, corpus: str, compared: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the numbers behind a column: utterances, folds and comparisons, and what has no value."""
    cells = [cell for place, cell in matrix.compared.items() if place[2] == corpus]
    if not cells:
        return ["no predictions"]
    whole = [cell for cell in cells if not cell.is_short]
    cell = next((c for c in whole if not c.is_outside), whole[0])
    n_folds, is_holdout = len(cell.values("fold")), find_protocol(matrix.setup.axes.protocol).needs == "partition"
    folds = f"{n_folds} {'groups held out' if is_holdout else 'folds'}, inner {cell.cell['inner']}"
    parts = [f"{cell.n_utterances} utterances", folds]
    if compared:
        units = counted(compared[0]["n_units"], compared[0]["unit"])
        pairs = [row["n_comparisons"] for row in compared if not row["is_reference"]]
        n, kind = (pairs[0], "cells") if pairs else (len(compared), "a cell and a dummy")
        sentence = f"{n} pair{'s' if n != 1 else ''} of {kind} compared, over {units}"
        if compared[0]["verdict"] == "untestable":
            least = smallest_p(compared[0]["n_units"])
            sentence = f"differences cannot be tested, as over {units} p cannot be below {least:.2g}"
        parts.append(sentence)
    parts += [f"nested missing: {reason}" for reason in sorted({r for c in cells for r in c.reasons.values()})]
    has_value = any(place[2] == corpus and not c.is_short for place, c in matrix.scored.items())
    return parts if has_value else [*parts, "no value, as the utterances that all cells have lack an emotion"]


def _tuning_note(matrix: Matrix) -> Iterator[str]:
    """Yield what tuning on the test data would have claimed."""
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


def _never_notes(matrix: Matrix) -> Iterator[str]:
    """Yield which emotions cells never predict."""
    for (features, classifier, corpus), cell in matrix.in_order():
        if not cell.is_reference and (never := never_predicted(cell)):
            yield f"{corpus}, {features}, {classifier}: never predicts {', '.join(never)}."


def _rank_notes(matrix: Matrix, metric: str) -> Iterator[str]:
    if ranks := matrix.ranking(metric):
        order = sorted(ranks.mean_ranks.items(), key=lambda item: item[1])
        named = ", ".join(f"{name} {rank:.1f}" for name, rank in order[:RANKS_NAMED])
        n, corpora, p = len(order), f"{ranks.n_corpora} corpora", f"{ranks.p:.2g}"
        yield f"Mean ranks of {n} methods over {corpora}: {named}, ...; Friedman's statistic, permuted: p = {p}."
        if not ranks.can_be_drawn:
            apart = f"{ranks.critical_difference:.1f} of at most {n - 1} apart"
            yield f"No critical-difference diagram: over {corpora}, mean ranks differ only if {apart} (Nemenyi)."


def recall_matrix(matrix: Matrix) -> Table:
    """Recall of each emotion per cell, by the nested rule or, where there is none, the default."""
    emotions = sorted({e for cell in matrix.cells.values() for e in cell.emotions})
    rows, cells = [], matrix.in_order()
    for (features, classifier, corpus), cell in cells:
        of = dict(zip(cell.emotions, recalls(cell.stack()), strict=True))
        shown = [Entry(f"{of[e]:.3f}") if np.isfinite(of.get(e, np.nan)) else Entry(NOTHING) for e in emotions]
        rows.append((corpus, features, classifier + mark_of(cell), *shown))
    label = "emotion" if matrix.setup.target == "emotion" else "class"
    return table_of(
        "recall",
        f"Recall per {label}: {matrix.setup.title}",
        ("corpus", "features", "classifier", *emotions),
        rows,
        (cell for _, cell in cells),
        n_labels=3,
        notes=["Over all utterances that each cell has."],
        facets=matrix.facets,
    )


def confusion_matrices(matrix: Matrix) -> list[Table]:
    """One confusion matrix per cell: rows are the truth, columns the predictions; values are shares of a row."""
    tables = []
    for (features, classifier, corpus), cell in matrix.in_order():
        title = f"Confusion matrix: {corpus}, {features}, {classifier} ({cell.rule}): {matrix.setup.title}"
        tables.append(table_of("confusion", title, *confusion_of(cell), [cell], n_labels=1))
    return tables


def confusion_of(cell: CellPredictions) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return header and rows of a confusion matrix."""
    rows: list[tuple[object, ...]] = []
    for i, (emotion, counts) in enumerate(zip(cell.emotions, cell.stack().tolist(), strict=True)):
        total = sum(counts)
        entries = [Entry(str(n), bold=i == j, value=n / max(total, 1)) for j, n in enumerate(counts)]
        rows.append((emotion, *entries, str(total)))
    return ("truth \\ prediction", *cell.emotions, "utterances"), rows
