"""The grid end to end on blobs: what is predicted, what is refused, what is shared and resumed."""

import dataclasses
import json
import os
import re
import signal

import nested_loso
import numpy as np
import pandas as pd
import psutil
import pytest
from tables import codes_of, made_cell, made_record, settings_of

import serbench
from serbench.features.table import map_features
from serbench.report.comparisons import score_together
from serbench.scores.predictions import load_predictions
from serbench.store.results import Store

THREE = ("anger", "happiness", "neutral")
FAST = ("knn", "logistic", "dummy")


@pytest.fixture
def toy(make_corpus, make_features, workspace, tmp_path):
    """A toy corpus with a file of features, and a function that runs a grid on it."""

    def make(*, noise=2.5, takes=4, n_features=6, **options):
        path = make_corpus(takes=takes, **options)
        index = serbench.load_index("toy", workspace(path))
        features = make_features(index, noise=noise, n_features=n_features)
        features.to_csv(tmp_path / "blobs.csv", index=False)

        def run(*, results="results", jobs=2, dry_run=False, **request):
            given = {"features": (str(tmp_path / "blobs.csv"),), "classifiers": FAST, "emotions": ",".join(THREE)}
            place = workspace(path, results=results, jobs=jobs)
            planned = serbench.plan_grid(["toy"], serbench.GridRequest(**{**given, **request}), place, dry_run=dry_run)
            return planned if dry_run else serbench.run_planned_grid(planned)

        run.index, run.features, run.root = index, features, path.parent
        run.store = lambda results="results": Store(tmp_path / results)
        return run

    return make


def outcomes(run, results="results"):
    return {cell.cell["classifier"]: cell for cell in load_predictions(run.store(results))}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("rf", "mlp")]


@pytest.mark.parametrize("family", ["svc", "linear-svc", "logistic", "knn", "dummy", *SLOW])
def test_every_classifier_predicts_what_the_independent_script_predicts(toy, monkeypatch, family):
    run = toy(speakers=("f1", "m1", "m2"), takes=9, noise=3.0)
    space = None
    if family == "rf":  # the first two of its settings, as a forest takes a third of a second
        space = run.root / "two.yaml"
        space.write_text("rf: {settings: [{max_features: sqrt, min_samples_leaf: [1, 4]}]}")
        every = nested_loso.estimators
        monkeypatch.setattr(nested_loso, "estimators", lambda *given: every(*given)[:2])
    result = run(classifiers=(family,), space=space)
    assert not result.refused
    cell = outcomes(run)[family]
    table = run.features.merge(run.index, on="utterance").sort_values("utterance")
    tuned, default, selected = nested_loso.nested(
        family, table[[f"x{i}" for i in range(6)]].to_numpy(), table["emotion"].to_numpy(), table["speaker"].to_numpy()
    )
    emotions = np.array(cell.emotions)
    for rule, expected in (("nested", tuned), ("default", default)):
        predicted = codes_of(cell, rule)
        assert [str(emotions[predicted[u]]) for u in table["utterance"]] == list(expected)
    assert {f"toy/{fold}": s for fold, s in settings_of(cell).items()} == selected


def tables_of(job, store):
    return [map_features(store.features(job.json["features"], corpus)) for corpus in job.json["corpora"]]


def job_bytes(store):
    return {path.name: path.read_bytes() for path in (store.root / "jobs").iterdir()}


@pytest.mark.slow
def test_predictions_are_the_same_bytes_for_any_number_of_workers_fresh_and_resumed(toy):
    run = toy(speakers=("f1", "m1", "m2"))
    request = {"classifiers": ("svc", "knn", "rf"), "space": run.root / "small.yaml"}
    (run.root / "small.yaml").write_text("rf: {settings: [{max_features: sqrt, min_samples_leaf: 4}]}")
    run(results="one", jobs=1, **request)
    run(results="two", jobs=2, **request)
    one, two = job_bytes(run.store("one")), job_bytes(run.store("two"))
    assert len(one) == 18
    assert one == two
    for name in sorted(two)[::2]:
        (run.store("two").root / "jobs" / name).unlink()
    resumed = run(results="two", jobs=2, **request)
    assert len(resumed.plan.todo) == 9
    assert job_bytes(run.store("two")) == one


def test_dry_run_fits_nothing_and_nothing_is_computed_twice(toy):
    run = toy()
    planned = run(dry_run=True)
    assert planned.failed is None
    assert planned.plan.seconds > 0
    assert not {"jobs", "cells"} & {path.name for path in run.store().root.iterdir()}
    assert len(run().plan.todo) == len(planned.plan.todo) == 30  # 3 classifiers x (6 pairs + 4 speakers)
    assert len(run().plan.todo) == 0
    assert len(run(classifiers=("knn", "svc")).plan.todo) == 10


def test_values_of_test_rows_do_not_reach_the_model(toy, tmp_path):
    """Change the features of one speaker: the models that are tested on that speaker are trained on the same rows."""
    from serbench.grid.fit import load_matrices

    run = toy()
    trained, held_out = [], []
    for results, factor in (("before", 1.0), ("after", 50.0)):
        table = run.features.copy()
        table.loc[table["utterance"].str.startswith("toy/f1"), table.columns[1:]] *= factor
        table.to_csv(tmp_path / "blobs.csv", index=False)
        jobs = run(classifiers=("logistic",), results=results, dry_run=True).plan.jobs.values()
        testing = sorted(
            (j for j in jobs if "toy/f1" in j.json["evaluated_speakers"]), key=lambda j: j.json["evaluated"]
        )
        matrices = [load_matrices(job.json, tables_of(job, run.store(results))) for job in testing]
        trained.append([training.X for training, _ in matrices])
        held_out.append([held for _, held in matrices])
    assert len(trained[0]) == 4
    for before, after in zip(*trained, strict=True):
        np.testing.assert_array_equal(before, after)
    assert all(not np.array_equal(before, after) for before, after in zip(*held_out, strict=True))


def test_speaker_without_some_emotion_is_no_obstacle(toy):
    run = toy()
    for path in (run.root / "toy").glob("m2_anger*"):
        path.unlink()
    run()
    report = serbench.make_report(serbench.Workspace(results=run.store().root))
    scores, folds = report.scores, report.long["folds"]
    assert folds[folds["fold"] == "m2"]["n_emotions"].unique().tolist() == [2]
    assert scores[scores["metric"] == "uar"]["n_utterances"].unique().tolist() == [44]


LACKS = (
    "toy: no utterances of fear, sadness. Expected all of paper5. Use --task available or --emotions "
    "anger,happiness,neutral."
)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"task": "paper5"}, LACKS),
        (
            {"task": "available", "where": "gender=femal"},
            "--where gender=femal: no utterance of toy; gender has female,",
        ),
        ({"task": "available", "where": "style=read"}, "--where style: toy has no 'style'"),
    ],
)
def test_what_no_corpus_has_is_refused_in_words_before_anything_is_stored(make_corpus, workspace, asked, told):
    place = workspace(make_corpus())
    with pytest.raises(serbench.SerbenchError, match=re.escape(told)):
        serbench.run_grid("toy", serbench.GridRequest("mfcc", "dummy", **asked), place)
    assert not place.store().root.exists()


def test_corpora_that_lack_what_is_asked_for_are_refused_where_named_and_else_left_out(
    make_corpus, workspace, monkeypatch, cli
):
    make_corpus(name="aa", emotions=("anger", "fear", "happiness", "neutral", "sadness"))
    path = make_corpus()
    place = workspace(path)
    monkeypatch.delenv("SERBENCH_DATA", raising=False)
    request = serbench.GridRequest("mfcc", "dummy")
    named = serbench.run_grid(["toy", "aa"], request, place)
    assert set(named.refused.values()) == {LACKS}
    assert len(place.store().cells) == 2  # a table of both corpora says why one has no value
    result = serbench.run_grid(None, request, place)
    assert (result.refused, result.left_out) == ({}, {"toy": LACKS})
    assert [one.cell.corpus for one in result.plan.cells] == ["aa"]
    code, out, err = cli("grid", "-f", "mfcc", "-c", "dummy", "--corpora", path, "--results", place.results)
    assert code == 0, err
    assert "Left out: toy: no utterances of fear, sadness." in err


def test_cells_that_can_never_be_carried_out_leave_no_record(toy):
    run = toy()
    assert len(run(classifiers=("knn", "svc"), scaling="none").refused) == 2
    assert run.store().cells == []


def test_available_gives_each_corpus_a_table_of_its_own_emotions(make_corpus, workspace):
    make_corpus(name="aa")
    path = make_corpus(name="bb", emotions=("anger", "fear"))
    make_corpus(name="cc", emotions=("anger",))
    place = workspace(path)
    request = serbench.GridRequest(features="mfcc", classifiers="dummy", task="available")
    result = serbench.run_grid(["aa", "bb", "cc"], request, place)
    assert list(result.refused.values()) == ["cc: anger. Expected at least two emotions."]
    assert {(c.cell.corpus, c.cell.task) for c in result.plan.cells} == {
        *(("aa", "anger,happiness,neutral"), ("bb", "anger,fear"), ("cc", "anger"))
    }
    tables = serbench.make_report(place).of("table2-uar")
    assert all(len([name for name in ("aa", "bb", "cc") if name in table.header]) == 1 for table in tables)
    folds = serbench.list_folds("bb", serbench.GridRequest(task="available"), place)
    assert set(folds["emotion"]) == {"anger", "fear"}


def test_available_with_a_filter_that_a_corpus_lacks_refuses_this_corpus_alone(make_corpus, workspace):
    make_corpus(name="aa")
    path = make_corpus(name="bb", extra="  compose: {style: 'read'}\n")
    request = serbench.GridRequest(features="mfcc", classifiers="dummy", task="available", where="style=read")
    result = serbench.plan_grid(["aa", "bb"], request, workspace(path), dry_run=True)
    (reason,) = result.refused.values()
    assert "aa has no 'style'" in reason
    assert [c.cell.task for c in result.plan.cells if not c.reason] == ["anger,happiness,neutral where style=read"]


def test_one_refused_cell_does_not_stop_the_others(toy):
    run = toy()
    result = run(classifiers=("knn", "dummy"), scaling="none", space=None)
    assert next(iter(result.refused.values())).endswith("knn with --scaling none. Expected --scaling train or speaker.")
    assert set(outcomes(run)) == {"knn", "dummy"}
    assert outcomes(run)["dummy"].with_values
    assert not outcomes(run)["knn"].with_values


def test_speaker_scaling_is_per_speaker_and_uses_dropped_emotions_too(toy, tmp_path):
    run = toy(emotions=(*THREE, "fear"))
    result = run(scaling="speaker", dry_run=True)
    job = next(iter(result.plan.jobs.values()))
    normalised = job.json["normalised"]
    assert set(normalised) == {"toy/f1", "toy/f2", "toy/m1", "toy/m2"}
    assert all(len(utterances) == 16 for utterances in normalised.values())

    from serbench.grid.fit import load_matrices

    training, _ = load_matrices(job.json, tables_of(job, run.store()))
    table = run.features.set_index("utterance").astype("float64")
    own = [u for u in table.index if u.startswith("toy/f1")]
    scaled = (table.loc[own] - table.loc[own].mean()) / table.loc[own].std(ddof=0)
    rows = [i for i, u in enumerate(job.json["training"]["utterances"]) if u in own]
    ids = [job.json["training"]["utterances"][i] for i in rows]
    np.testing.assert_allclose(training.X[rows], scaled.loc[ids], atol=1e-12)


def test_speaker_scaling_is_refused_where_a_speaker_cannot_bear_it(toy):
    (reason,) = toy(takes=3)(classifiers=("knn",), scaling="speaker").refused.values()
    assert "toy/f1 (9 utterances)" in reason


def test_missing_features_are_counted_and_the_rest_is_compared(toy, tmp_path):
    run = toy()
    run.features.iloc[2:].to_csv(tmp_path / "short.csv", index=False)
    run(classifiers=("knn",), features=(str(tmp_path / "short.csv"), str(tmp_path / "blobs.csv")))
    report = serbench.make_report(serbench.Workspace(results=run.store().root))
    scores = report.scores
    counts = scores.groupby("features")[["n_utterances", "n_missing"]].first()
    assert counts.loc["short"].tolist() == [46, 2]
    assert counts.loc["blobs"].tolist() == [48, 0]
    assert "46 of 48 utterances, those that all cells have" in "".join(report.of("table2-uar")[0].notes)
    assert "short has features of 46 utterances" in "".join(report.of("rules")[0].notes)


def test_an_incomplete_file_of_features_moves_no_number_of_the_others(toy, tmp_path):
    run = toy()
    place = serbench.Workspace(results=run.store().root)
    run(classifiers=("knn", "logistic"), features=str(tmp_path / "blobs.csv"))
    (before,) = serbench.make_report(place).of("table2-uar")
    run.features.iloc[3:].to_csv(tmp_path / "short.csv", index=False)  # 6 % are missing
    run(classifiers=("knn", "logistic"), features=str(tmp_path / "short.csv"))
    report = serbench.make_report(place)
    (table,) = report.of("table2-uar")
    rows = {row[:2]: row[2] for row in table.rows}
    assert all(rows[row[:2]] == row[2] for row in before.rows)
    scores = report.scores.query("metric == 'uar' and rule == 'nested' and features == 'short'")
    own = scores.set_index("classifier")["value"]
    short = {row[1].text: row[2] for row in table.rows if row[0].text == "short"}
    assert {name: entry.text for name, entry in short.items()} == {n: f"{v:.3f}‡" for n, v in own.items()}
    assert not any(entry.bold for entry in short.values())
    assert (
        "‡ fewer than 95% of the column, so scored on these and not compared with the others: within, toy, short knn: "
        "45 of 48; within, toy, short logistic: 45 of 48."
    ) in table.notes
    assert set(report.long["differences"]["features"]) == {"blobs"}


def test_cells_that_all_lack_much_leave_the_largest_to_be_compared():
    def cell(n, first=0):
        rows = pd.DataFrame({"utterance": [str(i) for i in range(first, first + n)], "truth": 0, "who": "one"})
        return made_cell(made_record({}), rows, {"default": dict.fromkeys(rows["utterance"], 0)})

    large, small = score_together([cell(60), cell(50, first=50)])
    assert (large.n_utterances, large.n_column, large.is_short) == (60, 100, False)
    assert (small.n_utterances, small.n_column, small.is_short) == (50, 100, True)


@pytest.mark.parametrize(("kept", "rules"), [(("f1", "m1", "m2"), 3), (("f1", "m1"), 2)])
def test_features_that_lack_a_speaker_are_tuned_on_those_there_are(toy, tmp_path, kept, rules):
    run = toy()
    own = run.features["utterance"].str.slice(4, 6).isin(kept)
    run.features[own].to_csv(tmp_path / "short.csv", index=False)
    result = run(classifiers=("knn",), features=(str(tmp_path / "short.csv"),), inner="2")
    assert not result.refused
    cell = outcomes(run)["knn"]
    assert set(cell.of()["fold"]) == set(kept)
    assert len(cell.with_values) == rules
    assert rules == 3 or cell.reasons["nested"] == "2 test groups; choosing settings needs 3"


def test_features_of_another_corpus_are_refused_with_an_example(toy, tmp_path):
    run = toy()
    run.features.assign(utterance=lambda f: f["utterance"].str.replace("toy/", "")).to_csv(
        tmp_path / "wrong.csv", index=False
    )
    with pytest.raises(
        serbench.SerbenchError, match=r"first 'f1_anger_0.wav'\) is an utterance of toy. Expected ids like 'toy/"
    ):
        run(features=(str(tmp_path / "wrong.csv"),))


def test_names_are_checked_before_any_work(toy):
    run = toy()
    with pytest.raises(serbench.UnknownNameError, match=r"Unknown classifier 'svm'. Did you mean 'svc'"):
        run(classifiers=("svm",), results="untouched")
    with pytest.raises(serbench.UnknownNameError, match=r"Unknown feature set 'egemaps'. Did you mean 'eGeMAPSv02'"):
        run(features=("egemaps",), results="untouched")
    with pytest.raises(serbench.UnknownNameError, match=r"Unknown scaling 'speakers'. Did you mean 'speaker'"):
        run(scaling="speakers", results="untouched")
    with pytest.raises(serbench.SerbenchError, match=r"--inner: '3'|--inner: 3. Expected an even number"):
        run(inner="3", results="untouched")
    assert not run.store("untouched").root.exists()


def test_seeds_are_cells_of_their_own(toy):
    run = toy()
    run(classifiers=("dummy",), seeds=(0, 1))
    assert sorted(cell.cell["seed"] for cell in load_predictions(run.store())) == [0, 1]


def test_copies_across_speakers_take_no_part_and_table_2_says_so(toy):
    run = toy()
    (run.root / "toy" / "m1_anger_1.wav").write_bytes((run.root / "toy" / "f1_anger_0.wav").read_bytes())
    run(classifiers=("knn",))
    assert "toy/m1_anger_1.wav" not in set(outcomes(run)["knn"].of()["utterance"])
    (table,) = serbench.make_report(serbench.Workspace(results=run.store().root)).of("table2-uar")
    (note,) = (note for note in table.notes if note.startswith("toy: "))
    assert "1 utterances are copies of other speakers' recordings and take no part" in note


def test_cell_records_name_no_folder_of_this_machine(toy, tmp_path):
    run = toy()
    run(classifiers=("knn",))
    texts = [path.read_text() for path in (run.store().root / "cells").iterdir()]
    serbench.make_report(serbench.Workspace(results=run.store().root))
    texts += [p.read_text() for p in run.store().report.iterdir() if p.suffix != ".parquet"]
    assert not any(str(tmp_path) in text for text in texts)
    assert all(json.loads(t)["serbench"] for t in texts[:1])


def test_unreadable_recording_counts_as_missing(toy):
    run = toy()
    (run.root / "toy" / "f1_anger_0.wav").write_bytes(b"")
    run(classifiers=("knn",))
    cell = outcomes(run)["knn"]
    assert len(cell.record.missing) == 1
    assert cell.n_utterances == 47
    report = serbench.make_report(serbench.Workspace(results=run.store().root))
    assert report.long["missing"]["name"].tolist() == ["toy/f1_anger_0.wav"]
    assert "47 of 48 utterances" in "".join(report.of("table2-uar")[0].notes)


def test_features_without_an_emotion_refuse_the_cell_and_the_report_goes_on(toy, tmp_path):
    run = toy()
    short = run.features[~run.features["utterance"].str.contains("neutral")]
    short.to_csv(tmp_path / "short.csv", index=False)
    result = run(classifiers=("knn",), features=(str(tmp_path / "short.csv"), str(tmp_path / "blobs.csv")))
    assert next(iter(result.refused.values())).startswith("toy: short has no features of neutral (32 of 48 utterances)")
    assert serbench.load_scores(serbench.Workspace(results=run.store().root))["value"].notna().any()


@pytest.mark.parametrize("change", ["labels", "folds"])
def test_cells_of_earlier_labels_or_folds_do_not_stand_beside_new_ones(toy, change):
    run = toy()
    run(classifiers=("knn",))
    path = run.root / "corpora.yaml"
    text = path.read_text()
    if change == "labels":
        path.write_text(text.replace("{anger: anger, happiness: happiness", "{anger: happiness, happiness: anger"))
    else:
        path.write_text(text + "  folds: {leave_out: 2}\n")
    run(classifiers=("logistic",))
    assert outcomes(run)["knn"].reasons["default"].startswith("outdated: the ")
    report = serbench.make_report(serbench.Workspace(results=run.store().root))
    assert len(report.commands) == 1
    assert "--classifier knn" in report.commands[0]
    run(classifiers=("knn",))
    assert outcomes(run)["knn"].with_values


def test_rerun_after_speakers_were_added_replaces_cells_of_another_inner_rule(toy, tmp_path):
    run = toy()
    away = tmp_path / "away"
    away.mkdir()
    later = [path.rename(away / path.name) for path in (run.root / "toy").glob("?2_*")]
    run(classifiers=("knn", "logistic"))
    assert {cell.cell["inner"] for cell in load_predictions(run.store())} == {"none"}
    for path in later:
        path.rename(run.root / "toy" / path.name)
    run(classifiers=("knn", "logistic"))
    assert {cell.cell["inner"] for cell in load_predictions(run.store())} == {"all"}
    assert all(cell.with_values for cell in load_predictions(run.store()))


def test_cells_of_earlier_features_of_one_name_are_told_and_not_shown(toy, tmp_path):
    run = toy()
    run(classifiers=("knn",))
    run.features.assign(x0=1.0).to_csv(tmp_path / "blobs.csv", index=False)
    run(classifiers=("dummy", "logistic"))
    scores = serbench.load_scores(serbench.Workspace(results=run.store().root))
    (reason,) = scores[scores["value"].isna()]["reason"].unique()
    assert re.match("not comparable: made with blobs features blobs-[0-9a-f]{12}, the others with blobs-", reason)
    assert set(scores[scores["value"].isna()]["classifier"]) == {"knn"}


def test_half_run_inner_rule_does_not_hide_a_finished_one(toy):
    run = toy(speakers=[f"{sex}{i}" for sex in "fm" for i in range(7)], takes=1)
    run(classifiers=("dummy",))
    planned = run(classifiers=("dummy",), inner="all")
    run.store().job(planned.plan.todo[0].key).unlink()
    report = serbench.make_report(serbench.Workspace(results=run.store().root))
    shown = {table.title.split("inner ")[1].split(",")[0]: table.rows[1][2].text for table in report.of("table2-uar")}
    assert shown == {"all": "–", "auto": "0.333"}


def test_speakers_whose_names_hold_a_slash_stay_apart(toy):
    run = toy()
    path = run.root / "corpora.yaml"
    text = path.read_text().replace("(?P<speaker>(?P<gender>[fm])\\d+)_", "(?P<session>(?P<gender>[fm])\\d+)_")
    path.write_text(text + "  compose: {speaker: '{session}/{gender}'}\n")
    run(classifiers=("knn",))
    assert set(outcomes(run)["knn"].of()["fold"]) == {"f1/f", "f2/f", "m1/m", "m2/m"}


def test_two_files_of_features_of_one_name_are_refused(toy, tmp_path):
    run = toy()
    (tmp_path / "other").mkdir()
    run.features.to_csv(tmp_path / "other" / "blobs.csv", index=False)
    with pytest.raises(serbench.SerbenchError, match=r"two files of one name"):
        run(features=(str(tmp_path / "blobs.csv"), str(tmp_path / "other" / "blobs.csv")))


def test_speaker_with_two_labels_of_one_emotion_has_one_emotion(toy):
    run = toy(takes=12)
    for path in (run.root / "toy").glob("f1_*"):
        if "anger" not in path.name:
            path.unlink()
    for i, path in enumerate(sorted((run.root / "toy").glob("f1_anger*"))):
        if i % 2:
            path.rename(path.with_name(path.name.replace("anger", "rage")))
    corpora = run.root / "corpora.yaml"
    corpora.write_text(corpora.read_text().replace("{anger: anger,", "{anger: anger, rage: anger,"))
    result = run(classifiers=("knn",), scaling="speaker")
    assert "toy/f1 (one emotion)" in next(iter(result.refused.values()))


def how(planned, **fields):
    """Change how a plan is run: fields of its workspace."""
    return dataclasses.replace(planned, workspace=dataclasses.replace(planned.workspace, **fields))


def test_failing_job_fails_its_cell_with_the_reason_and_no_other(toy):
    run = toy()
    planned = run(classifiers=("knn", "dummy"), dry_run=True)
    plan = planned.plan
    broken = next(job for job in plan.todo if job.recipe.classifier == "knn")
    rows = broken.rows.copy()
    rows.loc[broken.evaluated[0], "audio_hash"] = "no such audio"
    spoilt = dataclasses.replace(broken, rows=rows)
    plan = dataclasses.replace(plan, todo=tuple(spoilt if job is broken else job for job in plan.todo))
    planned = dataclasses.replace(planned, plan=plan)

    done = serbench.run_planned_grid(planned)
    assert list(done.failed) == [broken.key]
    assert len(done.refused) == 1
    reason = next(iter(done.refused.values()))
    assert "1 of its jobs failed: store: no features of" in reason
    assert outcomes(run)["dummy"].with_values
    assert outcomes(run)["knn"].reasons["nested"] == reason


def test_job_that_kills_its_worker_fails_alone(toy, monkeypatch):
    import serbench.grid.workers

    run = toy()
    planned = run(classifiers=("knn", "dummy"), dry_run=True)
    plan = planned.plan
    deadly, attempt = plan.todo[2].key, serbench.grid.workers.attempt

    def die_or_run(key, job, root):
        if key == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return attempt(key, job, root)

    monkeypatch.setattr(serbench.grid.workers, "attempt", die_or_run)
    done = serbench.run_planned_grid(planned)
    assert done.failed == {deadly: "its worker process died (killed, or out of memory), twice"}
    assert {path.stem for path in (run.store().root / "jobs").iterdir()} == {job.key for job in plan.todo} - {deadly}


@pytest.mark.slow
def test_damaged_part_fails_the_jobs_that_need_it_and_is_named(toy):
    run = toy()
    planned = run(classifiers=("knn", "dummy"), dry_run=True)
    plan = planned.plan
    (part,) = (run.store().root / "features").glob("blobs-*/toy/part-*.parquet")
    whole = part.read_bytes()
    at = len(whole) // 2
    part.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
    done = serbench.run_planned_grid(planned)
    assert set(done.failed) == {job.key for job in plan.todo}
    assert all(part.name in reason for reason in done.failed.values())


def test_job_planned_with_other_versions_is_refused_by_the_worker(toy):
    from serbench.grid.fit import run_job

    run = toy()
    job = next(iter(run(classifiers=("knn",), dry_run=True).plan.jobs.values()))
    planned = {**job.json, "versions": {**job.json["versions"], "scikit-learn": "0.1"}}
    with pytest.raises(serbench.SerbenchError, match=r"knn: scikit-learn \S+, not 0.1 as planned"):
        run_job(job.key, planned, str(run.store().root))
    assert not run.store().job(job.key).is_file()


def test_one_worker_needs_no_shared_memory_and_more_are_refused_in_words(toy, monkeypatch):
    import serbench.grid.workers
    from serbench.errors import ClusterError

    def refuse(*given, **named):
        raise OSError(30, "Read-only file system")  # what a semaphore says without /dev/shm

    run = toy()
    planned = run(classifiers=("knn",), dry_run=True)
    plan = planned.plan
    monkeypatch.setattr(serbench.grid.workers, "_idle", [])
    monkeypatch.setattr(serbench.grid.workers, "ProcessPoolExecutor", refuse)
    for workers in ({}, {"jobs": 1, "job_timeout_s": 60.0}):
        with pytest.raises(ClusterError, match=r"no worker process can be started \(Read-only .* use --jobs 1 without"):
            serbench.run_planned_grid(how(planned, **workers))
    with pytest.warns(UserWarning, match=r"Read-only file system\); the jobs run in this process"):
        assert not serbench.run_planned_grid(how(planned, jobs=1)).failed
    assert all(run.store().job(job.key).is_file() for job in plan.todo)


def test_process_that_cannot_be_started_leaves_one_worker_to_this_process(toy, monkeypatch):
    import serbench.grid.workers

    class Crowded:
        def submit(self, *given):
            raise BlockingIOError(11, "Resource temporarily unavailable")

    planned = toy()(classifiers=("dummy",), dry_run=True)
    monkeypatch.setattr(serbench.grid.workers, "_take_worker", Crowded)
    with pytest.warns(UserWarning, match="Resource temporarily unavailable"):
        assert not serbench.run_planned_grid(how(planned, jobs=1)).failed


class TwoWordsError(Exception):
    """An error that does not survive the way back from a worker: its arguments are not what it was made with."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


class Unsendable:
    def __reduce__(self):
        raise ValueError("it stays here")


def test_what_cannot_be_sent_back_fails_its_job_alone_in_words(toy, monkeypatch):
    import serbench.grid.workers

    planned = toy()(classifiers=("dummy",), dry_run=True)
    raising, returning = (job.key for job in planned.plan.todo[:2])

    def fail_or_run(key, job, root):
        from serbench.grid import workers  # in the worker

        if key == returning:
            return Unsendable()
        with pytest.MonkeyPatch.context() as patch:
            if key == raising:
                patch.setattr(workers, "run_job", lambda *given: (_ for _ in ()).throw(TwoWordsError("one", "two")))
            return workers.attempt(key, job, root)

    monkeypatch.setattr(serbench.grid.workers, "attempt", fail_or_run)
    failed = serbench.run_planned_grid(planned).failed
    assert set(failed) == {raising, returning}
    assert failed[raising] == "TwoWordsError: one two"
    assert "it stays here" in failed[returning] or "pickle" in failed[returning]


def test_no_more_processes_start_than_there_are_jobs_or_than_fit(toy, monkeypatch):
    from serbench.grid.estimate import PROCESS

    planned, asked = toy()(classifiers=("dummy",), dry_run=True), []

    def crew(store, *, n_workers, timeout_s):
        asked.append(n_workers)
        raise ZeroDivisionError

    monkeypatch.setattr("serbench.grid.run.LocalCrew", crew)
    for jobs, free in ((64, 1e12), (2, 1e12), (64, 4.1 * PROCESS), (64, 1.0)):
        monkeypatch.setattr("serbench.grid.run.free_memory", lambda free=free: free)
        with pytest.raises(ZeroDivisionError):
            serbench.run_planned_grid(how(planned, jobs=jobs))
    assert asked == [len(planned.plan.todo), 2, 4, 1]


@pytest.mark.slow
def test_worker_that_died_idle_is_replaced(toy):
    import serbench.grid.workers

    run = toy()
    run(classifiers=("dummy",))
    assert serbench.grid.workers._idle
    workers = [p for p in psutil.Process().children() if "popen_loky_posix" in " ".join(p.cmdline())]
    assert workers
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers)
    assert not run(classifiers=("knn",)).refused


def test_error_of_the_caller_leaves_no_claim_behind(toy):
    run = toy()
    planned = run(classifiers=("knn",), dry_run=True)

    def fail(activity, done, total, share):
        if done:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as kept:
        serbench.run_planned_grid(how(planned, progress=fail))
    assert not run(classifiers=("knn",)).refused
    assert kept.value


def test_job_that_another_process_did_after_all_refuses_no_cell(toy, monkeypatch):
    import shutil

    import serbench.grid.workers

    run = toy()
    run(classifiers=("dummy",), results="other")
    planned = run(classifiers=("dummy",), dry_run=True)
    plan = planned.plan
    broken, real = plan.todo[0].key, serbench.grid.workers.attempt
    theirs, ours = run.store("other").job(broken), run.store().job(broken)

    def fail_or_run(key, job, root):
        if key != broken:
            return real(key, job, root)
        ours.parent.mkdir(exist_ok=True)
        shutil.copy(theirs, ours)
        raise MemoryError

    monkeypatch.setattr(serbench.grid.workers, "attempt", fail_or_run)
    done = serbench.run_planned_grid(how(planned, jobs=1))
    assert not done.failed
    assert not done.refused
