"""Two results folders -> what changed between them: of two runs, or of two releases of serbench.

Cells are held against each other where all their fields are the same, on the utterances that both predict. Differences
are B minus A. Their intervals are over speakers or sessions. Their p are those of sign-flip tests, corrected for all
cells of a corpus whose predictions differ: cells with the same predictions have nothing to test, and which these are
stays the same when signs are flipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from serbench.errors import UnknownNameError, listed
from serbench.grid.comparable import OUTSIDE
from serbench.report.matrices import Variant
from serbench.report.table import Entry, Table, bracketed, make_table, signed
from serbench.scores.metrics import BOUNDS, METRICS
from serbench.scores.outcomes import CellOutcomes, Outcome, load_outcomes
from serbench.scores.provenance import worded
from serbench.scores.scores import has_all_emotions, unit_stack
from serbench.scores.statistics import (
    ALPHA,
    SHARES,
    STATISTICS,
    Comparison,
    Interval,
    difference_of,
    flip_p,
    jackknife_interval,
    smallest_p,
)
from serbench.store.files import read_frame
from serbench.store.results import Store

Change = tuple[str, str, str]
"""What made two cells differently, and what it was in A and in B."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A cell of both folders; `reason` says why the two cannot be compared, and then there is no more.

    `n_utterances` are those that both predict, `n_changed` how many of these are predicted otherwise, and `n_alone`
    those that only one of the two predicts. `comparison` is None where no prediction differs.
    """

    a: CellOutcomes
    b: CellOutcomes
    reason: str = ""
    value_a: float = float("nan")
    value_b: float = float("nan")
    n_utterances: int = 0
    n_changed: int = 0
    n_alone: int = 0
    comparison: Comparison | None = None
    changes: tuple[Change, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether both predict the same utterances, each as the same emotion."""
        return not (self.reason or self.n_changed or self.n_alone)


@dataclass(frozen=True, slots=True)
class RunComparison:
    """What two results folders have in common and where they differ; cells of one alone are in words."""

    name_a: str
    name_b: str
    metric: str
    pairs: tuple[Pair, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether both folders hold the same cells with the same predictions."""
        return all(pair.is_same for pair in self.pairs) and not (self.only_a or self.only_b)

    @property
    def differing(self) -> tuple[Pair, ...]:
        """Pairs that can be compared and are not the same."""
        return tuple(pair for pair in self.pairs if not (pair.reason or pair.is_same))

    @property
    def tables(self) -> tuple[Table, ...]:
        """The pairs that differ, one table for each variant."""
        by_variant: dict[str, list[Pair]] = {}
        for pair in self.differing:
            by_variant.setdefault(Variant.of(pair.a).title, []).append(pair)
        return tuple(_table(self, title, pairs) for title, pairs in by_variant.items())

    @property
    def overview(self) -> Table:
        """How many cells there are of each verdict, over the sentences."""
        counts = Counter(self.frame["verdict"])
        rows = tuple((Entry(verdict), Entry(str(n))) for verdict, n in counts.items())
        title, header = "Two results folders compared", ("verdict", "cells")
        return make_table("compare", title, header, rows, n_labels=1, notes=self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in words."""
        return tuple(_sentences(self))

    @property
    def frame(self) -> pd.DataFrame:
        """One row per pair and per cell of one folder alone, for programs."""
        rows = [_row(pair, self.metric) for pair in self.pairs]
        rows += [{"cell": name, "verdict": f"only in {side}"} for side, name in self._alone]
        return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(dict.fromkeys(_COUNTS, "Int64"))

    @property
    def _alone(self) -> list[tuple[str, str]]:
        return [*(("A", name) for name in self.only_a), *(("B", name) for name in self.only_b)]


_COLUMNS = (
    *("cell", "verdict", "metric", "rule", "a", "b", "difference", "low", "high", "p", "unit", "n_units"),
    *("n_utterances", "n_changed", "n_alone", "reason", "changes"),
)
_COUNTS = ("n_units", "n_utterances", "n_changed", "n_alone")


def check_metric(metric: str) -> None:
    """Check the name of a metric; `UnknownNameError` suggests the nearest."""
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)


def compare_stores(a: Store, b: Store, names: tuple[str, str], *, metric: str = "uar") -> RunComparison:
    """Compare every cell that two results folders have in common.

    Parameters
    ----------
    names : what to call the two folders.
    metric : one of `METRICS`; those that are no sums over speakers (kappa, macro_f1) have an interval and no test.

    Raises
    ------
    StoreError : a folder has no cells, or an index is damaged.
    UnknownNameError : no such metric.
    """
    check_metric(metric)
    in_a, in_b = (_by_fields(load_outcomes(store)) for store in (a, b))
    both = [key for key in in_a if key in in_b]
    hashes = _Hashes(a), _Hashes(b)
    pairs = [_pair(in_a[key], in_b[key], metric, hashes) for key in both]
    only_a, only_b = (
        tuple(_title(cell) for key, cell in mine.items() if key not in others)
        for mine, others in ((in_a, in_b), (in_b, in_a))
    )
    return RunComparison(*names, metric, tuple(_corrected(pairs, metric)), only_a, only_b)


class _Hashes:
    """Fingerprints of the recordings of a store's corpora, each index read once and when it is needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[str, str]] = {}

    def of(self, corpora: Iterable[str]) -> dict[str, str]:
        """Utterance -> fingerprint of its samples."""
        return {u: known for corpus in corpora for u, known in self._of_corpus(corpus).items()}

    def _of_corpus(self, corpus: str) -> dict[str, str]:
        if corpus not in self._known:
            frame = read_frame(self._store.index(corpus))
            self._known[corpus] = dict(zip(frame["utterance"], frame["audio_hash"].fillna(""), strict=True))
        return self._known[corpus]


def _by_fields(cells: Iterable[CellOutcomes]) -> dict[tuple[tuple[str, Any], ...], CellOutcomes]:
    return {tuple(sorted(cell.cell.items())): cell for cell in cells}


def _title(cell: CellOutcomes) -> str:
    """The fields of a cell in words, short for those that have the usual values."""
    fields = cell.cell
    usual = {
        "protocol": "within",
        "space": "standard",
        "scaling": "train",
        "preprocessing": "none",
        "seed": 0,
        "options": "",
        "map": "",
        "train": fields["corpus"],
    }
    more = [f"{name} {fields[name]}" for name, value in usual.items() if not cell.is_outside and fields[name] != value]
    inner = [] if cell.is_outside else [f"inner {fields['inner']}"]
    return (
        f"{fields['corpus']} {fields['features']} {fields['classifier']} ({', '.join([fields['task'], *inner, *more])})"
    )


def _pair(a: CellOutcomes, b: CellOutcomes, metric: str, hashes: tuple[_Hashes, _Hashes]) -> Pair:
    changes = tuple(_changes(a, b))
    reason = _incomparable(a, b, hashes)
    if reason or a.headline is None or b.headline is None:
        return Pair(a, b, reason, changes=changes)
    common = sorted(set(a.headline.predictions) & set(b.headline.predictions))
    if not has_all_emotions(a, common):
        return Pair(a, b, "the utterances that both predict lack an emotion", changes=changes)
    n_changed = sum(a.headline.predictions[u] != b.headline.predictions[u] for u in common)
    value_a, value_b = (_value(cell, outcome, common, metric) for cell, outcome in ((a, a.headline), (b, b.headline)))
    n_alone = len(set(a.headline.predictions) ^ set(b.headline.predictions))
    return Pair(a, b, "", value_a, value_b, len(common), n_changed, n_alone, changes=changes)


def _value(cell: CellOutcomes, outcome: Outcome, common: Sequence[str], metric: str) -> float:
    return float(METRICS[metric](unit_stack(cell, outcome, common).sum(axis=0)))


def _incomparable(a: CellOutcomes, b: CellOutcomes, hashes: tuple[_Hashes, _Hashes]) -> str:
    """Say why two cells cannot be compared, or nothing."""
    lacking = [f"{side}: {cell.reason}" for side, cell in (("A", a), ("B", b)) if cell.headline is None]
    if lacking or a.headline is None or b.headline is None:
        return "; ".join(lacking)
    if a.record["basis"] != b.record["basis"]:
        return _other_basis(a, b, hashes)
    if a.headline.rule != b.headline.rule:
        return f"the settings of A are {a.headline.rule}, those of B {b.headline.rule}"
    common = set(a.truth) & set(b.truth)
    if any(a.units[u] != b.units[u] for u in common):
        return f"what is independent differs: {a.unit}s in A, {b.unit}s in B"
    return "" if common else "no utterance that both predict"


def _other_basis(a: CellOutcomes, b: CellOutcomes, hashes: tuple[_Hashes, _Hashes]) -> str:
    """Count what differs between two states of a corpus under one name."""
    one, other = _emotions(a), _emotions(b)
    both = [u for u in one if u in other]
    audio_a, audio_b = (of.of(a.record["tested"]) for of in hashes)
    folds_a, folds_b = _fold_of(a), _fold_of(b)
    counts = {
        "utterances only in A": len(one) - len(both),
        "only in B": len(other) - len(both),
        "of another emotion": sum(one[u] != other[u] for u in both),
        "of other recordings": sum(audio_a.get(u) != audio_b.get(u) for u in both),
        "in other folds": sum(folds_a.get(u, f) != f for u, f in folds_b.items()),
    }
    found = [f"{n} {what}" for what, n in counts.items() if n]
    return "other labels, recordings or folds: " + (", ".join(found) or "folds of utterances beyond the task")


def _emotions(cell: CellOutcomes) -> dict[str, str]:
    columns = cell.record["utterances"]
    return dict(zip(columns["id"], columns["emotion"], strict=True))


def _fold_of(cell: CellOutcomes) -> dict[str, str]:
    return {u: fold for fold, utterances in cell.folds.items() for u in utterances}


def _changes(a: CellOutcomes, b: CellOutcomes) -> Iterator[Change]:
    """What two cells were made with differently."""
    one, other = a.provenance, b.provenance
    names = sorted({*one.versions, *other.versions})
    facts = [("serbench", one.serbench, other.serbench)]
    facts += [(name, one.versions.get(name, "none"), other.versions.get(name, "none")) for name in names]
    facts += [
        (f"{a.cell['features']} features", one.feature_key, other.feature_key),
        (f"{a.cell['classifier']} revision", str(one.revision), str(other.revision)),
        (f"{a.cell['classifier']} settings", one.settings, other.settings),
        ("indexes", worded(one.indexes), worded(other.indexes)),
        ("completeness", worded(one.partials) or "whole", worded(other.partials) or "whole"),
        (f"predictions of {a.cell['classifier']}", _file(a), _file(b)),
    ]
    yield from (fact for fact in facts if fact[1] != fact[2])


def _file(cell: CellOutcomes) -> str:
    outside: Mapping[str, str] = cell.record.get(OUTSIDE, {})
    return f"{outside['file']} ({outside['sha256'][:12]})" if outside else ""


def _corrected(pairs: Sequence[Pair], metric: str) -> Iterator[Pair]:
    """Give the pairs whose predictions differ their intervals and p, corrected for all of them of one corpus."""
    tested = [pair for pair in pairs if pair.n_changed]
    families: dict[tuple[str, ...], dict[int, np.ndarray]] = {}
    for i, pair in enumerate(tested):
        units, stack = _stacks(pair)
        families.setdefault((pair.a.cell["corpus"], *units), {})[i] = stack
    compared: dict[int, Comparison] = {}
    for stacks in families.values():
        for (i, stack), p in zip(stacks.items(), _p_values(list(stacks.values()), metric), strict=True):
            difference = tested[i].value_b - tested[i].value_a
            compared[id(tested[i])] = Comparison(difference, _interval(stack, metric), p)
    yield from (replace(pair, comparison=compared.get(id(pair))) for pair in pairs)


def _stacks(pair: Pair) -> tuple[list[str], np.ndarray]:
    """Names of units, and confusion matrices of B and A by unit, shape (n_units, 2, n_emotions, n_emotions)."""
    both = [(cell, cell.headline) for cell in (pair.b, pair.a) if cell.headline is not None]
    common = sorted(set.intersection(*(set(outcome.predictions) for _, outcome in both)))
    stacks = [unit_stack(cell, outcome, common) for cell, outcome in both]
    return sorted({pair.a.units[u] for u in common}), np.stack(stacks, axis=1)


def _p_values(stacks: Sequence[np.ndarray], metric: str) -> list[float | None]:
    """P of a family of pairs that have the same units; None where these are too few, or the metric is no sum."""
    if metric not in SHARES or smallest_p(len(stacks[0])) > ALPHA:
        return [None] * len(stacks)
    shares = SHARES[metric]
    return list(flip_p(np.stack([shares(stack[:, 0]) - shares(stack[:, 1]) for stack in stacks], axis=1)).tolist())


def _interval(stack: np.ndarray, metric: str) -> Interval | None:
    widest = BOUNDS[metric][1] - BOUNDS[metric][0]
    return jackknife_interval(stack, difference_of(STATISTICS[metric]), bounds=(-widest, widest))


def _table(comparison: RunComparison, title: str, pairs: Sequence[Pair]) -> Table:
    name = comparison.metric.upper() if comparison.metric in ("uar", "war") else comparison.metric
    header = ("corpus", "features", "classifier", "A", "B", "B - A", "p", "changed")
    rows = tuple(tuple(_entries(pair)) for pair in pairs)
    notes = tuple(_table_notes(comparison, pairs))
    return make_table("compare", f"What changed, {name}: {title}", header, rows, n_labels=3, notes=notes)


def _entries(pair: Pair) -> Iterator[Entry]:
    cell = pair.a.cell
    yield from (Entry(str(cell[name])) for name in ("corpus", "features", "classifier"))
    yield from (Entry(f"{pair.value_a:.3f}"), Entry(f"{pair.value_b:.3f}"))
    difference = pair.value_b - pair.value_a
    found = pair.comparison
    is_different = found is not None and found.is_different
    yield Entry(signed(difference), bracketed(found.interval) if found else "", is_different)
    yield Entry("" if found is None else "?" if found.p is None else f"{found.p:.3f}", bold=is_different)
    yield Entry(f"{pair.n_changed}/{pair.n_utterances}")


def _table_notes(comparison: RunComparison, pairs: Sequence[Pair]) -> Iterator[str]:
    units = " or ".join(sorted({f"{pair.a.unit}s" for pair in pairs}))
    yield f"B - A with 95 % intervals over {units}, on the utterances that both predict; changed: how many of these."
    if comparison.metric in SHARES:
        yield (
            "p: sign-flip tests, corrected for all cells of a corpus whose predictions differ (step-down max-T). "
            "Bold: p <= 0.05."
        )
        if any(pair.comparison and pair.comparison.p is None for pair in pairs):
            yield f"? too few {units} for a test."
    else:
        yield f"? {comparison.metric} is no sum over {units}: it has no test here."
    for rule in sorted({pair.a.headline.rule for pair in pairs if pair.a.headline} - {"nested"}):
        of_rule = [_title(p.a) for p in pairs if p.a.headline and p.a.headline.rule == rule]
        yield f"{'Default settings' if rule == 'default' else 'From outside'}: {listed(of_rule)}."
    for pair in pairs:
        if pair.n_alone:
            yield f"{_title(pair.a)}: {pair.n_alone} utterances are predicted in only one of the two."


def _sentences(comparison: RunComparison) -> Iterator[str]:
    yield f"A: {comparison.name_a}. B: {comparison.name_b}."
    compared = [pair for pair in comparison.pairs if not pair.reason]
    same = sum(pair.is_same for pair in compared)
    if not compared:
        yield f"No cell can be compared, of {len(comparison.pairs)} that both have."
    elif same == len(compared):
        yield f"{same} cells compared: the same predictions in all."
    else:
        yield f"{len(compared)} cells compared: {same} with the same predictions, {len(compared) - same} with others."
        if comparison.metric in SHARES:
            yield _verdict(comparison)
    for reason, cells in _grouped((pair.reason, _title(pair.a)) for pair in comparison.pairs if pair.reason):
        yield f"Not comparable: {listed(cells)}: {reason}"
    for side, alone in (("A", comparison.only_a), ("B", comparison.only_b)):
        if alone:
            yield f"Only in {side}, {len(alone)} cells: {listed(alone)}."
    made = Counter(change for pair in comparison.pairs for change in pair.changes)
    for (what, a, b), n in made.items():
        yield f"Made with {what}: {a or 'unknown'} in A, {b or 'unknown'} in B; {n} of {len(comparison.pairs)} cells."


def _verdict(comparison: RunComparison) -> str:
    found = [pair.comparison for pair in comparison.differing if pair.comparison]
    n = sum(one.is_different for one in found)
    low, high = (sum(one.is_different and sign * one.difference > 0 for one in found) for sign in (-1, 1))
    untestable = sum(one.p is None for one in found)
    rest = f" {untestable} cannot be tested: too few speakers." if untestable else ""
    return f"More than chance explains, of {len(found)}: {n} ({high} higher in B, {low} lower).{rest}"


def _grouped(items: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    grouped: dict[str, list[str]] = {}
    for reason, cell in items:
        grouped.setdefault(reason, []).append(cell)
    return list(grouped.items())


def _row(pair: Pair, metric: str) -> dict[str, Any]:
    found, interval = pair.comparison, pair.comparison.interval if pair.comparison else None
    verdict = "not comparable" if pair.reason else "same" if pair.is_same else "other predictions"
    row = {"cell": _title(pair.a), "verdict": verdict, "reason": pair.reason}
    row["changes"] = "; ".join(f"{what}: {a} -> {b}" for what, a, b in pair.changes)
    if pair.reason or pair.a.headline is None:
        return row
    return row | {
        "metric": metric,
        "rule": pair.a.headline.rule,
        "a": pair.value_a,
        "b": pair.value_b,
        "difference": pair.value_b - pair.value_a,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "p": found.p if found else None,
        "unit": pair.a.unit,
        "n_units": len({pair.a.units[u] for u in set(pair.a.truth) & set(pair.b.truth)}),
        "n_utterances": pair.n_utterances,
        "n_changed": pair.n_changed,
        "n_alone": pair.n_alone,
    }
