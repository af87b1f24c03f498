"""Names that report and experiments use until they read `serbench.scores.predictions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from serbench.scores.predictions import (
    GIVEN,
    GROUPED_BY,
    REFERENCES,
    RULES,
    CellPredictions,
    Outcome,
    load_predictions,
    without_predictions,
)

CellOutcomes = CellPredictions
load_outcomes = load_predictions
without_outcomes = without_predictions


def made_of(
    record: Mapping[str, Any],
    unit: str = "speaker",
    truth: Mapping[str, int] | None = None,
    speakers: Mapping[str, str] | None = None,
    folds: Mapping[str, tuple[str, ...]] | None = None,
    groups: Mapping[str, Mapping[str, str]] | None = None,
    outcomes: Mapping[str, Outcome] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> CellPredictions:
    """Make a cell of what tests make up: dictionaries by utterance."""
    ids = sorted(truth or {})
    fold_of = {u: fold for fold, of in (folds or {}).items() for u in of}
    known = {"unit": dict.fromkeys(ids, "one"), **(groups or {})}
    base = pd.DataFrame({"utterance": ids})
    base["fold"] = pd.Categorical([fold_of.get(u, "fold") for u in ids], categories=list(folds or {"fold": ()}))
    base["truth"] = [(truth or {})[u] for u in ids]
    for name, of in {**known, "person": speakers or known["unit"]}.items():
        base[name] = pd.Categorical([of.get(u) for u in ids])
    parts, settings = [], []
    for rule, outcome in (outcomes or {}).items():
        parts.append(base.assign(rule=rule, prediction=[outcome.predictions[u] for u in ids]))
        settings += [(rule, f, s, f not in outcome.not_converged) for f, s in outcome.settings.items()]
    rows = pd.concat(parts, ignore_index=True) if parts else CellPredictions(record).rows
    chosen = pd.DataFrame(settings, columns=["rule", "fold", "setting", "converged"])
    return CellPredictions(record, rows, unit, chosen, reasons or {})


def changed(cell: CellPredictions, /, **fields: Any) -> CellPredictions:
    """Change a cell by what tests make up: dictionaries by utterance."""
    names = ("unit", "truth", "speakers", "folds", "groups", "outcomes", "reasons")
    known: dict[str, Any] = {name: getattr(cell, name) for name in names}
    record = fields.pop("record", cell.record)
    cell_fields = fields.pop("cell", record["cell"])
    return made_of({**record, "cell": cell_fields}, **{**known, **fields})


__all__ = ["GIVEN", "GROUPED_BY", "REFERENCES", "RULES", "Outcome"]
