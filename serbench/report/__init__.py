"""The report: stored predictions -> scores -> tables in every format. It never fits a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from serbench.report.formats import FORMATS, Table, frame_to_csv
from serbench.report.matrices import fill_commands, matrices
from serbench.report.outcomes import load_outcomes
from serbench.report.scores import confusion_table, fold_table, missing_table, recall_table, score_table
from serbench.report.tables import (
    TITLES,
    Indexed,
    confusion_matrices,
    data_table,
    recall_matrix,
    score_matrix,
)
from serbench.store import Store, read_frame, read_metadata, write_frame, write_text


@dataclass(frozen=True, slots=True)
class Report:
    """What a report holds: tables for readers, long tables by name for programs, commands that fill what is missing."""

    tables: tuple[Table, ...]
    long: Mapping[str, pd.DataFrame]
    commands: tuple[str, ...]

    @property
    def scores(self) -> pd.DataFrame:
        """One row per cell, rule and metric."""
        return self.long["scores"]

    def of(self, stem: str) -> list[Table]:
        """Tables of one kind, e.g. `table2-uar`."""
        return [table for table in self.tables if table.stem == stem]


def make_report(store: Store, *, row_order: Sequence[str] = ()) -> Report:
    """Score every cell of the store; nothing is written.

    Parameters
    ----------
    row_order : names of feature sets and classifiers in the order of the rows; others follow by name.

    Raises
    ------
    StoreError : no cells, or a cell's record or an index is damaged.
    """
    cells = load_outcomes(store)
    places = {name: i for i, name in enumerate(row_order)}
    found = matrices(cells, lambda name: places.get(name, len(places)))
    tables = [data_table(read_indexes(store))]
    tables += [score_matrix(matrix, metric) for metric in TITLES for matrix in found]
    tables += [recall_matrix(matrix) for matrix in found]
    tables += [table for matrix in found for table in confusion_matrices(matrix)]
    commands = tuple(dict.fromkeys(command for matrix in found for command in fill_commands(matrix)))
    long = {
        "scores": score_table(cells),
        "recall-long": recall_table(cells),
        "confusion": confusion_table(cells),
        "folds": fold_table(cells),
        "missing": missing_table(cells),
    }
    return Report(tuple(tables), long, commands)


def read_indexes(store: Store) -> list[Indexed]:
    """Read the index of every corpus in the store, by name."""
    corpora = []
    for path in store.indexes:
        about = read_metadata(path)
        corpora.append(Indexed(path.stem, read_frame(path), about.get("language", ""), about.get("partial", "")))
    return corpora


def write_report(report: Report, store: Store) -> None:
    """Write every table to the store's `report/`."""
    folder = store.report
    for stem in ("recall", "confusion", *(f"table2-{metric}" for metric in TITLES)):
        if not report.of(stem):  # what this report does not have must not stay from the last one
            for ending in FORMATS:
                (folder / f"{stem}.{ending}").unlink(missing_ok=True)
    for stem in dict.fromkeys(table.stem for table in report.tables):
        for ending, render in FORMATS.items():
            if (stem, ending) != ("confusion", "csv"):  # written as a long table below
                write_text(folder / f"{stem}.{ending}", render(report.of(stem)))
    whole = [table for table in report.tables if table.stem != "confusion"]
    missing = "\n".join(["### Missing, and the commands that fill it", "", *(f"    {c}" for c in report.commands)])
    text = "# serbench report\n\n" + FORMATS["md"](whole) + (f"\n{missing}\n" if report.commands else "")
    write_text(folder / "report.md", text)
    write_frame(folder / "scores.parquet", report.scores)
    for name, frame in report.long.items():
        write_text(folder / f"{name}.csv", frame_to_csv(frame))


__all__ = ["Report", "Table", "make_report", "read_indexes", "write_report"]
