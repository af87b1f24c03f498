"""Labels and what decoding told, joined: the index of a corpus, written anew when what it is made of changed."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serbench import __version__
from serbench.corpora.audio import read_header
from serbench.corpora.fingerprint import entry_parts
from serbench.corpora.labels import Scan
from serbench.corpora.recordings import Measured
from serbench.errors import AudioError, CorpusError, Fault, StoreError
from serbench.store.files import metadata_of, read_metadata, read_table, write_frame
from serbench.store.keys import digest
from serbench.store.results import Store

if TYPE_CHECKING:
    import pandas as pd

_AUDIO = ("duration_s", "sampling_rate", "channels", "audio_hash", "problem")
_RULES = 2
"""Raised whenever an index is made of the same labels and recordings in another way."""
_FIRST = 32
"""Recordings whose headers are looked at, at most, before anything is computed."""


def write_index(scan: Scan, measured: Sequence[Measured], store: Store, *, note: str) -> str:
    """Write a corpus' index unless the store has it as it is, and return the digest of what it is made of.

    Parameters
    ----------
    note : what lacks of a complete copy.

    Raises
    ------
    StoreError : it cannot be written.
    """
    path = store.index(scan.stored)
    entry = entry_parts(scan.corpus)
    metadata = {"partial": note, "language": scan.corpus.language, "serbench": __version__, "entry": entry}
    facts = sorted([m.utterance, *(getattr(m, name) for name in _AUDIO)] for m in measured)
    made_of = digest([metadata, _RULES, scan.corpus.person, list(map(dict, scan.rows)), facts])
    with contextlib.suppress(StoreError):  # a damaged index is made anew
        if path.is_file() and read_metadata(path).get("made_of") == made_of:
            return made_of
    write_frame(path, build_index(scan, measured), metadata={**metadata, "made_of": made_of})
    return made_of


def read_index(store: Store, corpus: str, *, made_of: str) -> pd.DataFrame:
    """Read a corpus' index as it was when this process wrote or found it.

    Raises
    ------
    StoreError : another one has been written since.
    """
    table = read_table(store.index(corpus))
    if metadata_of(table.schema).get("made_of") != made_of:
        found = "has been written anew meanwhile, from other labels or recordings"
        todo = "Run the command again, with a results folder of its own where entries of corpora differ"
        raise StoreError(str(store.index(corpus)), found, todo=todo)
    frame: pd.DataFrame = table.to_pandas()
    return frame


def build_index(scan: Scan, measured: Sequence[Measured]) -> pd.DataFrame:
    """Join labels with what decoding told.

    `problem` says why a recording cannot be decoded, `duplicate` why digital silence or a copy of another speaker's
    takes no part; both are null for all others.
    """
    import pandas as pd

    from serbench.corpora.duplicates import taking_no_part

    types = {"duration_s": "Float64", "sampling_rate": "Int64", "channels": "Int64"}
    told: dict[str, Any] = {name: [getattr(m, name) for m in measured] for name in ("utterance", *_AUDIO)}
    told |= {name: pd.array(told[name], dtype=dtype) for name, dtype in types.items()}
    index = scan.table.merge(pd.DataFrame(told), on="utterance", how="left", validate="one_to_one")
    duplicates = taking_no_part(index, person=scan.corpus.person)
    return index.assign(duplicate=index["utterance"].map(duplicates).astype("string"))


def check_first_rates(scan: Scan, rows: Sequence[Mapping[str, Any]]) -> None:
    """Stop at once where a sample of the recordings to read has another sampling rate than the entry says.

    Raises
    ------
    CorpusError : not one of them has the expected rate.
    """
    files = list(dict.fromkeys(str(row["file"]) for row in rows))
    sample = files[:: max(1, -(-len(files) // _FIRST))]
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
    file_of = {row["utterance"]: row["file"] for row in scan.rows}
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


def _rates(paths: Iterable[Path]) -> Iterator[int]:
    for path in paths:
        try:
            yield read_header(path).sampling_rate
        except AudioError:
            continue  # reported with its reason when it is decoded
