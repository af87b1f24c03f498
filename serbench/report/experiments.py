"""Recorded experiments -> what the paper printed beside ours, and what our numbers say of its sentences.

A record (`results/experiments/NAME.json`) holds the description as it was run and names its cells, so that other
cells of the same results folder never stand beside a paper's values. Values are by the nested rule, on all utterances
that a cell has; where there is no nested value they are by the default setting, and marked.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from serbench.errors import ConfigError, SerbenchError, StoreError
from serbench.experiments import Claim, Experiment, PaperValue, find_experiment, read_experiment
from serbench.experiments.claims import Judgement, Measured, judge
from serbench.report.cellbook import CellBook, Recorded
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table, signed
from serbench.report.tables import DEFAULT_MARK, MARK_NOTES
from serbench.scores.outcomes import CellOutcomes
from serbench.scores.scores import pool_confusion
from serbench.store.files import read_json
from serbench.store.results import Store


def read_recorded(store: Store) -> Iterator[Recorded]:
    """Read the experiments that were run on a results folder, by name; one that cannot be read is told and left out."""
    for path in store.experiments:
        try:
            yield _recorded(path)
        except (ConfigError, StoreError) as error:
            told = f"{path.name}: the record of an experiment cannot be used and is left out; run it again. {error}"
            warnings.warn(told, stacklevel=2)


def _recorded(path: Path) -> Recorded:
    record = read_json(path)
    described = read_experiment(record["text"], record["name"])
    is_changed = bool(record["is_built_in"]) and _digest_now(described.name) != described.digest
    return Recorded(described, record["absent"], record["skipped"], tuple(record["cells"]), is_changed)


def _digest_now(name: str) -> str | None:
    """Digest of the experiment of a name that comes with this serbench; none where it cannot be read."""
    try:
        return find_experiment(name).digest
    except SerbenchError:
        return None


def experiment_tables(recorded: Sequence[Recorded], cells: Sequence[CellOutcomes]) -> list[Table]:
    """Tables of all experiments: the paper's values beside ours, and the verdicts on its sentences."""
    books = [CellBook(one, cells) for one in recorded]
    values = [value_table(book) for book in books if book.recorded.experiment.values]
    claims = [claim_table(book) for book in books if book.recorded.experiment.claims]
    return [*values, *claims, *(table for book in books for table in share_tables(book))]


def share_tables(book: CellBook) -> Iterator[Table]:
    """Confusion matrices as shares, of predictions or of the truth, where the experiment asks for them."""
    by = book.recorded.experiment.confusion
    for cell in book.cells if by else ():
        if cell.headline is not None:
            yield _share_table(book, cell, pool_confusion(cell, cell.headline), by or "")


def _share_table(book: CellBook, cell: CellOutcomes, confusion: np.ndarray, by: str) -> Table:
    totals = confusion.sum(axis=0 if by == "predictions" else 1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.full(confusion.shape, np.nan), where=totals > 0)
    rows = [
        (Entry(emotion), *(_share(share, is_right=i == j) for j, share in enumerate(shares[i])))
        for i, emotion in enumerate(cell.emotions)
    ]
    cut = "" if cell.cell["preprocessing"] == "none" else f", {cell.cell['preprocessing']}"
    named = f"{cell.cell['corpus']}, {cell.cell['features']}, {cell.cell['classifier']}{cut}"
    title = f"Confusion, shares of {by}: {book.recorded.described.name}, {named}"
    line = "Each column, what was predicted," if by == "predictions" else "Each row, what was said,"
    notes = (f"{line} adds up to 1; {NOTHING} where there is none.",)
    header = ("truth \\ prediction", *cell.emotions)
    return make_table("confusion-shares", title, header, rows, n_labels=1, notes=notes, cells=[cell.provenance.key])


def _share(share: float, *, is_right: bool) -> Entry:
    return Entry(NOTHING) if np.isnan(share) else Entry(f"{share:.2f}", bold=bool(is_right), value=float(share))


def value_table(book: CellBook) -> Table:
    """Paper, ours with its interval, and ours less the paper's; what is missing is told in the notes."""
    experiment = book.recorded.experiment
    beside = [_beside(book, value) for value in experiment.values]
    rows = [_value_row(one) for one in beside]
    is_marked = any(one.mark for one in beside)
    notes = [book.recorded.note, _about(experiment), *book.remarks, *_value_notes(beside)]
    notes += [MARK_NOTES[DEFAULT_MARK]] if is_marked else []
    title = f"Paper and ours: {book.recorded.described.name}, {_metric_title(experiment)}"
    header = ("row", "column", "paper", "ours", "difference")
    return make_table("experiment", title, header, rows, n_labels=2, notes=notes, cells=book.keys)


@dataclass(frozen=True, slots=True)
class Beside:
    """A value of the paper with ours beside it, or why there is none."""

    value: PaperValue
    ours: Measured | None
    why: str
    mark: str


def _beside(book: CellBook, value: PaperValue) -> Beside:
    ours, why = _ours(book, value)
    return Beside(value, ours, why, DEFAULT_MARK if ours is not None and _is_default(book, ours) else "")


def _value_row(one: Beside) -> tuple[Entry, ...]:
    labels = Entry(one.value.row), Entry(one.value.column), Entry(f"{one.value.paper:.3f}")
    if one.ours is None:
        return (*labels, Entry(NOTHING), Entry(NOTHING))
    shown = Entry(f"{one.ours.value:.3f}{one.mark}", aside=bracketed(one.ours.interval))
    return (*labels, shown, Entry(signed(one.ours.value - one.value.paper)))


def _value_notes(beside: Sequence[Beside]) -> list[str]:
    """What differs between the paper's values and ours, and why some of ours are missing; each once."""
    differs: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    for one in beside:
        if one.value.note:
            differs.setdefault(one.value.note, []).append(one.value.row)
        if one.ours is None:
            missing.setdefault(one.why, []).append(f"{one.value.row}, {one.value.column}")
    told = [f"{', '.join(dict.fromkeys(rows))}: {note}" for note, rows in differs.items()]
    return told + [f"{NOTHING} {'; '.join(places)}: {why.rstrip('.')}." for why, places in missing.items()]


def _about(experiment: Experiment) -> str:
    return f"{experiment.about} In brackets: 95 % intervals of ours over speakers or sessions; papers give none."


def _metric_title(experiment: Experiment) -> str:
    names = dict.fromkeys(value.metric.split()[0] if value.metric else experiment.metric for value in experiment.values)
    return ", ".join(names)


def _ours(book: CellBook, value: PaperValue) -> tuple[Measured | None, str]:
    """Our number beside one of the paper's, or why there is none."""
    if value.needs:
        return None, f"needs a {value.needs}"
    found = book.select(value.where, value.metric or book.recorded.experiment.metric)
    if len(found) == 1:
        return found[0], ""
    if found:
        return None, f"{len(found)} of our cells match; say more in `where`"
    return None, "; ".join(dict.fromkeys(book.lacking(value.where))) or "not run"


def _is_default(book: CellBook, measured: Measured) -> bool:
    outcome = book.cell(measured).headline
    return outcome is not None and outcome.rule == "default"


def claim_table(book: CellBook) -> Table:
    """The verdict on every claim with the number of columns behind it; sentences and numbers are in the notes."""
    experiment = book.recorded.experiment
    rows, notes = (
        [],
        [book.recorded.note, *([] if experiment.values else [experiment.about])],
    )  # beside values elsewhere
    for claim, judgement in judgements(book):
        counts = [str(judgement.count(state)) for state in ("holds", "fails")]
        open_ = judgement.count("undecided") + judgement.count("missing")
        counts = [*counts, str(open_)] if judgement.rulings else [NOTHING] * 3
        rows.append((Entry(claim.name), Entry(judgement.verdict), *map(Entry, counts)))
        notes.append(_claim_note(claim, judgement))
    notes += [*book.remarks, _READING]
    title = f"Claims: {book.recorded.described.name}"
    header = ("claim", "verdict", "holds", "fails", "open")
    return make_table("claims", title, header, rows, n_labels=2, notes=notes, cells=book.keys)


_READING = (
    "Supported: the difference (or value) lies on the side that the sentence names, by the sign-flip test of Table 2, "
    "in as many corpora or other columns as the sentence needs. Contradicted: on the other side in so many that it "
    "cannot hold any more. p is corrected for all comparisons of a column over the same people (step-down max-T; those "
    "between other people by Welch's test and Bonferroni; those with a dummy by themselves). Where n of m columns must "
    "hold, each column holds at the level 0.05 / (m - n + 1) and fails at 0.05 / n."
)


def judgements(book: CellBook) -> list[tuple[Claim, Judgement]]:
    """Every claim of an experiment with the verdict on it."""
    experiment = book.recorded.experiment
    return [(claim, judge(claim, book, metric=experiment.metric)) for claim in experiment.claims]


def _claim_note(claim: Claim, judgement: Judgement) -> str:
    why = judgement.why or f"it needs a {claim.needs}"
    note = f" {claim.note}" if claim.note else ""
    return f'{claim.name}: "{claim.says}" ({claim.source}).{note} {judgement.verdict.capitalize()}: {why.rstrip(".")}.'


def claims_frame(recorded: Sequence[Recorded], cells: Sequence[CellOutcomes]) -> pd.DataFrame:
    """One row per experiment and claim: the sentence, the verdict, and the numbers behind it in words."""
    rows = [
        {
            "experiment": one.described.name,
            "digest": one.described.digest,
            "claim": claim.name,
            "says": claim.says,
            "source": claim.source,
            "note": claim.note,
            "verdict": judgement.verdict,
            "holds": judgement.count("holds"),
            "fails": judgement.count("fails"),
            "undecided": judgement.count("undecided"),
            "missing": judgement.count("missing"),
            "least": judgement.least,
            "why": judgement.why,
        }
        for one in recorded
        for claim, judgement in judgements(CellBook(one, cells))
    ]
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["experiment", "claim", "verdict", "why"])
