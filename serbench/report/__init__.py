"""The report: stored predictions -> scores -> tables in every format. It never fits a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from serbench.report.formats import FORMATS, Table
from serbench.report.outcomes import CellOutcomes, load_outcomes
from serbench.report.scores import confusion_table, fold_table, missing_table, recall_table, score_table
from serbench.report.tables import (
    TITLES,
    Indexed,
    confusion_matrices,
    data_table,
    fill_commands,
    matrices,
    recall_matrix,
    score_matrix,
)
from serbench.store import Store, read_frame, read_metadata, write_frame, write_text


@dataclass(frozen=True, slots=True)
class Report:
    """What a report holds: tables for readers, long tables for programs, commands that fill what is missing."""

    tables: tuple[Table, ...]
    scores: pd.DataFrame
    missing: pd.DataFrame
    commands: tuple[str, ...]

    def of(self, stem: str) -> list[Table]:
        """Tables of one kind, e.g. `table2-uar`."""
        return [table for table in self.tables if table.stem == stem]


def make_report(store: Store, *, row_order: Sequence[str] = ()) -> Report:
    """Score every cell of the store and write `report/`.

    Parameters
    ----------
    row_order : names of feature sets and classifiers in the order of the rows; others follow by name.

    Raises
    ------
    StoreError : no cells, or a file that is damaged or cannot be written.
    """
    cells = load_outcomes(store)
    places = {name: i for i, name in enumerate(row_order)}
    found = matrices(cells, lambda name: places.get(name, len(places)))
    tables = [data_table(read_indexes(store))]
    tables += [score_matrix(matrix, metric) for metric in TITLES for matrix in found]
    tables += [recall_matrix(matrix) for matrix in found]
    tables += [table for matrix in found for table in confusion_matrices(matrix)]
    commands = tuple(dict.fromkeys(command for matrix in found for command in fill_commands(matrix)))
    report = Report(tuple(tables), score_table(cells), missing_table(cells), commands)
    _write(report, cells, store)
    return report


def read_indexes(store: Store) -> list[Indexed]:
    """Read the index of every corpus in the store, by name."""
    corpora = []
    for path in sorted((store.root / "index").glob("*.parquet")):
        about = read_metadata(path)
        corpora.append(Indexed(path.stem, read_frame(path), about.get("language", ""), about.get("partial", "")))
    return corpora


def _write(report: Report, cells: Sequence[CellOutcomes], store: Store) -> None:
    folder = store.report
    for stem in dict.fromkeys(table.stem for table in report.tables):
        for ending, render in FORMATS.items():
            if (stem, ending) != ("confusion", "csv"):  # written as a long table below
                write_text(folder / f"{stem}.{ending}", render(report.of(stem)))
    whole = [table for table in report.tables if table.stem != "confusion"]
    write_text(folder / "report.md", "# serbench report\n\n" + FORMATS["md"](whole))
    write_frame(folder / "scores.parquet", report.scores)
    long = {
        "scores": report.scores,
        "recall-long": recall_table(cells),
        "confusion": confusion_table(cells),
        "folds": fold_table(cells),
        "missing": report.missing,
    }
    for name, frame in long.items():
        write_text(folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))


__all__ = ["Report", "Table", "make_report", "read_indexes"]
