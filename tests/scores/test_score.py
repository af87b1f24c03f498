"""Predictions of other systems: in the tables as those of the grid are, or refused with what to do."""

import csv
import hashlib
import io
import shutil
import unicodedata
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score, confusion_matrix, recall_score
from tables import codes_of

import serbench
from serbench.errors import CorpusError, ScoreError, UnknownNameError
from serbench.scores.outside import _plain, read_prediction_file
from serbench.scores.predictions import load_predictions
from serbench.store.files import read_json, write_json
from serbench.store.results import Store

EMOTIONS = ["anger", "happiness", "neutral"]
REQUEST = serbench.GridRequest(emotions=",".join(EMOTIONS))


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_corpus, make_features):
    """A folder with a grid of knn on blobs, 6 speakers x 3 emotions x 3 takes, for the tests to copy."""
    folder = tmp_path_factory.mktemp("made")
    write_corpus(folder, speakers=("f1", "f2", "f3", "m1", "m2", "m3"), takes=3)
    blobs = make_features(serbench.load_index("toy", workspace_in(folder)), noise=2.5)
    blobs.to_csv(folder / "blobs.csv", index=False)
    run_grid(workspace_in(folder), folder)
    return folder


def workspace_in(folder):
    return serbench.Workspace(results=folder / "results", corpora_file=folder / "corpora.yaml", jobs=1)


def write(table, folder, name="mine"):
    table.to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"


@pytest.fixture
def place(made, tmp_path):
    """A workspace with that grid."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return workspace_in(tmp_path)


def run_grid(place, folder, **options):
    given = {"features": (str(folder / "blobs.csv"),), "classifiers": ("knn",), "emotions": ",".join(EMOTIONS)}
    return serbench.run_grid(["toy"], serbench.GridRequest(**{**given, **options}), place)


@pytest.fixture(scope="module")
def folds(made):
    """Folds with predictions that are right two times out of three."""
    table = serbench.list_folds("toy", REQUEST, workspace_in(made))
    rng = np.random.default_rng(0)
    wrong = rng.random(len(table)) < 1 / 3
    return table.assign(prediction=np.where(wrong, rng.choice(EMOTIONS, len(table)), table["emotion"]))


@pytest.fixture(scope="module")
def reported(made, folds, tmp_path_factory):
    """What was scored, the report with its row, and its workspace."""
    folder = tmp_path_factory.mktemp("reported")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    (scored,) = serbench.score_predictions(write(folds, folder), REQUEST, workspace_in(folder))
    return scored, serbench.make_report(workspace_in(folder)), workspace_in(folder)


@pytest.fixture
def score(place, tmp_path):
    """Write a table as CSV and score it."""

    def run(table, name="mine", request=REQUEST, **options):
        return serbench.score_predictions(write(table, tmp_path, name), request, place, **options)

    return run


def test_available_is_scored_as_the_emotions_that_the_corpus_has(folds, score):
    (scored,) = score(folds, request=serbench.GridRequest(task="available"))
    assert scored.cell.task == "anger,happiness,neutral"


def outside_cells(place):
    return [path for path in place.store().cells if read_json(path)["outside"]]


def test_every_value_agrees_with_scikit_learn_on_the_file(reported, folds):
    scored, report, place = reported
    scores = report.scores
    mine = scores[scores["classifier"] == "mine"]
    assert set(mine["rule"]) == {"given"}
    value = mine.set_index("metric")["value"]
    truth, prediction = folds["emotion"], folds["prediction"]
    assert scored.uar == value["uar"] == pytest.approx(balanced_accuracy_score(truth, prediction))
    assert value["war"] == pytest.approx(accuracy_score(truth, prediction))
    assert value["kappa"] == pytest.approx(cohen_kappa_score(truth, prediction))
    each = [balanced_accuracy_score(f["emotion"], f["prediction"]) for _, f in folds.groupby("fold")]
    assert value["uar_folds"] == pytest.approx(np.mean(each))
    long = pd.read_csv(place.store().report / "confusion.csv")
    matrix = long[long["classifier"] == "mine"].pivot(index="truth", columns="prediction", values="n_utterances")
    np.testing.assert_array_equal(matrix.loc[EMOTIONS, EMOTIONS], confusion_matrix(truth, prediction, labels=EMOTIONS))
    recalls = pd.read_csv(place.store().report / "recall-long.csv").set_index(["classifier", "emotion"])["recall"]
    np.testing.assert_allclose(recalls["mine"][EMOTIONS], recall_score(truth, prediction, average=None))


def test_row_of_another_system_is_marked_in_every_table_and_explained(reported, folds):
    _, report, place = reported
    for stem in ("table2-uar", "table2-war", "table2-kappa", "recall"):
        (table,) = report.of(stem)
        (row,) = (row for row in table.rows if any(entry.text == "mine†" for entry in row))
        assert "–" not in [entry.text for entry in row]
        assert any(note.startswith("† predictions from outside") for note in table.notes)
        assert len([row for row in table.rows if row[0].text == "own" or row[1].text == "own"]) == 1
    assert report.commands == ()
    assert r"mine\textdagger{}" in (place.store().report / "table2-uar.tex").read_text(encoding="utf-8")
    assert not report.long["missing"]["reason"].str.len().any()
    (speakers,), (rules,) = report.of("speakers"), report.of("rules")
    (row,) = (row for row in speakers.rows if row[2].text == "mine†")
    by_speaker = folds.groupby("speaker")[["emotion", "prediction"]]
    each = by_speaker.apply(lambda f: balanced_accuracy_score(f["emotion"], f["prediction"]))
    assert row[3].text.endswith(f"{each.min():.3f}")
    assert any(note.startswith("† predictions from outside") for note in speakers.notes)
    assert [row[2].text for row in rules.rows] == ["knn"]


def test_provenance_names_the_file_and_its_digest_and_no_versions(reported):
    _, _, place = reported
    digest = hashlib.sha256((place.store().root.parent / "mine.csv").read_bytes()).hexdigest()
    table = pd.read_csv(place.store().report / "provenance.csv").set_index("classifier")
    assert table.loc["mine", "outside_sha256"] == digest
    assert pd.isna(table.loc["mine", "versions"])
    cells = read_json(place.store().report / "provenance.json")["cells"]
    assert "outside_sha256" not in cells[table.loc["knn", "provenance"]]


def test_system_that_predicts_what_serbench_does_has_its_value_and_ties(place, folds, score):
    (cell,) = load_predictions(place.store())
    codes = codes_of(cell)
    score(folds.assign(prediction=[EMOTIONS[codes[u]] for u in folds["utterance"]]))
    report = serbench.make_report(place)
    rows = {row[1].text: row[2] for row in report.of("table2-uar")[0].rows}
    assert rows["mine†"].text == rows["knn"].text
    (difference,) = report.long["differences"].query("metric == 'uar'").itertuples()
    assert (difference.below_best, difference.p, difference.verdict) == (0, 1, "tie")
    values = report.scores.query("metric == 'uar' and rule in ('nested', 'given')")
    for name in ("value", "low", "high"):
        assert values[name].nunique() == 1


def test_every_table_of_a_task_has_the_row_and_it_may_be_the_best(place, folds, score, tmp_path):
    run_grid(place, tmp_path, scaling="none", classifiers=("dummy",))
    score(folds.assign(prediction=folds["emotion"]))
    two = serbench.list_folds("toy", serbench.GridRequest(emotions="anger,neutral"), place)
    score(two.assign(prediction=two["emotion"]), request=serbench.GridRequest(emotions="anger,neutral"))
    report = serbench.make_report(place)
    *tables, alone = report.of("table2-uar")
    assert len(tables) == 2
    rows = [{row[1].text: row[2] for row in table.rows} for table in tables]
    assert [of["mine†"].text for of in rows] == ["1.000"] * 2
    (bold,) = (of["knn"].bold < of["mine†"].bold for of in rows if "knn" in of)  # dummy alone goes without scaling
    assert bold
    assert alone.title.endswith("within, anger,neutral")  # a task without a grid
    assert [row[1].text for row in alone.rows] == ["", "mine†"]
    assert report.commands == ()


def test_folds_that_hold_out_texts_are_those_of_the_protocol(make_corpus, workspace, tmp_path):
    path = make_corpus(takes=3, extra="")
    path.write_text(path.read_text().replace("(?P<take>", "(?P<text>"))
    request = serbench.GridRequest(emotions=REQUEST.emotions, protocol="within-text")
    table = serbench.list_folds("toy", request, workspace(path))
    table.assign(prediction=table["emotion"]).to_csv(tmp_path / "deep.csv", index=False)
    with pytest.raises(ScoreError, match="--text-independent"):
        serbench.score_predictions(tmp_path / "deep.csv", REQUEST, workspace(path))
    (scored,) = serbench.score_predictions(tmp_path / "deep.csv", request, workspace(path))
    assert len(scored.record.folds) == table["fold"].nunique() > 4
    (cell,) = load_predictions(workspace(path).store())
    rows = cell.of()[["utterance", "fold"]].astype(str)
    assert rows.to_dict("list") == table[["utterance", "fold"]].to_dict("list")
    assert cell.reason == ""


def as_bytes(table, **options):
    return table.to_csv(index=False, **options).encode()


FORMS = {
    "plain": as_bytes,
    "byte order mark": lambda t: b"\xef\xbb\xbf" + as_bytes(t),
    "semicolons": lambda t: as_bytes(t, sep=";"),
    "tabs": lambda t: as_bytes(t, sep="\t"),
    "CRLF": lambda t: as_bytes(t, lineterminator="\r\n"),
    "quoted": lambda t: as_bytes(t, quoting=csv.QUOTE_ALL, sep=";"),
    "blank lines": lambda t: as_bytes(t).replace(b"\n", b"\n\n \n,,\n"),
    "columns of its own": lambda t: as_bytes(t.assign(probability=0.5)[t.columns[::-1]]),
    "needed columns alone": lambda t: as_bytes(t[["utterance", "prediction"]]),
    "ids in NFD": lambda t: as_bytes(t.assign(utterance=t["utterance"].map(partial(unicodedata.normalize, "NFD")))),
    "spaces": lambda t: as_bytes(t.assign(prediction=t["prediction"] + " ")),
}


@pytest.mark.parametrize("form", FORMS)
def test_file_may_have_any_usual_form(folds, tmp_path, form):
    folds = folds.assign(utterance=folds["utterance"].str.replace("anger", "col\N{LATIN SMALL LETTER E WITH GRAVE}re"))
    (tmp_path / "mine.csv").write_bytes(FORMS[form](folds))
    _, rows = read_prediction_file(tmp_path / "mine.csv")
    for column in ("utterance", "prediction"):
        assert rows[column].tolist() == folds[column].tolist()


def test_parquet_does_as_well_and_emotions_may_be_categories(place, folds, tmp_path):
    folds.astype({"prediction": "category"}).to_parquet(tmp_path / "mine.parquet")
    (scored,) = serbench.score_predictions(tmp_path / "mine.parquet", REQUEST, place)
    assert scored.uar == pytest.approx(balanced_accuracy_score(folds["emotion"], folds["prediction"]))
    assert scored.n_utterances == len(folds)


REFUSED = {
    "unknown emotion": (
        lambda t: t.assign(prediction=t["prediction"].str.replace("anger", "angry")),
        r"'angry' \(\d+ utterances\). Expected those of .*: anger, happiness, neutral. Did you mean 'anger'\?",
    ),
    "unknown utterance": (
        lambda t: t.assign(utterance=t["utterance"].str.replace("f1_anger_0", "f1_anger_9")),
        r"1 utterances that the corpus does not have: 'toy/f1_anger_9.wav'.*Did you mean 'toy/f1_anger_",
    ),
    "twice": (lambda t: pd.concat([t, t[:2]]), r"utterances that occur twice: toy/f1_anger_0.wav, toy/f1_anger_1.wav"),
    "missing": (lambda t: t[:-3], r"no prediction for 3 of 54 utterances: toy/.*With --allow-missing"),
    "empty prediction": (
        lambda t: t.assign(prediction=t["prediction"].where(t.index > 0, "")),
        "no prediction for 1 of 54 utterances: toy/f1_anger_0.wav",
    ),
    "other basis": (lambda t: t.assign(basis="0" * 24), r"predictions for basis 0{24}.*Run `serbench folds` again"),
    "mixed basis": (lambda t: t.assign(basis=[*t["basis"][1:], "x"]), "predictions for basis x"),
    "other folds": (
        lambda t: t.assign(fold=t["fold"].replace({"f1": "f2"})),
        r"other folds than the present ones: toy/f1_anger_0.wav in fold f2, not f1",
    ),
    "no column": (
        lambda t: t.rename(columns={"prediction": "Prediction"}),
        r"no column 'prediction', but .*'Prediction'. Did you mean 'Prediction'\?",
    ),
    "no rows": (lambda t: t[:0], "no predictions. Expected a row for each utterance"),
    "row without id": (lambda t: t.assign(utterance=["", *t["utterance"][1:]]), "row 1: a row without an utterance"),
    "no corpus": (lambda t: t.assign(utterance="f1.wav"), "utterances that occur twice"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_wrong_is_named_and_nothing_is_recorded(made, folds, tmp_path, fault):
    change, message = REFUSED[fault]
    with pytest.raises(ScoreError, match=message):
        serbench.score_predictions(write(change(folds), tmp_path), REQUEST, workspace_in(made))
    assert outside_cells(workspace_in(made)) == []


def test_other_corpus_task_or_name_is_refused(place, folds, score):
    with pytest.raises(UnknownNameError, match=r"Unknown corpus 'toi'\. Did you mean 'toy'"):
        score(folds.assign(utterance=folds["utterance"].str.replace("toy/", "toi/")))
    with pytest.raises(ScoreError, match=r"that of anger,neutral\. If the folds were of another task, name it as"):
        score(folds, request=serbench.GridRequest(emotions="anger,neutral"))
    with pytest.raises(ScoreError, match=r"--name: 'svc' is a classifier of serbench or a plug-in.*with --name"):
        score(folds, name="svc")
    for name in ("../up", "", "a b", "x\x1b[31m", "=cmd()", "a" * 101):
        with pytest.raises(ScoreError, match="no plain name"):
            score(folds, features=name)
    assert outside_cells(place) == []


@pytest.mark.parametrize(
    ("written", "is_same"), [("3", True), ("3.0", True), ("'03", True), ("8", False), ("30", False)]
)
def test_numbers_for_names_of_folds_mean_these_folds(written, is_same):
    assert (_plain(written) == _plain("03")) == is_same
    assert _plain("'-x") == _plain("-x")


def test_missing_utterances_are_told_and_counted_and_move_no_other_row(place, folds, score):
    (before,) = serbench.make_report(place).of("table2-uar")
    (scored,) = score(folds[folds["fold"] != "f1"], allow_missing=True)
    assert scored.notes[0].startswith("9 of 54 utterances have no prediction: toy/f1_")
    assert "whole folds are without predictions: f1" in scored.notes
    report = serbench.make_report(place)
    (table,) = report.of("table2-uar")
    (note,) = (note for note in table.notes if "not compared with the others: within, toy" in note)
    assert note.endswith(" mine: 45 of 54.")
    kept = folds[folds["fold"] != "f1"]
    rows = {row[1].text: row[2].text for row in table.rows}
    assert rows["mine†"] == f"{balanced_accuracy_score(kept['emotion'], kept['prediction']):.3f}‡"
    assert rows["knn"] == next(row[2].text for row in before.rows if row[1].text == "knn")
    missing = report.long["missing"]
    assert set(missing["name"]) == set(folds["utterance"]) - set(kept["utterance"])
    assert set(missing["reason"]) == {"no prediction"}


def test_emotion_without_predictions_is_refused_whatever_is_allowed(folds, score):
    with pytest.raises(ScoreError, match="no prediction for any utterance of anger"):
        score(folds[folds["emotion"] != "anger"], allow_missing=True)
    (scored,) = score(folds.drop(columns="basis"))
    assert "no column 'basis'" in scored.notes[0]


def test_predictions_beyond_the_task_are_told_and_ignored(place, folds, score):
    two = serbench.GridRequest(emotions="anger,neutral")
    basis = serbench.list_folds("toy", two, place)["basis"].iloc[0]
    table = folds.assign(basis=basis, prediction=folds["emotion"])
    (scored,) = score(table, request=two)
    assert (scored.n_utterances, scored.uar) == (36, 1)
    assert scored.notes == ("18 predictions are of utterances outside anger,neutral, and ignored",)


def test_corpora_of_one_file_make_a_cell_each_or_none(place, folds, score, make_corpus, tmp_path):
    make_corpus(name="toy2", speakers=("f1", "m1", "m2"))
    more = serbench.list_folds("toy2", REQUEST, place)
    both = pd.concat([folds, more.assign(prediction=more["emotion"])])
    first, second = score(both)
    assert (first.cell.corpus, second.cell.corpus, second.uar) == ("toy", "toy2", 1)
    shutil.rmtree(tmp_path / "toy2")
    with pytest.raises(CorpusError, match="toy2"):
        score(both, name="other")
    assert not [path for path in outside_cells(place) if "other" in path.name]


def test_its_file_is_replaced_checked_kept_by_cleaning_and_gone_when_deleted(place, folds, score):
    score(folds)
    (scored,) = score(folds.assign(prediction=folds["emotion"]))
    assert "replaces what was scored under this name before" in scored.notes
    values = serbench.load_scores(place).query("rule == 'given' and metric == 'uar'")["value"]
    assert values.tolist() == [1]
    store = place.store()
    assert serbench.check_store(place).counts["cells"] == 2
    assert not serbench.find_unused(place)
    path = store.cell(scored.cell.name)
    record = read_json(path)
    path.write_bytes(path.read_bytes().replace(b'"anger"', b'"Anger"', 1))
    assert list(serbench.check_store(place).damaged) == [path]
    write_json(path, record)
    assert not serbench.check_store(place).damaged
    path.unlink()
    assert set(serbench.load_scores(place)["classifier"]) == {"knn"}


def test_predictions_from_outside_make_no_cell_of_the_grid_incomparable(place, folds, score):
    before = serbench.load_scores(place)
    score(folds)
    for name in ("two", "three", "four"):
        score(folds, name=name)
    for path in outside_cells(place):
        write_json(path, {**read_json(path), "basis": "other"})
    scores = serbench.load_scores(place)
    pd.testing.assert_frame_equal(scores[scores["classifier"] == "knn"].reset_index(drop=True), before)
    others = scores[scores["classifier"] != "knn"]
    assert others["value"].isna().all()
    (reason,) = others["reason"].unique()
    assert reason == "not comparable: made from other labels, recordings and folds than the others; score it again"


def test_changed_corpus_outdates_what_was_scored(place, folds, score, tmp_path):
    score(folds)
    path = tmp_path / "corpora.yaml"
    path.write_text(path.read_text().replace("neutral: neutral", "neutral: calm"))
    serbench.load_index("toy", place)
    scores = serbench.load_scores(place)
    reasons = scores[scores["classifier"] == "mine"]["reason"].unique()
    assert reasons.tolist() == ["outdated: the corpus has changed since; score it again"]


def test_commands_lead_from_folds_to_the_report(cli, place, tmp_path):
    common = ["--results", place.results, "--corpora", place.corpora_file]
    task = ["--emotions", REQUEST.emotions]
    code, out, err = cli("folds", "toy", "-o", tmp_path / "folds.csv", *task, *common)
    assert code == 0, err
    table = pd.read_csv(tmp_path / "folds.csv")
    table.assign(prediction=table["emotion"]).to_csv(tmp_path / "deep.csv", index=False)
    code, out, err = cli("score", tmp_path / "deep.csv", "--features", "wav2vec2", *task, *common)
    assert code == 0, err
    assert "toy: 54 utterances of anger,happiness,neutral in 6 folds, UAR 1.000, as deep with wav2vec2 features" in out
    name = out.partition("serbench cells remove ")[2].split()[0]
    assert read_json(Store(place.results).root / "cells" / f"{name}.json")["outside"]["file"] == "deep.csv"
    assert "Next: serbench report" in out
    code, out, err = cli("report", "--results", place.results)
    assert code == 0, err
    assert "deep†" in out
    code, out, err = cli("score", tmp_path / "nosuch.csv", *task, *common)
    assert code == 1
    assert "nosuch.csv: no such file. Expected a CSV or parquet file of predictions" in err


TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12)


@given(
    rows=st.dictionaries(
        TEXT.map(lambda t: unicodedata.normalize("NFC", t)).filter(str.strip), st.tuples(TEXT, TEXT), min_size=1
    ),
    delimiter=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_whatever_is_written_is_read(tmp_path, rows, delimiter, quoting, end, mark):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerow(["note", "prediction", "utterance"])
    writer.writerows([note, prediction, utterance] for utterance, (prediction, note) in rows.items())
    (tmp_path / "p.csv").write_bytes((mark + out.getvalue()).encode())
    _, read = read_prediction_file(tmp_path / "p.csv")
    assert dict(zip(read["utterance"], read["prediction"], strict=True)) == {u: p.strip() for u, (p, _) in rows.items()}


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from(["utterance", "prediction", "a", ",", ";", '"', "\n", "\r", "\0", "é", "\ufeff"])).map(
        lambda parts: "".join(parts).encode()
    ),
    st.sampled_from(["csv", "parquet"]),
)
def test_any_bytes_are_read_or_refused_in_words(tmp_path, content, ending):
    path = tmp_path / f"p.{ending}"
    path.write_bytes(content)
    try:
        _, rows = read_prediction_file(path)
    except ScoreError as error:
        told = str(error)
    else:
        told = f"p.{ending}" if rows["utterance"].nunique() == len(rows) > 0 else "no rows, or some twice"
    assert told.startswith(f"p.{ending}")


def test_recordings_that_cannot_be_read_are_in_no_fold_and_asked_of_nobody(make_corpus, workspace, tmp_path):
    path = make_corpus(takes=3)
    (path.parent / "toy" / "f1_anger_0.wav").write_bytes(b"")
    place = workspace(path)
    request = serbench.GridRequest(emotions="anger,happiness,neutral")
    with pytest.warns(UserWarning, match=r"left out, as they cannot be read: toy/f1_anger_0.wav"):
        table = serbench.list_folds("toy", request, place)
    assert len(table) == 35
    table.assign(prediction=table["emotion"]).to_csv(tmp_path / "own.csv", index=False)
    (scored,) = serbench.score_predictions(tmp_path / "own.csv", request, place)
    report = serbench.make_report(place)
    assert report.scores["n_missing"].tolist() == [1] * len(report.scores)
    assert "toy/f1_anger_0.wav" in set(report.long["missing"]["name"])


def test_small_parquet_of_many_rows_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(500_001, np.int32)), pa.array(["a"]))
    pq.write_table(pa.table({"utterance": column, "prediction": column}), tmp_path / "mine.parquet")
    assert (tmp_path / "mine.parquet").stat().st_size < 100_000
    with pytest.raises(ScoreError, match="500001 rows, at most 500000 are read"):
        read_prediction_file(tmp_path / "mine.parquet")
    monkeypatch.setattr("serbench.scores.outside.MOST_ROWS", 2)
    (tmp_path / "mine.csv").write_text("utterance,prediction\n" + "a/1,anger\n" * 3)
    with pytest.raises(ScoreError, match="more than 2 rows"):
        read_prediction_file(tmp_path / "mine.csv")
