import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from serbench import api
from serbench.errors import StoreError
from serbench.store.files import read_frame, system_id, write_atomically, write_text
from serbench.store.keys import digest, package_versions
from serbench.store.results import (
    FeatureTable,
    Store,
    map_features,
    read_features,
    read_predictions,
    stored_rows,
    write_part,
    write_predictions,
)


def part(ids, hashes, value):
    return FeatureTable(tuple(ids), tuple(hashes), ("x", "y"), np.full((len(ids), 2), value, dtype=np.float32))


def test_parts_come_back_bit_for_bit(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    ids = tuple(f"u{i}" for i in range(5))
    write_part(tmp_path, FeatureTable(ids, ids, tuple("abcdefg"), matrix))
    back = read_features(tmp_path, dict(zip(ids, ids, strict=True)))
    assert back.columns == tuple("abcdefg")
    np.testing.assert_array_equal(back.matrix, matrix)


def test_rows_of_earlier_audio_are_passed_over(tmp_path):
    write_part(tmp_path, part(["a", "b"], ["old", "same"], 1.0))
    write_part(tmp_path, part(["a"], ["new"], 2.0))
    back = read_features(tmp_path, {"a": "new", "b": "same"})
    assert back.utterances == ("a", "b")
    assert back.matrix[:, 0].tolist() == [2.0, 1.0]
    assert stored_rows(tmp_path) == {("a", "old"), ("b", "same"), ("a", "new")}


def test_writing_the_same_part_twice_is_one_file(tmp_path):
    first, second = write_part(tmp_path, part(["a"], ["h"], 1.0)), write_part(tmp_path, part(["a"], ["h"], 1.0))
    assert first == second
    assert len(list(tmp_path.iterdir())) == 1


def test_features_are_a_fixed_size_list_of_float32_with_their_names_in_the_metadata(tmp_path):
    schema = pq.read_schema(write_part(tmp_path, part(["a"], ["h"], 1.0)))
    assert str(schema.field("features").type).startswith("fixed_size_list<")
    assert schema.field("features").type.value_type == "float"
    assert json.loads(schema.metadata[b"serbench"])["columns"] == ["x", "y"]


def test_predictions_come_back(tmp_path):
    codes = np.array([[0, 1, 2], [2, 2, 2]])
    write_predictions(tmp_path / "j.parquet", utterances=["a", "b", "c"], predictions=codes, metadata={"key": "j"})
    utterances, back, metadata = read_predictions(tmp_path / "j.parquet")
    assert utterances == ["a", "b", "c"]
    np.testing.assert_array_equal(back, codes)
    assert metadata == {"key": "j"}


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"No space left on device"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_damaged_file_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(StoreError, match=r"a\.parquet: its content is not what was written.* make it anew"):
        read_frame(path)


def test_flipped_byte_in_a_part_is_found(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(200, 50)).astype(np.float32)
    ids = tuple(f"u{i}" for i in range(200))
    path = write_part(tmp_path, FeatureTable(ids, ids, tuple(f"x{i}" for i in range(50)), matrix))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"its content is not what was written.* make it anew"):
        read_features(tmp_path, dict(zip(ids, ids, strict=True)))


def test_file_in_the_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "jobs").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written"):
        write_text(tmp_path / "jobs" / "a.txt", "text")


def test_results_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"the results folder cannot be written"):
        Store(tmp_path / "file" / "results").prepare()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_results_folder_is_an_error(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir(mode=0o500)
    with pytest.raises(StoreError, match=r"the results folder cannot be written"):
        Store(folder).prepare()


def test_leftovers_of_dead_processes_are_cleared_and_those_of_living_ones_kept(tmp_path):
    host = system_id()
    dead = f".tmp-{host}-999999999-0123abcd-x"
    kept = [f".tmp-{host}-{os.getpid()}-0123abcd-x", ".tmp-0123456789ab-1-0123abcd-x", f"mine/{dead}", ".tmp-mine"]
    for name in (dead, f"jobs/{dead}", f"audits/{dead}", f".tmp-{host}-999999999-0123abcd-report/page", *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    Store(tmp_path).prepare()
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(kept)


def test_key_changes_with_content_and_not_with_order_of_fields():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_versions_are_exact_for_opensmile_and_major_minor_for_the_rest():
    import numpy
    import opensmile

    versions = package_versions(["opensmile", "numpy"])
    assert versions["opensmile"] == opensmile.__version__
    assert versions["numpy"] == ".".join(numpy.__version__.split(".")[:2])


def table_of(n=5, width=3):
    ids = tuple(f"toy/{i}" for i in range(n))
    matrix = np.arange(n * width, dtype=np.float32).reshape(n, width)
    return FeatureTable(ids, tuple(f"hash {i}" for i in range(n)), tuple("abc"[:width]), matrix)


def test_mapped_features_are_those_of_the_parts_and_are_mapped(tmp_path):
    write_part(tmp_path, table_of())
    for _ in range(2):
        mapped = map_features(tmp_path)
        assert mapped.utterances == table_of().utterances
        assert mapped.columns == table_of().columns
        np.testing.assert_array_equal(mapped.matrix, table_of().matrix)
        assert not mapped.matrix.flags.owndata
        assert not mapped.matrix.flags.writeable


def test_new_part_makes_a_new_mapped_file_and_removes_the_old(tmp_path):
    write_part(tmp_path, table_of())
    map_features(tmp_path)
    write_part(tmp_path, table_of(n=2))
    assert len(map_features(tmp_path).utterances) == 7
    assert len(list(tmp_path.glob("rows-*.arrow"))) == 1


def test_damaged_mapped_file_is_made_anew(tmp_path):
    write_part(tmp_path, table_of())
    map_features(tmp_path)
    (path,) = tmp_path.glob("rows-*.arrow")
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        mapped = map_features(tmp_path)
        np.testing.assert_array_equal(mapped.matrix, table_of().matrix)
        assert mapped.utterances == table_of().utterances
        assert mapped.audio_hashes == table_of().audio_hashes
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        np.testing.assert_array_equal(map_features(tmp_path).matrix, table_of().matrix)


def test_mapped_file_that_cannot_be_written_costs_no_features(tmp_path, monkeypatch):
    write_part(tmp_path, table_of())

    def no_room(path, write):
        raise StoreError(str(path), "cannot be written (No space left on device)")

    monkeypatch.setattr("serbench.store.files.write_atomically", no_room)
    np.testing.assert_array_equal(map_features(tmp_path).matrix, table_of().matrix)


def test_files_that_another_process_is_still_writing_are_no_cells_and_no_indexes(tmp_path):
    store = Store(tmp_path)
    for path in (store.cell("one"), store.index("toy")):
        path.parent.mkdir()
        for name in (path.name, f".tmp-host-1-ab-{path.name}"):
            (path.parent / name).write_text("{}")
    assert store.cells == [store.cell("one")]
    assert store.indexes == [store.index("toy")]


@pytest.mark.parametrize(
    "url", ["s3://bucket/results", "s3:/bucket/results", "file:///tmp/results", "memory://results"]
)
def test_results_at_a_url_are_refused_with_what_to_do(cli, url):
    with pytest.raises(StoreError, match=r"a URL. Expected a folder of this machine. Copy the folder before and after"):
        api.Workspace(results=url).store()
    code, _, err = cli("report", "--results", url)
    assert code == 1
    assert f"{url}: a URL. Expected a folder" in err
    assert not os.path.exists(url.partition("/")[0])


def test_results_without_a_name_are_refused():
    """An unset variable of the shell must not fill the working directory."""
    with pytest.raises(StoreError, match=r"--results: an empty name\. Expected a folder"):
        api.Workspace("").store()


def test_names_of_folders_are_no_urls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    for name in ("results", "C:/results", "s3:", "s3:results", "s3:/"):
        api.Workspace(results=name).store()
