"""The index of a corpus: its labels, what decoding reported of each utterance, and the state of each file.

What is decoded is stored in parts below `index/CORPUS/`, which become columns of `index/CORPUS.parquet`, one row per
utterance. A file whose size, times and inode are as they were when it was decoded is not decoded again.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serbench import __version__
from serbench.corpora.audio import DECODER, Recording, read_header
from serbench.corpora.entry import FIELDS, Corpus
from serbench.corpora.labels import Scan
from serbench.errors import AudioError, CorpusError, DamagedError, StoreError, listed
from serbench.store.files import metadata_of, read_metadata, read_table, write_columns, write_table
from serbench.store.keys import digest
from serbench.store.results import Store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SETTLED_NS = 2_000_000_000  # that a file must have been left alone before it is decoded
SILENCE = "digital silence"  # why an utterance whose samples are all zero takes no part

_RULES = 2  # goes up by one whenever an index is made of the same labels and recordings in another way
_SAMPLED = 32  # recordings whose headers are read, at most, before anything is computed


@dataclass(frozen=True, slots=True)
class Decoded:
    """What decoding reported of one utterance or segment of a file, whose `state_of` was `file_state` before."""

    utterance: str
    start_s: float | None
    end_s: float | None
    file_state: str | None
    duration_s: float | None = None
    sampling_rate: int | None = None
    channels: int | None = None
    audio_hash: str | None = None
    problem: str | None = None  # why it could not be decoded


_COLUMNS = tuple(field.name for field in fields(Decoded))


def state_of(path: Path) -> str | None:
    """Return size, times and inode of a file; None where there is none, or it changed a moment ago and may again."""
    now = time.time_ns()
    with contextlib.suppress(OSError):
        found = os.stat(path)
        if now - max(found.st_mtime_ns, found.st_ctime_ns) >= SETTLED_NS:
            return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
    return None


def read_decoded(store: Store, corpus: str) -> dict[tuple[str, float | None, float | None, str], Decoded]:
    """Read what this decoder reported in the index and its parts, by utterance, segment and state of the file."""
    rows: list[dict[str, Any]] = []
    for path in (store.index(corpus), *store.index_parts(corpus)):
        try:
            table = read_table(path)
            rows += table.select(_COLUMNS).to_pylist() if metadata_of(table.schema).get("decoder") == DECODER else []
        except DamagedError:
            warnings.warn(f"{path} is damaged; its recordings are read again", stacklevel=2)
            path.unlink(missing_ok=True)
        except StoreError:  # absent; another process has merged it meanwhile
            continue
    known = [Decoded(**row) for row in rows if row["file_state"] is not None and row["problem"] is None]
    return {(one.utterance, one.start_s, one.end_s, str(one.file_state)): one for one in known}


def write_decoded(store: Store, corpus: str, decoded: Sequence[Decoded]) -> None:
    """Store what was decoded as a part of the index, until `write_index` merges it."""
    columns = {name: [getattr(one, name) for one in decoded] for name in _COLUMNS}
    write_columns(store.index_part(corpus, digest([DECODER, columns])), columns, metadata={"decoder": DECODER})


def write_index(scan: Scan, decoded: Sequence[Decoded], store: Store, *, note: str) -> str:
    """Write the index of a corpus unless the store has the same one, and return the digest of what it is made of.

    `note` is what a partial copy misses. The column `duplicate` is why silence or a copy takes no part.
    """
    path, parts = store.index(scan.stored), store.index_parts(scan.stored)
    facts = sorted(map(attrgetter(*_COLUMNS), decoded))
    about: dict[str, Any] = {"partial": note, "language": scan.corpus.language, "serbench": __version__}
    about |= {"entry": entry_parts(scan.corpus), "decoder": DECODER}
    # The state of a file is no part of what an index is made of: another process may find it settled, or touched.
    content = [(utterance, *known) for utterance, _, _, _, *known in facts]
    made_of = digest([about, _RULES, scan.corpus.person_field, list(map(dict, scan.rows)), content])
    about |= {"made_of": made_of, "files": digest([fact[:4] for fact in facts])}
    stored = {}
    with contextlib.suppress(StoreError):  # absent or damaged
        stored = read_metadata(path)
    if stored != about:
        import pandas as pd

        types = {"duration_s": "Float64", "sampling_rate": "Int64", "channels": "Int64"}
        found = pd.DataFrame(facts, columns=_COLUMNS).astype(types).drop(columns=["start_s", "end_s"])
        index = scan.table.merge(found, on="utterance", how="left", validate="one_to_one")
        silent = dict.fromkeys(index["utterance"][is_silence(index)], SILENCE)
        duplicates = {**silent, **cross_speaker_duplicates(index, person=scan.corpus.person_field)}
        index["duplicate"] = index["utterance"].map(duplicates).astype("string")
        write_table(path, index, about)
    for part in parts:
        part.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # there is none, or another process writes parts
        store.index_part(scan.stored, "").parent.rmdir()
    return made_of


def read_index(store: Store, corpus: str, *, made_of: str) -> pa.Table:
    """Read the index of a corpus as this process wrote or found it; a `StoreError` if it was written again since."""
    table = read_table(store.index(corpus))
    if metadata_of(table.schema).get("made_of") != made_of:
        found = "has been written again meanwhile, from other labels or recordings"
        todo = "Run the command again, with a results folder of its own where entries of corpora differ"
        raise StoreError(str(store.index(corpus)), found, todo=todo)
    return table


def check_first_rates(scan: Scan, rows: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a corpus, before anything is computed, if no header in a sample has the sampling rate of its entry."""
    files = list(dict.fromkeys(str(row["file"]) for row in rows)) if scan.corpus.expect.rate else []
    rate_of: dict[str, int] = {}
    for file in files[:: max(1, -(-len(files) // _SAMPLED))]:
        with contextlib.suppress(AudioError):  # reported with its reason when the file is decoded
            rate_of[file] = read_header(scan.path(file)).samplerate
    if scan.corpus.expect.rate not in rate_of.values():
        rate_note(scan, rate_of, partial=False)


def rate_note(scan: Scan, rate_of: Mapping[str, int], *, partial: bool) -> str:
    """Return the note for tables; a usual sampling rate other than the entry's is an error unless `partial`."""
    wanted, rates = scan.corpus.expect.rate, Counter(rate_of.values())
    if wanted is None or not rates or rates.most_common(1)[0][0] == wanted:
        return scan.partial
    rate = rates.most_common(1)[0][0]
    if not partial:
        where, found = f"{scan.corpus.name}.expect.rate", f"most recordings have {rate} Hz"
        todo = "Get the original recordings; --partial accepts these and says so in every table"
        raise CorpusError(where, found, f"{wanted} Hz", todo)
    return f"{scan.partial or 'altered'}, {rate} Hz instead of {wanted} Hz"


def identical_recordings(index: pd.DataFrame) -> list[list[str]]:
    """Groups of utterances with the same decoded samples, each sorted; digital silence has no copies."""
    known = index[index["audio_hash"].notna() & ~is_silence(index)]
    same = known[known["audio_hash"].duplicated(keep=False)].groupby("audio_hash", sort=True)
    return sorted(sorted(group["utterance"]) for _, group in same)


def is_silence(index: pd.DataFrame) -> pd.Series[bool]:
    """Find digital silence, row by row, among segments and recordings with the same samples as another."""
    import pandas as pd

    silent = pd.Series(False, index=index.index)
    if not {"duration_s", "sampling_rate", "channels"} <= set(index):
        return silent
    is_cut = index["start_s"].notna() | index["end_s"].notna()
    asked = index[index["audio_hash"].notna() & (is_cut | index["audio_hash"].duplicated(keep=False))]
    frames = (asked["duration_s"] * asked["sampling_rate"]).round().astype(int)
    shapes = list(zip(frames, asked["sampling_rate"].astype(int), asked["channels"].astype(int), strict=True))
    hash_of = {(n, *of): Recording(np.zeros((n, of[1]), np.float32), of[0]).audio_hash for n, *of in set(shapes)}
    silent[asked.index] = [hash_of[shape] for shape in shapes] == asked["audio_hash"]
    return silent


def cross_speaker_duplicates(index: pd.DataFrame, *, person: str = "speaker") -> dict[str, str]:
    """Return the utterances that byte-identical audio of another speaker takes out, with the reason.

    Same emotion: the first id stays. Different emotions: none stays, as one of the labels is wrong.
    """
    out: dict[str, str] = {}
    rows = index.set_index("utterance")
    for group in identical_recordings(index):
        if rows.loc[group, person].nunique() > 1:  # copies within one speaker leak nothing
            if rows.loc[group, "emotion"].nunique(dropna=False) > 1:
                out |= dict.fromkeys(group, f"same audio with different emotions: {listed(group)}")
            else:
                out |= dict.fromkeys(group[1:], f"same audio as {group[0]}, of another {person}")
    return out


def overlapping_segments(index: pd.DataFrame, *, person: str = "speaker") -> tuple[tuple[str, str], ...]:
    """Pairs of utterances of different people that share a stretch of one recording."""
    segments = index[index["start_s"].notna() | index["end_s"].notna()]
    pairs = []
    for _, rows in segments.groupby("file", sort=True):
        starts, ends = rows["start_s"].fillna(0.0), rows["end_s"].fillna(float("inf"))
        open_spans: list[tuple[float, str, str]] = []
        for start, end, utterance, who in sorted(zip(starts, ends, rows["utterance"], rows[person], strict=True)):
            open_spans = [span for span in open_spans if span[0] > start]
            pairs += [(other, utterance) for _, other, whose in open_spans if whose != who]
            open_spans.append((end, utterance, who))
    return tuple(pairs)


def entry_parts(corpus: Corpus) -> dict[str, str]:
    """Digest what an entry says beyond its index, part by part, to find cells made by another entry."""
    parts = {"language": corpus.language, "folds": digest(corpus.folds.model_dump(mode="json"))}
    parts["shares_speakers_with"] = digest(sorted(corpus.shares_speakers_with))
    parts |= {f"partition {name}": digest(p.model_dump(mode="json")) for name, p in corpus.partitions.items()}
    return parts | {f"target {name}": digest(dict(ranges)) for name, ranges in corpus.targets.items()}


def index_fingerprint(index: pd.DataFrame) -> str:
    """Digest what decides cells: ids, audio, labels, and the fields of `--where`, folds, partitions and targets."""
    decisive = ("utterance", "audio_hash", "raw_label", "emotion", "duplicate", *FIELDS)
    return digest({n: index[n].astype("string").fillna("").tolist() for n in decisive if n in index})
