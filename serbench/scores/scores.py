"""Predictions -> long tables of numbers: scores, recalls, confusions, folds, and what is missing.

A pool is scored once over all test utterances of a cell. Means over folds have names of their own (`uar_folds`,
`war_folds`); each fold is averaged over the emotions that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from serbench.grid.cells import CELL_COLUMNS
from serbench.scores.metrics import BOUNDS, FOLD_METRICS, METRICS, Metric, names, recalls, uar, war
from serbench.scores.predictions import CellPredictions
from serbench.scores.provenance import worded
from serbench.scores.statistics import Interval, jackknife_interval

Row = dict[str, Any]


def score_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """One row per cell, rule and metric; `value` is null where `reason` says why.

    `low` and `high` are the interval over units, `sd` the standard deviation over folds (ddof 1). `n_incomplete` counts
    units without which an emotion has no utterance.
    """
    nothing = dict.fromkeys(("value", "low", "high", "n_units", "sd"))
    rows = []
    for cell in cells:
        common = {
            "n_utterances": cell.n_utterances,
            "n_missing": len(cell.record.missing),
            "n_speakers": cell.of()["person"].nunique() if cell.person == "speaker" else None,
            "n_folds": cell.of()["fold"].nunique(),
            "transductive": None if cell.is_outside else cell.record.transductive,
            "notes": "; ".join(cell.notes),
            "unit": cell.unit,
            "n_incomplete": n_incomplete(cell),
        }
        for rule in cell.rules:
            is_there = rule in cell.with_values
            values = values_by(cell, rule) if is_there else dict.fromkeys((*METRICS, *FOLD_METRICS), nothing)
            own = {**common, "reason": "" if is_there else cell.reasons.get(rule, "")}
            rows += [{**cell.fields, "rule": rule, "metric": m, **value, **own} for m, value in values.items()]
    types = {"n_units": "Int64", "n_speakers": "Int64", "transductive": "boolean", "low": "float", "high": "float"}
    return pd.DataFrame(rows).astype(types)


def values_by(cell: CellPredictions, rule: str) -> dict[str, Row]:
    """Value and interval of every metric by a rule, and for means over folds their standard deviation."""
    if ("values", rule) in cell.known:
        known: dict[str, Row] = cell.known["values", rule]
        return known
    folds = cell.stack("unit", "fold", rule=rule)
    units = folds.sum(axis=1)
    values = {}
    for name, metric in METRICS.items():
        interval = jackknife_interval(units, metric, bounds=BOUNDS[name])
        values[name] = {"value": metric(units.sum(axis=0)), **_ends(interval), "n_units": len(units), "sd": None}
    for name, metric in FOLD_METRICS.items():
        each = [metric(fold) for fold in folds.sum(axis=0)]
        interval = jackknife_interval(folds, partial(_mean_over_folds, metric), bounds=(0, 1))
        sd = float(np.std(each, ddof=1)) if len(each) > 1 else None
        values[name] = {"value": float(np.mean(each)), **_ends(interval), "n_units": len(units), "sd": sd}
    cell.known["values", rule] = values
    return values


def _mean_over_folds(metric: Metric, folds: np.ndarray) -> Any:
    """Return the mean of a metric over the folds that have utterances, shape (..., n_folds, n_emotions, n_emotions)."""
    return np.nanmean(metric(folds), axis=-1)


def _ends(interval: Interval | None) -> Row:
    return {"low": interval and interval.low, "high": interval and interval.high}


def n_incomplete(cell: CellPredictions) -> int:
    """Units without which an emotion has no utterance left, so that intervals average over the others there."""
    has = cell.stack("unit").sum(axis=2) > 0
    return int(has[:, has.sum(axis=0) == 1].any(axis=1).sum())


def recall_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """One row per cell, rule and emotion: recall with its interval over the units that have the emotion."""
    rows = []
    for cell in cells:
        for rule in cell.with_values:
            stack = cell.stack("unit", rule=rule)
            of_emotion = recalls(stack.sum(axis=0))
            for i, emotion in enumerate(cell.emotions):
                have = stack[stack[:, i].any(axis=1)]
                pairs = np.stack([have[:, i, i], have[:, i].sum(axis=1)], axis=1)
                interval = jackknife_interval(pairs, lambda of: of[:, 0] / of[:, 1], bounds=(0, 1))
                row = {"rule": rule, "emotion": emotion, "recall": float(of_emotion[i]), **_ends(interval)}
                rows.append({**cell.fields, **row, "n_utterances": int(stack[:, i].sum())})
    return pd.DataFrame(rows)


def confusion_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """One row per cell, rule, true and predicted emotion: how many utterances."""
    rows = []
    for cell in cells:
        for rule in cell.with_values:
            confusion = cell.stack(rule=rule)
            for (i, j), n in np.ndenumerate(confusion):
                row = {"rule": rule, "truth": cell.emotions[i], "prediction": cell.emotions[j], "n_utterances": int(n)}
                rows.append({**cell.fields, **row})
    return pd.DataFrame(rows)


def fold_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """One row per cell, rule and fold: its setting and whether that converged, UAR, WAR, and how many emotions."""
    rows = []
    for cell in cells:
        for rule in cell.with_values:
            folds = cell.stack("fold", rule=rule)
            of_rule = cell.settings[cell.settings["rule"] == rule]
            chosen = {fold: (cell.record.settings[i], bool(c)) for _, fold, i, c in of_rule.itertuples(index=False)}
            for fold, confusion in zip(names(cell.of(rule), "fold"), folds, strict=True):
                setting, converged = chosen[fold]
                words = " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in setting.items())
                row = {"rule": rule, "fold": fold, "setting": words, "converged": converged}
                row |= {"n_utterances": int(confusion.sum()), "n_emotions": int(confusion.any(axis=1).sum())}
                rows.append({**cell.fields, **row, "uar": uar(confusion), "war": war(confusion)})
    return pd.DataFrame(rows)


def provenance_table(cells: Iterable[CellPredictions], tables: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One row per cell: what made it, the keys of its `tables`, and why it is missing where it is."""
    rows = []
    for cell in cells:
        key, made = cell.provenance.key, cell.provenance.json
        words = {name: worded(of) for name, of in made.items() if isinstance(of, Mapping)}
        words |= {"emotions": ", ".join(cell.emotions), "missing": cell.reason}
        rows.append({"provenance": key, "table": " ".join(tables.get(key, ())), **made, **words})
    return pd.DataFrame(rows)


def missing_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """Everything that is not there: utterances without features, rules and cells without values, with reasons."""
    rows: list[Row] = []
    for cell in cells:
        lost = [("cell", "", cell.reason)] if cell.reason else [("rule", r, why) for r, why in cell.reasons.items()]
        lost += [("utterance", u, why) for u, why in cell.record.missing.items()]
        rows += [{**cell.fields, "what": what, "name": name, "reason": why} for what, name, why in lost]
    return pd.DataFrame(rows, columns=[*CELL_COLUMNS, "provenance", "what", "name", "reason"])
