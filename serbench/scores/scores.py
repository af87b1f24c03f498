"""Predictions -> long tables of numbers: scores, recalls, confusions, folds, and what is missing.

A pool is scored once over all test utterances of a cell. Means over folds have names of their own (`uar_folds`,
`war_folds`); each fold is averaged over the emotions that it has.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from serbench.grid.cells import CELL_COLUMNS, CellRecord
from serbench.scores.metrics import ALL_METRICS, FOLD_METRICS, METRICS, Metric, recalls, uar, uar_of_each, war
from serbench.scores.predictions import CellPredictions
from serbench.scores.statistics import Interval, jackknife_interval

Columns = dict[str, Sequence[Any]]


class Score(NamedTuple):
    """A value of a metric, its interval over units, and for a mean over folds their standard deviation (ddof 1)."""

    value: float
    interval: Interval | None
    n_units: int
    sd: float | None


def score_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """One row per cell, rule and metric; `value` is null where `reason` says why.

    `low` and `high` are the interval over units, `sd` the standard deviation over folds (ddof 1). `n_incomplete` counts
    units without which an emotion has no utterance.
    """
    rows = []
    for cell in cells:
        common = {
            "n_utterances": cell.n_utterances,
            "n_missing": len(cell.record.missing),
            "n_speakers": len(cell.values("who")) if cell.person == "speaker" else None,
            "n_folds": len(cell.values("fold")),
            "transductive": None if cell.is_outside else cell.record.transductive,
            "notes": "; ".join(cell.notes),
            "unit": cell.unit,
            "n_incomplete": n_incomplete(cell),
        }
        for rule in cell.rules:
            values = values_by(cell, rule) if rule in cell.with_values else {}
            reason = "" if values else cell.reasons.get(rule, "")
            for metric in ALL_METRICS:
                value, interval, n_units, sd = values.get(metric, (None, None, None, None))
                low, high = interval or (None, None)
                score = {"value": value, "low": low, "high": high, "n_units": n_units, "sd": sd}
                rows.append({**cell.fields, "rule": rule, "metric": metric, **score, **common, "reason": reason})
    types = {"n_units": "Int64", "n_speakers": "Int64", "transductive": "boolean", "low": "float", "high": "float"}
    return pd.DataFrame(rows).astype(types)


def values_by(cell: CellPredictions, rule: str) -> dict[str, Score]:
    """Score a cell by every metric and one rule."""
    if ("values", rule) in cell.cache:
        known: dict[str, Score] = cell.cache["values", rule]
        return known
    folds = cell.stack("unit", "fold", rule=rule)
    units, by_fold, values = folds.sum(axis=1), folds.sum(axis=0), dict[str, Score]()
    for name, metric in METRICS.items():
        interval = jackknife_interval(units, metric, bounds=metric.bounds)
        values[name] = Score(float(metric(units.sum(axis=0))), interval, len(units), None)
    for name, metric in FOLD_METRICS.items():
        each = uar_of_each(by_fold) if metric.function is uar else metric(by_fold)
        interval = jackknife_interval(folds, partial(_mean_over_folds, metric), bounds=metric.bounds)
        sd = float(np.std(each, ddof=1)) if len(each) > 1 else None
        values[name] = Score(float(np.mean(each)), interval, len(units), sd)
    cell.cache["values", rule] = values
    return values


def _mean_over_folds(metric: Metric, folds: np.ndarray) -> Any:
    """Return the mean over the folds that have utterances; shape (..., n_folds, n_emotions, n_emotions)."""
    return np.nanmean(metric(folds), axis=-1)


def n_incomplete(cell: CellPredictions) -> int:
    """Units without which an emotion has no utterance left, so that intervals average over the others there."""
    has = cell.stack("unit").sum(axis=2) > 0
    return int(has[:, has.sum(axis=0) == 1].any(axis=1).sum())


def recall_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """One row per cell, rule and emotion: recall with its interval over the units that have the emotion."""
    parts = []
    for cell, rule in each_rule(cells):
        stack = cell.stack("unit", rule=rule)
        ends = []
        for i in range(len(cell.emotions)):
            have = stack[stack[:, i].any(axis=1)]
            pairs = np.stack([have[:, i, i], have[:, i].sum(axis=1)], axis=1)
            interval = jackknife_interval(pairs, lambda of: of[:, 0] / of[:, 1], bounds=(0, 1))
            ends.append(interval or (None, None))
        of_emotion: Columns = {"emotion": cell.emotions, "recall": recalls(stack.sum(axis=0)).tolist()}
        of_emotion |= dict(zip(("low", "high"), zip(*ends, strict=True), strict=True))
        of_emotion["n_utterances"] = stack.sum(axis=(0, 2)).tolist()
        parts.append((cell, {"rule": [rule] * len(ends), **of_emotion}))
    return long_table(parts)


def confusion_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """One row per cell, rule, true and predicted emotion: how many utterances."""
    parts = []
    for cell, rule in each_rule(cells):
        truth, prediction = zip(*itertools.product(cell.emotions, repeat=2), strict=True)
        counts = cell.stack(rule=rule).ravel().tolist()
        columns = {"rule": [rule] * len(counts), "truth": truth, "prediction": prediction, "n_utterances": counts}
        parts.append((cell, columns))
    return long_table(parts)


def fold_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """One row per cell, rule and fold: its setting and whether that converged, UAR, WAR, and how many emotions."""
    parts = []
    for cell in cells:
        worded_settings = [
            " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in setting.items())
            for setting in cell.record.settings
        ]
        for rule in cell.with_values:
            stack, folds = cell.stack("fold", rule=rule), cell.values("fold")
            chosen = {fold: (worded_settings[i], converged) for fold, i, converged in cell.settings[rule]}
            settings, converged = zip(*map(chosen.__getitem__, folds), strict=True)
            of_fold: Columns = {"rule": [rule] * len(folds), "fold": folds, "setting": settings, "converged": converged}
            of_fold |= {"n_utterances": stack.sum(axis=(1, 2)).tolist()}
            of_fold |= {"n_emotions": stack.any(axis=2).sum(axis=1).tolist()}
            parts.append((cell, of_fold | {"uar": uar_of_each(stack), "war": war(stack).tolist()}))
    return long_table(parts)


def each_rule(cells: Iterable[CellPredictions]) -> list[tuple[CellPredictions, str]]:
    """Return cells with every rule that they have values by."""
    return [(cell, rule) for cell in cells for rule in cell.with_values]


def long_table(parts: Sequence[tuple[CellPredictions, Columns]]) -> pd.DataFrame:
    """Make a table of columns of several cells, each row with the fields of its cell in front."""
    if not parts:
        return pd.DataFrame()
    columns: dict[str, list[Any]] = {name: [] for name in parts[0][1]}
    for _, of_cell in parts:
        for name, values in of_cell.items():
            columns[name].extend(values)
    lengths = [len(next(iter(of_cell.values()))) for _, of_cell in parts]
    fields = pd.DataFrame([cell.fields for cell, _ in parts])
    return fields.take(np.repeat(np.arange(len(parts)), lengths)).reset_index(drop=True).assign(**columns)


def provenance_table(cells: Iterable[CellPredictions], tables: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One row per cell: what made it, the keys of its `tables`, and why it is missing where it is."""
    rows = []
    for cell in cells:
        key, made = cell.key, cell.made
        words = {name: worded(of) for name, of in made.items() if isinstance(of, Mapping)}
        words |= {"emotions": ", ".join(cell.emotions), "missing": cell.reason}
        rows.append({"provenance": key, "table": " ".join(tables.get(key, ())), **made, **words})
    return pd.DataFrame(rows)


def missing_table(cells: Iterable[CellPredictions]) -> pd.DataFrame:
    """Everything that is not there: utterances without features, rules and cells without values, with reasons."""
    rows: list[dict[str, Any]] = []
    for cell in cells:
        lost = [("cell", "", cell.reason)] if cell.reason else [("rule", r, why) for r, why in cell.reasons.items()]
        lost += [("utterance", u, why) for u, why in cell.record.missing.items()]
        rows += [{**cell.fields, "what": what, "name": name, "reason": why} for what, name, why in lost]
    return pd.DataFrame(rows, columns=[*CELL_COLUMNS, "provenance", "what", "name", "reason"])


def worded(versions: Mapping[str, str]) -> str:
    """Word versions, e.g. `numpy 2.4, scipy 1.17`."""
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def made_with(records: Iterable[CellRecord]) -> str:
    """Name in a line the releases that made cells, all of each package; empty where there are no cells."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in {"serbench": record.serbench, **record.versions}.items():
            found.setdefault(name, set()).add(version)
    order = sorted(found, key=lambda name: (name != "serbench", name))
    return ", ".join(f"{name} {' and '.join(sorted(found[name]))}" for name in order)
