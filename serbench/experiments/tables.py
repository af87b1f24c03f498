"""Recorded experiments -> what the paper printed, ours and the difference; and verdicts on the paper's sentences.

A record (`results/experiments/NAME.json`) holds the description as it was run and names its cells, so that other
cells of the same results folder are never compared with a paper's values. Values are by the nested rule, on all
utterances that a cell has; where there is no nested value they are by the default setting, and marked.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from serbench.errors import ConfigError, StoreError
from serbench.experiments.claims import Book, judge
from serbench.experiments.load import built_in, find_experiment, read_experiment
from serbench.report.comparisons import DEFAULT_MARK, MARK_NOTES, transductive_note
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table, signed
from serbench.scores.predictions import CellPredictions
from serbench.store.files import read_json
from serbench.store.results import Store

_READING = (
    "Supported: by the sign-flip test of Table 2, the difference (or value) is on the side that the sentence names, in "
    "as many groups as the sentence needs. Contradicted: it is on the other side in so many groups that the sentence "
    "cannot hold any more. p is corrected for all comparisons of a group over the same people (step-down max-T; those "
    "between other people by Welch's test and Bonferroni; those with a dummy by themselves). Where n of m groups must "
    "hold, each group holds at the level 0.05 / (m - n + 1) and fails at 0.05 / n."
)


def read_books(store: Store, cells: Sequence[CellPredictions]) -> Iterator[Book]:
    """Read the experiments that were run on a results folder; one that cannot be read is left out with a warning."""
    for path in store.experiments:
        try:
            record = read_json(path)
            described = read_experiment(record["text"], record["name"])
        except (ConfigError, StoreError) as error:
            told = f"{path.name}: the record of an experiment cannot be used and is left out; run it again. {error}"
            warnings.warn(told, stacklevel=2)
            continue
        there = [cell for cell in cells if cell.cell in record["cells"]]
        gone = [fields for fields in record["cells"] if fields not in [cell.cell for cell in there]]
        yield Book(described, there, record["absent"], record["skipped"], gone)


def claims_frame(books: Sequence[Book]) -> pd.DataFrame:
    """One row per experiment and claim: the sentence, the verdict, and the numbers behind it in words."""
    rows: list[dict[str, Any]] = []
    for book in books:
        about = {"experiment": book.described.name, "digest": book.described.digest}
        for claim in book.described.experiment.claims:
            judgement = judge(claim, book, metric=book.described.experiment.metric)
            of = {"claim": claim.name, "says": claim.says, "source": claim.source, "note": claim.note}
            counts = {state: judgement.count(state) for state in ("holds", "fails", "undecided", "missing")}
            least = claim.test.at_least or len(claim.test.groups) if claim.test else 0
            verdict = {"verdict": judgement.verdict, **counts, "at_least": least, "why": judgement.why}
            rows.append({**about, **of, **verdict})
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["experiment", "claim", "verdict", "why"])


def experiment_tables(books: Sequence[Book], claims: pd.DataFrame) -> list[Table]:
    """Tables of all experiments: paper and ours, and the verdicts of `claims_frame`."""
    tables = [_value_table(book) for book in books if book.described.experiment.values]
    return tables + [_claim_table(book, claims) for book in books if book.described.experiment.claims]


def _value_table(book: Book) -> Table:
    """Paper, ours with its interval, and ours less the paper's; notes give the reasons why values are missing."""
    experiment, rows = book.described.experiment, []
    differs: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    for value in experiment.values:
        metric = value.metric or experiment.metric
        found = [] if value.needs else book.values(value.where, metric)
        ours, gap = Entry(NOTHING), Entry(NOTHING)
        if len(found) == 1:
            mark = "" if found[0].cell.is_chosen else DEFAULT_MARK
            ours = Entry(f"{found[0].number:.3f}{mark}", aside=bracketed(found[0].interval))
            gap = Entry(signed(found[0].number - value.paper))
        else:
            why = (
                f"{len(found)} of our cells match; give more columns in `where`" if found else f"needs a {value.needs}"
            )
            if not (found or value.needs):
                why = "; ".join(dict.fromkeys(book.lacking(value.where, metric))) or "not run"
            missing.setdefault(why, []).append(f"{value.row}, {value.column}")
        rows.append((value.row, value.column, f"{value.paper:.3f}", ours, gap))
        if value.note:
            differs.setdefault(value.note, []).append(value.row)
    notes = [f"{experiment.about} In brackets: 95 % intervals of ours over speakers or sessions; papers give none."]
    notes += [f"{', '.join(dict.fromkeys(of))}: {note}" for note, of in differs.items()]
    notes += [f"{NOTHING} {'; '.join(places)}: {why.rstrip('.')}." for why, places in missing.items()]
    notes += [MARK_NOTES[DEFAULT_MARK]] if any(DEFAULT_MARK in row[3].text for row in rows) else []
    metrics = dict.fromkeys(v.metric.split()[0] if v.metric else experiment.metric for v in experiment.values)
    title = f"Paper and ours: {book.described.name}, {', '.join(metrics)}"
    return _table(book, "experiment", title, ["row", "column", "paper", "ours", "difference"], rows, notes)


def _claim_table(book: Book, claims: pd.DataFrame) -> Table:
    """The verdict on every claim with the number of groups behind it; sentences and numbers are in the notes."""
    experiment = book.described.experiment
    notes = [] if experiment.values else [experiment.about]  # else with the values
    rows = []
    for of in claims[claims["experiment"] == book.described.name].to_dict("records"):
        counts = [of["holds"], of["fails"], of["undecided"] + of["missing"]] if of["at_least"] else [NOTHING] * 3
        rows.append((of["claim"], of["verdict"], *counts))
        note = f" {of['note']}" if of["note"] else ""
        verdict = f"{of['verdict'].capitalize()}: {of['why'].rstrip('.')}."
        notes.append(f'{of["claim"]}: "{of["says"]}" ({of["source"]}).{note} {verdict}')
    header = ["claim", "verdict", "holds", "fails", "open"]
    return _table(book, "claims", f"Claims: {book.described.name}", header, rows, [*notes, _READING])


def _table(
    book: Book, stem: str, title: str, header: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str]
) -> Table:
    """Make a table; its notes begin with the state of the experiment, and end with what holds for its cells."""
    described = book.described
    left_out = "; ".join(f"{name} ({why})" for name, why in book.absent.items())
    absent = f" Took no part: {left_out}." if left_out else ""
    first = f"{described.experiment.title}. {described.experiment.citation} "
    is_other = described.name in built_in() and find_experiment(described.name).digest != described.digest
    other = "; serbench comes with another description of this name, which `serbench run` runs" if is_other else ""
    first += f"Experiment {described.name}, frozen as {described.digest}{other}.{absent}"
    cells = [cell for cell in book.cells if cell.with_values]
    partials = {f"{n.partition('@')[0]}: {why}." for cell in cells for n, why in cell.record.partials.items()}
    heard = {transductive_note(cell.cell["scaling"]) for cell in cells if cell.record.transductive}
    return make_table(
        stem,
        title,
        header,
        rows,
        n_labels=2,
        notes=[first, *notes, *sorted(partials), *sorted(heard)],
        cells=[cell.key for cell in cells],
        facets={"experiment": described.name},
    )
