"""Outcomes -> tables of numbers: one row per cell, rule and metric; recalls, confusions and folds beside it.

A pool is scored once over all test utterances of a cell; the means over folds stand beside it under names of their
own (`uar_folds`, `war_folds`), averaged over the emotions that each fold has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from serbench.grid.cells import CELL_COLUMNS
from serbench.scores.metrics import BOUNDS, FOLD_METRICS, METRICS, confusion_matrix, recalls
from serbench.scores.outcomes import CellOutcomes, Outcome
from serbench.scores.statistics import Interval, Statistic, jackknife_interval

Row = dict[str, Any]


def setting_title(setting: Mapping[str, str | int | float]) -> str:
    """Word a setting for a table.

    >>> setting_title({"kernel": "rbf", "C": 1, "gamma": 0.3})
    'kernel=rbf C=1 gamma=0.3'
    """
    return " ".join(f"{name}={v:g}" if isinstance(v, float) else f"{name}={v}" for name, v in setting.items())


def pool_confusion(cell: CellOutcomes, outcome: Outcome, utterances: Iterable[str] | None = None) -> np.ndarray:
    """Confusion matrix of an outcome over its test utterances, or over those given; rows are the truth."""
    pool = sorted(outcome.predictions) if utterances is None else list(utterances)
    truth = np.array([cell.truth[u] for u in pool], dtype=np.int64)
    prediction = np.array([outcome.predictions[u] for u in pool], dtype=np.int64)
    return confusion_matrix(truth, prediction, n_labels=len(cell.emotions))


def unit_stack(cell: CellOutcomes, outcome: Outcome, utterances: Iterable[str] | None = None) -> np.ndarray:
    """Confusion matrices by independent unit, in the order of their names; shape (n_units, n_emotions, n_emotions)."""
    pool = sorted(outcome.predictions) if utterances is None else list(utterances)
    of_unit: dict[str, list[str]] = {}
    for utterance in pool:
        of_unit.setdefault(cell.units[utterance], []).append(utterance)
    return np.stack([pool_confusion(cell, outcome, of_unit[unit]) for unit in sorted(of_unit)])


def metric_interval(stack: np.ndarray, metric: str) -> Interval | None:
    """Interval of a metric of the pool over units; those left out may leave an emotion without utterances."""
    return jackknife_interval(stack, METRICS[metric], bounds=BOUNDS[metric])


def has_all_emotions(cell: CellOutcomes, utterances: Iterable[str]) -> bool:
    """Whether utterances of a cell hold each of its emotions."""
    return {cell.truth[u] for u in utterances} == set(range(len(cell.emotions)))


def score_table(cells: Iterable[CellOutcomes]) -> pd.DataFrame:
    """One row per cell, rule and metric; `value` is null where `reason` says why."""
    rows = pd.DataFrame([row for cell in cells for rule in cell.rules for row in _score_rows(cell, rule)])
    return rows.astype(
        {"n_units": "Int64", "n_speakers": "Int64", "transductive": "boolean", "low": float, "high": float}
    )


def recall_table(cells: Iterable[CellOutcomes]) -> pd.DataFrame:
    """One row per cell, rule and emotion: recall with its interval, and the number of utterances."""
    rows: list[Row] = []
    for cell in cells:
        for outcome in cell.outcomes.values():
            stack = unit_stack(cell, outcome)
            numbers = zip(cell.emotions, recalls(stack.sum(axis=0)), stack.sum(axis=(0, 2)), strict=True)
            rows += [
                {
                    **cell.fields,
                    "rule": outcome.rule,
                    "emotion": e,
                    "recall": float(r),
                    **_ends(stack, i),
                    "n_utterances": int(n),
                }
                for i, (e, r, n) in enumerate(numbers)
            ]
    return pd.DataFrame(rows)


def _ends(stack: np.ndarray, emotion: int) -> dict[str, float | None]:
    """Interval of the recall of an emotion, where more than one unit has it."""
    with_emotion = stack[stack[:, emotion].any(axis=1), emotion]
    pairs = np.stack([with_emotion[:, emotion], with_emotion.sum(axis=1)], axis=1)
    interval = jackknife_interval(pairs, lambda totals: totals[:, 0] / totals[:, 1], bounds=(0, 1))
    return {"low": interval.low, "high": interval.high} if interval else {"low": None, "high": None}


def confusion_table(cells: Iterable[CellOutcomes]) -> pd.DataFrame:
    """One row per cell, rule, true and predicted emotion: how many utterances."""
    rows: list[Row] = []
    for cell, outcome, confusion in _pools(cells):
        rows += [
            {**cell.fields, "rule": outcome.rule, "truth": t, "prediction": p, "n_utterances": int(confusion[i, j])}
            for i, t in enumerate(cell.emotions)
            for j, p in enumerate(cell.emotions)
        ]
    return pd.DataFrame(rows)


def fold_table(cells: Iterable[CellOutcomes]) -> pd.DataFrame:
    """One row per cell, rule and fold: its setting and whether that converged, UAR, WAR, and how many emotions."""
    rows: list[Row] = []
    for cell in cells:
        for rule, outcome in cell.outcomes.items():
            for fold, utterances in cell.folds.items():
                confusion = pool_confusion(cell, outcome, utterances)
                rows.append(
                    {
                        **cell.fields,
                        "rule": rule,
                        "fold": fold,
                        "setting": setting_title(cell.record["settings"][outcome.settings[fold]]),
                        "converged": fold not in outcome.not_converged,
                        "n_utterances": len(utterances),
                        "n_emotions": int((confusion.sum(axis=1) > 0).sum()),
                        **{name.removesuffix("_folds"): metric(confusion) for name, metric in FOLD_METRICS.items()},
                    }
                )
    return pd.DataFrame(rows)


def provenance_table(cells: Iterable[CellOutcomes], tables: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One row per cell: what made it, the keys of the matrices it stands in, and why it is missing where it is.

    Parameters
    ----------
    tables : keys of cells to the keys of their matrices; other systems may stand in several.
    """
    rows = [
        {
            "provenance": cell.provenance.key,
            "table": " ".join(tables.get(cell.provenance.key, ())),
            **cell.provenance.row,
            "missing": cell.reason,
        }
        for cell in cells
    ]
    return pd.DataFrame(rows)


def missing_table(cells: Iterable[CellOutcomes]) -> pd.DataFrame:
    """Everything that is not there: utterances without features, rules and cells without values, with reasons."""
    rows: list[Row] = []
    for cell in cells:
        fields = dict(cell.fields)
        if cell.reason:
            rows.append({**fields, "what": "cell", "name": "", "reason": cell.reason})
        else:
            rows += [{**fields, "what": "rule", "name": r, "reason": why} for r, why in cell.reasons.items()]
        missing: Mapping[str, str] = cell.record.get("missing", {})
        rows += [{**fields, "what": "utterance", "name": u, "reason": why} for u, why in missing.items()]
    return pd.DataFrame(rows, columns=[*_FIELDS, "what", "name", "reason"])


_FIELDS = (*CELL_COLUMNS, "provenance")


def _pools(cells: Iterable[CellOutcomes]) -> Iterator[tuple[CellOutcomes, Outcome, np.ndarray]]:
    for cell in cells:
        for outcome in cell.outcomes.values():
            yield cell, outcome, pool_confusion(cell, outcome)


def _score_rows(cell: CellOutcomes, rule: str) -> Iterator[Row]:
    outcome = cell.outcomes.get(rule)
    common = {
        "n_utterances": len(cell.truth),
        "n_missing": cell.n_missing,
        "n_speakers": len({cell.speakers[u] for u in cell.truth}) if cell.has_speakers else None,
        "n_folds": len(cell.folds),
        "transductive": None if cell.is_outside else cell.is_transductive,
        "notes": "; ".join(cell.notes),
        "unit": cell.unit,
        "n_incomplete": n_incomplete(cell),
    }
    for metric, value in (_values(cell, outcome) if outcome else {}).items():
        yield {**cell.fields, "rule": rule, "metric": metric, **value, **common, "reason": ""}
    for metric in () if outcome else (*METRICS, *FOLD_METRICS):
        yield {
            **cell.fields,
            "rule": rule,
            "metric": metric,
            **_NO_VALUE,
            **common,
            "reason": cell.reasons.get(rule, ""),
        }


def n_incomplete(cell: CellOutcomes) -> int:
    """Units without which an emotion has no utterance left, so that intervals average over the others there."""
    units_with = {e: {cell.units[u] for u, code in cell.truth.items() if code == e} for e in range(len(cell.emotions))}
    return len({unit for units in units_with.values() if len(units) == 1 for unit in units})


_NO_VALUE: Row = {"value": None, "low": None, "high": None, "n_units": None, "sd": None}


def _values(cell: CellOutcomes, outcome: Outcome) -> dict[str, Row]:
    """Value and interval of every metric, and for means over folds their standard deviation (ddof 1)."""
    stack = unit_stack(cell, outcome)
    values = {
        name: _value(metric(stack.sum(axis=0)), metric_interval(stack, name), len(stack))
        for name, metric in METRICS.items()
    }
    folds = fold_stack(cell, outcome)
    for name, metric in FOLD_METRICS.items():
        each = [metric(fold) for fold in folds.sum(axis=0)]
        interval = jackknife_interval(folds, _mean_over_folds(name), bounds=(0, 1))
        values[name] = {
            **_value(float(np.mean(each)), interval, len(stack)),
            "sd": float(np.std(each, ddof=1)) if len(each) > 1 else None,
        }
    return values


def _value(value: float, interval: Interval | None, n_units: int) -> Row:
    low, high = interval.ends if interval else (None, None)
    return {**_NO_VALUE, "value": value, "low": low, "high": high, "n_units": n_units}


def fold_stack(cell: CellOutcomes, outcome: Outcome) -> np.ndarray:
    """Confusion matrices by independent unit and fold; shape (n_units, n_folds, n_emotions, n_emotions)."""
    units = {unit: i for i, unit in enumerate(sorted({cell.units[u] for u in outcome.predictions}))}
    stack = np.zeros((len(units), len(cell.folds), len(cell.emotions), len(cell.emotions)), dtype=np.int64)
    for fold, utterances in enumerate(cell.folds.values()):
        for u in utterances:
            stack[units[cell.units[u]], fold, cell.truth[u], outcome.predictions[u]] += 1
    return stack


def _mean_over_folds(metric: str) -> Statistic:
    """Mean of a metric over the folds that have utterances."""
    statistic = FOLD_METRICS[metric]

    def mean(totals: np.ndarray) -> np.ndarray:
        values: np.ndarray = np.nanmean(statistic(totals), axis=-1)
        return values

    return mean
