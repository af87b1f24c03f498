"""Features come back from their parts and from the mapped file as they were written, rows and frames alike."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serbench.errors import StoreError
from serbench.features.table import (
    FeatureTable,
    Ragged,
    flat,
    for_each_row,
    map_features,
    read_features,
    stored_rows,
    with_flat,
    write_part,
)

LENGTHS = st.lists(st.integers(0, 40), max_size=12)


def frames_of(lengths, n_features=3, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, n_features)).astype(np.float32) for n in lengths]


def frames_table(lengths=(3, 1, 4), n_features=3, first=0):
    matrix = Ragged.of(frames_of(lengths, n_features, seed=first), n_features=n_features)
    return table_of([f"u{first + i:03}" for i in range(len(lengths))], matrix)


def rows_table(n=5, n_features=3, first=0):
    matrix = np.random.default_rng(first).normal(size=(n, n_features)).astype(np.float32)
    return table_of([f"u{first + i:03}" for i in range(n)], matrix)


def table_of(ids, matrix, hashes=None):
    columns = tuple(f"x{i}" for i in range(matrix.shape[1]))
    return FeatureTable(tuple(ids), tuple(hashes or (f"hash of {u}" for u in ids)), columns, matrix)


def check_same(table, other):
    assert table.utterances == other.utterances
    assert (table.audio_hashes, table.columns) == (other.audio_hashes, other.columns)
    for one, two in zip(table.matrix, other.matrix, strict=True):
        np.testing.assert_array_equal(one, two)


@given(LENGTHS.filter(bool), st.data())
def test_frames_of_any_lengths_are_views_and_are_taken_in_the_order_asked_for(lengths, data):
    frames = frames_of(lengths)
    ragged = Ragged.of(frames, n_features=3)
    assert (len(ragged), ragged.shape, ragged.lengths.tolist()) == (len(lengths), (len(lengths), 3), lengths)
    for one, view in zip(frames, ragged, strict=True):
        np.testing.assert_array_equal(view, one)
        assert not view.flags.owndata
        assert not view.flags.writeable
    places = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=20))
    for place, view in zip(places, ragged[places], strict=True):
        np.testing.assert_array_equal(view, frames[place])
    with pytest.raises(IndexError):
        ragged[len(lengths)]


@given(LENGTHS)
def test_values_of_recordings_are_repeated_for_their_frames(lengths):
    ragged = Ragged.of(frames_of(lengths), n_features=3)
    owners = for_each_row(ragged, np.arange(len(lengths)))
    assert len(owners) == len(flat(ragged))
    for i, view in enumerate(with_flat(ragged, flat(ragged) * 2)):
        np.testing.assert_array_equal(view, flat(ragged)[owners == i] * 2)
    matrix = np.eye(3)
    assert flat(matrix) is with_flat(matrix, matrix) is matrix


@given(parts=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=6), min_size=1, max_size=3))
def test_parts_of_frames_of_any_lengths_are_mapped_back_bit_for_bit(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("parts")
    tables = [frames_table(lengths, first=100 * i) for i, lengths in enumerate(parts)]
    for table in tables:
        write_part(folder, table)
    whole = {u: frames for table in tables for u, frames in zip(table.utterances, table.matrix, strict=True)}
    mapped = map_features(folder)
    assert set(mapped.utterances) == set(whole)
    for utterance, view in zip(mapped.utterances, mapped.matrix, strict=True):
        np.testing.assert_array_equal(view, whole[utterance])
        assert np.shares_memory(view, mapped.matrix.matrix)


@pytest.mark.parametrize("table", [rows_table(10_000, 100), frames_table([10_000], 100)], ids=["rows", "frames"])
def test_mapped_features_lie_in_the_file_and_not_in_memory_and_survive_the_way_to_another_process(tmp_path, table):
    write_part(tmp_path, table)
    map_features(tmp_path)
    before = pa.total_allocated_bytes()
    mapped = map_features(tmp_path)
    assert flat(mapped.matrix).nbytes == 4_000_000
    assert not flat(mapped.matrix).flags.writeable
    assert pa.total_allocated_bytes() - before < 1_000_000
    check_same(mapped, table)
    check_same(pickle.loads(pickle.dumps(mapped)), table)


@pytest.mark.parametrize("kind", [rows_table, lambda n, first=0: frames_table([2, 5, 7][:n], first=first)])
def test_wanted_rows_are_read_sorted_and_those_of_earlier_audio_left_out(tmp_path, kind):
    old, new = kind(2), kind(1, first=9)
    write_part(tmp_path, table_of("ba", old.matrix, ["same", "old"]))
    write_part(tmp_path, table_of("a", new.matrix, ["new"]))
    table = read_features(tmp_path, {"a": "new", "b": "same"})
    rows = new.matrix[0], old.matrix[0]
    matrix = np.stack(rows) if rows[0].ndim == 1 else Ragged.of(rows, n_features=3)
    check_same(table, table_of("ab", matrix, ["new", "same"]))
    assert table.frame().index.get_level_values("utterance").unique().to_list() == ["a", "b"]
    assert stored_rows(tmp_path) == {("a", "old"), ("b", "same"), ("a", "new")}


def test_part_is_named_by_its_numbers_and_where_its_frames_are_cut_and_holds_rows_of_float32(tmp_path):
    part = write_part(tmp_path, rows_table())
    assert write_part(tmp_path, rows_table()) == part
    assert str(pq.read_schema(part).field("features").type).startswith("fixed_size_list<element: float")
    assert json.loads(pq.read_schema(part).metadata[b"serbench"])["columns"] == ["x0", "x1", "x2"]
    (block,) = frames_of([4])
    for cut in (1, 3):
        write_part(tmp_path, table_of("ab", Ragged.of([block[:cut], block[cut:]], n_features=3)))
    assert len(list(tmp_path.glob("part-*.parquet"))) == 3


@pytest.mark.parametrize("table", [rows_table(), frames_table()], ids=["rows", "frames"])
def test_mapped_file_is_made_again_for_other_parts_and_where_it_is_damaged(tmp_path, table):
    write_part(tmp_path, rows_table(2, first=50))
    map_features(tmp_path)
    next(tmp_path.glob("part-*.parquet")).unlink()
    write_part(tmp_path, table)
    map_features(tmp_path)
    (path,) = tmp_path.glob("rows-*.arrow")  # that of the earlier parts is gone
    whole = path.read_bytes()
    flipped = [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), 41)]
    for content in (*flipped, *(whole[:length] for length in (0, 10, len(whole) // 2, len(whole) - 1))):
        path.write_bytes(content)
        check_same(map_features(tmp_path), table)


def test_mapped_file_that_cannot_be_written_costs_no_features(tmp_path, monkeypatch):
    write_part(tmp_path, rows_table())

    def no_room(path, table, metadata):
        raise StoreError(str(path), "cannot be written (No space left on device)")

    monkeypatch.setattr("serbench.features.table.write_table", no_room)
    check_same(map_features(tmp_path), rows_table())
