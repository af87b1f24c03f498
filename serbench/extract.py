"""Extraction: corpora -> index tables -> feature tables.

One pass over a corpus decodes each utterance once, fingerprints its samples, and computes what the store lacks of
every feature set asked for. Parts are written while it runs; a recording whose samples changed is computed anew,
because parts are looked up by utterance and fingerprint. What cannot be computed becomes a row of the failures
table, never a row of NaN.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from serbench.audio import Recording, decode, read_header, to_mono
from serbench.corpora.duplicates import cross_speaker_duplicates
from serbench.corpora.labels import Scan
from serbench.errors import AudioError, CorpusError, Fault, FeatureError
from serbench.features import Extractor, FeatureSet
from serbench.features.own import OwnFeatures
from serbench.progress import Progress, silent
from serbench.recordings import FileState, Measured, read_measured, write_measured
from serbench.store import (
    FeatureTable,
    Store,
    read_features,
    read_frame,
    stored_rows,
    write_frame,
    write_json,
    write_part,
)

FLUSH_S = 5.0
"""Seconds between two parts: what a killed run loses at most."""

FLUSH_ROWS = 2000

Row = tuple[str, str, np.ndarray]
"""Utterance, audio hash, features."""


@dataclass(frozen=True, slots=True)
class Result:
    """One utterance done: what was measured, its features by set, and the sets that failed with their reason."""

    measured: Measured
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Extraction:
    """What one corpus gave: its index, counts per feature set, and the failures table."""

    corpus: str
    index: pd.DataFrame
    computed: Mapping[str, int]
    stored: Mapping[str, int]
    failures: pd.DataFrame


def extract_corpus(
    scan: Scan,
    feature_sets: Sequence[FeatureSet],
    store: Store,
    *,
    jobs: int,
    partial: bool = False,
    rehash: bool = False,
    progress: Progress = silent,
) -> Extraction:
    """Index a corpus and compute what the store lacks of the feature sets.

    Parameters
    ----------
    rehash : read every recording again, also where its file is as it was.

    Raises
    ------
    CorpusError : the sampling rate is not the expected one and `partial` is not given.
    StoreError : the store cannot be written.
    """
    corpus = scan.corpus.name
    for feature_set in feature_sets:
        write_json(store.features(feature_set.key, "set.json"), feature_set.description)
    stored = {s.name: stored_rows(store.features(s.key, corpus)) for s in feature_sets}
    known = {} if rehash else read_measured(store, corpus)
    results, todo = _split(scan, known, stored)
    if not partial:
        check_first_rates(scan, todo)
    results += _compute(scan, feature_sets, store, stored, todo, jobs=jobs, progress=progress)
    measured = [result.measured for result in results]
    note = rate_note(scan, measured, partial=partial)
    if todo or len(known) != len(measured):
        write_measured(store, corpus, measured)
    index = build_index(scan, measured)
    write_frame(store.index(corpus), index, metadata={"partial": note, "language": scan.corpus.language})
    return _summary(scan, feature_sets, store, read_frame(store.index(corpus)), results)


Stored = Mapping[str, set[tuple[str, str]]]
"""Utterances with their audio hash whose features are in the store, by feature set."""


def _split(
    scan: Scan, known: Mapping[str, Measured], stored: Stored
) -> tuple[list[Result], list[Mapping[str, object]]]:
    """Part the utterances that need not be read again from the rows of the table that must be."""
    done: list[Result] = []
    todo: list[Mapping[str, object]] = []
    for row in scan.rows():
        measured = known.get(row["utterance"])
        is_done = (
            measured is not None
            and all((measured.utterance, measured.audio_hash) in rows for rows in stored.values())
            and measured.still_holds(*scan.span(row))
        )
        if measured is not None and is_done:
            done.append(Result(measured))
        else:
            todo.append(row)
    return done, todo


def _compute(
    scan: Scan,
    feature_sets: Sequence[FeatureSet],
    store: Store,
    stored: Stored,
    todo: Sequence[Mapping[str, object]],
    *,
    jobs: int,
    progress: Progress,
) -> list[Result]:
    """Decode utterances and compute what lacks of them, writing parts on the way."""
    writers = {s.name: _PartWriter(store.features(s.key, scan.corpus.name), s.name) for s in feature_sets}
    lacking = any(len(rows) < len(scan.table) for rows in stored.values())
    activity = f"{'extract' if lacking else 'index'} {scan.corpus.name}"
    worker = _Worker(scan, feature_sets, stored)
    results: list[Result] = []
    try:
        for result in _in_order(worker, todo, jobs=jobs):
            results.append(result)
            for name, row in result.rows.items():
                place = result.measured.utterance, str(result.measured.audio_hash), row
                writers[name].add(place, columns=worker.columns[name])
            progress(activity, len(results), len(todo), len(results) / len(todo))
    finally:
        for writer in writers.values():
            writer.flush()
    return results


def read_corpus_features(index: pd.DataFrame, feature_key: str, store: Store) -> FeatureTable:
    """Read a corpus' features from the store: those of the recordings as they are now, sorted by utterance."""
    decoded = index[index["audio_hash"].notna()]
    wanted = dict(zip(decoded["utterance"], decoded["audio_hash"], strict=True))
    return read_features(store.features(feature_key, str(index["corpus"].iloc[0])), wanted)


def count_lacking(index: pd.DataFrame, feature_sets: Sequence[FeatureSet], store: Store) -> int:
    """Count the rows of features that the store lacks of a corpus."""
    decoded = index[index["audio_hash"].notna()]
    places = set(zip(decoded["utterance"], decoded["audio_hash"], strict=True))
    folders = [store.features(s.key, str(index["corpus"].iloc[0])) for s in feature_sets]
    return sum(len(places - stored_rows(folder)) for folder in folders)


def import_features(own: OwnFeatures, index: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Copy a user's features of one corpus into the store and return its failures table.

    Raises
    ------
    FeatureError : the table holds no utterance of the corpus.
    """
    corpus = str(index["corpus"].iloc[0])
    hashes = dict(zip(index["utterance"], index["audio_hash"], strict=True))
    rows = [(u, i) for i, u in enumerate(own.utterances) if hashes.get(u)]
    if not rows:
        write_frame(store.failures(own.key, corpus), _failures(own.name, dict.fromkeys(hashes, "no row in the table")))
        found = f"none of its {len(own.utterances)} ids (first '{own.utterances[0]}') is an utterance of {corpus}"
        raise FeatureError(own.name, found, f"ids like '{index['utterance'].iloc[0]}'")
    whole = [(u, i) for u, i in rows if np.isfinite(own.matrix[i]).all()]
    write_json(store.features(own.key, "set.json"), own.description)
    ids = tuple(u for u, _ in whole)
    matrix = own.matrix[[i for _, i in whole]]
    folder = store.features(own.key, corpus)
    write_part(folder, FeatureTable(ids, tuple(str(hashes[u]) for u in ids), own.columns, matrix))
    given, kept = {u for u, _ in rows}, set(ids)
    reasons = {u: "NaN or infinite values in the table" if u in given else "no row in the table" for u in hashes}
    failures = _failures(own.name, {u: reason for u, reason in reasons.items() if u not in kept})
    write_frame(store.failures(own.key, corpus), failures)
    return failures


_FIRST = 32
"""Recordings whose headers are looked at before anything is computed."""


def check_first_rates(scan: Scan, todo: Sequence[Mapping[str, object]]) -> None:
    """Stop at once where a sample of the recordings to read has another sampling rate than the entry says.

    Raises
    ------
    CorpusError : not one of them has the expected rate.
    """
    files = list(dict.fromkeys(str(row["file"]) for row in todo))
    sample = files[:: max(1, len(files) // _FIRST)]
    rates = Counter(_rates(map(scan.path, sample)))
    if rates and scan.corpus.expect.rate is not None and scan.corpus.expect.rate not in rates:
        raise _other_rate(scan, rates.most_common(1)[0][0])


def rate_note(scan: Scan, measured: Sequence[Measured], *, partial: bool) -> str:
    """Hold the most frequent sampling rate against the entry's and return the note that goes into tables.

    Raises
    ------
    CorpusError : it differs and `partial` is not given.
    """
    wanted = scan.corpus.expect.rate
    file_of = dict(zip(scan.table["utterance"], scan.table["file"], strict=True))
    by_file = {file_of[m.utterance]: m.sampling_rate for m in measured if m.sampling_rate is not None}
    rates = Counter(by_file.values())
    if wanted is None or not rates or rates.most_common(1)[0][0] == wanted:
        return scan.partial
    found = rates.most_common(1)[0][0]
    if not partial:
        raise _other_rate(scan, found)
    return f"{scan.partial or 'altered'}, {found} Hz instead of {wanted} Hz"


def _other_rate(scan: Scan, found: int) -> CorpusError:
    todo = "Get the original recordings; --partial accepts these and says so in every table"
    wanted = f"{scan.corpus.expect.rate} Hz"
    return CorpusError([Fault(f"{scan.corpus.name}.expect.rate", f"most recordings have {found} Hz", wanted, todo)])


def build_index(scan: Scan, measured: Sequence[Measured]) -> pd.DataFrame:
    """Join labels with what decoding told.

    `problem` says why a recording cannot be decoded, `duplicate` why a copy of another speaker's takes no part; both
    are null for all others.
    """
    audio = pd.DataFrame(
        {
            "utterance": [m.utterance for m in measured],
            "duration_s": pd.array([m.duration_s for m in measured], dtype="Float64"),
            "sampling_rate": pd.array([m.sampling_rate for m in measured], dtype="Int64"),
            "channels": pd.array([m.channels for m in measured], dtype="Int64"),
            "audio_hash": [m.audio_hash for m in measured],
            "problem": [m.problem for m in measured],
        }
    )
    index = scan.table.merge(audio, on="utterance", how="left", validate="one_to_one")
    duplicates = cross_speaker_duplicates(index, person=scan.corpus.person)
    return index.assign(duplicate=index["utterance"].map(duplicates).astype("string"))


class _Worker:
    """Decodes one utterance and computes what is wanted of it; every thread opens its own extractors."""

    def __init__(
        self, scan: Scan, feature_sets: Sequence[FeatureSet], stored: Mapping[str, set[tuple[str, str]]]
    ) -> None:
        self.scan = scan
        self.feature_sets = feature_sets
        self.stored = stored
        self.columns: dict[str, tuple[str, ...]] = {}
        self._local = threading.local()

    def __call__(self, row: Mapping[str, object]) -> Result:
        utterance = str(row["utterance"])
        path, start_s, end_s = self.scan.span(row)
        state = FileState.of(path)  # before the samples: what is written meanwhile shows at the next run
        try:
            recording = decode(path, start_s=start_s, end_s=end_s)
        except AudioError as error:
            reason = str(error)
            problem = Measured(utterance, start_s, end_s, None, None, None, None, reason, None)
            return Result(problem, failures={s.name: reason for s in self.feature_sets})
        measured = Measured(
            utterance,
            start_s,
            end_s,
            recording.duration_s,
            recording.sampling_rate,
            recording.samples.shape[1],
            recording.audio_hash,
            None,
            state,
        )
        rows: dict[str, np.ndarray] = {}
        failures = {}
        for feature_set in self.feature_sets:
            if (utterance, measured.audio_hash) not in self.stored[feature_set.name]:
                row_or_reason = self._compute(feature_set, recording)
                if isinstance(row_or_reason, str):
                    failures[feature_set.name] = row_or_reason
                else:
                    rows[feature_set.name] = row_or_reason
        return Result(measured, rows, failures)

    def _compute(self, feature_set: FeatureSet, recording: Recording) -> np.ndarray | str:
        """Return a row of features, or the reason why there is none."""
        try:
            row = self._extractor(feature_set)(to_mono(recording, feature_set.sampling_rate))
        except Exception as error:
            return f"{feature_set.name} failed: {type(error).__name__}: {error}"
        n_bad = int((~np.isfinite(row)).sum())
        if not n_bad:
            return row
        if recording.duration_s < feature_set.shortest_s:
            found = f"too short: {recording.duration_s * 1000:.0f} ms"
            return f"{found}, {feature_set.name} needs {feature_set.shortest_s * 1000:.0f} ms"
        return f"{n_bad} of {len(row)} features are not finite"

    def _extractor(self, feature_set: FeatureSet) -> Extractor:
        opened: dict[str, Extractor] = self._local.__dict__
        if feature_set.name not in opened:
            opened[feature_set.name] = feature_set.open()
            self.columns[feature_set.name] = opened[feature_set.name].columns
        return opened[feature_set.name]


class _PartWriter:
    """Collects rows of one feature set and writes a part every few seconds."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.rows: list[Row] = []
        self.columns: tuple[str, ...] = ()
        self.last = time.monotonic()

    def add(self, row: Row, *, columns: tuple[str, ...]) -> None:
        self.rows.append(row)
        self.columns = columns
        if len(self.rows) >= FLUSH_ROWS or time.monotonic() - self.last >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        if self.rows:
            ids, hashes, rows = zip(*self.rows, strict=True)
            write_part(self.folder, FeatureTable(ids, hashes, self.columns, np.stack(rows)))
        self.rows = []
        self.last = time.monotonic()


def _in_order(worker: _Worker, rows: Iterable[Mapping[str, object]], *, jobs: int) -> Iterator[Result]:
    """Map over threads in order with a bounded number in flight, so that memory does not grow with the corpus."""
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            for row in rows:
                pending.append(pool.submit(worker, row))
                if len(pending) > 4 * jobs:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _summary(
    scan: Scan, feature_sets: Sequence[FeatureSet], store: Store, index: pd.DataFrame, results: Sequence[Result]
) -> Extraction:
    computed = {s.name: sum(s.name in r.rows for r in results) for s in feature_sets}
    failed = {
        s.name: {r.measured.utterance: r.failures[s.name] for r in results if s.name in r.failures}
        for s in feature_sets
    }
    stored = {name: len(results) - computed[name] - len(failed[name]) for name in computed}
    tables = [_failures(s.name, failed[s.name]) for s in feature_sets]
    for feature_set, table in zip(feature_sets, tables, strict=True):
        write_frame(store.failures(feature_set.key, scan.corpus.name), table)
    problems = {r.measured.utterance: r.measured.problem for r in results if r.measured.problem}
    every = pd.concat([*tables, _failures("index", problems if not feature_sets else {})], ignore_index=True)
    return Extraction(scan.corpus.name, index, computed, stored, every)


def _failures(name: str, reasons: Mapping[str, str | None]) -> pd.DataFrame:
    rows = [{"utterance": u, "features": name, "reason": reason} for u, reason in sorted(reasons.items())]
    return pd.DataFrame(rows, columns=["utterance", "features", "reason"], dtype="object").astype("string")


def _rates(paths: Iterable[Path]) -> Iterator[int]:
    for path in paths:
        try:
            yield read_header(path).sampling_rate
        except AudioError:
            continue  # reported with its reason when it is decoded
