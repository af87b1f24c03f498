import functools
import io
import itertools
import re
import shutil

import numpy as np
import pytest
import short_words
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from serbench import api
from serbench.audit import copies, self_check, text_findings
from serbench.audit.recordings import CUES, digital_silence_s, in_steps, simple_cues, used_bits
from serbench.audit.setup import GivenAway, Labels, give_away, shuffled, varying
from serbench.corpora.audio import Recording
from serbench.corpora.catalogue import load_catalogue, root_of
from serbench.grid import check as upkeep
from serbench.scores import predictions

RATE = 16000


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

    def run(change=None, *, partial=False, **options):
        (found,) = api.audit_corpora("toy", workspace(make_speech(change, **options), partial=partial))
        return found

    return run


@pytest.fixture
def audit_two(make_speech, workspace):
    """Audit such a corpus with a second one, whose recordings are `copy` of some of it, beside six others."""

    def run(copy, *, extra=""):
        path = make_speech()
        root, other = path.parent / "toy", path.parent / "other"
        other.mkdir()
        for seed, recording in enumerate(sorted(root.glob("f1_*.wav"))):
            copy(recording, other / recording.name)
            write(other / recording.name.replace("f1", "m1"), speech(500 + seed))
        entry = path.read_text().replace("toy", "other")
        path.write_text(path.read_text() + entry + extra)
        return list(api.audit_corpora(["toy", "other"], workspace(path)))

    return run


def resampled(source, target):
    samples, rate = soundfile.read(source)
    write(target, 0.7 * soxr.resample(samples, rate, 11025), 11025)


@pytest.mark.parametrize(("copy", "how"), [(resampled, r"altered, correlation (0\.9|1)"), (shutil.copyfile, "f1_")])
def test_copies_of_another_corpus_are_found_when_both_are_audited(audit_two, copy, how):
    *_, both = audit_two(copy)
    assert both.corpus == "toy + other"
    assert not both.is_sound
    (found,) = both.findings
    assert found.text.startswith(
        "toy and other have 12 recordings in common: other/f1_anger_0.wav = toy/f1_anger_0.wav"
    )
    assert re.search(how, found.text)
    assert "add `shares_speakers_with: [toy]` to the entry of other" in found.text


def test_corpora_that_say_whose_speakers_they_share_are_sound_together(audit_two):
    *_, both = audit_two(resampled, extra="  shares_speakers_with: [toy]\n")
    assert both.is_sound
    assert "an entry says that they share speakers" in both.findings[0].text


def test_corpora_with_recordings_of_their_own_share_nothing(audit_two):
    seeds = itertools.count(900)
    *_, both = audit_two(lambda source, target: write(target, speech(next(seeds))))
    assert [finding.text for finding in both.findings] == ["no recording of one corpus is in another"]


def texts(found, level, kind):
    return "\n".join(finding.text for finding in found.of(level) if finding.kind == kind)


def rewrite(**changes):
    """Write the recordings of anger anew with other options, the samples as they are."""

    def change(root):
        for path in sorted(root.glob("*_anger_*")):
            write(path, soundfile.read(path)[0], **changes)

    return change


def with_samples(alter):
    """Alter the samples of the recordings of anger."""

    def change(root):
        for path in sorted(root.glob("*_anger_*")):
            write(path, alter(soundfile.read(path)[0]))

    return change


def test_a_corpus_without_faults_is_sound(audit):
    found = audit()
    assert found.is_sound
    assert not found.of("error")
    assert not [f for f in found.of("warning") if f.kind != "emotions"]  # the entry knows two more emotions
    assert texts(found, "note", "set-up") == "the recording set-up is the same everywhere"
    assert found.baseline.emotions == ("anger", "happiness", "neutral")
    assert found.baseline.n_groups == 4


def test_wrong_counts_and_rates_are_errors(audit):
    found = audit(extra="  expect: {utterances: 60, rate: 44100}\n")
    assert "48 utterances. Expected 60 utterances" in texts(found, "error", "counts")
    assert "most recordings have 16000 Hz, expected 44100 Hz" in texts(found, "error", "sampling rate")
    assert found.verdict == "do not believe a number yet: 2 errors"


def test_a_partial_copy_is_a_note_where_that_was_said(audit):
    found = audit(extra="  expect: {utterances: 60}\n", partial=True)
    assert found.is_sound
    assert "partial, 48 of 60" in texts(found, "note", "counts")


def test_byte_identical_recordings_of_two_speakers_are_errors(audit):
    found = audit(lambda root: shutil.copy(root / "f1_anger_0.wav", root / "m1_anger_0.wav"))
    assert "toy/m1_anger_0.wav: same audio as toy/f1_anger_0.wav" in texts(found, "error", "copies")


def test_byte_identical_recordings_of_one_speaker_are_warnings(audit):
    found = audit(lambda root: shutil.copy(root / "f1_anger_0.wav", root / "f1_anger_1.wav"))
    assert found.is_sound
    assert "byte-identical recordings of one speaker: toy/f1_anger_0.wav" in texts(found, "warning", "copies")


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


def test_altered_copies_across_speakers_are_one_error_however_they_were_altered(audit):
    def change(root):
        for take, alter in enumerate(ALTERED.values()):
            original, other = [("f1", "f2"), ("m1", "m2"), ("f2", "m1")][take // 4]
            samples, rate = alter(soundfile.read(root / f"{original}_anger_{take % 4}.wav")[0])
            write(root / f"{other}_neutral_{take % 4}.wav", samples, rate)

    found = audit(change)
    errors = texts(found, "error", "altered copies")
    assert f"altered copies of one recording under names of different speakers, {len(ALTERED)} times" in errors
    assert "toy/f1_anger_0.wav = toy/f2_neutral_0.wav (correlation" in errors


def test_altered_copies_within_a_speaker_are_a_warning(audit):
    def change(root):
        samples, _ = soundfile.read(root / "f1_anger_0.wav")
        write(root / "f1_anger_1.wav", 0.5 * trimmed(samples))

    found = audit(change)
    assert found.is_sound
    assert "under names of one speaker, 1 time" in texts(found, "warning", "altered copies")


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
    short = copies.fingerprint(soxr.resample(speech(1), RATE, copies.RATE))
    long = np.concatenate([np.zeros(60 * copies.RATE), soxr.resample(speech(1), RATE, copies.RATE)])
    assert short @ copies.fingerprint(long) > 0.99
    assert not copies.fingerprint(np.zeros(4000)).any()
    assert copies.correlation(np.zeros(4000), np.ones(4000)) == 0
    assert copies.nearest_pairs({"a": np.zeros(204), "b": short}) == []


def test_names_of_one_recording_are_one_group_and_a_chain_of_pairs_is_not():
    pairs = [copies.NearCopy(*pair, 0.97) for pair in ("ab", "bc", "cd")]
    assert copies.groups_of(pairs) == [["a", "b", "c"], ["c", "d"]]
    assert copies.groups_of([*pairs, copies.NearCopy("b", "d", 0.99)]) == [["a", "b", "c", "d"]]
    assert copies.groups_of([]) == []


def test_every_pair_of_copies_is_in_a_group_and_every_group_around_one_of_its_members():
    rng = np.random.default_rng(0)
    for _ in range(50):
        pairs = {tuple(sorted(rng.choice(list("abcdefgh"), 2, replace=False))) for _ in range(10)}
        groups = copies.groups_of([copies.NearCopy(*map(str, pair), 0.97) for pair in sorted(pairs)])
        assert all(any(set(pair) <= set(group) for group in groups) for pair in pairs)
        for group in groups:
            assert any(all(tuple(sorted((one, other))) in pairs for other in group if other != one) for one in group)


def test_distinct_words_of_one_low_voice_are_no_copies_and_altered_copies_of_them_are():
    voices = {f"{i:02d}": short_words.heard(short_words.word(i)) for i in range(60)}
    alike = [
        (copies.correlation(voices[one], voices[other]), copies.copy_from(voices[one], voices[other]))
        for one, other in itertools.combinations(sorted(voices), 2)
    ]
    assert max(found for found, _ in alike) > 0.8  # as hard as the words of TurEV-DB, which reach 0.84
    assert not [found for found, bound in alike if found >= bound]
    for i in range(3):
        for alter in short_words.ALTERED.values():
            one, other = voices[f"{i:02d}"], short_words.heard(*alter(short_words.word(i)))
            assert copies.correlation(one, other) >= copies.copy_from(one, other) + 0.01


def copy_across_speakers(root):
    samples, _ = soundfile.read(root / "f1_anger_0.wav")
    write(root / "m1_neutral_0.wav", 0.5 * trimmed(samples))


def test_a_report_tells_of_altered_copies_across_speakers_that_an_audit_found(make_speech, workspace):
    path = make_speech(copy_across_speakers)
    place = workspace(path)
    api.run_grid("toy", api.GridRequest("mfcc", "dummy", emotions="anger,happiness,neutral"), place)

    def notes():
        return [note for note in api.make_report(place).of("table2-uar")[0].notes if "the audit of toy found" in note]

    assert notes() == []
    list(api.audit_corpora("toy", place))
    (note,) = notes()
    assert (
        "altered copies of one recording under names of different speakers, 1 time: toy/f1_anger_0.wav = toy/m1" in note
    )
    assert upkeep.check_store(place).counts["audits"] == 1
    write(path.parent / "toy" / "m1_neutral_0.wav", speech(99))
    api.extract_features("toy", (), place)
    assert notes() == []


@pytest.mark.parametrize("content", [b"{}", b'{"seal": "serbench-sha256:0"}', b"\xff"])
def test_a_damaged_audit_is_told_and_left_out_of_the_report(make_speech, workspace, content):
    place = workspace(make_speech(copy_across_speakers))
    api.run_grid("toy", api.GridRequest("mfcc", "dummy", emotions="anger,happiness,neutral"), place)
    list(api.audit_corpora("toy", place))
    place.store().audit("toy").write_bytes(content)
    with pytest.warns(
        UserWarning, match=r"toy.json: what the audit found cannot be used and is left out; run serbench"
    ):
        report = api.make_report(place)
    assert not [note for note in report.of("table2-uar")[0].notes if "audit" in note]


def test_speaker_confounded_with_emotion_is_an_error(audit):
    def change(root):
        for speaker, emotion in (("f1", "anger"), ("f2", "happiness"), ("m1", "neutral"), ("m2", "anger")):
            for path in root.glob(f"{speaker}_*"):
                if emotion not in path.name:
                    path.unlink()

    found = audit(change)
    assert "speaker and emotion are confounded (4 of 4 have one" in texts(found, "error", "confounded")
    assert "happiness is in test group f2 only" in texts(found, "error", "emotions")


def test_a_set_up_that_goes_with_speakers_of_some_emotions_is_told(audit):
    def change(root):
        for path in root.glob("*.wav"):
            is_other = path.name.startswith(("f1", "m1"))
            if is_other == ("neutral" in path.name):
                path.unlink()
            elif is_other:
                write(path, soundfile.read(path)[0], subtype="PCM_24")

    found = audit(change)
    assert "speakers differ in sample format and in their emotions" in texts(found, "warning", "confounded")


def test_an_emotion_missing_for_a_speaker_is_named(audit):
    found = audit(lambda root: [path.unlink() for path in root.glob("m2_anger*")])
    assert found.is_sound
    assert "1 of 4 speakers lack an emotion: m2 lacks anger" in texts(found, "warning", "emotions")


def to_44_khz(root):
    for path in sorted(root.glob("*_anger_*")):
        write(path, soxr.resample(soundfile.read(path)[0], RATE, 44100), 44100)


def to_stereo(root):
    for path in sorted(root.glob("*_anger_*")):
        write(path, np.stack([soundfile.read(path)[0]] * 2, axis=1))


def say_what_wrote_it(root):
    for path in sorted(root.glob("*.wav")):
        samples, _ = soundfile.read(path)
        with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
            file.software = "Recorder 2" if "anger" in path.name else "Recorder 1"
            file.write(samples)


GIVEN_AWAY = {
    "sampling rate": to_44_khz,
    "sample format": rewrite(subtype="PCM_24"),
    "bits in use": with_samples(lambda x: np.round(x * 2**11) / 2**11),
    "channels": to_stereo,
    "container": rewrite(format="AIFF"),
    "silence before": with_samples(lambda x: np.concatenate([np.zeros(3200), x])),
    "silence after": with_samples(lambda x: np.concatenate([x, np.zeros(800)])),
    "silence within": with_samples(lambda x: np.concatenate([x[:5000], np.zeros(1600), x[5000:]])),
    "header software": say_what_wrote_it,
}


@pytest.mark.parametrize("field", GIVEN_AWAY)
def test_a_set_up_that_gives_an_emotion_away_is_an_error_that_names_the_field(audit, field):
    found = audit(GIVEN_AWAY[field])
    errors = texts(found, "error", "set-up")
    assert f"from the {field} alone UAR is 0.67" in errors
    assert "in 16 of 16 of anger and in 0 of 32 of the others" in errors or field == "container"
    assert not found.is_sound


def test_a_set_up_that_differs_at_random_is_no_error(audit):
    def change(root):
        rng = np.random.default_rng(5)
        for path in sorted(root.glob("*.wav")):
            if rng.random() < 0.4:
                write(path, soundfile.read(path)[0], subtype="PCM_24")

    found = audit(change)
    assert found.is_sound
    assert "the set-up differs in sample format, and tells no emotion" in texts(found, "note", "set-up")


def test_a_fifth_of_one_emotion_is_enough_though_the_other_emotions_tie():
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(10), 53)
    labels = Labels(
        tuple("abcdefg"), rng.choice(7, 530, p=[0.24, 0.15, 0.09, 0.13, 0.13, 0.12, 0.14]), speakers, speakers
    )
    few = rng.permutation(np.flatnonzero(labels.truth == 0))[:26]
    values = np.full(530, "PCM_16")
    values[few] = "PCM_24"
    (found,) = give_away({"sample format": list(values)}, labels)
    assert found.is_certain
    assert found.is_much
    assert found.expected == pytest.approx(1 / 7, abs=0.005)


def test_many_fields_that_differ_do_not_hide_the_one_that_tells():
    labels = balanced(8)
    rng = np.random.default_rng(0)
    noise = {f"noise {i}": list(rng.integers(0, 2, len(labels.truth)).astype(str)) for i in range(20)}
    found = give_away({**noise, "telling": list(labels.truth.astype(str))}, labels)
    assert [f.field for f in found if f.is_certain] == ["telling"]


def test_a_set_up_that_only_two_fields_together_give_away_is_found():
    labels = balanced(8)
    rng = np.random.default_rng(0)
    one = rng.integers(0, 2, len(labels.truth))
    other = np.where(labels.truth == 1, one, 1 - one)
    found = give_away({"one": list(map(str, one)), "other": list(map(str, other))}, labels)
    assert [f.field for f in found if f.is_certain and f.is_much] == ["all fields together"]


def test_offsets_that_tell_emotions_are_a_warning_for_they_go_with_level(audit):
    found = audit(with_samples(lambda x: x + 0.2))
    assert found.is_sound
    assert "offset of the samples predicts the emotion" in texts(found, "warning", "level")


@pytest.mark.parametrize(("uar", "is_told"), [(0.17, False), (0.23, True)])
def test_a_field_below_chance_predicts_nothing_though_shuffled_labels_reach_less(uar, is_told):
    assert GivenAway("offset", uar, 0.14, 0.005, "", chance=0.2).is_certain == is_told


def findings_on(index, text):
    return list(text_findings(index.assign(group=index["speaker"], text=text), "speaker"))


def take_of(index):
    return index["utterance"].str.extract(r"_(\d)\.wav")[0]


def test_texts_that_belong_to_one_emotion_each_are_a_warning_that_says_what_to_do(make_index):
    index = make_index(takes=4)
    take = take_of(index)
    (found,) = findings_on(index, take.where(take == "0", index["emotion"] + take))
    assert (found.level, found.kind) == ("warning", "text")
    assert "from the text alone UAR is 0.83, 0.33 with shuffled labels (p 0.001)" in found.text
    assert "1 of 10 texts are said in every emotion (0)" in found.text
    assert found.text.endswith("by sentence (texts.md), or of common sentences alone (--where text=0)")


@pytest.mark.parametrize("text", ["{take}", "{utterance}", "{speaker}"])
def test_texts_said_in_all_emotions_or_by_one_speaker_give_nothing_away(make_index, text):
    index = make_index(takes=4).assign(take=take_of)
    assert findings_on(index, [text.format_map(row) for row in index.to_dict("records")]) == []


def test_an_audit_without_texts_says_that_they_are_unknown(audit):
    assert "whether sentences give the emotion away is unknown" in texts(audit(), "note", "text")


def test_an_audit_with_texts_of_one_emotion_each_is_sound_with_a_warning(audit):
    found = audit(extra="  compose: {text: '{emotion}{take}'}\n")
    assert found.is_sound
    assert "from the text alone UAR is 1.00" in texts(found, "warning", "text")


def balanced(takes, n_speakers=4):
    """Two emotions of four speakers, each a test group."""
    speakers = np.repeat(np.arange(n_speakers), 2 * takes)
    return Labels(("a", "b"), np.tile(np.repeat([0, 1], takes), n_speakers), speakers, speakers)


@given(st.integers(0, 10**6))
def test_a_field_without_meaning_hardly_ever_gives_an_emotion_away(seed):
    values = np.random.default_rng([3, seed]).integers(0, 3, 64).astype(str)
    (found,) = give_away({"field": list(values)}, balanced(8), seed=seed)
    assert 0.35 < found.expected < 0.65
    assert 0.001 <= found.p <= 1


def test_about_one_in_a_hundred_fields_without_meaning_is_called_certain():
    rng = np.random.default_rng(1)
    found = [give_away({"field": list(rng.integers(0, 3, 64).astype(str))}, balanced(8))[0] for _ in range(300)]
    assert sum(one.is_certain for one in found) <= 8  # 3 on average; 8 and more in one of a hundred such tests


def test_the_test_groups_own_labels_take_no_part_in_their_predictions():
    labels = balanced(1, n_speakers=2)  # what one speaker's values say, the other's contradict
    (found,) = give_away({"field": ["x", "y", "y", "x"]}, labels)
    assert found.uar == 0


def test_shuffling_keeps_what_each_speaker_has():
    labels = balanced(5)
    draws = shuffled(labels.truth, labels.speakers, n=20, seed=0)
    assert (draws[:, labels.speakers == 2].sum(axis=1) == 5).all()
    assert len(np.unique(draws, axis=0)) == 20


def test_values_that_are_seldom_count_as_one():
    columns = varying([{"date": str(i), "same": "1"} for i in range(100)])
    assert list(columns) == ["date"]
    assert len(set(columns["date"])) == 31


def test_zeros_of_a_quiet_room_are_no_digital_silence():
    quiet = np.zeros(RATE)
    quiet[:: RATE // 20] = 1 / 32768
    loud = np.concatenate([speech(1), np.zeros(1600), speech(2)])
    assert digital_silence_s(Recording(quiet[:, None], RATE)) == {"before": 0, "after": 0, "within": 0}
    assert digital_silence_s(Recording(loud[:, None], RATE))["within"] == pytest.approx(0.1)


@given(st.floats(0.01, 3000))
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
    cues = dict(zip(CUES, simple_cues(Recording(tone[:, None], RATE)), strict=True))
    assert cues["duration"] == 2
    assert cues["mean level"] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert cues["spread of the level"] == pytest.approx(0, abs=0.01)


def test_what_cannot_be_decoded_is_an_error_and_the_audit_goes_on(audit):
    found = audit(lambda root: (root / "f1_anger_0.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1"))
    assert "f1_anger_0.wav: a git-lfs pointer, not audio" in texts(found, "error", "damage")
    assert found.baseline.n_utterances == 47


def test_recordings_of_nothing_are_warned_of(audit):
    found = audit(lambda root: write(root / "f1_anger_0.wav", np.zeros(RATE)))
    assert "1 recordings are digital silence: toy/f1_anger_0.wav" in texts(found, "warning", "digital silence")


def test_a_single_speaker_cannot_be_tested(audit):
    found = audit(speakers=("f1",))
    assert "no speaker-independent test is possible" in texts(found, "error", "folds")
    assert found.baseline is None


def test_labels_that_cannot_be_read_are_an_error_of_the_corpus(audit):
    found = audit(lambda root: write(root / "nobody.wav", speech(3)))
    assert "nobody.wav" in texts(found, "error", "labels") + texts(found, "error", "counts")
    assert not found.is_sound


def test_the_command_says_the_verdict_and_fails_by_it(cli, make_speech, tmp_path):
    path = make_speech()
    code, out, err = cli("audit", "toy", "--corpora", path, "--results", tmp_path / "results")
    assert code == 0, out + err
    assert out.startswith("toy: sound, with 1 warning.")
    assert "duration and level alone give UAR" in out
    assert max(map(len, out.splitlines())) < 80
    to_stereo(path.parent / "toy")
    code, out, err = cli("audit", "toy", "--corpora", path, "--results", tmp_path / "results")
    assert code == 1, out + err
    assert out.startswith("toy: do not believe a number yet: 1 error.")
    assert not (tmp_path / "results" / "report").exists()


def test_an_unknown_corpus_is_named(cli, make_speech, tmp_path):
    code, out, err = cli("audit", "toi", "--corpora", make_speech(), "--results", tmp_path / "results")
    assert code == 1, out + err
    assert "Unknown corpus 'toi'. Did you mean 'toy'?" in err


def test_a_notebook_learns_of_a_wrong_name_at_once(workspace, make_speech):
    with pytest.raises(api.UnknownNameError, match="Did you mean 'toy'"):
        api.audit_corpora(["toi"], workspace(make_speech()))


def check(**options):
    return self_check.check_self(classifiers=("knn",), **options)


def test_shuffled_labels_score_what_they_must_and_tuning_on_the_test_is_found():
    found = check()
    assert found.is_sound
    assert found.verdict == "sound"
    assert {rule.rule: rule.is_off for rule in found.rules} == {"nested": False, "default": False, "oracle": True}
    assert all(len(rule.uars) == 20 for rule in found.rules)


def test_features_that_hold_the_labels_are_found():
    def features(index):
        codes = index["emotion"].map(self_check.EMOTIONS.index).to_numpy()
        noise = np.random.default_rng(0).normal(size=(len(index), 4))
        return np.column_stack([noise, 0.7 * codes])

    found = check(n_draws=6, make_features=features)
    assert {rule.rule for rule in found.leaks} == {"nested", "default"}
    assert "do not believe serbench" in found.verdict


def test_choosing_settings_on_the_test_is_found(monkeypatch):
    honest = predictions._chosen

    def careless(jobs):
        chosen = honest(jobs)
        return {**chosen, "nested": chosen["oracle"]}

    monkeypatch.setattr(predictions, "_chosen", careless)
    assert [rule.rule for rule in check().leaks] == ["nested"]


def test_training_on_the_test_is_found(monkeypatch):
    from serbench.grid import fit as jobs

    honest = jobs.load_matrices

    def leaking(job, tables):
        every = [*job["training"]["utterances"], *job["evaluated"]]
        return honest({**job, "training": {**job["training"], "utterances": every, **_labels_of(job, every)}}, tables)

    monkeypatch.setattr(jobs, "load_matrices", leaking)
    known = {}
    draw = self_check._relabelled

    def remembered(*given):
        index = draw(*given)
        known.update(zip(index["utterance"], index["emotion"], strict=True))
        return index

    def _labels_of(job, every):
        return {"labels": [job["emotions"].index(known[u]) for u in every], "speakers": [""] * len(every)}

    monkeypatch.setattr(self_check, "_relabelled", remembered)
    assert {rule.rule for rule in check(n_draws=6).leaks} == {"nested", "default"}


def test_a_check_that_misses_its_own_leak_says_so(monkeypatch):
    monkeypatch.setattr(self_check, "LEAK_P_AT_MOST", -1)
    found = check(n_draws=2)
    assert not found.is_sound
    assert "not even the leak made on purpose" in found.verdict


def test_the_command_checks_serbench_itself(cli, monkeypatch):
    even = np.linspace(0.2, 0.3, 20)
    rules = [self_check.RuleCheck("knn", rule, even, even, p) for rule, p in {"nested": 0.5, "oracle": 1e-5}.items()]
    monkeypatch.setattr(self_check, "check_self", lambda **_: self_check.SelfCheck(tuple(rules)))
    code, out, err = cli("audit", "--self")
    assert code == 0, out + err
    assert out.startswith("serbench: sound. Labels shuffled within speaker, 20 draws")
    leaks = (self_check.RuleCheck("knn", "nested", even, even, 1e-5), rules[1])
    monkeypatch.setattr(self_check, "check_self", lambda **_: self_check.SelfCheck(leaks))
    code, out, err = cli("audit", "--self")
    assert code == 1, out + err
    assert out.startswith("serbench: do not believe serbench: it scores labels without meaning")


@pytest.mark.corpus
@pytest.mark.slow
def test_altered_copies_of_real_recordings_are_found_and_no_others():
    corpus = load_catalogue().corpus("emodb")
    paths = sorted((root_of(corpus) / "wav").glob("*.wav"))
    voices = {path.name: soxr.resample(soundfile.read(path)[0], RATE, copies.RATE) for path in paths}
    prints = {name: copies.fingerprint(voice) for name, voice in voices.items()}
    assert max(copies.correlation(voices[a], voices[b]) for a, b in copies.nearest_pairs(prints)) < 0.55
    for path in paths[::25]:
        for how, alter in ALTERED.items():
            altered = soxr.resample(*alter(soundfile.read(path)[0]), copies.RATE)
            pairs = copies.nearest_pairs({**prints, "altered": copies.fingerprint(altered)})
            near = {one: copies.correlation(voices[one], altered) for one, other in pairs if other == "altered"}
            near |= {other: copies.correlation(voices[other], altered) for one, other in pairs if one == "altered"}
            assert near.pop(path.name) > 0.95, how
            assert max(near.values()) < 0.55, how


@pytest.mark.corpus
def test_emodb_passes(tmp_path):
    (found,) = api.audit_corpora("emodb", api.Workspace(results=tmp_path))
    assert found.is_sound, found.findings
    assert not texts(found, "warning", "copies")
    assert round(found.baseline.uar, 2) == 0.50


@pytest.mark.corpus
@pytest.mark.parametrize(("name", "n_pairs"), [("ravdess", 1), ("nemo", 0)])
def test_partial_copies_pass_and_only_the_pair_of_actor_07_is_reported(name, n_pairs, tmp_path):
    if name not in load_catalogue().on_disk():
        pytest.skip(f"{name} is not in SERBENCH_DATA")
    (found,) = api.audit_corpora(name, api.Workspace(results=tmp_path, partial=True))
    assert found.is_sound, found.findings
    pairs = [f.text for f in found.findings if f.kind == "copies"]
    assert len(pairs) == n_pairs
    assert all(text.count("Actor_07/") == 2 for text in pairs)
