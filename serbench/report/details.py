"""Cells -> what stands behind a value: confusions, speakers, settings and provenance, as plain JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from serbench.report.matrices import Place
from serbench.report.tables import transductive_note
from serbench.report.views import Score, read_scores
from serbench.scores.metrics import uar_of_present
from serbench.scores.outcomes import CellOutcomes, Outcome
from serbench.scores.provenance import Line, origin_of
from serbench.scores.scores import setting_title

Json = dict[str, Any]


def details(place: Place, cell: CellOutcomes, scores: pd.DataFrame, *, n_common: int) -> Json:
    """Return all that the page tells of one cell, over all utterances that it has.

    Parameters
    ----------
    scores : the rows of the cell in the score table.
    n_common : utterances that all cells of its corpus have, over which its matrix shows it.
    """
    features, classifier, corpus = place
    known = read_scores(scores)
    return {
        "key": cell.provenance.key,
        "corpus": corpus,
        "features": features,
        "classifier": classifier,
        "emotions": list(cell.emotions),
        "unit": cell.unit,
        "person": cell.person,
        "folds": len(cell.folds),
        "notes": cell_notes(cell, n_common),
        "made": [list(line) for line in made(cell)],
        "rules": {rule: _of_rule(cell, outcome, known) for rule, outcome in cell.outcomes.items()},
        "reasons": dict(cell.reasons),
    }


def cell_notes(cell: CellOutcomes, n_common: int) -> list[str]:
    """What must be said of a cell: that it is partial, transductive, or lacks utterances."""
    notes = [f"{note[0].upper()}{note[1:]}." for note in cell.notes]
    if cell.is_transductive:
        notes.append(transductive_note(cell.cell["scaling"]))
    if cell.n_missing:
        notes.append(f"{cell.n_missing} utterances have no features and take no part; missing.csv names them.")
    if cell.outcomes and len(cell.truth) != n_common:
        shown = f"the table shows it over the {n_common} that all cells of this corpus have"
        notes.append(f"Values here are over all {len(cell.truth)} utterances of the cell; {shown}.")
    return notes


def made(cell: CellOutcomes) -> list[Line]:
    """What made a cell, in lines for readers."""
    lines = [line for line in origin_of([cell.provenance]).lines if line[0] != "provenance"]
    return [*lines, ("provenance", f"{cell.provenance.key} in provenance.csv")]


def people_stack(cell: CellOutcomes, outcome: Outcome) -> tuple[list[str], np.ndarray]:
    """Names of the people tested, and their confusion matrices, shape (n_people, n_emotions, n_emotions)."""
    pool = list(outcome.predictions)
    names = sorted({cell.speakers[u] for u in pool})
    place = {name: i for i, name in enumerate(names)}
    n = len(cell.emotions)
    codes = [(place[cell.speakers[u]] * n + cell.truth[u]) * n + outcome.predictions[u] for u in pool]
    return names, np.bincount(codes, minlength=len(names) * n * n).reshape(len(names), n, n)


def setting_counts(cell: CellOutcomes, outcome: Outcome) -> list[tuple[str, int, int]]:
    """Settings that were chosen, the most frequent first: in words, for how many folds, and unconverged in how many.

    Those of another system are not known.
    """
    if cell.is_outside:
        return []
    chosen = Counter(outcome.settings[fold] for fold in cell.folds)
    stopped = Counter(outcome.settings[fold] for fold in outcome.not_converged)
    order = sorted(chosen, key=lambda setting: (-chosen[setting], setting))
    return [(setting_title(cell.record["settings"][s]) or "no setting", chosen[s], stopped[s]) for s in order]


def _of_rule(cell: CellOutcomes, outcome: Outcome, scores: Mapping[tuple[str, str], Score]) -> Json:
    names, stack = people_stack(cell, outcome)
    people = [
        [name.partition("/")[2] or name, round(uar_of_present(of), 6), int(of.sum()), int(of.any(axis=1).sum())]
        for name, of in zip(names, stack, strict=True)
    ]
    return {
        "scores": {metric: numbers(score) for (rule, metric), score in scores.items() if rule == outcome.rule},
        "confusion": stack.sum(axis=0).tolist(),
        "people": people,
        "settings": [list(line) for line in setting_counts(cell, outcome)],
    }


def numbers(score: Score) -> list[float | None]:
    """Value, ends of the interval and standard deviation over folds, to six places."""
    ends = score.interval.ends if score.interval else (None, None)
    return [None if n is None else round(n, 6) for n in (score.value, *ends, score.sd)]
