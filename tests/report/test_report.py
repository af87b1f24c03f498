"""The report against plain computations from the stored predictions, and its tables as users see them."""

import html

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, f1_score, recall_score

import serbench
from serbench.errors import StoreError
from serbench.scores.metrics import ALL_METRICS, METRICS
from serbench.scores.predictions import load_predictions
from serbench.store.files import read_json, write_json
from serbench.store.results import Store, read_predictions

EMOTIONS = ["anger", "happiness", "neutral"]


def stored_truth_and_predictions(store, name):
    """Pooled truth and predictions of the default setting, read from the store without serbench.report."""
    record = next(r for r in map(read_json, store.cells) if r["cell"]["classifier"] == name)
    emotion = dict(zip(record["utterances"]["id"], record["utterances"]["emotion"], strict=True))
    truth, prediction, folds = [], [], []
    for evaluation in record["folds"]:
        utterances, codes, metadata = read_predictions(store.job(evaluation["job"]))
        assert metadata["emotions"] == EMOTIONS
        for u in record["sets"][evaluation["name"]]:
            truth.append(emotion[u])
            prediction.append(EMOTIONS[codes[record["default"], utterances.index(u)]])
            folds.append(evaluation["name"])
    return pd.DataFrame({"truth": truth, "prediction": prediction, "fold": folds})


def test_scores_agree_with_scikit_learn_on_the_stored_predictions(toy_report):
    report, store, _ = toy_report()
    scores = report.scores[(report.scores["rule"] == "default") & (report.scores["classifier"] == "knn")]
    value = scores.set_index("metric")["value"]
    pool = stored_truth_and_predictions(store, "knn")
    t, p = pool["truth"], pool["prediction"]
    assert value["uar"] == pytest.approx(recall_score(t, p, average="macro"))
    assert value["war"] == pytest.approx(accuracy_score(t, p))
    assert value["kappa"] == pytest.approx(cohen_kappa_score(t, p))
    assert value["macro_f1"] == pytest.approx(f1_score(t, p, average="macro"))
    folds = pool.groupby("fold")[["truth", "prediction"]]
    assert value["uar_folds"] == pytest.approx(
        np.mean([recall_score(f["truth"], f["prediction"], average="macro") for _, f in folds])
    )
    assert value["war_folds"] == pytest.approx(np.mean([accuracy_score(f["truth"], f["prediction"]) for _, f in folds]))


def test_confusion_and_recall_agree_with_scikit_learn(toy_report):
    _, store, _ = toy_report()
    pool = stored_truth_and_predictions(store, "knn")
    long = pd.read_csv(store.report / "confusion.csv")
    mine = long[(long["classifier"] == "knn") & (long["rule"] == "default")]
    matrix = mine.pivot(index="truth", columns="prediction", values="n_utterances").loc[EMOTIONS, EMOTIONS]
    np.testing.assert_array_equal(matrix, confusion_matrix(pool["truth"], pool["prediction"], labels=EMOTIONS))
    recall = pd.read_csv(store.report / "recall-long.csv")
    recall = recall[(recall["classifier"] == "knn") & (recall["rule"] == "default")].set_index("emotion")["recall"]
    expected = recall_score(pool["truth"], pool["prediction"], labels=EMOTIONS, average=None)
    np.testing.assert_allclose(recall[EMOTIONS], expected)


def test_oracle_is_the_best_single_setting_on_the_test_data(toy_report):
    report, store, _ = toy_report(classifiers=("knn",))
    record = read_json(store.cells[0])
    best = 0.0
    for setting in range(len(record["settings"])):
        changed = {**record, "default": setting}
        write_json(store.cells[0], changed)
        pool = stored_truth_and_predictions(store, "knn")
        best = max(best, recall_score(pool["truth"], pool["prediction"], average="macro"))
    oracle = report.scores[(report.scores["rule"] == "oracle") & (report.scores["metric"] == "uar")]["value"].item()
    assert oracle == pytest.approx(best)


def test_scores_have_the_promised_columns(toy_report):
    report, store, _ = toy_report()
    promised = "protocol task train corpus features classifier space scaling inner preprocessing seed rule metric value"
    promised += " n_utterances n_missing n_speakers"
    assert set(promised.split()) <= set(report.scores.columns)
    assert set(report.scores["rule"]) == {"nested", "default", "oracle"}
    assert set(report.scores["metric"]) == {"uar", "war", "kappa", "macro_f1", "uar_folds", "war_folds"}
    assert report.scores.columns.tolist() == pd.read_csv(store.report / "scores.csv").columns.tolist()
    assert len(pd.read_parquet(store.report / "scores.parquet")) == len(report.scores)


def test_every_metric_has_its_table_and_its_choice_on_the_page(toy_report):
    report, store, _ = toy_report()
    stems = {table.stem for table in report.tables if table.stem.startswith("table2-")}
    assert stems == {f"table2-{name}" for name, metric in METRICS.items() if metric.is_table}
    page = html.unescape((store.report / "index.html").read_text(encoding="utf-8"))
    assert [metric.short_name for metric in ALL_METRICS.values() if f"{metric.short_name}<" not in page] == []


def test_table_2_shows_nested_values_with_the_best_in_bold_and_chance(toy_report):
    report, *_ = toy_report()
    (table,) = report.of("table2-uar")
    nested = report.scores[(report.scores["rule"] == "nested") & (report.scores["metric"] == "uar")]
    values = nested.set_index("classifier")["value"]
    rows = {row[1].text: row[2] for row in table.rows}
    assert rows[""].text == "0.333"
    for name in ("knn", "logistic"):
        assert rows[name].text == f"{values[name]:.3f}"
        assert rows[name].bold == (values[name] == values.max())
    notes = " ".join(table.notes)
    assert "Bold: the best cell of a corpus; as that is chosen on test data, it is optimistic" in notes
    assert report.of("table2-war")[0].rows[0][2].text == "0.333"  # the most frequent emotion
    assert report.of("table2-kappa")[0].rows[0][2].text == "0.000"


def test_value_has_its_interval_beside_it_and_four_speakers_test_nothing(toy_report):
    report, *_ = toy_report()
    (table,) = report.of("table2-uar")
    rows = {row[1].text: row[2] for row in table.rows}
    scores = report.scores[(report.scores["rule"] == "nested") & (report.scores["metric"] == "uar")]
    for row in scores.itertuples():
        assert row.n_units == 4
        low, high = (float(end) for end in rows[row.classifier].aside.strip("[]? ").split(","))
        assert (low, high) == (pytest.approx(row.low, abs=0.005), pytest.approx(row.high, abs=0.005))
        assert rows[row.classifier].aside.endswith("?") != rows[row.classifier].bold
    assert "? cannot be tested against the best: too few speakers" in " ".join(table.notes)
    assert set(report.long["differences"]["verdict"]) == {"untestable"}
    assert report.long["differences"]["p"].isna().all()


def test_missing_nested_is_shown_as_default_with_its_mark_and_reason(toy_report):
    report, *_ = toy_report(speakers=("f1", "m1"), classifiers=("knn",))
    (table,) = report.of("table2-uar")
    assert table.rows[1][2].text.endswith("°")
    assert not table.rows[1][2].bold
    assert any("nested missing: 2 test groups; choosing settings needs 3" in note for note in table.notes)
    nested = report.scores[report.scores["rule"] == "nested"]
    assert nested["value"].isna().all()
    assert nested["reason"].unique().tolist() == ["2 test groups; choosing settings needs 3"]


def test_what_is_missing_is_shown_with_the_command_that_fills_it(toy_report, workspace, tmp_path):
    report, store, _ = toy_report(classifiers=("knn", "logistic"), names=("one", "two"))
    for path in store.cells:
        if "two-logistic" in path.name:
            path.unlink()
    report = serbench.make_report(serbench.Workspace(results=store.root))
    (table,) = report.of("table2-uar")
    texts = {(row[0].text, row[1].text): row[2].text for row in table.rows}
    assert texts["two", "logistic"] == "–"
    assert report.commands == (
        "serbench grid toy --features two.csv --classifier logistic --emotions anger,happiness,neutral",
    )


def test_unfinished_cell_is_missing_and_not_scored(toy_report):
    _, store, _ = toy_report(classifiers=("knn",))
    record = read_json(store.cells[0])
    store.job(record["jobs"][0]).unlink()
    report = serbench.make_report(serbench.Workspace(results=store.root))
    assert report.scores["value"].isna().all()
    assert report.scores["reason"].unique().tolist() == ["1 of 10 jobs are not done yet"]


def test_scalings_and_inner_rules_have_tables_of_their_own_and_transductive_is_stamped(toy_report):
    report, *_ = toy_report(classifiers=("knn",), runs=({}, {"scaling": "speaker"}, {"inner": "none"}))
    titles = [table.title for table in report.of("table2-uar")]
    assert any("scaling per speaker, transductive" in title for title in titles)
    rules = [title.split("inner ")[1].split(",")[0] for title in titles if "scaling train" in title]
    assert rules == ["auto", "none"]
    stamped = report.scores.set_index("scaling")["transductive"]
    assert stamped["speaker"].all()
    assert not stamped["train"].any()


def test_quick_grid_fits_default_settings_alone_once_per_fold_and_tables_say_so(toy_report):
    quick, store, _ = toy_report(runs=({"quick": True},))
    records = [read_json(path) for path in store.cells]
    assert [(len(r["settings"]), len(r["jobs"]), len(r["folds"])) for r in records] == [(1, 4, 4)] * 2
    full, *_ = toy_report()

    def defaults(report):
        scores = report.scores[report.scores["rule"] == "default"]
        return scores.set_index(["classifier", "metric"])["value"].to_dict()

    assert defaults(quick) == defaults(full)
    (table,) = quick.of("table2-uar")
    assert "inner none" in table.title
    assert {row[1].text for row in table.rows} == {"", "knn (default)", "logistic (default)"}
    assert all(row[2].text.endswith("°") for row in table.rows[1:])
    assert "Every classifier has its default setting." in table.notes[0]
    assert "with its default setting" not in quick.answers[0].sentence  # each name has it


def test_command_that_fills_a_quick_cell_asks_for_a_quick_grid(toy_report):
    _, store, _ = toy_report(runs=({"quick": True},))
    store.job(read_json(store.cells[0])["jobs"][0]).unlink()
    made = serbench.make_report(serbench.Workspace(results=store.root))
    (command,) = made.commands
    assert command.endswith(" --emotions anger,happiness,neutral --quick")


def test_partial_corpora_say_so_in_every_table(toy_report, tmp_path, workspace, make_corpus):
    _, store, _ = toy_report(classifiers=("knn",))
    path = tmp_path / "corpora.yaml"
    path.write_text(path.read_text() + "  expect: {utterances: 100}\n")
    request = serbench.GridRequest(
        features=(str(tmp_path / "blobs.csv"),), classifiers=("knn",), emotions=",".join(EMOTIONS)
    )
    serbench.run_grid(["toy"], request, workspace(path, partial=True))
    report = serbench.make_report(workspace(path))
    assert len(report.tables) >= 6
    assert all(any("partial, 48 of 100" in note for note in table.notes) for table in report.tables)
    assert report.scores["notes"].str.contains("partial, 48 of 100").all()


def test_report_of_nothing_says_what_to_do(tmp_path):
    with pytest.raises(StoreError, match=r"no cells to report. Run `serbench grid` first"):
        serbench.make_report(serbench.Workspace(results=tmp_path))


def test_job_of_another_cell_is_refused(toy_report):
    _, store, _ = toy_report(classifiers=("knn",))
    keys = read_json(store.cells[0])["jobs"]
    store.job(keys[0]).write_bytes(store.job(keys[1]).read_bytes())
    (cell,) = load_predictions(store)
    assert "does not belong to the cell that names it" in cell.reasons["nested"]
    assert not cell.with_values


def test_folder_of_damaged_records_alone_is_refused_in_words(tmp_path):
    store = Store(tmp_path)
    write_json(store.cell("toy"), {"cell": {}})
    store.cell("toy").write_text(store.cell("toy").read_text().replace("cell", "ceLl"))
    with (
        pytest.warns(UserWarning, match=r"its content is not what was written.* its cell is left out"),
        pytest.raises(StoreError, match=r"every record of a cell is damaged. Run `serbench grid` again"),
    ):
        load_predictions(store)


def test_places_of_damaged_files_are_told_relative_to_the_results_folder(toy_report, workspace, tmp_path):
    _, store, _ = toy_report(classifiers=("knn",))
    job = store.job(read_json(store.cells[0])["jobs"][0])
    job.write_bytes(job.read_bytes()[:-1])
    report = serbench.make_report(workspace(tmp_path / "corpora.yaml"))
    (reason,) = report.missing
    assert reason.startswith(f"jobs/{job.name}: its content is not what was written")
    files = [path for path in store.report.rglob("*") if path.is_file()]
    assert [path for path in files if str(tmp_path).encode() in path.read_bytes()] == []


def test_reason_of_a_cell_that_failed_has_its_places_relative_too(toy_report, monkeypatch):
    def fail(plan, store, workspace):
        return {job.key: f"{store.root}/features/x: cannot be read" for job in plan.todo}, 0

    monkeypatch.setattr("serbench.grid.run._run_jobs", fail)
    report, store, _ = toy_report(classifiers=("knn",), noise=2.4)  # of no other test
    ((reason, _),) = report.missing.items()
    assert reason.endswith("of its jobs failed: features/x: cannot be read")
    assert str(store.root) not in store.cells[0].read_text()
