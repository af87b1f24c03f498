"""The state of an index in one word, so that what was made from another state is known."""

from __future__ import annotations

import pandas as pd

from serbench.corpora.schema import Corpus
from serbench.keys import digest

_DECISIVE = (
    *("utterance", "audio_hash", "speaker", "raw_label", "emotion", "gender", "session", "voice", "duplicate"),
    *("arousal", "valence", "language"),
)


def entry_parts(corpus: Corpus) -> dict[str, str]:
    """Digest what an entry says beyond its index, part by part, so that cells made by another entry are known."""
    parts = {"language": corpus.language, "folds": digest(corpus.folds.model_dump(mode="json"))}
    parts |= {f"partition {name}": digest(p.model_dump(mode="json")) for name, p in corpus.partitions.items()}
    return parts | {f"target {name}": digest(dict(ranges)) for name, ranges in corpus.targets.items()}


def index_fingerprint(index: pd.DataFrame, *, with_texts: bool = False) -> str:
    """Digest what decides cells: ids, audio, people, labels, what groups people, and where asked for the texts."""
    decisive = (*_DECISIVE, "text") if with_texts else _DECISIVE
    columns = [index[name].astype("string").fillna("") for name in decisive if name in index]
    return digest([list(row) for row in zip(*columns, strict=True)])
