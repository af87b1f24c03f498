"""Two results folders -> what changed between them: of two runs, or of two releases of serbench.

Cells are compared where all their fields are the same, on the utterances that both predict. Differences are B minus A.
Their intervals are over speakers or sessions. Their p are those of sign-flip tests, corrected for all cells of a corpus
whose predictions differ: cells with the same predictions have nothing to test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serbench.errors import StoreError, UnknownNameError, listed
from serbench.report.comparisons import Setup, paired, paired_stack
from serbench.report.table import FORMATS, Entry, Table, bracketed, make_table, signed
from serbench.scores.metrics import METRICS
from serbench.scores.predictions import CellPredictions, load_predictions
from serbench.scores.provenance import settings_key, worded
from serbench.scores.statistics import ALPHA, SHARES, Comparison, flip_p, smallest_p
from serbench.store.files import frame_to_csv, read_frame, write_text
from serbench.store.results import Store
from serbench.workspace import Workspace


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A cell of both folders; `reason` says why the two cannot be compared, and then there is no more.

    `stack` has confusion matrices of B and A by unit. `n_changed` of the utterances that both predict are predicted
    otherwise, and `n_alone` are predicted by one of the two only. `comparison` is None where no prediction differs.
    `changes` are what made the two differently, and what it was in A and in B.
    """

    a: CellPredictions
    b: CellPredictions
    reason: str = ""
    stack: np.ndarray | None = None
    value_a: float = float("nan")
    value_b: float = float("nan")
    n_utterances: int = 0
    n_changed: int = 0
    n_alone: int = 0
    comparison: Comparison | None = None
    changes: tuple[tuple[str, str, str], ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether both predict the same utterances, each as the same emotion."""
        return not (self.reason or self.n_changed or self.n_alone)

    @property
    def title(self) -> str:
        """The fields of the cell in words, short for those that have the usual values."""
        fields = self.a.cell
        usual = {"protocol": "within", "train": fields["corpus"], "space": "standard", "scaling": "train"}
        usual |= {"preprocessing": "none", "seed": 0, "options": "", "map": ""}
        named = {"corpus", "features", "classifier", "task", "inner"}
        more = [] if self.a.is_outside else [f"inner {fields['inner']}"]
        for name, value in fields.items():
            if name not in named and not self.a.is_outside and value != usual.get(name, ""):
                more.append(f"{name} {value}")
        return f"{fields['corpus']} {fields['features']} {fields['classifier']} ({', '.join([fields['task'], *more])})"


@dataclass(frozen=True, slots=True, eq=False)
class RunComparison:
    """What two results folders have in common and where they differ; cells of one alone are in words.

    `frame` has a row per pair and per cell of one folder alone, for programs.
    """

    name_a: str
    name_b: str
    metric: str
    pairs: tuple[Pair, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether both folders have the same cells with the same predictions."""
        return all(pair.is_same for pair in self.pairs) and not (self.only_a or self.only_b)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The pairs that differ, one table for each setup."""
        by_setup: dict[str, list[Pair]] = {}
        for pair in self.pairs:
            if not (pair.reason or pair.is_same):
                by_setup.setdefault(Setup.of(pair.a).title, []).append(pair)
        return tuple(_table(self.metric, title, pairs) for title, pairs in by_setup.items())

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in words."""
        return tuple(_sentences(self))

    @property
    def frame(self) -> pd.DataFrame:
        """One row per pair and per cell of one folder alone, for programs."""
        rows = []
        for pair in self.pairs:
            verdict = "not comparable" if pair.reason else "same" if pair.is_same else "other predictions"
            changes = "; ".join(f"{what}: {a} -> {b}" for what, a, b in pair.changes)
            row: dict[str, Any] = {"cell": pair.title, "verdict": verdict, "reason": pair.reason, "changes": changes}
            if pair.stack is not None:
                row |= {"metric": self.metric, "rule": pair.a.rule, "unit": pair.a.unit, "n_units": len(pair.stack)}
                row |= {"a": pair.value_a, "b": pair.value_b, "difference": pair.value_b - pair.value_a}
                row |= {name: getattr(pair, name) for name in ("n_utterances", "n_changed", "n_alone")}
            if found := pair.comparison:
                low, high = found.interval.ends if found.interval else (None, None)
                row |= {"low": low, "high": high, "p": found.p}
            rows.append(row)
        rows += [{"cell": name, "verdict": "only in A"} for name in self.only_a]
        rows += [{"cell": name, "verdict": "only in B"} for name in self.only_b]
        counts = ["n_units", "n_utterances", "n_changed", "n_alone"]
        numbers = ["a", "b", "difference", "low", "high", "p"]
        columns = ["cell", "verdict", "metric", "rule", *numbers, "unit", *counts, "reason", "changes"]
        return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(counts, "Int64"))


def compare_results(a: Workspace | Path | str, b: Workspace | Path | str, *, metric: str = "uar") -> RunComparison:
    """Compare every cell that two results folders have in common. Nothing is written.

    Parameters
    ----------
    metric : uar, war, kappa or macro_f1; those that are no sums over speakers have an interval and no test.

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
    pairs = [_pair(cell, in_b[key], metric, stores) for key, cell in in_a.items() if key in in_b]
    only_a, only_b = (
        tuple(Pair(cell, cell).title for key, cell in mine.items() if key not in others)
        for mine, others in ((in_a, in_b), (in_b, in_a))
    )
    names = str(both[0].results), str(both[1].results)
    return RunComparison(*names, metric, tuple(_tested(pairs, metric)), only_a, only_b)


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


def _pair(a: CellPredictions, b: CellPredictions, metric: str, stores: tuple[Store, Store]) -> Pair:
    changes = tuple(_changes(a, b))
    rows_a, rows_b = a.of(), b.of()
    joined = rows_a.merge(rows_b, on="utterance", suffixes=("_a", "_b"))
    missing = [f"{side}: {cell.reason}" for side, cell in (("A", a), ("B", b)) if not cell.rule]
    if missing:
        reason = "; ".join(missing)
    elif a.record.basis != b.record.basis:
        reason = _other_basis(a, b, stores)
    elif a.rule != b.rule:
        reason = f"the settings of A are {a.rule}, those of B {b.rule}"
    elif (joined["unit_a"].astype(str) != joined["unit_b"].astype(str)).any():
        reason = f"what is independent differs: {a.unit}s in A, {b.unit}s in B"
    elif joined.empty:
        reason = "no utterance that both predict"
    elif not a.on(joined["utterance"]).has_all_emotions():
        reason = "the utterances that both predict lack an emotion"
    else:
        stack = paired_stack(b, a)
        value_b, value_a, _ = paired(stack, metric)
        n_changed = int((joined["prediction_a"] != joined["prediction_b"]).sum())
        n_alone = len(rows_a) + len(rows_b) - 2 * len(joined)
        return Pair(a, b, "", stack, value_a, value_b, len(joined), n_changed, n_alone, changes=changes)
    return Pair(a, b, reason, changes=changes)


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
    """Yield what two cells were made with differently."""
    features, classifier = a.cell["features"], a.cell["classifier"]
    facts = []
    for made in (a.record, b.record):
        of = {
            "serbench": made.serbench,
            **dict(sorted(made.versions.items())),
            f"{features} features": made.feature_key,
        }
        of |= {f"{classifier} revision": str(made.revision), f"{classifier} settings": settings_key(made)}
        of |= {"indexes": worded(made.indexes), "completeness": worded(made.partials) or "whole"}
        file = made.outside
        facts.append({**of, f"predictions of {classifier}": f"{file.file} ({file.sha256[:12]})" if file else ""})
    for name in dict.fromkeys([*facts[0], *facts[1]]):
        one, other = (of.get(name, "none") for of in facts)
        if one != other:
            yield name, one, other


def _tested(pairs: Sequence[Pair], metric: str) -> Iterator[Pair]:
    """Give pairs whose predictions differ their intervals and p, corrected for all of them over the same people."""
    families: dict[tuple[str, ...], list[Pair]] = {}
    for pair in (pair for pair in pairs if pair.n_changed):
        units = pair.a.on(pair.b.of()["utterance"]).of()["unit"].unique()
        families.setdefault((pair.a.cell["corpus"], *sorted(units)), []).append(pair)
    compared: dict[int, Comparison] = {}
    for family in families.values():
        stacks = [pair.stack for pair in family if pair.stack is not None]
        p: list[float | None] = [None] * len(stacks)
        if metric in SHARES and smallest_p(len(stacks[0])) <= ALPHA:
            shares = [SHARES[metric](stack[:, 0]) - SHARES[metric](stack[:, 1]) for stack in stacks]
            p = list(flip_p(np.stack(shares, axis=1)).tolist())
        for pair, stack, of_pair in zip(family, stacks, p, strict=True):
            compared[id(pair)] = Comparison(pair.value_b - pair.value_a, paired(stack, metric)[2], of_pair)
    yield from (replace(pair, comparison=compared.get(id(pair))) for pair in pairs)


def _table(metric: str, title: str, pairs: Sequence[Pair]) -> Table:
    rows = []
    for pair in pairs:
        found = pair.comparison
        is_different = found is not None and found.is_different
        p = "" if found is None else "?" if found.p is None else f"{found.p:.3f}"
        rows.append(
            (
                *(str(pair.a.cell[name]) for name in ("corpus", "features", "classifier")),
                f"{pair.value_a:.3f}",
                f"{pair.value_b:.3f}",
                Entry(signed(pair.value_b - pair.value_a), bracketed(found.interval) if found else "", is_different),
                Entry(p, bold=is_different),
                f"{pair.n_changed}/{pair.n_utterances}",
            )
        )
    name = metric.upper() if metric in ("uar", "war") else metric
    header = ("corpus", "features", "classifier", "A", "B", "B - A", "p", "changed")
    notes = _table_notes(metric, pairs)
    return make_table("compare", f"What changed, {name}: {title}", header, rows, n_labels=3, notes=notes)


def _table_notes(metric: str, pairs: Sequence[Pair]) -> Iterator[str]:
    units = " or ".join(sorted({f"{pair.a.unit}s" for pair in pairs}))
    yield f"B - A with 95 % intervals over {units}, on the utterances that both predict; changed: how many of these."
    if metric in SHARES:
        yield (
            "p: sign-flip tests, corrected for all cells of a corpus whose predictions differ (step-down max-T). "
            "Bold: p <= 0.05."
        )
        if any(pair.comparison and pair.comparison.p is None for pair in pairs):
            yield f"? too few {units} for a test."
    else:
        yield f"? {metric} is no sum over {units}: it has no test here."
    for rule in sorted({pair.a.rule for pair in pairs} - {"nested"}):
        of_rule = [pair.title for pair in pairs if pair.a.rule == rule]
        yield f"{'Default settings' if rule == 'default' else 'From outside'}: {listed(of_rule)}."
    for pair in pairs:
        if pair.n_alone:
            yield f"{pair.title}: {pair.n_alone} utterances are predicted in only one of the two."


def _sentences(comparison: RunComparison) -> Iterator[str]:
    yield f"A: {comparison.name_a}. B: {comparison.name_b}."
    pairs = comparison.pairs
    compared = [pair for pair in pairs if not pair.reason]
    same = sum(pair.is_same for pair in compared)
    if not compared:
        yield f"No cell can be compared, of {len(pairs)} that both have."
    elif same == len(compared):
        yield f"{same} cells compared: the same predictions in all."
    else:
        yield f"{len(compared)} cells compared: {same} with the same predictions, {len(compared) - same} with others."
        if comparison.metric in SHARES:
            found = [pair.comparison for pair in pairs if pair.comparison]
            low, high = (sum(one.is_different and sign * one.difference > 0 for one in found) for sign in (-1, 1))
            untestable = sum(one.p is None for one in found)
            rest = f" {untestable} cannot be tested: too few speakers." if untestable else ""
            n = f"{low + high} ({high} higher in B, {low} lower)"
            yield f"More than chance explains, of {len(found)}: {n}.{rest}"
    for reason in dict.fromkeys(pair.reason for pair in pairs if pair.reason):
        yield f"Not comparable: {listed(pair.title for pair in pairs if pair.reason == reason)}: {reason}"
    for side, alone in (("A", comparison.only_a), ("B", comparison.only_b)):
        if alone:
            yield f"Only in {side}, {len(alone)} cells: {listed(alone)}."
    made = Counter(change for pair in pairs for change in pair.changes)
    for (what, in_a, in_b), n_cells in made.items():
        yield f"Made with {what}: {in_a or 'unknown'} in A, {in_b or 'unknown'} in B; {n_cells} of {len(pairs)} cells."
