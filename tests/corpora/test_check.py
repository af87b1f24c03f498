import numpy as np
import pytest
import soundfile

from serbench import api
from serbench.corpora.check import check_copy


def check(make_corpus, *, deep=False, change=None, **options):
    path = make_corpus(**options)
    if change is not None:
        change(path.parent / "toy")
    corpus = api.Workspace(corpora_file=path).catalogue().corpus("toy")
    return check_copy(corpus, deep=deep)


def texts(result, level):
    return "\n".join(finding.text for finding in result.findings if finding.level == level)


def test_sound_corpus_has_facts_and_no_error(make_corpus):
    result = check(make_corpus, deep=True)
    assert result.is_sound
    assert result.facts["utterances"] == "24 in 24 recordings"
    assert result.facts["sampling rate"] == "16000 Hz"
    assert result.facts["emotions"] == "anger 8, happiness 8, neutral 8"


def test_recordings_all_of_one_length_are_suspected_to_be_cut(make_corpus):
    assert "all 24 recordings last exactly 0.5 s" in texts(check(make_corpus), "warning")


def test_git_lfs_pointers_are_counted_as_one_fault(make_corpus):
    def change(root):
        for path in root.glob("f1_*"):
            path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")

    result = check(make_corpus, change=change)
    assert not result.is_sound
    assert "6 files: a git-lfs pointer, not audio. Fetch the recordings with `git lfs pull`" in texts(result, "error")


def test_rates_channels_and_disguised_containers_are_noted(make_corpus, write_wav):
    def change(root):
        write_wav(root / "f1_anger_0.wav", rate=48000)
        write_wav(root / "f1_anger_1.wav", channels=2)
        soundfile.write(root / "f2_anger_0.wav", np.zeros(8000), 16000, format="AIFF", subtype="PCM_16")

    notes = texts(check(make_corpus, change=change), "note")
    assert "sampling rates differ: 23 have 16000 Hz; 48000 Hz: f1_anger_0.wav" in notes
    assert "channels differ: 23 have 1 channels; 2 channels: f1_anger_1.wav" in notes
    assert "1 files named .wav are something else inside, but readable: f2_anger_0.wav" in notes


def test_recordings_too_short_for_any_frame_are_errors(make_corpus, write_wav):
    result = check(make_corpus, change=lambda root: write_wav(root / "f1_anger_0.wav", duration_s=0.01))
    assert "1 recordings are shorter than 25 ms: f1_anger_0.wav" in texts(result, "error")


def test_wrong_rate_is_an_error(make_corpus):
    result = check(make_corpus, extra="  expect: {rate: 44100}\n")
    assert "most recordings have 16000 Hz, expected 44100 Hz" in texts(result, "error")


def test_wrong_counts_are_errors_and_the_check_goes_on(make_corpus):
    result = check(make_corpus, extra="  expect: {utterances: 30}\n")
    assert "toy.expect: 24 utterances. Expected 30 utterances" in texts(result, "error")
    assert result.facts["utterances"] == "24 in 24 recordings"


def test_speaker_confounded_with_emotion_is_a_warning(make_corpus):
    def change(root):
        for speaker, emotion in (("f1", "anger"), ("f2", "happiness"), ("m1", "neutral"), ("m2", "anger")):
            for path in root.glob(f"{speaker}_*"):
                if emotion not in path.name:
                    path.unlink()

    result = check(make_corpus, change=change)
    assert "speaker and emotion are confounded (4 of 4 have one emotion only)" in texts(result, "warning")


def test_speakers_that_differ_in_case_only_are_a_warning_with_what_to_write(make_corpus):
    def make(**options):
        path = make_corpus(**options)
        path.write_text(path.read_text().replace("[fm]", "[fmM]").replace("m: male", "m: male, M: male"))
        return path

    result = check(make, change=lambda root: (root / "m1_anger_0.wav").rename(root / "M1_anger_0.wav"))
    told = texts(result, "warning")
    assert "speakers whose names differ in case only: M1 and m1. If they are one person, write" in told
    assert "`values: {speaker: {m1: M1}}`" in told


def test_speakers_that_differ_otherwise_are_no_warning(make_corpus):
    assert "differ in case" not in texts(check(make_corpus), "warning")


def test_emotion_missing_for_a_speaker_is_noted(make_corpus):
    result = check(make_corpus, change=lambda root: [path.unlink() for path in root.glob("m2_anger*")])
    assert "1 of 4 speakers lack an emotion: m2 lacks anger" in texts(result, "note")


@pytest.mark.parametrize(
    ("copy", "level", "text"),
    [
        ("m1_anger_0.wav", "warning", "toy/m1_anger_0.wav: same audio as toy/f1_anger_0.wav, of another speaker"),
        ("m1_neutral_0.wav", "warning", "same audio with different emotions"),
        (
            "f1_neutral_0.wav",
            "warning",
            "byte-identical recordings of one speaker with different emotions: toy/f1_anger",
        ),
        ("f1_anger_1.wav", "note", "byte-identical recordings of one speaker: toy/f1_anger_0.wav, toy/f1_anger_1.wav"),
    ],
)
def test_deep_check_finds_byte_identical_recordings(make_corpus, copy, level, text):
    def change(root):
        (root / copy).write_bytes((root / "f1_anger_0.wav").read_bytes())

    assert text in texts(check(make_corpus, change=change, deep=True), level)


def test_duplicates_are_looked_for_in_a_deep_check_only(make_corpus):
    def change(root):
        (root / "m1_anger_0.wav").write_bytes((root / "f1_anger_0.wav").read_bytes())

    assert "same audio" not in texts(check(make_corpus, change=change), "warning")


def test_digital_silence_is_a_warning_of_the_deep_check(make_corpus):
    def change(root):
        soundfile.write(root / "f1_anger_0.wav", np.zeros(8000), 16000, subtype="PCM_16")

    assert "1 recordings are digital silence" in texts(check(make_corpus, change=change, deep=True), "warning")


def test_speaker_of_two_genders_is_a_warning_and_a_note_of_every_cell(make_corpus, write_wav, workspace):
    path = make_corpus()
    path.write_text(path.read_text().replace("(?P<speaker>(?P<gender>[fm])\\d+)", "(?P<speaker>..)(?P<gender>[fm])"))
    for file in (path.parent / "toy").glob("*.wav"):
        file.rename(file.with_name(file.name[:2] + file.name[0] + file.name[2:]))
    write_wav(path.parent / "toy" / "f1m_anger_7.wav", seed=7)
    told = "speakers whose files say two genders get that of most files (f1: 6 female, 1 male (f1m_anger_7.wav))"
    assert told in texts(check_copy(workspace(path).catalogue().corpus("toy")), "warning")
    request = api.GridRequest(classifiers="dummy", emotions="anger,happiness,neutral")
    for cell in api.plan_grid("toy", request, workspace(path), dry_run=True).plan.cells:
        assert told in cell.record["notes"][0]
    folds = api.list_folds("toy", request, workspace(path))
    folds.assign(prediction=folds["emotion"]).to_csv(path.parent / "mine.csv", index=False)
    (scored,) = api.score_predictions(path.parent / "mine.csv", request, workspace(path))
    assert told in scored.record["notes"][0]
