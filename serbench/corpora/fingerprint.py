"""The state of an index in one word, so that what was made from another state is known."""

from __future__ import annotations

import pandas as pd

from serbench.corpora.entry import FIELDS, Corpus
from serbench.store.keys import digest

_DECISIVE = (
    *("utterance", "audio_hash", "raw_label", "emotion", "duplicate"),
    *(field for field in FIELDS if field != "emotion"),
)
"""What decides cells: ids, audio, labels, and every field that `--where`, folds, partitions or targets may name."""


def entry_parts(corpus: Corpus) -> dict[str, str]:
    """Digest what an entry says beyond its index, part by part, so that cells made by another entry are known."""
    parts = {"language": corpus.language, "folds": digest(corpus.folds.model_dump(mode="json"))}
    parts["shares_speakers_with"] = digest(sorted(corpus.shares_speakers_with))
    parts |= {f"partition {name}": digest(p.model_dump(mode="json")) for name, p in corpus.partitions.items()}
    return parts | {f"target {name}": digest(dict(ranges)) for name, ranges in corpus.targets.items()}


def index_fingerprint(index: pd.DataFrame) -> str:
    """Digest the columns of an index that decide cells, whatever the order of its columns."""
    columns = {name: index[name].astype("string").fillna("").tolist() for name in _DECISIVE if name in index}
    return digest(columns)
