"""The folds for other systems, and the scores of their predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serbench.errors import (
    CorpusError,
    Fault,
)
from serbench.grid.request import DEFAULTS, GridRequest
from serbench.grid.stage import asked_task, check_whole
from serbench.protocols import find_protocol
from serbench.workspace import HERE, Workspace

if TYPE_CHECKING:
    import pandas as pd

    from serbench.scores.outside import Scored


def list_folds(corpus: str, request: GridRequest = DEFAULTS, workspace: Workspace = HERE) -> pd.DataFrame:
    """Return the folds of a corpus, for other tools: one row per utterance of the task.

    `fold` is the test group; train on all other folds. `tuning_folds` are the folds, separated by blanks, whose
    held-out predictions choose the settings for this one. `basis` names this state of labels, recordings and folds:
    predictions are comparable with the cells of a report that have the same in `provenance.csv`.

    With the protocol `within-text` a fold is a group of speakers (`speaker_fold`) with a group of texts (`text_fold`):
    train on the rows that differ from it in both. The predictions for its `tuning_folds` come from models that have
    seen neither these folds' speakers nor its own speakers and texts.
    """
    from serbench.features.extract import load_index
    from serbench.grid.utterances import CorpusData
    from serbench.scores.folds import fold_table

    check_whole(request)
    catalogue = workspace.catalogue()
    task = asked_task(catalogue, request)
    data = CorpusData(catalogue.corpus(corpus), load_index(corpus, workspace), "")
    task = task.for_corpora([data.corpus]).for_index(data.index, data.corpus)
    return fold_table(data, task, find_protocol(request.protocol), inner=str(request.inner))


def score_predictions(
    path: Path | str,
    request: GridRequest = DEFAULTS,
    workspace: Workspace = HERE,
    *,
    name: str | None = None,
    features: str = "own",
    allow_missing: bool = False,
) -> list[Scored]:
    """Record the predictions of another system on the folds of `list_folds`, for every report from then on.

    Parameters
    ----------
    path : CSV or parquet with the columns `utterance` and `prediction`, and where there are, `basis` and `fold`.
    request : emotions, filters and protocol that were asked of `list_folds`; nothing else of it is looked at.
    name, features : what tables call the system, as classifier and feature set; the file's name where none is given.
    allow_missing : accept utterances without a prediction; tables then use those that all cells have.

    Raises
    ------
    ScoreError : predictions that are not of these utterances, folds or emotions, or too few of them.
    """
    from serbench.features.extract import extract_features
    from serbench.grid.utterances import CorpusData
    from serbench.scores.given import read_prediction_file
    from serbench.scores.outside import ScoreOptions, System, check_system, plan_scores, record_scores

    system = System(Path(path).stem if name is None else name, features)
    check_system(system)
    check_whole(request)
    find_protocol(request.protocol)
    catalogue = workspace.catalogue()
    task = asked_task(catalogue, request)
    file = read_prediction_file(Path(path))
    extracted = extract_features([catalogue.corpus(corpus).name for corpus in file.by_corpus], (), workspace)
    if extracted.refused:
        raise CorpusError([Fault(corpus, reason) for corpus, reason in extracted.refused.items()])
    data = [CorpusData(catalogue.corpus(e.corpus), e.index, e.partial, e.note) for e in extracted.done]
    task = task.for_corpora([d.corpus for d in data])
    scored = plan_scores(file, data, system, ScoreOptions(task, request.protocol, allow_missing))
    return record_scores(scored, workspace.store())
