"""Names that report and experiments use until they read `serbench.scores.predictions`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from serbench.grid.cells import CELL_COLUMNS, Cell, CellRecord, Outside
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
    record: CellRecord | Mapping[str, Any],
    unit: str = "speaker",
    truth: Mapping[str, int] | None = None,
    speakers: Mapping[str, str] | None = None,
    folds: Mapping[str, tuple[str, ...]] | None = None,
    groups: Mapping[str, Mapping[str, str]] | None = None,
    outcomes: Mapping[str, Outcome] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> CellPredictions:
    """Make a cell of what tests make up: dictionaries by utterance."""
    record = record if isinstance(record, CellRecord) else _typed(record)
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
    return CellPredictions(record, rows, unit, chosen, reasons or {}, record.state if record.reason else "")


def _typed(record: Any) -> CellRecord:
    """Make a record of what tests know of it."""
    texts: dict[str, Any] = {name: "" for name in CELL_COLUMNS} | {"seed": 0}
    named: dict[str, Any] = {"emotions": tuple(record.get("task_emotions", ())), "reason": record.get("refused", "")}
    known: dict[str, Any] = {"inner_title": "auto", "task_map": "", "indexes": {}, "tested": (), "serbench": "0"}
    known |= {f.name: record[f.name] for f in dataclasses.fields(CellRecord) if f.name in record}
    told = record.get("outside")
    outside = Outside(told["file"], told["sha256"], ()) if told else None
    known |= {
        "cell": Cell(**{**texts, **record["cell"]}),
        "outside": outside,
        "folds": (),
        "notes": tuple(known.get("notes", ())),
    }
    known |= {"state": "refused" if named["reason"] else "planned", "settings": tuple(known.get("settings", ({},)))}
    return CellRecord(**{**known, **named})


def changed(cell: CellPredictions, /, **fields: Any) -> CellPredictions:
    """Change a cell by what tests make up: dictionaries by utterance."""
    names = ("unit", "truth", "speakers", "folds", "groups", "outcomes", "reasons")
    known: dict[str, Any] = {name: getattr(cell, name) for name in names}
    record = fields.pop("record", cell.record)
    if "cell" in fields:
        record = dataclasses.replace(record, cell=Cell(**fields.pop("cell")))
    return made_of(record, **{**known, **fields})


__all__ = ["GIVEN", "GROUPED_BY", "REFERENCES", "RULES", "Outcome"]
