"""Tasks: which labels a cell tells apart, from what they come, and which utterances it looks at.

The labels are emotions (`EmotionTask`) or those of another target (`TargetTask`): arousal, valence, gender, language.
`select` puts them into the column `emotion` of an index, whatever they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from serbench.corpora.catalogue import Catalogue
from serbench.corpora.entry import (
    AVAILABLE,
    DIMENSION_TARGETS,
    EMOTIONS,
    FIELDS,
    TARGET_LABELS,
    Corpus,
    Task,
    parse_interval,
)
from serbench.corpora.languages import primary
from serbench.errors import ConfigError, CorpusError, Fault, ProtocolError, UnknownNameError, did_you_mean, listed

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_TASK = "paper5"

TARGETS = ("arousal", "gender", "language", "valence")
"""What `--target` may name; without it a task tells emotions apart."""

OF_PEOPLE = ("gender", "language")
"""Targets that all utterances of a speaker share."""

Merges = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class EmotionTask:
    """Emotions to tell apart: label -> the canonical emotions merged into it; `where` keeps field -> value.

    `map` spells the merges of a task whose name does not say them: one that serbench does not ship under that name.
    """

    name: str
    merges: Merges
    where: tuple[tuple[str, str], ...] = ()
    target: str = "emotion"
    map: str = dataclasses.field(default="", kw_only=True)

    @property
    def spelt(self) -> str:
        """All merges, as `--emotions` takes them; empty for a target that is not mapped from emotions."""
        return ",".join(map(_spelt, self.merges))

    @property
    def emotions(self) -> tuple[str, ...]:
        """Labels, sorted; label codes are positions in it."""
        return tuple(sorted(label for label, _ in self.merges))

    @property
    def title(self) -> str:
        """Name with its filters, e.g. `paper5 where style=improvised`: the task column of every table."""
        filters = ", ".join(f"{field}={value}" for field, value in self.where)
        return f"{self.name} where {filters}" if filters else self.name

    @property
    def is_of_people(self) -> bool:
        """Whether all utterances of a speaker have one label, whatever they say."""
        return self.target in OF_PEOPLE

    def for_corpora(self, corpora: Iterable[Corpus]) -> EmotionTask:
        """Return the task with the labels that these corpora give it, where labels depend on corpora."""
        return self

    def for_index(self, index: pd.DataFrame, corpus: Corpus) -> EmotionTask:
        """Return the task with the emotions that an index has, where these are what is asked for."""
        return self

    def select(self, index: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
        """Return the utterances of this task, their `emotion` column holding the labels.

        Raises
        ------
        CorpusError : the corpus has not what the labels come from.
        ConfigError : a filter names a field that the corpus lacks, or a value that no utterance has.
        """
        kept = index.assign(emotion=self._labels(index, corpus))
        for field, value in self.where:
            values = _column(kept, field)
            if not (values == value).any():
                there = listed(sorted(values.dropna().unique())) or "none"
                raise ConfigError([Fault(f"--where {field}={value}", f"no utterance; {field} has {there}", "some")])
            kept = kept[values == value]
        return kept[kept["emotion"].notna()]

    def notes(self, index: pd.DataFrame, corpus: Corpus) -> list[str]:
        """Word what a table must tell of utterances that got no label."""
        return []

    def _labels(self, index: pd.DataFrame, corpus: Corpus) -> pd.Series:
        return _mapped(index, self.merges)


@dataclass(frozen=True, slots=True)
class AvailableTask(EmotionTask):
    """All emotions of whatever corpus is looked at.

    `presets` are the named tasks as shipped. `for_index` gives the task that cells have: a preset, or one named by its
    emotions, so that corpora with other emotions never stand in one column or table as if asked the same.
    """

    presets: tuple[tuple[str, Merges], ...] = ()

    def for_index(self, index: pd.DataFrame, corpus: Corpus) -> EmotionTask:
        """Return the task of the emotions that utterances have which may take part.

        Raises
        ------
        ConfigError : see `select`.
        """
        rows = self.select(index, corpus)
        merges = _alone(sorted(rows["emotion"][rows["duplicate"].isna()].unique()))
        return EmotionTask(_named(merges, self.presets) or AVAILABLE, merges, self.where)


@dataclass(frozen=True, slots=True)
class TargetTask(EmotionTask):
    """Another target than the emotion; its labels follow a rule of each corpus.

    Arousal and valence: the ranges of the entry's `targets`, or else `merges`, the map from emotions. Gender: that of
    the index. Language: that of the utterance or else of the corpus, without its region.
    """

    labels: tuple[str, ...] = ()

    @property
    def emotions(self) -> tuple[str, ...]:
        """Labels, sorted; those of `language` are there once `for_corpora` has told them."""
        return self.labels

    def for_corpora(self, corpora: Iterable[Corpus]) -> EmotionTask:
        """Return the task with the labels that these corpora give it: the languages, where that is the target.

        Raises
        ------
        ProtocolError : corpora of one language only.
        """
        if self.target != "language":
            return self
        languages = tuple(sorted({primary(corpus.language) for corpus in corpora}))
        if len(languages) < 2:
            raise ProtocolError(
                "--target language", f"corpora of one language ({languages[0]})", "two or more languages"
            )
        return dataclasses.replace(self, labels=languages)

    def notes(self, index: pd.DataFrame, corpus: Corpus) -> list[str]:
        """Word how many utterances got no label, and why."""
        n = int(self._labels(index, corpus).isna().sum())
        if not n:
            return []
        ranges = corpus.targets.get(self.target, {})
        if ranges:
            why = f"{self.target} in none of {', '.join(f'{label} {text}' for label, text in ranges.items())}"
        elif self.target in DIMENSION_TARGETS:
            mapped = {emotion for _, emotions in self.merges for emotion in emotions}
            beyond = sorted(set(index["emotion"].dropna()) - mapped)
            why = f"emotions without a place ({listed(beyond)}) or no emotion" if beyond else "no emotion"
        else:
            why = f"another {self.target} than {', '.join(self.labels)}, or none known"
        return [f"{n} utterances have no label: {why}"]

    def _labels(self, index: pd.DataFrame, corpus: Corpus) -> pd.Series:
        if self.target == "gender":
            return _of_gender(index, corpus)
        if self.target == "language":
            languages = _of_language(index, corpus)
            return languages.where(languages.isin(self.labels), None)
        if self.target in corpus.targets:
            return _in_ranges(index, corpus, self.target)
        if not corpus.emotions or not self.merges:
            where, found = f"{corpus.name}.targets", f"neither ranges of {self.target} nor emotions to map"
            todo = f"Add `targets: {{{self.target}: {{LABEL: RANGE, ...}}}}` to its entry, with a column {self.target}"
            raise CorpusError([Fault(where, found, f"one of the two for --target {self.target}", todo)])
        return _mapped(index, self.merges)


AnyTask = TypeVar("AnyTask", bound=EmotionTask)


def find_task(
    catalogue: Catalogue, *, task: str | None, emotions: str | None, where: Sequence[str], target: str | None = None
) -> EmotionTask:
    """Resolve `--task NAME`, `--emotions a,b=c+d` or `--target NAME`, and the `--where field=value` filters.

    Raises
    ------
    UnknownNameError : no such task, emotion, target or field.
    ConfigError : two of task, emotions and target, fewer than two emotions, an emotion used twice, a malformed filter,
        the speaker as a target.
    """
    filters = tuple(sorted(_filter(text) for text in where))
    for option, given in (("--task", task), ("--emotions", emotions)):
        if target is not None and given is not None:
            raise ConfigError([Fault("--target", f"given together with {option}", "one of the two")])
    if target is not None:
        return _target_task(catalogue, target, filters)
    presets = {name: preset for name, preset in catalogue.tasks.items() if name not in DIMENSION_TARGETS}
    if task is not None and emotions is not None:
        raise ConfigError([Fault("--emotions", "given together with --task", "one of the two")])
    if emotions is not None:
        merges = _merges(emotions.split(","), where="--emotions")
        return _with_map(EmotionTask(_named(merges, _merged(presets)), merges, filters), catalogue)
    wanted = task or DEFAULT_TASK
    if wanted == AVAILABLE:
        return AvailableTask(AVAILABLE, _alone(EMOTIONS), filters, presets=_merged(catalogue.shipped))
    if wanted in TARGETS:
        todo = f"Use --target {wanted}"
        raise ConfigError([Fault(f"--task {wanted}", "a target, not a choice of emotions", todo=todo)])
    if wanted not in presets:
        raise UnknownNameError("task", wanted, [*presets, AVAILABLE])
    merges = _merges(presets[wanted].emotions, where=f"tasks.{wanted}")
    return _with_map(EmotionTask(wanted, merges, filters), catalogue)


def common_task(catalogue: Catalogue, indexes: Mapping[str, pd.DataFrame], *, where: Sequence[str]) -> EmotionTask:
    """Return the task of all emotions that every corpus has, by the name of a preset where it is one.

    Raises
    ------
    ConfigError : they have fewer than two in common.
    """
    there = {name: set(index["emotion"].dropna()) for name, index in indexes.items()}
    shared = sorted(set.intersection(*there.values()))
    if len(shared) < 2:
        has = "; ".join(f"{name}: {listed(sorted(of)) or 'none'}" for name, of in there.items())
        found = f"{listed(shared) or 'none'} in common ({has})"
        raise ConfigError([Fault("--emotions", found, "at least two emotions", "Choose with --emotions or --target")])
    return find_task(catalogue, task=None, emotions=",".join(shared), where=where)


def _target_task(catalogue: Catalogue, target: str, filters: tuple[tuple[str, str], ...]) -> TargetTask:
    if target == "speaker":
        found = "folds that share no speaker cannot test it: each speaker tested is one that training has not heard"
        raise ConfigError([Fault("--target speaker", found, f"one of {', '.join(TARGETS)}")])
    if target not in TARGETS:
        raise UnknownNameError("target", target, TARGETS)
    merges: Merges = ()
    if target in DIMENSION_TARGETS and target in catalogue.tasks:
        merges = _merges(catalogue.tasks[target].emotions, where=f"tasks.{target}")
    return _with_map(TargetTask(target, merges, filters, target, TARGET_LABELS.get(target, ())), catalogue)


def _with_map(task: AnyTask, catalogue: Catalogue) -> AnyTask:
    """Spell the merges of a task unless its name says them: a preset as it is shipped, or a list of emotions."""
    shipped = catalogue.shipped.get(task.name)
    is_shipped = shipped is not None and _merges(shipped.emotions, where=task.name) == task.merges
    return task if is_shipped or task.name == task.spelt else dataclasses.replace(task, map=task.spelt)


def _mapped(index: pd.DataFrame, merges: Merges) -> pd.Series:
    label_of = {emotion: label for label, emotions in merges for emotion in emotions}
    return index["emotion"].map(label_of).astype("object")


def _in_ranges(index: pd.DataFrame, corpus: Corpus, target: str) -> pd.Series:
    """Label each utterance by the range that its dimension lies in; None in none of them."""
    if target not in index:
        todo = "Index it again: the table was made by an entry without it"
        raise CorpusError([Fault(corpus.name, f"its index has no '{target}'", f"the column of {target}", todo)])
    ranges = [(label, parse_interval(text)) for label, text in corpus.targets[target].items()]
    label_of = {v: next((label for label, r in ranges if v in r), None) for v in index[target].dropna().unique()}
    return index[target].map(label_of).astype("object")


def _of_gender(index: pd.DataFrame, corpus: Corpus) -> pd.Series:
    if "gender" not in index:
        todo = "Name a group or column gender, or list the speakers of each under `genders`"
        found = "nothing tells the speakers' gender"
        raise CorpusError([Fault(f"{corpus.name}.genders", found, "it, for --target gender", todo)])
    genders = index["gender"].astype("object")
    return genders.where(genders.isin(TARGET_LABELS["gender"]), None)


def _of_language(index: pd.DataFrame, corpus: Corpus) -> pd.Series:
    """Primary subtag of each utterance's language, where the corpus tells it, or else of the corpus'."""
    languages = index["language"] if "language" in index else index["corpus"].map(lambda _: None)
    return languages.fillna(corpus.language).map(primary).astype("object")


def _merges(texts: Sequence[str], *, where: str) -> Merges:
    merges: list[tuple[str, tuple[str, ...]]] = []
    for text in texts:
        target, _, right = text.strip().partition("=")
        sources = tuple(sorted(source.strip() for source in (right or target).split("+")))
        for source in sources:
            if source not in EMOTIONS:
                raise UnknownNameError("emotion", source, EMOTIONS)
        if not target.strip().isidentifier():
            raise ConfigError([Fault(where, f"'{text.strip()}'", "a name before the =, e.g. high=anger+happiness")])
        merges.append((target.strip(), sources))
    used = [source for _, sources in merges for source in sources]
    if len({target for target, _ in merges}) < max(2, len(merges)) or len(set(used)) < len(used):
        found = ", ".join(texts)
        raise ConfigError([Fault(where, f"'{found}'", "at least two emotions, each used once")])
    return tuple(sorted(merges))


def _alone(emotions: Iterable[str]) -> Merges:
    """Each emotion as a label of its own."""
    return tuple((emotion, (emotion,)) for emotion in emotions)


def _merged(presets: Mapping[str, Task]) -> tuple[tuple[str, Merges], ...]:
    return tuple((name, _merges(preset.emotions, where=f"tasks.{name}")) for name, preset in presets.items())


def _named(merges: Merges, presets: Iterable[tuple[str, Merges]]) -> str:
    """Name a choice of emotions: the preset that it is, or its emotions."""
    return next((name for name, of in presets if of == merges), ",".join(map(_spelt, merges)))


def _spelt(merge: tuple[str, tuple[str, ...]]) -> str:
    target, sources = merge
    return target if sources == (target,) else f"{target}={'+'.join(sources)}"


def _filter(text: str) -> tuple[str, str]:
    field, sign, value = text.partition("=")
    if not sign or not value:
        raise ConfigError([Fault("--where", f"'{text}'", "FIELD=VALUE, e.g. style=improvised")])
    if field not in FIELDS or field == "emotion":
        raise UnknownNameError("field", field, (f for f in FIELDS if f != "emotion"))
    return field, value


def _column(index: pd.DataFrame, field: str) -> pd.Series:
    if field not in index:
        corpus = index["corpus"].iloc[0] if len(index) else "corpus"
        todo = did_you_mean(field, map(str, index.columns))
        raise ConfigError([Fault(f"--where {field}", f"{corpus} has no '{field}'", "a field of its index", todo)])
    values = index[field].astype("string")
    return values.str.partition("/")[2] if field == "speaker" else values
