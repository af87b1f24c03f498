import functools
import io
import itertools
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import short_words
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

import serbench
from serbench.audit import copies
from serbench.audit.checks import check_texts
from serbench.audit.setup import (
    UAR_ABOVE,
    Prediction,
    digital_silence_s,
    in_steps,
    predict,
    simple_cues,
    used_bits,
)
from serbench.corpora.audio import Recording

RATE = 16000
F1 = "f1_anger_0.wav"


@functools.lru_cache(128)
def speech(seed, duration_s=None):
    """Bursts of coloured noise, as syllables come, over a faint room; every seed says something else."""
    rng = np.random.default_rng([7, seed])
    n = int((duration_s or rng.uniform(0.7, 1.1)) * RATE)
    contour = np.interp(np.arange(n), np.linspace(0, n, 9), np.abs(rng.normal(0, 1, 9)) * [0, 1, 1, 1, 1, 1, 1, 1, 0])
    noise = np.fft.irfft(np.fft.rfft(rng.normal(size=n)) / (20 + np.arange(n // 2 + 1) / n * RATE), n)
    voice = contour * noise
    return 0.5 * voice / np.abs(voice).max() + rng.normal(0, 2e-4, n)


def write(path, samples, rate=RATE, **options):
    soundfile.write(str(path), samples, rate, **{"subtype": "PCM_16", "format": "WAV", **options})


@pytest.fixture
def make_speech(make_corpus):
    """Write a corpus of 48 recordings in which nothing is wrong, let `change` spoil its folder, return its YAML."""

    def make(change=None, **options):
        path = make_corpus(takes=4, **options)
        for seed, recording in enumerate(sorted((path.parent / "toy").glob("*.wav"))):
            write(recording, speech(seed))
        if change is not None:
            change(path.parent / "toy")
        return path

    return make


@pytest.fixture
def audit(make_speech, workspace):
    """Audit such a corpus."""
    return lambda change=None, *, partial=False, **options: one_audit(
        workspace(make_speech(change, **options), partial=partial)
    )


def one_audit(place):
    (found,) = serbench.audit_corpora("toy", place)
    return found


def texts(found, level, kind):
    return "\n".join(finding.text for finding in found.of(level) if finding.kind == kind)


def test_wrong_counts_and_rates_are_errors_unless_the_copy_is_partial_and_the_audit_goes_on(audit, tmp_path):
    found = audit(extra="  expect: {utterances: 60, rate: 44100}\n")
    assert "48 utterances. Expected 60 utterances" in texts(found, "error", "counts")
    assert "most recordings have 16000 Hz, expected 44100 Hz" in texts(found, "error", "sampling rate")
    assert found.verdict == "do not believe a number yet: 2 errors"
    assert found.baseline.n_utterances == 48
    found = audit(extra="  expect: {utterances: 60}\n", partial=True, folder=tmp_path / "partial")
    assert found.is_sound
    assert "partial, 48 of 60" in texts(found, "note", "counts")


def many_faults(root):
    for source, target in (
        ("f1_anger_0", "m1_anger_0"),
        ("f1_anger_1", "m1_neutral_1"),
        ("f2_happiness_0", "f2_happiness_1"),
        ("f2_happiness_2", "f2_neutral_2"),
    ):
        shutil.copy(root / f"{source}.wav", root / f"{target}.wav")
    for path in root.glob("m1_happiness*"):
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    for path in root.glob("m2_anger*"):
        path.unlink()
    write(root / "f2_anger_1.wav", np.zeros(RATE))
    write(root / "f2_neutral_3.wav", speech(1)[8000:8160])
    write(root / "f1_happiness_0.wav", speech(701), 48000)
    write(root / "f1_happiness_1.wav", np.stack([speech(702)] * 2, axis=1))
    write(root / "f1_happiness_2.wav", speech(703), format="AIFF")


def all_of_one_length(root):
    for path in root.glob("*"):
        write(path, np.resize(soundfile.read(path)[0], RATE))


def one_emotion_each(root):
    for speaker, emotion in (("f1", "anger"), ("f2", "happiness"), ("m1", "neutral"), ("m2", "anger")):
        for path in root.glob(f"{speaker}_*"):
            if emotion not in path.name:
                path.unlink()


def neutral_at_24_bit_by_two_speakers(root):
    for path in root.glob("*.wav"):
        is_other = path.name.startswith(("f1", "m1"))
        if is_other == ("neutral" in path.name):
            path.unlink()
        elif is_other:
            write(path, soundfile.read(path)[0], subtype="PCM_24")


ONE_SPEAKER = "byte-identical recordings of one speaker"
FAULTS = {
    many_faults: [
        ("error", "copies", "m1_anger_0.wav: same audio as toy/f1_anger_0.wav"),
        ("error", "copies", "m1_neutral_1.wav: same audio with different emotions"),
        ("warning", "copies", f"{ONE_SPEAKER}: toy/f2_happiness_0.wav"),
        ("error", "copies", f"{ONE_SPEAKER} with different emotions: toy/f2_happiness_2.wav"),
        ("error", "damage", "4 files: a git-lfs pointer, not audio. Fetch the recordings with `git lfs pull`"),
        ("warning", "digital silence", "1 recordings are digital silence: toy/f2_anger_1"),
        ("error", "duration", "1 recordings are shorter than 25 ms: toy/f2_neutral_3"),
        ("note", "format", "sampling rate: 39 have 16000 Hz; 48000 Hz: f1_happiness_0.wav"),
        ("note", "format", "channels: 39 have 1 channel; 2 channels: f1_happiness_1.wav"),
        ("note", "format", "1 files named .wav are something else inside, but readable: f1_happiness_2"),
        ("warning", "emotions", "1 of 4 speakers miss an emotion: m2 misses anger"),
    ],
    all_of_one_length: [("warning", "duration", "all 48 recordings last exactly 1 s: cut or padded copies")],
    one_emotion_each: [
        ("error", "confounded", "speaker and emotion are confounded (4 of 4 have one"),
        ("error", "emotions", "happiness is in test group f2 only"),
    ],
    neutral_at_24_bit_by_two_speakers: [
        ("warning", "confounded", "speakers differ in sample format and in their emotions")
    ],
    lambda root: write(root / "nobody.wav", speech(3)): [("error", "labels", "nobody.wav")],
}


@pytest.mark.parametrize("change", FAULTS)
def test_faults_of_a_copy_are_findings_of_their_level(audit, change):
    found = audit(change)
    for level, kind, text in FAULTS[change]:
        assert text in texts(found, level, kind)
    assert found.is_sound == (not found.of("error"))


def test_a_single_speaker_cannot_be_tested(audit):
    found = audit(speakers=("f1",))
    assert "no speaker-independent test is possible" in texts(found, "error", "folds")
    assert found.baseline is None


def test_speakers_that_differ_in_case_only_are_a_warning_with_what_to_write(make_speech, workspace):
    path = make_speech(lambda root: (root / "m1_anger_0.wav").rename(root / "M1_anger_0.wav"))
    path.write_text(path.read_text().replace("[fm]", "[fmM]").replace("m: male", "m: male, M: male"))
    told = texts(one_audit(workspace(path)), "warning", "speakers")
    assert "speakers whose names differ in case only: M1 and m1. If they are one person, write" in told
    assert "`values: {speaker: {m1: M1}}`" in told


def test_speaker_of_two_genders_is_a_warning_and_a_note_of_every_cell(make_corpus, write_wav, workspace):
    path = make_corpus()
    path.write_text(path.read_text().replace("(?P<speaker>(?P<gender>[fm])\\d+)", "(?P<speaker>..)(?P<gender>[fm])"))
    for file in (path.parent / "toy").glob("*.wav"):
        file.rename(file.with_name(file.name[:2] + file.name[0] + file.name[2:]))
    write_wav(path.parent / "toy" / "f1m_anger_7.wav", seed=7)
    told = "speakers whose files say two genders get that of most files (f1: 6 female, 1 male (f1m_anger_7.wav))"
    place = workspace(path)
    assert told in texts(one_audit(place), "warning", "gender")
    request = serbench.GridRequest(classifiers="dummy", emotions="anger,happiness,neutral")
    for cell in serbench.plan_grid("toy", request, place, dry_run=True).plan.cells:
        assert told in dict(cell.notes)["toy"]
    folds = serbench.list_folds("toy", request, place)
    folds.assign(prediction=folds["emotion"]).to_csv(path.parent / "mine.csv", index=False)
    (scored,) = serbench.score_predictions(path.parent / "mine.csv", request, place)
    assert told in dict(scored.record.notes)["toy"]


@pytest.fixture
def audit_two(make_speech, workspace):
    """Audit such a corpus with a second one, whose recordings are `copy` of some of it, and six others."""

    def run(copy, *, extra=""):
        path = make_speech()
        root, other = path.parent / "toy", path.parent / "other"
        other.mkdir()
        for seed, recording in enumerate(sorted(root.glob("f1_*.wav"))):
            copy(recording, other / recording.name)
            write(other / recording.name.replace("f1", "m1"), speech(500 + seed))
        entry = path.read_text().replace("toy", "other")
        path.write_text(path.read_text() + entry + extra)
        *_, both = serbench.audit_corpora(["toy", "other"], workspace(path))
        assert both.corpus == "toy + other"
        return both

    return run


def resampled(source, target):
    write(target, 0.7 * soxr.resample(soundfile.read(source)[0], RATE, 11025), 11025)


def test_copies_of_another_corpus_are_found_and_named(audit_two):
    (found,) = audit_two(lambda *pair: (shutil.copyfile if "_0" in pair[0].name else resampled)(*pair)).of("error")
    told = "toy and other have 12 recordings in common: other/f1_anger_0.wav = toy/f1_anger_0.wav, "
    assert found.text.startswith(told)
    assert re.search(r"other/f1_anger_1.wav = toy/f1_anger_1.wav \(altered, correlation (0\.9|1)", found.text)
    assert "add `shares_speakers_with: [toy]` to the entry of other" in found.text


def test_corpora_that_declare_whose_speakers_they_share_are_sound_together(audit_two):
    both = audit_two(resampled, extra="  shares_speakers_with: [toy]\n")
    assert both.is_sound
    assert "an entry says that they share speakers" in both.findings[0].text


def test_corpora_with_recordings_of_their_own_share_nothing(audit_two):
    seeds = itertools.count(900)
    both = audit_two(lambda source, target: write(target, speech(next(seeds))))
    assert [finding.text for finding in both.findings] == ["no recording of one corpus is in another"]


def encoded(samples, rate, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **options)
    file.seek(0)
    return soundfile.read(file)


def trimmed(samples):
    heard = np.flatnonzero(np.abs(samples) > 0.03 * np.abs(samples).max())
    return samples[heard[0] : heard[-1] + 1]


ALTERED = {
    "at another level": lambda x: (0.1 * x, RATE),
    "upside down": lambda x: (-x, RATE),
    "silence around it": lambda x: (np.concatenate([np.zeros(4321), x, np.zeros(1111)]), RATE),
    "silence cut off": lambda x: (trimmed(x), RATE),
    "8 kHz": lambda x: (soxr.resample(x, RATE, 8000), 8000),
    "44.1 kHz": lambda x: (soxr.resample(x, RATE, 44100), 44100),
    "mu-law": lambda x: encoded(x, RATE, format="WAV", subtype="ULAW"),
    "ogg": lambda x: encoded(x, RATE, format="OGG", subtype="VORBIS"),
    "all of it": lambda x: (soxr.resample(0.3 * trimmed(x), RATE, 11025), 11025),
}


def test_altered_copies_across_speakers_are_one_error_and_within_a_speaker_a_warning(audit):
    def change(root):
        for take, alter in enumerate(ALTERED.values()):
            original, other = [("f1", "f2"), ("m1", "m2"), ("f2", "m1")][take // 4]
            samples, rate = alter(soundfile.read(root / f"{original}_anger_{take % 4}.wav")[0])
            write(root / f"{other}_neutral_{take % 4}.wav", samples, rate)
        write(root / "m2_anger_1.wav", 0.5 * trimmed(soundfile.read(root / "m2_anger_0.wav")[0]))

    found = audit(change)
    errors = texts(found, "error", "altered copies")
    assert f"altered copies of one recording under names of different speakers, {len(ALTERED)} times" in errors
    assert "toy/f1_anger_0.wav = toy/f2_neutral_0.wav (correlation" in errors
    assert "under names of one speaker, 1 time: toy/m2_anger_0" in texts(found, "warning", "altered copies")


@given(st.integers(0, 10**6), st.sampled_from(sorted(ALTERED)))
def test_a_copy_correlates_and_another_recording_does_not(seed, how):
    def at_4_khz(samples, rate):
        return soxr.resample(samples, rate, copies.RATE)

    one, other = at_4_khz(speech(seed), RATE), at_4_khz(*ALTERED[how](speech(seed)))
    assert copies.correlation(one, other) > 0.95
    assert copies.correlation(one, at_4_khz(speech(seed + 1), RATE)) < 0.6
    alike = copies.fingerprint(one) @ copies.fingerprint(other)
    assert alike > copies.fingerprint(one) @ copies.fingerprint(at_4_khz(speech(seed + 1), RATE))


def test_fingerprints_of_long_recordings_are_folded_and_silence_has_none():
    voice = soxr.resample(speech(1), RATE, copies.RATE)
    long = np.concatenate([np.zeros(60 * copies.RATE), voice])
    assert copies.fingerprint(voice) @ copies.fingerprint(long) > 0.99
    silence = copies.fingerprint(np.zeros(4000))
    assert not silence.any()
    assert copies.correlation(np.zeros(4000), np.ones(4000)) == 0
    rows = {"utterance": ["a", "b"], "voice": [np.zeros(4000), voice]}
    assert copies.find_near_copies(pd.DataFrame({**rows, "fingerprint": [silence, copies.fingerprint(voice)]})).empty


def test_every_pair_of_copies_is_in_a_group_around_one_of_its_members_and_chains_are_parted():
    def groups(pairs):
        return list(copies.groups_of([tuple(pair) for pair in pairs]))

    assert sorted(groups(["ab", "bc", "cd"])) == [["a", "b", "c"], ["c", "d"]]
    assert groups(["ab", "bc", "cd", "bd"]) == [["a", "b", "c", "d"]]
    assert groups([]) == []
    rng = np.random.default_rng(0)
    for _ in range(50):
        pairs = {tuple(sorted(map(str, rng.choice(list("abcdefgh"), 2, replace=False)))) for _ in range(10)}
        found = groups(sorted(pairs))
        assert all(any(set(pair) <= set(group) for group in found) for pair in pairs)
        for group in found:
            assert any(all(tuple(sorted((one, other))) in pairs for other in group if other != one) for one in group)


def test_distinct_words_of_one_low_voice_are_no_copies_and_altered_copies_of_them_are():
    voices = [short_words.heard(short_words.word(i)) for i in range(60)]
    found = [(copies.correlation(*pair), copies.copy_from(*pair)) for pair in itertools.combinations(voices, 2)]
    assert max(value for value, _ in found) > 0.8  # as hard as the words of TurEV-DB, which reach 0.84
    assert not [value for value, bound in found if value >= bound]
    for i in range(3):
        for alter in short_words.ALTERED.values():
            altered = short_words.heard(*alter(short_words.word(i)))
            assert copies.correlation(voices[i], altered) >= copies.copy_from(voices[i], altered) + 0.01


def audit_notes(place):
    notes = serbench.make_report(place).of("table2-uar")[0].notes
    return [note for note in notes if note.startswith("toy: ") and "its audit found" in note]


def test_a_report_shows_altered_copies_that_an_audit_found_while_the_corpus_is_as_audited(make_speech, workspace):
    path = make_speech(lambda root: write(root / "m1_neutral_0.wav", 0.5 * trimmed(soundfile.read(root / F1)[0])))
    place = workspace(path)
    serbench.run_grid("toy", serbench.GridRequest("mfcc", "dummy", emotions="anger,happiness,neutral"), place)
    assert audit_notes(place) == []
    one_audit(place)
    (note,) = audit_notes(place)
    assert "altered copies of one recording under names of different speakers, 1 time: toy/f1_anger_0.wav = toy" in note
    write(path.parent / "toy" / "m1_neutral_0.wav", speech(99))
    serbench.extract_features("toy", (), place)
    assert audit_notes(place) == []
    place.store().audit("toy").write_bytes(b'{"seal": "serbench-sha256:0"}')
    with pytest.warns(UserWarning, match=r"toy.json: what the audit found cannot be used and is left out; run"):
        assert audit_notes(place) == []


def rewrite_anger(root, alter):
    for path in sorted(root.glob("*_anger_*")):
        write(path, alter(soundfile.read(path)[0]))


FIELDS = ["sampling rate", "sample format", "bits in use", "channels", "container", "header software"]
FIELDS += ["silence before", "silence after", "silence within"]


def recorded_elsewhere(root):
    for path in sorted(root.glob("*.wav")):
        samples, is_anger = soundfile.read(path)[0], "anger" in path.name
        with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16", format="WAV") as file:
            file.software = "Recorder 1"
            file.write(samples)
        if is_anger:
            parts = [np.zeros(3200), samples[:5000], np.zeros(1600), samples[5000:], np.zeros(800)]
            samples = np.round(np.concatenate(parts) * 2**13) / 2**13
            with soundfile.SoundFile(path, "w", 22050, 2, "PCM_24", format="WAVEX") as file:
                file.software = "Recorder 2"
                file.write(np.stack([samples] * 2, axis=1))


def test_a_set_up_that_gives_an_emotion_away_is_an_error_that_names_each_field(audit):
    errors = texts(audit(recorded_elsewhere), "error", "set-up")
    assert [field for field in FIELDS if f"from the {field} alone UAR is 0.67" not in errors] == []
    assert errors.count("in 16 of 16 of anger and in 0 of 32 of the others") >= len(FIELDS) - 2


def test_a_set_up_that_differs_at_random_is_no_error(audit):
    def change(root):
        for path in np.random.default_rng(5).choice(sorted(root.glob("*.wav")), 19, replace=False):
            write(path, soundfile.read(path)[0], subtype="PCM_24")

    found = audit(change)
    assert found.is_sound
    assert "the set-up differs in sample format, and predicts no emotion" in texts(found, "note", "set-up")


def test_offsets_that_predict_emotions_are_a_warning_for_they_go_with_level(audit):
    found = audit(lambda root: rewrite_anger(root, lambda samples: samples + 0.2))
    assert found.is_sound
    assert "offset of the samples predicts the emotion" in texts(found, "warning", "level")


def predictions(fields, rows, **options):
    words = pd.DataFrame({name: list(values) for name, values in fields.items()}).astype(str)
    return predict(words, rows, "speaker", **options)


def balanced(takes, n_speakers=4):
    """Two emotions of some speakers, each a test group."""
    speakers = np.repeat(np.arange(n_speakers), 2 * takes)
    return pd.DataFrame(
        {"emotion": np.tile(np.repeat([0, 1], takes), n_speakers), "group": speakers, "speaker": speakers}
    )


def test_a_fifth_of_one_emotion_is_enough_though_the_other_emotions_tie():
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(10), 53)
    truth = rng.choice(7, 530, p=[0.24, 0.15, 0.09, 0.13, 0.13, 0.12, 0.14])
    few = rng.permutation(np.flatnonzero(truth == 0))[:26]
    values = np.where(np.isin(np.arange(530), few), "PCM_24", "PCM_16")
    rows = pd.DataFrame({"emotion": truth, "group": speakers, "speaker": speakers})
    (found,) = predictions({"sample format": values}, rows)
    assert found.is_certain
    assert found.uar - found.expected >= UAR_ABOVE
    assert found.expected == pytest.approx(1 / 7, abs=0.005)


def test_many_fields_that_differ_do_not_hide_the_one_that_predicts():
    labels, rng = balanced(8), np.random.default_rng(0)
    noise = {f"noise {i}": rng.integers(0, 2, len(labels)) for i in range(20)}
    found = predictions({**noise, "telling": labels["emotion"]}, labels)
    assert [f.field for f in found if f.is_certain] == ["telling"]


def test_a_set_up_that_only_two_fields_together_give_away_is_found():
    labels = balanced(8)
    one = np.random.default_rng(0).integers(0, 2, len(labels))
    found = predictions({"one": one, "other": np.where(labels["emotion"] == 1, one, 1 - one)}, labels)
    assert [f.field for f in found if f.is_certain] == ["all fields together"]


@pytest.mark.parametrize(("uar", "is_told"), [(0.17, False), (0.23, True)])
def test_a_field_below_chance_predicts_nothing_though_shuffled_labels_reach_less(uar, is_told):
    assert Prediction("offset", uar, 0.14, 0.005, "", chance=0.2).is_certain == is_told


@pytest.mark.slow
def test_about_one_in_a_hundred_fields_without_meaning_is_called_certain():
    rng = np.random.default_rng(1)
    found = [predictions({"field": rng.integers(0, 3, 64)}, balanced(8))[0] for _ in range(100)]
    assert all(0.35 < one.expected < 0.65 and 0.001 <= one.p <= 1 for one in found)
    assert sum(one.is_certain for one in found) <= 4  # 1 on average; 5 and more in four of a thousand such tests


def test_the_test_groups_own_labels_take_no_part_in_their_predictions():
    (found,) = predictions({"field": "xyyx"}, balanced(1, n_speakers=2))
    assert found.uar == 0  # what one speaker's values say, the other's deny


def test_texts_that_belong_to_one_emotion_each_are_a_warning_that_says_what_to_do(make_index):
    index = make_index(takes=4)
    index["group"], take = index["speaker"], index["utterance"].str.extract(r"_(\d)\.wav")[0]
    (found,) = check_texts(index.assign(text=take.where(take == "0", index["emotion"] + take)), "speaker")
    assert (found.level, found.kind) == ("warning", "text")
    assert "from the text alone UAR is 0.83, 0.33 with shuffled labels (p 0.001)" in found.text
    assert "1 of 10 texts are said in every emotion (0)" in found.text
    assert found.text.endswith("by sentence (texts.md), or of common sentences alone (--where text=0)")
    for harmless in (take, index["utterance"], index["speaker"]):
        assert list(check_texts(index.assign(text=harmless), "speaker")) == []


def test_zeros_of_a_quiet_room_are_no_digital_silence():
    quiet = np.zeros(RATE)
    quiet[:: RATE // 20] = 1 / 32768
    loud = np.concatenate([speech(1), np.zeros(1600), speech(2)])
    assert digital_silence_s(Recording(quiet[:, None], RATE)) == {"before": 0, "after": 0, "within": 0}
    assert digital_silence_s(Recording(loud[:, None], RATE))["within"] == pytest.approx(0.1)


@given(st.floats(0.01, 3600))
def test_steps_of_silence_double_and_hold_the_amount(seconds):
    low, _, high, _ = in_steps(seconds).split()
    assert float(low) <= seconds * 1000 * (1 + 1e-9)
    assert seconds * 1000 <= float(high) * (1 + 1e-9) == 2 * float(low) * (1 + 1e-9)


@pytest.mark.parametrize("bits", [8, 12, 16, 20, 24])
def test_bits_in_use_are_counted(bits):
    steps = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 1000)
    assert used_bits((steps / 2 ** (bits - 1)).astype(np.float32)[:, None]) == str(bits)


def test_simple_cues_are_seconds_and_decibels():
    tone = 0.5 * np.sin(2 * np.pi * 400 * np.arange(2 * RATE) / RATE)
    duration_s, level_db, spread_db, highest_db = simple_cues(Recording(tone[:, None], RATE))
    assert duration_s == 2
    assert level_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert spread_db == pytest.approx(0, abs=0.01)
    assert highest_db == pytest.approx(level_db, abs=0.05)


def test_the_command_prints_facts_and_verdict_and_fails_by_it(cli, make_speech, tmp_path):
    path = make_speech()
    given = ["--corpora", path, "--results", tmp_path / "results"]
    code, out, err = cli("audit", "toy", *given)
    assert code == 0, out + err
    assert out.startswith("toy: sound, with 1 warning.\n  utterances     48 in 48 recordings\n")
    facts = [
        "sampling rate 16000 Hz",
        "emotions anger 16, happiness 16, neutral 16",
        "duration and level alone give UAR",
    ]
    facts += ["recording set-up is the same everywhere", "whether sentences give the emotion away is unknown"]
    assert [fact for fact in facts if fact not in " ".join(out.split())] == []
    assert max(map(len, out.splitlines())) < 80
    rewrite_anger(path.parent / "toy", lambda samples: np.stack([samples] * 2, axis=1))
    code, out, err = cli("audit", "toy", *given)
    assert code == 1, out + err
    assert out.startswith("toy: do not believe a number yet: 1 error.")
    assert not (tmp_path / "results" / "report").exists()
    code, out, err = cli("audit", "toi", *given)
    assert (code, out) == (1, "")
    assert "Unknown corpus 'toi'. Did you mean 'toy'?" in err


@pytest.mark.corpus
@pytest.mark.slow
def test_altered_copies_of_real_recordings_are_found_and_no_others():
    corpus = serbench.load_catalogue().corpus("emodb")
    paths = sorted((serbench.root_of(corpus) / "wav").glob("*.wav"))
    voices = [soxr.resample(soundfile.read(path)[0], RATE, copies.RATE) for path in paths]
    prints = [copies.fingerprint(voice) for voice in voices]
    assert max(copies.correlation(voices[a], voices[b]) for a, b in copies.nearest_pairs(np.stack(prints))) < 0.55
    for original in range(0, len(paths), 25):
        for how, alter in ALTERED.items():
            altered = soxr.resample(*alter(soundfile.read(paths[original])[0]), copies.RATE)
            pairs = copies.nearest_pairs(np.stack([*prints, copies.fingerprint(altered)]))
            near = {one: copies.correlation(voices[one], altered) for one, other in pairs if other == len(paths)}
            assert near.pop(original) > 0.95, how
            assert max(near.values()) < 0.55, how


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "uar", "n_pairs"),
    [
        pytest.param("emodb", 0.50, 0, marks=pytest.mark.slow),
        pytest.param("ravdess", 0.39, 1, marks=pytest.mark.slow),
        ("nemo", 0.16, 0),
    ],
)
def test_real_corpora_pass_and_only_the_pair_of_actor_07_is_reported(name, uar, n_pairs, tmp_path):
    if name not in serbench.load_catalogue().on_disk():
        pytest.skip(f"{name} is not in SERBENCH_DATA")
    (found,) = serbench.audit_corpora(name, serbench.Workspace(results=tmp_path, partial=True))
    assert found.is_sound, found.findings
    assert round(found.baseline.uar, 2) == uar
    pairs = [f.text for f in found.findings if f.kind == "copies"]
    assert len(pairs) == n_pairs
    assert all(text.count("Actor_07/") == 2 for text in pairs)
