"""The form of a cell's record, checked once, where it is read: what is sealed need not be what serbench writes.

A record of an earlier release may lack what comparing needs; of it, only what is there is checked. Further keys, which
a later release may have, are let through.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from serbench.errors import DamagedError
from serbench.grid.cells import Cell
from serbench.grid.comparable import is_comparable, is_outside
from serbench.store.files import read_json


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Record(_Form):
    """What any record has, and the types of what it may have."""

    cell: dict[str, Any]
    inner_title: str
    refused: str
    task_emotions: list[str]
    task_map: str = ""
    target: str = ""
    basis: str = ""
    indexes: dict[str, str] = {}
    entries: dict[str, dict[str, str]] = {}
    tested: list[str] = []
    pool: str = ""
    partial: str = ""
    partials: dict[str, str] = {}
    features_argument: str = ""
    space_file: str = ""
    serbench: str = ""
    versions: dict[str, str] = {}
    feature_key: str = ""
    revision: int = 0
    settings: list[dict[str, str | int | float]] = []
    default: int = 0
    notes: list[str] = []
    transductive: bool = False
    persons: dict[str, str] = {}
    jobs: list[str] = []

    @model_validator(mode="after")
    def _names_its_cell_and_features(self) -> _Record:
        for one in dataclasses.fields(Cell):
            _need(type(self.cell.get(one.name, one.default)).__name__ == one.type, f"cell.{one.name}")
        _need(not self.jobs or bool(self.feature_key), "feature_key")
        return self


class _Comparable(_Record):
    """A record of this release, of a cell that was refused."""

    task_map: str
    partials: dict[str, str]

    @model_validator(mode="after")
    def _has_all_fields(self) -> _Comparable:
        for one in dataclasses.fields(Cell):
            _need(one.name in self.cell, f"cell.{one.name}")
        return self


class _Utterances(_Form):
    id: list[str]
    emotion: list[str]
    speaker: list[str]
    gender: list[str | None] | None = None
    present: list[bool]


class _Sources(_Form):
    id: list[str]
    emotion: list[str]


class _Done(_Comparable):
    """What has predictions, or will have."""

    utterances: _Utterances
    sources: _Sources
    missing: dict[str, str]
    notes: list[str]
    transductive: bool
    persons: dict[str, str]
    jobs: list[str]

    @model_validator(mode="after")
    def _agrees(self) -> _Done:
        told = self.utterances
        _need(len(told.id) == len(told.emotion) == len(told.speaker) == len(told.present), "utterances")
        _need(len(self.sources.id) == len(self.sources.emotion), "sources")
        _need({*told.emotion, *self.sources.emotion} <= set(self.task_emotions), "task_emotions")
        _need(set(self.tested) <= set(self.persons) & set(self.indexes) and bool(self.tested), "tested")
        _need(0 <= self.default < len(self.settings), "default")
        return self


class _Validation(_Form):
    name: str
    job: str


class _Evaluation(_Validation):
    inner: list[_Validation]


class _Planned(_Done):
    """A cell of the grid."""

    features_argument: str
    no_nested: str
    evaluations: list[_Evaluation]
    sets: dict[str, list[str]]

    @model_validator(mode="after")
    def _leads_to_jobs(self) -> _Planned:
        named = [*self.evaluations, *(v for e in self.evaluations for v in e.inner)]
        _need({one.job for one in named} == set(self.jobs) and bool(named), "jobs")
        _need(all(one.name in self.sets for one in named), "sets")
        present = {u for u, here in zip(self.utterances.id, self.utterances.present, strict=True) if here}
        tested = {u for one in self.evaluations for u in self.sets[one.name]}
        _need(tested == present, "sets")
        _need(all(set(self.sets[one.name]) <= {*present, *self.sources.id} for one in named), "sets")
        return self


class _File(_Form):
    file: str
    sha256: str


class _Outside(_Done):
    """Predictions of another system."""

    outside: _File
    folds: dict[str, list[str]]
    predictions: list[int | None]

    @model_validator(mode="after")
    def _has_codes(self) -> _Outside:
        _need([code is not None for code in self.predictions] == self.utterances.present, "predictions")
        _need(all(code is None or 0 <= code < len(self.task_emotions) for code in self.predictions), "predictions")
        _need({u for fold in self.folds.values() for u in fold} <= set(self.utterances.id), "folds")
        return self


def _need(agrees: bool, key: str) -> None:
    if not agrees:
        raise ValueError(f"its key '{key}' does not agree with the others")


def read_cell(path: Path) -> dict[str, Any]:
    """Read the record of a cell.

    Raises
    ------
    StoreError : absent or unreadable.
    DamagedError : not what serbench writes; the first key at fault is named.
    """
    record = read_json(path)
    try:
        _form_of(record).model_validate(record)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        wanted = fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        found, expected = f"its key '{key}' is not {wanted}", "the record of a cell"
        if fault["type"] == "missing":
            found = f"its key '{key}' is not there"
        elif fault["type"] == "value_error":
            found = wanted
        todo = "Run `serbench grid` or `score` again, which make it anew, or delete it"
        raise DamagedError(str(path), found, expected, todo) from error
    return record


def _form_of(record: dict[str, Any]) -> type[_Record]:
    if not is_comparable(record):
        return _Record
    if record.get("refused"):
        return _Comparable
    return _Outside if is_outside(record) else _Planned
