"""Claims about real recordings; they need SERBENCH_DATA."""

import os
from pathlib import Path

import nested_loso
import numpy as np
import pytest
import soundfile
import soxr
from tables import codes_of, settings_of

import serbench
from serbench.corpora.audio import decode, to_mono
from serbench.corpora.catalogue import load_catalogue, root_of
from serbench.corpora.divisions import partition_notes, partition_of, text_groups
from serbench.grid.utterances import CorpusData
from serbench.protocols import add_groups
from serbench.scores.predictions import load_predictions
from serbench.store.results import Store

pytestmark = pytest.mark.corpus


def needs(name):
    if name not in load_catalogue().on_disk():
        pytest.skip(f"{name} is not in SERBENCH_DATA")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One results folder for all tests of this module."""
    return serbench.Workspace(results=tmp_path_factory.mktemp("results"), partial=True, jobs=2)


@pytest.mark.parametrize(
    ("name", "counts", "n_texts", "n_groups"),
    [("emodb", (535, 10, 408), 10, 5), ("ravdess", (720, 12, 432), 2, 2), ("nemo", (424, 9, 360), 90, 5)],
)
def test_utterances_and_speakers_are_counted_and_texts_dealt_into_even_groups(name, counts, n_texts, n_groups, place):
    needs(name)
    index = serbench.load_index(name, place)
    in_five = index["emotion"].isin(["anger", "fear", "happiness", "neutral", "sadness"]).sum()
    assert (len(index), index["speaker"].nunique(), in_five) == counts
    assert index["text"].nunique() == n_texts
    sizes = index["utterance"].map(text_groups(index, name)).value_counts()
    assert len(sizes) == n_groups
    assert sizes.max() - sizes.min() < len(index) / n_texts


@pytest.mark.parametrize(("name", "n_train", "n_test"), [("emodb", 428, 107), ("ravdess", 480, 240)])
def test_published_partitions_divide_the_recordings_by_speakers(name, n_train, n_test, place):
    needs(name)
    corpus, index = load_catalogue().corpus(name), serbench.load_index(name, place)
    train, test = partition_of(index, corpus, "schiavone")
    assert (len(train), len(test)) == (n_train, n_test)
    assert partition_notes(index, corpus, "schiavone") == []


def test_ravdess_is_tested_in_pairs_of_one_woman_and_one_man(place):
    needs("ravdess")
    data = CorpusData(load_catalogue().corpus("ravdess"), serbench.load_index("ravdess", place), "")
    pairs = [f"{n:02d}+{n + 1:02d}" for n in range(1, 13, 2)]
    assert add_groups(data.index, data.corpus)["group"].cat.categories.tolist() == pairs


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.long)])
def test_is09_of_emodb_is_bit_identical_to_opensmile_in_values_order_and_names(place, step):
    import opensmile

    mine = serbench.load_features("emodb", "IS09", place)
    files = sorted((root_of(load_catalogue().corpus("emodb")) / "wav").glob("*.wav"))
    assert len(files) == 535
    smile = opensmile.Smile(opensmile.FeatureSet.IS09, opensmile.FeatureLevel.Functionals)
    direct = smile.process_files([str(f) for f in files[::step]])
    assert mine.columns.tolist() == direct.columns.tolist()
    assert mine.index.tolist() == [f"emodb/wav/{f.name}" for f in files]
    np.testing.assert_array_equal(mine.to_numpy()[::step], direct.to_numpy())


@pytest.mark.slow  # the plain suite compares synthetic recordings
def test_mfcc_of_emodb_equals_a_direct_librosa_computation(place):
    import librosa

    mine = serbench.load_features("emodb", "mfcc", place)
    root = root_of(load_catalogue().corpus("emodb"))
    for utterance in mine.index[::9]:
        y, _ = soundfile.read(root / utterance.removeprefix("emodb/"), dtype="float32")
        window = {"n_fft": 512, "hop_length": 160, "win_length": 400, "window": "hamming", "center": False}
        mel = librosa.feature.melspectrogram(y=y, sr=16000, n_mels=26, fmax=8000, **window)
        static = librosa.feature.mfcc(S=librosa.power_to_db(mel, ref=1, amin=1e-10, top_db=None), n_mfcc=13)
        llds = [static, *(librosa.feature.delta(static, width=9, order=k, mode="nearest") for k in (1, 2))]
        rows = [[f(row) for f in (np.mean, np.std, np.min, np.max)] for block in llds for row in block]
        np.testing.assert_array_equal(mine.loc[utterance].to_numpy(), np.array(rows, dtype=np.float32).ravel())


def test_one_recording_of_nemo_overshoots_when_resampled_and_is_clipped():
    needs("nemo")
    overshoots = 0
    for path in sorted((root_of(load_catalogue().corpus("nemo")) / "samples").glob("*.wav")):
        samples, rate = soundfile.read(path, dtype="float32")
        resampled = soxr.resample(samples, rate, 16000, quality="HQ")
        overshoots += not -1 <= resampled.min() <= resampled.max() <= 1 - 2**-15
        assert -1 <= to_mono(decode(path), 16000).min() <= to_mono(decode(path), 16000).max() <= 1 - 2**-15
    assert overshoots == 1


def compare_with_script(family, place, *, outers=None):
    request = serbench.GridRequest(features=("IS09",), classifiers=(family,))
    result = serbench.run_grid(["emodb"], request, place)
    assert not result.refused
    cells = load_predictions(Store(Path(place.results)))
    (cell,) = (c for c in cells if c.cell["classifier"] == family and "nested" in c.with_values)
    x, y, speakers, names = nested_loso.emodb(root_of(load_catalogue().corpus("emodb")) / "wav")
    tuned, default, selected = nested_loso.nested(family, x, y, speakers, outers)
    settings = settings_of(cell)
    assert {speaker: settings[speaker] for speaker in selected} == selected
    assert outers or len(settings) == len(selected)
    tested = np.isin(speakers, outers or speakers)
    found = {}
    for rule, script in (("nested", tuned), ("default", default)):
        codes = codes_of(cell, rule)
        predicted = np.array([cell.emotions[codes[f"emodb/wav/{name}"]] for name in names])
        assert list(predicted[tested]) == list(script[tested])
        found[rule] = float(nested_loso.pooled_uar(y, predicted))
    return found


SOME = pytest.param(("03", "11", "16"), marks=pytest.mark.slow)


@pytest.mark.parametrize("outers", [SOME, pytest.param(None, marks=pytest.mark.long)])
def test_svc_on_emodb_predicts_what_the_script_from_the_audio_predicts(place, outers):
    found = compare_with_script("svc", place, outers=outers)
    assert round(found["nested"], 3) == 0.781
    assert round(found["default"], 3) == 0.781


def test_shared_kernels_give_libsvms_own_fits_for_every_setting_on_emodb(place):
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from serbench.classifiers import CLASSIFIERS
    from serbench.classifiers.kernels import Gram

    features = serbench.load_features("emodb", "IS09", place)
    index = serbench.load_index("emodb", place).set_index("utterance").loc[features.index]
    train = ~index["speaker"].isin(["emodb/03", "emodb/08"])
    x = np.ascontiguousarray(StandardScaler().fit_transform(features[train].to_numpy(dtype=np.float64)))
    labels = index.loc[train, "raw_label"].to_numpy(dtype=str)
    gram, kernel = Gram.of(x), np.empty((len(x), len(x)))
    for setting in CLASSIFIERS["svc"].space:
        gram.fill(kernel, setting["gamma"] / 384 if setting["kernel"] == "rbf" else None)
        shared = SVC(kernel="precomputed", C=setting["C"], class_weight="balanced").fit(kernel, labels)
        own = CLASSIFIERS["svc"].estimator(setting, n_features=384, seed=0).fit(x, labels)
        np.testing.assert_array_equal(shared.support_, own.support_)
        np.testing.assert_allclose(shared.dual_coef_, own.dual_coef_, rtol=1e-12)


@pytest.mark.long
def test_forest_on_emodb_predicts_what_the_script_from_the_audio_predicts(place):
    print(compare_with_script("rf", place))


def test_report_of_real_corpora_names_no_folder(place):
    serbench.run_grid(["emodb"], serbench.GridRequest(features=("IS09",), classifiers=("knn",)), place)
    serbench.make_report(place)
    folder = Path(place.results) / "report"
    texts = [path.read_text() for path in folder.iterdir() if path.suffix != ".parquet"]
    assert len(texts) > 10
    assert not any(os.environ["SERBENCH_DATA"] in text or str(place.results) in text for text in texts)
