"""Records of cells that are sealed and yet not what serbench writes: each key absent, or of another type."""

import copy

import pytest

import serbench
from serbench.errors import DamagedError, StoreError
from serbench.grid.cells import read_cell
from serbench.grid.check import check_store, find_unused
from serbench.store.files import read_json, write_json

REQUEST = serbench.GridRequest(emotions="anger,happiness,neutral", classifiers=("knn", "dummy"))
OTHERS = {str: 7, int: "seven", bool: "yes", list: "none", dict: ["none"], type(None): {}}


@pytest.fixture
def place(make_corpus, workspace, tmp_path):
    """A workspace with a cell of the grid and one of another system."""
    here = workspace(make_corpus(speakers=("f1", "f2", "m1"), takes=1))
    serbench.run_grid("toy", serbench.GridRequest("mfcc", "dummy", emotions=REQUEST.emotions), here)
    folds = serbench.list_folds("toy", REQUEST, here)
    folds.assign(prediction=folds["emotion"]).to_csv(tmp_path / "mine.csv", index=False)
    serbench.score_predictions(tmp_path / "mine.csv", REQUEST, here)
    return here


def places_in(value, place=()):
    """Places of all keys of a record; of a list, the first element stands for all."""
    if place:
        yield place
    if isinstance(value, dict):
        for key in list(value)[:30]:
            yield from places_in(value[key], (*place, key))
    elif isinstance(value, list) and value:
        yield from places_in(value[0], (*place, 0))


def edited(record, place, *, deleted):
    """Delete a key of a record, or give it a value of another type."""
    changed = copy.deepcopy(record)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    if deleted:
        del inner[place[-1]]
    else:
        inner[place[-1]] = OTHERS.get(type(inner[place[-1]]), "other")
    return changed


def reason_of(path):
    try:
        read_cell(path)
    except DamagedError as error:
        return str(error)
    return ""


def test_every_edit_of_a_type_or_key_is_refused_by_file_and_key(place):
    store, refused, passed = place.store(), 0, 0
    for path in store.cells:
        record = read_json(path)
        for at in places_in(record):
            for deleted in (True, False):
                write_json(path, edited(record, at, deleted=deleted))
                reason = reason_of(path)
                assert not reason or reason.startswith(f"{path}: its key '")
                refused, passed = refused + bool(reason), passed + (not reason)
        write_json(path, record)
    assert refused > 3 * passed


def test_record_that_is_refused_is_named_by_all_that_read_it(place):
    store = place.store()
    path, record = store.cells[0], read_json(store.cells[0])
    write_json(path, {**record, "sets": 7})
    with pytest.warns(UserWarning, match=rf"{path.name}: its key 'sets' is not .* its cell is left out"):
        assert len(serbench.make_report(place).long["provenance"]) == len(store.cells) - 1
    assert check_store(place).damaged[path].startswith("it cannot be read (")
    with pytest.raises(StoreError, match=rf"{path.name}: its key 'sets'"):
        find_unused(place)
