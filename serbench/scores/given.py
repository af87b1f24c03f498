"""Predictions of another system: a CSV or parquet file with the columns `utterance` and `prediction`.

Ids are those of `serbench folds`, whose columns `basis` and `fold` may stand beside them and are then held against the
present state; other columns are ignored. A CSV file is UTF-8, with or without a byte order mark, its fields separated
by commas, semicolons or tabs. Ids are brought to NFC, as those of an index are.
"""

from __future__ import annotations

import csv
import hashlib
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serbench.corpora.documents import read_whole
from serbench.corpora.tables import read_parquet
from serbench.errors import ScoreError, did_you_mean, listed, printable

NEEDED = ("utterance", "prediction")
OPTIONAL = ("basis", "fold")

MOST_BYTES = 2**28
"""Bytes of a file of predictions, on disk and as a table in memory."""

MOST_ROWS = 500_000
"""Rows of a file of predictions: more than any corpus has utterances."""

_DELIMITERS = ",;\t"
_START = "Start from the table that `serbench folds` writes"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a file says of one utterance; `emotion` is empty where it has none, as are `basis` and `fold`."""

    utterance: str
    emotion: str
    basis: str = ""
    fold: str = ""

    @property
    def corpus(self) -> str:
        """The corpus that the id begins with."""
        return self.utterance.partition("/")[0]


@dataclass(frozen=True, slots=True)
class PredictionFile:
    """A file of predictions: its name, the SHA-256 of its bytes, and its rows, each utterance once."""

    name: str
    sha256: str
    rows: tuple[Prediction, ...]

    @property
    def by_corpus(self) -> dict[str, dict[str, Prediction]]:
        """Corpus -> utterance -> its prediction, in the order of the file."""
        found: dict[str, dict[str, Prediction]] = {}
        for row in self.rows:
            found.setdefault(row.corpus, {})[row.utterance] = row
        return found


def read_prediction_file(path: Path) -> PredictionFile:
    """Read predictions.

    Raises
    ------
    ScoreError : absent, unreadable, too large, without the columns needed, or with an utterance twice.
    """
    where = printable(path.name)
    try:
        content = read_whole(path, at_most=MOST_BYTES)
        table = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(content)
        rows = tuple(_predictions(table, where))
    except FileNotFoundError as error:
        raise ScoreError(printable(str(path)), "no such file", "a CSV or parquet file of predictions") from error
    except OSError as error:
        raise ScoreError(where, f"cannot be read ({error.strerror or error})", "a CSV or parquet file") from error
    except (ValueError, csv.Error) as error:
        raise ScoreError(where, f"cannot be read ({error})", "a CSV file in UTF-8, or parquet", _START) from error
    if not rows:
        raise ScoreError(where, "no predictions", "a row for each utterance", _START)
    _check_once(rows, where)
    return PredictionFile(where, hashlib.sha256(content).hexdigest(), rows)


Row = tuple[str, Mapping[str, str]]
"""Where a row stands in its file, and its fields by column."""


def _csv_rows(content: bytes) -> list[Row]:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is UTF-16; save it as UTF-8")
    text = content.decode("utf-8-sig")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    header = [name.strip() for name in next(reader, [])]
    _check_header(header)
    rows: list[Row] = []
    for fields in reader:
        if not any(field.strip() for field in fields):
            continue
        if len(fields) != len(header):
            raise ValueError(f"line {reader.line_num} has {len(fields)} fields, the header {len(header)}")
        if len(rows) == MOST_ROWS:
            raise ValueError(f"more than {MOST_ROWS} rows")
        row = zip(header, fields, strict=True)
        rows.append((f"line {reader.line_num}", {name: field for name, field in row if name in (*NEEDED, *OPTIONAL)}))
    return rows


def _delimiter(text: str) -> str:
    """Choose what separates the fields: whatever makes out most of the columns in the header."""
    header = text[: text.find("\n")] if "\n" in text else text
    return max(_DELIMITERS, key=lambda d: len({name.strip(' "\r') for name in header.split(d)} & set(NEEDED)))


def _parquet_rows(path: Path) -> list[Row]:
    frame = read_parquet(path, most_rows=MOST_ROWS)
    frame = frame.reset_index() if frame.index.name == "utterance" else frame
    _check_header([str(name) for name in frame.columns])
    kept = frame[[name for name in (*NEEDED, *OPTIONAL) if name in frame]]
    texts = kept.astype("string").fillna("").to_dict("records")
    return [(f"row {i}", {str(name): str(value) for name, value in row.items()}) for i, row in enumerate(texts, 1)]


def _check_header(names: Sequence[str]) -> None:
    doubled = sorted(name for name, n in Counter(names).items() if n > 1 and name in (*NEEDED, *OPTIONAL))
    if doubled:
        raise ValueError(f"two columns are called '{doubled[0]}'")
    for name in NEEDED:
        if name not in names:
            hint = did_you_mean(name, names)
            raise ValueError(f"no column '{name}', but {listed(repr(n) for n in names)}. {hint}".rstrip(" ."))


def _predictions(rows: Iterable[Row], where: str) -> Iterator[Prediction]:
    for place, row in rows:
        utterance = unicodedata.normalize("NFC", row["utterance"])
        if not utterance.strip():
            raise ScoreError(f"{where}, {place}", "a row without an utterance", "its id", _START)
        yield Prediction(
            utterance, row["prediction"].strip(), row.get("basis", "").strip(), row.get("fold", "").strip()
        )


def _check_once(rows: Iterable[Prediction], where: str) -> None:
    doubled = [u for u, n in Counter(row.utterance for row in rows).items() if n > 1]
    if doubled:
        raise ScoreError(
            where, f"utterances that occur twice: {listed(doubled)}", "one row per utterance", "Keep one of each"
        )
