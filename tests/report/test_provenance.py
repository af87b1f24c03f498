"""What made each table stands in every file of a report, and what is not comparable does not stand side by side."""

import json
import re
import shutil

import pandas as pd
import pytest

import serbench
from serbench import __version__
from serbench.errors import StoreError
from serbench.grid.cells import read_cell
from serbench.scores.predictions import load_predictions, settings_key
from serbench.store.files import read_json, read_metadata, write_json
from serbench.store.results import Store, read_predictions, write_predictions

EMOTIONS = "anger,happiness,neutral"
CLASSIFIERS = ("knn", "logistic", "dummy")


@pytest.fixture
def store(toy_report):
    """A store of three classifiers on two own feature sets."""
    return toy_report(names=("one", "two"), classifiers=CLASSIFIERS)[1]


def report(store):
    return serbench.make_report(serbench.Workspace(results=store.root))


def pretend(store, change, *, features="", classifier=""):
    """Write cells and their jobs as another machine or release would have; return how many cells that are."""
    chosen = [path for path in store.cells if features in path.name and classifier in path.name]
    for path in chosen:
        record = read_json(path)
        record |= change(record)
        write_json(path, record)
        for key in record["jobs"]:
            edit_job(store, key, lambda told, record=record: told_by(record, told))
    return len(chosen)


def told_by(record, metadata):
    versions = {name: record["versions"][name] for name in metadata["versions"]}
    return {
        "versions": versions,
        "revision": record["revision"],
        "features": record["feature_key"],
        "settings": record["settings"],
    }


def edit_job(store, key, change):
    utterances, codes, metadata = read_predictions(store.job(key))
    changed = {**metadata, **change(metadata)}
    write_predictions(store.job(key), utterances=utterances, predictions=codes, metadata=changed)


def shown(made, metric="uar"):
    (table,) = made.of(f"table2-{metric}")
    return {(row[0].text, row[1].text): row[2].text for row in table.rows}


def with_version(package, version):
    return lambda record: {"versions": {**record["versions"], package: version}}


OTHERS = {
    "numpy": (with_version("numpy", "1.0"), r"made with numpy 1\.0, the others with 2\.\d+"),
    "labels": (lambda record: {"basis": "other"}, "made from other labels, recordings and folds than the others"),
    "release": (lambda record: {"serbench": "0.0.9"}, r"made with serbench 0\.0, the others with 0\.1"),
    "features": (
        lambda record: {"feature_key": "two-other"},
        "made with two features two-other, the others with two-[0-9a-f]{12}",
    ),
    "revision": (lambda record: {"revision": 0}, "made with knn revision 0, the others with 1"),
    "settings": (
        lambda record: {"default": 0},
        "made with knn settings 'standard' [0-9a-f]{12}, the others with [0-9a-f]{12}",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_cell_that_differs_from_its_column_is_missing_with_reason_and_command(store, other):
    change, reason = OTHERS[other]
    assert pretend(store, change, features="two", classifier="knn") == 1
    made = report(store)
    ((why, cells),) = made.missing.items()
    assert re.fullmatch(f"not comparable: {reason}; run it again", why)
    assert cells == ["toy two knn"]
    assert made.commands == (f"serbench grid toy --features two.csv --classifier knn --emotions {EMOTIONS}",)
    table = made.of("table2-uar")[0]
    assert [(row[0].text, row[1].text) for row in table.rows if row[2].text == "–"] == [("two", "knn")]
    assert any("toy, two, knn: not comparable" in note for note in table.notes)


def test_same_cells_stand_whether_others_are_there_or_not(store, tmp_path):
    pretend(store, with_version("scipy", "1.0"), classifier="logistic")
    pretend(store, lambda record: {"basis": "other"}, features="one", classifier="dummy")
    mixed = report(store)
    pure = Store(shutil.copytree(store.root, tmp_path / "pure"))
    left_out = {cell for cells in mixed.missing.values() for cell in cells}
    assert left_out == {"toy one logistic", "toy two logistic", "toy one dummy"}
    for path in pure.cells:
        cell = read_json(path)["cell"]
        if f"toy {cell['features']} {cell['classifier']}" in left_out:
            path.unlink()
    alone = report(pure)
    kept = mixed.scores[mixed.scores["value"].notna()].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, alone.scores)
    for metric in ("uar", "war", "kappa"):
        every, fewer = shown(mixed, metric), shown(alone, metric)
        assert fewer.items() <= every.items()
        assert {every[place] for place in set(every) - set(fewer)} <= {"–"}
    for name in ("recall-long", "confusion", "folds"):
        pd.testing.assert_frame_equal(mixed.long[name], alone.long[name])
    for stem in ("recall", "confusion"):
        assert [t.rows for t in mixed.of(stem)] == [t.rows for t in alone.of(stem)]


def test_cell_that_is_not_comparable_gives_way_to_another_of_its_place(store):
    path = next(path for path in store.cells if "one-knn" in path.name)
    record = read_json(path)
    away = {**record, "cell": {**record["cell"], "inner": "4"}, "basis": "other"}  # auto, where there are more groups
    write_json(store.cell("within-toy-one-knn-0"), away)
    before = shown(report(store))
    assert before["one", "knn"] != "–"
    assert report(store).missing.popitem()[0].startswith("not comparable: made from other labels")
    write_json(store.cell("within-toy-one-knn-0"), {**away, "basis": record["basis"]})
    with pytest.raises(StoreError, match="two cells for one place"):
        report(store)


def test_cells_that_cannot_be_scored_have_no_say(store):
    pretend(store, with_version("numpy", "1.0"), features="one")
    pretend(store, with_version("numpy", "1.0"), classifier="knn")
    for path in store.cells:
        if "one" in path.name:
            store.job(read_json(path)["jobs"][0]).unlink()
    made = report(store)
    assert shown(made)["two", "knn"] == "–"
    assert shown(made)["two", "logistic"] != "–"


def test_columns_of_different_releases_stand_and_the_summary_says_which(store, make_corpus, make_features, workspace):
    made = make_corpus(name="other", takes=4)
    index = serbench.load_index("other", workspace(made))
    make_features(index).to_csv(made.parent / "three.csv", index=False)
    request = serbench.GridRequest(features=str(made.parent / "three.csv"), classifiers="knn", emotions=EMOTIONS)
    serbench.run_grid(["other"], request, workspace(made))
    pretend(store, with_version("numpy", "1.0"), features="three")
    both = report(store)
    assert not both.missing
    assert "numpy 1.0 and 2." in both.made_with


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"versions": {"numpy": "1.0"}}, r"made with numpy 1\.0\. Expected what the cell's record says: numpy 2\.\d+"),
        ({"revision": 7}, "made with revision 7. Expected what the cell's record says: revision 1"),
        ({"seed": 3}, "made with seed 3. Expected what the cell's record says: seed 0"),
        ({"scaling": "none"}, "made with scaling none"),
        ({"classifier": "svc"}, "made with classifier svc"),
        (
            {"features": "one-other"},
            "made with features one-other. Expected what the cell's record says: features one-",
        ),
        ({"settings": [{"k": 1}] * 6}, "made with other settings"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_job_made_with_something_else_than_its_cell_says_is_refused_by_name(store, change, message):
    path = next(path for path in store.cells if "one-knn" in path.name)
    key = read_json(path)["jobs"][0]
    edit_job(store, key, lambda _: change)
    (refused,) = (cell for cell in load_predictions(store) if not cell.with_values)
    assert (refused.cell["features"], refused.cell["classifier"]) == ("one", "knn")
    assert re.match(f"jobs/{key}.parquet: {message}", refused.reason)
    assert refused.reason.endswith("Delete this file and run `serbench grid` again.")
    if "seed" in change:  # the report has the reason of any refused cell alike
        made = report(store)
        assert made.missing == {refused.reason: ["toy one knn"]}
        assert shown(made)["one", "knn"] == "–"


def test_every_csv_leads_to_the_cells_and_these_to_what_made_them(store):
    report(store)
    cells = pd.read_csv(store.report / "provenance.csv", keep_default_na=False)
    whole = read_json(store.report / "provenance.json")
    assert cells["provenance"].is_unique
    assert set(cells["provenance"]) == set(whole["cells"])
    for name in ("scores", "recall-long", "folds", "confusion"):
        assert set(pd.read_csv(store.report / f"{name}.csv")["provenance"]) == set(cells["provenance"])
    assert "provenance" in pd.read_csv(store.report / "missing.csv")
    tables = {table["provenance"]: table["cells"] for table in whole["tables"]}
    for stem in ("table2-uar", "table2-war", "table2-kappa", "recall"):
        (key,) = set(pd.read_csv(store.report / f"{stem}.csv")["provenance"])
        assert sorted(cells[cells["table"] == key]["provenance"]) == tables[key] == sorted(cells["provenance"])
    (of_data,) = set(pd.read_csv(store.report / "table1.csv")["provenance"])
    assert of_data in tables


def test_json_holds_versions_seed_corpus_features_classifier_and_settings(store):
    report(store)
    whole = read_json(store.report / "provenance.json")
    for path in store.cells:
        record = read_json(path)
        (made,) = [c for c in whole["cells"].values() if all(c[k] == v for k, v in record["cell"].items())]
        same = ("serbench", "versions", "indexes", "basis", "partials", "feature_key", "revision")
        assert {name: made[name] for name in same} == {name: record[name] for name in same}
        assert whole["settings"][made["settings"]] == {k: record[k] for k in ("settings", "default")}
        assert made["settings"] == settings_key(read_cell(path))
        assert whole["features"][made["feature_key"]]["name"] == record["cell"]["features"]


def test_report_is_the_same_bytes_in_any_folder_and_names_none(store, tmp_path):
    report(store)
    moved = Store(shutil.copytree(store.root, tmp_path / "elsewhere" / "results"))
    shutil.rmtree(moved.report)
    report(moved)
    files = sorted(path.name for path in store.report.iterdir())
    assert files == sorted(path.name for path in moved.report.iterdir())
    for name in files:
        assert (store.report / name).read_bytes() == (moved.report / name).read_bytes()
        assert str(tmp_path).encode() not in (store.report / name).read_bytes()


def test_command_prints_the_provenance_that_the_report_wrote(store, cli):
    code, out, err = cli("report", "--provenance", "--results", store.root)
    assert code == 0, err
    told = json.loads(out[: out.rindex("Open ")])
    assert told == read_json(store.report / "provenance.json")
    assert not err


def test_command_counts_on_stderr_what_it_left_out(store, cli):
    pretend(store, with_version("numpy", "1.0"), classifier="knn")
    code, out, err = cli("report", "--results", store.root)
    assert code == 0, err
    assert "2 of 6 cells have no result:\n  toy one knn and 1 more: not comparable: made with numpy 1.0, " in err
    assert "Missing; to fill: serbench grid toy --features one.csv --classifier knn" in err
    assert f"Made with serbench {__version__}, numpy 2." in out


def test_exported_features_say_what_made_them(make_corpus, workspace, tmp_path):
    place = workspace(make_corpus())
    serbench.export_features("mfcc", tmp_path / "mfcc.parquet", ["toy"], place)
    about = read_metadata(tmp_path / "mfcc.parquet")
    assert about["serbench"] == __version__
    assert about["name"] == "mfcc"
    assert "librosa" in about["versions"]
    assert about["corpora"] == {"toy": ""}


def test_folds_name_the_basis_of_the_cells_they_compare_with(store, workspace, tmp_path):
    folds = serbench.list_folds("toy", serbench.GridRequest(emotions=EMOTIONS), workspace(tmp_path / "corpora.yaml"))
    assert set(folds["basis"]) == {read_json(path)["basis"] for path in store.cells}
