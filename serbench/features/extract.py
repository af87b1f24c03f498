"""Extraction: corpora to index tables and feature tables.

One pass over a corpus decodes each utterance once and computes what the store misses of every feature set. Rows of the
store are found by utterance and audio hash: a changed recording is computed again, and no other. What cannot be
computed becomes a row of the failures table with its reason, never a row of NaN.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from serbench import __version__
from serbench.corpora import Names, as_names
from serbench.corpora.audio import Recording, decode, read_header, to_mono
from serbench.corpora.catalogue import entries_of
from serbench.corpora.index import (
    Decoded,
    check_first_rates,
    rate_note,
    read_decoded,
    read_index,
    state_of,
    write_decoded,
    write_index,
)
from serbench.corpora.labels import Record, Scan, scan_corpus
from serbench.corpora.segments import check_segment, name_in_store, segmented
from serbench.errors import STOPS, AudioError, CorpusError, Fault, FeatureError, StoreError
from serbench.features import DEFAULT_FEATURES, find_feature_set
from serbench.features.record import Extractor, FeatureSet
from serbench.features.table import FeatureTable, Ragged, read_features, stored_rows, write_part
from serbench.store.files import frame_to_csv, read_table, write_columns, write_json, write_table, write_text
from serbench.store.memory import free_memory
from serbench.store.results import Store, every_file
from serbench.workspace import HERE, Workspace

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from serbench.features.own import OwnFeatures

logger = logging.getLogger(__name__)

FLUSH_S = 5.0  # between two parts: what a killed run loses at most
CHUNK = 256  # utterances that one process takes at a time, where several processes share a corpus
POLL_S = 0.2  # between two looks at chunks that other processes compute
MEMORY_SHARE = 0.8  # of the free memory, for recordings in hand together; the rest is for results that wait
DECODING_S = 0.0002  # of one core, per second of a recording
SAMPLED = 16  # recordings of a corpus whose lengths tell how long extraction will take
DECODED_BYTES = 4  # per sample and channel of a decoded recording; twice that while its blocks are put together


class Failure(NamedTuple):
    """An utterance without features of a set (or without audio, where `features` is `index`), and the reason."""

    utterance: str
    features: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Extraction:
    """What one corpus, called `name` in the store, gave: its index; rows computed and already stored, by feature set.

    `indexed` is the index as a table of Arrow, which takes no pandas. `partial` is what the copy misses of a complete
    one, `note` what else tables must report; both may be empty.
    """

    corpus: str
    name: str
    indexed: pa.Table
    partial: str
    note: str
    computed: Mapping[str, int]
    stored: Mapping[str, int]
    failed: tuple[Failure, ...]

    @property
    def index(self) -> pd.DataFrame:
        """One row per utterance; a new frame each time."""
        frame: pd.DataFrame = self.indexed.to_pandas()
        return frame


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an extraction did; `refused` maps corpora that could not be used to the reason.

    `imported` are the utterances that a user's own features miss.
    """

    done: tuple[Extraction, ...] = field(repr=False)
    refused: Mapping[str, str]
    imported: tuple[Failure, ...] = field(default=(), repr=False)

    @property
    def failed(self) -> tuple[Failure, ...]:
        """Utterances without features, with the reason."""
        return (*(failure for one in self.done for failure in one.failed), *self.imported)

    @property
    def failures(self) -> pd.DataFrame:
        """Utterances without features as a table: columns utterance, features, reason."""
        import pandas as pd

        return pd.DataFrame(self.failed, columns=Failure._fields, dtype="string")


def extract_features(
    corpora: Names = None,
    features: Names = DEFAULT_FEATURES,
    workspace: Workspace = HERE,
    *,
    segment: float | None = None,
) -> Extracted:
    """Index corpora and compute the feature sets that the store misses.

    Parameters
    ----------
    corpora : names; None for every corpus that is on disk.
    features : names of feature sets; none to make the index only.
    segment : seconds of the segments that every utterance is cut into, or None; what remains at its end is dropped.

    Raises
    ------
    SerbenchError : a name is unknown, the store cannot be written, or not one corpus could be used.

    Examples
    --------
    >>> extract_features("emodb", ["IS09", "mfcc"]).failures  # doctest: +SKIP
    """
    entries = entries_of(workspace.catalogue(), corpora)
    feature_sets = [find_feature_set(name) for name in dict.fromkeys(as_names(features) or ())]
    if segment is not None:
        check_segment(segment)
    workspace.store().prepare()

    done, refused, scans = list[Extraction](), dict[str, str](), dict[str, Scan]()
    for corpus in entries:
        with _kept(refused, corpus.name, is_alone=len(entries) == 1):
            scan = scan_corpus(corpus, partial=workspace.partial)
            scans[corpus.name] = scan if segment is None else segmented(scan, segment)
    _announce([*scans.values()], feature_sets, workspace)
    for name, scan in scans.items():
        with _kept(refused, name, is_alone=len(entries) == 1):
            done.append(extract_corpus(scan, feature_sets, workspace))
    if not done:
        raise CorpusError([Fault(name, reason) for name, reason in refused.items()])
    return Extracted(tuple(done), refused)


@contextlib.contextmanager
def _kept(refused: dict[str, str], name: str, *, is_alone: bool) -> Iterator[None]:
    """Keep why a corpus cannot be used: it does not stop the others, but is an error when it is alone."""
    try:
        yield
    except CorpusError as error:
        if is_alone:
            raise
        refused[name] = str(error)


def _announce(scans: Sequence[Scan], feature_sets: Sequence[FeatureSet], workspace: Workspace) -> None:
    """Log how much is to be done for corpora that the store lacks, where it will take more than a minute."""
    store, seconds, ahead = workspace.store(), 0.0, dict[str, int]()
    for scan in scans:
        folders = {s.name: store.features(s.key, scan.stored) for s in feature_sets}
        lacking = [s for s in feature_sets if not every_file(folders[s.name], "part-*.parquet")]
        if not lacking and (feature_sets or store.index(scan.stored).is_file()):
            continue
        lengths = []
        for row in scan.rows[:: max(1, len(scan.rows) // SAMPLED)]:
            with contextlib.suppress(AudioError):  # reported when it is decoded
                path, start_s, end_s = scan.span(row)
                header = read_header(path)
                lengths.append((end_s or header.frames / header.samplerate) - (start_s or 0.0))
        cost = DECODING_S + sum(s.cost for s in lacking)
        seconds += len(scan.rows) * (statistics.fmean(lengths) if lengths else 0.0) * cost
        ahead[scan.corpus.name] = len(scan.rows)
    if (minutes := seconds / workspace.workers / 60) >= 1:
        which = f"{len(ahead)} corpora" if len(ahead) > 1 else next(iter(ahead))
        logger.info("%s, %s recordings to read, about %.0f min", which, f"{sum(ahead.values()):,}", minutes)


def load_index(corpus: str, workspace: Workspace = HERE, *, segment: float | None = None) -> pd.DataFrame:
    """Return the index of a corpus on disk: one row per utterance, with what the corpus knows of it.

    With `segment` (seconds) it has one row per segment, and the column `whole` names the utterance of each.
    """
    return extract_features([corpus], (), workspace, segment=segment).done[0].index


def load_features(
    corpus: str, features: str, workspace: Workspace = HERE, *, segment: float | None = None
) -> pd.DataFrame:
    """Return a feature set of a corpus, or of its segments of `segment` seconds, and extract what the store misses.

    Returns
    -------
    float32, one row per utterance (the index), one column per feature; of a framewise set one row per frame, the index
    (utterance, frame), frames from 0. Utterances that failed have no row.
    """
    index = extract_features([corpus], [features], workspace, segment=segment).done[0].index
    return _read(index, find_feature_set(features), workspace.store()).frame()


def export_features(features: str, path: Path | str, corpora: Names = None, workspace: Workspace = HERE) -> Extracted:
    """Write a feature set of corpora as one CSV or parquet file; utterances that failed have no row.

    Of a framewise set each frame is a row; the column `frame` counts them from 0. The metadata of a parquet file
    (`serbench`, as JSON) describe the feature set; a CSV holds utterances and numbers only.

    Raises
    ------
    StoreError : the name of the file does not end in .csv or .parquet, or the file cannot be written.
    """
    import pandas as pd

    target = Path(path)
    if target.suffix not in (".csv", ".parquet"):
        raise StoreError(str(target), f"'{target.suffix}'", "a name that ends in .csv or .parquet")
    extracted = extract_features(corpora, [features], workspace)
    store, about = workspace.store(), find_feature_set(features)
    tables = [_read(one.index, about, store) for one in extracted.done]
    table = pd.concat([t.frame() for t in tables if t.utterances] or [tables[-1].frame()]).reset_index()
    if target.suffix == ".csv":
        write_text(target, frame_to_csv(table))
    else:
        partial = {e.corpus: e.partial for e in extracted.done}
        write_table(target, table, {"serbench": __version__, "corpora": partial, **about.description})
    return extracted


def _read(index: pd.DataFrame, feature_set: FeatureSet, store: Store) -> FeatureTable:
    """Read the features of a corpus, of its recordings as they are now, sorted by utterance."""
    return read_features(store.features(feature_set.key, name_in_store(index)), audio_hashes(index))


Listener = Callable[[str, Path, Recording], None]
"""What is given each utterance with its file and recording, in a thread."""


def extract_corpus(
    scan: Scan, feature_sets: Sequence[FeatureSet], workspace: Workspace, *, listen: Listener | None = None
) -> Extraction:
    """Index a corpus and compute what the store misses of the feature sets; for `listen` all recordings are decoded.

    A sampling rate that is not the expected one is a `CorpusError`, unless the workspace takes partial copies.
    """
    store, corpus, name = workspace.store(), scan.corpus, scan.stored
    run = _Pass(scan, feature_sets, workspace, listen)
    for feature_set in feature_sets:
        write_json(store.features(feature_set.key, "set.json"), feature_set.description)
        stored_rows(run.folders[feature_set.name], remove_damaged=True)
    results, todo = run.split(scan.rows)
    if not workspace.partial and not results:
        check_first_rates(scan, todo)
    activity = "extract" if any(len(rows) < len(scan.rows) for rows in run.stored().values()) else "index"
    with contextlib.closing(run.results(todo)) as new:
        for n_done, result in enumerate(new, start=1):
            results.append(result)
            workspace.progress(f"{activity} {name}", n_done, len(todo), n_done / len(todo))
    decoded = [result.decoded for result in results]
    file_of = {row["utterance"]: row["file"] for row in scan.rows}
    rate_of = {file_of[one.utterance]: one.sampling_rate for one in decoded if one.sampling_rate}
    partial = rate_note(scan, rate_of, partial=workspace.partial)
    indexed = read_index(store, name, made_of=write_index(scan, decoded, store, note=partial))
    computed, stored, failed = {}, {}, []
    for s in (one.name for one in feature_sets):
        failures = [Failure(r.decoded.utterance, s, r.failures[s]) for r in results if s in r.failures]
        failed += write_failures(failures, run.folders[s] / "failures.parquet")
        computed[s] = sum(s in result.computed for result in results)
        stored[s] = len(results) - computed[s] - len(failures)
    if not feature_sets:
        failed = sorted(Failure(one.utterance, "index", one.problem) for one in decoded if one.problem)
    return Extraction(corpus.name, name, indexed, partial, scan.note, computed, stored, tuple(failed))


@dataclass(frozen=True, slots=True)
class _Result:
    """One utterance done: the sets computed, why others failed, and by set the features that are not yet stored."""

    decoded: Decoded
    computed: tuple[str, ...] = ()
    failures: dict[str, str] = field(default_factory=dict)
    rows: dict[str, np.ndarray] = field(default_factory=dict)


class _Pass:
    """One pass over a corpus, chunk by chunk; several processes share the chunks, and threads the utterances."""

    def __init__(
        self, scan: Scan, feature_sets: Sequence[FeatureSet], workspace: Workspace, listen: Listener | None
    ) -> None:
        self.scan, self.feature_sets, self.listen = scan, feature_sets, listen
        self.store, self.jobs = workspace.store(), workspace.workers
        self.rehash = workspace.rehash or listen is not None
        self.folders = {s.name: self.store.features(s.key, scan.stored) for s in feature_sets}
        rates = [s.sampling_rate * s.bytes_per_sample for s in feature_sets]
        self.bytes_per_s = max(rates, default=0)
        self.free, self.taken, self.changed = MEMORY_SHARE * free_memory(), 0.0, threading.Condition()
        self.local = threading.local()
        self.columns: dict[str, tuple[str, ...]] = {}
        self.waiting: list[_Result] = []

    def stored(self) -> dict[str, set[tuple[str, str]]]:
        """Read which utterances, with their audio hash, the store has features of, by feature set."""
        return {name: stored_rows(folder) for name, folder in self.folders.items()}

    def split(self, rows: Iterable[Record]) -> tuple[list[_Result], list[Record]]:
        """Separate utterances that are done from those that must be decoded."""
        known = {} if self.rehash else read_decoded(self.store, self.scan.stored)
        stored = self.stored()
        done, todo = [], []
        for row in rows:
            path, *segment = self.scan.span(row)
            one = known.get((row["utterance"], *segment, state_of(path)))
            if one is None or any((one.utterance, one.audio_hash) not in there for there in stored.values()):
                todo.append(row)
            else:
                done.append(_Result(one))
        return done, todo

    def results(self, todo: Sequence[Record]) -> Generator[_Result, None, None]:
        """Yield the result of each row, and store new ones every few seconds; chunks of other processes come last."""
        place = {row["utterance"]: i // CHUNK for i, row in enumerate(self.scan.rows)}
        chunks: dict[str, list[Record]] = {}  # by a name that is the same for every process
        for row in todo:
            chunks.setdefault(f"{self.scan.stored}-{place[row['utterance']]}", []).append(row)
        threads, last = ThreadPoolExecutor(max_workers=self.jobs), time.monotonic()
        if chunks:  # Arrow imports it to write; meanwhile the other threads compute
            threads.submit(importlib.import_module, "pandas")
        with self.store.locks() as locks:
            try:
                while chunks:
                    name = next((name for name in chunks if locks.acquire(name)), None)
                    if name is None:
                        time.sleep(POLL_S)
                        continue
                    done, rest = self.split(chunks.pop(name))  # another process may have done some
                    yield from done
                    stored, rows = self.stored(), iter(rest)
                    pending: deque[Future[_Result]] = deque()
                    for _ in rest:
                        new = islice(rows, 4 * self.jobs - len(pending))  # few are in flight
                        pending.extend(threads.submit(self._result, row, stored) for row in new)
                        result = pending.popleft().result()
                        self.waiting.append(result)
                        if time.monotonic() - last >= FLUSH_S:
                            self._flush()
                            last = time.monotonic()
                        yield result
                    self._flush()
                    locks.release(name)
            finally:  # after Ctrl-C nobody waits for a thread in a long recording
                threads.shutdown(wait=False, cancel_futures=True)
                self._flush()

    def _flush(self) -> None:
        """Store the features of waiting results, then what was decoded."""
        for name, folder in self.folders.items():
            found = [result for result in self.waiting if name in result.rows]
            if found:
                ids = tuple(result.decoded.utterance for result in found)
                hashes = tuple(str(result.decoded.audio_hash) for result in found)
                columns, rows = self.columns[name], [result.rows[name] for result in found]
                matrix = np.stack(rows) if rows[0].ndim == 1 else Ragged.of(rows, n_features=len(columns))
                write_part(folder, FeatureTable(ids, hashes, columns, matrix))
        decoded = [result.decoded for result in self.waiting if result.decoded.file_state]
        if decoded:
            write_decoded(self.store, self.scan.stored, decoded)
        for result in self.waiting:
            result.rows.clear()
        self.waiting = []

    def _result(self, row: Record, stored: Mapping[str, set[tuple[str, str]]]) -> _Result:
        """Decode an utterance and compute the feature sets that the store misses; runs in a thread."""
        utterance, (path, start_s, end_s) = str(row["utterance"]), self.scan.span(row)
        state = state_of(path)  # before the samples: what is written meanwhile shows at the next run
        taken: list[float] = []
        try:
            recording = decode(path, start_s=start_s, end_s=end_s, admit=lambda *size: taken.append(self._admit(*size)))
            facts = recording.duration_s, recording.sampling_rate, recording.samples.shape[1], recording.audio_hash
            result = _Result(Decoded(utterance, start_s, end_s, state, *facts))
            if self.listen is not None:
                self.listen(utterance, path, recording)
            for s in self.feature_sets:
                if (utterance, facts[-1]) not in stored[s.name]:
                    values = self._compute(s, recording)
                    if isinstance(values, str):
                        result.failures[s.name] = values
                    else:
                        result.rows[s.name] = values
            return dataclasses.replace(result, computed=tuple(result.rows))
        except AudioError as error:  # the state is not kept: the recording is tried again by every run
            failures = dict.fromkeys(self.folders, str(error))
            return _Result(Decoded(utterance, start_s, end_s, None, problem=str(error)), failures=failures)
        finally:
            with self.changed:
                self.taken -= sum(taken)
                self.changed.notify_all()

    def _admit(self, samples: int, duration_s: float) -> float:
        """Wait until there is memory for a recording, and return the bytes that it may take."""
        decoded = DECODED_BYTES * samples
        wanted = decoded + max(decoded, self.bytes_per_s * duration_s)
        if wanted > self.free:
            found = f"{duration_s:.0f} s, which take about {wanted / 1e9:.3g} GB of memory"
            todo = "Cut it into segments, or free memory; if it is not that long, its header is damaged"
            raise AudioError("memory", found, f"at most {self.free / 1e9:.3g} GB, by what is free", todo)
        with self.changed:
            self.changed.wait_for(lambda: self.taken + wanted <= self.free)
            self.taken += wanted
        return wanted

    def _compute(self, feature_set: FeatureSet, recording: Recording) -> np.ndarray | str:
        """Return a row of features (of a framewise set one row per frame), or the reason why there is none."""
        name, opened = feature_set.name, self.local.__dict__  # every thread opens its own extractors
        try:
            if name not in opened:
                opened[name] = feature_set.open()
            extractor: Extractor = opened[name]
            columns = self.columns[name] = extractor.columns
            mono = to_mono(recording, feature_set.sampling_rate, resampler=feature_set.resampler)
            row = np.asarray(extractor(mono), np.float32)
        except AudioError as error:
            return str(error)
        except STOPS:
            raise
        except BaseException as error:  # a plug-in may raise SystemExit, a compiled one its own kind
            return f"{name} failed: {type(error).__name__}: {error}"
        if row.ndim != 1 + feature_set.is_framewise or not row.shape[-1] == len(columns) == feature_set.n_features:
            shapes = f"{row.shape}, {len(columns)} names for {feature_set.n_features} features"
            return f"{name} failed: {'frames' if feature_set.is_framewise else 'a row'} of shape {shapes}"
        n_bad = int((~np.isfinite(row)).sum())
        if row.size and not n_bad:
            return row
        fault = feature_set.length_fault(recording.duration_s)
        return fault or (f"{n_bad} of {row.size} features are not finite" if row.size else "no frames")


def write_failures(failed: Iterable[Failure], path: Path) -> list[Failure]:
    """Write a failures table, sorted by utterance, unless the store has the same one; return its rows."""
    in_order = sorted(failed)
    columns = {name: [failure[i] for failure in in_order] for i, name in enumerate(Failure._fields)}
    with contextlib.suppress(StoreError):  # absent or damaged
        if read_table(path).to_pydict() == columns:
            return in_order
    write_columns(path, columns)
    return in_order


def count_missing(index: pd.DataFrame, feature_set: FeatureSet, store: Store) -> tuple[int, float]:
    """Count the rows of features of a corpus that the store misses, and the seconds of a core that they will take."""
    hashes = audio_hashes(index)
    n = len(hashes.items() - stored_rows(store.features(feature_set.key, name_in_store(index))))
    return n, n * feature_set.cost * float(index["duration_s"].mean()) if n else 0.0


def audio_hashes(index: pd.DataFrame) -> dict[str, str]:
    """Return the audio hash of every utterance that could be decoded."""
    return dict(index.loc[index["audio_hash"].notna(), ["utterance", "audio_hash"]].itertuples(index=False))


def import_features(own: OwnFeatures, index: pd.DataFrame, store: Store) -> list[Failure]:
    """Copy a user's features of one corpus into the store, and return the utterances that have none.

    Raises
    ------
    FeatureError : the table has no utterance of the corpus.
    """
    corpus, hashes = name_in_store(index), audio_hashes(index)
    rows = {u: i for i, u in enumerate(own.utterances) if u in hashes}
    whole = {u: i for u, i in rows.items() if np.isfinite(own.matrix[i]).all()}
    absent, odd = "no row in the table", "NaN or infinite values in the table"
    lacking = [Failure(u, own.name, odd if u in rows else absent) for u in index["utterance"] if u not in whole]
    failed = write_failures(lacking, store.failures(own.key, corpus))
    if not rows:
        found = f"none of its {len(own.utterances)} ids (first '{own.utterances[0][:100]}') is an utterance of {corpus}"
        raise FeatureError(own.name, found, f"ids like '{index['utterance'].iloc[0]}'")
    write_json(store.features(own.key, "set.json"), own.description)
    part = FeatureTable(tuple(whole), tuple(hashes[u] for u in whole), own.columns, own.matrix[list(whole.values())])
    write_part(store.features(own.key, corpus), part)
    return failed
