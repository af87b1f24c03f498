"""Reports of a results folder, and what differs between two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serbench.classifiers import CLASSIFIERS
from serbench.errors import (
    StoreError,
)
from serbench.features import FEATURE_SETS
from serbench.workspace import HERE, Workspace

if TYPE_CHECKING:
    import pandas as pd

    from serbench.report import Report
    from serbench.report.compare import RunComparison


def make_report(workspace: Workspace = HERE, *, figures: bool = False) -> Report:
    """Score every cell of the results folder and write its `report/`.

    Parameters
    ----------
    figures : draw every figure as SVG and PDF, too; otherwise those that the last report drew are drawn again.
    """
    from serbench.report import write_report

    return write_report(score_store(workspace), workspace.store(), figures=figures, progress=workspace.progress)


def load_scores(workspace: Workspace = HERE) -> pd.DataFrame:
    """Return the scores of all cells of the results folder: one row per cell, rule and metric. Nothing is written."""
    return score_store(workspace).scores


def compare_results(a: Workspace | Path | str, b: Workspace | Path | str, *, metric: str = "uar") -> RunComparison:
    """Say what changed between two results folders, cell by cell, or why cells cannot be compared.

    Differences are B minus A, on the utterances that both predict. Nothing is written.

    Parameters
    ----------
    metric : uar, war, kappa or macro_f1; only the first two are tested.
    """
    from serbench.report.compare import check_metric, compare_stores

    check_metric(metric)
    both = [place if isinstance(place, Workspace) else Workspace(results=place) for place in (a, b)]
    names = str(both[0].results), str(both[1].results)
    return compare_stores(both[0].store(), both[1].store(), names, metric=metric)


def write_comparison(comparison: RunComparison, path: Path | str) -> None:
    """Write a comparison: every cell as CSV, or what changed as tables in Markdown or LaTeX."""
    from serbench.report.table import FORMATS
    from serbench.store.files import frame_to_csv, write_text

    target = Path(path)
    ending = target.suffix.removeprefix(".")
    if ending not in FORMATS:
        raise StoreError(str(target), f"'{target.suffix}'", "a name that ends in .csv, .md or .tex")
    write_text(
        target,
        frame_to_csv(comparison.frame)
        if ending == "csv"
        else FORMATS[ending]([comparison.overview, *comparison.tables]),
    )


def score_store(workspace: Workspace) -> Report:
    """Score every cell of the results folder; nothing is written."""
    from serbench.report import make_report as make

    # Those of plug-ins and a user's own follow by name.
    return make(workspace.store(), row_order=[*FEATURE_SETS, *CLASSIFIERS])
