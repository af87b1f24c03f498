"""Score predictions of another system: hold them against the folds of a corpus and record them as a cell.

Such a cell stands in tables and tests beside those of the grid, under the rule `given`: how its settings were chosen
is not known. Its record holds the predictions themselves, so that there is one file to check, copy or delete.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serbench import __version__
from serbench.classifiers import has_classifier
from serbench.corpora.divisions import confounded
from serbench.corpora.index import index_fingerprint
from serbench.corpora.tasks import EmotionTask
from serbench.errors import CorpusError, Fault, ScoreError, did_you_mean, listed
from serbench.features.extract import extract_features, load_index
from serbench.grid.cells import Cell, CellRecord, FoldJobs, Outside, write_cell
from serbench.grid.request import DEFAULTS, GridRequest
from serbench.grid.stage import asked_task, check_whole
from serbench.grid.utterances import CorpusData, basis, divisible, grouped, of_task, task_index
from serbench.protocols import InnerRule, Protocol, find_protocol
from serbench.scores.folds import alone, check_has_folds, fold_table
from serbench.scores.given import Prediction, PredictionFile, read_prediction_file
from serbench.scores.metrics import confusion_matrix, uar
from serbench.scores.predictions import UNKNOWN
from serbench.store.results import Store
from serbench.workspace import HERE, Workspace

OWN_FEATURES = "own"
"""What stands for the feature set of a system that names none."""

_NAME = re.compile(r"[^\W_][\w.-]{0,99}")
_FOLDS_AGAIN = "Run `serbench folds` again, and train and predict on what it says"
_OPTIONS = "--task, --emotions, --where, --text-independent"


@dataclass(frozen=True, slots=True)
class System:
    """What tables call another system: in the column of classifiers, and in that of feature sets."""

    name: str
    features: str = OWN_FEATURES


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What is asked of predictions: the task, the protocol, and whether utterances may lack one."""

    task: EmotionTask
    protocol: str = "within"
    allow_missing: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """Predictions of one corpus as they were recorded; `notes` say what a reader of their value must know."""

    corpus: str
    cell: Cell
    uar: float
    n_utterances: int
    n_folds: int
    notes: tuple[str, ...]
    record: CellRecord = dataclasses.field(repr=False)


def check_system(system: System) -> None:
    """Check what a system is to be called.

    Raises
    ------
    ScoreError : no plain name, as it names a file and a row, or the name of a classifier of serbench or a plug-in.
    """
    for option, name in (("--name", system.name), ("--features", system.features)):
        if not _NAME.fullmatch(name) or unicodedata.normalize("NFC", name) != name:
            raise ScoreError(
                option, f"{name!r}, no plain name", "letters, digits, - _ and ., 100 at most", f"Give one with {option}"
            )
    if has_classifier(system.name):
        found = f"'{system.name}' is a classifier of serbench or a plug-in"
        raise ScoreError("--name", found, "a name of its own", "Give one with --name")


def plan_scores(
    file: PredictionFile, corpora: Sequence[CorpusData], system: System, options: ScoreOptions
) -> list[Scored]:
    """Hold a file of predictions against the folds of its corpora; nothing is written.

    Raises
    ------
    ProtocolError : the protocol cannot be carried out on a corpus.
    ScoreError : predictions that are not of these utterances, folds or emotions, or too few of them.
    """
    return [_scored(file, data, system, options) for data in corpora]


def record_scores(scored: Sequence[Scored], store: Store) -> list[Scored]:
    """Write the cells into the store; one of the same name is replaced, which is noted."""
    recorded = []
    for one in scored:
        path = store.cell(one.cell.name)
        replaced = ("replaces what was scored under this name before",) if path.exists() else ()
        write_cell(store, one.record)
        recorded.append(dataclasses.replace(one, notes=(*one.notes, *replaced)))
    return recorded


@dataclass(frozen=True, slots=True)
class _Task:
    """The utterances of a task in one corpus: emotions, people, folds, their basis, and which cannot be read."""

    emotions: Mapping[str, str]
    people: Mapping[str, str]
    folds: Mapping[str, tuple[str, ...]]
    basis: str
    title: str
    unreadable: Mapping[str, str]

    @property
    def fold_of(self) -> dict[str, str]:
        return {u: name for name, utterances in self.folds.items() for u in utterances}


def _scored(file: PredictionFile, data: CorpusData, system: System, options: ScoreOptions) -> Scored:
    corpus = data.corpus.name
    where = f"{file.name}, {corpus}"
    options = dataclasses.replace(options, task=options.task.for_index(data.index, data.corpus))
    rows = file.by_corpus[corpus]
    protocol = find_protocol(options.protocol)
    check_has_folds(protocol)
    task = _task(data, options.task, protocol, where)
    _check_known(rows, data, where)
    of_task = {u: rows[u] for u in task.emotions if u in rows}
    _check_same_state(of_task, task, where)
    given = {u: row.emotion for u, row in of_task.items() if row.emotion}
    _check_emotions(given, options.task, where)
    missing = _check_complete(given, task, where, allowed=options.allow_missing)
    cell = _cell(corpus, system, options)
    record = CellRecord(
        cell=cell,
        **_of_corpus(data, options.task, protocol),
        serbench=__version__,
        **_predictions(file, given, task, options.task),
    )
    notes = tuple(_notes(rows, task, missing))
    n_folds = len(record.folds)
    return Scored(corpus, cell, _uar(given, task, options.task), len(given), n_folds, notes, record)


def _cell(corpus: str, system: System, options: ScoreOptions) -> Cell:
    return Cell(
        protocol=options.protocol,
        task=options.task.title,
        train=corpus,
        corpus=corpus,
        features=system.features,
        classifier=system.name,
        space=UNKNOWN,
        scaling=UNKNOWN,
        inner=UNKNOWN,
        preprocessing=UNKNOWN,
        seed=0,  # a number is needed, and it says nothing: systems with several seeds have a name for each
        map=options.task.map,
    )


def _of_corpus(data: CorpusData, task: EmotionTask, protocol: Protocol) -> dict[str, Any]:
    """Say which state of a corpus a cell is of, and what every table must tell of it."""
    person = data.corpus.person
    notes = [data.note, confounded(task_index(data, task), person)]
    notes += [protocol.independence_of(person)] if person != "speaker" else []
    return {
        "inner_title": UNKNOWN,
        "emotions": task.emotions,
        "task_map": task.spelt,
        "indexes": {data.corpus.name: index_fingerprint(data.index)},
        "tested": (data.corpus.name,),
        "partials": {data.corpus.name: data.partial} if data.partial else {},
        "notes": tuple(note for note in notes if note),
        "persons": {data.corpus.name: person},
    }


def _predictions(file: PredictionFile, given: Mapping[str, str], task: _Task, emotions: EmotionTask) -> dict[str, Any]:
    """Set down truth and predictions, these as codes in the order of the utterances; None where there is none."""
    code = {emotion: i for i, emotion in enumerate(emotions.emotions)}
    folds = {name: tuple(u for u in utterances if u in given) for name, utterances in task.folds.items()}
    codes = tuple(code[given[u]] if u in given else None for u in task.emotions)
    return {
        "basis": task.basis,
        "utterances": {
            "id": list(task.emotions),
            "emotion": list(task.emotions.values()),
            "speaker": [task.people[u] for u in task.emotions],
            "gender": [None] * len(task.emotions),
            "present": [u in given for u in task.emotions],
        },
        "missing": {u: task.unreadable.get(u, "no prediction") for u in task.emotions if u not in given},
        "folds": tuple(FoldJobs(name) for name, utterances in folds.items() if utterances),
        "sets": {name: utterances for name, utterances in folds.items() if utterances},
        "outside": Outside(file.name, file.sha256, codes),
    }


def _uar(given: Mapping[str, str], task: _Task, emotions: EmotionTask) -> float:
    code = {emotion: i for i, emotion in enumerate(emotions.emotions)}
    truth = np.array([code[task.emotions[u]] for u in given])
    prediction = np.array([code[emotion] for emotion in given.values()])
    return float(uar(confusion_matrix(truth, prediction, n_labels=len(code))))


def _task(data: CorpusData, task: EmotionTask, protocol: Protocol, where: str) -> _Task:
    whole = grouped(data, protocol)
    selected = of_task(data, whole, task)
    if selected.empty:
        raise ScoreError(where, f"no utterance of {task.title}", "some", "Choose emotions with --emotions")
    emotions = dict(zip(selected["utterance"], selected["emotion"], strict=True))
    people = dict(zip(selected["utterance"], selected[data.corpus.person], strict=True))
    folds = {f.name: f.test for f in protocol.folds(divisible(alone(selected)), InnerRule("none"))}
    problems = selected[selected["problem"].notna()]
    unreadable = {str(u): str(why) for u, why in zip(problems["utterance"], problems["problem"], strict=True)}
    return _Task(emotions, people, folds, basis(selected, whole, task), task.title, unreadable)


def _check_known(rows: Mapping[str, Prediction], data: CorpusData, where: str) -> None:
    known = set(data.index["utterance"])
    unknown = sorted(set(rows) - known)
    if unknown:
        found = f"{len(unknown)} utterances that the corpus does not have: {listed(map(repr, unknown))}"
        todo = did_you_mean(unknown[0], sorted(known)) or "Take them from `serbench folds`"
        raise ScoreError(where, found, f"ids such as {min(known)}", todo)


def _check_same_state(rows: Mapping[str, Prediction], task: _Task, where: str) -> None:
    """Check that basis and folds, where the file has them, are the present ones."""
    other = sorted({row.basis for row in rows.values()} - {"", task.basis})
    if other:
        found = f"predictions for basis {listed(other)}: labels, recordings or folds were others, or the task"
        todo = f"If the folds were of another task, name it as for `serbench folds`: {_OPTIONS}. {_FOLDS_AGAIN}"
        raise ScoreError(where, found, f"{task.basis}, that of {task.title}", todo)
    own = task.fold_of
    moved = [f"{u} in fold {row.fold}, not {own[u]}" for u, row in rows.items() if not _is_fold(row.fold, own[u])]
    if moved:
        raise ScoreError(where, f"other folds than the present ones: {listed(moved)}", "those", _FOLDS_AGAIN)


def _is_fold(written: str, fold: str) -> bool:
    """Whether a file means this fold; tools that take names for numbers write 3 or 3.0 for 03."""
    return not written or _as_number(written) == _as_number(fold)


def _as_number(name: str) -> str:
    number = re.fullmatch(r"'?0*([0-9]+)(?:\.0)?", name)
    return number[1] if number else name.removeprefix("'")  # a quote keeps a spreadsheet from running a name


def _check_emotions(given: Mapping[str, str], task: EmotionTask, where: str) -> None:
    unknown = Counter(emotion for emotion in given.values() if emotion not in task.emotions)
    if unknown:
        found = [f"{emotion!r} ({n} utterances)" for emotion, n in unknown.most_common()]
        todo = did_you_mean(next(iter(unknown)), task.emotions) or "Choose the task with --task or --emotions"
        expected = f"those of {task.title}: {', '.join(task.emotions)}"
        raise ScoreError(where, f"emotions that the task does not have: {listed(found)}", expected, todo)


def _check_complete(given: Mapping[str, str], task: _Task, where: str, *, allowed: bool) -> list[str]:
    """Return the utterances without a prediction: few chosen well would raise every value, so they must be asked for.

    An emotion without any prediction gives no value and is refused always.
    """
    missing = [u for u in task.emotions if u not in given and u not in task.unreadable]
    bare = sorted(set(task.emotions.values()) - {task.emotions[u] for u in given})
    if bare:
        raise ScoreError(where, f"no prediction for any utterance of {listed(bare)}", f"all of {task.title}")
    if missing and not allowed:
        found = f"no prediction for {len(missing)} of {len(task.emotions)} utterances: {listed(missing)}"
        todo = "With --allow-missing they count as missing, and tables use the utterances that all cells have"
        raise ScoreError(where, found, "one for each", todo)
    return missing


def _notes(rows: Mapping[str, Prediction], task: _Task, missing: Sequence[str]) -> Iterator[str]:
    if missing:
        yield f"{len(missing)} of {len(task.emotions)} utterances have no prediction: {listed(missing)}"
        yield "tables use the utterances that all cells have; a cell that lacks more than 5 % of them is marked instead"
    untested = [name for name, utterances in task.folds.items() if set(utterances) <= set(missing)]
    if untested:
        yield f"whole folds are without predictions: {listed(untested)}"
    beyond = len(set(rows) - set(task.emotions))
    if beyond:
        yield f"{beyond} predictions are of utterances outside {task.title}, and ignored"
    if not any(row.basis for row in rows.values()):
        yield "the file has no column 'basis', so that nothing shows which state of labels and folds it was made for"


def list_folds(corpus: str, request: GridRequest = DEFAULTS, workspace: Workspace = HERE) -> pd.DataFrame:
    """Return the folds of a corpus, for other tools: one row per utterance of the task.

    `fold` is the test group; train on all other folds. `tuning_folds` are the folds, separated by blanks, whose
    held-out predictions choose the settings for this one. `basis` names this state of labels, recordings and folds:
    predictions are comparable with the cells of a report that have the same in `provenance.csv`.

    With the protocol `within-text` a fold is a group of speakers (`speaker_fold`) with a group of texts (`text_fold`):
    train on the rows that differ from it in both. The predictions for its `tuning_folds` come from models that have
    seen neither these folds' speakers nor its own speakers and texts.
    """
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
