"""Outcomes and indexes -> the tables of the paper: Table 1 (data), Table 2 (scores), recalls and confusions."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from serbench.corpora.check import confounded
from serbench.corpora.schema import EMOTIONS
from serbench.errors import StoreError
from serbench.metrics import METRICS, recalls
from serbench.report.formats import Entry, Table
from serbench.report.outcomes import CellOutcomes
from serbench.report.scores import pool_confusion
from serbench.store import OUTDATED

NOTHING = "–"
DEFAULT_MARK = "°"

TITLES = {"uar": "unweighted average recall (UAR)", "war": "accuracy (WAR)", "kappa": "Cohen's kappa"}
"""Metrics that have a Table 2."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """The index of a corpus with what its copy lacks."""

    name: str
    index: pd.DataFrame
    language: str
    partial: str


@dataclass(frozen=True, slots=True)
class Variant:
    """What all cells of one Table 2 share."""

    protocol: str
    task: str
    scaling: str
    inner: str
    preprocessing: str
    seed: int

    @staticmethod
    def of(cell: CellOutcomes) -> Variant:
        """Return the variant that a cell belongs to."""
        f = cell.cell
        return Variant(f["protocol"], f["task"], f["scaling"], cell.inner_title, f["preprocessing"], f["seed"])

    @property
    def title(self) -> str:
        """The variant in words."""
        scaling = "scaling per speaker, transductive" if self.scaling == "speaker" else f"scaling {self.scaling}"
        return f"{self.protocol}, {self.task}, {scaling}, inner {self.inner}, seed {self.seed}"

    @property
    def options(self) -> str:
        """Options of `serbench grid` that lead to it, beyond the defaults."""
        name, _, filters = self.task.partition(" where ")
        given = [] if name == "paper5" else [f"--emotions {name}" if "," in name else f"--task {name}"]
        given += [f"--where {shlex.quote(text)}" for text in filters.split(", ") if text]
        given += [f"--scaling {self.scaling}"] if self.scaling != "train" else []
        given += [f"--inner {self.inner}"] if self.inner != "auto" else []
        given += [f"--seed {self.seed}"] if self.seed else []
        return "".join(f" {option}" for option in given)


@dataclass(frozen=True, slots=True)
class Matrix:
    """The cells of one Table 2: by (features, classifier) row and corpus column, scored on common utterances."""

    variant: Variant
    cells: Mapping[tuple[str, str, str], CellOutcomes]
    rows: tuple[tuple[str, str], ...]
    corpora: tuple[str, ...]
    common: Mapping[str, tuple[str, ...]]


def matrices(cells: Iterable[CellOutcomes], order: Callable[[str], int]) -> list[Matrix]:
    """Sort cells into one matrix per variant; `order` places classifiers and feature sets in rows."""
    by_variant: dict[Variant, list[CellOutcomes]] = {}
    for cell in cells:
        by_variant.setdefault(Variant.of(cell), []).append(cell)
    ordered = sorted(by_variant.items(), key=lambda item: item[0].title)
    return [_matrix(variant, members, order) for variant, members in ordered]


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
    return Table("table1", "Table 1. Data statistics", ("", *(c.name for c in corpora)), rows, notes, 1)


def score_matrix(matrix: Matrix, metric: str) -> Table:
    """Table 2 for one metric: nested values, the best of each corpus in bold, chance on top."""
    values = {place: _value(cell, metric, matrix.common[place[2]]) for place, cell in matrix.cells.items()}
    best = {corpus: _best(values, corpus) for corpus in matrix.corpora}
    rows = [_chance_row(matrix, metric)]
    for features, classifier in matrix.rows:
        entries = [_entry(values.get((features, classifier, c)), best[c]) for c in matrix.corpora]
        rows.append((Entry(features), Entry(classifier), *entries))
    title = f"Table 2. {TITLES[metric][0].upper()}{TITLES[metric][1:]}: {matrix.variant.title}"
    header = ("features", "classifier", *matrix.corpora)
    return Table(f"table2-{metric}", title, header, tuple(rows), tuple(_notes(matrix, values)), 2)


def recall_matrix(matrix: Matrix) -> Table:
    """Recall of each emotion per cell, by the nested rule or, where there is none, the default."""
    emotions = sorted({e for cell in matrix.cells.values() for e in cell.emotions})
    rows = []
    for (features, classifier, corpus), cell in _in_corpus_order(matrix):
        outcome = cell.outcomes.get("nested") or cell.outcomes["default"]
        of = dict(zip(cell.emotions, recalls(pool_confusion(cell, outcome)), strict=True))
        texts = [f"{of[e]:.3f}" if e in of and np.isfinite(of[e]) else NOTHING for e in emotions]
        mark = "" if outcome.rule == "nested" else DEFAULT_MARK
        rows.append((Entry(corpus), Entry(features), Entry(classifier + mark), *map(Entry, texts)))
    header = ("corpus", "features", "classifier", *emotions)
    notes = ["Over all utterances that each cell has."]
    notes += [f"{DEFAULT_MARK} default setting, as there is no nested one."] if _any_default(matrix) else []
    notes += [_corpus_note(matrix, corpus) for corpus in matrix.corpora]
    return Table("recall", f"Recall per emotion: {matrix.variant.title}", header, tuple(rows), tuple(notes), 3)


def confusion_matrices(matrix: Matrix) -> list[Table]:
    """One confusion matrix per cell: rows are the truth, columns the predictions."""
    tables = []
    for (features, classifier, corpus), cell in _in_corpus_order(matrix):
        outcome = cell.outcomes.get("nested") or cell.outcomes["default"]
        confusion = pool_confusion(cell, outcome)
        rows = tuple(
            (
                Entry(emotion),
                *(Entry(str(n), i == j) for j, n in enumerate(confusion[i])),
                Entry(str(confusion[i].sum())),
            )
            for i, emotion in enumerate(cell.emotions)
        )
        title = f"{corpus}, {features}, {classifier} ({outcome.rule}): {matrix.variant.title}"
        header = ("truth \\ prediction", *cell.emotions, "utterances")
        notes = (_corpus_note(matrix, corpus),)
        tables.append(Table("confusion", f"Confusion matrix: {title}", header, rows, notes, 1))
    return tables


def fill_commands(matrix: Matrix) -> list[str]:
    """Commands that would fill the empty places of a matrix, one per corpus and feature set."""
    commands = []
    for corpus in matrix.corpora:
        for features in dict.fromkeys(f for f, _ in matrix.rows):
            absent = [c for f, c in matrix.rows if f == features and _is_absent(matrix, (f, c, corpus))]
            for space, names in _by_space(matrix, absent).items():
                classifiers = "".join(f" --classifier {name}" for name in names)
                options = f"{space}{matrix.variant.options}{_partial_option(matrix, corpus)}"
                argument = shlex.quote(_argument(matrix, features))
                commands.append(f"serbench grid {corpus} --features {argument}{classifiers}{options}")
    return commands


Place = tuple[str, str, str]


def _matrix(variant: Variant, cells: Sequence[CellOutcomes], order: Callable[[str], int]) -> Matrix:
    placed = {(c.cell["features"], _row_name(c), c.cell["corpus"]): c for c in cells}
    if len(placed) < len(cells):
        raise StoreError("cells", f"two cells for one place of '{variant.title}'", "one", "Delete one and run it again")
    features = sorted({f for f, _, _ in placed}, key=lambda f: (order(f), f))
    classifiers = sorted({c for _, c, _ in placed}, key=lambda c: (order(_plain_name(c)), c))
    rows = itertools.product(features, classifiers)
    corpora = tuple(sorted({corpus for _, _, corpus in placed}))
    common = {
        corpus: tuple(
            sorted(set.intersection(*(set(c.truth) for p, c in placed.items() if p[2] == corpus and c.outcomes)))
        )
        if any(p[2] == corpus and c.outcomes for p, c in placed.items())
        else ()
        for corpus in corpora
    }
    return Matrix(variant, placed, tuple(rows), corpora, common)


def _by_space(matrix: Matrix, rows: Sequence[str]) -> dict[str, list[str]]:
    """Classifiers by the `--space` option that their rows ask for; none for the standard space."""
    grouped: dict[str, list[str]] = {}
    for row in rows:
        records = [cell.record for place, cell in matrix.cells.items() if place[1] == row]
        file = next((r["space_file"] for r in records if r.get("space_file")), "") if " " in row else ""
        grouped.setdefault(f" --space {shlex.quote(file)}" if file else "", []).append(_plain_name(row))
    return grouped


def _partial_option(matrix: Matrix, corpus: str) -> str:
    return " --partial" if any(c.record.get("partial") for p, c in matrix.cells.items() if p[2] == corpus) else ""


def _row_name(cell: CellOutcomes) -> str:
    space = cell.cell["space"]
    name = str(cell.cell["classifier"])
    return name if space == "standard" else f"{name} ({space})"


def _plain_name(row: str) -> str:
    return row.partition(" ")[0]


def _value(cell: CellOutcomes, metric: str, common: Sequence[str]) -> tuple[float, str] | None:
    outcome = cell.outcomes.get("nested") or cell.outcomes.get("default")
    if outcome is None or not _has_all_emotions(cell, common):
        return None
    return METRICS[metric](pool_confusion(cell, outcome, common)), outcome.rule


def _has_all_emotions(cell: CellOutcomes, utterances: Sequence[str]) -> bool:
    return {cell.truth[u] for u in utterances} == set(range(len(cell.emotions)))


def _best(values: Mapping[Place, tuple[float, str] | None], corpus: str) -> float | None:
    nested = [value[0] for place, value in values.items() if value and value[1] == "nested" and place[2] == corpus]
    return max(nested, default=None)


def _entry(value: tuple[float, str] | None, best: float | None) -> Entry:
    if value is None:
        return Entry(NOTHING)
    number, rule = value
    return Entry(f"{number:.3f}" + (DEFAULT_MARK if rule == "default" else ""), rule == "nested" and number == best)


def _chance_row(matrix: Matrix, metric: str) -> tuple[Entry, ...]:
    entries = []
    for corpus in matrix.corpora:
        cell = next((c for p, c in matrix.cells.items() if p[2] == corpus and c.outcomes), None)
        if cell is None:
            entries.append(Entry(NOTHING))
            continue
        counts = np.bincount([cell.truth[u] for u in matrix.common[corpus]], minlength=len(cell.emotions))
        chance = {"uar": 1 / len(cell.emotions), "war": counts.max() / counts.sum(), "kappa": 0.0}
        entries.append(Entry(f"{chance[metric]:.3f}"))
    return (Entry("chance"), Entry(""), *entries)


def _notes(matrix: Matrix, values: Mapping[Place, tuple[float, str] | None]) -> Iterable[str]:
    counts = [len([p for p, v in values.items() if v and v[1] == "nested" and p[2] == c]) for c in matrix.corpora]
    yield (
        "Pooled over all test utterances; settings chosen by nested speaker-independent validation. Bold: the best of "
        f"{max(counts, default=0)} cells per corpus, itself a choice made on test data and so optimistic. "
        "Chance: one emotion at random (UAR), always the most frequent one (WAR)."
    )
    for corpus in matrix.corpora:
        yield _corpus_note(matrix, corpus)
    if matrix.variant.scaling == "speaker":
        yield "Transductive: features are scaled per speaker on the unlabelled audio of the test speakers too."
    if any(v and v[1] == "default" for v in values.values()):
        yield f"{DEFAULT_MARK} default setting: nested is missing for the reason given."
    commands = fill_commands(matrix)
    if commands:
        yield f"{NOTHING} missing; to fill: " + "; ".join(f"{command}" for command in commands)
    for (features, classifier, corpus), cell in _in_corpus_order(matrix, every=True):
        reason = cell.record["refused"] or cell.reasons.get("default", "")
        if reason:
            yield f"{NOTHING} {corpus}, {features}, {classifier}: {reason}"


def _corpus_note(matrix: Matrix, corpus: str) -> str:
    cells = [c for p, c in matrix.cells.items() if p[2] == corpus and c.outcomes]
    if not cells:
        return f"{corpus}: no predictions."
    cell, common = cells[0], matrix.common[corpus]
    whole = len(cell.record["utterances"]["id"])
    n = (
        f"{len(common)} utterances"
        if len(common) == whole
        else f"{len(common)} of {whole} utterances (those all cells have)"
    )
    parts = [n, f"{len(cell.emotions)} emotions", f"{len(cell.folds)} folds, inner {cell.cell['inner']}"]
    reasons = sorted({r for c in cells for r in c.reasons.values()})
    parts += [f"nested missing: {reason}" for reason in reasons]
    if not _has_all_emotions(cell, common):
        parts.append("no value, as the utterances that all cells have lack an emotion")
    parts += sorted({note for c in cells for note in c.notes})
    return f"{corpus}: {'; '.join(parts)}."


def _is_absent(matrix: Matrix, place: Place) -> bool:
    cell = matrix.cells.get(place)
    return cell is None or (not cell.outcomes and not _is_refused(cell))


def _is_refused(cell: CellOutcomes) -> bool:
    """Whether running the cell again would give the same answer: an outdated cell would not."""
    return bool(cell.record["refused"]) and not cell.record["refused"].startswith(OUTDATED)


def _argument(matrix: Matrix, features: str) -> str:
    """What `--features` calls a feature set: its name, or the name of the user's file."""
    records = [cell.record for place, cell in matrix.cells.items() if place[0] == features]
    return next((str(r["features_argument"]) for r in records if "features_argument" in r), features)


def _any_default(matrix: Matrix) -> bool:
    return any(cell.outcomes and "nested" not in cell.outcomes for cell in matrix.cells.values())


def _in_corpus_order(matrix: Matrix, *, every: bool = False) -> list[tuple[Place, CellOutcomes]]:
    places = [(f, c, corpus) for corpus in matrix.corpora for f, c in matrix.rows if (f, c, corpus) in matrix.cells]
    return [(p, matrix.cells[p]) for p in places if every or matrix.cells[p].outcomes]


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
