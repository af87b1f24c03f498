"""Two results folders -> what changed between them: of two runs, or of two releases of serbench.

Cells are compared where all their fields are the same, on the utterances that both predict. Differences are B minus A.
Their intervals are over speakers or sessions. Their p are those of sign-flip tests, corrected for all cells of a corpus
whose predictions differ: cells with the same predictions have nothing to test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serbench.errors import StoreError, UnknownNameError, listed
from serbench.report.comparisons import Setup, paired, paired_stack
from serbench.report.table import FORMATS, Entry, Table, bracketed, make_table, signed
from serbench.scores.metrics import METRICS
from serbench.scores.predictions import CellPredictions, load_predictions, settings_key
from serbench.scores.scores import worded
from serbench.scores.statistics import ALPHA, SHARES, corrected
from serbench.store.files import frame_to_csv, read_frame, write_text
from serbench.store.results import Store
from serbench.workspace import Workspace

_COUNTS = ["n_units", "n_utterances", "n_changed", "n_alone"]
_NUMBERS = ["a", "b", "difference", "low", "high", "p"]
_COLUMNS = ["cell", "verdict", "metric", "rule", *_NUMBERS, "unit", *_COUNTS, "reason", "changes"]
_FOR_TABLES = ["setup", "corpus", "features", "classifier", "people", "stack", "interval", "made"]


@dataclass(frozen=True, slots=True, eq=False)
class RunComparison:
    """What two results folders have in common and where they differ.

    `frame` has a row per cell of either folder, for programs. `n_changed` of the utterances that both predict are
    predicted otherwise, and `n_alone` are predicted by one of the two only. `tables` have the cells that differ, one
    table for each setup. `sentences` say what was found.
    """

    frame: pd.DataFrame
    tables: tuple[Table, ...]
    sentences: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether both folders have the same cells with the same predictions."""
        return bool(self.frame["verdict"].eq("same").all())


def compare_results(a: Workspace | Path | str, b: Workspace | Path | str, *, metric: str = "uar") -> RunComparison:
    """Compare every cell that two results folders have in common. Nothing is written.

    Parameters
    ----------
    metric : a key of `METRICS`; those that are no sums over speakers have an interval and no test.

    Raises
    ------
    StoreError : a folder has no cells, or an index is damaged.
    UnknownNameError : no such metric.
    """
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    both = [place if isinstance(place, Workspace) else Workspace(results=place) for place in (a, b)]
    stores = both[0].store(), both[1].store()
    in_a, in_b = ({tuple(cell.cell.items()): cell for cell in load_predictions(store)} for store in stores)
    rows = [_pair(cell, in_b[key], metric, stores) for key, cell in in_a.items() if key in in_b]
    for side, mine, others in (("A", in_a, in_b), ("B", in_b, in_a)):
        alone = [cell for key, cell in mine.items() if key not in others]
        rows += [{"cell": cell.record.cell.title, "verdict": f"only in {side}"} for cell in alone]
    cells = pd.DataFrame(rows, columns=[*_COLUMNS, *_FOR_TABLES])
    cells["p"] = _tests(cells, metric)
    by_setup = cells[cells["verdict"] == "other predictions"].groupby("setup", sort=False)
    tables = tuple(_table(metric, str(title), of_setup) for title, of_setup in by_setup)
    sentences = f"A: {both[0].results}. B: {both[1].results}.", *_sentences(cells, metric)
    return RunComparison(cells[_COLUMNS].astype(dict.fromkeys(_COUNTS, "Int64")), tables, sentences)


def write_comparison(comparison: RunComparison, path: Path | str) -> None:
    """Write a comparison: every cell as CSV, or what changed as tables in Markdown or LaTeX."""
    target = Path(path)
    ending = target.suffix.removeprefix(".")
    if ending not in FORMATS:
        raise StoreError(str(target), f"'{target.suffix}'", "a name that ends in .csv, .md or .tex")
    if ending == "csv":
        write_text(target, frame_to_csv(comparison.frame))
        return
    verdicts = [(str(verdict), str(n)) for verdict, n in Counter(comparison.frame["verdict"]).items()]
    title, header = "Two results folders compared", ("verdict", "cells")
    overview = make_table("compare", title, header, verdicts, n_labels=1, notes=comparison.sentences)
    write_text(target, FORMATS[ending]([overview, *comparison.tables]))


def _pair(a: CellPredictions, b: CellPredictions, metric: str, stores: tuple[Store, Store]) -> dict[str, Any]:
    """Compare a cell of both folders: its row, with `reason` and no values where the two cannot be compared."""
    made = list(_changes(a, b))
    changes = "; ".join(f"{what}: {in_a} -> {in_b}" for what, in_a, in_b in made)
    row: dict[str, Any] = {"cell": a.record.cell.title, "verdict": "not comparable", "made": made, "changes": changes}
    rows_a, rows_b = a.of(), b.of()
    joined = rows_a.merge(rows_b, on="utterance", suffixes=("_a", "_b"))
    if not (a.rule and b.rule):
        return row | {"reason": "; ".join(f"{side}: {of.reason}" for side, of in (("A", a), ("B", b)) if not of.rule)}
    if a.record.basis != b.record.basis:
        return row | {"reason": _other_basis(a, b, stores)}
    if a.rule != b.rule:
        return row | {"reason": f"the settings of A are {a.rule}, those of B {b.rule}"}
    if (joined["unit_a"].astype(str) != joined["unit_b"].astype(str)).any():
        return row | {"reason": f"what is independent differs: {a.unit}s in A, {b.unit}s in B"}
    if joined.empty:
        return row | {"reason": "no utterance that both predict"}
    if joined["truth_a"].nunique() < len(a.emotions):
        return row | {"reason": "the utterances that both predict lack an emotion"}
    stack = paired_stack(b, a)
    value_b, value_a, interval = paired(stack, metric)
    n_changed = int((joined["prediction_a"] != joined["prediction_b"]).sum())
    n_alone = len(rows_a) + len(rows_b) - 2 * len(joined)
    row |= {"verdict": "other predictions" if n_changed or n_alone else "same", "reason": ""}
    row |= {"metric": metric, "rule": a.rule, "a": value_a, "b": value_b, "difference": value_b - value_a}
    row |= {"unit": a.unit, "n_units": len(stack), "n_utterances": len(joined)}
    row |= {"n_changed": n_changed, "n_alone": n_alone, "setup": Setup.of(a).title, "stack": stack}
    if n_changed and interval:
        row |= {"low": interval.low, "high": interval.high, "interval": bracketed(interval)}
    people = a.cell["corpus"], *sorted(joined["unit_a"].astype(str).unique())
    return row | {name: a.cell[name] for name in ("corpus", "features", "classifier")} | {"people": people}


def _other_basis(a: CellPredictions, b: CellPredictions, stores: tuple[Store, Store]) -> str:
    """Count what differs between two states of a corpus under one name."""
    frames = []
    for cell, store in zip((a, b), stores, strict=True):
        columns = cell.record.utterances
        frame = pd.DataFrame({"utterance": columns["id"], "emotion": columns["emotion"]})
        indexes = [read_frame(store.index(corpus))[["utterance", "audio_hash"]] for corpus in cell.record.tested]
        frame = frame.merge(pd.concat(indexes), on="utterance", how="left")
        frames.append(frame.merge(cell.of()[["utterance", "fold"]].astype(str), on="utterance", how="left"))
    joined = frames[0].merge(frames[1], on="utterance", suffixes=("_a", "_b"))
    differs = {n: joined[f"{n}_a"].fillna("") != joined[f"{n}_b"].fillna("") for n in ("emotion", "audio_hash", "fold")}
    counts = {
        "utterances only in A": len(frames[0]) - len(joined),
        "only in B": len(frames[1]) - len(joined),
        "of another emotion": differs["emotion"].sum(),
        "of other recordings": differs["audio_hash"].sum(),
        "in other folds": (differs["fold"] & joined["fold_a"].notna() & joined["fold_b"].notna()).sum(),
    }
    found = [f"{n} {what}" for what, n in counts.items() if n]
    return "other labels, recordings or folds: " + (", ".join(found) or "folds of utterances beyond the task")


def _changes(a: CellPredictions, b: CellPredictions) -> Iterator[tuple[str, str, str]]:
    """Yield what made two cells differently, with what it was in A and in B."""
    features, classifier = a.cell["features"], a.cell["classifier"]
    facts = []
    for made in (a.record, b.record):
        of = {"serbench": made.serbench, **dict(sorted(made.versions.items()))}
        of |= {f"{features} features": made.feature_key, f"{classifier} revision": str(made.revision)}
        of |= {f"{classifier} settings": settings_key(made), "indexes": worded(made.indexes)}
        file = made.outside
        of |= {"completeness": worded(made.partials) or "whole"}
        of |= {f"predictions of {classifier}": f"{file.file} ({file.sha256[:12]})" if file else ""}
        facts.append(of)
    for name in dict.fromkeys([*facts[0], *facts[1]]):
        one, other = (of.get(name, "none") for of in facts)
        if one != other:
            yield name, one, other


def _tests(cells: pd.DataFrame, metric: str) -> pd.Series:
    """P of the cells whose predictions differ, corrected for all of them over the same people; NaN without a test."""
    p: dict[Any, float | None] = {}
    if shares := SHARES.get(metric):
        for _, family in cells[cells["n_changed"] > 0].groupby("people", sort=False):
            p |= corrected({i: shares(of[:, 0]) - shares(of[:, 1]) for i, of in family["stack"].items()})
    return pd.Series(p, cells.index, dtype=float)


def _table(metric: str, title: str, cells: pd.DataFrame) -> Table:
    """Make the table of the cells of one setup whose predictions differ."""
    rows = []
    for cell in cells.fillna({"interval": ""}).to_dict("records"):
        is_different = cell["p"] <= ALPHA
        p = "" if not cell["n_changed"] else "?" if np.isnan(cell["p"]) else f"{cell['p']:.3f}"
        difference = Entry(signed(cell["difference"]), cell["interval"], is_different)
        changed = f"{cell['n_changed']:.0f}/{cell['n_utterances']:.0f}"
        labels = cell["corpus"], cell["features"], cell["classifier"]
        rows.append((*labels, f"{cell['a']:.3f}", f"{cell['b']:.3f}", difference, Entry(p, bold=is_different), changed))
    units = " or ".join(sorted({f"{unit}s" for unit in cells["unit"]}))
    notes = [f"B - A with 95 % intervals over {units}, on utterances that both predict; changed: number of these."]
    if metric in SHARES:
        tests = "sign-flip tests, corrected for all cells of a corpus whose predictions differ (step-down max-T)"
        notes += [f"p: {tests}. Bold: p <= {ALPHA}."]
        notes += [f"? too few {units} for a test."] * any(cells["p"].isna() & (cells["n_changed"] > 0))
    else:
        notes += [f"? {metric} is no sum over {units}: it has no test here."]
    for rule, of_rule in cells[cells["rule"] != "nested"].groupby("rule"):
        notes += [f"{'Default settings' if rule == 'default' else 'From outside'}: {listed(of_rule['cell'])}."]
    alone = cells[cells["n_alone"] > 0]
    for name, n in zip(alone["cell"], alone["n_alone"], strict=True):
        notes += [f"{name}: {n:.0f} utterances are predicted in only one of the two."]
    title = f"What changed, {METRICS[metric].short_name}: {title}"
    header = ("corpus", "features", "classifier", "A", "B", "B - A", "p", "changed")
    return make_table("compare", title, header, rows, n_labels=3, notes=notes)


def _sentences(cells: pd.DataFrame, metric: str) -> Iterator[str]:
    """Say what was found."""
    counts = Counter(cells["verdict"])
    same, other = counts["same"], counts["other predictions"]
    n_pairs = same + other + counts["not comparable"]
    if not same + other:
        yield f"No cell can be compared, of {n_pairs} that both have."
    elif not other:
        yield f"{same} cells compared: the same predictions in all."
    else:
        yield f"{same + other} cells compared: {same} with the same predictions, {other} with others."
        if metric in SHARES:
            found = cells[cells["n_changed"] > 0]
            low, high = (((found["p"] <= ALPHA) & (sign * found["difference"] > 0)).sum() for sign in (-1, 1))
            untestable = found["p"].isna().sum()
            rest = f" {untestable} cannot be tested: too few speakers." if untestable else ""
            n = f"{low + high} ({high} higher in B, {low} lower)"
            yield f"More than chance explains, of {len(found)}: {n}.{rest}"
    for reason, of_reason in cells[cells["verdict"] == "not comparable"].groupby("reason", sort=False):
        yield f"Not comparable: {listed(of_reason['cell'])}: {reason}"
    for side in "AB":
        if alone := counts[f"only in {side}"]:
            yield f"Only in {side}, {alone} cells: {listed(cells['cell'][cells['verdict'] == f'only in {side}'])}."
    made = Counter(change for changes in cells["made"].dropna() for change in changes)
    for (what, in_a, in_b), n_cells in made.items():
        yield f"Made with {what}: {in_a or 'unknown'} in A, {in_b or 'unknown'} in B; {n_cells} of {n_pairs} cells."
