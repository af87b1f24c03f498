"""Extraction: corpora -> index tables -> feature tables.

One pass over a corpus decodes each utterance once, fingerprints its samples, and computes what the store lacks of
every feature set asked for. Parts are written while it runs; a recording whose samples changed is computed anew,
because parts are looked up by utterance and fingerprint. What cannot be computed becomes a row of the failures
table, never a row of NaN.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serbench.corpora.audio import Recording, decode, to_mono
from serbench.corpora.index import check_first_rates, rate_note, read_index, write_index
from serbench.corpora.labels import Record, Scan
from serbench.corpora.recordings import FileState, Measured, add_measured, read_measured, replace_measured
from serbench.corpora.segments import name_in_store
from serbench.errors import STOPS, AudioError, FeatureError, StoreError
from serbench.features import Extractor, FeatureSet
from serbench.features.table import FeatureTable, Ragged, read_features, remove_damaged_parts, stored_rows, write_part
from serbench.progress import Progress, silent
from serbench.store.files import read_columns, write_columns, write_json
from serbench.store.memory import free_memory
from serbench.store.results import Store

if TYPE_CHECKING:
    import pandas as pd

    from serbench.features.own import OwnFeatures

FLUSH_S = 5.0
"""Seconds between two parts: what a killed run loses at most."""

CHUNK = 256
"""Utterances that one process takes on at a time, where several share a corpus."""

POLL_S = 0.2
"""Seconds between two looks at chunks that other processes have in hand."""


MEMORY_SHARE = 0.8
"""Share of the free memory that recordings in hand may take together; the rest is for results that wait."""

DECODED_BYTES = 4
"""Bytes per sample, over all channels, of a decoded recording; twice that while its blocks are put together."""

COMPUTING_BYTES = {"emobase": 300}
"""Bytes per sample at the rate of a feature set while it is computed, where more than of the others."""

USUAL_COMPUTING_BYTES = 56
"""The same for all others; measured: 26 (IS09) to 51 (schiavone)."""


@dataclass(frozen=True, slots=True)
class Computed:
    """Features of one utterance, shape (n_features,) or (n_frames, n_features), and their names."""

    row: np.ndarray
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """One utterance done: what was measured, the sets that were computed, and those that failed with their reason.

    `rows` are the features by set, until they are handed to the store.
    """

    measured: Measured
    computed: tuple[str, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    rows: dict[str, Computed] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """An utterance without features of a set (or without an index row, where `features` is `index`), and why."""

    utterance: str
    features: str
    reason: str


@dataclass(frozen=True)
class Extraction:
    """What one corpus gave: counts per feature set, and what failed; the index is read when it is asked for.

    `partial` says what the copy lacks of a complete one, `note` what else tables must tell of it; both may be empty.
    `name` is what the store calls the corpus.
    """

    corpus: str
    store: Store
    made_of: str
    partial: str
    computed: Mapping[str, int]
    stored: Mapping[str, int]
    failed: tuple[Failure, ...]
    name: str
    note: str

    @functools.cached_property
    def index(self) -> pd.DataFrame:
        """One row per utterance, columns as DESIGN section 3 promises.

        Raises
        ------
        StoreError : another index has been written since.
        """
        return read_index(self.store, self.name, made_of=self.made_of)

    @property
    def copies(self) -> dict[str, str]:
        """Utterances that take no part, being copies of another speaker's, with the reason."""
        rows = read_columns(self.store.index(self.name), ["utterance", "duplicate"])
        return {row["utterance"]: row["duplicate"] for row in rows if row["duplicate"] is not None}


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
    corpus = scan.stored
    for feature_set in feature_sets:
        write_json(store.features(feature_set.key, "set.json"), feature_set.description)
    for part in (part for s in feature_sets for part in remove_damaged_parts(store.features(s.key, corpus))):
        warnings.warn(f"{part} is damaged; its rows are extracted again", stacklevel=2)
    known = {} if rehash else read_measured(store, corpus)
    stored = _stored(feature_sets, store, corpus)
    results, todo = _split(scan.rows, scan, known, stored)
    if not partial and not results:
        check_first_rates(scan, todo)
    is_lacking = any(len(rows) < len(scan.rows) for rows in stored.values())
    with _Pass(scan, feature_sets, store, jobs=jobs, rehash=rehash) as run:
        for done, result in enumerate(run.results(todo), start=1):
            results.append(result)
            progress(f"{'extract' if is_lacking else 'index'} {corpus}", done, len(todo), done / len(todo))
    measured = [result.measured for result in results]
    note = rate_note(scan, measured, partial=partial)
    if todo or len(known) != len(measured):
        replace_measured(store, corpus, measured)
    made_of = write_index(scan, measured, store, note=note)
    computed, there, failed = _counts(scan, feature_sets, store, results)
    return Extraction(scan.corpus.name, store, made_of, note, computed, there, failed, corpus, scan.note)


Stored = Mapping[str, set[tuple[str, str]]]
"""Utterances with their audio hash whose features are in the store, by feature set."""


def _stored(feature_sets: Sequence[FeatureSet], store: Store, corpus: str) -> Stored:
    return {s.name: stored_rows(store.features(s.key, corpus)) for s in feature_sets}


def _split(
    rows: Sequence[Record], scan: Scan, known: Mapping[str, Measured], stored: Stored
) -> tuple[list[Result], list[Record]]:
    """Part the utterances that need not be read again from the rows of the table that must be."""
    done: list[Result] = []
    todo: list[Record] = []
    for row in rows:
        measured = known.get(row["utterance"])
        is_done = (
            measured is not None
            and all((measured.utterance, measured.audio_hash) in there for there in stored.values())
            and measured.still_holds(*scan.span(row))
        )
        if measured is not None and is_done:
            done.append(Result(measured))
        else:
            todo.append(row)
    return done, todo


class _Pass:
    """One pass over a corpus: chunk by chunk, each by one of the processes that are at it."""

    def __init__(
        self, scan: Scan, feature_sets: Sequence[FeatureSet], store: Store, *, jobs: int, rehash: bool
    ) -> None:
        self.scan, self.feature_sets, self.store = scan, feature_sets, store
        self.jobs, self.rehash = jobs, rehash
        self.writer = _Writer(store, feature_sets, scan.stored)
        self.claims = store.claims()
        self.threads = ThreadPoolExecutor(max_workers=jobs)
        self.local = threading.local()
        self.room = _Room(MEMORY_SHARE * free_memory())

    def __enter__(self) -> _Pass:
        return self

    def __exit__(self, *raised: object) -> None:
        """Store what was computed, also after Ctrl-C, when nobody waits for a thread in a long recording."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        with self.claims:
            self.writer.flush()

    def results(self, todo: Sequence[Record]) -> Iterator[Result]:
        """Yield what becomes of the rows; chunks that other processes have in hand come last."""
        chunks = self._chunks(todo)
        while chunks:
            name = next((name for name in chunks if self.claims.take(name)), None)
            if name is None:
                time.sleep(POLL_S)
                continue
            yield from self._chunk(chunks.pop(name))
            self.writer.flush()
            self.claims.release(name)

    def _chunks(self, todo: Sequence[Record]) -> dict[str, list[Record]]:
        """Rows by the name of their chunk, which is the same for every process."""
        place = {row["utterance"]: i // CHUNK for i, row in enumerate(self.scan.rows)}
        chunks: dict[str, list[Record]] = {}
        for row in todo:
            chunks.setdefault(f"{self.scan.stored}-{place[row['utterance']]}", []).append(row)
        return chunks

    def _chunk(self, rows: Sequence[Record]) -> Iterator[Result]:
        """Yield what other processes have done of a chunk meanwhile, then what is computed of the rest."""
        corpus = self.scan.stored
        known = {} if self.rehash else read_measured(self.store, corpus)
        stored = _stored(self.feature_sets, self.store, corpus)
        done, todo = _split(rows, self.scan, known, stored)
        yield from done
        worker = _Worker(self.scan, self.feature_sets, stored, self.local, self.room)
        for result in _in_order(self.threads, worker, todo, ahead=4 * self.jobs):
            self.writer.add(result)
            yield result


def read_corpus_features(index: pd.DataFrame, feature_key: str, store: Store) -> FeatureTable:
    """Read a corpus' features from the store: those of the recordings as they are now, sorted by utterance."""
    decoded = index[index["audio_hash"].notna()]
    wanted = dict(zip(decoded["utterance"], decoded["audio_hash"], strict=True))
    return read_features(store.features(feature_key, name_in_store(index)), wanted)


def count_lacking(index: pd.DataFrame, feature_sets: Sequence[FeatureSet], store: Store) -> int:
    """Count the rows of features that the store lacks of a corpus."""
    decoded = index[index["audio_hash"].notna()]
    places = set(zip(decoded["utterance"], decoded["audio_hash"], strict=True))
    folders = [store.features(s.key, name_in_store(index)) for s in feature_sets]
    return sum(len(places - stored_rows(folder)) for folder in folders)


def import_features(own: OwnFeatures, index: pd.DataFrame, store: Store) -> list[Failure]:
    """Copy a user's features of one corpus into the store and return what has none.

    Raises
    ------
    FeatureError : the table holds no utterance of the corpus.
    """
    corpus = name_in_store(index)
    place = store.failures(own.key, corpus)
    hashes = dict(zip(index["utterance"], index["audio_hash"], strict=True))
    rows = [(u, i) for i, u in enumerate(own.utterances) if hashes.get(u)]
    if not rows:
        write_failures((Failure(u, own.name, "no row in the table") for u in hashes), place)
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
    return write_failures((Failure(u, own.name, reason) for u, reason in reasons.items() if u not in kept), place)


class _Room:
    """Bytes that the recordings in hand may take together; a thread waits until there is room for its own."""

    def __init__(self, free: float) -> None:
        self.free = free
        self._taken = 0.0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def lease(self, bytes_per_s: float) -> Iterator[Callable[[int, float], None]]:
        """Yield what takes room for a recording, given its samples and seconds; the room is free again at the end."""
        taken = 0.0

        def take(samples: int, duration_s: float) -> None:
            nonlocal taken
            wanted = DECODED_BYTES * samples + max(DECODED_BYTES * samples, bytes_per_s * duration_s)
            if wanted > self.free:
                found = f"{duration_s:.0f} s, which take about {wanted / 1e9:.3g} GB of memory"
                todo = "Cut it into segments, or free memory; if it is not that long, its header is damaged"
                raise AudioError("memory", found, f"at most {self.free / 1e9:.3g} GB, by what is free", todo)
            with self._changed:
                self._changed.wait_for(lambda: self._taken + wanted <= self.free)
                self._taken += wanted
            taken = wanted

        try:
            yield take
        finally:
            with self._changed:
                self._taken -= taken
                self._changed.notify_all()


class _Worker:
    """Decodes one utterance and computes what is wanted of it; every thread opens its own extractors."""

    def __init__(
        self,
        scan: Scan,
        feature_sets: Sequence[FeatureSet],
        stored: Stored,
        local: threading.local,
        room: _Room,
    ) -> None:
        self.scan = scan
        self.room = room
        self.bytes_per_s = max(
            (s.sampling_rate * COMPUTING_BYTES.get(s.name, USUAL_COMPUTING_BYTES) for s in feature_sets), default=0
        )
        self.feature_sets = feature_sets
        self.stored = stored
        self._local = local

    def __call__(self, row: Record) -> Result:
        with self.room.lease(self.bytes_per_s) as take:
            return self._result(row, take)

    def _result(self, row: Record, take: Callable[[int, float], None]) -> Result:
        measured, recording = self._measure(row, take)
        if recording is None:
            return Result(measured, failures={s.name: str(measured.problem) for s in self.feature_sets})
        rows: dict[str, Computed] = {}
        failures = {}
        for feature_set in self.feature_sets:
            if (measured.utterance, measured.audio_hash) not in self.stored[feature_set.name]:
                row_or_reason = self._compute(feature_set, recording)
                if isinstance(row_or_reason, str):
                    failures[feature_set.name] = row_or_reason
                else:
                    rows[feature_set.name] = Computed(row_or_reason, self._extractor(feature_set).columns)
        return Result(measured, tuple(rows), failures, rows)

    def _measure(self, row: Record, take: Callable[[int, float], None]) -> tuple[Measured, Recording | None]:
        """Decode an utterance; there is no recording where that fails, and the reason is its problem."""
        utterance = str(row["utterance"])
        path, start_s, end_s = self.scan.span(row)
        state = FileState.of(path)  # before the samples: what is written meanwhile shows at the next run
        try:
            recording = decode(path, start_s=start_s, end_s=end_s, admit=take)
        except AudioError as error:
            return Measured(utterance, start_s, end_s, None, None, None, None, str(error), None), None
        facts = recording.duration_s, recording.sampling_rate, recording.samples.shape[1], recording.audio_hash
        return Measured(utterance, start_s, end_s, *facts, None, state), recording

    def _compute(self, feature_set: FeatureSet, recording: Recording) -> np.ndarray | str:
        """Return a row of features (or of a framewise set one for each frame), or the reason why there is none."""
        try:
            extractor = self._extractor(feature_set)
            names = extractor.columns
            mono = to_mono(recording, feature_set.sampling_rate, resampler=feature_set.resampler)
            row = np.asarray(extractor(mono), np.float32)
        except AudioError as error:
            return str(error)
        except STOPS:
            raise
        except BaseException as error:  # a plug-in may raise SystemExit, a compiled one its own kind
            return f"{feature_set.name} failed: {type(error).__name__}: {error}"
        if row.ndim != 1 + feature_set.is_framewise or not row.shape[-1] == len(names) == feature_set.n_features:
            shapes = f"{row.shape}, {len(names)} names for {feature_set.n_features} features"
            return f"{feature_set.name} failed: {'frames' if feature_set.is_framewise else 'a row'} of shape {shapes}"
        n_bad = int((~np.isfinite(row)).sum())
        if row.size and not n_bad:
            return row
        fault = feature_set.length_fault(recording.duration_s)
        return fault or (f"{n_bad} of {row.size} features are not finite" if row.size else "no frames")

    def _extractor(self, feature_set: FeatureSet) -> Extractor:
        opened: dict[str, Extractor] = self._local.__dict__
        if feature_set.name not in opened:
            opened[feature_set.name] = feature_set.open()
        return opened[feature_set.name]


class _Writer:
    """Collects results of a corpus and writes them as parts every few seconds."""

    def __init__(self, store: Store, feature_sets: Sequence[FeatureSet], corpus: str) -> None:
        self.store, self.corpus = store, corpus
        self.folders = {s.name: store.features(s.key, corpus) for s in feature_sets}
        self.results: list[Result] = []
        self.last = time.monotonic()

    def add(self, result: Result) -> None:
        self.results.append(result)
        if time.monotonic() - self.last >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write the features, then what was measured: what is known to be measured has its features stored."""
        for name, folder in self.folders.items():
            self._write_part(name, folder)
        add_measured(self.store, self.corpus, (result.measured for result in self.results))
        for result in self.results:
            result.rows.clear()
        self.results = []
        self.last = time.monotonic()

    def _write_part(self, name: str, folder: Path) -> None:
        rows = [(r.measured, r.rows[name]) for r in self.results if name in r.rows]
        if rows:
            ids = tuple(measured.utterance for measured, _ in rows)
            hashes = tuple(str(measured.audio_hash) for measured, _ in rows)
            columns, found = rows[0][1].columns, [computed.row for _, computed in rows]
            matrix = np.stack(found) if found[0].ndim == 1 else Ragged.of(found, n_features=len(columns))
            write_part(folder, FeatureTable(ids, hashes, columns, matrix))


def _in_order(threads: ThreadPoolExecutor, worker: _Worker, rows: Iterable[Record], *, ahead: int) -> Iterator[Result]:
    """Map over threads in order with a bounded number in flight, so that memory does not grow with the corpus."""
    pending: deque[Future[Result]] = deque()
    for row in rows:
        pending.append(threads.submit(worker, row))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _counts(
    scan: Scan, feature_sets: Sequence[FeatureSet], store: Store, results: Sequence[Result]
) -> tuple[dict[str, int], dict[str, int], tuple[Failure, ...]]:
    """Count rows computed and rows already there by feature set; write the failures tables and return their rows."""
    computed = {s.name: sum(s.name in r.computed for r in results) for s in feature_sets}
    stored = {}
    failed: list[Failure] = []
    for s in feature_sets:
        own = [Failure(r.measured.utterance, s.name, r.failures[s.name]) for r in results if s.name in r.failures]
        stored[s.name] = len(results) - computed[s.name] - len(own)
        failed += write_failures(own, store.failures(s.key, scan.stored))
    if not feature_sets:
        problems = [(r.measured.utterance, r.measured.problem) for r in results]
        failed += [Failure(utterance, "index", problem) for utterance, problem in sorted(problems) if problem]
    return computed, stored, tuple(failed)


def write_failures(failed: Iterable[Failure], path: Path) -> list[Failure]:
    """Write a failures table, sorted by utterance, unless it is there as it is; return its rows."""
    in_order = sorted(failed, key=lambda failure: failure.utterance)
    with contextlib.suppress(StoreError):  # absent or damaged
        if read_columns(path) == [dataclasses.asdict(failure) for failure in in_order]:
            return in_order
    names = ("utterance", "features", "reason")
    write_columns(path, {name: [getattr(failure, name) for failure in in_order] for name in names})
    return in_order
