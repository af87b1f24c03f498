"""Byte-identical recordings: the same decoded samples under two names."""

from __future__ import annotations

import numpy as np
import pandas as pd

from serbench.errors import listed


def identical_recordings(index: pd.DataFrame) -> list[list[str]]:
    """Groups of utterances whose decoded samples are the same, each sorted, from an index with `audio_hash`."""
    known = index[index["audio_hash"].notna()]
    same = known[known["audio_hash"].duplicated(keep=False)].groupby("audio_hash", sort=True)
    return sorted(sorted(group["utterance"]) for _, group in same)


def overlapping_segments(index: pd.DataFrame, *, person: str = "speaker") -> tuple[tuple[str, str], ...]:
    """Pairs of utterances of different people that share a stretch of one recording: the same audio in part."""
    segments = index[index["start_s"].notna() | index["end_s"].notna()]
    pairs = []
    for _, rows in segments.groupby("file", sort=True):
        spans = zip(
            rows["start_s"].fillna(0.0), rows["end_s"].fillna(np.inf), rows["utterance"], rows[person], strict=True
        )
        under_way: list[tuple[float, str, str]] = []
        for start, end, utterance, who in sorted(spans):
            under_way = [span for span in under_way if span[0] > start]
            pairs += [(other, utterance) for _, other, whose in under_way if whose != who]
            under_way.append((end, utterance, who))
    return tuple(pairs)


def cross_speaker_duplicates(index: pd.DataFrame, *, person: str = "speaker") -> dict[str, str]:
    """Name the utterances that byte-identical audio of another speaker takes out, with the reason.

    Same emotion: the first id stays. Different emotions: none stays, for one of the labels is wrong. Copies within
    one speaker leak nothing and stay.
    """
    out: dict[str, str] = {}
    rows = index.set_index("utterance")
    for group in identical_recordings(index):
        if rows.loc[group, person].nunique() < 2:
            continue
        if rows.loc[group, "emotion"].nunique(dropna=False) > 1:
            out.update(dict.fromkeys(group, f"same audio with different emotions: {listed(group)}"))
        else:
            out.update(dict.fromkeys(group[1:], f"same audio as {group[0]}, of another {person}"))
    return out
