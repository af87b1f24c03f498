"""Tasks: which labels a cell tells apart (emotions, or those of another target), and which utterances have them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from serbench.corpora.catalogue import Catalogue
from serbench.corpora.divisions import as_written
from serbench.corpora.entry import (
    AVAILABLE,
    DIMENSION_TARGETS,
    FIELDS,
    TARGET_LABELS,
    Corpus,
    Merge,
    parse_interval,
    parse_merge,
)
from serbench.errors import ConfigError, CorpusError, ProtocolError, UnknownNameError, did_you_mean, listed

DEFAULT_TASK = "paper5"
TARGETS = ("arousal", "gender", "language", "valence")  # of `--target`; without it a task tells emotions apart
OF_PEOPLE = ("gender", "language")  # targets that all utterances of a speaker share

# Branches that tables of the field name (Germanic, Romance, Sinitic); small or isolated families are whole.
_FAMILIES = """
Germanic: en de nl sv da no nb nn is af; Romance: it fr es pt ro ca gl; Slavic: pl ru uk cs sk sl hr sr bs bg mk be;
Baltic: lt lv; Celtic: ga cy; Greek: el; Albanian: sq; Armenic: hy; Basque: eu; Kartvelian: ka; Uralic: fi et hu;
Indo-Aryan: ur hi bn pa mr gu as or ne si; Iranian: fa ps ku; Dravidian: ta te kn ml; Turkic: tr az kk uz ug;
Semitic: am ar he ti mt; Chadic: ha; Cushitic: so om; Atlantic-Congo: sw yo ig zu xh wo; Mongolic: mn;
Sinitic: zh cmn yue wuu nan; Burmo-Qiangic: my; Tai: th lo; Vietic: vi; Khmeric: km; Japonic: ja; Koreanic: ko;
Austronesian: id ms tl fil jv
"""
_FAMILY_OF = {
    language: family
    for family, languages in (of.split(": ") for of in _FAMILIES.replace("\n", " ").strip().split("; "))
    for language in languages.split()
}

Merges = tuple[Merge, ...]


@dataclass(frozen=True, slots=True)
class EmotionTask:
    """Labels to tell apart, and the utterances that have them."""

    name: str
    merges: Merges  # label -> the canonical emotions merged into it
    where: tuple[tuple[str, str], ...] = ()  # field -> value of the utterances that are kept
    target: str = "emotion"
    labels: tuple[str, ...] = ()  # of another target than emotions
    map: str = ""  # the merges, unless serbench ships them under this name
    presets: tuple[tuple[str, Merges], ...] = ()  # for the task of all available emotions only

    @property
    def spelt(self) -> str:
        """All merges, as `--emotions` takes them; none for a target that is not mapped from emotions."""
        return ",".join(label if of == (label,) else f"{label}={'+'.join(of)}" for label, of in self.merges)

    @property
    def emotions(self) -> tuple[str, ...]:
        """Labels, sorted; label codes are positions in it. Those of `language` come with `for_corpora`."""
        return self.labels if self.target != "emotion" else tuple(sorted(label for label, _ in self.merges))

    @property
    def title(self) -> str:
        """Name with its filters, e.g. `paper5 where style=improvised`: the task column of every table."""
        filters = ", ".join(f"{field}={value}" for field, value in self.where)
        return f"{self.name} where {filters}" if filters else self.name

    def for_corpora(self, corpora: Iterable[Corpus]) -> EmotionTask:
        """Return the task with the labels that these corpora give it: the languages, where that is the target."""
        if self.target != "language":
            return self
        languages = tuple(sorted({primary(corpus.language) for corpus in corpora}))
        if len(languages) < 2:
            raise ProtocolError("--target language", f"corpora of one language ({languages[0]})", "two or more")
        return dataclasses.replace(self, labels=languages)

    def for_index(self, index: pd.DataFrame, corpus: Corpus) -> EmotionTask:
        """Return the task that a cell has: where all emotions are asked for, those of utterances that may take part."""
        if self.name != AVAILABLE:
            return self
        rows = self.select(index, corpus)
        merges = tuple((emotion, (emotion,)) for emotion in sorted(rows["emotion"][rows["duplicate"].isna()].unique()))
        return _named(merges, self.presets, self.where)

    def select(self, index: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
        """Return the utterances of this task, their `emotion` column holding the labels."""
        kept = index.assign(emotion=self._labels(index, corpus))
        for field, value in self.where:
            if field not in kept:
                found, todo = f"{corpus.name} has no '{field}'", did_you_mean(field, map(str, kept.columns))
                raise ConfigError(f"--where {field}", found, "a field of its index", todo)
            values = as_written(kept, field)
            if not (values == value).any():
                there = listed(sorted(values.dropna().unique())) or "none"
                raise ConfigError(
                    f"--where {field}={value}", f"no utterance of {corpus.name}; {field} has {there}", "some"
                )
            kept = kept[values == value]
        return kept[kept["emotion"].notna()]

    def notes(self, index: pd.DataFrame, corpus: Corpus) -> list[str]:
        """Word how many utterances have no label of a target, and why."""
        if self.target == "emotion" or not (n := int(self._labels(index, corpus).isna().sum())):
            return []
        if ranges := corpus.targets.get(self.target, {}):
            why = f"{self.target} in none of {', '.join(f'{label} {text}' for label, text in ranges.items())}"
        elif self.target in DIMENSION_TARGETS:
            mapped = {emotion for _, emotions in self.merges for emotion in emotions}
            beyond = sorted(set(index["emotion"].dropna()) - mapped)
            why = f"emotions without a place ({listed(beyond)}) or no emotion" if beyond else "no emotion"
        else:
            why = f"another {self.target} than {', '.join(self.labels)}, or none known"
        return [f"{n} utterances have no label: {why}"]

    def _labels(self, index: pd.DataFrame, corpus: Corpus) -> pd.Series:
        """Label each utterance, None where it has no label: people, then ranges of the entry, then merged emotions."""
        if self.target in OF_PEOPLE:
            if self.target not in index and self.target == "gender":
                found, todo = (
                    "nothing gives the speakers' gender",
                    "Name a group or column gender, or list the speakers",
                )
                raise CorpusError(f"{corpus.name}.genders", found, "it, for --target gender", todo)
            values = index[self.target] if self.target in index else index["corpus"].map(lambda _: None)
            values = values.fillna(corpus.language).map(primary) if self.target == "language" else values
            return values.astype("object").where(values.isin(self.labels), None)
        if ranges := corpus.targets.get(self.target):
            labels = pd.Series(None, index=index.index, dtype="object")
            for label, text in ranges.items():
                labels[index[self.target].between(*parse_interval(text))] = label
            return labels
        if self.target != "emotion" and not (corpus.emotions and self.merges):
            where, found = f"{corpus.name}.targets", f"neither ranges of {self.target} nor emotions to map"
            todo = f"Add `targets: {{{self.target}: {{LABEL: RANGE, ...}}}}` to its entry, with a column {self.target}"
            raise CorpusError(where, found, f"one of the two for --target {self.target}", todo)
        of = {emotion: label for label, emotions in self.merges for emotion in emotions}
        return index["emotion"].map(of).astype("object")


def find_task(
    catalogue: Catalogue, *, task: str | None, emotions: str | None, where: Sequence[str], target: str | None = None
) -> EmotionTask:
    """Resolve `--task NAME`, `--emotions a,b=c+d` or `--target NAME`, and the `--where field=value` filters."""
    given = [f"--{name}" for name, of in (("target", target), ("emotions", emotions), ("task", task)) if of is not None]
    if len(given) > 1:
        raise ConfigError(given[0], f"given together with {given[1]}", "one of the two")
    filters = tuple(sorted((field, value) for field, _, value in (text.partition("=") for text in where)))
    for field, value in filters:
        if not value:
            raise ConfigError("--where", f"'{field}'", "FIELD=VALUE, e.g. style=improvised")
        if field not in FIELDS or field == "emotion":
            raise UnknownNameError("field", field, (known for known in FIELDS if known != "emotion"))
    maps, shipped = (  # of arousal and valence, those of targets
        {name: _merges(task.emotions, catalogue.emotions, where=f"tasks.{name}") for name, task in tasks.items()}
        for tasks in (catalogue.tasks, catalogue.shipped)
    )
    presets = {name: merges for name, merges in maps.items() if name not in DIMENSION_TARGETS}
    wanted = target or task or DEFAULT_TASK
    if emotions is not None:
        found = _named(_merges(emotions.split(","), catalogue.emotions, where="--emotions"), presets.items(), filters)
    elif target == "speaker":
        reason = "folds that share no speaker cannot test it: no speaker who is tested was in the training data"
        raise ConfigError("--target speaker", reason, f"one of {', '.join(TARGETS)}")
    elif target is not None:
        if target not in TARGETS:
            raise UnknownNameError("target", target, TARGETS)
        merges = maps.get(target, ()) if target in DIMENSION_TARGETS else ()
        found = EmotionTask(target, merges, filters, target, TARGET_LABELS.get(target, ()))
    elif wanted == AVAILABLE:
        every = tuple((emotion, (emotion,)) for emotion in catalogue.emotions)
        own = tuple((name, merges) for name, merges in shipped.items() if name not in DIMENSION_TARGETS)
        return EmotionTask(AVAILABLE, every, filters, presets=own)
    elif wanted in TARGETS:
        todo = f"Use --target {wanted}"
        raise ConfigError(f"--task {wanted}", "a target, not a choice of emotions", todo=todo)
    elif wanted not in presets:
        raise UnknownNameError("task", wanted, [*presets, AVAILABLE])
    else:
        found = EmotionTask(wanted, presets[wanted], filters)
    is_in_name = shipped.get(found.name) == found.merges or found.name == found.spelt
    return found if is_in_name else dataclasses.replace(found, map=found.spelt)


def common_task(catalogue: Catalogue, indexes: Mapping[str, pd.DataFrame], *, where: Sequence[str]) -> EmotionTask:
    """Return the task of all emotions that every corpus has, by the name of a preset where it is one."""
    there = {name: set(index["emotion"].dropna()) for name, index in indexes.items()}
    shared = sorted(set.intersection(*there.values()))
    if len(shared) < 2:
        has = "; ".join(f"{name}: {listed(sorted(of)) or 'none'}" for name, of in there.items())
        found = f"{listed(shared) or 'none'} in common ({has})"
        raise ConfigError("--emotions", found, "at least two emotions", "Choose with --emotions or --target")
    return find_task(catalogue, task=None, emotions=",".join(shared), where=where)


def _merges(texts: Sequence[str], known: Sequence[str], *, where: str) -> Merges:
    """Parse the emotions of a task, sorted by label."""
    merges = sorted(parse_merge(text) for text in texts)
    used = [emotion for _, emotions in merges for emotion in emotions]
    for emotion in used:
        if emotion not in known:
            raise UnknownNameError("emotion", emotion, known)
    for label, _ in merges:
        if not label.isidentifier():
            raise ConfigError(where, f"'{label}'", "a name before the =, e.g. high=anger+happiness")
    if len({label for label, _ in merges}) < max(2, len(merges)) or len(set(used)) < len(used):
        raise ConfigError(where, f"'{', '.join(texts)}'", "at least two emotions, each used once")
    return tuple(merges)


def _named(merges: Merges, presets: Iterable[tuple[str, Merges]], filters: Iterable[tuple[str, str]]) -> EmotionTask:
    """Name a choice of emotions: the preset that it is, or its emotions."""
    task = EmotionTask(AVAILABLE, merges, tuple(filters))
    name = next((name for name, of in presets if of == merges), task.spelt)
    return dataclasses.replace(task, name=name or AVAILABLE)


def primary(tag: str) -> str:
    """Return the primary subtag of a BCP 47 tag: the language without region or script."""
    return tag.partition("-")[0].lower()


def family(tag: str) -> str | None:
    """Return the family of a language as Glottolog (https://glottolog.org) has it, None where it is not listed here."""
    return _FAMILY_OF.get(primary(tag))
