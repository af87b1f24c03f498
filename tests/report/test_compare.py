"""Two results folders against each other: planted differences are found, equal ones are called the same."""

import itertools
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

import serbench
from serbench.errors import StoreError, UnknownNameError
from serbench.scores.predictions import load_predictions
from serbench.store.files import read_json, read_metadata, write_json, write_table
from serbench.store.results import Store, read_predictions, write_predictions

EMOTIONS = ["anger", "happiness", "neutral"]
SPEAKERS = ("f1", "f2", "f3", "m1", "m2", "m3")


@pytest.fixture
def stores(toy_report, tmp_path):
    """Two stores that are the same, each of knn and logistic on own features of six speakers."""
    toy_report(speakers=SPEAKERS, takes=3)
    return [Store(shutil.copytree(tmp_path / "results", tmp_path / name)) for name in ("a", "b")]


def compare(stores, **options):
    return serbench.compare_results(*(store.root for store in stores), **options)


def record_of(store, classifier):
    (path,) = (path for path in store.cells if f"-{classifier}-" in path.name)
    return path, read_json(path)


def change(store, classifier, **fields):
    path, record = record_of(store, classifier)
    write_json(path, {**record, **fields})


def spoil(store, classifier, hits):
    """Predict the next emotion for utterances that `hits` says, by all settings."""
    for key in record_of(store, classifier)[1]["jobs"]:
        utterances, codes, metadata = read_predictions(store.job(key))
        wrong = [hits(u) for u in utterances]
        write_predictions(
            store.job(key),
            utterances=utterances,
            predictions=np.where(wrong, (codes + 1) % 3, codes),
            metadata=metadata,
        )


def nested(store, classifier):
    """Truth, prediction and speaker of a cell, its setting chosen by plain counting."""
    _, record = record_of(store, classifier)
    emotion = dict(zip(record["utterances"]["id"], record["utterances"]["emotion"], strict=True))
    read = {key: read_predictions(store.job(key)) for key in record["jobs"]}

    def predicted(job, group, setting):
        utterances, codes, _ = read[job]
        return {u: EMOTIONS[codes[setting, utterances.index(u)]] for u in record["sets"][group]}

    rows = []
    for evaluation in record["folds"]:
        scores = []
        for setting in range(len(record["settings"])):
            pool = {u: p for v, job in evaluation["inner"] for u, p in predicted(job, v, setting).items()}
            scores.append(round(balanced_accuracy_score([emotion[u] for u in pool], list(pool.values())), 12))
        best = int(np.argmax(scores))
        for u, p in predicted(evaluation["job"], evaluation["name"], best).items():
            rows.append((u, emotion[u], p, u.split("/")[1].split("_")[0]))
    return pd.DataFrame(rows, columns=["utterance", "truth", "prediction", "speaker"]).set_index("utterance")


def test_identical_runs_are_said_to_be_identical(stores, cli):
    found = compare(stores)
    assert found.is_same
    assert found.tables == ()
    assert "2 cells compared: the same predictions in all." in found.sentences
    assert found.frame["verdict"].tolist() == ["same", "same"]
    code, out, err = cli("compare", stores[0].root, stores[1].root, "--exit-code")
    assert code == 0, err
    assert out.endswith("2 cells compared: the same predictions in all.\n")


def test_difference_and_count_are_those_of_plain_computation(stores):
    spoil(stores[1], "knn", lambda u: "_0" in u or "f1" in u)
    a, b = nested(stores[0], "knn"), nested(stores[1], "knn")
    assert (a.index == b.index).all()
    row = compare(stores).frame.set_index("cell").loc["toy blobs knn (anger,happiness,neutral, inner all)"]
    assert row["a"] == pytest.approx(balanced_accuracy_score(a["truth"], a["prediction"]))
    assert row["b"] == pytest.approx(balanced_accuracy_score(b["truth"], b["prediction"]))
    assert row["difference"] == pytest.approx(row["b"] - row["a"])
    assert row["n_changed"] == (a["prediction"] != b["prediction"]).sum() > 0
    assert (row["n_utterances"], row["n_units"], row["unit"]) == (54, 6, "speaker")
    war = compare(stores, metric="war").frame.iloc[0]
    assert war["difference"] == pytest.approx(
        accuracy_score(b["truth"], b["prediction"]) - accuracy_score(a["truth"], a["prediction"])
    )


def test_interval_is_the_jackknife_of_the_paired_difference_over_speakers(stores):
    from scipy.stats import t

    spoil(stores[1], "knn", lambda u: "_0" in u)
    a, b = nested(stores[0], "knn"), nested(stores[1], "knn")

    def difference(speakers):
        one, other = a[a["speaker"].isin(speakers)], b[b["speaker"].isin(speakers)]
        scores = [balanced_accuracy_score(of["truth"], of["prediction"]) for of in (one, other)]
        return scores[1] - scores[0]

    without = np.array([difference([s for s in SPEAKERS if s != left_out]) for left_out in SPEAKERS])
    error = np.sqrt(5 / 6 * ((without - without.mean()) ** 2).sum())
    row = compare(stores).frame.iloc[0]
    reach = t.ppf(0.975, 5) * error
    assert row["low"] == pytest.approx(max(-1, difference(SPEAKERS) - reach))
    assert row["high"] == pytest.approx(min(1, difference(SPEAKERS) + reach))


def test_p_counts_all_swaps_of_whole_speakers(stores):
    spoil(stores[1], "knn", lambda u: "_0" in u or "m" in u)
    a, b = nested(stores[0], "knn"), nested(stores[1], "knn")
    observed = abs(accuracy_score(b["truth"], b["prediction"]) - accuracy_score(a["truth"], a["prediction"]))
    reached = 0
    for swapped in itertools.product([False, True], repeat=6):
        swap = a["speaker"].isin([s for s, is_swapped in zip(SPEAKERS, swapped, strict=True) if is_swapped])
        one, other = a["prediction"].where(~swap, b["prediction"]), b["prediction"].where(~swap, a["prediction"])
        reached += abs(accuracy_score(b["truth"], other) - accuracy_score(a["truth"], one)) >= observed - 1e-12
    row = compare(stores, metric="war").frame.iloc[0]
    assert row["p"] == pytest.approx(reached / 64)


def test_p_is_corrected_for_all_cells_of_a_corpus_that_differ(stores):
    spoil(stores[1], "knn", lambda u: True)
    alone = compare(stores)
    assert alone.frame["p"].iloc[0] == pytest.approx(2 / 64)
    assert "More than chance explains, of 1: 1 (0 higher in B, 1 lower)." in alone.sentences
    spoil(stores[1], "logistic", lambda u: True)
    both = compare(stores)
    assert both.frame.set_index("cell")["p"].max() == pytest.approx(2 / 64)  # both are as clear as can be
    assert "More than chance explains, of 2: 2 (0 higher in B, 2 lower)." in both.sentences


def test_metrics_that_are_no_sums_have_an_interval_and_no_test_and_unknown_ones_are_refused(stores):
    spoil(stores[1], "knn", lambda u: "_0" in u)
    row = compare(stores, metric="kappa").frame.iloc[0]
    assert row["low"] < row["difference"] < row["high"]
    assert pd.isna(row["p"])
    with pytest.raises(UnknownNameError, match=r"Unknown metric 'uarr'\. Did you mean 'uar'"):
        compare(stores, metric="uarr")
    with pytest.raises(StoreError, match="no cells"):
        serbench.compare_results(stores[0].root, stores[0].root / "nosuch")


def test_cells_of_one_folder_alone_are_listed(stores):
    path, _ = record_of(stores[1], "knn")
    path.unlink()
    change(stores[0], "logistic", cell={**record_of(stores[0], "logistic")[1]["cell"], "seed": 3})
    found = compare(stores)
    usual = "toy blobs {} (anger,happiness,neutral, inner all{})"
    by = found.frame.groupby("verdict")["cell"].agg(set)
    assert by["only in A"] == {usual.format("knn", ""), usual.format("logistic", ", seed 3")}
    assert by["only in B"] == {usual.format("logistic", "")}
    assert "No cell can be compared, of 0 that both have." in found.sentences
    assert not found.is_same


def test_what_made_cells_differently_is_told(stores):
    _, record = record_of(stores[1], "knn")
    change(stores[1], "knn", serbench="9.9.9", versions={**record["versions"], "numpy": "9.9"}, revision=7)
    for key in record["jobs"]:
        utterances, codes, metadata = read_predictions(stores[1].job(key))
        metadata |= {"versions": {**metadata["versions"], "numpy": "9.9"}, "revision": 7}
        write_predictions(stores[1].job(key), utterances=utterances, predictions=codes, metadata=metadata)
    found = compare(stores)
    told = " ".join(found.sentences)
    assert "2 cells compared: the same predictions in all." in told
    assert f"Made with serbench: {record['serbench']} in A, 9.9.9 in B; 1 of 2 cells." in told
    assert f"Made with numpy: {record['versions']['numpy']} in A, 9.9 in B; 1 of 2 cells." in told
    assert "Made with knn revision: 1 in A, 7 in B; 1 of 2 cells." in told


def test_other_labels_recordings_and_folds_are_counted(stores):
    _, record = record_of(stores[1], "knn")
    columns = {name: list(values) for name, values in record["utterances"].items()}
    columns["emotion"][:2] = ["neutral", "neutral"]
    change(stores[1], "knn", basis="other", utterances=columns)
    found = compare(stores)
    assert found.frame["reason"].tolist() == ["other labels, recordings or folds: 2 of another emotion", ""]
    assert found.frame["verdict"].tolist() == ["not comparable", "same"]
    assert not found.is_same


def test_corpus_indexed_anew_makes_the_earlier_cells_incomparable(stores):
    frame = pd.read_parquet(stores[1].index("toy"))
    frame.loc[0, "audio_hash"] = "another"
    write_table(stores[1].index("toy"), frame, metadata=read_metadata(stores[1].index("toy")))
    found = compare(stores)
    assert set(found.frame["reason"]) == {"B: outdated: the corpus has changed since; run it again"}


def test_other_systems_are_compared_too(stores):
    (cell, *_) = load_predictions(stores[0])
    table = pd.DataFrame({"utterance": cell.of()["utterance"], "prediction": [EMOTIONS[c] for c in cell.of()["truth"]]})
    record = outside_record(record_of(stores[0], "knn")[1])
    for store, n_wrong in zip(stores, (0, 20), strict=True):
        codes = [EMOTIONS.index(e) for e in table["prediction"]]
        codes[:n_wrong] = [(c + 1) % 3 for c in codes[:n_wrong]]
        outside = {"file": "deep.csv", "sha256": "0" * 64, "predictions": codes}
        write_json(store.cell("deep"), {**record, "outside": outside})
    row = compare(stores).frame.set_index("cell").loc["toy own deep (anger,happiness,neutral)"]
    assert (row["rule"], row["n_changed"], row["a"]) == ("given", 20, 1)


def outside_record(record):
    unknown = dict.fromkeys(("space", "scaling", "inner", "preprocessing"), "unknown")
    folds = [{"name": fold["name"], "job": "", "inner": []} for fold in record["folds"]]
    own = {"cell": {**record["cell"], "features": "own", "classifier": "deep", **unknown}, "jobs": [], "folds": folds}
    sets = {fold["name"]: record["sets"][fold["name"]] for fold in folds}
    return {**record, **own, "versions": {}, "sets": sets, "settings": [{}], "default": 0}


def test_command_prints_80_columns_writes_files_and_says_by_its_status(stores, cli, tmp_path):
    spoil(stores[1], "knn", lambda u: True)
    for ending in ("csv", "md", "tex"):
        code, out, err = cli("compare", stores[0].root, stores[1].root, "-o", tmp_path / f"c.{ending}")
        assert code == 0, err
    assert max(map(len, out.splitlines()[1:5])) <= 80
    assert "toy     blobs     knn" in out
    assert pd.read_csv(tmp_path / "c.csv")["verdict"].tolist() == ["other predictions", "same"]
    assert "/54 |" in (tmp_path / "c.md").read_text()
    assert r"\begin{tabular}" in (tmp_path / "c.tex").read_text()
    code, out, err = cli("compare", stores[0].root, stores[1].root, "--exit-code")
    assert code == 1
    assert err == ""
    code, out, err = cli("compare", stores[0].root, stores[1].root, "-o", tmp_path / "c.xlsx")
    assert code == 1
    assert "Expected a name that ends in .csv, .md or .tex" in err


def test_hostile_names_do_not_steer_the_terminal(stores, cli):
    _, record = record_of(stores[0], "knn")
    for store, seed in zip(stores, (1, 2), strict=True):
        write_json(
            store.cell("x"), {**record, "cell": {**record["cell"], "features": "\x1b[31m[red]|x|", "seed": seed}}
        )
    code, out, err = cli("compare", stores[0].root, stores[1].root)
    assert code == 0, err
    assert "\x1b[31m" not in out + err
    assert "[red]|x|" in out
