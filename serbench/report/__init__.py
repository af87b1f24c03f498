"""The report: stored predictions -> scores -> tables in every format. It never fits a classifier.

What made a number is a key: of a cell, or of a table, in `provenance.json`, which also lists the files of the report.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from serbench import __version__
from serbench.classifiers import CLASSIFIERS
from serbench.corpora import Names
from serbench.errors import StoreError, listed
from serbench.features import FEATURE_SETS
from serbench.protocols import find_protocol
from serbench.report.across import Curve, across_tables
from serbench.report.answers import Answer, first_answers, headed
from serbench.report.audits import read_audits, with_audits, with_cues
from serbench.report.breakdowns import BREAKDOWNS, group_table, held_out_tables, seed_tables
from serbench.report.comparisons import Matrix, fill_commands, matrices
from serbench.report.table import FORMATS, Table, md_text
from serbench.report.tables import (
    confusion_matrices,
    data_table,
    recall_matrix,
    score_matrix,
)
from serbench.scores.comparable import keep_comparable
from serbench.scores.metrics import METRICS
from serbench.scores.predictions import CellPredictions, load_predictions, read_indexes, settings_key
from serbench.scores.scores import (
    confusion_table,
    fold_table,
    made_with,
    missing_table,
    provenance_table,
    recall_table,
    score_table,
)
from serbench.store.files import (
    frame_to_csv,
    put_staged,
    read_json,
    staged,
    write_json,
    write_table,
    write_text,
)
from serbench.store.results import Store
from serbench.workspace import HERE, Progress, Workspace, silent

if TYPE_CHECKING:
    from serbench.features.extract import Extracted


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Tables for readers, long tables by name for programs, and commands that fill what is missing.

    `provenance` is what `provenance.json` has, `made_with` the releases in a line. `cells`, `matrices` and `curves` are
    what tables were made from, for figures and the page. `answers` has one for each corpus, of its first matrix.
    `made_on` is the day (UTC) on which the newest cell was written.
    """

    tables: tuple[Table, ...]
    long: Mapping[str, pd.DataFrame]
    commands: tuple[str, ...]
    provenance: Mapping[str, Any]
    made_with: str
    cells: tuple[CellPredictions, ...]
    matrices: tuple[Matrix, ...]
    curves: tuple[Curve, ...] = ()
    answers: tuple[Answer, ...] = ()
    made_on: str = ""

    @property
    def scores(self) -> pd.DataFrame:
        """One row per cell, rule and metric."""
        return self.long["scores"]

    @property
    def lead(self) -> dict[str, list[str]]:
        """Sentences on the best cell of each corpus, below a line on their setup."""
        return headed(self.answers)

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


def make_report(workspace: Workspace = HERE, *, figures: bool = False) -> Report:
    """Score every cell of the results folder and write its `report/`.

    Parameters
    ----------
    figures : draw every figure as SVG and PDF, too. Without it, they are drawn where the last report has them.
    """
    store = workspace.store()
    return write_report(score_store(store), store, figures=figures, progress=workspace.progress)


def load_scores(workspace: Workspace = HERE) -> pd.DataFrame:
    """Return the scores of all cells of the results folder: one row per cell, rule and metric. Nothing is written."""
    return score_store(workspace.store()).scores


def corpus_statistics(names: Names = None, workspace: Workspace = HERE) -> tuple[Table, Extracted]:
    """Return Table 1 (data statistics) of the corpora named, or of all on disk, and what indexing them reported."""
    from serbench.features.extract import extract_features

    extracted = extract_features(names, (), workspace)
    wanted = {one.corpus for one in extracted.done}
    return data_table([corpus for corpus in read_indexes(workspace.store()) if corpus.name in wanted]), extracted


def score_store(store: Store) -> Report:
    """Score every cell of a store; nothing is written.

    Raises
    ------
    StoreError : no cells, or a cell's record or an index is damaged.
    """
    # Here, as tables of experiments import `report.table`, and with it this module.
    from serbench.experiments.tables import claims_frame, experiment_tables, read_books

    indexes = read_indexes(store)
    audits = read_audits(indexes, store)
    cells = with_audits(keep_comparable(load_predictions(store, indexes)), audits)
    places = {name: i for i, name in enumerate([*FEATURE_SETS, *CLASSIFIERS])}

    def order(name: str) -> int:  # those of plug-ins and a user's own follow by name
        return places.get(name, len(places))

    every = [with_cues(matrix, audits) for matrix in matrices(cells, order)]
    found = [matrix for matrix in every if not find_protocol(matrix.setup.axes.protocol).is_pairwise]
    tables = [data_table(indexes)]
    as_files = [name for name, metric in METRICS.items() if metric.is_table]
    tables += [score_matrix(matrix, metric, "nested") for metric in as_files for matrix in found]
    tables += map(recall_matrix, found)
    tables += [table for breakdown in BREAKDOWNS for matrix in found if (table := breakdown(matrix))]
    tables += [*held_out_tables(found), *seed_tables(found)]
    languages = {str(one.frame["corpus"].iloc[0]): one.about.get("language", "") for one in indexes}
    across, curves = across_tables(cells, languages, order)
    tables += across
    tables += [table for matrix in found for table in confusion_matrices(matrix)]
    books = list(read_books(store, cells))
    claims = claims_frame(books)
    tables += experiment_tables(books, claims)
    where: dict[str, list[str]] = {}
    for table in tables:
        for key in table.cells if table.stem == "table2-uar" else ():
            where.setdefault(key, []).append(table.key)
    differences = [row for matrix in found for row in matrix.differences]
    long = {
        "scores": score_table(cells),
        "groups": group_table(cells),
        "recall-long": recall_table(cells),
        "differences": pd.DataFrame(differences, columns=None if differences else ["corpus", "metric"]),
        "confusion": confusion_table(cells),
        "folds": fold_table(cells),
        "missing": missing_table(cells),
        "provenance": provenance_table(cells, where),
    }
    if books:
        long["claims-long"] = claims
    provenance = _provenance(tables, cells, store)
    return Report(
        tuple(tables),
        long,
        tuple(fill_commands(every)),
        provenance,
        made_with(cell.record for cell in cells if cell.with_values),
        tuple(cells),
        tuple(found),
        tuple(curves),
        tuple(first_answers(found)),
        day_of(store),
    )


def day_of(store: Store) -> str:
    """Return the day (UTC) on which the newest cell of a store was written; empty where there is none."""
    newest = max((path.stat().st_mtime for path in store.cells), default=None)
    return "" if newest is None else f"{datetime.fromtimestamp(newest, UTC):%Y-%m-%d}"


def _provenance(tables: Iterable[Table], cells: Sequence[CellPredictions], store: Store) -> dict[str, Any]:
    """What made every table and cell, with settings and feature sets, as JSON."""
    made = {cell.key: cell.made for cell in cells}
    records = [cell.record for cell in cells]
    described = {r.feature_key: store.features(r.feature_key, "set.json") for r in records if r.feature_key}
    spaces = {settings_key(r): {"settings": r.settings, "default": r.default} for r in records if not r.outside}
    return {
        "report": {"serbench": __version__},
        "tables": [{"file": t.stem, "title": t.title, "provenance": t.key, "cells": list(t.cells)} for t in tables],
        "cells": dict(sorted(made.items())),
        "settings": dict(sorted(spaces.items())),
        "features": {key: read_json(path) for key, path in sorted(described.items()) if path.is_file()},
    }


def write_report(report: Report, store: Store, *, figures: bool = False, progress: Progress = silent) -> Report:
    """Write every table, the page and figures to the store's `report/`.

    Everything is rendered elsewhere and moved then, so that a report that fails leaves the last one whole. What the
    last report wrote and this one does not have goes; files of others stay, and so do files that others altered.

    Parameters
    ----------
    figures : draw every figure. Without it, figures are drawn where the last report has some, so that none is stale;
        one that a user altered stays.

    Returns
    -------
    the report with the files that were written in its provenance.
    """
    from serbench.report.figures import FOLDER, write_figures
    from serbench.report.page import FILE, render_page

    store.clear_leftovers()
    earlier = _files_of_last(store)
    own = {name for name, is_as_written in earlier.items() if is_as_written}
    with staged(store.report) as folder:
        for stem in dict.fromkeys(table.stem for table in report.tables):
            for ending, render in FORMATS.items():
                if (stem, ending) != ("confusion", "csv"):  # a long table has this name
                    write_text(folder / f"{stem}.{ending}", render(report.of(stem)))
        text = "# serbench report\n\n"
        for title, sentences in report.lead.items():
            text += f"{md_text(title)}\n\n" + "".join(f"- {md_text(one)}\n" for one in sentences) + "\n"
        text += FORMATS["md"]([t for t in report.tables if t.stem != "confusion"])
        if report.commands:
            text += "\n### Missing, and the commands that fill it\n\n" + "".join(f"    {c}\n" for c in report.commands)
        write_text(folder / "report.md", text)
        write_table(folder / "scores.parquet", report.scores)
        for name, frame in report.long.items():
            write_text(folder / f"{name}.csv", frame_to_csv(frame))
        write_text(folder / FILE, render_page(report))
        if figures or any(name.startswith(f"{FOLDER}/") for name in own):
            write_figures(report, folder, progress=progress)
        rendered = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
        retouched = {n for n in earlier if n not in own and n.startswith(f"{FOLDER}/") and (store.report / n).exists()}
        kept = [name for name in rendered if figures or name not in retouched]
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
    """Files that the last report wrote, and whether each is as it wrote it; none where there is no list of them."""
    try:
        return store.report_files()
    except StoreError:
        if store.report.is_dir() and any(store.report.iterdir()):
            what = "no list of what the last report wrote; all of its files that this one does not have stay"
            warnings.warn(f"{store.report}: {what}", stacklevel=3)
        return {}
