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
    """Save an audformat database of segments, with a pickle that runs in the place of its table's."""

    def save(storage_format):
        made = audformat.Database("toy", source="none", usage="unrestricted")
        made.schemes["arousal"], made.schemes["lag"] = audformat.Scheme("float"), audformat.Scheme("time")
        made["files"] = audformat.Table(audformat.filewise_index(["a.wav", "b.wav"]))
        index = audformat.segmented_index(["a.wav", "a.wav", "b.wav"], ["0.25s", "1.5s", "0s"], ["1.5s", "2s", pd.NaT])
        made["segments"] = audformat.Table(index)
        for name, values in (("arousal", [0.1, None, 3.0]), ("lag", pd.to_timedelta(["1s", None, "0.5s"]))):
            made["segments"][name] = audformat.Column(scheme_id=name)
            made["segments"][name].set(values)
        made.save(str(tmp_path), storage_format=storage_format)
        for table in ("files", "segments"):
            (tmp_path / f"db.{table}.pkl").write_bytes(pickle.dumps(RunsWhenRead(tmp_path / "trace")))
        return made, tmp_path / "db.yaml"

    yield save
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("storage_format", ["csv", "parquet"])
def test_audformat_segments_are_those_that_audformat_reads_and_no_code_of_the_database_runs(database, storage_format):
    made, header = database(storage_format)
    with header.open("a") as file:
        file.write(f"\nmeta: !!python/object/apply:os.mkdir ['{header.with_name('trace')}']\n")
    table = read(header)
    whole = made["files"].df.reset_index().merge(made["segments"].df.reset_index(), on="file")
    times = {name: whole[name].dt.total_seconds() for name in ("start", "end", "lag")}
    assert table["file"].tolist() == whole["file"].tolist()
    for name, values in {**times, "arousal": whole["arousal"]}.items():
        assert pd.to_numeric(table[name]).tolist() == pytest.approx(values.tolist(), nan_ok=True)


def test_table_that_is_only_a_pickle_is_refused(database):
    with pytest.raises(CorpusError, match=r"table 'files' has no db.files.csv .* a pickle is not read"):
        read(database("pkl")[1])


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
HEADERS = {
    "nothing": ("", "no audformat header"),
    "a billion laughs": (LAUGHS, "no audformat header"),
    "itself": ("a: &a [*a]\n", "recursive node"),
    "deep": ("[" * 5000, "recursion"),
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


@pytest.mark.parametrize(
    ("text", "column", "values"),
    [
        ("file;emotion\na.wav;joy\n", "emotion", ["joy"]),
        ('file;"what, why";emotion\na.wav;x;joy\n', "emotion", ["joy"]),
        ("file,text;note\na.wav,x\n", "text;note", ["x"]),
        ("file;start\na.wav;1,25\nb.wav;\nc.wav;2\n", "start", ["1.25", "", "2"]),
        ("file;text\na.wav;1,25\nb.wav;no, 2\n", "text", ["1,25", "no, 2"]),
        ('file,start\na.wav,"1,250"\n', "start", ["1,250"]),  # 1250 or 1.25: nobody knows
    ],
)
def test_semicolons_part_columns_and_then_numbers_may_have_decimal_commas(tmp_path, text, column, values):
    (tmp_path / "x.csv").write_text(text)
    assert read(tmp_path / "x.csv")[column].tolist() == values


@pytest.mark.parametrize(("content", "message"), CSVS.values(), ids=CSVS)
def test_odd_csv_is_refused(tmp_path, content, message):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=rf"toy.labels.file: 'x.csv' cannot be read \(.*{message}"):
        read(tmp_path / "x.csv")


def test_large_table_of_text_is_not_read(tmp_path):
    with (tmp_path / "x.csv").open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(CorpusError, match=r"67108865 bytes, at most 67108864 are read"):
        read(tmp_path / "x.csv")


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.yaml"])
def test_pipe_in_the_place_of_a_table_is_not_opened(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(CorpusError, match=r"cannot be read \(a named pipe, not a file\)"):
        read(tmp_path / name)
    if name != "x.yaml":
        with pytest.raises(FeatureError, match=r"cannot be read \(a named pipe, not a file\)"):
            read_own_features(tmp_path / name)


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


PARQUETS = {
    "text that is not UTF-8": (["a1.wav", "n2.wav"], ["utterance"], r"cannot be read \("),
    "ten billion values": (["a"] * 1000, ["utterance"], "1000 rows of 1 columns, at most 999 values are read"),
    "two columns of one name": (["a"], ["file", "file"], "two columns are called 'file'"),
}


@pytest.mark.parametrize(("values", "names", "message"), PARQUETS.values(), ids=PARQUETS)
def test_odd_parquet_is_refused(tmp_path, monkeypatch, values, names, message):
    monkeypatch.setattr(tables, "MOST_PARQUET_VALUES", 999)
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table([pa.array(values)] * len(names), names=names), path, compression="none")
    path.write_bytes(path.read_bytes().replace(b"a1.wav", b"a\xb1.wav"))
    with pytest.raises(CorpusError, match=message):
        read(path)
    if len(values) == 2:
        with pytest.raises(FeatureError, match=message):
            read_own_features(path)


@pytest.mark.parametrize(("first", "second"), [("file,x", "file,y"), ("file,x", "name,y")])
def test_audformat_tables_whose_rows_multiply_or_never_meet_are_refused(tmp_path, first, second):
    (tmp_path / "db.yaml").write_text("tables: {one: {type: filewise}, two: {type: filewise}}")
    for name, header in (("one", first), ("two", second)):
        (tmp_path / f"db.{name}.csv").write_text(header + "\na,1\na,2\n")
    with pytest.raises(CorpusError, match="rows of table 'two' cannot be matched"):
        read(tmp_path / "db.yaml")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_repeated_text_is_one_text_in_memory(tmp_path, kind):
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), pa.array(["x" * 1_000_000], kind))
    pq.write_table(pa.table({"utterance": text}), tmp_path / "x.parquet", compression="zstd", store_schema=False)
    assert (tmp_path / "x.parquet").stat().st_size < 1000  # and stands for 3 GB
    assert len(set(map(id, read(tmp_path / "x.parquet")["utterance"]))) == 1


def test_own_features_without_a_value_are_nan_and_those_beyond_single_precision_infinite(tmp_path):
    pd.DataFrame({"utterance": ["a", "b"], "x": pd.array([1.5, None], "Float64")}).to_parquet(tmp_path / "m.parquet")
    assert pd.isna(read_own_features(tmp_path / "m.parquet").matrix).tolist() == [[False], [True]]
    (tmp_path / "mine.csv").write_text("utterance,x\na,1e300\n")
    assert read_own_features(tmp_path / "mine.csv").matrix.tolist() == [[float("inf")]]


OWN = {
    "nothing": (b"", "cannot be read"),
    "a line longer than the header": (b"utterance,x\na,1,2\n", "lines have more fields than the header"),
    "a line longer than the others": (b"utterance,x\na,1\nb,1,2\n", "cannot be read"),
    "not UTF-8": (b"utterance,x\n\xff,1\n", "cannot be read"),
    "columns without end": (b"," * 100_001 + b"\n", "more than 100000 columns"),
}
PLAIN = r"no plain name. Expected letters, digits, - _ and \."
NAMES = ["=cmd|' C'!A1", "$x_{2}$", "<script>", "a\nb", "..", "-x", "x" * 101, "a b", "_x"]
OWN |= {f"named {name}": (b"utterance,x\na,1\n", PLAIN) for name in NAMES}


@pytest.mark.parametrize("why", OWN)
def test_own_features_that_are_odd_or_without_a_plain_name_are_refused(tmp_path, why):
    content, message = OWN[why]
    path = tmp_path / f"{why.removeprefix('named ') if message == PLAIN else 'mine'}.csv"
    path.write_bytes(content)
    with pytest.raises(FeatureError, match=message):
        read_own_features(path)
