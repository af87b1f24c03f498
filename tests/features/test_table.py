"""Ragged arrays hold what was put into them, without padding and without copies."""

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


def table_of(frames, first=0, n_features=3):
    ids = tuple(f"u{first + i:03}" for i in range(len(frames)))
    columns = tuple(f"x{i}" for i in range(n_features))
    return FeatureTable(ids, tuple(f"hash of {u}" for u in ids), columns, Ragged.of(frames, n_features=n_features))


@given(LENGTHS)
def test_frames_of_any_lengths_read_back_equal_and_views_do_not_copy(lengths):
    frames = frames_of(lengths)
    ragged = Ragged.of(frames, n_features=3)
    assert (len(ragged), ragged.shape) == (len(lengths), (len(lengths), 3))
    assert ragged.lengths.tolist() == lengths
    assert ragged.offsets.dtype == np.int64
    for one, view in zip(frames, ragged, strict=True):
        np.testing.assert_array_equal(view, one)
        assert not view.flags.owndata
        assert not view.flags.writeable
        assert not len(view) or np.shares_memory(view, ragged.matrix)


@given(LENGTHS.filter(bool), st.data())
def test_several_recordings_are_taken_in_the_order_asked_for(lengths, data):
    frames = frames_of(lengths)
    places = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=20))
    taken = Ragged.of(frames, n_features=3)[places]
    assert len(taken) == len(places)
    for place, view in zip(places, taken, strict=True):
        np.testing.assert_array_equal(view, frames[place])


def test_place_beyond_the_end_is_an_error_and_not_an_empty_recording():
    ragged = Ragged.of(frames_of([2, 3]), n_features=3)
    np.testing.assert_array_equal(ragged[-1], ragged[1])
    with pytest.raises(IndexError):
        ragged[2]


@given(LENGTHS)
def test_what_is_known_of_recordings_is_repeated_for_their_frames(lengths):
    ragged = Ragged.of(frames_of(lengths), n_features=3)
    owners = for_each_row(ragged, np.arange(len(lengths)))
    assert len(owners) == len(flat(ragged))
    for i, view in enumerate(with_flat(ragged, flat(ragged) * 2)):
        np.testing.assert_array_equal(view, flat(ragged)[owners == i] * 2)


def test_matrix_of_rows_is_its_own_block():
    matrix = np.eye(3)
    assert flat(matrix) is matrix
    assert with_flat(matrix, matrix) is matrix
    assert for_each_row(matrix, owners := np.arange(3)) is owners


@given(parts=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=6), min_size=1, max_size=3))
def test_parts_of_frames_of_any_lengths_are_mapped_back_bit_for_bit(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("parts")
    tables = [table_of(frames_of(lengths, seed=i), first=100 * i) for i, lengths in enumerate(parts)]
    for table in tables:
        write_part(folder, table)
    whole = {u: frames for table in tables for u, frames in zip(table.utterances, table.matrix, strict=True)}
    mapped = map_features(folder)
    assert set(mapped.utterances) == set(whole)
    assert not mapped.matrix.matrix.flags.owndata
    assert not mapped.matrix.matrix.flags.writeable
    for utterance, view in zip(mapped.utterances, mapped.matrix, strict=True):
        np.testing.assert_array_equal(view, whole[utterance])
        assert np.shares_memory(view, mapped.matrix.matrix)


def test_mapped_frames_lie_in_the_file_and_not_in_memory(tmp_path):
    write_part(tmp_path, table_of(frames_of([10_000] * 2, n_features=100), n_features=100))
    map_features(tmp_path)
    before = pa.total_allocated_bytes()
    mapped = map_features(tmp_path)
    assert mapped.matrix.matrix.nbytes == 8_000_000
    assert pa.total_allocated_bytes() - before < 100_000


def test_frames_survive_the_way_to_another_process(tmp_path):
    write_part(tmp_path, table_of(frames_of([3, 1])))
    mapped = map_features(tmp_path)
    there = pickle.loads(pickle.dumps(mapped))
    assert there.utterances == mapped.utterances
    for one, other in zip(there.matrix, mapped.matrix, strict=True):
        np.testing.assert_array_equal(one, other)


def test_wanted_frames_are_read_sorted_and_those_of_earlier_audio_passed_over(tmp_path):
    first, second = frames_of([2, 5]), frames_of([7], seed=1)
    write_part(tmp_path, FeatureTable(("b", "a"), ("same", "old"), tuple("xyz"), Ragged.of(first, n_features=3)))
    write_part(tmp_path, FeatureTable(("a",), ("new",), tuple("xyz"), Ragged.of(second, n_features=3)))
    back = read_features(tmp_path, {"a": "new", "b": "same"})
    assert back.utterances == ("a", "b")
    assert back.matrix.lengths.tolist() == [7, 2]
    np.testing.assert_array_equal(back.matrix[0], second[0])
    table = back.frame()
    assert list(table.index.names) == ["utterance", "frame"]
    assert table.index.to_list()[6:] == [("a", 6), ("b", 0), ("b", 1)]
    np.testing.assert_array_equal(table.loc["b"].to_numpy(), first[0])


def test_frames_cut_at_other_places_are_another_part(tmp_path):
    block = frames_of([4])[0]
    for cut in (1, 3):
        halves = Ragged.of([block[:cut], block[cut:]], n_features=3)
        write_part(tmp_path, FeatureTable(("a", "b"), ("h", "i"), tuple("xyz"), halves))
    assert len(list(tmp_path.glob("part-*.parquet"))) == 2


def test_damaged_map_of_frames_is_made_anew(tmp_path):
    table = table_of(frames_of([3, 1, 4]))
    write_part(tmp_path, table)
    map_features(tmp_path)
    (path,) = tmp_path.glob("rows-*.arrow")
    whole = path.read_bytes()
    for at in range(0, len(whole), 23):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        mapped = map_features(tmp_path)
        np.testing.assert_array_equal(mapped.matrix.matrix, table.matrix.matrix)
        np.testing.assert_array_equal(mapped.matrix.offsets, table.matrix.offsets)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        np.testing.assert_array_equal(map_features(tmp_path).matrix.matrix, table.matrix.matrix)


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


def test_flipped_byte_in_a_part_is_found(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(200, 50)).astype(np.float32)
    ids = tuple(f"u{i}" for i in range(200))
    path = write_part(tmp_path, FeatureTable(ids, ids, tuple(f"x{i}" for i in range(50)), matrix))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"its content is not what was written.* make it anew"):
        read_features(tmp_path, dict(zip(ids, ids, strict=True)))


def rows_table(n=5, width=3):
    ids = tuple(f"toy/{i}" for i in range(n))
    matrix = np.arange(n * width, dtype=np.float32).reshape(n, width)
    return FeatureTable(ids, tuple(f"hash {i}" for i in range(n)), tuple("abc"[:width]), matrix)


def test_mapped_features_are_those_of_the_parts_and_are_mapped(tmp_path):
    write_part(tmp_path, rows_table())
    for _ in range(2):
        mapped = map_features(tmp_path)
        assert mapped.utterances == rows_table().utterances
        assert mapped.columns == rows_table().columns
        np.testing.assert_array_equal(mapped.matrix, rows_table().matrix)
        assert not mapped.matrix.flags.owndata
        assert not mapped.matrix.flags.writeable


def test_new_part_makes_a_new_mapped_file_and_removes_the_old(tmp_path):
    write_part(tmp_path, rows_table())
    map_features(tmp_path)
    write_part(tmp_path, rows_table(n=2))
    assert len(map_features(tmp_path).utterances) == 7
    assert len(list(tmp_path.glob("rows-*.arrow"))) == 1


def test_damaged_mapped_file_is_made_anew(tmp_path):
    write_part(tmp_path, rows_table())
    map_features(tmp_path)
    (path,) = tmp_path.glob("rows-*.arrow")
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        mapped = map_features(tmp_path)
        np.testing.assert_array_equal(mapped.matrix, rows_table().matrix)
        assert mapped.utterances == rows_table().utterances
        assert mapped.audio_hashes == rows_table().audio_hashes
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        np.testing.assert_array_equal(map_features(tmp_path).matrix, rows_table().matrix)


def test_mapped_file_that_cannot_be_written_costs_no_features(tmp_path, monkeypatch):
    write_part(tmp_path, rows_table())

    def no_room(path, table, metadata):
        raise StoreError(str(path), "cannot be written (No space left on device)")

    monkeypatch.setattr("serbench.features.table.write_mappable", no_room)
    np.testing.assert_array_equal(map_features(tmp_path).matrix, rows_table().matrix)
