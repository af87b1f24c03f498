"""The shape of an experiment: what experiments/*.yaml may say, as pydantic models with unknown keys refused.

Every scalar arrives as the text that stands in the file and becomes a number only where a field below says so. The
models check form; `load.py` words the faults and checks names against the registries.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from serbench.corpora.entry import Strict
from serbench.grid.cells import CELL_COLUMNS

COLUMNS = (*CELL_COLUMNS, "metric")
"""Columns that a selection may name."""


def _names_columns(where: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    unknown = [name for name in where if name not in COLUMNS]
    if unknown:
        raise ValueError(f"no selection: '{unknown[0]}' is no column of the scores; known: {', '.join(COLUMNS)}")
    return where


def _as_tuple(value: Any) -> Any:
    """Let a single name stand for a list of one."""
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Where = Annotated[dict[str, Names], AfterValidator(_names_columns)]
"""Column of the scores -> the values that it may have: a selection of cells."""

Number = Annotated[float, Field(allow_inf_nan=False)]


class Grid(Strict):
    """One `serbench grid`: fields named as its options; `corpora` are those of the experiment unless given."""

    features: Names
    classifiers: Names
    corpora: Names | None = None
    protocol: str = "within"
    task: str | None = None
    emotions: str | None = None
    target: str | None = None
    where: Names | None = None
    partition: str | None = None
    segment: Annotated[Number, Field(gt=0)] | None = None
    scaling: str = "train"
    inner: str = "auto"
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    k: tuple[Annotated[int, Field(gt=0)], ...] | None = None
    weight: Annotated[Number, Field(gt=0)] | None = None

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
    """A number of the paper, in its row and column, and which of our cells stands beside it.

    `metric` is that of the experiment unless given; `recall EMOTION` and `precision EMOTION` are metrics too. `note`
    says what differs.
    """

    row: str
    column: str
    paper: Number
    where: Where = Field({})
    metric: str = ""
    note: str = ""
    needs: Literal["neural network"] | None = None

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if not self.where and self.needs is None:
            raise ValueError("without a cell of ours: give `where`, or say what it `needs`")
        return self


_GIVEN = {
    "best": (),
    "above": ("than",),
    "below": ("than",),
    "similar": ("than", "margin"),
    "not_below": ("than", "margin"),
    "chance": ("side",),
    "at_least": ("value",),
}
"""Kind of test -> the fields that it must have beside `this`."""


class Trial(Strict):
    """What a sentence says, in numbers. `serbench.experiments.claims` decides it.

    ``where`` and ``each`` select the cells that are looked at, `each` in one column per combination of its values;
    the test must hold in `least` of these (all, unless given). In every column the cells `this` are

    - ``best``: above every other cell;
    - ``above`` or ``below`` each of the cells `than`;
    - ``similar`` to the cells `than`: no further off than `margin`;
    - ``not_below`` the cells `than` by as much as `margin`: as good, or better;
    - ``chance``: on a `side` of chance: above, below, or at it (no further off than `margin`);
    - ``at_least`` as high as `value`.

    Cells `this` and `than` are held against each other where they agree in all that neither these two nor `ignoring`
    name; the rule of inner validation may always differ.
    """

    kind: Literal["best", "above", "below", "similar", "not_below", "chance", "at_least"]
    this: Where = Field({})
    than: tuple[Where, ...] = ()
    where: Where = Field({})
    each: Where = Field({})
    least: Annotated[int, Field(gt=0)] | None = None
    ignoring: tuple[str, ...] = ()
    metric: str = ""
    margin: Annotated[Number, Field(ge=0)] | None = None
    value: Number | None = None
    side: Literal["above", "below", "at"] | None = None

    @property
    def n_columns(self) -> int:
        """In how many columns it is looked at."""
        n = 1
        for values in self.each.values():
            n *= len(values)
        return n

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        needed = (*_GIVEN[self.kind], *(("margin",) if self.side == "at" else ()))
        lacking = [name for name in needed if name not in self.model_fields_set]
        surplus = {"than", "margin", "value", "side"} & self.model_fields_set - set(needed)
        if lacking:
            raise ValueError(f"no whole test: '{self.kind}' needs {', '.join(lacking)}")
        if surplus:
            raise ValueError(f"no test: '{self.kind}' takes no {', '.join(sorted(surplus))}")
        if self.least is not None and self.least > self.n_columns:
            raise ValueError(f"no test: at least {self.least} of {self.n_columns}")
        if unknown := [name for name in self.ignoring if name not in CELL_COLUMNS]:
            raise ValueError(f"no test: '{unknown[0]}' in ignoring is no column that tells cells apart")
        return self


class Claim(Strict):
    """A sentence, where it stands, and the test of it; `name` is short, `note` says what we test differently."""

    name: Annotated[str, Field(max_length=24)]
    says: str
    source: str
    note: str = ""
    needs: Literal["neural network"] | None = None
    test: Trial | None = None

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
