"""Stored predictions -> one table of predictions per cell, with a row for each rule and test utterance.

A rule chooses the setting of each test group. `nested` chooses the setting with the highest UAR pooled over that
group's inner validations (ties as fractions; the earlier setting wins). `default` always takes the default. `oracle`
takes the one setting that is best on the test data of the whole cell: what a careless paper would have printed.
Predictions of another system have one rule, `given`: how their settings were chosen is not known.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serbench.corpora.divisions import sentences
from serbench.corpora.entry import FIELDS
from serbench.corpora.index import index_fingerprint
from serbench.corpora.segments import majority_title, seconds_of
from serbench.errors import DamagedError, SerbenchError, StoreError, listed
from serbench.grid.cells import read_cell
from serbench.grid.comparable import again, is_outside
from serbench.protocols import independent_units
from serbench.scores.metrics import exact_uar
from serbench.scores.provenance import Provenance
from serbench.store.files import read_frame, read_metadata
from serbench.store.results import OUTDATED, Store, read_predictions

RULES = ("nested", "default", "oracle")
GIVEN = "given"
REFERENCES = ("dummy",)
"""Classifiers whose rows show what can be had for nothing: they are tested against, and are no contenders."""
GROUPED_BY = ("speaker", "gender", "text")
"""Columns of the predictions by which a report breaks scores down."""
VOTED = "settings, the oracle's too, were chosen on pieces"
"""What the notes of a cell say whose utterances have the emotion of most of their pieces."""

_NO_ROWS = pd.DataFrame(columns=["rule", "utterance", "fold", "truth", "prediction", "unit", "person"])
_NO_SETTINGS = pd.DataFrame(columns=["rule", "fold", "setting", "converged"])
_OWN_TO_CORPUS = ("unit", "session", "text", "voice", "take")
"""Columns whose values two corpora may share by chance."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Predictions of one rule over a cell: codes by utterance, settings by fold, and folds that did not converge."""

    rule: str
    predictions: Mapping[str, int]
    settings: Mapping[str, int]
    not_converged: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CellPredictions:
    """A cell with its predictions, as the report meets it.

    Parameters
    ----------
    record : what was planned, and what it was made of.
    rows : one row per rule and test utterance, sorted by utterance within a rule: `rule`, `utterance`, `fold`,
        `truth` and `prediction` (codes of `emotions`), `unit` (who is independent), `person` (who is kept apart)
        and what the index says of the utterance, as categories. Empty where there is no value.
    unit : what its utterances are independent by: speaker, or session where speakers talk to each other.
    settings : one row per rule and fold: `setting` (place in the record's settings), and whether it `converged`.
    reasons : rule -> why there is no value by it.
    p_chance : p of the test against chance, after correction; None where there is no such test.
    is_short : whether so many utterances of its column are missing that it is not compared with the other cells.
    """

    record: Mapping[str, Any]
    rows: pd.DataFrame = field(default_factory=_NO_ROWS.copy)
    unit: str = "speaker"
    settings: pd.DataFrame = field(default_factory=_NO_SETTINGS.copy)
    reasons: Mapping[str, str] = field(default_factory=dict)
    p_chance: float | None = None
    is_short: bool = False

    @property
    def cell(self) -> Mapping[str, Any]:
        """Fields of the cell."""
        fields: Mapping[str, Any] = self.record["cell"]
        return fields

    @functools.cached_property
    def provenance(self) -> Provenance:
        """What made it."""
        return Provenance.of(self.record)

    @functools.cached_property
    def fields(self) -> dict[str, Any]:
        """Its fields as columns of a table, and the key of its provenance."""
        return {**self.cell, "provenance": self.provenance.key}

    @functools.cached_property
    def _by_rule(self) -> dict[str, pd.DataFrame]:
        return {str(rule): of for rule, of in self.rows.groupby("rule", sort=False, observed=True)}

    def of(self, rule: str = "") -> pd.DataFrame:
        """Return the rows of a rule; without one, of the rule that tables show."""
        return self._by_rule.get(rule or self.rule, self.rows.iloc[:0])

    @property
    def with_values(self) -> tuple[str, ...]:
        """Rules that have predictions."""
        return tuple(self._by_rule)

    @property
    def rule(self) -> str:
        """Rule that tables show: nested or given, or the default where there is no nested; empty without values."""
        return next((rule for rule in ("nested", GIVEN, "default") if rule in self._by_rule), "")

    @property
    def is_chosen(self) -> bool:
        """Whether the rule that tables show chose settings without the test, or another system chose them."""
        return self.rule in ("nested", GIVEN)

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
    def reason(self) -> str:
        """Why there is no value by any rule; empty where there is one."""
        return "" if self.with_values else self.reasons.get(self.rules[-1], "")

    @property
    def n_utterances(self) -> int:
        """Utterances that it predicts."""
        return len(self.of())

    @property
    def coverage(self) -> str:
        """How many utterances it has, for a table whose columns are scored on those that all cells have."""
        if self.is_outside:
            return f"{self.cell['classifier']} has predictions of {self.n_utterances} utterances"
        return f"{self.cell['features']} has features of {self.n_utterances} utterances"

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
    def person(self) -> str:
        """Field that keeps its people apart."""
        fields = sorted(set(self.record.get("persons", {}).values()) - {"speaker"})
        return str(fields[0]) if fields else "speaker"

    @property
    def has_speakers(self) -> bool:
        """Whether the people kept apart are speakers, rather than voices, say."""
        return self.person == "speaker"

    def on(self, utterances: Iterable[str]) -> CellPredictions:
        """Leave some utterances of the cell only."""
        return replace(self, rows=self.rows[self.rows["utterance"].isin(set(utterances))])

    # What follows goes when report and experiments read `rows`.

    @functools.cached_property
    def truth(self) -> dict[str, int]:
        """Codes of emotions by utterance."""
        return _mapped(self.of(), "truth")

    @functools.cached_property
    def speakers(self) -> dict[str, str]:
        """Persons by utterance."""
        return _mapped(self.of(), "person")

    @functools.cached_property
    def folds(self) -> dict[str, tuple[str, ...]]:
        """Utterances by fold."""
        grouped = self.of().groupby("fold", observed=True, sort=True)["utterance"]
        return {str(name): tuple(of) for name, of in grouped}

    @functools.cached_property
    def groups(self) -> dict[str, dict[str, str]]:
        """Groups by what tells utterances apart, and utterance."""
        known = [name for name in ("unit", *GROUPED_BY) if name in self.rows]
        return {name: _mapped(self.of()[self.of()[name].notna()], name) for name in known}

    @property
    def units(self) -> Mapping[str, str]:
        """Units by utterance."""
        return self.groups["unit"]

    @functools.cached_property
    def outcomes(self) -> dict[str, Outcome]:
        """Predictions by rule."""
        found = {}
        for rule in self.with_values:
            of = self.settings[self.settings["rule"] == rule]
            settings = dict(zip(of["fold"], of["setting"].tolist(), strict=True))
            stopped = tuple(of["fold"][~of["converged"].astype(bool)])
            found[rule] = Outcome(rule, _mapped(self.of(rule), "prediction"), settings, stopped)
        return found

    @property
    def chosen(self) -> Outcome | None:
        """Predictions by a rule that is no default."""
        return self.outcomes[self.rule] if self.is_chosen else None

    @property
    def contender(self) -> Outcome | None:
        """Predictions that are compared with other cells."""
        return None if self.is_short else self.chosen

    @property
    def headline(self) -> Outcome | None:
        """Predictions that tables show."""
        return self.outcomes.get(self.rule)


def _mapped(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    return dict(zip(rows["utterance"].tolist(), rows[name].tolist(), strict=True))


def load_predictions(store: Store) -> list[CellPredictions]:
    """Read every cell of the store and apply the rules; a cell that cannot be read or scored keeps the reason.

    A cell of pieces of utterances comes twice: as it is, and with the utterances that its pieces vote on.

    Raises
    ------
    StoreError : there is no cell, or none whose record is sound.
    """
    if not store.cells:
        raise StoreError(str(store.root), "no cells to report", todo="Run `serbench grid` first")
    indexes = {path.stem: _Index(read_frame(path), read_metadata(path).get("entry", {})) for path in store.indexes}
    cells = []
    for path in store.cells:
        try:
            record = _record(path, indexes)
        except DamagedError as error:
            warnings.warn(f"{error} Until then its cell is left out", stacklevel=2)
            continue
        try:
            cell = _predictions(record, store, indexes)
        except SerbenchError as error:
            cell = without_predictions(record, store.worded(str(error)))
        cells.append(cell)
        if seconds_of(cell.cell["preprocessing"]):
            there = [indexes[name].whole_of for name in record["tested"] if name in indexes]
            cells.append(majority(cell, pd.concat(there) if there else pd.Series(dtype=str)))
    cells = [cell if _has_every_emotion(cell) else _without_emotion(cell) for cell in cells]
    if not cells:
        raise DamagedError(str(store.root), "every record of a cell is damaged", todo="Run `serbench grid` again")
    return cells


def _has_every_emotion(cell: CellPredictions) -> bool:
    return cell.rows.empty or cell.of()["truth"].nunique() == len(cell.emotions)


def _without_emotion(cell: CellPredictions) -> CellPredictions:
    lost = set(range(len(cell.emotions))) - set(cell.of()["truth"])
    return without_predictions(cell.record, f"no utterance of {listed(cell.emotions[code] for code in sorted(lost))}")


def without_predictions(record: Mapping[str, Any], reason: str) -> CellPredictions:
    """Return a cell that has no value, by any rule, for a reason."""
    cell = CellPredictions(record)
    return replace(cell, reasons=dict.fromkeys(cell.rules, reason))


class _Index:
    """The index of a corpus, and what its entry said when it was indexed, part by part."""

    def __init__(self, frame: pd.DataFrame, entry: Mapping[str, str]) -> None:
        self.frame = frame
        self.entry = entry
        self.state = index_fingerprint(frame)
        self._known: dict[str, tuple[str, pd.DataFrame]] = {}

    def utterances(self, person: str) -> tuple[str, pd.DataFrame]:
        """Return the name of the independent unit, and what is known of each utterance as categories."""
        if person not in self._known:
            unit, units = independent_units(self.frame, person)
            rows = self.frame[["utterance", *(f for f in FIELDS if f in self.frame and f != "emotion")]]
            rows = rows.assign(unit=rows["utterance"].map(units))
            rows = rows.assign(text=sentences(self.frame)) if "text" in rows else rows
            self._known[person] = unit, rows.set_index("utterance").astype("string").astype("category")
        return self._known[person]

    @functools.cached_property
    def whole_of(self) -> pd.Series:
        """Piece -> the utterance that it is of, earliest first."""
        return self.frame.sort_values("start_s").set_index("utterance")["whole"]


def _record(path: Path, indexes: Mapping[str, _Index]) -> Mapping[str, Any]:
    """Read a cell's record; one of an earlier state of its corpus is refused."""
    record = {**read_cell(path)}
    why = "" if record["refused"] else _changed(record, indexes)
    return {**record, "refused": f"{OUTDATED} {why}; {again(record)}"} if why else record


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


def _predictions(record: Mapping[str, Any], store: Store, indexes: Mapping[str, _Index]) -> CellPredictions:
    lost = [key for key in record.get("jobs", ()) if not store.job(key).is_file()]
    if record["refused"] or lost:
        reason = record["refused"] or f"{len(lost)} of {len(record['jobs'])} jobs are not done yet"
        return without_predictions(record, reason)
    unit, utterances = _utterances({name: indexes[name] for name in record["tested"]}, record["persons"])
    columns = record["utterances"]
    code = {emotion: i for i, emotion in enumerate(record["task_emotions"])}
    truth = {u: code[e] for u, e, h in zip(columns["id"], columns["emotion"], columns["present"], strict=True) if h}
    if is_outside(record):
        folds = record["folds"]
        said = dict(zip(columns["id"], record["predictions"], strict=True))
        by_rule = {GIVEN: said}
        settings = pd.DataFrame({"rule": GIVEN, "fold": list(folds), "setting": 0, "converged": True})
        reasons = {}
    else:
        folds = {e["name"]: record["sets"][e["name"]] for e in record["evaluations"]}
        sources = zip(record["sources"]["id"], record["sources"]["emotion"], strict=True)
        by_rule, settings = _by_rule(_Jobs(store, record, {**truth, **{u: code[e] for u, e in sources}}))
        reasons = {} if "nested" in by_rule else {"nested": record["no_nested"]}
    ids = sorted(truth)
    fold_of = {u: fold for fold, of in folds.items() for u in of}
    rows = utterances.reindex(ids).reset_index()
    rows["fold"] = pd.Categorical([fold_of[u] for u in ids], categories=list(folds))
    rows["truth"] = np.array([truth[u] for u in ids], dtype=np.int64)
    person = dict(zip(columns["id"], columns["speaker"], strict=True))
    rows["person"] = pd.Categorical([person[u] for u in ids])
    parts = [
        rows.assign(rule=rule, prediction=np.array([of[u] for u in ids], dtype=np.int64))
        for rule, of in by_rule.items()
    ]
    whole = pd.concat(parts, ignore_index=True)
    return CellPredictions(record, whole, unit, settings, reasons)


def _utterances(indexes: Mapping[str, _Index], persons: Mapping[str, str]) -> tuple[str, pd.DataFrame]:
    """Join what is known of the utterances of several corpora, whose sessions and texts may be called alike.

    Corpora with other independent units have the speaker as unit.
    """
    known = {name: index.utterances(persons[name]) for name, index in indexes.items()}
    units = {unit for unit, _ in known.values()}
    unit = units.pop() if len(units) == 1 else "speaker"
    if len(known) == 1:
        return unit, next(iter(known.values()))[1]
    frames = []
    for corpus, (_, rows) in known.items():
        own = rows[[name for name in _OWN_TO_CORPUS if name in rows]].astype("string")
        frames.append(rows.astype("string").assign(**(f"{corpus}/" + own)))
    return unit, pd.concat(frames).astype("category")


def _chosen(jobs: _Jobs) -> dict[str, list[int]]:
    """Return the setting of each test group, by rule."""
    evaluations = jobs.record["evaluations"]
    chosen = {}
    if all(e["inner"] for e in evaluations):
        chosen["nested"] = [jobs.best((v["job"], v["name"]) for v in e["inner"]) for e in evaluations]
    chosen["default"] = [int(jobs.record["default"])] * len(evaluations)
    chosen["oracle"] = [jobs.best((e["job"], e["name"]) for e in evaluations)] * len(evaluations)
    return chosen


def _by_rule(jobs: _Jobs) -> tuple[dict[str, dict[str, int]], pd.DataFrame]:
    """Return the predictions by rule and utterance, and the settings of each fold."""
    predictions: dict[str, dict[str, int]] = {}
    settings = []
    for rule, of_rule in _chosen(jobs).items():
        predictions[rule] = {}
        for evaluation, setting in zip(jobs.record["evaluations"], of_rule, strict=True):
            fold, job = evaluation["name"], evaluation["job"]
            utterances, codes = jobs.of(job, fold)
            predictions[rule].update(zip(utterances, codes[setting].tolist(), strict=True))
            settings.append((rule, fold, setting, setting not in jobs.not_converged[job]))
    return predictions, pd.DataFrame(settings, columns=["rule", "fold", "setting", "converged"])


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

    def best(self, pools: Iterable[tuple[str, str]]) -> int:
        """Return the place of the setting with the highest UAR over pools of (job, group); the earlier of equals."""
        n_emotions = len(self.record["task_emotions"])
        hits = np.zeros((len(self.record["settings"]), n_emotions), dtype=np.int64)
        totals = np.zeros(n_emotions, dtype=np.int64)
        for job, group in pools:
            utterances, codes = self.of(job, group)
            truth = np.array([self.truth[u] for u in utterances])
            for emotion in range(n_emotions):
                hits[:, emotion] += (codes[:, truth == emotion] == emotion).sum(axis=1)
            totals += np.bincount(truth, minlength=n_emotions)
        scores = [exact_uar(of_setting, totals) for of_setting in hits]
        return scores.index(max(scores))


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


def majority(cell: CellPredictions, whole_of: pd.Series) -> CellPredictions:
    """Return a cell of pieces as one of whole utterances, each with the emotion that most of its pieces were given.

    Of emotions with as many pieces, the one that was predicted first in the utterance wins. Settings stay those chosen
    on pieces. Pieces without features have no vote; an utterance none of whose pieces has one is missing.

    Parameters
    ----------
    whole_of : piece -> the utterance that it is of; the pieces of an utterance earliest first.
    """
    fields = {**cell.cell, "preprocessing": majority_title(cell.cell["preprocessing"])}
    record = {**cell.record, "cell": fields}
    if cell.rows.empty:
        return replace(cell, record=record)
    place = {piece: i for i, piece in enumerate(whole_of.index)}
    pieces = cell.rows.assign(utterance=cell.rows["utterance"].map(whole_of), place=cell.rows["utterance"].map(place))
    pieces = pieces.sort_values("place")
    votes = pieces.assign(n=pieces.groupby(["rule", "utterance", "prediction"])["place"].transform("size"))
    winners = votes.groupby(["rule", "utterance"])["n"].idxmax()  # of equals the first, which is the earliest
    rows = pd.concat([votes.loc[winners[rule].sort_index()] for rule in cell.with_values], ignore_index=True)
    asked = whole_of[whole_of.index.isin(cell.record["utterances"]["id"])]
    first = asked.drop_duplicates().sort_values()  # of each utterance its first piece
    there = set(rows["utterance"])
    missing = {whole: cell.record["missing"][piece] for piece, whole in first.items() if whole not in there}
    columns = pd.DataFrame(cell.record["utterances"]).set_index("id").loc[first.index]
    columns = columns.assign(id=first, present=first.isin(there))
    record |= {"utterances": columns.to_dict("list"), "missing": missing, "notes": [*cell.record["notes"], VOTED]}
    return replace(cell, record=record, rows=rows.drop(columns=["place", "n"]))
