"""The entry of a corpus: what corpora.yaml may contain, as pydantic models that also find what contradicts itself.

Every scalar arrives as text: speaker `03` stays `03` and emotion `N` stays `N`. No recording or table is opened here.
"""

from __future__ import annotations

import itertools
import math
import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from serbench.corpora.documents import KeyPath, short
from serbench.corpora.patterns import compile_pattern
from serbench.errors import Fault, did_you_mean

EMOTIONS = (
    *("anger", "fear", "happiness", "sadness", "neutral", "disgust"),
    *("surprise", "boredom", "calm", "contempt", "frustration", "excitement"),
)
DIMENSIONS = ("arousal", "valence", "dominance")
FIELDS = (  # what labels may give for an utterance; each becomes a column of the index (`emotion` as `raw_label`)
    *("speaker", "emotion", "gender", "language", "session", "text", "style", "intensity", "take", "age", "voice"),
    *DIMENSIONS,
)
PLACES = ("file", "start", "end")
GENDERS = ("female", "male", "child", "other")
# Labels of each target other than the emotion, sorted; those of `language` are the languages of the corpora.
TARGET_LABELS = {"arousal": ("high", "low"), "valence": ("negative", "positive"), "gender": ("female", "male")}
DIMENSION_TARGETS = ("arousal", "valence")  # an entry may give ranges for them, and `tasks` of a file emotions
AVAILABLE = "available"  # the `--task` of all emotions that a corpus has: one task for each choice of emotions
UNSTATED = "und"  # the tag of BCP 47 for a language that nobody named
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")  # of corpora and their partitions
SOURCES = ("path", "table", "lines")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_NUMBER = r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*"
_INTERVAL = re.compile(rf"([\[(]){_NUMBER},{_NUMBER}([\])])")

Contradiction = tuple[KeyPath, str, str, str]  # place in an entry, what was found, what was expected, what to do
Merge = tuple[str, tuple[str, ...]]  # a label and the canonical emotions that have it


def parse_interval(text: str) -> tuple[float, float]:
    """Parse a range such as `(2.5, 5]` to its smallest and largest number: a round bracket leaves its number out.

    >>> parse_interval("[1, 2.5]"), 2.5 < parse_interval("(2.5, 5]")[0] < 2.500001
    ((1.0, 2.5), True)
    """
    parts = _INTERVAL.fullmatch(text.strip()) if len(text) <= 100 else None
    if parts is None:
        raise ValueError("not a range such as '[1, 2.5]' or '(2.5, 5]', round brackets where an end is not counted")
    lower = float(parts[2]) if parts[1] == "[" else math.nextafter(float(parts[2]), math.inf)
    upper = float(parts[3]) if parts[4] == "]" else math.nextafter(float(parts[3]), -math.inf)
    if lower > upper:
        raise ValueError("a range with nothing in it; write the smaller one first, and [ and ] to have one number")
    return lower, upper


def parse_merge(text: str) -> Merge:
    """Parse an emotion of a task, or a label that merges emotions; the emotions are sorted.

    >>> parse_merge("happiness=happiness+excitement")
    ('happiness', ('excitement', 'happiness'))
    """
    label, _, emotions = text.partition("=")
    return label.strip(), tuple(sorted(emotion.strip() for emotion in (emotions or label).split("+")))


def names_in(template: str) -> tuple[str, ...]:
    """Names that a template such as `{session}{letter}` asks for."""
    return tuple(name for _, name, _, _ in string.Formatter().parse(template) if name)


def _check_pattern(pattern: str) -> str:
    try:
        compile_pattern(pattern)
    except ValueError as error:
        raise ValueError(f"not a regular expression that can be used: {error}") from error
    return pattern


def _check_template(text: str) -> str:
    if not re.fullmatch(r"(?:[^{}]|\{\{|\}\}|\{[^\W\d]\w*\})*", text):
        raise ValueError("not a template such as '{session}{letter}', with a plain name in each pair of braces")
    return text


Pattern = Annotated[str, AfterValidator(_check_pattern)]
Template = Annotated[str, AfterValidator(_check_template)]
Range = Annotated[str, AfterValidator(lambda text: parse_interval(text) and text)]
# An empty YAML value (`drop:`) stands for an empty list.
Strings = Annotated[tuple[str, ...], BeforeValidator(lambda value: [] if value == "" else value)]


class Strict(BaseModel):
    """Base of all models of YAML files: frozen, every problem a fault with its place, unknown keys included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def contradictions(self) -> Iterable[Contradiction]:
        """Return what contradicts itself where each field is well formed."""
        return ()

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, given: Any, make: Callable[[Any], Self]) -> Self:
        try:
            made = make(given)
            problems = list(made.contradictions())
        except ValidationError as error:
            problems = [cls._worded(problem) for problem in error.errors()]
        if not problems:
            return made
        errors = [(place, PydanticCustomError("fault", "{words}", {"words": words})) for place, *words in problems]
        details: list[Any] = [{"type": error, "loc": place, "input": None} for place, error in errors]
        raise ValidationError.from_exception_data(cls.__name__, details)

    @classmethod
    def _worded(cls, problem: Any) -> Contradiction:
        """Word one of pydantic's complaints."""
        place, kind, found = problem["loc"], problem["type"], problem["input"]
        key = str(place[-1]) if place else ""
        if kind == "fault":  # of a block inside this one
            return (place, *problem["ctx"]["words"])
        if kind == "extra_forbidden":
            known = [of.alias or name for name, of in cls.model_fields.items() if name != "name"]
            return place, f"unknown key '{short(key)}'", "", did_you_mean(key, known) or f"Known: {', '.join(known)}"
        if kind == "missing":
            return place, "not there", f"the key '{key}'", "Add it"
        if kind.startswith("union_tag"):
            tag = str(found.get("from", "") if isinstance(found, dict) else found)
            return (*place, "from"), f"'{short(tag)}'", f"one of {', '.join(SOURCES)}", did_you_mean(tag, SOURCES)
        shown = f"'{short(found)}'" if isinstance(found, str) else short(str(found))
        if kind == "value_error":
            return place, f"{shown} is {problem['msg'].removeprefix('Value error, ')}", "", ""
        return place, shown, problem["msg"].removeprefix("Input should be ").replace("a valid tuple", "a list"), ""


def faults_of(error: ValidationError, where: Callable[[KeyPath], str]) -> list[Fault]:
    """Return the faults that a `Strict` model found; `where` words a place in its block."""
    problems = [Strict._worded(problem) for problem in error.errors()]
    kinds = {("labels", source) for source in SOURCES}  # pydantic names the kind of labels in their places
    return [Fault(where((place[0], *place[2:]) if place[:2] in kinds else place), *of) for place, *of in problems]


class PathLabels(Strict):
    """Labels read from each recording's path below the root."""

    source: Literal["path"] = Field(alias="from")
    pattern: Pattern = Field(description="Regular expression with named groups; must hit each path exactly once.")


class TableLabels(Strict):
    """Labels read from a CSV, TSV or parquet table, or from an audformat database."""

    source: Literal["table"] = Field(alias="from")
    file: str = Field(description="The table, below the root; for audformat its header, e.g. db.yaml.")
    tables: Strings = Field((), description="audformat only: the tables to join, e.g. [emotion, files].")
    columns: dict[str, str] = Field(description="Name -> column of the table. `file` names the recording's column.")
    path: Template = Field("{file}", description="Path of a recording below the root, from those names.")


class LineLabels(Strict):
    """Labels read from lines of annotation files."""

    source: Literal["lines"] = Field(alias="from")
    files: str = Field(description="Glob of the annotation files, below the root.")
    pattern: Pattern = Field(description="Regular expression with named groups; lines without a hit are passed over.")
    path: Template = Field(description="Path of a recording below the root, from the groups.")
    encoding: Literal["utf-8", "utf-16", "latin-1", "cp1252", "gb18030", "big5", "shift_jis", "euc-kr"] = "utf-8"


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
    separator: str = Field(",", min_length=1, max_length=1, description="Character between the columns.")


class Partition(Strict):
    """A published division: each side has the utterances with one of its values of each field."""

    test: dict[str, Strings] = Field(min_length=1, description="Field -> values that are tested.")
    train: dict[str, Strings] = Field({}, description="Field -> values that are trained on; none: all not tested.")
    note: str = ""
    citation: str = ""


class Folds(Strict):
    """Which utterances are tested together."""

    leave_out: int = Field(1, ge=1, le=2, description="Speakers per test group.")
    by: str = Field("speaker", description="Field that keeps people apart; another than speaker is one group a value.")
    groups: int | None = Field(None, ge=2, description="Instead of leave_out: so many groups of speakers, balanced.")


class Expect(Strict):
    """What the corpus holds when complete; checked on use."""

    utterances: int | None = Field(None, ge=1)
    speakers: int | None = Field(None, ge=1)
    rate: int | None = Field(None, ge=1, description="Sampling rate in Hz of most recordings.")
    emotions: dict[str, int] = Field({}, description="Utterances per emotion.")


class Task(Strict):
    """A named choice of emotions; `happiness=happiness+excitement` merges. The catalogue knows which there are."""

    name: str
    title: str = ""
    citation: str = ""
    emotions: Strings = Field(min_length=2)

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield names or labels that mean something else."""
        merges = [parse_merge(text) for text in self.emotions]
        if self.name == AVAILABLE:
            yield (), "a name that means all emotions of a corpus", "another name", ""
        labels = tuple(sorted(label for label, _ in merges))
        if self.name in DIMENSION_TARGETS and labels != TARGET_LABELS[self.name]:
            expected = f"{' and '.join(TARGET_LABELS[self.name])}: {self.name} is a target, mapped from emotions"
            yield ("emotions",), f"labels {' and '.join(labels)}", expected, ""


class Corpus(Strict):
    """A corpus as released: where it is, what its labels mean, how it is tested."""

    name: str
    title: str = ""
    language: str = Field(UNSTATED, description="BCP 47 tag, e.g. de or en-US.")
    licence: str = "not stated"
    homepage: str = ""
    citation: str = ""
    note: str = ""
    verified: bool = Field(True, description="False where names or counts were not checked against a real copy.")
    root: str = Field(description="Folder of the corpus; ${VARIABLES} are filled in, relative to this file.")
    audio: str | Strings = Field(description="Glob or globs of the recordings, below the root.")
    outside: Literal["refuse", "allow"] = Field(
        "refuse", description="Whether recordings and tables may lie outside `root`, through links or `..`."
    )
    labels: Annotated[PathLabels | TableLabels | LineLabels, Field(discriminator="source")]
    join: tuple[Join, ...] = ()
    traces: dict[str, Trace] = Field({}, description="Dimension -> traces of raters, averaged over each utterance.")
    compose: dict[str, Template] = Field({}, description="Field -> template over the labels' names.")
    values: dict[str, dict[str, str]] = Field({}, description="Field -> {written value: value}; others stay.")
    genders: dict[str, Strings] = Field({}, description="Speakers by gender, where labels do not give it correctly.")
    emotions: dict[str, str] = Field(description="Raw label -> canonical emotion.")
    drop: Strings = Field((), description="Raw labels that belong to no emotion.")
    own_emotions: Strings = Field((), description="Emotions of this corpus beyond the canonical ones, e.g. sarcasm.")
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
    def names(self) -> tuple[str, ...]:
        """Names that labels and joined tables provide."""
        labels = self.labels
        own = labels.columns if isinstance(labels, TableLabels) else compile_pattern(labels.pattern).groupindex
        return (*own, *(name for join in self.join for name in join.columns))

    @property
    def provided(self) -> tuple[str, ...]:
        """Names that labels, joins, traces, compositions and genders provide, once each."""
        genders = ["gender"] if self.genders else []
        return tuple(dict.fromkeys([*self.names, *self.traces, *self.compose, *genders]))

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the index that this entry provides, in the order of `FIELDS`."""
        return tuple(field for field in FIELDS if field in self.provided)

    @property
    def person_field(self) -> str:
        """Field that keeps people apart: the speaker, or what `folds.by` names where no speaker is known."""
        return "speaker" if "speaker" in self.provided else self.folds.by

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield the faults between the fields of the entry."""
        if not _LANGUAGE.fullmatch(self.language):
            yield ("language",), f"'{self.language}'", "a BCP 47 tag such as de or en-US", ""
        yield from _name_faults(self)
        for raw, emotion in self.emotions.items():
            expected = "a canonical emotion, or one that is listed under `own_emotions`"
            yield from _unknown([emotion], (*EMOTIONS, *self.own_emotions), expected, "emotions", raw)
            if raw in self.drop:
                yield ("drop",), f"raw label '{raw}' is mapped and dropped", "one of the two", ""
        for emotion in self.own_emotions:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", emotion):
                yield ("own_emotions",), f"the name '{short(emotion)}'", "lower-case letters, digits and _", ""
        named = Counter(speaker for speakers in self.genders.values() for speaker in speakers)
        for speaker in sorted(speaker for speaker, n in named.items() if n > 1):
            yield ("genders",), f"speaker '{speaker}' twice", "one gender each", ""
        if self.folds.by != "speaker" and ("leave_out" in self.folds.model_fields_set or self.folds.groups):
            found = f"by: {self.folds.by} together with leave_out or groups"
            yield ("folds",), found, "one of the three: each value of a field is a test group of its own", ""
        yield from _target_faults(self)
        fields = [field for field in self.fields if field not in DIMENSIONS]
        for name, partition in self.partitions.items():
            if not NAME.fullmatch(name):
                yield ("partitions", name), f"the name '{short(name)}'", "lower-case letters, digits, - and _", ""
            for side, chosen in (("test", partition.test), ("train", partition.train)):
                place = ("partitions", name, side)
                yield from _unknown(chosen, fields, "a field that this entry provides", *place, keys=True)
                for field in (field for field, values in chosen.items() if not values):
                    yield (*place, field), "no value", "the values of this side", ""


def _unknown(
    names: Iterable[str], known: Collection[str], expected: str, *place: str | int, keys: bool = False
) -> Iterator[Contradiction]:
    """Yield a fault for each unknown name: a part of the value at `place`, or one of the `keys` there."""
    for name in names:
        if name not in known:
            todo = did_you_mean(name, known) or f"Known: {', '.join(known) or 'none'}"
            yield (*place, name) if keys else place, f"'{short(name)}'", expected, todo


def _name_faults(corpus: Corpus) -> Iterator[Contradiction]:
    """Faults of names: needed or asked for and not given, given and not used, or no field of the index."""
    known, given, of_index = corpus.names, "a name that a group or column gives", "a field of the index"
    composed = (*known, *corpus.compose)
    if corpus.emotions and "emotion" not in corpus.provided:
        yield ("labels",), "nothing gives 'emotion'", "a group or column named emotion", did_you_mean("emotion", known)
    if isinstance(corpus.labels, TableLabels) and "file" not in known:
        yield ("labels", "columns"), "nothing gives 'file'", "the column with the recordings' names", ""
    if (by := corpus.folds.by) not in corpus.provided:
        todo = did_you_mean(by, known) or "Name a group or column so, or say `folds: {by: FIELD}`"
        found = f"nothing gives '{by}'; folds that share no speaker need it"
        yield ("folds",), found, "a field that keeps people apart", todo
    templates: dict[KeyPath, str] = {("compose", field): text for field, text in corpus.compose.items()}
    if not isinstance(corpus.labels, PathLabels):
        templates["labels", "path"] = corpus.labels.path
    for place, text in templates.items():
        yield from _unknown(names_in(text), known, given, *place)
    for i, join in enumerate(corpus.join):
        yield from _unknown(join.match, composed, given, "join", i, "match", keys=True)
        yield from _unknown(join.columns, FIELDS, of_index, "join", i, "columns", keys=True)
    for dimension, trace in corpus.traces.items():
        if dimension in composed:
            yield ("traces", dimension), f"'{dimension}', which a group or column gives already", "one of the two", ""
        yield from _unknown(names_in(trace.files), (*composed, "file", "stem"), given, "traces", dimension, "files")
    yield from _unknown(corpus.traces, DIMENSIONS, "a dimension", "traces", keys=True)
    yield from _unknown(corpus.compose, FIELDS, of_index, "compose", keys=True)
    yield from _unknown(corpus.values, corpus.provided, "a name that the entry provides", "values", keys=True)
    texts = [*templates.values(), *(trace.files for trace in corpus.traces.values())]
    used = {name for text in texts for name in names_in(text)} | {name for join in corpus.join for name in join.match}
    for name in [name for name in known if name not in {*FIELDS, *PLACES, *used}]:
        found = f"the name '{name}' is no field and no template uses it"
        yield ("labels",), found, "", did_you_mean(name, FIELDS)


def _target_faults(corpus: Corpus) -> Iterator[Contradiction]:
    """Faults of the ranges of targets: another target or label, a dimension that nothing gives, ranges that overlap."""
    yield from _unknown(corpus.targets, DIMENSION_TARGETS, "a target with ranges", "targets", keys=True)
    for target in [target for target in DIMENSION_TARGETS if target in corpus.targets]:
        place, labels, ranges = ("targets", target), TARGET_LABELS[target], corpus.targets[target]
        if target not in corpus.provided:
            yield place, f"nothing gives '{target}'", f"a group, column or trace named {target}", ""
        if tuple(sorted(ranges)) != labels:
            odd = next((label for label in ranges if label not in labels), "")
            found = f"labels {' and '.join(sorted(ranges)) or 'none'}"
            yield place, found, " and ".join(labels), did_you_mean(odd, labels)
        for (one, first), (other, second) in itertools.combinations(ranges.items(), 2):
            lower, upper = zip(parse_interval(first), parse_interval(second), strict=True)
            if max(lower) <= min(upper):
                found = f"{one} {first} and {other} {second} overlap"
                yield place, found, "each number in one of them", "Write ( or ) where an end is not counted"


def catalogue_schema() -> dict[str, Any]:
    """Return the JSON Schema of a whole corpora.yaml, for editors: corpora by name, and `tasks`."""
    corpus, task = (model.model_json_schema(ref_template="#/$defs/{model}") for model in (Corpus, Task))
    definitions = {**corpus.pop("$defs", {}), **task.pop("$defs", {}), "Corpus": corpus, "Task": task}
    corpus.pop("required")  # an entry that overrides another one gives only what differs
    task["required"].remove("name")
    for model in (corpus, task):
        model["properties"].pop("name")  # the name is the key of the block
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "corpora.yaml of serbench",
        "type": "object",
        "properties": {"tasks": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Task"}}},
        "additionalProperties": {"$ref": "#/$defs/Corpus"},
        "$defs": definitions,
    }
