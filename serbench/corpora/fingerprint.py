"""The state of an index in one word, so that what was made from another state is known."""

from __future__ import annotations

import pandas as pd

from serbench.keys import digest

_DECISIVE = (
    *("utterance", "audio_hash", "speaker", "raw_label", "emotion", "gender", "session", "voice", "duplicate"),
    *("arousal", "valence", "language"),
)


def index_fingerprint(index: pd.DataFrame, *, with_texts: bool = False) -> str:
    """Digest what decides cells: ids, audio, people, labels, what groups people, and where asked for the texts."""
    decisive = (*_DECISIVE, "text") if with_texts else _DECISIVE
    columns = [index[name].astype("string").fillna("") for name in decisive if name in index]
    return digest([list(row) for row in zip(*columns, strict=True)])
