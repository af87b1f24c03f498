"""Records of cells that are sealed and yet not what serbench writes: each key absent, or of another type."""

import contextlib
import copy
import warnings

import pytest

import serbench
from serbench.errors import DamagedError, SerbenchError, StoreError
from serbench.grid.cells import read_cell
from serbench.grid.check import check_store, find_unused
from serbench.store.files import read_json, write_json

REQUEST = serbench.GridRequest(emotions="anger,happiness,neutral", classifiers=("knn", "dummy"))
OTHERS = {str: 7, int: "seven", bool: "yes", list: "none", dict: ["none"], type(None): {}}


@pytest.fixture
def place(make_corpus, workspace, tmp_path):
    """A workspace with cells of the grid, nested and refused, and of another system."""
    here = workspace(make_corpus(speakers=("f1", "f2", "m1"), takes=1))
    serbench.run_grid("toy", serbench.GridRequest("mfcc", ("knn", "dummy"), emotions=REQUEST.emotions), here)
    refused = serbench.GridRequest("mfcc", ("knn", "dummy"), emotions=REQUEST.emotions, scaling="none")
    serbench.run_grid("toy", refused, here)
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


def let_through(store):
    """Edit every key of every record; return the edits that are not refused in words."""
    refused, passed = 0, []
    for path in store.cells:
        record = read_json(path)
        for at in places_in(record):
            for deleted in (True, False):
                changed = edited(record, at, deleted=deleted)
                write_json(path, changed)
                reason = reason_of(path)
                assert not reason or reason.startswith(f"{path}: its key '")
                refused, passed = refused + bool(reason), passed + ([] if reason else [(path, changed)])
        write_json(path, record)
    assert refused > 5 * len(passed)
    return passed


def survive(place, passed):
    """Do all that reads records on each edit: errors are words."""
    commands = (
        lambda: serbench.make_report(place),
        lambda: serbench.compare_results(place, place),
        lambda: check_store(place),
        lambda: find_unused(place),
        lambda: serbench.plan_grid("toy", REQUEST, place, dry_run=True),
    )
    for path, changed in passed:
        record = read_json(path)
        write_json(path, changed)
        for command in commands:
            with contextlib.suppress(SerbenchError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                command()
        write_json(path, record)


@pytest.mark.parametrize(
    "step",
    [32, pytest.param(4, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)],
    ids="every {}th".format,
)
def test_every_edit_of_a_record_is_refused_by_file_and_key_or_does_no_harm(place, step):
    survive(place, let_through(place.store())[::step])


def test_record_that_is_refused_is_named_by_all_that_read_it(place):
    store = place.store()
    path = next(path for path in store.cells if "-knn-" in path.name and read_json(path)["jobs"])
    record = read_json(path)
    write_json(path, {**record, "sets": {}})
    with pytest.warns(UserWarning, match=rf"{path.name}: its key 'sets' does not agree .* its cell is left out"):
        assert len(serbench.make_report(place).long["provenance"]) == len(store.cells) - 1
    assert check_store(place).damaged[path].startswith("it cannot be read (")
    with pytest.raises(StoreError, match=rf"{path.name}: its key 'sets'"):
        find_unused(place)
