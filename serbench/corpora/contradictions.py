"""Faults between the fields of a corpus entry: what contradicts itself, though each field is well formed.

Nothing is opened: what only recordings and tables can tell is found when they are read.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from serbench.corpora.documents import Place
from serbench.corpora.entry import (
    DIMENSION_TARGETS,
    DIMENSIONS,
    EMOTIONS,
    FIELDS,
    GENDERS,
    PLACES,
    TARGET_LABELS,
    Corpus,
    LineLabels,
    Partition,
    TableLabels,
    names_in,
)
from serbench.corpora.intervals import parse_interval
from serbench.errors import did_you_mean

NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
"""What corpora and their partitions may be called."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")

Contradiction = tuple[Place, str, str, str]


def contradictions(corpus: Corpus) -> Iterator[Contradiction]:
    """Yield the faults between the fields of one entry: place in it, what was found, what was expected, what to do."""
    yield from _label_contradictions(corpus)
    yield from _value_contradictions(corpus)
    yield from _trace_contradictions(corpus)
    yield from _target_contradictions(corpus)
    for name, partition in corpus.partitions.items():
        yield from _partition_contradictions(corpus, name, partition)
    if not _LANGUAGE.fullmatch(corpus.language):
        yield ("language",), f"'{corpus.language}'", "a BCP 47 tag such as de or en-US", ""


def _label_contradictions(corpus: Corpus) -> Iterator[Contradiction]:
    known = (*corpus.labels.names, *(name for join in corpus.join for name in join.columns))
    if corpus.emotions and "emotion" not in corpus.provided:
        yield ("labels",), "nothing gives 'emotion'", "a group or column named emotion", _nearest("emotion", known)
    if isinstance(corpus.labels, TableLabels) and "file" not in known:
        yield ("labels", "columns"), "nothing gives 'file'", "the column with the recordings' names", ""
    if corpus.folds.by not in corpus.provided:
        found = f"nothing gives '{corpus.folds.by}'; folds that share no speaker need it"
        todo = _nearest(corpus.folds.by, known) or "Name a group or column so, or say `folds: {by: FIELD}`"
        yield ("folds",), found, "a field that keeps people apart", todo
    if corpus.folds.by != "speaker" and ("leave_out" in corpus.folds.model_fields_set or corpus.folds.groups):
        found = f"by: {corpus.folds.by} together with leave_out or groups"
        yield ("folds",), found, "one of the three: each value of a field is a test group of its own", ""
    yield from _template_contradictions(corpus, known)
    used = {name for template in _templates(corpus).values() for name in names_in(template)}
    used |= {name for join in corpus.join for name in join.match}
    used |= {name for trace in corpus.traces.values() for name in names_in(trace.files)}
    for name in known:
        if name not in FIELDS and name not in PLACES and name not in used:
            yield ("labels",), f"the name '{name}' is no field and no template uses it", "", _nearest(name, FIELDS)


def _nearest(name: str, known: Iterable[str]) -> str:
    return did_you_mean(name, known)


def _templates(corpus: Corpus) -> dict[Place, str]:
    templates: dict[Place, str] = {("compose", key): text for key, text in corpus.compose.items()}
    if isinstance(corpus.labels, TableLabels | LineLabels):
        templates["labels", "path"] = corpus.labels.path
    return templates


def _template_contradictions(corpus: Corpus, known: tuple[str, ...]) -> Iterator[Contradiction]:
    for place, template in _templates(corpus).items():
        for name in names_in(template):
            if name not in known:
                yield place, f"'{{{name}}}', which no group or column gives", "", _nearest(name, known)
    for key in corpus.compose:
        if key not in FIELDS:
            yield ("compose", key), f"'{key}'", "a field of the index", did_you_mean(key, FIELDS)
    for i, join in enumerate(corpus.join):
        for name in join.match:
            if name not in known and name not in corpus.compose:
                yield ("join", i, "match", name), f"'{name}', which no group or column gives", "", ""
        for name in join.columns:
            if name not in FIELDS:
                yield ("join", i, "columns", name), f"'{name}'", "a field of the index", did_you_mean(name, FIELDS)


def _value_contradictions(corpus: Corpus) -> Iterator[Contradiction]:
    for raw, emotion in corpus.emotions.items():
        if emotion not in EMOTIONS:
            todo = did_you_mean(emotion, EMOTIONS) or f"Known: {', '.join(EMOTIONS)}"
            yield ("emotions", raw), f"'{emotion}'", "a canonical emotion", todo
        if raw in corpus.drop:
            yield ("drop",), f"raw label '{raw}' is mapped and dropped", "one of the two", ""
    for emotion in corpus.expect.emotions:
        if emotion not in corpus.emotions.values():
            todo = did_you_mean(emotion, corpus.emotions.values())
            yield ("expect", "emotions", emotion), f"'{emotion}'", "an emotion that `emotions` maps to", todo
    provided = corpus.provided
    for key in corpus.values:
        if key not in provided:
            yield ("values", key), f"'{key}', which nothing gives", "a field", did_you_mean(key, provided)
    named = [speaker for speakers in corpus.genders.values() for speaker in speakers]
    for speaker in sorted(speaker for speaker, n in Counter(named).items() if n > 1):
        yield ("genders",), f"speaker '{speaker}' twice", "one gender each", ""
    genders = [*corpus.genders, *corpus.values.get("gender", {}).values()]
    for gender in sorted(set(genders) - set(GENDERS)):
        yield ("genders",), f"'{gender}'", f"one of {', '.join(GENDERS)}", did_you_mean(gender, GENDERS)


def _trace_contradictions(corpus: Corpus) -> Iterator[Contradiction]:
    known = (*corpus.labels.names, *(name for join in corpus.join for name in join.columns))
    for dimension, trace in corpus.traces.items():
        place = ("traces", dimension)
        if dimension not in DIMENSIONS:
            todo = did_you_mean(dimension, DIMENSIONS)
            yield place, f"'{dimension}'", f"a dimension ({', '.join(DIMENSIONS)})", todo
        if dimension in (*known, *corpus.compose):
            yield place, f"'{dimension}', which a group or column gives already", "one of the two", ""
        for name in names_in(trace.files):
            if name not in (*known, *corpus.compose, "file", "stem"):
                yield (*place, "files"), f"'{{{name}}}', which no group or column gives", "", _nearest(name, known)


def _target_contradictions(corpus: Corpus) -> Iterator[Contradiction]:
    """Faults of the ranges of targets: another target or label, a dimension that nothing gives, ranges that overlap."""
    for target, ranges in corpus.targets.items():
        place = ("targets", target)
        if target not in DIMENSION_TARGETS:
            todo = did_you_mean(target, DIMENSION_TARGETS)
            yield place, f"'{target}'", f"a target with ranges ({', '.join(DIMENSION_TARGETS)})", todo
            continue
        if target not in corpus.provided:
            yield place, f"nothing gives '{target}'", f"a group, column or trace named {target}", ""
        if tuple(sorted(ranges)) != TARGET_LABELS[target]:
            odd = next((label for label in ranges if label not in TARGET_LABELS[target]), "")
            todo = did_you_mean(odd, TARGET_LABELS[target]) if odd else ""
            yield place, f"labels {_and(sorted(ranges)) or 'none'}", _and(TARGET_LABELS[target]), todo
        parsed = [(label, parse_interval(text)) for label, text in ranges.items()]
        for (one, left), (other, right) in itertools.combinations(parsed, 2):
            if left.overlaps(right):
                found = f"{one} {ranges[one]} and {other} {ranges[other]} overlap"
                yield place, found, "each number in one of them", "Write ( or ) where an end is not counted"


def _partition_contradictions(corpus: Corpus, name: str, partition: Partition) -> Iterator[Contradiction]:
    """Faults of a partition that are seen without recordings."""
    place = ("partitions", name)
    if not NAME.fullmatch(name):
        yield place, f"the name '{name[:80]}'", "lower-case letters, digits, - and _", ""
    for side, fields in (("test", partition.test), ("train", partition.train)):
        for key, values in fields.items():
            if key not in corpus.fields or key in DIMENSIONS:
                known = [field for field in corpus.fields if field not in DIMENSIONS]
                todo = did_you_mean(key, known) or f"It provides {', '.join(known)}"
                yield (*place, side, key), f"'{key}'", "a field that this entry provides", todo
            elif not values:
                yield (*place, side, key), "no value", "the values of this side", ""
            else:
                yield from _odd_values(corpus, key, values, (*place, side, key))
    for key in partition.test.keys() & partition.train.keys() if len(partition.train) == 1 else ():
        both = sorted(set(partition.test[key]) & set(partition.train[key]))
        if both and len(partition.test) == 1:
            yield place, f"{key} {', '.join(both)} is on both sides", "one of the two", ""


def _odd_values(corpus: Corpus, key: str, values: Iterable[str], place: Place) -> Iterator[Contradiction]:
    """Values that no utterance can have, as the entry's own lists tell."""
    renamed = corpus.values.get(key, {})
    has_gender = "gender" in (*corpus.labels.names, *corpus.compose, *(n for join in corpus.join for n in join.columns))
    listed_speakers = [] if has_gender else [speaker for speakers in corpus.genders.values() for speaker in speakers]
    for value in values:
        if value in renamed and value not in renamed.values():
            yield place, f"'{value}', which becomes '{renamed[value]}'", "values as they are renamed", ""
        elif key == "gender" and value not in GENDERS:
            yield place, f"'{value}'", f"one of {', '.join(GENDERS)}", did_you_mean(value, GENDERS)
        elif key == "emotion" and value not in corpus.emotions.values():
            known = sorted(set(corpus.emotions.values()))
            yield place, f"'{value}'", "an emotion that `emotions` maps to", did_you_mean(value, known)
        elif key == "speaker" and listed_speakers and value not in listed_speakers:
            todo = did_you_mean(value, listed_speakers)
            yield place, f"speaker '{value}', who is not under `genders`", "a speaker of the corpus, unprefixed", todo


def _and(names: Iterable[str]) -> str:
    return " and ".join(names)
