"""A user's own features: a parquet or CSV file with an `utterance` column and one number per feature.

Ids are those of the index (`serbench folds CORPUS` lists them), in any form of Unicode: they are brought to NFC, as
those of the index are. The file's content is its key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from serbench.corpora.documents import check_regular
from serbench.corpora.tables import read_parquet
from serbench.errors import FeatureError, listed, printable
from serbench.features import has_feature_set
from serbench.store.keys import digest

MOST_BYTES, MOST_ROWS, MOST_COLUMNS = 2**32, 2_000_000, 100_000  # of a CSV file


@dataclass(frozen=True, slots=True)
class OwnFeatures:
    """Features read from a file called `argument`: `matrix` is float32, shape (n_utterances, n_features)."""

    name: str
    argument: str
    utterances: tuple[str, ...]
    columns: tuple[str, ...]
    matrix: np.ndarray
    description: Mapping[str, object]  # everything that decides the numbers
    key: str  # name of this table's folder in the store
    versions: ClassVar[Mapping[str, str]] = {}  # of packages that decide the numbers: unknown to serbench
    hop_s: ClassVar[None] = None  # one row per recording, no frames

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.columns)


def is_file_name(name: str) -> bool:
    """Return whether a `--features` value is a file rather than a registered name."""
    return name.lower().endswith((".parquet", ".csv"))


def read_own_features(path: Path) -> OwnFeatures:
    """Read a table of features; its name must be plain and no feature set's, as it names a folder of the store."""
    where, name = printable(path.name), path.stem
    if has_feature_set(name):
        found = f"'{name}' is the name of a feature set of serbench or a plug-in"
        raise FeatureError(where, found, "another file name")
    if not re.fullmatch(r"[^\W_][\w.-]{0,99}", name):
        raise FeatureError(where, "no plain name", "letters, digits, - _ and ., 100 at most", "Rename the file")
    wanted = "a parquet or CSV file of features"
    try:
        if path.suffix.lower() == ".parquet":
            frame = read_parquet(path)
        else:
            check_regular(path, at_most=MOST_BYTES)
            with path.open("rb") as file:  # pandas' memory is many times that of a file of commas
                if file.readline(MOST_BYTES).count(b",") >= MOST_COLUMNS:
                    raise ValueError(f"more than {MOST_COLUMNS} columns")
            frame = pd.read_csv(path, dtype={"utterance": str}, low_memory=False, nrows=MOST_ROWS + 1)
            if len(frame) > MOST_ROWS:
                raise ValueError(f"more than {MOST_ROWS} rows")
            if not isinstance(frame.index, pd.RangeIndex):
                raise ValueError("lines have more fields than the header")
    except FileNotFoundError as error:
        raise FeatureError(printable(str(path)), "no such file", wanted) from error
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FeatureError(where, f"cannot be read ({reason})", wanted) from error
    frame = frame.reset_index() if frame.index.name == "utterance" else frame
    if "utterance" not in frame:
        raise FeatureError(where, f"columns {listed(map(str, frame.columns))}", "one named 'utterance'")
    if n_without := frame["utterance"].isna().sum():
        raise FeatureError(where, f"{n_without} rows without an utterance", "an id in each row")
    ids = frame["utterance"].astype(str).str.normalize("NFC")  # as those of an index are
    if twice := listed(ids[ids.duplicated()]):
        raise FeatureError(where, f"utterances that occur twice: {twice}", "one row per utterance")
    frame = frame.assign(utterance=ids).set_index("utterance").sort_index()
    words = [str(c) for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])]
    if words or frame.empty or frame.shape[1] == 0:
        found = f"columns without numbers: {listed(words)}" if words else f"a table of shape {frame.shape}"
        raise FeatureError(where, found, "one row per utterance and numbers in every other column")
    with np.errstate(over="ignore"):  # infinite as float32: a failure row of its utterance
        matrix = np.ascontiguousarray(frame.to_numpy(dtype=np.float32, na_value=np.nan))
    columns = list(map(str, frame.columns))
    description = {"name": name, "own": digest([list(frame.index), columns, matrix.tobytes().hex()]), "versions": {}}
    key = f"{name}-{digest(description)[:12]}"
    return OwnFeatures(name, path.name, tuple(frame.index), tuple(columns), matrix, description, key)
