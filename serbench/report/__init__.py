"""The report: stored predictions -> scores -> tables in every format. It never fits a classifier."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from serbench import __version__
from serbench.errors import StoreError, listed
from serbench.experiments.tables import claims_frame, experiment_tables, read_recorded
from serbench.progress import Progress, silent
from serbench.report.across import Curve, curves, transfer_tables
from serbench.report.audited import with_audits
from serbench.report.breakdowns import BREAKDOWNS, group_table, held_out_tables, seed_tables
from serbench.report.comparisons import Contests, contests, difference_table
from serbench.report.matrices import Matrix, fill_commands, matrices
from serbench.report.table import FORMATS, Table
from serbench.report.tables import (
    TITLES,
    Indexed,
    confusion_matrices,
    data_table,
    recall_matrix,
    score_matrix,
)
from serbench.report.transfer import Crossing, against_chance, crossings, fill_pairs
from serbench.scores.columns import keep_comparable
from serbench.scores.outcomes import load_outcomes
from serbench.scores.provenance import Provenance, made_with
from serbench.scores.scores import (
    confusion_table,
    fold_table,
    missing_table,
    provenance_table,
    recall_table,
    score_table,
)
from serbench.store.files import (
    frame_to_csv,
    put_staged,
    read_frame,
    read_json,
    read_metadata,
    staged,
    write_frame,
    write_json,
    write_text,
)
from serbench.store.keys import digest
from serbench.store.results import Store


@dataclass(frozen=True, slots=True)
class Report:
    """What a report holds: tables for readers, long tables by name for programs, commands that fill what is missing.

    `provenance` is what `provenance.json` holds, `made_with` the releases in a line.
    `compared`, `indexes`, `crossed` and `curves` are what the tables were made from, for figures and the page.
    """

    tables: tuple[Table, ...]
    long: Mapping[str, pd.DataFrame]
    commands: tuple[str, ...]
    provenance: Mapping[str, Any]
    made_with: str
    compared: tuple[tuple[Matrix, Contests], ...]
    indexes: tuple[Indexed, ...]
    crossed: tuple[Crossing, ...] = ()
    curves: tuple[Curve, ...] = ()

    @property
    def scores(self) -> pd.DataFrame:
        """One row per cell, rule and metric."""
        return self.long["scores"]

    def of(self, stem: str) -> list[Table]:
        """Tables of one kind, e.g. `table2-uar`."""
        return [table for table in self.tables if table.stem == stem]

    @property
    def missing(self) -> dict[str, list[str]]:
        """Reasons why cells have no result, each with the cells in words."""
        table = self.long["missing"]
        cells = table[table["what"] == "cell"]
        names = cells["corpus"] + " " + cells["features"] + " " + cells["classifier"]
        return {str(reason): list(of) for reason, of in names.groupby(cells["reason"], sort=False)}


def make_report(store: Store, *, row_order: Sequence[str] = ()) -> Report:
    """Score every cell of the store; nothing is written.

    Parameters
    ----------
    row_order : names of feature sets and classifiers in the order of the rows; others follow by name.

    Raises
    ------
    StoreError : no cells, or a cell's record or an index is damaged.
    """
    indexes = read_indexes(store)
    cells = against_chance(with_audits(keep_comparable(load_outcomes(store)), indexes, store))
    places = {name: i for i, name in enumerate(row_order)}

    def order(name: str) -> int:
        return places.get(name, len(places))

    found = matrices(cells, order)
    tables = [data_table(indexes)]
    compared = [(matrix, contests(matrix)) for matrix in found]
    tables += [score_matrix(matrix, metric, of_matrix) for metric in TITLES for matrix, of_matrix in compared]
    tables += [recall_matrix(matrix) for matrix in found]
    tables += [table for breakdown in BREAKDOWNS for matrix in found if (table := breakdown(matrix))]
    tables += [*held_out_tables(found), *seed_tables(found)]
    pairs = crossings(cells, order)
    drawn = curves(cells, pairs, order)
    tables += transfer_tables(cells, pairs, drawn, {str(i.index["corpus"].iloc[0]): i.language for i in indexes}, order)
    tables += [table for matrix in found for table in confusion_matrices(matrix)]
    recorded = list(read_recorded(store))
    tables += experiment_tables(recorded, cells)
    filling = [command for matrix in found for command in fill_commands(matrix)]
    commands = tuple(dict.fromkeys([*filling, *fill_pairs(cells)]))
    long = {
        "scores": score_table(cells),
        "groups": group_table(cells),
        "recall-long": recall_table(cells),
        "differences": difference_table(compared),
        "confusion": confusion_table(cells),
        "folds": fold_table(cells),
        "missing": missing_table(cells),
        "provenance": provenance_table(cells, _standing_in(found)),
    }
    if recorded:
        long["claims-long"] = claims_frame(recorded, cells)
    made = [cell.provenance for cell in cells]
    scored = [cell.provenance for cell in cells if cell.outcomes]
    document = _document(tables, made, store)
    return Report(
        tables=tuple(tables),
        long=long,
        commands=commands,
        provenance=document,
        made_with=made_with(scored),
        compared=tuple(compared),
        indexes=tuple(indexes),
        crossed=tuple(pairs),
        curves=tuple(drawn),
    )


def _standing_in(found: Iterable[Matrix]) -> dict[str, list[str]]:
    """Key of a cell -> keys of the matrices that it stands in."""
    where: dict[str, list[str]] = {}
    for matrix in found:
        for key in set(matrix.keys):
            where.setdefault(key, []).append(digest(sorted(set(matrix.keys)))[:12])
    return where


def _document(tables: Iterable[Table], cells: Iterable[Provenance], store: Store) -> dict[str, Any]:
    """All provenance as JSON: of each table its cells, of each cell what made it, with settings and feature sets."""
    made = {p.key: p for p in cells}
    keys = sorted({p.feature_key for p in made.values() if p.feature_key})
    described = {key: store.features(key, "set.json") for key in keys}
    return {
        "report": {"serbench": __version__},
        "tables": [{"file": t.stem, "title": t.title, "provenance": t.key, "cells": list(t.cells)} for t in tables],
        "cells": {key: p.json for key, p in sorted(made.items())},
        "settings": {p.settings: p.space for _, p in sorted(made.items()) if not p.outside},
        "features": {key: read_json(path) for key, path in described.items() if path.is_file()},
    }


def read_indexes(store: Store) -> list[Indexed]:
    """Read the index of every corpus in the store, by name."""
    corpora = []
    for path in store.indexes:
        about = read_metadata(path)
        known = [about.get(name, "") for name in ("language", "partial", "serbench")]
        corpora.append(Indexed(path.stem, read_frame(path), *known))
    return corpora


def write_report(report: Report, store: Store, *, figures: bool = False, progress: Progress = silent) -> Report:
    """Write every table, the page and figures to the store's `report/`.

    Everything is rendered elsewhere and moved then, so that a report that fails leaves the last one whole. What the
    last report wrote and this one does not have goes; files of others stay, and so do files that others altered.

    Parameters
    ----------
    figures : draw every figure; otherwise those that the last report drew and that are there, so that none is stale.

    Returns
    -------
    the report with the files that were written in its provenance.
    """
    from serbench.report.figures import FOLDER, write_figures

    store.clear_leftovers()
    earlier = _files_of_last(store)
    own = {name for name, is_as_written in earlier.items() if is_as_written}
    with staged(store.report) as folder:
        _write_tables(report, folder)
        drawn = {Path(name).stem for name in own if name.startswith(f"{FOLDER}/")}
        write_figures(report, folder, only=None if figures else drawn, progress=progress)
        rendered = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
        kept = [n for n in rendered if figures or n in own or not n.startswith(f"{FOLDER}/")]  # of SVG and PDF one
        files = {name: hashlib.sha256(rendered[name].read_bytes()).hexdigest() for name in kept}
        written = replace(report, provenance={**report.provenance, "files": files})
        write_json(folder / store.provenance.name, written.provenance)
        # First the list, so that at every instant it names all that is there of this report.
        put_staged(folder, store.report, [store.provenance.name, *files], stale=own - set(files))
    altered = [name for name in earlier if name not in own and name not in files and (store.report / name).exists()]
    if altered:
        warnings.warn(
            f"{store.report}: altered since serbench wrote them, and left alone: {listed(altered)}", stacklevel=2
        )
    return written


def _files_of_last(store: Store) -> dict[str, bool]:
    """Files that the last report wrote; none, which is told, where there are files and no list of them."""
    try:
        return store.report_files()
    except StoreError:
        if store.report.is_dir() and any(store.report.iterdir()):
            told = "no list of what the last report wrote; all of its files that this one does not have stay"
            warnings.warn(f"{store.report}: {told}", stacklevel=3)
        return {}


def _write_tables(report: Report, folder: Path) -> None:
    from serbench.report.page import FILE, render_page

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
    write_text(folder / FILE, render_page(report))


__all__ = ["Report", "Table", "make_report", "read_indexes", "write_report"]
