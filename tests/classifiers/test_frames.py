"""Frames and auxiliary labels on their way from recordings to scores, with a toy classifier that takes both."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tables import codes_of

import serbench
from serbench.classifiers import find_classifier
from serbench.errors import FeatureError, ProtocolError
from serbench.features import FEATURE_SETS
from serbench.features.own import read_own_features
from serbench.features.record import problems as problems_of_features
from serbench.grid.check import check_store, find_unused
from serbench.grid.run import _numbers
from serbench.grid.utterances import CorpusData, auxiliary_labels
from serbench.scores.predictions import load_predictions
from serbench.store.results import Store
from serbench.testing import check_classifier

EMOTIONS = ["anger", "happiness", "neutral"]
GIVEN = ",".join(EMOTIONS)

TOY = '''
"""Nearest centroid of the mean frame. Writes down what it is given into the folder TOY_NOTES."""
import dataclasses
import json
import os
from pathlib import Path

import numpy as np
from serbench.classifiers import Classifier, Swept

def make(setting, *, n_features, seed):
    raise NotImplementedError("only the sweep is used")

def note(training, held, folder):
    told = {
        "pid": os.getpid(), "lengths": training.X.lengths.tolist(), "type": str(training.X.matrix.dtype),
        "mean": float(abs(training.X.matrix.mean(axis=0)).max()), "speakers": training.speakers.tolist(),
        "auxiliary": {name: labels.tolist() for name, labels in training.auxiliary.items()},
        "held": type(held).__name__, "n_held": len(held),
    }
    Path(folder, f"{os.getpid()}-{os.urandom(4).hex()}.json").write_text(json.dumps(told))

def sweep(classifier, settings, training, held, *, seed):
    if "TOY_NOTES" in os.environ:
        note(training, held, os.environ["TOY_NOTES"])
    train, test = (np.array([frames.mean(axis=0) for frames in rows]) for rows in (training.X, held))
    codes = np.unique(training.labels)
    centres = np.array([train[training.labels == code].mean(axis=0) for code in codes])
    far = [(abs(test[:, None] - centres) ** setting["p"]).sum(axis=2) for setting in settings]
    return Swept(np.array([codes[distances.argmin(axis=1)] for distances in far]), ())

MODEL = Classifier(
    name="centroid", title="Nearest centroid of the mean frame", space=({"p": 1}, {"p": 2}), default={"p": 2},
    parameters=("p",), estimator=make, seconds=lambda n, d, s: 0.01, sweep=sweep, takes_weights=False, revision=1,
    packages=("numpy",), input="frames", auxiliary=("gender", "language"),
)
NEEDY = dataclasses.replace(MODEL, name="needy", auxiliary=("session",))
'''


@pytest.fixture
def toy_classifier(site):
    """Install the toy classifier as a package."""
    points = {"centroid": "MODEL", "needy": "NEEDY"}
    site.install("toy-models", TOY, group="serbench.classifiers", points=points)
    return find_classifier("centroid")


@pytest.fixture(scope="module")
def toy_of_many_lengths(tmp_path_factory, write_corpus, write_wav):
    """A toy corpus whose recordings are all of another length; its corpora.yaml."""
    path = write_corpus(tmp_path_factory.mktemp("lengths"), takes=4)
    for i, recording in enumerate(sorted((path.parent / "toy").iterdir())):
        write_wav(recording, seed=i, duration_s=0.2 + 0.013 * i)
    return path


@pytest.fixture
def recordings(toy_of_many_lengths, tmp_path):
    """A copy of that corpus, to be altered."""
    return Path(shutil.copytree(toy_of_many_lengths.parent, tmp_path, dirs_exist_ok=True)) / "corpora.yaml"


def plain_loop(index, frames, scaling):
    """Leave one speaker out with pandas alone, all frames of a speaker or of the training standardised together."""
    index = index.sort_values("utterance").set_index("utterance")
    speaker = index["speaker"].reindex(frames.index.get_level_values("utterance")).to_numpy()
    predicted = {}
    for held in sorted(index["speaker"].unique()):
        if scaling == "speaker":
            by = frames.astype(float).groupby(speaker)
            scaled = (frames - by.transform("mean")) / by.transform("std", ddof=0)
        else:
            train = frames[speaker != held].astype(float)
            scaled = (frames - train.mean()) / train.std(ddof=0)
        means = scaled.groupby(level="utterance").mean()
        known = index["speaker"] != held
        centres = means[known].groupby(index["emotion"][known]).mean()
        for utterance, row in means[~known].iterrows():
            predicted[utterance] = ((centres - row) ** 2).sum(axis=1).idxmin()
    return predicted


@pytest.mark.parametrize(
    ("features", "scaling"), [("logmel26", "train"), pytest.param("IS09-lld", "speaker", marks=pytest.mark.slow)]
)
def test_frames_and_auxiliary_labels_go_from_recordings_to_scores_through_worker_processes(
    toy_classifier, recordings, workspace, tmp_path, monkeypatch, features, scaling
):
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("TOY_NOTES", str(notes))
    place = workspace(recordings)
    request = serbench.GridRequest(features, "centroid", emotions=GIVEN, scaling=scaling)
    result = serbench.run_grid("toy", request, place)
    assert not result.refused
    frames, index = serbench.load_features("toy", features, place), serbench.load_index("toy", place)
    (cell,) = load_predictions(Store(tmp_path / "results"))
    found = {u: EMOTIONS[code] for u, code in codes_of(cell, "default").items()}
    assert found == plain_loop(index, frames, scaling)
    scores = result.scores().query("rule == 'default' and metric == 'war'")
    truth = index.set_index("utterance")["emotion"]
    assert scores["value"].tolist() == [sum(truth[u] == e for u, e in found.items()) / len(found)]
    told = [json.loads(path.read_text()) for path in notes.iterdir()]
    assert len(told) == 10
    assert os.getpid() not in {one["pid"] for one in told}
    for one in told:
        n = len(one["speakers"])
        assert (one["type"], one["held"], n + one["n_held"], n in (24, 36)) == ("float32", "Ragged", 48, True)
        genders = ["female" if speaker.startswith("toy/f") else "male" for speaker in one["speakers"]]
        assert one["auxiliary"] == {"gender": genders, "language": ["en"] * n}  # of the training rows alone
        assert len(set(one["lengths"])) > 12
    assert scaling == "speaker" or max(one["mean"] for one in told) < 1e-4


def planned(recordings, workspace, **request):
    given = {"emotions": GIVEN, "features": "logmel26", "classifiers": "centroid", **request}
    return serbench.plan_grid("toy", serbench.GridRequest(**given), workspace(recordings), dry_run=True)


def test_declared_labels_are_part_of_the_key_of_a_job_and_no_other_job_has_a_field_for_them(
    toy_classifier, recordings, workspace
):
    plain = planned(recordings, workspace)
    text = recordings.read_text()
    recordings.write_text(text.replace("language: en", "language: de"))
    other = planned(recordings, workspace)
    assert not set(plain.plan.jobs) & set(other.plan.jobs)
    job = next(iter(other.plan.jobs.values())).json
    assert set(job["training"]["auxiliary"]) == {"gender", "language"}
    assert set(job["training"]["auxiliary"]["language"]) == {"de"}
    assert json.loads(json.dumps(job)) == job
    for job in planned(recordings, workspace, features="mfcc", classifiers=("knn", "svc")).plan.jobs.values():
        assert set(job.json["training"]) == {"utterances", "labels", "weights", "speakers", "corpora"}


def test_utterances_without_a_declared_label_refuse_the_cell_and_no_other(
    toy_classifier, recordings, workspace, make_index
):
    result = planned(recordings, workspace, classifiers=("centroid", "needy"))
    (reason,) = result.refused.values()
    assert reason == (
        "toy with needy: 48 of 48 utterances without a label of 'session' (first toy/f1_anger_0.wav). "
        "Expected one for each, as text. Give the corpus' entry a field 'session', or leave needy out."
    )
    index = make_index().assign(corpus_language="en")
    index.loc[3, "gender"] = None
    with pytest.raises(ProtocolError, match=r"1 of 24 utterances without a label of 'gender' \(first toy/f1_happ"):
        auxiliary_labels([SimpleNamespace(name="toy", index=index)], index, toy_classifier)
    present = index.drop(index=3).assign(language="de")
    told = auxiliary_labels([SimpleNamespace(name="toy", index=present)], present, toy_classifier)
    assert set(told["language"].values()) == {"de"}  # of each utterance, where the index has it
    assert len(told["gender"]) == 23


def test_features_and_classifiers_that_do_not_go_together_are_refused_by_name_before_anything_is_extracted(
    toy_classifier, recordings, workspace, tmp_path
):
    result = planned(recordings, workspace, features=("mfcc", "logmel26"), classifiers=("knn", "centroid"))
    assert len(result.plan.cells) == 4
    assert sorted(result.refused.values()) == [
        "logmel26 with knn: knn takes rows, and logmel26 gives frames. Expected features of one row per recording. "
        "`serbench features list` and `serbench classifiers list` tell which go together.",
        "mfcc with centroid: centroid takes frames, and mfcc gives rows. Expected features of frames of each "
        "recording. `serbench features list` and `serbench classifiers list` tell which go together.",
    ]
    assert {cell.cell.classifier for cell in result.plan.cells if not cell.reason} == {"knn", "centroid"}
    with pytest.raises(ProtocolError, match="logmel26 with svc: svc takes rows, and logmel26 gives frames"):
        serbench.run_grid("toy", serbench.GridRequest("logmel26", ("svc", "rf")), workspace(recordings))
    assert not list(tmp_path.glob("results/[!i]*/*"))  # but the index


def test_toy_classifier_keeps_the_contract(toy_classifier):
    check_classifier(toy_classifier)


def test_framewise_set_says_so_in_its_key_and_how_far_its_frames_are_apart(fake_feature_set):
    assert dataclasses.replace(fake_feature_set, is_framewise=True).key != fake_feature_set.key
    ((told, wanted),) = problems_of_features(dataclasses.replace(FEATURE_SETS["logmel26"], options={}))
    assert "without the option 'hop_s'" in told
    assert "seconds" in wanted


def test_memory_and_time_are_guessed_from_the_frames_of_a_mean_recording():
    index = pd.DataFrame({"duration_s": pd.array([1.0, 2.0, None], dtype="Float64")})
    data = [CorpusData(None, index), CorpusData(None, index[:1])]
    assert _numbers(FEATURE_SETS["mfcc"], data) == 156
    assert _numbers(FEATURE_SETS["logmel26"], data) == 26 * 133
    assert _numbers(FEATURE_SETS["logmel26"], [CorpusData(None, index[2:])]) == 26


def test_frames_are_a_table_that_outlives_damage_and_is_exported_one_frame_a_row(recordings, workspace, tmp_path, cli):
    place = workspace(recordings)
    table = serbench.load_features("toy", "logmel26", place)
    assert list(table.index.names) == ["utterance", "frame"]
    lengths = table.groupby(level="utterance").size()
    samples = {u: int((0.2 + 0.013 * i) * 16000) for i, u in enumerate(lengths.index)}
    assert lengths.to_dict() == {u: 1 + (n - 512) // 160 for u, n in samples.items()}
    assert len(lengths) == 48
    assert set(table.dtypes) == {np.dtype("float32")}
    (part,) = place.store().features(FEATURE_SETS["logmel26"].key, "toy").glob("part-*.parquet")
    part.write_bytes(part.read_bytes()[:-9] + b"#" + part.read_bytes()[-8:])
    assert check_store(place).damaged == {part: "its content is not what was written"}
    with pytest.warns(UserWarning, match="is damaged; its rows are extracted again"):
        pd.testing.assert_frame_equal(serbench.load_features("toy", "logmel26", place), table)
    checked = check_store(place)
    assert (checked.damaged, find_unused(place)) == ({}, {})
    assert (checked.counts["parts of features"], checked.counts["mapped features"]) == (1, 1)
    target = tmp_path / "frames.csv"
    options = ["--corpora", recordings, "--results", tmp_path / "results"]
    code, out, err = cli("features", "export", "logmel26", target, "--corpus", "toy", *options)
    assert code == 0, err
    pd.testing.assert_frame_equal(pd.read_csv(target), table.reset_index(), check_dtype=False, rtol=1e-6)
    with pytest.raises(FeatureError, match=r"utterances that occur twice: toy/f1_anger_0\.wav"):
        read_own_features(target)  # a user's own table has rows, not frames


def test_interrupted_extraction_of_frames_goes_on_and_a_recording_too_short_is_a_failure(
    make_corpus, workspace, write_wav
):
    path = make_corpus(speakers=("f1",), takes=1)
    place, short = workspace(path), path.parent / "toy" / "f1_anger_0.wav"
    write_wav(short, duration_s=0.03)
    failed = serbench.extract_features("toy", "logmel26", place).failed
    assert [(f.utterance, f.reason) for f in failed] == [
        ("toy/f1_anger_0.wav", "too short: 30 ms, logmel26 needs 32 ms")
    ]
    write_wav(short, duration_s=0.3)
    (done,) = serbench.extract_features("toy", "logmel26", place).done
    assert (done.computed, done.stored, done.failed) == ({"logmel26": 1}, {"logmel26": 2}, ())


WRONG = {
    r"fake failed: frames of shape \(2,\)": np.zeros(2, np.float32),
    r"fake failed: frames of shape \(5, 3\), 2 names for 2": np.zeros((5, 3), np.float32),
    "no frames": np.zeros((0, 2), np.float32),
    "10 of 10 features are not finite": np.full((5, 2), np.nan, np.float32),
}


def test_frames_of_a_wrong_shape_are_failures(make_corpus, workspace, fake_feature_set, monkeypatch):
    place = workspace(make_corpus(speakers=("f1",), emotions=("anger",)))
    for reason, given in WRONG.items():
        extractor = type("Gives", (), {"columns": ("one", "two"), "__call__": lambda self, mono, given=given: given})
        wrong = dataclasses.replace(fake_feature_set, is_framewise=True, options={"hop_s": 0.01}, open=extractor)
        monkeypatch.setitem(FEATURE_SETS, "fake", wrong)
        reasons = serbench.extract_features("toy", "fake", place).failures["reason"]
        assert reasons.str.match(reason).tolist() == [True, True]
