"""experiments/*.yaml -> `Experiment`: strictly validated, all faults at once, each with its file, field and line.

Every scalar arrives as text and becomes a number only where a field below says so. The models check form, and
`check_names` checks names against the registries.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, create_model, model_validator

from serbench.corpora import catalogue
from serbench.corpora.catalogue import Catalogue
from serbench.corpora.documents import Document, Place, parse_text, read_whole
from serbench.corpora.entry import EMOTIONS, Strict, faults_of
from serbench.errors import ConfigError, Fault, SerbenchError, UnknownNameError, did_you_mean
from serbench.grid.cells import CELL_COLUMNS
from serbench.grid.request import GridRequest
from serbench.store.keys import digest

_ENDINGS = (".yaml", ".yml")
_MOST_BYTES = 2**20
COLUMNS = (*CELL_COLUMNS, "metric")
"""Columns that a selection may name."""
OF_EMOTION = ("recall ", "precision ")
"""How the metrics of one emotion begin. Precision is the share of hits among the predictions of an emotion."""


def _as_tuple(value: Any) -> Any:
    """Let a single name stand for a list of one."""
    return (value,) if isinstance(value, str | dict) else value


def _names_columns(where: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    unknown = [name for name in where if name not in COLUMNS]
    if unknown:
        raise ValueError(f"no selection: '{unknown[0]}' is no column of the scores; known: {', '.join(COLUMNS)}")
    return where


def _as_target(value: Any) -> Any:
    """Tell selections from words and numbers, so that a fault is that of the right one."""
    if isinstance(value, dict | list | tuple):
        return _as_tuple(value)
    if isinstance(value, str) and value not in ("others", "chance"):
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"no selection, 'others', 'chance' or number: '{value}'") from None
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Where = Annotated[dict[str, Names], AfterValidator(_names_columns)]
"""Column of the scores -> the values that it may have: a selection of cells."""
Number = Annotated[float, Field(allow_inf_nan=False)]
Target = Annotated[tuple[Where, ...] | Literal["others", "chance"] | Number, BeforeValidator(_as_target)]
"""What cells are compared with: other cells, all others of the column, chance, or a number."""
Needs = Literal["neural network"]


def _axes() -> dict[str, Any]:
    """Fields of `GridRequest` as those of a model: an axis of the grid is one of experiments, too."""
    hints = get_type_hints(GridRequest)
    kinds = {name: Names if hint == catalogue.Names else hint for name, hint in hints.items()}
    needed = {name: (kinds[name], ...) for name in ("features", "classifiers")}
    return {field.name: (kinds[field.name], field.default) for field in fields(GridRequest)} | needed


class Grid(create_model("Axes", __base__=Strict, **_axes())):  # type: ignore[misc]  # a class that is made here
    """One `serbench grid`: fields named as its options; `corpora` are those of the experiment unless given."""

    corpora: Names | None = None

    @property
    def request(self) -> dict[str, Any]:
        """Fields of a `GridRequest`: those that the file gives, and no others."""
        return {name: getattr(self, name) for name in self.model_fields_set if name != "corpora"}

    @property
    def title(self) -> str:
        """The grid in words."""
        options = self.request
        words = [self.protocol, *(str(options[name]) for name in ("target", "task", "scaling") if name in options)]
        return f"{', '.join(words)}: {', '.join(self.features)} x {', '.join(self.classifiers)}"


class PaperValue(Strict):
    """A number of the paper, in its row and column, and which of our cells is compared with it.

    `metric` is that of the experiment unless given. `note` says what differs.
    """

    row: str
    column: str
    paper: Number
    where: Where = Field({})
    metric: str = ""
    note: str = ""
    needs: Needs | None = None

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if not self.where and self.needs is None:
            raise ValueError("without a cell of ours: give `where`, or say what it `needs`")
        return self


class ClaimTest(Strict):
    """What a sentence says, in numbers: *A above B*, in each group of cells.

    `where` selects the cells that are looked at, and `by` groups them, one group per combination of its values. The
    test must hold in `at_least` groups (all, unless given). In every group `cells` selects A; exactly one of `above`,
    `below` and `near` names B: selections of cells, all `others` of the group, `chance`, or a number.

    - ``above``: A is higher than B. With a `margin`, A is not lower than B by the margin or more.
    - ``below``: the same with the sides changed.
    - ``near``: A is neither higher nor lower than B by the `margin`.

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
    metric: str = ""

    @property
    def target(self) -> tuple[Mapping[str, tuple[str, ...]], ...] | str | float:
        """B, whichever side it is on."""
        return next(target for target in (self.above, self.below, self.near) if target is not None)

    @property
    def groups(self) -> list[dict[str, str]]:
        """Every combination of the values of `by`."""
        return [dict(zip(self.by, values, strict=True)) for values in itertools.product(*self.by.values())]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        given = [name for name in ("above", "below", "near") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"no whole test: give one of above, below and near, not {' and '.join(given) or 'none'}")
        if self.near is not None and not self.margin:
            raise ValueError("no whole test: 'near' needs a margin above 0")
        if self.at_least is not None and self.at_least > len(self.groups):
            raise ValueError(f"no test: at least {self.at_least} of {len(self.groups)}")
        if unknown := [name for name in self.ignoring if name not in CELL_COLUMNS]:
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
    """A table of a paper: what to run, what the paper printed, and what it concluded.

    `confusion`: print the confusion matrix of every cell as shares of each emotion's predictions, or of its truth.
    """

    title: str
    citation: str
    about: str
    corpora: Annotated[tuple[str, ...], Field(min_length=1)]
    metric: str = "uar"
    confusion: Literal["predictions", "truth"] | None = None
    grids: Annotated[tuple[Grid, ...], Field(min_length=1)]
    values: tuple[PaperValue, ...] = ()
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _has_no_twins(self) -> Self:
        names = [claim.name for claim in self.claims]
        twins = sorted({name for name in names if names.count(name) > 1})
        if twins:
            raise ValueError(f"no experiment: two claims are named '{twins[0]}'")
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


def built_in_names() -> list[str]:
    """Names of the experiments that come with serbench."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def _folder() -> Path:
    """Return the folder of the built-in experiments: this one in a wheel; in a checkout one outside the package."""
    here = Path(__file__).resolve().parent
    return here if any(here.glob("*.yaml")) else here.parent.parent / "experiments"


def find_experiment(name_or_path: str) -> Described:
    """Read an experiment by name, or from a file of one's own, whose name ends in .yaml.

    Raises
    ------
    UnknownNameError : no experiment of this name comes with serbench.
    ConfigError : with every fault of the file.
    """
    is_file = name_or_path.endswith(_ENDINGS)
    if not is_file and name_or_path not in built_in_names():
        raise UnknownNameError("experiment", name_or_path, built_in_names())
    path = Path(name_or_path) if is_file else _folder() / f"{name_or_path}.yaml"
    try:
        text = read_whole(path, at_most=_MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([Fault(str(path), f"cannot be read ({error.strerror})", "a YAML file")]) from error
    except ValueError as error:
        raise ConfigError([Fault(str(path), str(error), "text in UTF-8", "Save it as UTF-8")]) from error
    return read_experiment(text, path.stem)


def read_experiment(text: str, name: str) -> Described:
    """Validate the text of an experiment.

    Raises
    ------
    ConfigError : with every fault of the text.
    """
    document = parse_text(text, f"{name}.yaml", Path(), holds="an experiment")
    try:
        experiment = Experiment.model_validate(document.entries)
    except ValidationError as error:
        raise ConfigError(faults_of(error, document.where)) from error
    return Described(name, text, experiment, document)


def check_names(described: Described, known: Catalogue) -> None:
    """Check every name in an experiment against what this serbench knows.

    Raises
    ------
    ConfigError : with every unknown corpus, feature set, classifier, protocol, emotion and metric.
    """
    faults = [*_grid_faults(described, known), *_metric_faults(described)]
    if faults:
        raise ConfigError(faults)


def _grid_faults(described: Described, known: Catalogue) -> Iterator[Fault]:
    from serbench.classifiers import find_classifier
    from serbench.corpora.tasks import find_task
    from serbench.features import find_feature_set
    from serbench.features.own import is_file_name
    from serbench.protocols import find_protocol

    experiment = described.experiment
    checks: list[tuple[Place, Callable[[], object]]] = []
    checks += [(("corpora", i), partial(known.corpus, name)) for i, name in enumerate(experiment.corpora)]
    for i, grid in enumerate(experiment.grids):
        for name in grid.corpora or ():
            if name not in experiment.corpora:
                todo = did_you_mean(name, experiment.corpora)
                where = described.document.where(("grids", i, "corpora"))
                yield Fault(where, f"'{name}'", "a corpus of the experiment", todo)
        sets = [name for name in grid.features if not is_file_name(name)]
        checks += [(("grids", i, "features"), partial(find_feature_set, name)) for name in sets]
        checks += [(("grids", i, "classifiers"), partial(find_classifier, name)) for name in grid.classifiers]
        checks.append((("grids", i, "protocol"), partial(find_protocol, grid.protocol)))
        task = partial(find_task, known, task=grid.task, emotions=grid.emotions, where=grid.where or ())
        checks.append((("grids", i), task))
    for place, check in checks:
        try:
            check()
        except SerbenchError as error:
            yield Fault(described.document.where(place), str(error))


def _metric_faults(described: Described) -> Iterator[Fault]:
    from serbench.scores.metrics import METRICS

    experiment = described.experiment
    named: list[tuple[Place, str]] = [(("metric",), experiment.metric)]
    named += [(("values", i, "metric"), value.metric) for i, value in enumerate(experiment.values)]
    for i, claim in enumerate(experiment.claims):
        if test := claim.test:
            selections = [test.where, test.cells, *(test.target if isinstance(test.target, tuple) else ())]
            metrics = [test.metric, *(metric for where in selections for metric in where.get("metric", ()))]
            named += [(("claims", i, "test"), metric) for metric in metrics]
    known = [*METRICS, *(f"{kind}{emotion}" for kind in OF_EMOTION for emotion in EMOTIONS)]
    for place, metric in named:
        if metric and metric not in known:
            todo = did_you_mean(metric, known) or f"Known: {', '.join(METRICS)}, recall EMOTION and precision EMOTION"
            yield Fault(described.document.where(place), f"the metric '{metric}'", "one that serbench has", todo)
