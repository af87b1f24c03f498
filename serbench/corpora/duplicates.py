"""Byte-identical recordings: the same decoded samples under two names; digital silence is a copy of nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from serbench.errors import listed

SILENCE = "digital silence"
"""Why an utterance without a sample that is not zero takes no part."""


def identical_recordings(index: pd.DataFrame) -> list[list[str]]:
    """Groups of utterances whose decoded samples are the same, each sorted, from an index with `audio_hash`.

    Digital silence has no copies.
    """
    known = index[index["audio_hash"].notna() & ~is_silence(index)]
    same = known[known["audio_hash"].duplicated(keep=False)].groupby("audio_hash", sort=True)
    return sorted(sorted(group["utterance"]) for _, group in same)


def is_silence(index: pd.DataFrame) -> pd.Series[bool]:
    """Tell, row by row, pieces of recordings that are digital silence, and whole ones with the same samples as another.

    A whole recording without a twin is taken as it is: hashing a silence of its length would tell of it only.
    """
    from serbench.corpora.audio import hash_of_silence  # brings the decoder, which a report does without

    silent = pd.Series(False, index=index.index)
    if not {"duration_s", "sampling_rate", "channels"} <= set(index):
        return silent
    is_cut = index["start_s"].notna() | index["end_s"].notna()
    asked = index[index["audio_hash"].notna() & (is_cut | index["audio_hash"].duplicated(keep=False))]
    frames = (asked["duration_s"] * asked["sampling_rate"]).round().astype(int)
    shapes = zip(frames, asked["sampling_rate"].astype(int), asked["channels"].astype(int), strict=True)
    silent[asked.index] = [hash_of_silence(*shape) for shape in shapes] == asked["audio_hash"]
    return silent


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


def taking_no_part(index: pd.DataFrame, *, person: str = "speaker") -> dict[str, str]:
    """Name the utterances that take no part, with the reason: digital silence, and copies of another speaker's."""
    silent = index["utterance"][is_silence(index)]
    return {**dict.fromkeys(silent, SILENCE), **cross_speaker_duplicates(index, person=person)}


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
