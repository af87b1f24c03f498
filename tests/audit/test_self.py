"""serbench on labels without meaning, and on test recordings that hold the answer: its scores must not see either.

The labels of each speaker are shuffled, for training and test alike. Predictions for a speaker then know nothing of
that speaker's labels, so the UAR that they reach on average is known exactly. It is not 1 / n: it is what the same
predictions reach when the speaker's labels are dealt out at random. Over 20 such draws the mean difference is zero,
unless something of the test reaches training or tuning. The rule `oracle` chooses settings on the test on purpose: it
must be found, or the test is blind.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

import serbench
from serbench.audit.setup import shuffled
from serbench.scores.predictions import load_predictions

EMOTIONS = ("anger", "fear", "neutral", "sadness")
SPEAKERS = ("f1", "f2", "m1", "m2", "m3")
ENTRY = """
{name}:
  title: Labels of one draw
  language: en
  licence: CC0-1.0
  root: {root}
  audio: '*.wav'
  labels:
    from: table
    file: {name}.csv
    columns: {{file: file, speaker: speaker, emotion: emotion}}
  emotions: {{anger: anger, fear: fear, neutral: neutral, sadness: sadness}}
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, write_wav):
    """Recordings with their true labels: each speaker says neutral more often than the other emotions."""
    folder = tmp_path_factory.mktemp("draws")
    rows = [
        (f"{speaker}{emotion}{take}.wav", speaker, emotion)
        for speaker in SPEAKERS
        for emotion in EMOTIONS
        for take in range(5 + 3 * (emotion == "neutral"))
    ]
    table = pd.DataFrame(rows, columns=["file", "speaker", "emotion"]).sample(frac=1, random_state=0)
    table["file"] = [f"{i:03}.wav" for i in range(len(table))]
    for i, name in enumerate(table["file"]):
        write_wav(folder / "audio" / name, seed=1000 + i, duration_s=0.05)
    return folder, table


def features_of(table):
    """Make features in which emotions lie apart and speakers have ways of their own."""
    rng = np.random.default_rng(20)
    emotions, speakers = (pd.factorize(table[name], sort=True)[0] for name in ("emotion", "speaker"))
    centres, ways = rng.normal(0, 1.5, (len(EMOTIONS), 8)), rng.normal(0, 0.7, (len(SPEAKERS), 8))
    return centres[emotions] + ways[speakers] + rng.normal(0, 1, (len(table), 8))


def predictions(place):
    """Return one row per cell, rule and utterance."""
    cells = load_predictions(place.store())
    axes = ("train", "corpus", "classifier")
    return pd.concat(
        cell.of(rule).assign(rule=rule, **{name: cell.cell[name] for name in axes})
        for cell in cells
        for rule in cell.with_values
    )


@pytest.fixture
def p_of_rules(recordings, tmp_path):
    """Run a grid on every draw and return, by rule, p of the mean difference between found and expected UAR."""
    folder, table = recordings

    def uars(rows):
        n = rows.groupby("truth").size()
        hits = rows[rows["truth"] == rows["prediction"]].groupby("truth").size().reindex(n.index, fill_value=0)
        of_speaker = rows.groupby("speaker")
        by_chance = sum(
            of["truth"].eq(k).sum() * of["prediction"].eq(k).mean() / n[k] for _, of in of_speaker for k in n.index
        )
        return (hits / n).mean() - by_chance / len(n)

    def run(make_features=lambda table, drawn: features_of(table), *, n_draws=20):
        truth, emotions = pd.factorize(table["emotion"], sort=True)
        draws = shuffled(truth, pd.factorize(table["speaker"])[0], n=n_draws, seed=20)
        catalogue, features = "", []
        for i, codes in enumerate(draws):
            drawn = table.assign(emotion=emotions[codes])
            drawn.to_csv(folder / "audio" / f"draw{i}.csv", index=False)
            catalogue += ENTRY.format(name=f"draw{i}", root=folder / "audio")
            made = pd.DataFrame(make_features(table, drawn), columns=[f"x{j}" for j in range(8)])
            features.append(made.assign(utterance=[f"draw{i}/{name}" for name in table["file"]]))
        (tmp_path / "corpora.yaml").write_text(catalogue)
        pd.concat(features).to_csv(tmp_path / "made.csv", index=False)
        place = serbench.Workspace(results=tmp_path / "results", corpora_file=tmp_path / "corpora.yaml", jobs=1)
        names = [f"draw{i}" for i in range(n_draws)]
        request = serbench.GridRequest(str(tmp_path / "made.csv"), "knn", emotions=",".join(EMOTIONS))
        assert not serbench.run_grid(names, request, place).refused
        off = predictions(place).groupby(["rule", "corpus"]).apply(uars, include_groups=False)
        return {rule: float(ttest_1samp(off[rule], 0).pvalue) for rule in ("nested", "default", "oracle")}

    return run


@pytest.mark.parametrize("n_draws", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_shuffled_labels_score_as_expected_and_tuning_on_the_test_is_found(p_of_rules, n_draws):
    p = p_of_rules(n_draws=n_draws)
    assert p["nested"] > 0.001
    assert p["default"] > 0.001
    assert p["oracle"] <= 0.01 or n_draws < 20


@pytest.mark.slow
def test_features_that_hold_the_labels_are_found(p_of_rules):
    p = p_of_rules(lambda table, drawn: features_of(drawn), n_draws=6)
    assert p["nested"] < 0.001
    assert p["default"] < 0.001


@pytest.mark.slow
def test_values_of_test_recordings_change_no_setting_and_no_prediction_of_others(
    make_corpus, make_features, workspace, tmp_path
):
    make_corpus(name="train", takes=4)
    place = workspace(make_corpus(name="test", takes=4, seed=5))
    index = pd.concat([serbench.load_index(name, place) for name in ("train", "test")], ignore_index=True)
    features = make_features(index.assign(corpus="one"), noise=3)
    others = index["corpus"].eq("train") | index["speaker"].isin(["test/f1", "test/m1"])

    def run(results, altered):
        altered.to_csv(tmp_path / "made.csv", index=False)
        here = workspace(tmp_path / "corpora.yaml", results=results)
        request = serbench.GridRequest(
            str(tmp_path / "made.csv"), ("knn", "svc"), protocol="cross", emotions="anger,happiness,neutral"
        )
        assert not serbench.run_grid(["train", "test"], request, here).refused
        rows = predictions(here)
        rows = rows[rows["train"].eq("train") & rows["rule"].isin(["nested", "default"])]
        return rows.sort_values(["classifier", "rule", "utterance"], ignore_index=True)

    holding = features.copy()
    holding.loc[~others, "x0":] = np.tile(100.0 * pd.factorize(index["emotion"])[0][~others, None], 8)
    before, after = run("before", features), run("after", holding)
    same = before["utterance"].isin(index["utterance"][others])
    pd.testing.assert_frame_equal(before[same], after[same])
    assert not before[~same].equals(after[~same])
