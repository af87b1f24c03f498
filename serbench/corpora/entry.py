"""The shape of a corpus entry: what corpora.yaml may say, as pydantic models with unknown keys refused.

Every scalar arrives as a string, as it stands in the file, and becomes a number only where a field below says so:
speaker `03` stays `03` and emotion `N` stays `N`. The models check form; `catalogue.py` words the faults.
"""

from __future__ import annotations

import codecs
import string
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from serbench.corpora.intervals import parse_interval
from serbench.corpora.patterns import compile_pattern

EMOTIONS = (
    "anger",
    "fear",
    "happiness",
    "sadness",
    "neutral",
    "disgust",
    "surprise",
    "boredom",
    "calm",
    "contempt",
    "frustration",
    "excitement",
)
"""Canonical emotion names."""

FIELDS = (
    "speaker",
    "emotion",
    "gender",
    "language",
    "session",
    "text",
    "style",
    "intensity",
    "take",
    "age",
    "voice",
    "arousal",
    "valence",
    "dominance",
)
"""What labels may give for an utterance; each becomes a column of the index (`emotion` as `raw_label`)."""

DIMENSIONS = ("arousal", "valence", "dominance")
PLACES = ("file", "start", "end")
GENDERS = ("female", "male", "child", "other")

TARGET_LABELS = {"arousal": ("high", "low"), "valence": ("negative", "positive"), "gender": ("female", "male")}
"""Labels of each target beside the emotions, sorted; those of `language` are the languages of the corpora."""

AVAILABLE = "available"
"""What `--task` calls all emotions that a corpus has: another task for each corpus that has other emotions."""

DIMENSION_TARGETS = ("arousal", "valence")
"""Targets that `targets` of an entry may give ranges for, and `tasks` of a file emotions."""


def _compiles(pattern: str) -> str:
    try:
        compile_pattern(pattern)
    except ValueError as error:
        raise ValueError(f"not a regular expression that can be used: {error}") from error
    return pattern


def _is_template(text: str) -> str:
    """Accept names in braces and nothing else that format strings can do."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"not a template such as '{{session}}{{letter}}': {error}") from error
    for _, name, spec, conversion in parts:
        if name is not None and (not name.isidentifier() or spec or conversion):
            raise ValueError("not a template such as '{session}{letter}', with a plain name in each pair of braces")
    return text


_NO_ENCODINGS_OF_FILES = ("idna", "punycode", "undefined", "utf-7")
"""Made for names and mails; some take time that grows with the square of the text, or give half characters."""


def _is_encoding(name: str) -> str:
    try:
        if codecs.lookup(name).name in _NO_ENCODINGS_OF_FILES:
            raise LookupError(name)
        b"a".decode(name, "replace")  # zip and its kin are codecs, but give no text
    except (LookupError, ValueError) as error:
        raise ValueError("not an encoding that Python knows, such as utf-8 or latin-1") from error
    return name


def _is_interval(text: str) -> str:
    parse_interval(text)
    return text


def _as_list(value: Any) -> Any:
    """An empty YAML value (`drop:`) stands for an empty list."""
    return [] if value == "" else value


Pattern = Annotated[str, AfterValidator(_compiles)]
Template = Annotated[str, AfterValidator(_is_template)]
Strings = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
Range = Annotated[str, AfterValidator(_is_interval)]


def groups_of(pattern: str) -> tuple[str, ...]:
    """Names of a regular expression's groups."""
    return tuple(compile_pattern(pattern).groupindex)


def names_in(template: str) -> tuple[str, ...]:
    """Names that a template such as `{session}{letter}` asks for."""
    return tuple(name for _, name, _, _ in string.Formatter().parse(template) if name)


class Strict(BaseModel):
    """Base of all models: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PathLabels(Strict):
    """Labels read from each recording's path below the root."""

    source: Literal["path"] = Field(alias="from")
    pattern: Pattern = Field(description="Regular expression with named groups; must hit each path exactly once.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names that labels of this source provide."""
        return groups_of(self.pattern)


class TableLabels(Strict):
    """Labels read from a CSV, TSV or parquet table, or from an audformat database."""

    source: Literal["table"] = Field(alias="from")
    file: str = Field(description="The table, below the root; for audformat its header, e.g. db.yaml.")
    tables: Strings = Field((), description="audformat only: the tables to join, e.g. [emotion, files].")
    columns: dict[str, str] = Field(description="Name -> column of the table. `file` names the recording's column.")
    path: Template = Field("{file}", description="Path of a recording below the root, from those names.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names that labels of this source provide."""
        return tuple(self.columns)


class LineLabels(Strict):
    """Labels read from lines of annotation files."""

    source: Literal["lines"] = Field(alias="from")
    files: str = Field(description="Glob of the annotation files, below the root.")
    pattern: Pattern = Field(description="Regular expression with named groups; lines without a hit are passed over.")
    path: Template = Field(description="Path of a recording below the root, from the groups.")
    encoding: Annotated[str, AfterValidator(_is_encoding)] = "utf-8"

    @property
    def names(self) -> tuple[str, ...]:
        """Names that labels of this source provide."""
        return groups_of(self.pattern)


Labels = Annotated[PathLabels | TableLabels | LineLabels, Field(discriminator="source")]


class Join(Strict):
    """A further table with facts of each speaker (or of any other field), e.g. who is female."""

    file: str = Field(description="CSV, TSV or parquet table below the root.")
    match: dict[str, str] = Field(description="Name known so far -> column of this table with the same values.")
    columns: dict[str, str] = Field(description="Name -> column of this table.")


class Trace(Strict):
    """What raters drew along each recording: one table a recording, one line a moment."""

    files: Template = Field(description="Path of the table below the root, from the labels' names and {stem}.")
    time: str = Field("time", description="Column of the moments, in seconds from the start of the recording.")
    raters: Strings = Field((), description="Columns of the raters; none means every column but the time.")
    separator: str = Field(",", min_length=1, max_length=1, description="What stands between the columns.")


class Partition(Strict):
    """A published division: each side has the utterances with one of its values of each field."""

    test: dict[str, Strings] = Field(min_length=1, description="Field -> values that are tested.")
    train: dict[str, Strings] = Field({}, description="Field -> values that are trained on; none: all not tested.")
    note: str = ""
    citation: str = ""


class Folds(Strict):
    """Which utterances are tested together."""

    leave_out: Literal[1, 2] = Field(1, description="Speakers per test group.")
    by: str = Field("speaker", description="Field that keeps people apart; another than speaker is one group a value.")
    groups: int | None = Field(None, ge=2, description="Instead of leave_out: so many groups of speakers, balanced.")

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, dict) and str(value.get("leave_out", "1")) in ("1", "2"):
            return {**value, "leave_out": int(value["leave_out"])} if "leave_out" in value else value
        return value


class Expect(Strict):
    """What the corpus holds when complete; checked on use."""

    utterances: int | None = Field(None, ge=1)
    speakers: int | None = Field(None, ge=1)
    rate: int | None = Field(None, ge=1, description="Sampling rate in Hz of most recordings.")
    emotions: dict[str, int] = Field({}, description="Utterances per emotion.")


class Corpus(Strict):
    """A corpus as released: where it is, what its labels mean, how it is tested."""

    name: str
    title: str
    language: str = Field(description="BCP 47 tag, e.g. de or en-US.")
    licence: str
    homepage: str = ""
    citation: str = ""
    note: str = ""
    verified: bool = Field(True, description="False where names or counts were not checked against a real copy.")
    root: str = Field(description="Folder of the corpus; ${VARIABLES} are filled in, relative to this file.")
    audio: str | Strings = Field(description="Glob or globs of the recordings, below the root.")
    outside: Literal["refuse", "allow"] = Field(
        "refuse", description="Whether recordings and tables may lie outside `root`, through links or `..`."
    )
    labels: Labels
    join: tuple[Join, ...] = ()
    traces: dict[str, Trace] = Field({}, description="Dimension -> traces of raters, averaged over each utterance.")
    compose: dict[str, Template] = Field({}, description="Field -> template over the labels' names.")
    values: dict[str, dict[str, str]] = Field({}, description="Field -> {written value: value}; others stay.")
    genders: dict[str, Strings] = Field(
        {}, description="Speakers by gender, where the labels do not tell or are wrong."
    )
    emotions: dict[str, str] = Field(description="Raw label -> canonical emotion.")
    drop: Strings = Field((), description="Raw labels that belong to no emotion.")
    targets: dict[str, dict[str, Range]] = Field(
        {}, description="Target (arousal, valence) -> {label: range of the dimension, e.g. '(2.5, 5]'}."
    )
    folds: Folds = Folds()
    shares_speakers_with: Strings = Field(
        (), description="Corpora whose speakers of the same name are the same people; holds in both directions."
    )
    partitions: dict[str, Partition] = Field({}, description="Published divisions into training and test, by name.")
    expect: Expect = Expect()

    @property
    def globs(self) -> tuple[str, ...]:
        """Globs of the recordings."""
        return (self.audio,) if isinstance(self.audio, str) else self.audio

    @property
    def provided(self) -> tuple[str, ...]:
        """Names that labels, joins, traces and compositions provide, once each."""
        joined = [name for join in self.join for name in join.columns]
        genders = ["gender"] if self.genders else []
        return tuple(dict.fromkeys([*self.labels.names, *joined, *self.traces, *self.compose, *genders]))

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the index that this entry provides, in the order of `FIELDS`."""
        return tuple(field for field in FIELDS if field in self.provided)

    @property
    def person(self) -> str:
        """Field that keeps people apart: the speaker, or what `folds.by` names where no speaker is known."""
        return "speaker" if "speaker" in self.provided else self.folds.by


class Task(Strict):
    """A named choice of emotions; `happiness=happiness+excitement` merges."""

    title: str = ""
    citation: str = ""
    emotions: Strings = Field(min_length=2)


def catalogue_schema() -> dict[str, Any]:
    """Return the JSON Schema of a whole corpora.yaml: corpora by name, and `tasks`."""
    corpus = Corpus.model_json_schema(ref_template="#/$defs/{model}")
    task = Task.model_json_schema(ref_template="#/$defs/{model}")
    definitions = {**corpus.pop("$defs", {}), **task.pop("$defs", {}), "Corpus": corpus, "Task": task}
    corpus["properties"].pop("name")
    corpus.pop("required")  # an entry that overrides another one gives only what differs
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "corpora.yaml of serbench",
        "type": "object",
        "properties": {"tasks": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Task"}}},
        "additionalProperties": {"$ref": "#/$defs/Corpus"},
        "$defs": definitions,
    }
