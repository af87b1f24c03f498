"""Tasks: which emotions a cell tells apart, how they merge, and which utterances it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serbench.corpora.catalogue import Catalogue
from serbench.corpora.schema import EMOTIONS, FIELDS
from serbench.errors import ConfigError, Fault, UnknownNameError, did_you_mean, listed

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_TASK = "paper5"


@dataclass(frozen=True, slots=True)
class EmotionTask:
    """Emotions to tell apart: target -> the canonical emotions merged into it; `where` keeps field -> value."""

    name: str
    merges: tuple[tuple[str, tuple[str, ...]], ...]
    where: tuple[tuple[str, str], ...] = ()
    target: str = "emotion"

    @property
    def emotions(self) -> tuple[str, ...]:
        """Targets, sorted; label codes are positions in it."""
        return tuple(sorted(target for target, _ in self.merges))

    @property
    def title(self) -> str:
        """Name with its filters, e.g. `paper5 where style=improvised`: the task column of every table."""
        filters = ", ".join(f"{field}={value}" for field, value in self.where)
        return f"{self.name} where {filters}" if filters else self.name

    def select(self, index: pd.DataFrame) -> pd.DataFrame:
        """Return the utterances of this task, their `emotion` column holding the targets."""
        target = {source: target for target, sources in self.merges for source in sources}
        kept = index.assign(emotion=index["emotion"].map(target))
        for field, value in self.where:
            values = _column(kept, field)
            if not (values == value).any():
                there = listed(sorted(values.dropna().unique())) or "none"
                raise ConfigError([Fault(f"--where {field}={value}", f"no utterance; {field} has {there}", "some")])
            kept = kept[values == value]
        return kept[kept["emotion"].notna()]


def find_task(catalogue: Catalogue, *, task: str | None, emotions: str | None, where: Sequence[str]) -> EmotionTask:
    """Resolve `--task NAME` or `--emotions a,b=c+d`, and the `--where field=value` filters.

    Raises
    ------
    UnknownNameError : no such task, emotion or field.
    ConfigError : both a task and emotions, fewer than two emotions, an emotion used twice, a malformed filter.
    """
    filters = tuple(sorted(_filter(text) for text in where))
    if task is not None and emotions is not None:
        raise ConfigError([Fault("--emotions", "given together with --task", "one of the two")])
    if emotions is not None:
        merges = _merges(emotions.split(","), where="--emotions")
        name = next((n for n, t in catalogue.tasks.items() if _merges(t.emotions, where=n) == merges), None)
        return EmotionTask(name or ",".join(_spelt(merge) for merge in merges), merges, filters)
    wanted = task or DEFAULT_TASK
    if wanted not in catalogue.tasks:
        raise UnknownNameError("task", wanted, catalogue.tasks)
    return EmotionTask(wanted, _merges(catalogue.tasks[wanted].emotions, where=f"tasks.{wanted}"), filters)


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


def _merges(texts: Sequence[str], *, where: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
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
