"""What `serbench corpora init` makes of folders that it has not seen before, and of real ones."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from trees import WRITERS

import serbench
from serbench.corpora.catalogue import Catalogue, load_catalogue
from serbench.corpora.guess import CHECK, FILL_IN, guess_corpus
from serbench.corpora.labels import scan_corpus
from serbench.errors import ConfigError, CorpusError

REAL_DATA = os.environ.get("SERBENCH_DATA", "")

PEOPLE = ("anna", "otto", "eva", "max")


@pytest.fixture
def write(tmp_path):
    """Write recordings of a corpus called mine, each with noise of its own, and return its folder."""

    def of(*names):
        for i, path in enumerate(tmp_path / "mine" / name for name in names):
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(i).normal(0, 0.1, 3200 + 10 * i)
            soundfile.write(str(path), noise, 16000, subtype="PCM_16", format="WAV")
        return tmp_path / "mine"

    return of


@pytest.fixture
def guess(tmp_path):
    def of(folder, **how):
        return guess_corpus(folder, Catalogue({}, {}), file=tmp_path / "corpora.yaml", **how)

    return of


@pytest.fixture
def audit(tmp_path, workspace):
    """Audit a corpus by a block, as its only one."""

    def of(block):
        (tmp_path / "corpora.yaml").write_text(block)
        (found,) = serbench.audit_corpora("mine", workspace(tmp_path / "corpora.yaml"))
        return found

    return of


def read(guess):
    return set(guess.scan.table[["speaker", "raw_label", "emotion"]].itertuples(index=False, name=None))


def names(pattern, speakers, emotions, takes=(1, 2)):
    return [pattern.format(s=s, e=e, t=t) for s in speakers for e in emotions for t in takes]


def test_emotion_as_a_folder_and_people_in_names(write, guess, audit):
    made = guess(write(*names("{e}/{s}-{t:03}.wav", PEOPLE, ("Happy", "Pleasant surprise", "Wut"))))
    assert made.comments(CHECK) == ["the speaker has 4 values (anna, eva, max, otto): are these people?"]
    assert made.comments(FILL_IN) == []
    emotions = {"Happy": "happiness", "Pleasant surprise": "surprise", "Wut": "anger"}
    assert read(made) == {(f"mine/{s}", raw, of) for s in PEOPLE for raw, of in emotions.items()}
    first, second = made.labels.examples
    assert first == ("Happy/anna-001.wav", "speaker anna, emotion Happy (happiness)")
    assert second[1].split(",")[0] != "speaker anna"
    assert audit(made.block).is_sound


def test_folders_of_speakers_with_odd_names(write, guess, audit):
    folder = write(*names("Take One/Speaker {s}/utt{t}=={e}!.WAV", (7, 8, 12), ("sad", "ang", "neu")))
    made = guess(folder)
    emotions = {"sad": "sadness", "ang": "anger", "neu": "neutral"}
    assert read(made) == {(f"mine/{s}", raw, of) for s in (7, 8, 12) for raw, of in emotions.items()}
    assert made.labels.examples[0] == ("Take One/Speaker 12/utt1==ang!.WAV", "speaker 12, emotion ang (anger)")
    assert audit(made.block).is_sound


def test_table_of_labels_with_semicolons_and_a_table_of_speakers(write, guess, audit):
    clips = names("clips/{s}{e}{t}.wav", "ab", "xy")
    folder = write(*clips)
    lines = [f"{Path(c).stem};{'P1' if c[6] == 'a' else 'P2'};{'joy' if c[7] == 'x' else 'rage'};0,5" for c in clips]
    (folder / "meta.csv").write_text("\n".join(["clip;participant;felt;level", *lines]))
    (folder / "people.csv").write_text("code,sex,age\nP1,F,31\nP2,M,40\n")
    made = guess(folder)
    assert made.labels.source == "the table meta.csv"
    assert (made.comments(CHECK), made.comments(FILL_IN)) == ([], [])
    emotions = {"joy": "happiness", "rage": "anger"}
    assert read(made) == {(f"mine/{p}", raw, of) for p in ("P1", "P2") for raw, of in emotions.items()}
    people = made.scan.table.groupby("speaker")[["gender", "age"]].first()
    assert people.to_numpy().tolist() == [["female", "31"], ["male", "40"]]
    assert audit(made.block).is_sound


def test_numbers_for_emotions_are_to_be_filled_in_and_then_read(write, guess, audit):
    folder = write(*names("rec_{s}_{e}_{t:02}.wav", ("f1", "f2", "m1", "m2"), (1, 2, 3), (1, 2, 3, 4)))
    made = guess(folder)
    assert made.comments(FILL_IN)[0].startswith("which emotion is each of 1, 2, 3?")
    assert "the emotion has 3 values (1, 2, 3): are these emotions?" in made.comments(CHECK)
    assert (made.scan, made.faults) == (None, ())
    filled = made.block
    for emotion in ("anger", "neutral", "sadness"):
        filled = filled.replace(FILL_IN + "  #", f"{emotion}  #", 1)
    found = audit(filled)
    assert found.is_sound
    assert (found.facts["speakers"], found.facts["emotions"]) == ("4", "anger 16, neutral 16, sadness 16")


JOY = ("joy", "sad")
ODD = {
    "initials": (names("{s}/{e}{t:02}.wav", ("DC", "JE", "KL"), ("a", "d", "h", "sa", "su")), 15, "first letters"),
    "subsets": (names("train/{s}_{e}_{t}.wav", "ab", JOY) + names("test/{s}_{e}_{t}.wav", "cd", JOY), 8, "people"),
    "letters and numbers": (names("{s}{e}{t:02}.wav", ("F01", "F02", "M01"), ("ang", "hap", "neu")), 9, "gender"),
    "folders of genders": (names("{s}_{e}_{t}.wav", ("Female/ann", "Female/eve", "Male/bob"), JOY), 6, "gender"),
    "words of a text": (names("{s}_{t}_{e}.wav", PEOPLE, ("angry", "fearful"), ("back", "bean")), 8, "people"),
    "not ASCII": (names("{s}_{e}_{t}.wav", ("Ämilie", "Özil"), ("Ärger", "Freude", "Überraschung")), 6, "people"),
}


@pytest.mark.parametrize(("paths", "n", "told"), ODD.values(), ids=ODD)
def test_odd_names_are_read_and_what_is_unsure_is_told(write, guess, paths, n, told):
    made = guess(write(*paths))
    assert (made.faults, made.comments(FILL_IN)) == ((), []), made.block
    assert len(read(made)) == n, made.block
    assert told in " ".join(made.comments(CHECK))


def test_audformat_database_is_read_by_its_header(write, guess):
    folder = write("audio/1.wav", "audio/2.wav", "audio/3.wav", "audio/4.wav")
    (folder / "db.yaml").write_text("tables: {emotion: {columns: {emotion: }}, files: {columns: {speaker: }}}\n")
    rows = [(f"audio/{i}.wav", speaker, emotion) for i, speaker, emotion in zip("1234", "abab", "xyyx", strict=True)]
    words = {"x": "anger", "y": "neutral"}
    (folder / "db.emotion.csv").write_text("file,emotion\n" + "".join(f"{f},{words[e]}\n" for f, _, e in rows))
    (folder / "db.files.csv").write_text("file,speaker\n" + "".join(f"{f},{s}\n" for f, s, _ in rows))
    made = guess(folder)
    assert (made.labels.source, made.comments(FILL_IN)) == ("the table db.yaml", [])
    assert read(made) == {(f"mine/{s}", words[e], words[e]) for _, s, e in rows}


def test_block_without_emotions_can_be_read_and_is_not_ready(write, guess):
    made = guess(write(*names("{s}_{t:04}.wav", PEOPLE, [""], range(5))))
    assert "the speaker has 4 values" in made.comments(CHECK)[0]
    assert "no part of the names is the emotion" in made.comments(FILL_IN)[0]
    assert made.scan is not None


def test_nothing_is_made_up_where_names_show_nothing(write, guess):
    made = guess(write("x/001.wav", "x/002.wav", "y/003.wav"))
    blanks = " ".join(made.comments(FILL_IN))
    assert "no part of the names is the speaker" in blanks
    assert "no part of the names is the emotion" in blanks
    assert "nothing gives 'speaker'" in str(made.faults[0])


def test_names_that_are_built_otherwise_are_named(write, guess):
    made = guess(write(*names("{s}_{e}_{t}.wav", PEOPLE, ("joy", "sad")), "noise.wav"))
    assert made.comments(FILL_IN) == ["1 of 17 names are built otherwise, as noise.wav"]
    assert "1 of 17 paths do not match exactly once (noise.wav)" in str(made.faults[0])


def test_folder_without_recordings_and_a_block_that_is_there_are_refused(write, guess, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/a.txt").write_text("a")
    with pytest.raises(CorpusError, match=r"none of its 1 files is a recording.*Extract the audio of videos first"):
        guess(tmp_path / "empty")
    with pytest.raises(CorpusError, match=r"nowhere: no such folder"):
        guess(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"--name emodb: a corpus of the catalogue"):
        guess_corpus(write("a_joy.wav"), load_catalogue(), name="emodb", file=tmp_path / "corpora.yaml")
    (tmp_path / "corpora.yaml").write_text("mine: {}\n")
    with pytest.raises(ConfigError, match=r"mine: a block of this name is there.*--name"):
        guess(write(*names("{s}_{e}_{t}.wav", PEOPLE, ("joy", "sad"))))


MESSAGE = """\
mine: 16 recordings. Labels are read from file names:
  audio/anna_joy_1.wav
    speaker anna, emotion joy (happiness)
  audio/eva_rage_1.wav
    speaker eva, emotion rage (anger)
To check:
  - the speaker has 4 values (anna, eva, max, otto): are these people?

Added to corpora.yaml:

mine:
  root: mine
  # Optional: title, licence, citation, and for comparisons across languages e.g. `language: fi`.
  audio: 'audio/*.wav'
  labels:
    from: path
    # CHECK the speaker has 4 values (anna, eva, max, otto): are these people?
    pattern: '(?:^|/)(?P<speaker>[a-z]+)_(?P<emotion>[a-z]+)_\\d\\.wav$'
  emotions:
    joy: happiness
    rage: anger
  folds: {leave_out: 1}

The block can be read: 16 utterances of 4 speakers; anger 8, happiness 8.
Next: serbench audit mine
"""


def test_first_message_shows_two_files_what_is_unsure_and_the_block_and_audit_passes(cli, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(*names("audio/{s}_{e}_{t}.wav", PEOPLE, ("joy", "rage")))
    code, out, err = cli("corpora", "init", "mine", "--dry-run")
    assert (code, (tmp_path / "corpora.yaml").exists()) == (0, False), err
    code, out, err = cli("corpora", "init", "mine")
    assert code == 0, err
    assert out == MESSAGE
    code, out, err = cli("audit", "mine", "--corpora", "corpora.yaml")
    assert code == 0, out + err
    code, out, err = cli("corpora", "init", "mine")
    assert (code, "a block of this name is there" in err) == (1, True)


def test_corpus_named_like_another_of_ones_own_is_a_corpus_of_its_own(write, tmp_path):
    folder, file = write(*names("{s}_{e}_{t}.wav", PEOPLE, ("joy", "anger"))), tmp_path / "corpora.yaml"
    file.write_text(guess_corpus(folder, load_catalogue(), file=file).block)
    shutil.copytree(folder, tmp_path / "second")
    made = guess_corpus(tmp_path / "second", load_catalogue(file), file=file)
    assert made.name == "second"
    assert "\n  root: second\n" in made.block
    assert made.scan is not None


def test_block_that_must_be_filled_in_says_so_with_exit_1(cli, write, tmp_path):
    folder = write(*names("{s}-{e}-{t}.wav", PEOPLE, (1, 2, 3)))
    code, out, err = cli("corpora", "init", folder, "--corpora", tmp_path / "own.yaml", "--name", "other")
    assert code == 1
    assert "To fill in:\n  - which emotion is each of 1, 2, 3?" in out
    assert f"Fill in what is missing, then: serbench audit other --corpora {tmp_path}/own.yaml" in out
    assert "    '1': FILL IN  # 8 recordings\n" in (tmp_path / "own.yaml").read_text()
    code, out, err = cli("audit", "other", "--corpora", tmp_path / "own.yaml", "--results", tmp_path / "results")
    assert code == 1
    assert "other.emotions.1 (line 12): 'FILL IN'. Expected a canonical emotion" in err


LONG = ("ased", "cremad")
NAMED = sorted({*WRITERS} - {"masc", "recola", "iemocap"})  # which have labels elsewhere, or none in a real copy


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * (one in LONG)) for one in NAMED])
def test_layouts_of_the_catalogue_are_recognised_below_any_folder(tmp_path, monkeypatch, name):
    WRITERS[name](tmp_path / "download" / "Audio" / name, duration_s=0.02)
    made = guess_corpus(tmp_path / "download", load_catalogue(), file=tmp_path / "corpora.yaml")
    assert made.name == name
    assert made.block.startswith(f"{name}:\n  root: ")
    monkeypatch.setenv("SERBENCH_DATA", str(tmp_path / "download/Audio"))
    known = scan_corpus(load_catalogue().corpus(name), partial=True)
    assert made.labels.rows["emotion"].tolist() == known.table["raw_label"].tolist()
    assert made.scan.partial  # the copy is as the entry says, but for its size
    assert "--partial accepts it" in str(made.faults)


@pytest.mark.corpus
@pytest.mark.parametrize(("name", "filled"), [
    ("emodb", "WLEAFTN"), ("ravdess", ["01", "02", "03", "04", "05", "06", "07", "08"]), ("nemo", ""),
])  # fmt: skip
def test_guess_without_the_catalogue_reads_real_corpora_as_its_entries_do(tmp_path, name, filled):
    if not (Path(REAL_DATA) / name).is_dir():
        pytest.skip(f"needs the recordings of {name}")
    entry, file = load_catalogue().corpus(name), tmp_path / "corpora.yaml"
    made = guess_corpus(Path(REAL_DATA) / name, Catalogue({}, {}), name="mine", file=file)
    text = made.block
    for label in filled:
        text, n = re.subn(rf"    ('?){label}\1: {FILL_IN}", f"    '{label}': {entry.emotions[label]}", text)
        assert n == 1
    file.write_text(text)
    known, mine = scan_corpus(entry, partial=True).table, scan_corpus(load_catalogue(file).corpus("mine")).table
    columns = ["file", "speaker", "raw_label", "emotion"]
    mine["speaker"] = mine["speaker"].str.replace("mine/", f"{name}/")
    pd.testing.assert_frame_equal(mine[columns], known[columns])
