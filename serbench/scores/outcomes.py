"""Stored predictions -> what each rule of choosing a setting would have said: nested, default, oracle.

`nested` chooses, for each test group, the setting with the highest UAR pooled over that group's inner validations
(ties as fractions; the earlier setting wins). `default` always takes the default. `oracle` takes the one setting that
is best on the test data of the whole cell: what a careless paper would have printed. Predictions of another system
have one rule of their own, `given`: how their settings were chosen is not known.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serbench.corpora.divisions import sentences
from serbench.corpora.fingerprint import index_fingerprint
from serbench.corpora.segments import pieces_of, seconds_of
from serbench.errors import DamagedError, SerbenchError, StoreError, listed
from serbench.grid.comparable import again, is_comparable, is_outside
from serbench.grid.forms import read_cell
from serbench.protocols import independent_units
from serbench.scores.majority import by_majority
from serbench.scores.metrics import exact_uar
from serbench.scores.provenance import Provenance
from serbench.store.files import read_frame, read_metadata
from serbench.store.results import OUTDATED, Store, read_predictions

RULES = ("nested", "default", "oracle")
GIVEN = "given"
REFERENCES = ("dummy",)
"""Classifiers whose rows show what can be had for nothing: they are tested against, and no contenders."""

_UNKNOWN: dict[str, Any] = {
    "partial": "",
    "partials": {},
    "indexes": {},
    "tested": [],
    "pool": "",
    "basis": "",
    "task_map": "",
    "serbench": "",
    "versions": {},
    "feature_key": "",
    "revision": 0,
    "settings": [],
    "default": 0,
}
_EARLIER = "recorded by an earlier serbench; run it again"


GROUPED_BY = ("speaker", "gender", "text")
"""Columns of an index by which a report breaks scores down."""

Groups = Mapping[str, Mapping[str, str]]
"""What tells utterances apart (unit, and of `GROUPED_BY` what the corpus has) -> utterance -> its group."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Predictions of one rule over a cell: codes by utterance, settings by fold, and folds that did not converge."""

    rule: str
    predictions: Mapping[str, int]
    settings: Mapping[str, int]
    not_converged: tuple[str, ...]


@dataclass(frozen=True)
class CellOutcomes:
    """A cell as the report meets it; `reasons` says why a rule, or the cell as a whole, gives nothing.

    `unit` names what its utterances are independent by: the speaker, or the session where speakers talk to each other.
    `p_chance` is that of the test against chance, after correction; None where there is no such test.
    One that `is_short` lacks so many utterances of its column that it is not compared with the other cells.
    """

    cell: Mapping[str, Any]
    record: Mapping[str, Any]
    unit: str = "speaker"
    truth: Mapping[str, int] = field(default_factory=dict)
    speakers: Mapping[str, str] = field(default_factory=dict)
    folds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    p_chance: float | None = None
    is_short: bool = False

    @functools.cached_property
    def provenance(self) -> Provenance:
        """What made it."""
        return Provenance.of(self.record)

    @functools.cached_property
    def fields(self) -> dict[str, Any]:
        """Its fields as columns of a table, and the key of its provenance."""
        return {**self.cell, "provenance": self.provenance.key}

    @property
    def is_outside(self) -> bool:
        """Whether another system made the predictions."""
        return is_outside(self.record)

    @property
    def is_reference(self) -> bool:
        """Whether it shows what chance gives, and is no contender."""
        return self.cell["classifier"] in REFERENCES

    @property
    def is_transductive(self) -> bool:
        """Whether scaling has seen unlabelled audio of what is tested."""
        return bool(self.record.get("transductive"))

    @property
    def rules(self) -> tuple[str, ...]:
        """Rules that a cell of its kind has a value by, or a reason for having none."""
        return (GIVEN,) if self.is_outside else RULES

    @property
    def chosen(self) -> Outcome | None:
        """What settings chosen without the test gave: nested, or what another system gave."""
        return self.outcomes.get("nested") or self.outcomes.get(GIVEN)

    @property
    def contender(self) -> Outcome | None:
        """What stands against other cells in tests."""
        return None if self.is_short else self.chosen

    @property
    def headline(self) -> Outcome | None:
        """What tables show: what was chosen, or the default where there is no nested."""
        return self.chosen or self.outcomes.get("default")

    @property
    def reason(self) -> str:
        """Why there is no value by any rule; empty where there is one."""
        return "" if self.outcomes else self.reasons.get(self.rules[-1], "")

    @property
    def coverage(self) -> str:
        """How many utterances it has, for a table whose columns are scored on those that all cells have."""
        if self.is_outside:
            return f"{self.cell['classifier']} has predictions of {len(self.truth)} utterances"
        return f"{self.cell['features']} has features of {len(self.truth)} utterances"

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotions in the order of their codes."""
        return tuple(self.record["task_emotions"])

    @property
    def n_missing(self) -> int:
        """Utterances of the task without features."""
        return len(self.record.get("missing", {}))

    @property
    def inner_title(self) -> str:
        """The inner rule, `auto` where it is what auto gives for this number of groups."""
        return str(self.record["inner_title"])

    @property
    def notes(self) -> list[str]:
        """What every table must say of this cell's corpus: that it is partial, that speakers tell emotions."""
        return [note for note in (self.record.get("partial", ""), *self.record.get("notes", ())) if note]

    @property
    def units(self) -> Mapping[str, str]:
        """Utterance -> the independent unit that it belongs to."""
        return self.groups["unit"]

    @property
    def person(self) -> str:
        """Field that keeps its people apart."""
        fields = sorted(set(self.record.get("persons", {}).values()) - {"speaker"})
        return str(fields[0]) if fields else "speaker"

    @property
    def has_speakers(self) -> bool:
        """Whether the people kept apart are speakers, rather than voices, say."""
        return self.person == "speaker"


def load_outcomes(store: Store) -> list[CellOutcomes]:
    """Read every cell of the store and apply the rules; a cell that cannot be read or scored keeps the reason.

    Raises
    ------
    StoreError : there is no cell, or none whose record is sound.
    """
    if not store.cells:
        raise StoreError(str(store.root), "no cells to report", todo="Run `serbench grid` first")
    indexes = {path.stem: _Index(read_frame(path), read_metadata(path).get("entry", {})) for path in store.indexes}
    cells = [_outcomes_or_reason(record, store, indexes) for record in _sound_records(store, indexes)]
    if not cells:
        raise DamagedError(str(store.root), "every record of a cell is damaged", todo="Run `serbench grid` again")
    return [shown for cell in cells for shown in _as_shown(cell, indexes)]


class _Index:
    """The index of a corpus, and what tells its utterances apart, once for all its cells.

    `entry` is what the corpus' entry said besides when it was indexed, part by part.
    """

    def __init__(self, frame: pd.DataFrame, entry: Mapping[str, str]) -> None:
        self._frame = frame
        self.entry = entry
        self.state = index_fingerprint(frame)
        self._groups: dict[str, tuple[str, Groups]] = {}

    @functools.cached_property
    def pieces(self) -> dict[str, tuple[str, ...]]:
        """The pieces of each utterance, where they were cut."""
        return pieces_of(self._frame) if "whole" in self._frame else {}

    def groups(self, person: str) -> tuple[str, Groups]:
        """The name of the independent unit, and the groups that utterances belong to."""
        if person not in self._groups:
            unit, units = independent_units(self._frame, person)
            known = [name for name in GROUPED_BY if name in self._frame]
            rows = self._frame.assign(**({"text": sentences(self._frame)} if "text" in known else {}))
            rows = rows.set_index("utterance")
            columns = {name: {str(u): str(v) for u, v in rows[name].dropna().items()} for name in known}
            self._groups[person] = unit, {"unit": units, **columns}
        return self._groups[person]


def _sound_records(store: Store, indexes: Mapping[str, _Index]) -> Iterator[dict[str, Any]]:
    """Read the records of all cells; a damaged one tells nothing of its cell, which is left out and named."""
    for path in store.cells:
        try:
            yield _record(path, indexes)
        except DamagedError as error:
            warnings.warn(f"{error} Until then its cell is left out", stacklevel=2)


def _record(path: Path, indexes: Mapping[str, _Index]) -> dict[str, Any]:
    """Read a cell's record; one of an earlier state of its corpus is refused."""
    record = read_cell(path)
    if not is_comparable(record):
        known = {**_UNKNOWN, **record, "cell": {"options": "", "map": "", **record["cell"]}}
        return {**known, "refused": record["refused"] or f"{OUTDATED} {_EARLIER}"}
    why = "" if record["refused"] else _changed(record, indexes)
    return {**record, "refused": f"{OUTDATED} {why}; {again(record)}"} if why else dict(record)


def _changed(record: Mapping[str, Any], indexes: Mapping[str, _Index]) -> str:
    """Say why a cell is not of the corpora as they are now, or nothing."""
    for corpus, state in record["indexes"].items():
        name = "the corpus" if len(record["indexes"]) == 1 else corpus
        if corpus not in indexes:
            return f"the index of {name} is not there"
        if state != indexes[corpus].state:
            return f"{name} has changed since"
        known, used = indexes[corpus].entry, record.get("entries", {}).get(corpus, {})
        other = [part for part, own in used.items() if known and known.get(part) != own]
        if other:
            return f"the {', '.join(other)} of {name} in its entry has changed since"
    return ""


def without_outcomes(record: Mapping[str, Any], reason: str) -> CellOutcomes:
    """Return a cell that has no value, by any rule, for a reason."""
    cell = CellOutcomes(record["cell"], record)
    return replace(cell, reasons=dict.fromkeys(cell.rules, reason))


def _as_shown(cell: CellOutcomes, indexes: Mapping[str, _Index]) -> list[CellOutcomes]:
    """Show a cell of pieces as these, and as the utterances that they vote on."""
    if not seconds_of(cell.cell["preprocessing"]):
        return [cell]
    there = [indexes[name] for name in cell.record["tested"] if name in indexes]
    return [cell, by_majority(cell, {whole: pieces for index in there for whole, pieces in index.pieces.items()})]


def _outcomes_or_reason(record: dict[str, Any], store: Store, indexes: Mapping[str, _Index]) -> CellOutcomes:
    try:
        return _outcomes(record, store, indexes)
    except SerbenchError as error:
        return without_outcomes(record, store.worded(str(error)))


def _outcomes(record: dict[str, Any], store: Store, indexes: Mapping[str, _Index]) -> CellOutcomes:
    refused = record["refused"]
    lost = [key for key in record.get("jobs", ()) if not store.job(key).is_file()]
    if refused or lost:
        reason = refused or f"{len(lost)} of {len(record['jobs'])} jobs are not done yet"
        return without_outcomes(record, reason)
    columns = record["utterances"]
    code = {emotion: i for i, emotion in enumerate(record["task_emotions"])}
    truth = {
        u: code[e] for u, e, here in zip(columns["id"], columns["emotion"], columns["present"], strict=True) if here
    }
    sources = {u: code[e] for u, e in zip(record["sources"]["id"], record["sources"]["emotion"], strict=True)}
    outcomes = _given(record) if is_outside(record) else _by_rule(_Jobs(store, record, {**truth, **sources}), record)
    reasons = {"nested": record["no_nested"]} if "nested" not in outcomes and not is_outside(record) else {}
    speakers = dict(zip(columns["id"], columns["speaker"], strict=True))
    unit, groups = _grouped({name: indexes[name] for name in record["tested"]}, record["persons"])
    return CellOutcomes(record["cell"], record, unit, truth, speakers, _folds(record), groups, outcomes, reasons)


def _grouped(indexes: Mapping[str, _Index], persons: Mapping[str, str]) -> tuple[str, Groups]:
    """Join the groups of several corpora, whose sessions and texts may be called alike; mixed units are speakers."""
    known = {name: index.groups(persons[name]) for name, index in indexes.items()}
    if len(known) == 1:
        return next(iter(known.values()))
    joined: dict[str, dict[str, str]] = {}
    for corpus, (_, groups) in known.items():
        for name, group_of in groups.items():
            prefix = "" if name == "gender" else f"{corpus}/"
            joined.setdefault(name, {}).update({u: f"{prefix}{group}" for u, group in group_of.items()})
    units = {unit for unit, _ in known.values()}
    return units.pop() if len(units) == 1 else "speaker", joined


def _folds(record: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    if is_outside(record):
        return {name: tuple(utterances) for name, utterances in record["folds"].items()}
    return {e["name"]: tuple(record["sets"][e["name"]]) for e in record["evaluations"]}


def _given(record: Mapping[str, Any]) -> dict[str, Outcome]:
    """Read the predictions of another system, which stand in the record itself; its one setting is not known."""
    places = zip(record["utterances"]["id"], record["predictions"], strict=True)
    predictions = {u: int(code) for u, code in places if code is not None}
    return {GIVEN: Outcome(GIVEN, predictions, dict.fromkeys(record["folds"], 0), ())}


def _by_rule(jobs: _Jobs, record: Mapping[str, Any]) -> dict[str, Outcome]:
    return {rule: jobs.outcome(rule, settings) for rule, settings in _chosen(jobs, record)}


def _chosen(jobs: _Jobs, record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, int]]]:
    evaluations = record["evaluations"]
    names = [e["name"] for e in evaluations]
    if all(e["inner"] for e in evaluations):
        yield "nested", {e["name"]: _best(jobs.counts((v["job"], v["name"]) for v in e["inner"])) for e in evaluations}
    yield "default", dict.fromkeys(names, int(record["default"]))
    yield "oracle", dict.fromkeys(names, _best(jobs.counts((e["job"], e["name"]) for e in evaluations)))


def _best(counts: tuple[np.ndarray, np.ndarray]) -> int:
    """Index of the setting with the highest pooled UAR; the earlier of equals."""
    hits, totals = counts
    scores: list[Fraction] = [exact_uar(of_setting, totals) for of_setting in hits]
    return scores.index(max(scores))


class _Jobs:
    """The predictions of a cell's jobs, each file read once."""

    def __init__(self, store: Store, record: Mapping[str, Any], truth: Mapping[str, int]) -> None:
        self.record = record
        self.truth = truth
        read = {key: _job(store, key, record) for key in record["jobs"]}
        self.codes = {key: (places, codes) for key, (places, codes, _) in read.items()}
        self.not_converged = {key: set(settings) for key, (_, _, settings) in read.items()}

    def of(self, job: str, group: str) -> tuple[Sequence[str], np.ndarray]:
        """Utterances of a group and a job's codes for them, shape (n_settings, n_utterances)."""
        utterances = self.record["sets"][group]
        places, codes = self.codes[job]
        return utterances, codes[:, [places[u] for u in utterances]]

    def counts(self, pools: Iterator[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        """Hits of shape (n_settings, n_emotions) and utterances per emotion, added over pools of (job, group)."""
        n_emotions = len(self.record["task_emotions"])
        hits = np.zeros((len(self.record["settings"]), n_emotions), dtype=np.int64)
        totals = np.zeros(n_emotions, dtype=np.int64)
        for job, group in pools:
            utterances, codes = self.of(job, group)
            truth = np.array([self.truth[u] for u in utterances])
            for emotion in range(n_emotions):
                hits[:, emotion] += (codes[:, truth == emotion] == emotion).sum(axis=1)
            totals += np.bincount(truth, minlength=n_emotions)
        return hits, totals

    def outcome(self, rule: str, settings: Mapping[str, int]) -> Outcome:
        """Collect the predictions of the chosen setting of every fold."""
        predictions: dict[str, int] = {}
        not_converged = []
        for evaluation in self.record["evaluations"]:
            fold, job = evaluation["name"], evaluation["job"]
            utterances, codes = self.of(job, fold)
            predictions.update(zip(utterances, codes[settings[fold]].tolist(), strict=True))
            if settings[fold] in self.not_converged[job]:
                not_converged.append(fold)
        return Outcome(rule, predictions, settings, tuple(not_converged))


def _job(store: Store, key: str, record: Mapping[str, Any]) -> tuple[dict[str, int], np.ndarray, list[int]]:
    utterances, codes, metadata = read_predictions(store.job(key))
    if (
        metadata["key"] != key
        or len(codes) != len(record["settings"])
        or metadata["emotions"] != record["task_emotions"]
    ):
        raise StoreError(
            f"jobs/{key}.parquet",
            "does not belong to the cell that names it",
            todo="Delete this file and run `serbench grid` again",
        )
    other = _other_origin(metadata, record)
    if other:
        raise StoreError(
            f"jobs/{key}.parquet",
            f"made with {listed(other)}",
            f"what the cell's record says: {listed(other.values())}",
            "Delete this file and run `serbench grid` again",
        )
    return {u: i for i, u in enumerate(utterances)}, codes, metadata["not_converged"]


def _other_origin(metadata: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, str]:
    """What a job was made with -> what its cell was made with, where the two differ."""
    cell = record["cell"]
    wanted = {
        "classifier": cell["classifier"],
        "revision": record["revision"],
        "features": record["feature_key"],
        "scaling": metadata.get("scaling") if _is_same_scaling(metadata, cell) else cell["scaling"],
        "seed": cell["seed"],
        **record["versions"],
    }
    made = {name: metadata.get(name) for name in ("classifier", "revision", "features", "scaling", "seed")}
    made |= metadata.get("versions", {})
    other = {f"{n} {value}": f"{n} {wanted.get(n)}" for n, value in made.items() if value != wanted.get(n)}
    if metadata.get("settings") != record["settings"]:
        other["other settings"] = f"{len(record['settings'])} settings of {cell['space']}"
    return other


def _is_same_scaling(metadata: Mapping[str, Any], cell: Mapping[str, Any]) -> bool:
    """Whether a job was scaled as its cell says: one of a single corpus is scaled per corpus on its training rows."""
    return (metadata.get("scaling"), cell["scaling"]) == ("train", "corpus")
