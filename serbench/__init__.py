"""serbench: fair classical-ML baselines for speech emotion recognition.

In a notebook::

    import serbench
    scores = serbench.run_grid(["emodb"], serbench.GridRequest(features=("IS09",), classifiers=("svc",))).scores()

Each public name is imported from its module on first use, so that `serbench --help` answers at once.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = {  # public name -> the module that has it
    "Corpus": "serbench.corpora.entry",
    "DEFAULT_CLASSIFIERS": "serbench.classifiers",
    "DEFAULT_FEATURES": "serbench.features",
    "ExperimentResult": "serbench.experiments",
    "Extracted": "serbench.features.extract",
    "GridRequest": "serbench.grid.request",
    "GridResult": "serbench.grid.run",
    "SerbenchError": "serbench.errors",
    "UnknownNameError": "serbench.errors",
    "Workspace": "serbench.workspace",
    "audit_corpora": "serbench.audit",
    "check_store": "serbench.grid.check",
    "clean_store": "serbench.grid.check",
    "compare_results": "serbench.report.compare",
    "corpus_statistics": "serbench.report",
    "export_features": "serbench.features.extract",
    "extract_features": "serbench.features.extract",
    "find_cells": "serbench.grid.check",
    "find_unused": "serbench.grid.check",
    "list_corpora": "serbench.workspace",
    "list_experiments": "serbench.experiments",
    "list_folds": "serbench.scores.outside",
    "load_catalogue": "serbench.corpora.catalogue",
    "load_features": "serbench.features.extract",
    "load_index": "serbench.features.extract",
    "load_scores": "serbench.report",
    "make_report": "serbench.report",
    "plan_grid": "serbench.grid.run",
    "remove_cells": "serbench.grid.check",
    "root_of": "serbench.corpora.catalogue",
    "run_demo": "serbench.demo",
    "run_experiment": "serbench.experiments",
    "run_grid": "serbench.grid.run",
    "run_planned_grid": "serbench.grid.run",
    "score_predictions": "serbench.scores.outside",
    "write_comparison": "serbench.report.compare",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'serbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
