"""Experiments: whole tables of papers as data, with the paper's values and sentences to hold ours against."""

from __future__ import annotations

from serbench.experiments.load import Described, built_in_names, check_names, find_experiment, read_experiment
from serbench.experiments.record import Claim, Experiment, Grid, PaperValue, Trial

__all__ = [
    "Claim",
    "Described",
    "Experiment",
    "Grid",
    "PaperValue",
    "Trial",
    "built_in_names",
    "check_names",
    "find_experiment",
    "read_experiment",
]
