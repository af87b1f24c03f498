"""The folds of a corpus for other systems, and what these predict, recorded as a cell beside those of the grid.

A file of predictions is CSV or parquet with the columns `utterance` and `prediction`; `basis` and `fold`, where it has
them, must be those of the present folds. Its cell has the rule `given`: nobody knows how its settings were chosen.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from serbench import __version__
from serbench.classifiers import has_classifier
from serbench.corpora.divisions import confounded
from serbench.corpora.documents import read_whole
from serbench.corpora.index import index_fingerprint
from serbench.corpora.tables import parse_csv, read_parquet
from serbench.corpora.tasks import EmotionTask
from serbench.errors import CorpusError, Fault, ProtocolError, ScoreError, did_you_mean, listed, printable
from serbench.features.extract import extract_features, load_index
from serbench.grid.cells import Cell, CellRecord, FoldJobs, Outside, write_cell
from serbench.grid.request import DEFAULTS, GridRequest
from serbench.grid.run import asked_task, check_whole
from serbench.grid.utterances import CorpusData, basis, check_has_emotions, divisible, grouped, of_task, task_index
from serbench.protocols import Protocol, find_protocol
from serbench.scores.metrics import confusions, uar
from serbench.scores.predictions import UNKNOWN
from serbench.workspace import HERE, Workspace

MOST_ROWS = 500_000
"""Rows of a file of predictions: more than any corpus has utterances."""

_COLUMNS = ("utterance", "prediction", "basis", "fold")
_START = "Start from the table that `serbench folds` writes"
_FOLDS_AGAIN = "Run `serbench folds` again, and train and predict on what it says"


@dataclass(frozen=True, slots=True)
class Scored:
    """Predictions of one corpus as they were recorded; `notes` say what a reader of their value must know."""

    record: CellRecord = dataclasses.field(repr=False)
    uar: float
    n_utterances: int
    notes: tuple[str, ...]

    @property
    def cell(self) -> Cell:
        """The cell that they are."""
        return self.record.cell


def list_folds(corpus: str, request: GridRequest = DEFAULTS, workspace: Workspace = HERE) -> pd.DataFrame:
    """Return the folds of a corpus, for other tools: one row per utterance of the task that can be read.

    `fold` is the test group; train on all other folds. `tuning_folds` are the folds, separated by blanks, whose
    held-out predictions choose the settings for this one. `basis` names this state of labels, recordings and folds.

    With the protocol `within-text` a fold is a group of speakers (`speaker_fold`) with a group of texts (`text_fold`):
    train on the rows that differ from it in both. The predictions for its `tuning_folds` come from models that have
    seen neither these folds' speakers nor its own speakers and texts.

    Raises
    ------
    CorpusError, ProtocolError : the corpus cannot be read or divided so, or an emotion of the task is absent from it.
    """
    check_whole(request)
    catalogue = workspace.catalogue()
    task, protocol = asked_task(catalogue, request), find_protocol(request.protocol)
    data = CorpusData(catalogue.corpus(corpus), load_index(corpus, workspace), "")
    table = _with_folds(data, task.for_corpora([data.corpus]).for_index(data.index, data.corpus), protocol, request)
    if (damaged := table["problem"].notna()).any():
        named = listed(f"{row.utterance} ({row.problem})" for row in table[damaged].itertuples())
        warnings.warn(f"left out, as they cannot be read: {named}", stacklevel=2)
    table = table[~damaged].assign(fold=table["fold"].astype(str))
    if protocol.holds_out_texts:
        table = table.assign(speaker_fold=table["group"].astype(str), text_fold=table["text_group"].astype(str))
    of_folds = [name for name in ("fold", "speaker_fold", "text_fold", "tuning_folds", "basis") if name in table]
    return table[["utterance", "file", "start_s", "end_s", "speaker", "emotion", *of_folds]]


def _with_folds(data: CorpusData, task: EmotionTask, protocol: Protocol, request: GridRequest) -> pd.DataFrame:
    """Return the utterances of a task with the columns `fold`, `tuning_folds` and `basis`."""
    if protocol.is_across or protocol.needs:
        found = f"{protocol.name}, which has no table of folds"
        todo = "Across corpora, train on whole corpora; what is tested is in the index (serbench.load_index)"
        raise ProtocolError("--protocol", found, "within or within-text", todo)
    whole = grouped(data, protocol)
    selected = of_task(data, whole, task)
    check_has_emotions(data.name, selected, task)
    rows = divisible(selected.drop(columns="person").assign(tested=True))
    folds = protocol.folds(rows, protocol.rule(str(request.inner), rows))
    fold_of = {utterance: fold.name for fold in folds for utterance in fold.test}
    tuning = {f.name: " ".join(n for v in f.inner for n in sorted({fold_of[u] for u in v.test})) for f in folds}
    fold = pd.Categorical(selected["utterance"].map(fold_of), categories=list(tuning))
    return selected.assign(fold=fold, tuning_folds=fold.map(tuning).astype(str), basis=basis(selected, whole, task))


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
    name = Path(path).stem if name is None else name
    _check_names(name, features)
    check_whole(request)
    find_protocol(request.protocol)
    catalogue = workspace.catalogue()
    task = asked_task(catalogue, request)
    file, rows = read_prediction_file(Path(path))
    by_corpus = dict(list(rows.groupby(rows["utterance"].str.partition("/")[0], sort=False)))
    extracted = extract_features([catalogue.corpus(str(corpus)).name for corpus in by_corpus], (), workspace)
    if extracted.refused:
        raise CorpusError([Fault(corpus, reason) for corpus, reason in extracted.refused.items()])
    every = [CorpusData(catalogue.corpus(e.corpus), e.index, e.partial, e.note) for e in extracted.done]
    task, request = task.for_corpora([data.corpus for data in every]), dataclasses.replace(request, inner="none")
    scored = []
    for data in every:  # all of them are checked before one is written
        axes = {"features": features, "classifier": name, "train": data.name, "corpus": data.name}
        scored.append(_score(file, by_corpus[data.name], data, task, request, axes, allow_missing=allow_missing))
    store = workspace.store()
    for i, one in enumerate(scored):
        if store.cell(one.cell.name).exists():
            scored[i] = dataclasses.replace(one, notes=(*one.notes, "replaces what was scored under this name before"))
        write_cell(store, one.record)
    return scored


def _check_names(name: str, features: str) -> None:
    """Check that a system and its features can be called so in tables and files."""
    for option, of in (("--name", name), ("--features", features)):
        if not re.fullmatch(r"[^\W_][\w.-]{0,99}", of) or unicodedata.normalize("NFC", of) != of:
            expected = "letters, digits, - _ and ., 100 at most"
            raise ScoreError(option, f"{of!r}, no plain name", expected, f"Give one with {option}")
    if has_classifier(name):
        found = f"'{name}' is a classifier of serbench or a plug-in"
        raise ScoreError("--name", found, "a name of its own", "Give one with --name")


def read_prediction_file(path: Path) -> tuple[Outside, pd.DataFrame]:
    """Read the name and digest of a file of predictions, and its rows: strings, of which only the ids are never empty.

    Raises
    ------
    ScoreError : absent, unreadable, too large, without the columns needed, or with an utterance twice.
    """
    where = printable(path.name)
    try:
        content = read_whole(path, at_most=2**28)
        if path.suffix.lower() == ".parquet":
            table = read_parquet(path, most_rows=MOST_ROWS)
            table = table.reset_index() if table.index.name == "utterance" else table
        else:
            head = content.partition(b"\n")[0].decode("utf-8-sig")
            known = {d: len({name.strip(' "\r') for name in head.split(d)} & set(_COLUMNS)) for d in ",;\t"}
            table = parse_csv(content, max(known, key=lambda d: known[d]), most_rows=MOST_ROWS)
        table = table.set_axis([str(name).strip() for name in table.columns], axis="columns")
        for column in ("utterance", "prediction"):
            if column not in table:
                found = f"no column '{column}', but {listed(map(repr, table.columns))}"
                raise ValueError(f"{found}. {did_you_mean(column, table.columns)}".rstrip(" ."))
        table = table[[name for name in table if name in _COLUMNS]]
        if table.columns.has_duplicates:
            raise ValueError(f"two columns are called '{table.columns[table.columns.duplicated()][0]}'")
    except FileNotFoundError as error:
        raise ScoreError(printable(str(path)), "no such file", "a CSV or parquet file of predictions") from error
    except (OSError, ValueError, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise ScoreError(where, f"cannot be read ({why})", "a CSV file in UTF-8, or parquet", _START) from error
    if table.empty:
        raise ScoreError(where, "no predictions", "a row for each utterance", _START)
    table = table.astype("string").fillna("").astype(object).reset_index(drop=True)
    table["utterance"] = table["utterance"].map(lambda text: unicodedata.normalize("NFC", text))
    others = table.columns.drop("utterance")
    table[others] = table[others].apply(lambda column: column.str.strip())
    if (bare := table.index[table["utterance"].str.strip() == ""]).size:
        raise ScoreError(f"{where}, row {bare[0] + 1}", "a row without an utterance", "its id", _START)
    if (doubled := table["utterance"][table["utterance"].duplicated()].unique()).size:
        found = f"utterances that occur twice: {listed(doubled)}"
        raise ScoreError(where, found, "one row per utterance", "Keep one of each")
    return Outside(where, hashlib.sha256(content).hexdigest(), ()), table


def _score(
    file: Outside,
    rows: pd.DataFrame,
    data: CorpusData,
    task: EmotionTask,
    request: GridRequest,
    axes: dict[str, str],
    *,
    allow_missing: bool,
) -> Scored:
    """Hold the predictions of a corpus against its folds, and make the record of their cell; nothing is written."""
    protocol, task = find_protocol(request.protocol), task.for_index(data.index, data.corpus)
    selected = _with_folds(data, task, protocol, request)
    read = rows.rename(columns={"basis": "read_basis", "fold": "read_fold"}).set_index("utterance")
    table = selected.join(read.reindex(selected["utterance"], fill_value=""), on="utterance")
    table["is_given"] = table["prediction"] != ""
    table["is_missing"] = ~table["is_given"] & table["problem"].isna()
    _check(f"{file.file}, {data.name}", rows, table, data, task, allow_missing=allow_missing)
    code = {emotion: i for i, emotion in enumerate(task.emotions)}
    file = dataclasses.replace(file, predictions=tuple(map(code.get, table["prediction"])))
    given = table[table["is_given"]]
    pairs = pd.DataFrame({"truth": given["emotion"].map(code), "prediction": given["prediction"].map(code)})
    value = float(uar(confusions(pairs, n_emotions=len(code))))
    record = _record(file, table, data, task, protocol, axes)
    return Scored(record, value, len(given), tuple(_remarks(rows, table, task)))


def _record(
    file: Outside, table: pd.DataFrame, data: CorpusData, task: EmotionTask, protocol: Protocol, axes: dict[str, str]
) -> CellRecord:
    """Make the record of the cell of another system, with all that the report must know of it."""
    person, given, absent = data.corpus.person_field, table[table["is_given"]], table[~table["is_given"]]
    folds = {str(name): tuple(of) for name, of in given.groupby("fold", observed=True)["utterance"]}
    independence = protocol.independence_of(person) if person != "speaker" else ""
    notes = data.note, confounded(task_index(data, task), person), independence
    axes = {**axes, "protocol": protocol.name, "task": task.title, "map": task.map}
    axes |= dict.fromkeys(("space", "scaling", "inner", "preprocessing"), UNKNOWN)
    return CellRecord(
        cell=Cell(**axes, seed=0),  # systems of several seeds have names
        serbench=__version__,
        inner_title=UNKNOWN,
        emotions=task.emotions,
        task_map=task.spelt,
        indexes={data.name: index_fingerprint(data.index)},
        tested=(data.name,),
        partials={data.name: data.partial} if data.partial else {},
        notes=tuple((data.name, note) for note in notes if note),
        persons={data.name: person},
        basis=table["basis"].iloc[0],
        utterances={
            "id": table["utterance"].tolist(),
            "emotion": table["emotion"].tolist(),
            "speaker": table[person].tolist(),
            "present": table["is_given"].tolist(),
        },
        missing=dict(zip(absent["utterance"], absent["problem"].fillna("no prediction"), strict=True)),
        folds=tuple(map(FoldJobs, folds)),
        sets=folds,
        outside=file,
    )


def _remarks(rows: pd.DataFrame, table: pd.DataFrame, task: EmotionTask) -> Iterator[str]:
    """Yield what a reader of the value must know of the predictions."""
    if n_missing := table["is_missing"].sum():
        missing = listed(table["utterance"][table["is_missing"]])
        yield f"{n_missing} of {len(table)} utterances have no prediction: {missing}"
        yield "tables use the utterances that all cells have; a cell without more than 5 % of them is marked"
    whole = table.groupby("fold", observed=True)["is_missing"].all()
    if untested := [str(name) for name in whole.index[whole]]:
        yield f"whole folds are without predictions: {listed(untested)}"
    if beyond := (~rows["utterance"].isin(table["utterance"])).sum():
        yield f"{beyond} predictions are of utterances outside {task.title}, and ignored"
    if "basis" not in rows or not rows["basis"].any():
        yield "the file has no column 'basis': nothing shows which state of labels and folds it was made for"


def _check(
    where: str, rows: pd.DataFrame, table: pd.DataFrame, data: CorpusData, task: EmotionTask, *, allow_missing: bool
) -> None:
    """Check that predictions are of the present utterances, labels, folds and emotions, and complete.

    Few predictions chosen well would raise every value, so missing ones must be asked for. An emotion without any
    prediction gives no value and is refused always.
    """
    if unknown := sorted(set(rows["utterance"]) - set(data.index["utterance"])):
        found = f"{len(unknown)} utterances that the corpus does not have: {listed(map(repr, unknown))}"
        todo = did_you_mean(unknown[0], sorted(data.index["utterance"])) or "Take them from `serbench folds`"
        raise ScoreError(where, found, f"ids such as {data.index['utterance'].min()}", todo)
    basis = table["basis"].iloc[0]
    if other := sorted(set(table.get("read_basis", ())) - {"", basis}):
        found = f"predictions for basis {listed(other)}: labels, recordings or folds were others, or the task"
        options = "--task, --emotions, --where, --text-independent"
        todo = f"If the folds were of another task, name it as for `serbench folds`: {options}. {_FOLDS_AGAIN}"
        raise ScoreError(where, found, f"{basis}, that of {task.title}", todo)
    places = zip(table["utterance"], table.get("read_fold", table["fold"]), table["fold"], strict=True)
    if moved := [f"{u} in fold {read}, not {own}" for u, read, own in places if read and _plain(read) != _plain(own)]:
        raise ScoreError(where, f"other folds than the present ones: {listed(moved)}", "those", _FOLDS_AGAIN)
    given, missing = table[table["is_given"]], table["utterance"][table["is_missing"]]
    if len(others := given["prediction"][~given["prediction"].isin(task.emotions)].value_counts()):
        found = listed(f"{emotion!r} ({n} utterances)" for emotion, n in others.items())
        todo = did_you_mean(others.index[0], task.emotions) or "Choose the task with --task or --emotions"
        expected = f"those of {task.title}: {', '.join(task.emotions)}"
        raise ScoreError(where, f"emotions that the task does not have: {found}", expected, todo)
    if bare := sorted(set(task.emotions) - set(given["emotion"])):
        raise ScoreError(where, f"no prediction for any utterance of {listed(bare)}", f"all of {task.title}")
    if len(missing) and not allow_missing:
        found = f"no prediction for {len(missing)} of {len(table)} utterances: {listed(missing)}"
        todo = "With --allow-missing they count as missing, and tables use the utterances that all cells have"
        raise ScoreError(where, found, "one for each", todo)


def _plain(fold: str) -> str:
    """Undo what tools make of a fold's name: 3 or 3.0 of 03, and a quote that keeps a spreadsheet from running it."""
    number = re.fullmatch(r"'?0*([0-9]+)(?:\.0)?", fold)
    return number[1] if number else fold.removeprefix("'")
