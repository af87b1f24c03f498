"""A user's own features: a parquet or CSV file with an `utterance` column and one number per feature.

Ids are those of the index (`serbench folds CORPUS` lists them). The file's content is its key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from serbench.errors import FeatureError, listed
from serbench.features import has_feature_set
from serbench.keys import digest

SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True, slots=True)
class OwnFeatures:
    """Features read from a file called `argument`: `matrix` is float32, shape (n_utterances, n_features)."""

    name: str
    argument: str
    utterances: tuple[str, ...]
    columns: tuple[str, ...]
    matrix: np.ndarray

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.columns)

    @property
    def versions(self) -> dict[str, str]:
        """Package versions that decide the numbers: unknown to serbench, so none."""
        return {}

    @property
    def description(self) -> dict[str, object]:
        """Everything that decides the numbers."""
        content = digest([list(self.utterances), list(self.columns), self.matrix.tobytes().hex()])
        return {"name": self.name, "own": content, "versions": self.versions}

    @property
    def key(self) -> str:
        """Name of this table's folder in the store."""
        return f"{self.name}-{digest(self.description)[:12]}"


def is_file_name(name: str) -> bool:
    """Tell whether a `--features` value means a file rather than a registered name."""
    return name.lower().endswith(SUFFIXES)


def read_own_features(path: Path) -> OwnFeatures:
    """Read a table of features.

    Raises
    ------
    FeatureError : absent, unreadable, no `utterance` column, doubled ids, columns that are no numbers, or a name
        that a registered feature set has.
    """
    where = path.name
    if has_feature_set(path.stem):
        raise FeatureError(
            where, f"'{path.stem}' is the name of a feature set of serbench or a plug-in", "another file name"
        )
    frame = _read(path)
    if "utterance" not in frame:
        raise FeatureError(where, f"columns {listed(map(str, frame.columns))}", "one named 'utterance'")
    if frame["utterance"].isna().any():
        raise FeatureError(where, f"{frame['utterance'].isna().sum()} rows without an utterance", "an id in each row")
    if frame["utterance"].duplicated().any():
        twice = frame["utterance"][frame["utterance"].duplicated()].astype(str)
        raise FeatureError(where, f"utterances that occur twice: {listed(twice)}", "one row per utterance")
    frame = frame.assign(utterance=frame["utterance"].astype(str)).set_index("utterance").sort_index()
    words = [str(c) for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])]
    if words or frame.empty or frame.shape[1] == 0:
        found = f"columns without numbers: {listed(words)}" if words else f"a table of shape {frame.shape}"
        raise FeatureError(where, found, "one row per utterance and numbers in every other column")
    matrix = np.ascontiguousarray(frame.to_numpy(dtype=np.float32))
    return OwnFeatures(path.stem, path.name, tuple(frame.index), tuple(map(str, frame.columns)), matrix)


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FeatureError(str(path), "no such file", "a parquet or CSV file of features")
    try:
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path, dtype={"utterance": str})
        frame = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise FeatureError(path.name, f"cannot be read ({error})", "a parquet or CSV file") from error
    return frame.reset_index() if frame.index.name == "utterance" else frame
