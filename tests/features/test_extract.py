import dataclasses
import itertools
import time

import numpy as np
import pandas as pd
import pytest
import soundfile
from tables import MeanAndSpread

import serbench
from serbench.corpora.index import cross_speaker_duplicates, overlapping_segments
from serbench.corpora.labels import scan_corpus
from serbench.errors import CorpusError
from serbench.features.extract import MEMORY_SHARE, extract_corpus
from serbench.features.table import read_features
from serbench.store.files import read_frame, read_table
from serbench.store.results import Store


@pytest.fixture
def run(make_corpus, tmp_path, fake_feature_set):
    """Extract the toy corpus with the fake feature set (made first, unless it is there)."""
    path = make_corpus()

    def extract(*, partial=False, jobs=2, feature_set=fake_feature_set, results="results"):
        workspace = serbench.Workspace(tmp_path / results, path, partial=partial, jobs=jobs)
        workspace.store().prepare()
        scan = scan_corpus(workspace.catalogue().corpus("toy"), partial=partial)
        return extract_corpus(scan, [feature_set], workspace)

    extract.root = path.parent / "toy"
    extract.store = Store(tmp_path / "results")
    return extract


def rows_in_store(run, feature_set, index):
    wanted = dict(zip(index["utterance"], index["audio_hash"], strict=True))
    return read_features(run.store.features(feature_set.key, "toy"), wanted)


def test_index_has_the_promised_columns_and_features_are_those_of_each_recording(run, fake_feature_set):
    index = run().index
    promised = ["utterance", "corpus", "file", "start_s", "end_s", "duration_s", "audio_hash", "speaker", "raw_label"]
    assert set(promised) | {"emotion", "gender", "take", "problem", "duplicate"} <= set(index.columns)
    pd.testing.assert_frame_equal(read_frame(run.store.index("toy")), index, check_dtype=False)
    table = rows_in_store(run, fake_feature_set, index)
    assert list(table.utterances) == sorted(index["utterance"])
    samples, _ = soundfile.read(run.root / "f1_anger_0.wav", dtype="float32")
    np.testing.assert_array_equal(table.matrix[0], np.array([samples.mean(), samples.std()], dtype=np.float32))


def test_second_run_computes_nothing_and_a_changed_recording_alone_is_extracted_again(run, fake_feature_set, write_wav):
    assert run().computed == {"fake": 24}
    second = run()
    assert (second.computed, second.stored) == ({"fake": 0}, {"fake": 24})
    samples, _ = soundfile.read(write_wav(run.root / "f1_anger_0.wav", seed=77), dtype="float32")
    again = run()
    assert again.computed == {"fake": 1}
    assert rows_in_store(run, fake_feature_set, again.index).matrix[0, 1] == samples.std()


def test_damaged_part_is_named_and_extracted_again_with_the_same_numbers(run, fake_feature_set):
    before = rows_in_store(run, fake_feature_set, run().index)
    (part,) = run.store.features(fake_feature_set.key, "toy").glob("part-*.parquet")
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.warns(UserWarning, match=rf"{part.name} is damaged; its rows are extracted again"):
        again = run()
    assert again.computed == {"fake": 24}
    np.testing.assert_array_equal(rows_in_store(run, fake_feature_set, again.index).matrix, before.matrix)


def test_interrupted_run_keeps_what_it_did_and_the_next_goes_on(run, fake_feature_set, monkeypatch):
    monkeypatch.setattr("serbench.features.extract.CHUNK", 4)
    calls = itertools.count(1)

    class Stops(MeanAndSpread):
        def __call__(self, mono):
            if next(calls) == 12:
                raise KeyboardInterrupt
            return super().__call__(mono)

    with pytest.raises(KeyboardInterrupt):
        run(feature_set=dataclasses.replace(fake_feature_set, open=Stops), jobs=1)
    assert not run.store.index("toy").exists()
    resumed = run()
    assert resumed.computed["fake"] == 24 - resumed.stored["fake"]
    assert resumed.stored["fake"] >= 4
    matrix = rows_in_store(run, fake_feature_set, resumed.index).matrix
    run.store = Store(run.store.root.parent / "fresh")
    fresh = run(results="fresh").index
    pd.testing.assert_frame_equal(resumed.index, fresh)
    np.testing.assert_array_equal(matrix, rows_in_store(run, fake_feature_set, fresh).matrix)


BROKEN = {
    "zero bytes": (lambda path: path.write_bytes(b""), "an empty file"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:2000]), "cut short"),
    "text": (lambda path: path.write_text("this is no audio\n" * 9), "unreadable"),
    "10 ms": (lambda path: soundfile.write(path, np.zeros(160), 16000), "too short: 10 ms, fake needs 20 ms"),
}


@pytest.mark.parametrize(("damage", "reason"), BROKEN.values(), ids=BROKEN)
def test_bad_recording_becomes_a_failure_and_the_rest_is_done(run, fake_feature_set, damage, reason):
    damage(run.root / "f1_anger_0.wav")
    done = run()
    assert done.computed == {"fake": 23}
    (failure,) = done.failed
    assert failure.utterance == "toy/f1_anger_0.wav"
    assert reason in failure.reason
    assert read_table(run.store.failures(fake_feature_set.key, "toy")).to_pylist() == [failure._asdict()]
    assert len(rows_in_store(run, fake_feature_set, done.index.dropna(subset="audio_hash")).utterances) == 23


def test_odd_but_readable_recordings_are_extracted(run):
    rate = 96000
    tone = np.stack([0.4 * np.sin(2 * np.pi * 200 * np.arange(rate // 2) / rate)] * 2, axis=1)
    odd = [("AIFF", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT")]
    for speaker, (container, subtype) in zip(("f1", "f2", "m1", "m2"), odd, strict=True):
        soundfile.write(run.root / f"{speaker}_anger_0.wav", tone, rate, format=container, subtype=subtype)
    done = run()
    assert done.failed == ()
    rows = done.index[done.index["file"].str.endswith("anger_0.wav")]
    assert set(zip(rows["sampling_rate"], rows["channels"], rows["duration_s"], strict=True)) == {(rate, 2, 0.5)}


@pytest.mark.parametrize("error", [RuntimeError("no frames"), SystemExit("needs a licence")], ids=["error", "exit"])
def test_feature_set_that_raises_makes_a_failure_with_its_message(run, fake_feature_set, error):
    class Raises(MeanAndSpread):
        def __call__(self, mono):
            raise error

    failed = run(feature_set=dataclasses.replace(fake_feature_set, open=Raises)).failed
    assert {failure.reason for failure in failed} == {f"fake failed: {type(error).__name__}: {error}"}
    assert len(failed) == 24


def test_wrong_rate_is_an_error_before_anything_is_computed_unless_partial(make_corpus, run):
    make_corpus(extra="  expect: {rate: 44100}\n", folder=run.root.parent / "again")
    (run.root.parent / "again" / "corpora.yaml").rename(run.root.parent / "corpora.yaml")
    with pytest.raises(CorpusError, match=r"toy.expect.rate: most recordings have 16000 Hz. Expected 44100 Hz"):
        run()
    assert not run.store.index("toy").exists()
    run(partial=True)
    assert run.store.index("toy").exists()


def test_copies_across_speakers_are_named_in_the_index(run):
    original = (run.root / "f1_anger_0.wav").read_bytes()
    (run.root / "m1_anger_1.wav").write_bytes(original)
    (run.root / "f1_anger_1.wav").write_bytes(original)
    problems = run().index.set_index("utterance")["duplicate"].dropna()
    told = "same audio as toy/f1_anger_0.wav, of another speaker"
    assert problems.to_dict() == {"toy/f1_anger_1.wav": told, "toy/m1_anger_1.wav": told}


def test_copies_with_different_emotions_take_both_out_and_those_of_one_speaker_stay(make_index):
    index = make_index()
    index.loc[index["utterance"].isin(["toy/f1_anger_0.wav", "toy/m1_neutral_0.wav"]), "audio_hash"] = "same"
    assert set(cross_speaker_duplicates(index)) == {"toy/f1_anger_0.wav", "toy/m1_neutral_0.wav"}
    index = make_index()
    index.loc[index["utterance"].str.startswith("toy/f1_anger"), "audio_hash"] = "same"
    assert cross_speaker_duplicates(index) == {}


def test_segments_of_different_speakers_that_overlap_are_paired(make_index):
    index = make_index(speakers=("f1", "m1"), emotions=("anger",), takes=2).assign(
        file="a.wav", start_s=[0.0, 2.0, 1.0, 2.5], end_s=[1.0, 3.0, 2.0, 2.75]
    )
    assert overlapping_segments(index) == (("toy/f1_anger_1.wav", "toy/m1_anger_1.wav"),)
    assert overlapping_segments(index.assign(start_s=None, end_s=None)) == ()


def test_recordings_in_hand_fit_into_the_free_memory_together(run, fake_feature_set, monkeypatch):
    one = 4 * 8000 + 56 * 8000  # half a second at 16 kHz
    monkeypatch.setattr("serbench.features.extract.free_memory", lambda: 2.5 * one / MEMORY_SHARE)
    in_hand, most = [], []  # of which single operations need no lock

    class Counting(MeanAndSpread):
        def __call__(self, mono):
            in_hand.append(1)
            most.append(len(in_hand))
            time.sleep(0.01)
            in_hand.pop()
            return super().__call__(mono)

    extraction = run(jobs=6, feature_set=dataclasses.replace(fake_feature_set, open=Counting))
    assert extraction.computed == {"fake": 24}
    assert max(most) == 2


def test_recording_that_does_not_fit_alone_is_a_failure_with_the_reason(run, write_wav, monkeypatch):
    monkeypatch.setattr("serbench.features.extract.free_memory", lambda: 10e6)
    write_wav(run.root / "f1_anger_0.wav", duration_s=20)
    extraction = run()
    (failure,) = extraction.failed
    assert failure.utterance == "toy/f1_anger_0.wav"
    assert failure.reason.startswith("memory: 20 s, which take about 0.0192 GB of memory. Expected at most 0.008 GB")
    assert extraction.computed == {"fake": 23}
    monkeypatch.setattr("serbench.features.extract.free_memory", lambda: 1e9)
    assert run().computed == {"fake": 1}
