"""Outcomes and indexes -> the tables of the paper: Table 1 (data), Table 2 (scores), recalls and confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from serbench.corpora.entry import EMOTIONS
from serbench.corpora.index import index_fingerprint
from serbench.corpora.people import confounded
from serbench.protocols import find_protocol
from serbench.report.comparisons import Contest, Contests, claim_sentence, ranking
from serbench.report.matrices import Matrix, Place, Variant, in_corpus_order
from serbench.report.pools import LACKING_AT_MOST
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table
from serbench.scores.metrics import METRICS, recalls
from serbench.scores.outcomes import GIVEN, CellOutcomes
from serbench.scores.scores import has_all_emotions, metric_interval, n_incomplete, pool_confusion, unit_stack
from serbench.scores.statistics import ALPHA, SHARES, Interval

DEFAULT_MARK = "°"
OUTSIDE_MARK = "†"
SHORT_MARK = "‡"
MARK_NOTES = {
    DEFAULT_MARK: f"{DEFAULT_MARK} default setting, as there is no nested one.",
    OUTSIDE_MARK: f"{OUTSIDE_MARK} predictions from outside; how that system was trained and tuned is not checked.",
}
"""What the marks behind classifiers mean."""
RANKS_NAMED = 3
"""Methods that a note names with their mean ranks."""

TITLES = {"uar": "unweighted average recall (UAR)", "war": "accuracy (WAR)", "kappa": "Cohen's kappa"}
"""Metrics that have a Table 2."""


MARKS = {"best": "", "worse": "", "": "", "tie": "≈", "untestable": "?", "better": "↑"}
"""What stands behind a value, by the verdict on it."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of Table 2 with its interval over units, and the rule that it is by."""

    number: float
    interval: Interval | None
    rule: str
    is_short: bool
    is_reference: bool

    @property
    def is_chosen(self) -> bool:
        """Whether its settings were chosen honestly, or as another system says."""
        return self.rule in ("nested", GIVEN)

    @property
    def is_contender(self) -> bool:
        """Whether it can be the best of its corpus."""
        return self.is_chosen and not (self.is_short or self.is_reference)


@dataclass(frozen=True, slots=True)
class Indexed:
    """The index of a corpus with what its copy lacks."""

    name: str
    index: pd.DataFrame
    language: str
    partial: str
    serbench: str


def data_table(corpora: Sequence[Indexed]) -> Table:
    """Table 1: what each corpus holds, all its emotions included."""
    counts = {c.name: c.index["emotion"].value_counts() for c in corpora}
    emotions = [e for e in EMOTIONS if any(e in n for n in counts.values())]
    lines: list[tuple[str, Callable[[Indexed], str]]] = [
        ("language", lambda c: c.language),
        ("speakers", _speakers),
        ("utterances", lambda c: str(len(c.index))),
        *((e, lambda c, e=e: str(counts[c.name].get(e, 0))) for e in emotions),
        ("no emotion", lambda c: str(int(c.index["emotion"].isna().sum()))),
        ("unusable", lambda c: str(int((c.index["problem"].notna() | c.index["duplicate"].notna()).sum()))),
        ("minutes", lambda c: f"{c.index['duration_s'].sum() / 60:.1f}"),
        ("mean duration, s", lambda c: f"{c.index['duration_s'].mean():.2f}"),
        ("sampling rate, kHz", _rate),
    ]
    rows = tuple((Entry(name), *(Entry(value(c)) for c in corpora)) for name, value in lines)
    remarks = [(c.name, [note for note in (c.partial, _confounded(c)) if note]) for c in corpora]
    notes = tuple(f"{name}: {'; '.join(of_corpus)}." for name, of_corpus in remarks if of_corpus)
    header = ("", *(c.name for c in corpora))
    made = [f"{c.name} {index_fingerprint(c.index)}" for c in corpora]
    return make_table("table1", "Table 1. Data statistics", header, rows, n_labels=1, notes=notes, cells=made)


def score_matrix(matrix: Matrix, metric: str, found: Contests) -> Table:
    """Table 2 for one metric: nested values with intervals, the best of each corpus in bold, chance on top."""
    values = {place: _value(cell, metric, matrix.scored_on(place)) for place, cell in matrix.cells.items()}
    compared = found.get(metric, {})
    best = {corpus: _best(values, corpus) for corpus in matrix.corpora}
    rows = [_chance_row(matrix, metric)]
    for row in matrix.rows:
        verdicts = {c: compared[c].verdict(row) if c in compared else "" for c in matrix.corpora}
        keys = {c: matrix.cells[*row, c].provenance.key for c in matrix.corpora if (*row, c) in matrix.cells}
        shown = {c: _entry(values.get((*row, c)), best[c], verdicts[c]) for c in matrix.corpora}
        entries = [entry._replace(key=keys.get(c, "")) for c, entry in shown.items()]
        rows.append((*map(Entry, _labels(matrix, row)), *entries))
    title = f"Table 2. {TITLES[metric][0].upper()}{TITLES[metric][1:]}: {matrix.variant.title}"
    header = ("features", "classifier", *matrix.corpora)
    claim = [claim_sentence(matrix)] if metric == "uar" else []
    notes = (*_notes(matrix, values, compared), *filter(None, claim), *_rank_notes(matrix, metric))
    return make_table(f"table2-{metric}", title, header, rows, n_labels=2, notes=notes, cells=matrix.keys)


def recall_matrix(matrix: Matrix) -> Table:
    """Recall of each emotion per cell, by the nested rule or, where there is none, the default."""
    emotions = sorted({e for cell in matrix.cells.values() for e in cell.emotions})
    rows = []
    for (features, classifier, corpus), cell in in_corpus_order(matrix):
        outcome = cell.headline or cell.outcomes["default"]
        of = dict(zip(cell.emotions, recalls(pool_confusion(cell, outcome)), strict=True))
        texts = [f"{of[e]:.3f}" if e in of and np.isfinite(of[e]) else NOTHING for e in emotions]
        rows.append((Entry(corpus), Entry(features), Entry(classifier + mark_of(cell)), *map(Entry, texts)))
    header = ("corpus", "features", "classifier", *emotions)
    notes = ["Over all utterances that each cell has."]
    shown = {mark_of(cell) for cell in matrix.cells.values() if cell.outcomes}
    notes += [note for mark, note in MARK_NOTES.items() if mark in shown]
    notes += corpus_remarks(matrix)
    title = f"Recall per {matrix.variant.label}: {matrix.variant.title}"
    return make_table("recall", title, header, rows, n_labels=3, notes=notes, cells=matrix.keys)


def confusion_matrices(matrix: Matrix) -> list[Table]:
    """One confusion matrix per cell: rows are the truth, columns the predictions."""
    tables = []
    for (features, classifier, corpus), cell in in_corpus_order(matrix):
        outcome = cell.headline or cell.outcomes["default"]
        confusion = pool_confusion(cell, outcome)
        rows = tuple(
            (
                Entry(emotion),
                *(Entry(str(n), bold=i == j) for j, n in enumerate(confusion[i])),
                Entry(str(confusion[i].sum())),
            )
            for i, emotion in enumerate(cell.emotions)
        )
        title = f"{corpus}, {features}, {classifier} ({outcome.rule}): {matrix.variant.title}"
        header = ("truth \\ prediction", *cell.emotions, "utterances")
        notes = tuple(f"{corpus}: {remark}." for remark in _remarks([cell]))
        title, key = f"Confusion matrix: {title}", cell.provenance.key
        tables.append(make_table("confusion", title, header, rows, n_labels=1, notes=notes, cells=[key]))
    return tables


def _value(cell: CellOutcomes, metric: str, common: Sequence[str]) -> Value | None:
    outcome = cell.headline
    if outcome is None or not has_all_emotions(cell, common):
        return None
    stack = unit_stack(cell, outcome, common)
    value, interval = METRICS[metric](stack.sum(axis=0)), metric_interval(stack, metric)
    return Value(value, interval, outcome.rule, cell.is_short, cell.is_reference)


def _best(values: Mapping[Place, Value | None], corpus: str) -> float | None:
    """The best of a corpus, if there are two to compare."""
    found = [value.number for place, value in values.items() if value and value.is_contender and place[2] == corpus]
    return max(found) if len(found) > 1 else None


def _entry(value: Value | None, best: float | None, verdict: str) -> Entry:
    if value is None:
        return Entry(NOTHING)
    shown = f"{value.number:.3f}" + ("" if value.is_chosen else DEFAULT_MARK) + (SHORT_MARK if value.is_short else "")
    aside = f"{bracketed(value.interval)} {MARKS[verdict]}".strip()
    return Entry(shown, aside, value.is_contender and value.number == best, value.number)


def _chance_row(matrix: Matrix, metric: str) -> tuple[Entry, ...]:
    entries = []
    for corpus in matrix.corpora:
        cell = next((c for p, c in matrix.cells.items() if p[2] == corpus and c.outcomes and not c.is_short), None)
        if cell is None or not matrix.common[corpus]:
            entries.append(Entry(NOTHING))
            continue
        counts = np.bincount([cell.truth[u] for u in matrix.common[corpus]], minlength=len(cell.emotions))
        chance = {"uar": 1 / len(cell.emotions), "war": counts.max() / counts.sum(), "kappa": 0.0}
        entries.append(Entry(f"{chance[metric]:.3f}"))
    return (Entry("chance"), Entry(""), *entries)


def _notes(matrix: Matrix, values: Mapping[Place, Value | None], compared: Mapping[str, Contest]) -> Iterable[str]:
    contenders = Counter(place[2] for place, value in values.items() if value and value.is_contender)
    is_tuned_here = any("nested" in cell.outcomes for cell in matrix.cells.values())
    tuning = f"Settings are chosen by {matrix.validation}; values" if is_tuned_here else "Values"
    yield (
        f"{matrix.description} {tuning} are pooled over all test utterances. "
        f"Chance: one {matrix.variant.label} at random (UAR), always the most frequent one (WAR)."
    )
    yield from _interval_note(matrix)
    if max(contenders.values(), default=0) > 1:
        yield "Bold: the best cell of a corpus; as that is chosen on test data, it is optimistic."
    yield from _mark_notes(compared)
    for corpus in matrix.corpora:
        yield _corpus_note(matrix, corpus, compared.get(corpus))
    if matrix.variant.is_transductive:
        yield transductive_note(matrix.variant.scaling)
    if any(map(matrix.is_outside, matrix.rows)):
        yield MARK_NOTES[OUTSIDE_MARK]
    if any(v and not v.is_chosen for v in values.values()):
        yield f"{DEFAULT_MARK} default setting: nested is missing for the reason given."
    if any(values.get((f, c, corpus)) is None for f, c in matrix.rows for corpus in matrix.corpora):
        yield f"{NOTHING} missing."
    for (features, classifier, corpus), cell in in_corpus_order(matrix, every=True):
        reason = cell.record["refused"] or cell.reason
        if reason:
            yield f"{NOTHING} {corpus}, {features}, {classifier}: {reason}"


def short_note(found: str) -> str:
    """Say which cells lack too many utterances to be compared, and with how many they are scored."""
    at_least = f"fewer than {1 - LACKING_AT_MOST:.0%} of the column"
    return f"{SHORT_MARK} {at_least}, so scored on these and not compared with the others: {found}"


def transductive_note(scaling: str) -> str:
    """Say what scaling has heard of what is tested."""
    what = {"speaker": "speakers", "corpus": "corpus"}[scaling]
    return f"Transductive: features are scaled per {scaling} on the unlabelled audio of the test {what} too."


def _interval_note(matrix: Matrix) -> Iterable[str]:
    unit = " or ".join(sorted({f"{cell.unit}s" for cell in matrix.cells.values() if cell.outcomes}))
    if unit:
        yield f"In brackets: 95 % intervals over {unit} (delete-one jackknife with Student's t)."


def _mark_notes(compared: Mapping[str, Contest]) -> Iterable[str]:
    tested = [contest for contest in compared.values() if contest.is_testable]
    if any(contest.verdict(row) == "tie" for contest in tested for row in contest.others):
        yield f"{MARKS['tie']} cannot be told apart from the best of its corpus (p > {ALPHA:g} after correction)."
    if any(contest.verdict(row) == "better" for contest in tested for row in contest.others):
        yield f"{MARKS['better']} a dummy that is above the best other cell of its corpus by more than chance explains."
    if any(contest.verdict(row) == "worse" for contest in tested for row in contest.others):
        yield "Values without a mark are below the best by more than chance explains."
    if tested:
        yield _FAMILY
    if any(contest.references for contest in tested):
        yield "A dummy is a reference: it is tested against all other cells of its corpus, and changes no other test."
    if len(tested) < len(compared):
        units = " or ".join(sorted({f"{contest.unit}s" for contest in compared.values() if not contest.is_testable}))
        yield f"{MARKS['untestable']} cannot be tested against the best: too few {units}."


_FAMILY = (
    "Tests flip the signs of speakers' (or sessions') differences. They are corrected for all pairs of cells of a "
    "corpus by step-down max-T (Westfall and Young 1993). Intervals and tests cover the choice of test speakers. They "
    "do not cover the choice of training speakers, sentences or seeds."
)


def _rank_notes(matrix: Matrix, metric: str) -> Iterable[str]:
    ranks = ranking(matrix, metric) if metric in SHARES else None
    if ranks is None:
        return
    order = sorted(ranks.mean_ranks.items(), key=lambda item: item[1])
    named = ", ".join(f"{name} {rank:.1f}" for name, rank in order[:RANKS_NAMED])
    n, corpora = len(order), f"{ranks.n_corpora} corpora"
    yield f"Mean ranks of {n} methods over {corpora}: {named}, ...; Friedman's statistic, permuted: p = {ranks.p:.2g}."
    if not ranks.can_be_drawn:
        apart = f"{ranks.critical_difference:.1f} of at most {n - 1} apart"
        yield f"No critical-difference diagram: over {corpora}, mean ranks differ only if {apart} (Nemenyi)."


def _corpus_note(matrix: Matrix, corpus: str, contest: Contest | None) -> str:
    cells = [c for p, c in matrix.cells.items() if p[2] == corpus and c.outcomes]
    if not cells:
        return f"{corpus}: no predictions."
    whole, common = [cell for cell in cells if not cell.is_short], matrix.common[corpus]
    cell = next((c for c in whole if not c.is_outside), whole[0])
    tested = sum(any(u in set(common) for u in fold) for fold in cell.folds.values())
    is_holdout = find_protocol(matrix.variant.protocol).needs == "partition"
    folds = f"{tested} groups held out" if is_holdout else f"{tested} folds"
    parts = [_utterances(whole, common), f"{folds}, inner {cell.cell['inner']}"]
    parts += [contest.sentence] if contest else []
    reasons = sorted({r for c in cells for r in c.reasons.values()})
    parts += [f"nested missing: {reason}" for reason in reasons]
    if not has_all_emotions(cell, common):
        parts.append("no value, as the utterances that all cells have lack an emotion")
    short = dict.fromkeys(cell.coverage for cell in cells if cell.is_short)
    if short:
        parts.append(short_note(f"{', '.join(short)}, of {matrix.pools[corpus].n_utterances}"))
    return f"{corpus}: {'; '.join([*parts, *_remarks(cells)])}."


def _utterances(cells: Sequence[CellOutcomes], common: Sequence[str]) -> str:
    """How many utterances a column is scored on, and which features have the fewest."""
    whole = len(cells[0].record["utterances"]["id"])
    if len(common) == whole:
        return f"{whole} utterances"
    fewest = min(cells, key=lambda c: len(c.truth))
    return f"{len(common)} of {whole} utterances, those that all cells have ({fewest.coverage})"


def _remarks(cells: Iterable[CellOutcomes]) -> list[str]:
    """What every table must say of a corpus."""
    return sorted({note for cell in cells for note in (*cell.notes, *_alone_with_an_emotion(cell))})


def _alone_with_an_emotion(cell: CellOutcomes) -> list[str]:
    n = n_incomplete(cell) if cell.outcomes else 0
    label = Variant.of(cell).label
    many = f"{n} {cell.unit}s have a {label} each" if n > 1 else f"one {cell.unit} has a {label}"
    return [f"{many} that no other has, so that intervals leave it out there"] if n else []


def corpus_remarks(matrix: Matrix) -> list[str]:
    """What tables that are not scored on common utterances must say of the corpora of a matrix."""
    told = []
    for corpus in matrix.corpora:
        cells = [cell for place, cell in in_corpus_order(matrix) if place[2] == corpus]
        remarks = [*_remarks(cells), *dict.fromkeys(cell.coverage for cell in cells if _is_short(cell))]
        told += [f"{corpus}: {'; '.join(remarks)}."] if remarks else []
    return told


def _is_short(cell: CellOutcomes) -> bool:
    """Whether a cell lacks utterances that others may have."""
    return len(cell.truth) < len(cell.record["utterances"]["id"])


def mark_of(cell: CellOutcomes) -> str:
    """What stands behind a classifier whose values are not by the nested rule."""
    if cell.is_outside:
        return OUTSIDE_MARK
    return "" if cell.chosen else DEFAULT_MARK


def _labels(matrix: Matrix, row: tuple[str, str]) -> tuple[str, str]:
    """Feature set and classifier as a table shows them, other systems with their mark."""
    return (row[0], row[1] + OUTSIDE_MARK) if matrix.is_outside(row) else row


def _speakers(corpus: Indexed) -> str:
    index = corpus.index
    n = index["speaker"].nunique()
    if not n:
        return "unknown"
    if "gender" not in index:
        return str(n)
    by_sex = index.groupby("gender")["speaker"].nunique()
    letters = {"female": "f", "male": "m", "child": "c", "other": "o"}
    return f"{n} ({', '.join(f'{count} {letters[str(sex)]}' for sex, count in by_sex.items())})"


def _confounded(corpus: Indexed) -> str:
    index = corpus.index[corpus.index["emotion"].notna() & corpus.index["speaker"].notna()]
    return confounded(index, "speaker") if len(index) else ""


def _rate(corpus: Indexed) -> str:
    rates = sorted(corpus.index["sampling_rate"].dropna().unique())
    return ", ".join(f"{rate / 1000:g}" for rate in rates) or NOTHING
