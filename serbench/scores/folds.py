"""The folds of a corpus as a table, for tools that train and predict by themselves."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serbench.corpora.tasks import EmotionTask
from serbench.errors import CorpusError, Fault, ProtocolError, listed
from serbench.grid.members import CorpusData, check_has_emotions, task_index
from serbench.grid.records import basis
from serbench.protocols import Design, Group, InnerRule, Protocol, Side, inner_rule, restrict

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
    selected = task_index(data, task)
    if selected.empty:
        raise CorpusError([Fault(data.corpus.name, f"no utterance of {task.title}", "some")])
    check_has_emotions(data.corpus.name, selected, task)
    whole = protocol.groups(data.index, data.corpus)
    groups = [group for group in restrict(whole, set(selected["utterance"])) if group.utterances]
    evaluations = protocol.evaluations(design_of(data, groups, inner_rule(inner, len(groups))))
    fold = {u: evaluation.name for evaluation in evaluations for u in evaluation.test}
    tuning = {e.name: [name for v in e.inner for name in sorted({fold[u] for u in v.test})] for e in evaluations}
    table = _readable(selected)[COLUMNS]
    table = table.assign(fold=table["utterance"].map(fold))
    table = _with_groups(table, groups) if protocol.holds_out_texts else table
    table = table.assign(tuning_folds=[" ".join(tuning[name]) for name in table["fold"]])
    return table.assign(basis=basis(selected, whole, task))


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


def design_of(data: CorpusData, groups: Sequence[Group], rule: InnerRule) -> Design:
    """Return one corpus alone as a protocol meets it."""
    return Design((Side(data.corpus.name, data.language, tuple(groups)),), (), rule)


def _readable(selected: pd.DataFrame) -> pd.DataFrame:
    """Leave out what nobody can predict, and say so."""
    damaged = selected["problem"].notna()
    if damaged.any():
        named = listed(f"{row.utterance} ({row.problem})" for row in selected[damaged].itertuples())
        warnings.warn(f"left out, as they cannot be read: {named}", stacklevel=2)
    return selected[~damaged]


def _with_groups(table: pd.DataFrame, groups: Sequence[Group]) -> pd.DataFrame:
    of = {u: group for group in groups for u in group.utterances}
    return table.assign(
        speaker_fold=[of[u].name for u in table["utterance"]], text_fold=[of[u].texts[u] for u in table["utterance"]]
    )
