"""Stored predictions -> one table of predictions per cell, with a row for each rule and test utterance."""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from serbench.corpora.divisions import sentences
from serbench.corpora.entry import FIELDS
from serbench.corpora.index import index_fingerprint
from serbench.corpora.segments import MAJORITY, seconds_of
from serbench.errors import DamagedError, SerbenchError, StoreError, listed
from serbench.grid.cells import UTTERANCE_COLUMNS, CellRecord, read_cell
from serbench.protocols import independent_unit
from serbench.scores.metrics import Coded, coded, count_pairs
from serbench.scores.rules import RULES, Chosen, StoredJob, predicted_by_rules
from serbench.store.files import metadata_of, read_table
from serbench.store.keys import digest
from serbench.store.results import Store

GIVEN = "given"
UNKNOWN = "unknown"
"""What a cell of another system has for the axes of the grid that serbench cannot know."""
GROUPED_BY = ("speaker", "gender", "text")
"""Columns of the predictions by which a report breaks scores down."""
VOTED = "settings, the oracle's too, were chosen on pieces"
"""What the notes of a cell say whose utterances have the emotion of most of their pieces."""


@dataclass(frozen=True, eq=False)
class Utterances:
    """The test utterances of cells: one table, which all cells that test the same in the same folds share.

    `rows` has one row per utterance, sorted: `utterance`, `fold`, `truth` (codes of emotions), `unit` (who is
    independent), `who` (who is kept out of training, as in the grid) and the columns of the index, as categories. `who`
    is the `speaker` of the index where speakers are known, else the value of another field, which the property `person`
    of a cell names as an entry does. The unit is the speaker, or the session where speakers talk to each other.
    """

    rows: pd.DataFrame
    unit: str = "speaker"
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def truth_of(self) -> dict[str, int]:
        """Code of the true emotion by utterance."""
        return dict(zip(self.rows["utterance"], self.truth.tolist(), strict=True))

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Utterances by name."""
        return frozenset(self.truth_of)

    @functools.cached_property
    def truth(self) -> np.ndarray:
        """Codes of the true emotions."""
        return self.rows["truth"].to_numpy(np.int64)

    def coded(self, column: str) -> Coded:
        """Return a column as codes, and its values in the order of `CellPredictions.stack`."""
        if column not in self.cache:
            self.cache[column] = coded(self.rows[column])
        found: Coded = self.cache[column]
        return found

    def among(self, names: frozenset[str]) -> tuple[Utterances, np.ndarray]:
        """Return those that have one of these names, and whether each has."""
        if names not in self.cache:
            kept = self.rows["utterance"].isin(names).to_numpy()
            self.cache[names] = replace(self, rows=self.rows[kept], cache={}), kept
        found: tuple[Utterances, np.ndarray] = self.cache[names]
        return found


_NO_UTTERANCES = Utterances(pd.DataFrame(columns=["utterance", "fold", "truth", "unit", "who"]))


@dataclass(frozen=True, eq=False)
class CellPredictions:
    """A cell with its predictions, as the report meets it.

    `predicted` has by rule the code of an emotion for each of its `utterances`. `settings` has by rule what was chosen
    for each fold. `reasons` has the rules without a value. `state` is empty, or `refused`, `undone` (not all jobs are
    done), `damaged`, `outdated` or `incomparable`. `is_short` where it misses too many utterances of its column to be
    compared with the other cells, of which any has one of `n_column` utterances.
    """

    record: CellRecord
    utterances: Utterances = _NO_UTTERANCES
    predicted: Mapping[str, np.ndarray] = field(default_factory=dict)
    settings: Mapping[str, Sequence[Chosen]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    is_short: bool = False
    n_column: int = 0
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:  # what was counted before holds as long as the predictions are the same
        of, predicted = self.cache.get("of", (None, None))
        if of is not self.utterances or predicted is not self.predicted:
            object.__setattr__(self, "cache", {"of": (self.utterances, self.predicted)})

    @functools.cached_property
    def cell(self) -> dict[str, Any]:
        """Fields of the cell."""
        return self.record.cell.row

    @functools.cached_property
    def made(self) -> dict[str, Any]:
        """What made it, for `provenance.json`: its fields, and what these leave open; `jobs` is a digest of keys."""
        record, outside = self.record, self.record.outside
        names = "emotions task_map serbench versions indexes basis partials feature_key revision".split()
        made: dict[str, Any] = record.cell.keyed | {name: getattr(record, name) for name in names}
        made |= {"emotions": list(self.emotions), "settings": settings_key(record), "n_settings": len(record.settings)}
        made |= {"jobs": digest(list(record.jobs)) if record.jobs else ""}
        return made | ({"outside_file": outside.file, "outside_sha256": outside.sha256} if outside else {})

    @functools.cached_property
    def key(self) -> str:
        """Key of its provenance."""
        return digest(self.made)[:12]

    @functools.cached_property
    def fields(self) -> dict[str, Any]:
        """Its fields as columns of a table, and the key of its provenance."""
        return {**self.cell, "provenance": self.key}

    def of(self, rule: str = "") -> pd.DataFrame:
        """Return the utterances with the `prediction` of a rule; without one, of the rule that tables show."""
        found = self.predicted.get(rule or self.rule)
        rows = self.utterances.rows
        return rows[:0].assign(prediction=0) if found is None else rows.assign(prediction=found)

    def stack(self, *by: str, rule: str = "") -> np.ndarray:
        """Count the predictions of a rule by truth and prediction, and by columns before; see `confusions`."""
        key = rule or self.rule, *by
        if key not in self.cache:
            of, predicted = self.utterances, self.predicted.get(key[0])
            if predicted is None:
                of, predicted = _NO_UTTERANCES, np.empty(0, np.int64)
            self.cache[key] = count_pairs(of.truth, predicted, [of.coded(name) for name in by], len(self.emotions))
        found: np.ndarray = self.cache[key]
        return found

    def values(self, column: str) -> list[str]:
        """Return the values of a column in the order of `stack`; none where the corpus does not know the column."""
        return self.utterances.coded(column)[1] if column in self.utterances.rows else []

    @property
    def with_values(self) -> tuple[str, ...]:
        """Rules that have predictions."""
        return tuple(self.predicted)

    @property
    def rule(self) -> str:
        """Rule that tables show: nested or given, or the default where there is no nested; empty without values."""
        return next((rule for rule in ("nested", GIVEN, "default") if rule in self.predicted), "")

    @property
    def is_chosen(self) -> bool:
        """Whether the rule that tables show chose settings without the test, or another system chose them."""
        return self.rule in ("nested", GIVEN)

    @property
    def is_outside(self) -> bool:
        """Whether another system made the predictions."""
        return self.record.outside is not None

    @property
    def is_reference(self) -> bool:
        """Whether it shows what chance gives: it is tested against, and is no contender."""
        return self.record.cell.classifier == "dummy"

    @property
    def rules(self) -> tuple[str, ...]:
        """Rules that a cell of its kind has a value by, or a reason for having none."""
        return (GIVEN,) if self.is_outside else RULES

    @property
    def reason(self) -> str:
        """Why there is no value by any rule; empty where there is one."""
        return "" if self.with_values else self.reasons.get(self.rules[-1], "")

    @property
    def unit(self) -> str:
        """Who is independent of each other: speakers, or sessions."""
        return self.utterances.unit

    @property
    def n_utterances(self) -> int:
        """Utterances that it predicts."""
        return len(self.utterances.rows) if self.predicted else 0

    @property
    def coverage(self) -> str:
        """How many utterances it has, in words."""
        which, what = ("classifier", "predictions") if self.is_outside else ("features", "features")
        return f"{self.cell[which]} has {what} of {self.n_utterances} utterances"

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotions in the order of their codes."""
        return self.record.emotions

    @property
    def notes(self) -> list[str]:
        """What every table must report of this cell's corpora."""
        record = self.record
        partials = (f"trained on {n}, {why}" for n, why in record.partials.items() if why and n not in record.tested)
        others = (f"{about}: {note}" if about and len(record.indexes) > 1 else note for about, note in record.notes)
        return [note for note in (record.partial, *partials, *others) if note]

    @property
    def person(self) -> str:
        """Field that keeps its people apart, as in the entry of its corpus: `speaker`, or what `folds.by` names."""
        return next(iter(sorted(set(self.record.persons.values()) - {"speaker"})), "speaker")

    def has_all_emotions(self) -> bool:
        """Whether it predicts an utterance of each emotion."""
        return bool(self.predicted) and len(np.unique(self.utterances.truth)) == len(self.emotions)

    def on(self, utterances: Iterable[str]) -> CellPredictions:
        """Leave some utterances of the cell only."""
        left, kept = self.utterances.among(frozenset(utterances))
        predicted = {rule: of[kept] for rule, of in self.predicted.items()} if kept.any() else {}
        return replace(self, utterances=left, predicted=predicted)


def settings_key(record: CellRecord) -> str:
    """Return the name of a cell's settings and their default: a digest, as spaces of one name may differ."""
    return digest([list(record.settings), record.default])[:12]


@dataclass(frozen=True, eq=False)
class Index:
    """The index of a corpus, and what is stored `about` it: its language, its entry by parts, what a copy misses."""

    name: str
    frame: pd.DataFrame
    about: Mapping[str, Any]
    cache: dict[str, tuple[str, pd.DataFrame]] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def state(self) -> str:
        """Name of its content, as in the records of cells."""
        return index_fingerprint(self.frame)

    def utterances(self, person: str) -> tuple[str, pd.DataFrame]:
        """Return the name of the independent unit, and what is known of each utterance as categories."""
        if person not in self.cache:
            unit = independent_unit(self.frame, person)
            rows = self.frame[["utterance", *(f for f in FIELDS if f in self.frame and f != "emotion")]]
            rows = rows.assign(unit=self.frame[unit].astype(str))
            rows = rows.assign(text=sentences(self.frame)) if "text" in rows else rows
            self.cache[person] = unit, rows.set_index("utterance").astype("string").astype("category")
        return self.cache[person]


def read_indexes(store: Store) -> list[Index]:
    """Read the index of every corpus in the store, by name."""
    tables = {path.stem: read_table(path) for path in store.indexes}
    return [Index(name, table.to_pandas(), metadata_of(table.schema)) for name, table in tables.items()]


def load_predictions(store: Store, indexes: Sequence[Index] | None = None) -> list[CellPredictions]:
    """Read every cell of the store and apply the rules; a cell that cannot be read or scored keeps the reason.

    A cell of pieces of utterances comes twice: as it is, and with the utterances that its pieces vote on. `indexes` are
    those of the store, if they were read before.

    Raises
    ------
    StoreError : there is no cell, or none whose record is sound.
    """
    if not store.cells:
        raise StoreError(str(store.root), "no cells to report", todo="Run `serbench grid` first")
    by_name = {index.name: index for index in (read_indexes(store) if indexes is None else indexes)}
    cells, records = [], []
    for path in store.cells:
        try:
            records.append(read_cell(path))
        except DamagedError as error:
            warnings.warn(f"{error} Until then its cell is left out", stacklevel=2)
    if not records:
        raise DamagedError(str(store.root), "every record of a cell is damaged", todo="Run `serbench grid` again")
    left = Counter(key for record in records for key in record.jobs)
    jobs: dict[str, StoredJob] = {}
    known: dict[Any, Utterances] = {}
    for record in records:
        try:
            made = [_predictions(record, store, by_name, jobs, known)]
        except SerbenchError as error:
            made = [without_predictions(record, store.worded(str(error)), state="damaged")]
        left.subtract(record.jobs)
        for key in record.jobs:  # a job is read once, and kept until its last cell has it
            if not left[key]:
                jobs.pop(key, None)
        if seconds_of(record.cell.preprocessing):
            frames = [by_name[name].frame.sort_values("start_s") for name in record.tested if name in by_name]
            whole_of = [of.set_index("utterance")["whole"] for of in frames]
            made.append(majority(made[0], pd.concat(whole_of) if whole_of else pd.Series(dtype=str)))
        for cell in made:
            absent = sorted({*range(len(cell.emotions))} - {*cell.utterances.truth.tolist()}) if cell.predicted else []
            reason = f"no utterance of {listed(cell.emotions[code] for code in absent)}"
            cells.append(without_predictions(cell.record, reason, state="refused") if absent else cell)
    return cells


def without_predictions(record: CellRecord, reason: str, *, state: str) -> CellPredictions:
    """Return a cell that has no value, by any rule, for a reason."""
    cell = CellPredictions(record, state=state)
    return replace(cell, reasons=dict.fromkeys(cell.rules, reason))


def again(record: CellRecord) -> str:
    """Say how predictions of the present state are had."""
    return "score it again" if record.outside else "run it again"


def _outdated(record: CellRecord, indexes: Mapping[str, Index]) -> str:
    """Return which of its corpora has changed since a cell was made, or nothing."""
    for corpus, made_with in record.indexes.items():
        name = "the corpus" if len(record.indexes) == 1 else corpus
        if corpus not in indexes:
            return f"the index of {name} is not there"
        now, entry = indexes[corpus], indexes[corpus].about.get("entry", {})
        parts = [part for part, own in record.entries.get(corpus, {}).items() if entry and entry.get(part) != own]
        if now.state != made_with or parts:
            what = name if now.state != made_with else f"the {', '.join(parts)} of {name} in its entry"
            return f"{what} has changed since"
    return ""


def _predictions(
    record: CellRecord,
    store: Store,
    indexes: Mapping[str, Index],
    jobs: dict[str, StoredJob],
    known: dict[Any, Utterances],
) -> CellPredictions:
    """Read the jobs of a cell and apply the rules; `known` keeps the utterances that cells share."""
    if record.reason:
        return without_predictions(record, record.reason, state="refused")
    if why := _outdated(record, indexes):
        return without_predictions(record, f"outdated: {why}; {again(record)}", state="outdated")
    if lost := [key for key in record.jobs if not store.job(key).is_file()]:
        reason = f"{len(lost)} of {len(record.jobs)} jobs are not done yet"
        return without_predictions(record, reason, state="undone")
    folds = [(fold.name, record.sets[fold.name]) for fold in record.folds]
    columns = (tuple(record.utterances[name]) for name in UTTERANCE_COLUMNS)
    tested = record.tested, *map(record.persons.get, record.tested)
    key = record.emotions, tested, *columns, *folds
    if key not in known:
        known[key] = _tested(record, {name: indexes[name] for name in record.tested})
    of = known[key]
    if record.outside:
        given = dict(zip(record.utterances["id"], record.outside.predictions, strict=True))
        predicted = {GIVEN: np.array([given[u] for u in of.truth_of], np.int64)}
        settings = {GIVEN: [(name, 0, True) for name, _ in folds]}
    else:
        predicted, settings = predicted_by_rules(record, store, of.truth_of, jobs)
    reasons = {} if record.outside or "nested" in predicted else {"nested": record.no_nested}
    return CellPredictions(record, of, predicted, settings, reasons)


def _tested(record: CellRecord, indexes: Mapping[str, Index]) -> Utterances:
    """Return the utterances that a cell tests, with what the indexes of their corpora have on them."""
    unit, known = _utterances(indexes, record.persons)
    about = pd.DataFrame(record.utterances).set_index("id").sort_index()
    asked = about[about["present"].astype(bool)]
    code = {emotion: i for i, emotion in enumerate(record.emotions)}
    folds = [fold.name for fold in record.folds]
    fold_of = {u: fold for fold in folds for u in record.sets[fold]}
    rows = known.reindex(asked.index).assign(
        truth=asked["emotion"].map(code).astype(np.int64),
        who=asked["speaker"].astype("category"),
        fold=pd.Categorical(asked.index.map(fold_of), categories=folds),
    )
    return Utterances(rows.rename_axis("utterance").reset_index(), unit)


def _utterances(indexes: Mapping[str, Index], persons: Mapping[str, str]) -> tuple[str, pd.DataFrame]:
    """Join what is known of the utterances of several corpora.

    Corpora with other independent units have the speaker as unit.
    """
    known = {name: index.utterances(persons[name]) for name, index in indexes.items()}
    if len(known) == 1:
        return next(iter(known.values()))
    units = {unit for unit, _ in known.values()}
    unit = units.pop() if len(units) == 1 else "speaker"
    frames = []
    for corpus, (_, rows) in known.items():  # sessions and the like of two corpora may be called alike
        own = rows[[name for name in ("unit", "session", "text", "voice", "take") if name in rows]].astype("string")
        frames.append(rows.astype("string").assign(**(f"{corpus}/" + own)))
    return unit, pd.concat(frames).astype("category")


def majority(cell: CellPredictions, whole_of: pd.Series) -> CellPredictions:
    """Return a cell of pieces as one of whole utterances, each with the emotion that most of its pieces were given.

    Of emotions with as many pieces, the one that was predicted first in the utterance wins. Settings stay those chosen
    on pieces. An utterance without a piece that has features is missing. `whole_of` names the utterance of each piece,
    the pieces of an utterance earliest first.
    """
    fields = replace(cell.record.cell, preprocessing=cell.record.cell.preprocessing + MAJORITY)
    record = replace(cell.record, cell=fields)
    if not cell.predicted:
        return replace(cell, record=record)
    place = pd.Series(range(len(whole_of)), index=whole_of.index)
    piece = cell.utterances.rows["utterance"]
    pieces = cell.utterances.rows.assign(utterance=piece.map(whole_of), place=piece.map(place)).sort_values("place")
    rows = pieces.drop_duplicates("utterance").sort_values("utterance", ignore_index=True)
    predicted = {}
    for rule, codes in cell.predicted.items():
        votes = pieces.assign(prediction=codes[pieces.index])
        n = votes.groupby(["utterance", "prediction"])["place"].transform("size")
        winners = n.groupby(votes["utterance"]).idxmax()  # of equals the first, which is the earliest
        predicted[rule] = codes[winners[rows["utterance"]]]
    asked = whole_of[whole_of.index.isin(record.utterances["id"])]
    first = asked.drop_duplicates().sort_values()  # of each utterance its first piece
    heard = first.isin(rows["utterance"])
    columns = pd.DataFrame(record.utterances).set_index("id").loc[first.index].assign(id=first, present=heard)
    record = replace(
        record,
        utterances={str(name): of.tolist() for name, of in columns.items()},
        missing={whole: record.missing[str(piece)] for piece, whole in first[~heard].items()},
        notes=(*record.notes, ("", VOTED)),
    )
    utterances = Utterances(rows.drop(columns="place"), cell.unit)
    return replace(cell, record=record, utterances=utterances, predicted=predicted)
