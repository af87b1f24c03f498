"""The state of an index in one word, so that what was made from another state is known."""

from __future__ import annotations

import pandas as pd

from serbench.keys import digest

_DECISIVE = ("utterance", "audio_hash", "speaker", "raw_label", "emotion", "gender", "session", "voice", "duplicate")


def index_fingerprint(index: pd.DataFrame) -> str:
    """Digest what decides cells: ids, audio, people, labels, and what groups people."""
    columns = [index[name].astype("string").fillna("") for name in _DECISIVE if name in index]
    return digest([list(row) for row in zip(*columns, strict=True)])
