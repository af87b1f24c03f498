"""experiments/*.yaml -> `Experiment`: strictly validated, all faults at once, each with its file, field and line.

The models check form and metrics; `check_names` checks names against the catalogue and the registries.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, create_model, model_validator

from serbench.classifiers import find_classifier
from serbench.corpora import Names
from serbench.corpora.catalogue import Catalogue
from serbench.corpora.documents import Document, parse_document, parse_text
from serbench.corpora.entry import EMOTIONS, Strict, faults_of
from serbench.corpora.tasks import find_task
from serbench.errors import ConfigError, Fault, SerbenchError, UnknownNameError, did_you_mean
from serbench.features import find_feature_set
from serbench.features.own import is_file_name
from serbench.grid.cells import CELL_COLUMNS
from serbench.grid.request import GridRequest
from serbench.protocols import find_protocol
from serbench.scores.metrics import METRICS
from serbench.store.keys import digest

COLUMNS = (*CELL_COLUMNS, "metric")  # columns that a selection may name
OF_EMOTION = ("recall ", "precision ")
"""How the metrics of one emotion begin. Precision is the share of hits among the predictions of an emotion."""


def _is_metric(name: str) -> str:
    known = [*METRICS, *(f"{kind}{emotion}" for kind in OF_EMOTION for emotion in EMOTIONS)]
    if name and name not in known:
        raise ValueError(f"no metric. {did_you_mean(name, known) or 'Known: ' + ', '.join(METRICS)}")
    return name


def _names_columns(where: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    if unknown := [name for name in where if name not in COLUMNS]:
        raise ValueError(f"no selection: '{unknown[0]}' is no column of the scores; known: {', '.join(COLUMNS)}")
    for name in where.get("metric", ()):
        _is_metric(name)
    return where


def _as_target(value: Any) -> Any:
    """Part selections from words and numbers, so that a fault is that of the right one."""
    if not isinstance(value, str) or value in ("others", "chance"):
        return (value,) if isinstance(value, dict) else value
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"no selection, 'others', 'chance' or number: '{value}'") from None


MetricName = Annotated[str, AfterValidator(_is_metric)]
Listed = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v), Field(min_length=1)]
"""A list of names; a single name stands for a list of one."""
Where = Annotated[dict[str, Listed], AfterValidator(_names_columns)]
"""Column of the scores -> the values that it may have: a selection of cells."""
Number = Annotated[float, Field(allow_inf_nan=False)]
Target = Annotated[tuple[Where, ...] | Literal["others", "chance"] | Number, BeforeValidator(_as_target)]
"""What cells are compared with: other cells, all others of the column, chance, or a number."""
Needs = Literal["neural network"]

_KINDS: dict[str, Any] = {n: Listed if of == Names else of for n, of in get_type_hints(GridRequest).items()}
_AXES: dict[str, Any] = {field.name: (_KINDS[field.name], field.default) for field in fields(GridRequest)}
_AXES |= {name: (_KINDS[name], ...) for name in ("features", "classifiers")}  # which every experiment names


class Grid(create_model("Axes", __base__=Strict, **_AXES)):  # type: ignore[misc]  # a class that is made here
    """One `serbench grid`: fields named as its options; `corpora` are those of the experiment unless given."""

    corpora: Listed | None = None

    @property
    def request(self) -> dict[str, Any]:
        """Fields of a `GridRequest`: those that the file gives, and no others."""
        return {name: getattr(self, name) for name in self.model_fields_set if name != "corpora"}

    @property
    def title(self) -> str:
        """The grid in words, those of no other grid: what was skipped or failed is kept by it."""
        options = {n: of for n, of in self.request.items() if n not in ("protocol", "features", "classifiers")}
        words = [self.protocol, *(str(options.pop(name)) for name in ("target", "task", "scaling") if name in options)]
        words += [f"{n} {' '.join(map(str, of)) if isinstance(of, tuple) else of}" for n, of in sorted(options.items())]
        return f"{', '.join(words)}: {', '.join(self.features)} x {', '.join(self.classifiers)}"


class PaperValue(Strict):
    """A number of the paper, and which of our cells is compared with it; `note` describes what differs."""

    row: str
    column: str
    paper: Number
    where: Where = Field({})
    metric: MetricName = ""
    note: str = ""
    needs: Needs | None = None

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if not self.where and self.needs is None:
            raise ValueError("without a cell of ours: give `where`, or say what it `needs`")
        return self


class ClaimTest(Strict):
    """A sentence as a test: *A above B* in `at_least` of the groups of cells; docs/experiments.md has the fields.

    Cells of A and B are compared where they agree in all columns that `cells`, B and `ignoring` do not name; the rule
    of inner validation may always differ.
    """

    cells: Where = Field({})
    above: Target | None = None
    below: Target | None = None
    near: Target | None = None
    margin: Annotated[Number, Field(ge=0)] = 0.0
    where: Where = Field({})
    by: Where = Field({})
    at_least: Annotated[int, Field(gt=0)] | None = None
    ignoring: tuple[str, ...] = ()
    metric: MetricName = ""

    @property
    def target(self) -> tuple[Mapping[str, tuple[str, ...]], ...] | str | float:
        """B, whichever side it is on."""
        return next(target for target in (self.above, self.below, self.near) if target is not None)

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of B that A must be on: 1 above, -1 below; near, each side of one end of the margin."""
        return (1, -1) if self.near is not None else (1,) if self.above is not None else (-1,)

    def bounds(self, number: float) -> list[float]:
        """Return what A must be above or below, side by side, where B is a number."""
        return [number - side * self.margin for side in self.sides]

    @property
    def groups(self) -> list[dict[str, str]]:
        """Every combination of the values of `by`."""
        return [dict(zip(self.by, values, strict=True)) for values in itertools.product(*self.by.values())]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        given = [name for name in ("above", "below", "near") if getattr(self, name) is not None]
        unknown = [name for name in self.ignoring if name not in CELL_COLUMNS]
        if len(given) != 1:
            raise ValueError(f"no whole test: give one of above, below and near, not {' and '.join(given) or 'none'}")
        if self.near is not None and not self.margin:
            raise ValueError("no whole test: 'near' needs a margin above 0")
        if (self.at_least or 0) > len(self.groups):
            raise ValueError(f"no test: at least {self.at_least} of {len(self.groups)}")
        if unknown:
            raise ValueError(f"no test: '{unknown[0]}' in ignoring is no column that tells cells apart")
        return self


class Claim(Strict):
    """A sentence, its place in the paper, and the test of it; `name` is short, `note` says what we test differently."""

    name: Annotated[str, Field(max_length=24)]
    says: str
    source: str
    note: str = ""
    needs: Needs | None = None
    test: ClaimTest | None = None

    @model_validator(mode="after")
    def _is_decided(self) -> Self:
        if (self.needs is None) == (self.test is None):
            raise ValueError("no claim that can be decided: give `test`, or say what it `needs`, and not both")
        return self


class Experiment(Strict):
    """A table of a paper: what to run, what the paper printed, and what it concluded."""

    title: str
    citation: str
    about: str
    corpora: Annotated[tuple[str, ...], Field(min_length=1)]
    metric: MetricName = "uar"
    grids: Annotated[tuple[Grid, ...], Field(min_length=1)]
    values: tuple[PaperValue, ...] = ()
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        names = [claim.name for claim in self.claims]
        if twins := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"no experiment: two claims are named '{twins[0]}'")
        if others := [name for grid in self.grids for name in grid.corpora or () if name not in self.corpora]:
            raise ValueError(f"no experiment: a grid names the corpus '{others[0]}', which is not in its corpora")
        return self


@dataclass(frozen=True, slots=True)
class Described:
    """An experiment with the text that describes it; `digest` changes with every letter of the text."""

    name: str
    text: str
    experiment: Experiment
    document: Document

    @property
    def digest(self) -> str:
        """Name of this state of the description: 12 hexadecimal digits."""
        return digest(self.text)[:12]


def built_in() -> dict[str, Path]:
    """Return the files of the experiments that come with serbench: in a wheel next to this one, in a checkout not."""
    here = Path(__file__).resolve().parent
    found = sorted(here.glob("*.yaml")) or sorted((here.parent.parent / "experiments").glob("*.yaml"))
    return {path.stem: path for path in found}


def find_experiment(name_or_path: str) -> Described:
    """Read an experiment by name, or from a file of one's own, whose name ends in .yaml."""
    path = Path(name_or_path) if name_or_path.endswith((".yaml", ".yml")) else built_in().get(name_or_path)
    if path is None:
        raise UnknownNameError("experiment", name_or_path, built_in())
    parse_document(path, holds="an experiment")  # which refuses a file that cannot be read
    return read_experiment(path.read_bytes().decode("utf-8-sig"), path.stem)


def read_experiment(text: str, name: str) -> Described:
    """Validate the text of an experiment, and name every fault at once."""
    document = parse_text(text, f"{name}.yaml", Path(), holds="an experiment")
    try:
        return Described(name, text, Experiment.model_validate(document.entries), document)
    except ValidationError as error:
        raise ConfigError(faults_of(error, document.where)) from error


def check_names(described: Described, known: Catalogue) -> None:
    """Check every corpus, feature set, classifier, protocol and emotion that an experiment names."""
    checks: list[tuple[Any, partial[Any]]] = []
    checks += [(("corpora", i), partial(known.corpus, name)) for i, name in enumerate(described.experiment.corpora)]
    for i, grid in enumerate(described.experiment.grids):
        of_grid: list[partial[Any]] = [partial(find_protocol, grid.protocol)]
        of_grid += [partial(find_feature_set, name) for name in grid.features if not is_file_name(name)]
        of_grid += [partial(find_classifier, name) for name in grid.classifiers]
        of_grid += [partial(find_task, known, task=grid.task, emotions=grid.emotions, where=grid.where or ())]
        checks += [(("grids", i), check) for check in of_grid]
    faults = []
    for place, check in checks:
        try:
            check()
        except SerbenchError as error:
            faults.append(Fault(described.document.where(place), str(error)))
    if faults:
        raise ConfigError(faults)
