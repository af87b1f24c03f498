"""What a notebook calls: each stage as one function, chained where one needs another.

A `Workspace` says where results go and how to run; the default is `results/` in the working directory with one
worker per core. Stages are imported inside the functions, so that errors in names come at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import serbench
from serbench.api.grids import list_folds, score_predictions
from serbench.classifiers import DEFAULT_CLASSIFIERS
from serbench.corpora.catalogue import load_catalogue, root_of
from serbench.corpora.entry import Corpus
from serbench.errors import SerbenchError, UnknownNameError
from serbench.features import DEFAULT_FEATURES
from serbench.grid.request import GridRequest
from serbench.grid.stage import GridResult, plan_grid, run_grid, run_planned_grid
from serbench.workspace import Workspace, list_corpora

if TYPE_CHECKING:
    from serbench.demo import run_demo
    from serbench.experiments.run import ExperimentResult, list_experiments, run_experiment
    from serbench.features.extract import Extracted, export_features, extract_features, load_features, load_index
    from serbench.grid.check import check_store, clean_store, find_unused
    from serbench.report import corpus_statistics, load_scores, make_report
    from serbench.report.compare import compare_results, write_comparison

__all__ = [
    "DEFAULT_CLASSIFIERS",
    "DEFAULT_FEATURES",
    "Corpus",
    "ExperimentResult",
    "Extracted",
    "GridRequest",
    "GridResult",
    "SerbenchError",
    "UnknownNameError",
    "Workspace",
    "check_store",
    "clean_store",
    "compare_results",
    "corpus_statistics",
    "export_features",
    "extract_features",
    "find_unused",
    "list_corpora",
    "list_experiments",
    "list_folds",
    "load_catalogue",
    "load_features",
    "load_index",
    "load_scores",
    "make_report",
    "plan_grid",
    "root_of",
    "run_demo",
    "run_experiment",
    "run_grid",
    "run_planned_grid",
    "score_predictions",
    "write_comparison",
]


def __getattr__(name: str) -> Any:
    """Import on first use what has moved into its room."""
    if name in serbench._MODULES and serbench._MODULES[name] != __name__:
        return getattr(serbench, name)
    raise AttributeError(f"module 'serbench.api' has no attribute '{name}'")
