"""Cells: the axes of the grid, and the record of what each cell is made of, trains and tests.

A cell is one point of the grid. Its record is written when it is planned: its utterances with their truth, its folds
and the jobs that predict them. A cell that cannot be carried out is recorded as refused, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from serbench.errors import DamagedError
from serbench.grid.request import DEFAULTS, FitAxes
from serbench.store.files import read_json, write_json
from serbench.store.keys import digest
from serbench.store.results import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell(FitAxes):
    """The axes of the grid: one value of each names a cell, and all are columns of the scores.

    `train` and `corpus` name the corpora that train and that are tested, several joined by +. `options` is what the
    protocol was given: a partition, or how many utterances to draw. `map` is what the task makes of emotions, where
    its name does not say it.
    """

    protocol: str
    task: str
    train: str
    corpus: str
    features: str
    classifier: str
    space: str
    scaling: str  # again, as an own field, so that names have it at its default too
    inner: str
    preprocessing: str
    seed: int
    options: str = ""
    map: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """Its axes in the order of the columns of the scores."""
        return {name: getattr(self, name) for name in CELL_COLUMNS}

    @property
    def name(self) -> str:
        """Name of its record in the store."""
        return f"{self.protocol}-{self.corpus}-{self.features}-{self.classifier}-{digest(self.keyed)[:10]}"

    @property
    def title(self) -> str:
        """Its axes in words, but for those that have the usual value or that another system does not know."""
        usual: dict[str, object] = {"protocol": "within", "train": self.corpus, "space": "standard", **DEFAULTS.axes}
        usual |= {"preprocessing": "none", "seed": 0, "options": "", "map": ""}
        axes = {name: value for name, value in self.row.items() if value != "unknown"}
        words = [self.task, *(f"inner {value}" for name, value in axes.items() if name == "inner")]
        words += [f"{name} {axes[name]}" for name in axes if name in usual and axes[name] != usual[name]]
        return f"{self.corpus} {self.features} {self.classifier} ({', '.join(words)})"


CELL_COLUMNS = tuple(dict.fromkeys([*Cell.__annotations__, *(f.name for f in fields(Cell))]))
"""Columns of the scores that tell one cell from another."""

UTTERANCE_COLUMNS = ("id", "emotion", "speaker", "present")  # columns of `CellRecord.utterances`


@dataclass(frozen=True, slots=True)
class FoldJobs:
    """A fold by name, its job, and its inner validations as (name, job); another system's folds have no jobs."""

    name: str
    job: str = ""
    inner: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Outside:
    """The file of predictions that another system made, and their codes in the order of the utterances."""

    file: str
    sha256: str
    predictions: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """What a cell was asked for and is made of; results/cells/NAME.json.

    Corpora are named as in the store: `emodb`, or `emodb@1s` where utterances were cut. A cell that was refused when it
    was planned has no utterances and no folds.

    Parameters
    ----------
    reason : why a run could not do the cell, which is refused then.
    inner_title : the inner rule as tables call it: `auto` where it is what `auto` gives.
    emotions : emotions (or other labels) in the order of their codes; `task_map` is what the task merges.
    indexes, entries : digests of the index, and of the parts of the entry that decide the cell, by corpus.
    tested : corpora that are tested. `pool` names the corpora that must be asked for with them.
    partials : what the copy of a corpus misses, by corpus.
    basis : digest of labels, recordings and folds.
    no_nested : why there is no inner validation.
    transductive : whether scaling uses unlabelled audio of test utterances.
    persons : the field that keeps people apart, by corpus.
    utterances : columns `UTTERANCE_COLUMNS` of the utterances to predict; `present` where they have features.
    sources : columns id and emotion of utterances that choose settings and are not tested.
    missing : reason by utterance without features, or without another system's prediction.
    sets : utterances by name of a fold or validation. `jobs` are the keys of all jobs.
    """

    cell: Cell
    reason: str = ""
    inner_title: str
    emotions: tuple[str, ...]
    task_map: str
    target: str = "emotion"
    indexes: dict[str, str]
    entries: dict[str, dict[str, str]] = field(default_factory=dict)
    tested: tuple[str, ...]
    pool: str = ""
    partials: dict[str, str] = field(default_factory=dict)
    features_argument: str = ""
    space_file: str = ""
    serbench: str
    versions: dict[str, str] = field(default_factory=dict)
    feature_key: str = ""
    revision: int = 0
    settings: tuple[dict[str, str | int | float], ...] = ({},)
    default: int = 0
    basis: str = ""
    no_nested: str = ""
    notes: tuple[tuple[str, str], ...] = ()
    transductive: bool = False
    persons: dict[str, str] = field(default_factory=dict)
    utterances: dict[str, list[str | bool | None]] = field(
        default_factory=lambda: {name: [] for name in UTTERANCE_COLUMNS}
    )
    sources: dict[str, list[str]] = field(default_factory=lambda: {"id": [], "emotion": []})
    missing: dict[str, str] = field(default_factory=dict)
    folds: tuple[FoldJobs, ...] = ()
    sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    jobs: tuple[str, ...] = ()
    outside: Outside | None = None

    @property
    def partial(self) -> str:
        """What the copies of the corpora tested miss."""
        return "; ".join(self.partials[name] for name in self.tested if self.partials.get(name))


def write_cell(store: Store, record: CellRecord) -> None:
    """Write the record of a cell into the store, atomically."""
    write_json(store.cell(record.cell.name), _adapter().dump_python(record, mode="json"))


def read_cell(path: Path) -> CellRecord:
    """Read the record of a cell; a `DamagedError` names the first key that is not what serbench writes."""
    written = read_json(path)
    try:
        record = _adapter().validate_python(written)
        found = next((f"its key '{f.name}' is not there" for f in fields(CellRecord) if f.name not in written), "")
        if not found and (key := _disagreement(record)):
            found = f"its key '{key}' does not agree with the others"
    except ValidationError as error:
        fault = error.errors()[0]
        key, wanted = ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Input should be ")
        found = f"its key '{key}' is " + ("not there" if fault["type"] == "missing" else f"not {wanted}")
    if found:
        todo = "Run `serbench grid` or `score` again, which make it anew, or delete it"
        raise DamagedError(str(path), found, "the record of a cell", todo)
    return record


@cache
def _adapter() -> TypeAdapter[CellRecord]:
    return TypeAdapter(CellRecord)


def _disagreement(record: CellRecord) -> str:
    """Name a key of a record that contradicts the others, or nothing: whoever reads a record relies on these."""
    columns, sources, outside = record.utterances, record.sources, record.outside
    if set(columns) != set(UTTERANCE_COLUMNS) or len({len(of) for of in columns.values()}) > 1:
        return "utterances"
    if set(sources) != {"id", "emotion"} or len(sources["id"]) != len(sources["emotion"]):
        return "sources"
    named = [(one.name, one.job) for one in record.folds] + [inner for one in record.folds for inner in one.inner]
    present = {u for u, here in zip(columns["id"], columns["present"], strict=True) if here}
    known = {*present, *sources["id"]}
    given = [code is not None for code in outside.predictions] if outside else columns["present"]
    agrees = {
        "folds": bool(record.folds or record.reason),
        "emotions": {*columns["emotion"], *sources["emotion"]} <= set(record.emotions),
        "tested": bool(record.tested) and set(record.tested) <= set(record.indexes),
        "persons": not record.folds or set(record.tested) <= set(record.persons),
        "transductive": not record.transductive or record.cell.scaling in ("speaker", "corpus"),
        "default": 0 <= record.default < len(record.settings),
        "jobs": {job for _, job in named} - {""} == set(record.jobs),
        "feature_key": not record.jobs or bool(record.feature_key),
        "sets": all(known.issuperset(record.sets.get(name, ("?",))) for name, _ in named)
        and {u for one in record.folds for u in record.sets.get(one.name, ())} == present,
        "outside": given == columns["present"]
        and (not outside or {*outside.predictions} <= {None, *range(len(record.emotions))}),
    }
    return next((key for key, is_right in agrees.items() if not is_right), "")
