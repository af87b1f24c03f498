"""Utterances cut into pieces: which frames they hold, and what becomes of them from the store to the report."""

import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import serbench
from serbench.corpora.audio import decode
from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.labels import scan_corpus
from serbench.corpora.segments import segmented
from serbench.errors import ConfigError, CorpusError, FeatureError
from serbench.scores.predictions import load_predictions

TABLE = """\
turns:
  title: Turns of a table
  language: en
  licence: CC0-1.0
  root: turns
  audio: '*.wav'
  labels: {from: table, file: turns.csv, columns: {file: file, start: start, end: end, speaker: who, emotion: emotion}}
  emotions: {anger: anger, neutral: neutral}
"""


EMOTIONS = "anger,happiness,neutral"
KNN = {"features": "mfcc", "classifiers": "knn", "emotions": EMOTIONS, "segment": 0.2}


def request(**more):
    return serbench.GridRequest(**{**KNN, **more})


@pytest.fixture
def toy(make_corpus, workspace):
    """A workspace over 24 recordings of half a second."""
    return workspace(make_corpus())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("turns")


@settings(max_examples=settings.default.max_examples // 3)
@given(
    rate=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]),
    n_frames=st.integers(1, 30000),
    seconds=st.sampled_from([0.05, 0.1, 0.3, 0.125, 0.333, 0.07, 1.0]),
    start=st.none() | st.integers(0, 400),
)
def test_pieces_are_the_frames_from_the_start_without_gap_or_drift(folder, rate, n_frames, seconds, start):
    """Whole recordings and turns within them alike: piece i is frames round(i s rate) to round((i + 1) s rate)."""
    (folder / "turns").mkdir(exist_ok=True)
    (folder / "corpora.yaml").write_text(TABLE)
    samples = np.random.default_rng(n_frames).integers(-9999, 9999, n_frames, dtype=np.int16)
    soundfile.write(folder / "turns" / "a.wav", samples, rate)
    begin = 0 if start is None else min(start, n_frames - 1)
    turn = "" if start is None else begin / rate
    (folder / "turns" / "turns.csv").write_text(f"file,start,end,who,emotion\na.wav,{turn},,A,anger\n")
    scan = scan_corpus(load_catalogue(folder / "corpora.yaml").corpus("turns"))
    bounds = [begin + round(i * round(seconds * 1000) * rate / 1000) for i in range(n_frames)]
    wanted = [samples[a:b] for a, b in itertools.pairwise(bounds) if b <= n_frames]
    if not wanted:
        with pytest.raises(CorpusError, match="none of its 1 utterances is as long as"):
            segmented(scan, seconds)
        return
    cut = segmented(scan, seconds)
    in_order = sorted(cut.rows, key=lambda row: row["start_s"])
    assert len(in_order) == len(wanted) == len({row["utterance"] for row in in_order})
    assert [row["utterance"] for row in cut.rows] == sorted(row["utterance"] for row in cut.rows)
    for row, frames in zip(in_order, wanted, strict=True):
        path, start_s, end_s = cut.span(row)
        decoded = decode(path, start_s=start_s, end_s=end_s).samples[:, 0]
        np.testing.assert_array_equal(decoded * 32768, frames)


def test_index_of_pieces_names_the_utterance_of_each(toy):
    pieces, wholes = serbench.load_index("toy", toy, segment=0.2), serbench.load_index("toy", toy)
    assert list(pieces["utterance"][:2]) == ["toy/f1_anger_0.wav#0.0-0.2", "toy/f1_anger_0.wav#0.2-0.4"]
    assert Counter(pieces["whole"]) == dict.fromkeys(wholes["utterance"], 2)  # 0.1 s of each is dropped
    assert (pieces["duration_s"] == 0.2).all()
    assert set(pieces["corpus"]) == {"toy"}
    joined = pieces.merge(wholes, left_on="whole", right_on="utterance", suffixes=("", "_whole"))
    assert len(joined) == len(pieces) == 48
    for name in ("speaker", "emotion", "raw_label", "gender", "file"):
        assert (joined[name] == joined[f"{name}_whole"]).all()


@pytest.mark.parametrize("seconds", [0, -1, 0.04, math.nan, math.inf, 1 / 3])
def test_length_of_pieces_is_checked_before_anything_is_read(toy, seconds):
    with pytest.raises(ConfigError, match=r"--segment: .* Expected seconds, at least 0.05"):
        serbench.extract_features(["toy"], "mfcc", toy, segment=seconds)
    assert not toy.store().root.exists()


def reported(place):
    """Return the notes of the tables of pieces and of votes, and how many each counts."""
    report = serbench.make_report(place)
    n = report.scores.groupby("preprocessing")["n_utterances"].first()
    assert list(n.index) == ["segment 0.2 s", "segment 0.2 s, majority"]
    return [" ".join(table.notes) for table in report.of("table2-uar")], n.tolist()


def test_short_utterances_are_told_on_screen_and_in_every_table(make_corpus, workspace, tmp_path, write_wav, cli):
    file = make_corpus(extra="  expect: {utterances: 24, rate: 16000}\n")  # counted before they are cut
    for seed, name in enumerate(("anger_0", "anger_1", "neutral_0"), 900):
        write_wav(tmp_path / "toy" / f"f1_{name}.wav", seed=seed, duration_s=0.19)
    arguments = ["--corpora", file, "--results", tmp_path / "results", "--segment", "0.2"]
    code, out, err = cli("extract", "toy", "-f", "mfcc", *arguments)
    assert code == 0, err
    assert "toy@0.2s mfcc: 42 extracted, 0 already there, 0 failed\n  3 utterances shorter than 0.2 s give no" in out
    code, out, err = cli("grid", "toy", "-f", "mfcc", "-c", "dummy", "--emotions", EMOTIONS, *arguments)
    assert code == 0, err
    notes, n = reported(workspace(file))
    assert n == [42, 21]
    assert ["3 utterances shorter than 0.2 s give no piece" in told for told in (out, *notes)] == [True] * 3


@pytest.mark.slow
def test_two_lengths_and_whole_utterances_live_in_one_results_folder(toy):
    """Each gives what it gives in a folder of its own, none takes another out, and the store stays sound."""
    results = [serbench.run_grid(["toy"], request(segment=segment), toy) for segment in (0.2, 0.125, None)]
    scores = serbench.load_scores(toy)
    assert set(scores["preprocessing"]) == {
        "none", "segment 0.2 s", "segment 0.2 s, majority", "segment 0.125 s", "segment 0.125 s, majority",
    }  # fmt: skip
    assert not scores["value"].isna().any()
    counts = scores.groupby("preprocessing")["n_utterances"].first()
    assert counts["segment 0.125 s"] == 96
    assert counts["segment 0.2 s, majority"] == counts["segment 0.125 s, majority"] == counts["none"] == 24
    assert [len(result.scores()) for result in results] == [36, 36, 18]
    assert sorted(path.stem for path in toy.store().indexes) == ["toy", "toy@0.125s", "toy@0.2s"]
    assert not serbench.check_store(toy).damaged
    assert serbench.find_unused(toy) == {}
    assert serbench.run_grid(["toy"], request(segment=0.2), toy).plan.todo == ()
    serbench.run_grid(["toy"], request(features="mfcc120", classifiers="dummy"), toy)
    report = serbench.make_report(toy)
    assert report.commands
    assert all(" --segment 0." in command for command in report.commands if "mfcc120" not in command)
    assert report.long["provenance"]["provenance"].is_unique
    assert set(serbench.compare_results(toy, toy).frame["verdict"]) == {"same"}


def test_no_model_is_trained_on_a_piece_of_a_speaker_or_utterance_that_it_predicts(toy):
    planned = serbench.plan_grid(["toy"], request(inner="all"), toy)
    speaker = serbench.load_index("toy", toy, segment=0.2).set_index("utterance")["speaker"]
    assert len(planned.plan.jobs) == 10
    for job in planned.plan.jobs.values():
        told = job.json
        train, test = told["training"]["utterances"], told["evaluated"]
        assert not {u.partition("#")[0] for u in train} & {u.partition("#")[0] for u in test}
        assert not {speaker[u] for u in train} & {speaker[u] for u in test}
        assert told["corpora"] == ["toy@0.2s"]


def test_unreadable_recordings_stay_whole_and_are_told_in_both_tables(make_corpus, workspace, tmp_path):
    file = make_corpus()
    (tmp_path / "toy" / "f1_anger_0.wav").write_bytes(b"")
    place = workspace(file)
    result = serbench.run_grid(["toy"], request(classifiers="dummy"), place)
    assert [(f.utterance, "0 bytes" in f.reason) for f in result.extracted.failed] == [("toy/f1_anger_0.wav", True)]
    missing = serbench.make_report(place).long["missing"]
    told = missing[missing["what"] == "utterance"]
    assert list(told["name"]) == ["toy/f1_anger_0.wav"] * 2
    assert told["reason"].str.contains("0 bytes").all()
    by = {cell.cell["preprocessing"]: cell for cell in load_predictions(place.store())}
    assert by["segment 0.2 s"].n_utterances == 46
    assert by["segment 0.2 s, majority"].n_utterances == 23


def test_predictions_of_other_systems_stand_beside_whole_utterances_only(toy, tmp_path):
    serbench.run_grid(["toy"], request(classifiers="dummy"), toy)
    serbench.run_grid(["toy"], request(classifiers="dummy", segment=None), toy)
    folds = serbench.list_folds("toy", request(segment=None), toy)
    folds.assign(prediction=folds["emotion"])[["utterance", "prediction", "basis"]].to_csv(tmp_path / "net.csv")
    serbench.score_predictions(tmp_path / "net.csv", request(segment=None), toy)
    for refused in (serbench.list_folds, serbench.score_predictions):
        with pytest.raises(ConfigError, match="folds are of whole utterances"):
            refused("toy" if refused is serbench.list_folds else tmp_path / "net.csv", request(), toy)
    by_title = {table.title: str(table.rows) for table in serbench.make_report(toy).of("table2-uar")}
    assert [("net" in rows, "segment" in title) for title, rows in by_title.items()] == [
        (True, False), (False, True), (False, True),
    ]  # fmt: skip


def test_features_of_ones_own_are_looked_up_by_piece(toy, tmp_path):
    table = serbench.load_features("toy", "mfcc", toy, segment=0.2)
    table.reset_index().to_parquet(tmp_path / "mine.parquet")
    result = serbench.run_grid(["toy"], request(features=["mfcc", str(tmp_path / "mine.parquet")]), toy)
    values = result.scores().pivot(index=["preprocessing", "rule", "metric"], columns="features", values="value")
    assert (values["mine"] == values["mfcc"]).all()
    with pytest.raises(FeatureError, match="is an utterance of toy"):
        serbench.run_grid(["toy"], request(features=str(tmp_path / "mine.parquet"), segment=0.125), toy)


def test_changed_labels_outdate_the_pieces_and_running_again_mends_them(make_corpus, workspace, tmp_path):
    file = make_corpus()
    place = workspace(file)
    serbench.run_grid(["toy"], request(classifiers="dummy"), place)
    (tmp_path / "toy" / "f1_anger_0.wav").rename(tmp_path / "toy" / "f1_neutral_7.wav")
    serbench.load_index("toy", place, segment=0.2)
    told = "outdated: the corpus has changed since; run it again"
    assert set(serbench.make_report(place).long["missing"]["reason"]) == {told}
    serbench.run_grid(["toy"], request(classifiers="dummy"), place)
    assert not serbench.make_report(place).missing


@pytest.fixture
def quiet(make_corpus, workspace, tmp_path):
    """A workspace over 24 recordings of 0.6 s that begin with 0.2 s of zeros; one of them has nothing else."""
    file = make_corpus()
    for path in sorted((tmp_path / "toy").glob("*.wav")):
        samples, rate = soundfile.read(path)
        heard = samples[: int(0.4 * rate)] * (path.name != "f1_anger_0.wav")
        soundfile.write(path, np.concatenate([np.zeros(int(0.2 * rate)), heard]), rate, subtype="PCM_16")
    return workspace(file)


def test_report_scores_votes_of_utterances_that_begin_with_digital_silence(quiet):
    assert not serbench.run_grid("toy", request(), quiet).refused
    told = "26 pieces are digital silence and take no part; nothing else is left of toy/f1_anger_0.wav"
    notes, n = reported(quiet)
    assert n == [24 * 3 - 26, 23]
    assert [told in note for note in notes] == [True, True]


def test_index_that_another_rule_of_copies_made_is_made_anew(quiet, monkeypatch):
    def earlier(index, *, person):
        return dict.fromkeys(index["utterance"][index["audio_hash"].duplicated()], "same audio")

    monkeypatch.setattr("serbench.corpora.index.cross_speaker_duplicates", earlier)
    monkeypatch.setattr("serbench.corpora.index._RULES", 1)
    assert "same audio" in set(serbench.load_index("toy", quiet, segment=0.2)["duplicate"])
    monkeypatch.undo()
    told = serbench.load_index("toy", quiet, segment=0.2).set_index("utterance")["duplicate"]
    assert set(told.dropna()) == {"digital silence"}  # and no copies of another speaker's
    assert told["toy/m1_anger_0.wav#0.0-0.2"] == "digital silence"
    assert pd.isna(told["toy/m1_anger_0.wav#0.2-0.4"])
