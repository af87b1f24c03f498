"""The folds of a corpus as a table, for tools that train and predict by themselves."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from serbench.corpora.tasks import EmotionTask
from serbench.errors import CorpusError, Fault, ProtocolError, listed
from serbench.grid.utterances import CorpusData, basis, check_has_emotions, divisible, grouped, of_task
from serbench.protocols import Protocol

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["utterance", "file", "start_s", "end_s", "speaker", "emotion"]
"""What the table takes from the index."""


def fold_table(data: CorpusData, task: EmotionTask, protocol: Protocol, *, inner: str) -> pd.DataFrame:
    """Return one row per utterance of a task whose recording can be read; see `serbench.list_folds`.

    Raises
    ------
    CorpusError, ProtocolError : the corpus lacks an emotion of the task, or cannot be divided so.
    """
    check_has_folds(protocol)
    whole = grouped(data, protocol)
    selected = of_task(data, whole, task)
    if selected.empty:
        raise CorpusError([Fault(data.corpus.name, f"no utterance of {task.title}", "some")])
    check_has_emotions(data.corpus.name, selected, task)
    rows = divisible(alone(selected))
    folds = protocol.folds(rows, protocol.rule(inner, rows))
    fold = {u: of.name for of in folds for u in of.test}
    tuning = {f.name: [name for v in f.inner for name in sorted({fold[u] for u in v.test})] for f in folds}
    table = _readable(selected)
    groups = table[["group", "text_group"]].astype(str) if protocol.holds_out_texts else None
    table = table[COLUMNS].assign(fold=table["utterance"].map(fold))
    if groups is not None:
        table = table.assign(speaker_fold=groups["group"], text_fold=groups["text_group"])
    table = table.assign(tuning_folds=[" ".join(tuning[name]) for name in table["fold"]])
    return table.assign(basis=basis(selected, whole, task))


def alone(selected: pd.DataFrame) -> pd.DataFrame:
    """Return the utterances of one corpus as a table to divide, all of which may be tested."""
    return selected.drop(columns="person").assign(tested=True)


def check_has_folds(protocol: Protocol) -> None:
    """Check that a protocol divides a corpus into folds that one table of that corpus can tell.

    Raises
    ------
    ProtocolError : it has several corpora, or tests a part of one only.
    """
    if protocol.is_across or protocol.needs:
        todo = "Across corpora, train on whole corpora; what is tested is in the index (serbench.load_index)"
        raise ProtocolError(
            "--protocol", f"{protocol.name}, which has no table of folds", "within or within-text", todo
        )


def _readable(selected: pd.DataFrame) -> pd.DataFrame:
    """Leave out what nobody can predict, and say so."""
    damaged = selected["problem"].notna()
    if damaged.any():
        named = listed(f"{row.utterance} ({row.problem})" for row in selected[damaged].itertuples())
        warnings.warn(f"left out, as they cannot be read: {named}", stacklevel=2)
    return selected[~damaged]
