"""Tables from strangers: nothing in them runs, and none fills the memory."""

import os
import pickle

import audformat
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serbench.corpora import tables
from serbench.corpora.tables import read_table_of_strings
from serbench.errors import CorpusError, FeatureError
from serbench.features.own import read_own_features


def read(path, **options):
    return read_table_of_strings(path, where="toy.labels.file", **options)


class RunsWhenRead:
    """A pickle that makes a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


@pytest.fixture
def database(tmp_path):
    """Save an audformat database of two recordings, with a pickle that runs in the place of its table's."""

    def save(storage_format):
        made = audformat.Database("toy", source="none", usage="unrestricted")
        made.schemes["emotion"] = audformat.Scheme(labels=["anger", "fear"])
        made["files"] = audformat.Table(audformat.filewise_index(["a.wav", "b.wav"]))
        made["files"]["emotion"] = audformat.Column(scheme_id="emotion")
        made["files"]["emotion"].set(["anger", "fear"])
        made.save(str(tmp_path), storage_format=storage_format)
        (tmp_path / "db.files.pkl").write_bytes(pickle.dumps(RunsWhenRead(tmp_path / "trace")))
        return tmp_path / "db.yaml"

    yield save
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("storage_format", ["csv", "parquet"])
def test_audformat_segments_are_those_that_audformat_reads(tmp_path, storage_format):
    made = audformat.Database("toy", source="none", usage="unrestricted")
    made.schemes["arousal"], made.schemes["lag"] = audformat.Scheme("float"), audformat.Scheme("time")
    made["files"] = audformat.Table(audformat.filewise_index(["a.wav", "b.wav"]))
    index = audformat.segmented_index(["a.wav", "a.wav", "b.wav"], ["0.25s", "1.5s", "0s"], ["1.5s", "2s", pd.NaT])
    made["segments"] = audformat.Table(index)
    for name, values in (("arousal", [0.1, None, 3.0]), ("lag", pd.to_timedelta(["1s", None, "0.5s"]))):
        made["segments"][name] = audformat.Column(scheme_id=name)
        made["segments"][name].set(values)
    made.save(str(tmp_path), storage_format=storage_format)
    whole = made["files"].df.reset_index().merge(made["segments"].df.reset_index(), on="file")
    times = {name: whole[name].dt.total_seconds() for name in ("start", "end", "lag")}
    table = read(tmp_path / "db.yaml")
    assert table["file"].tolist() == whole["file"].tolist()
    for name, values in {**times, "arousal": whole["arousal"]}.items():
        assert pd.to_numeric(table[name]).tolist() == pytest.approx(values.tolist(), nan_ok=True)


@pytest.mark.parametrize("storage_format", ["csv", "parquet"])
def test_pickle_beside_an_audformat_header_is_passed_over(database, storage_format):
    assert read(database(storage_format))["emotion"].tolist() == ["anger", "fear"]


def test_table_that_is_only_a_pickle_is_refused(database):
    with pytest.raises(CorpusError, match=r"table 'files' has no db.files.csv .* a pickle is not read"):
        read(database("pkl"))


def test_code_in_an_audformat_header_does_not_run(tmp_path, database):
    header = database("csv")
    with header.open("a") as file:
        file.write(f"\nmeta: !!python/object/apply:os.mkdir ['{tmp_path / 'trace'}']\n")
    assert read(header)["emotion"].tolist() == ["anger", "fear"]


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
HEADERS = {
    "a billion laughs": (LAUGHS, "no audformat header"),
    "itself": ("a: &a [*a]\n", "recursive node"),
    "deep": ("[" * 5000, "recursion"),
    "nothing": ("", "no audformat header"),
    "a list": ("[1, 2]", "no block of tables"),
    "a list of tables": ("tables: [1, 2]", "no block of tables"),
    "a table that is text": ("tables: {x: y}", "table 'x' has no db.x.csv"),
    "a table elsewhere": (
        "{name: x, source: y, usage: other, tables: {../../x: {type: filewise}}}",
        "no name of a file",
    ),
}


@pytest.mark.parametrize(("text", "message"), HEADERS.values(), ids=HEADERS)
def test_odd_audformat_header_is_refused(tmp_path, text, message):
    (tmp_path / "db.yaml").write_text(text)
    with pytest.raises(CorpusError, match=message):
        read(tmp_path / "db.yaml")


CSVS = {
    "not UTF-8": (b"file,emotion\n\xff,a\n", "can't decode byte 0xff"),
    "a NUL": (b"file,emo\0tion\na,b\n", "NUL characters"),
    "a huge field": (b"file\n" + b"a" * 200_000, "field larger than field limit"),
    "two columns of one name": (b"file,file\na,b\n", "two columns are called 'file'"),
    "an open quote": (b'file\n"a', "unexpected end of data"),
    "a million columns": (b"," * 1_000_000 + b"\n" + b"," * 1_000_000, "more than 10000 columns"),
}


@pytest.mark.parametrize(("content", "message"), CSVS.values(), ids=CSVS)
def test_odd_csv_is_refused(tmp_path, content, message):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=rf"toy.labels.file: 'x.csv' cannot be read \(.*{message}"):
        read(tmp_path / "x.csv")


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.yaml"])
def test_pipe_in_the_place_of_a_table_is_not_opened(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(CorpusError, match=r"cannot be read \(a named pipe, not a file\)"):
        read(tmp_path / name)
    if name != "x.yaml":
        with pytest.raises(FeatureError, match=r"cannot be read \(a named pipe, not a file\)"):
            read_own_features(tmp_path / name)


def test_parquet_of_ten_billion_values_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST_PARQUET_VALUES", 999)
    pq.write_table(pa.table({"utterance": ["a"] * 1000}), tmp_path / "x.parquet")
    with pytest.raises(CorpusError, match="1000 rows of 1 columns, at most 999 values are read"):
        read(tmp_path / "x.parquet")


def test_nested_columns_are_left_out_and_the_others_as_they_are(tmp_path):
    table = pa.table({"file": ["a"], "audio": [{"bytes": b"x", "path": "y"}], "list": [[1, 2]], "n": pa.array([3])})
    pq.write_table(table, tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet").to_dict("records") == [{"file": "a", "n": "3"}]
    with pytest.raises(FeatureError, match="one named 'utterance'"):
        read_own_features(tmp_path / "x.parquet")


def test_parquet_reads_as_pandas_wrote_it(tmp_path):
    n = pd.array([1, None], "Int64")
    frame = pd.DataFrame({"file": ["a", "b"], "kind": pd.Categorical(["x", None]), "n": n, "t": [1.5, 2.0]})
    frame.to_parquet(tmp_path / "x.parquet")
    read_back = {"file": ["a", "b"], "kind": ["x", ""], "n": ["1", ""], "t": ["1.5", "2.0"]}
    assert read(tmp_path / "x.parquet").to_dict("list") == read_back


def test_parquet_whose_text_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"utterance": ["a1.wav", "n2.wav"], "x": [1, 2]}), path, compression="none")
    path.write_bytes(path.read_bytes().replace(b"a1.wav", b"a\xb1.wav"))
    with pytest.raises(CorpusError, match=r"cannot be read \("):
        read(path)
    with pytest.raises(FeatureError, match=r"cannot be read \("):
        read_own_features(path)


def test_two_columns_of_one_name_in_parquet_are_refused(tmp_path):
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["file", "file"]), tmp_path / "x.parquet")
    with pytest.raises(CorpusError, match="two columns are called 'file'"):
        read(tmp_path / "x.parquet")


@pytest.mark.parametrize(("first", "second"), [("file,x", "file,y"), ("file,x", "name,y")])
def test_audformat_tables_whose_rows_multiply_or_never_meet_are_refused(tmp_path, first, second):
    (tmp_path / "db.yaml").write_text("tables: {one: {type: filewise}, two: {type: filewise}}")
    for name, header in (("one", first), ("two", second)):
        (tmp_path / f"db.{name}.csv").write_text(header + "\na,1\na,2\n")
    with pytest.raises(CorpusError, match="rows of table 'two' cannot be matched"):
        read(tmp_path / "db.yaml")


NAMES = ["=cmd|' C'!A1", "$x_{2}$", "<script>", "a\nb", "..", "-x", "x" * 101, "a b", "_x"]


@pytest.mark.parametrize("name", NAMES)
def test_own_features_need_a_plain_name(tmp_path, name):
    path = tmp_path / f"{name}.csv"
    path.write_text("utterance,x\na,1\n")
    with pytest.raises(FeatureError, match=r"no plain name. Expected letters, digits, - _ and \."):
        read_own_features(path)


OWN = {
    "a line longer than the header": (b"utterance,x\na,1,2\n", "lines have more fields than the header"),
    "a line longer than the others": (b"utterance,x\na,1\nb,1,2\n", "cannot be read"),
    "nothing": (b"", "cannot be read"),
    "not UTF-8": (b"utterance,x\n\xff,1\n", "cannot be read"),
    "columns without end": (b"," * 100_001 + b"\n", "more than 100000 columns"),
}


@pytest.mark.parametrize(("content", "message"), OWN.values(), ids=OWN)
def test_odd_features_are_refused(tmp_path, content, message):
    (tmp_path / "mine.csv").write_bytes(content)
    with pytest.raises(FeatureError, match=message):
        read_own_features(tmp_path / "mine.csv")
