import os
import time

import pytest

from serbench.corpora.catalogue import build_catalogue, entries_of, load_catalogue, parse_document, root_of, why_absent
from serbench.corpora.entry import EMOTIONS, catalogue_schema
from serbench.corpora.tasks import find_task
from serbench.errors import ConfigError, CorpusError

GOOD = """\
toy:
  title: Toy corpus
  language: en
  licence: CC0-1.0
  root: recordings
  audio: '*.wav'
  labels:
    from: path
    pattern: '(?P<speaker>\\d\\d)_(?P<emotion>[A-Z])\\.wav$'
  emotions: {A: anger, N: neutral}
"""


@pytest.fixture
def read(tmp_path):
    """Read a file of corpora, from its text or bytes."""

    def catalogue_of(content):
        path = tmp_path / "mine.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return build_catalogue([parse_document(path)])

    return catalogue_of


def test_all_fifteen_corpora_and_the_presets_are_there():
    catalogue = load_catalogue()
    assert len(catalogue.corpora) == 15
    assert set(catalogue.tasks) == {"paper5", "big6", "iemocap4", "arousal", "valence"}
    assert not catalogue.corpora["masc"].verified
    assert not catalogue.corpora["recola"].verified


def test_a_corpus_needs_only_a_block(read, tmp_path):
    toy = read(f"\ufeff{GOOD}").corpus("toy")  # some editors write a byte order mark
    assert toy.folds.leave_out == 1
    assert toy.root == str(tmp_path / "recordings")


def test_title_language_and_licence_may_be_left_out(read):
    text = GOOD.replace("  title: Toy corpus\n  language: en\n  licence: CC0-1.0\n", "")
    toy = read(text).corpus("toy")
    assert (toy.title, toy.language, toy.licence) == ("", "und", "not stated")


def test_emotions_that_an_entry_declares_are_those_of_its_labels_and_of_tasks(read):
    toy = GOOD.replace("{A: anger,", "{A: anger, S: sarcasm,") + "  own_emotions: [sarcasm]\n"
    catalogue = read(f"{toy}tasks: {{mine: [sarcasm, others=anger+neutral]}}\n")
    assert catalogue.corpus("toy").emotions["S"] == "sarcasm"
    assert catalogue.emotions == (*EMOTIONS, "sarcasm")
    assert find_task(catalogue, task="mine", emotions=None, where=()).emotions == ("others", "sarcasm")
    assert find_task(catalogue, task=None, emotions="sarcasm,anger", where=()).emotions == ("anger", "sarcasm")
    assert "sarcasm" in find_task(catalogue, task="available", emotions=None, where=()).emotions


def test_scalars_stay_as_they_are_written(read):
    text = GOOD.replace("{A: anger, N: neutral}", "{no: anger, 01: neutral, 1e3: fear, ~: sadness}")
    assert set(read(text).corpus("toy").emotions) == {"no", "01", "1e3", "~"}


def test_second_file_overrides_field_by_field(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(GOOD)
    second.write_text("toy:\n  root: /elsewhere\n")
    merged = build_catalogue([parse_document(first), parse_document(second)]).corpus("toy")
    assert merged.root == "/elsewhere"
    assert merged.title == "Toy corpus"


def test_genders_of_a_second_file_correct_single_speakers(tmp_path):
    (tmp_path / "first.yaml").write_text(f"{GOOD}  genders: {{female: ['01', '03'], male: ['02']}}\n")
    (tmp_path / "second.yaml").write_text("toy: {genders: {male: ['03'], other: ['04']}}\n")
    both = [parse_document(tmp_path / name) for name in ("first.yaml", "second.yaml")]
    assert build_catalogue(both).corpus("toy").genders == {"female": ("01",), "male": ("02", "03"), "other": ("04",)}


def test_file_in_the_working_directory_is_found(tmp_path, monkeypatch):
    (tmp_path / "corpora.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match=r"the corpora.yaml of the working directory is used \(toy\)"):
        assert {"toy", "emodb"} <= set(load_catalogue().corpora)
    assert "toy" in load_catalogue(tmp_path / "corpora.yaml").corpora  # asked for by name: no warning
    (tmp_path / "corpora.yaml").write_text("# nothing yet\n")
    assert "emodb" in load_catalogue().corpora  # nothing is used: no warning


FAULTS = {
    "misspelt key": ("  licence:", "  license:", r"mine.yaml: toy.license \(line 4\): unknown key 'license'. Did you mean 'licence'"),
    "missing key": ("  audio: '*.wav'\n", "", r"toy.audio .*: not there. Expected the key 'audio'"),
    "pattern in double quotes": (r"'(?P<speaker>\d\d)_(?P<emotion>[A-Z])\.wav$'", r'"(?P<speaker>\d\d)_(?P<emotion>[A-Z])"', r"unknown escape character 'd' on line \d+, column \d+.* Put single quotes around the text"),
    "duplicate key": ("  language: en\n", "  language: en\n  language: de\n", r"toy.language \(line 4\): the key 'language' a second time \(first on line 3\)"),
    "no such source": ("from: path", "from: paths", r"toy.labels.from \(line 8\): 'paths'. Expected one of path, table, lines. Did you mean 'path'"),
    "misspelt key inside": ("pattern:", "patern:", r"toy.labels.patern \(line 9\): unknown key 'patern'. Did you mean 'pattern'"),
    "wrong type": ("  audio: '*.wav'", "  audio: {a: b}", r"toy.audio"),
    "bad leave_out": ("  emotions:", "  folds: {leave_out: 3}\n  emotions:", r"toy.folds.leave_out .*'3'. Expected less than or equal to 2"),
    "count that is no number": ("  emotions:", "  expect: {utterances: many}\n  emotions:", r"toy.expect.utterances .*'many'.*integer"),
    "partition that tests nothing": ("  emotions:", "  partitions: {mine: {test: {}}}\n  emotions:", r"toy.partitions.mine.test .*at least 1 item"),
    "misspelt side": ("  emotions:", "  partitions: {mine: {tests: {speaker: ['01']}}}\n  emotions:", r"toy.partitions.mine.tests .*unknown key 'tests'. Did you mean 'test'"),
    "range the wrong way round": ("  emotions:", "  targets: {arousal: {low: '[1, 0]', high: '(1, 2]'}}\n  emotions:", r"toy.targets.arousal.low .*the smaller one first"),
    "separator of two": ("  emotions:", "  traces: {arousal: {files: '{stem}.csv', separator: '; '}}\n  emotions:", r"toy.traces.arousal.separator .*at most 1 character"),
    "not a regular expression": (r"(?P<speaker>\d\d)_", r"(?P<speaker>\d\d_", r"toy.labels.pattern .* is not a regular expression"),
    "no speaker": (r"(?P<speaker>\d\d)", r"\d\d", r"toy.folds.*nothing gives 'speaker'"),
    "misspelt group": ("(?P<speaker>", "(?P<speker>", r"nothing gives 'speaker'.*Did you mean 'speker'"),
    "no emotion": ("(?P<emotion>[A-Z])", "[A-Z]", r"nothing gives 'emotion'"),
    "group that is no field": ("_(?P<emotion>", "_(?P<sentence>x?)(?P<emotion>", r"the name 'sentence' is no field and no template uses it"),
    "unknown emotion": ("A: anger", "A: angr", r"toy.emotions.A \(line 10\): 'angr'. Expected a canonical emotion, or one that is listed under `own_emotions`. Did you mean 'anger'"),
    "own emotion with a blank": ("  emotions:", "  own_emotions: [mild sarcasm]\n  emotions:", r"toy.own_emotions .*the name 'mild sarcasm'. Expected lower-case letters"),
    "emotion of a task": ("toy:\n", "tasks: {mine: [anger, sarcasm]}\ntoy:\n", r"tasks.mine.emotions .*'sarcasm'. Expected an emotion, canonical or declared by a corpus. Known: anger"),
    "bad language": ("language: en", "language: English", r"toy.language .*Expected a BCP 47 tag"),
    "mapped and dropped": ("  emotions:", "  drop: [A]\n  emotions:", r"raw label 'A' is mapped and dropped"),
    "template of nothing": ("  emotions:", "  compose: {gender: '{sex}'}\n  emotions:", r"toy.compose.gender .*'sex'. Expected a name that a group or column gives"),
    "name inside": ("  title:", "  name: ../evil\n  title:", r"toy.name .*unknown key 'name'"),
    "format tricks": ("  emotions:", "  compose: {gender: '{speaker!r:>9}'}\n  emotions:", r"with a plain name in each pair"),
    "speaker of two genders": ("  emotions:", "  genders: {male: ['01'], female: ['01']}\n  emotions:", r"speaker '01' twice"),
    "field and leave_out": ("  emotions:", "  folds: {by: emotion, leave_out: 2}\n  emotions:", r"by: emotion together with"),
    "partition by another field": ("  emotions:", "  partitions: {mine: {test: {speker: ['01']}}}\n  emotions:", r"toy.partitions.mine.test.speker .*'speker'. Expected a field that this entry provides. Did you mean 'speaker'"),
    "partition without values": ("  emotions:", "  partitions: {mine: {test: {speaker: }}}\n  emotions:", r"toy.partitions.mine.test.speaker .*no value"),
    "target without a dimension": ("  emotions:", "  targets: {arousal: {low: '[0, 1]', high: '(1, 2]'}}\n  emotions:", r"toy.targets.arousal .*nothing gives 'arousal'"),
    "target that has no ranges": ("  emotions:", "  targets: {arousel: {low: '[0, 1]', high: '(1, 2]'}}\n  emotions:", r"toy.targets.arousel .*Did you mean 'arousal'"),
    "label of no target": ("  emotions:", "  targets: {valence: {negativ: '[0, 1]', positive: '(1, 2]'}}\n  emotions:", r"labels negativ and positive. Expected negative and positive. Did you mean 'negative'"),
    "no range": ("  emotions:", "  targets: {arousal: {low: 'to 1', high: '(1, 2]'}}\n  emotions:", r"toy.targets.arousal.low .*'to 1' is not a range such as"),
    "ranges that overlap": ("  emotions:", "  targets: {arousal: {low: '[0, 1]', high: '[1, 2]'}}\n  emotions:", r"low \[0, 1\] and high \[1, 2\] overlap"),
    "trace of no dimension": ("  emotions:", "  traces: {arousl: {files: '{stem}.csv'}}\n  emotions:", r"toy.traces.arousl .*a dimension. Did you mean 'arousal'"),
    "trace of nothing": ("  emotions:", "  traces: {arousal: {files: '{steam}.csv'}}\n  emotions:", r"toy.traces.arousal.files .*'steam'. Expected a name .* Did you mean 'stem'"),
    "trace of what is known": ("  emotions:", "  compose: {arousal: '{speaker}'}\n  traces: {arousal: {files: '{stem}.csv'}}\n  emotions:", r"'arousal', which a group or column gives already"),
    "task with a taken name": ("toy:\n", "tasks: {available: [anger, neutral]}\ntoy:\n", r"tasks.available \(line 1\): a name that means all emotions"),
    "broken YAML": ("title: Toy", "title: 'Toy", r"mine.yaml: .* on line \d+, column \d+"),
    "block that is none": ("toy:\n", "other: 3\ntoy:\n", r"other .*: '3'. Expected a block"),
}  # fmt: skip


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
CHAIN = "a: &x0 [y]\n" + "".join(f"b{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 100))
HOSTILE = {
    "a chain of anchors": (CHAIN.encode(), r"blocks nested without end"),
    "a tag": (b"toy: !!python/object/apply:os.system [x]\n", r"toy \(line 1\): the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
    "a tag of one value": (b"toy:\n  title: !mine x\n", r"toy.title \(line 2\): the tag '!mine'\. Expected plain text"),
    "a tag of the whole": (b"!!python/dict {toy: x}\n", r"mine.yaml, line 1: the tag "),
    "a NUL": (b'toy:\n  root: "a\\0b"\n', r"toy.root \(line 2\): the character U\+0000"),
    "half a character in a key": (b'toy:\n  "\\ud800": x\n', r"toy.* \(line 2\): the character U\+D800"),
    "a character beyond Unicode": (b'toy: "\\UFFFFFFFF"\n', r"Correct this line"),
    "a text": (b"toy", r"no block of corpora"),
    "an empty block": (b"toy: {}\n", r"toy.audio .*: not there"),
    "an empty task": (b"tasks: {mine: {}}\n", r"tasks.mine.emotions .*: not there"),
    "a corpus called tasks": (b"tasks: {title: x, audio: y}\n", r"tasks.title.emotions"),
    "a name of a thousand letters": (b"a" * 1000 + b": {}\n", r"the name 'a{1000}'"),
    "a billion laughs": (LAUGHS.encode(), r"more than 20000 values\. .* Write blocks out instead of anchors"),
    "an anchor that contains itself": (b"toy: &toy\n  title: *toy\n", r"blocks nested without end\. Expected 20 levels"),
    "deep nesting": (b"[" * 100_000, r"mine.yaml: blocks nested without end"),
    "merge keys": (b"toy: &toy\n  title: x\nother:\n  <<: *toy\n", r"other.<< \(line 4\): unknown key '<<'"),
    "a key that is a list": (b"toy:\n  [a, b]: c\n", r"toy \(line 2\): a key that is a list or a block"),
    "half a character": (b'toy:\n  title: "\\ud800"\n', r"toy.title \(line 2\): the character U\+D800"),
    "UTF-16": ("toy: {}".encode("utf-16"), r"Expected text in UTF-8\. Save it as UTF-8"),
    "a list": (b"- toy\n", r"no block of corpora"),
    "a target with other labels": (b"tasks: {arousal: {emotions: [high=anger, calm]}}\n", r"tasks.arousal.emotions .*labels calm and high. Expected high and low"),
    "a million bytes": (b"#" * (2**20 + 1), r"1048577 bytes, at most 1048576 are read"),
    "an encoding that is none": (GOOD.replace("path\n", "lines\n    files: x\n    path: x\n    encoding: zip\n", 1).encode(), "'zip'. Expected 'utf-8', 'utf-16'"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_file_is_refused_in_good_time(read, content, message):
    started = time.process_time()
    with pytest.raises(ConfigError, match=message):
        read(content)
    assert time.process_time() - started < 5


def test_pipe_in_the_place_of_a_file_of_corpora_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "corpora.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read \(a named pipe, not a file\)"):
        parse_document(tmp_path / "corpora.yaml")


@pytest.mark.parametrize(("old", "new", "message"), FAULTS.values(), ids=FAULTS)
def test_fault_is_reported_with_its_place(read, old, new, message):
    assert old in GOOD
    with pytest.raises(ConfigError, match=message):
        read(GOOD.replace(old, new))


def test_all_faults_are_reported_at_once(read):
    with pytest.raises(ConfigError, match=r"(?s)^3 faults:.*'audio'.*'license'.*'adio'"):
        read(GOOD.replace("licence:", "license:").replace("audio:", "adio:"))


def test_unset_variable_and_missing_folder_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.delenv("SERBENCH_DATA", raising=False)
    emodb = load_catalogue().corpus("emodb")
    assert why_absent(emodb) == "SERBENCH_DATA is not set"
    monkeypatch.setenv("SERBENCH_DATA", str(tmp_path / ("r" * 5000)))
    assert why_absent(emodb) == "no such folder"
    with pytest.raises(CorpusError, match=r"emodb.root: .*no such folder. Expected the corpus' folder. Get the corpus"):
        root_of(emodb)


def test_folder_of_one_corpus_may_stand_for_the_folder_of_corpora(tmp_path, monkeypatch):
    (tmp_path / "EmoDB" / "wav").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SERBENCH_DATA", "~/EmoDB/")
    assert load_catalogue().on_disk() == ["emodb"]
    assert root_of(load_catalogue().corpus("emodb")) == tmp_path / "EmoDB"
    with pytest.raises(CorpusError, match=f"ravdess.root: '{tmp_path}/EmoDB/ravdess': no such folder"):
        root_of(load_catalogue().corpus("ravdess"))
    (tmp_path / "EmoDB" / "emodb").mkdir()
    assert root_of(load_catalogue().corpus("emodb")) == tmp_path / "EmoDB" / "emodb"


def test_where_corpora_were_looked_for_is_told_where_none_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SERBENCH_DATA", "~/nothing")
    with pytest.raises(
        CorpusError, match=f"none of the catalogue is on this disk; SERBENCH_DATA is {tmp_path}/nothing"
    ):
        entries_of(load_catalogue(), None)


def test_schema_describes_every_key_of_an_entry():
    schema = catalogue_schema()
    assert {"title", "labels", "folds", "expect", "compose"} <= set(schema["$defs"]["Corpus"]["properties"])
    assert schema["$defs"]["Corpus"]["additionalProperties"] is False
    assert set(schema["$defs"]) >= {"PathLabels", "TableLabels", "LineLabels", "Folds", "Expect", "Task"}


def test_corpora_share_speakers_in_both_directions_and_through_others(tmp_path):
    entry = "{name}: {{shares_speakers_with: [{other}]}}\n"
    file = tmp_path / "corpora.yaml"
    file.write_text(entry.format(name="emovo", other="emodb") + entry.format(name="savee", other="emovo"))
    catalogue = load_catalogue(file)
    assert [catalogue.namespace(name) for name in ("emodb", "emovo", "savee", "tess")] == ["emodb"] * 3 + ["tess"]


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        ("emovo", "emobd", r"emovo.shares_speakers_with \(line 1\): 'emobd'.* another corpus.* Did you mean 'emodb'"),
        ("emovo", "emovo", r"'emovo'\. Expected another corpus"),
        ("emovo", "mesd", r"mesd gives no speaker\. Expected corpora whose speakers have names"),
    ],
)
def test_sharing_speakers_is_checked(tmp_path, name, other, message):
    (tmp_path / "corpora.yaml").write_text(f"{name}: {{shares_speakers_with: [{other}]}}\n")
    with pytest.raises(ConfigError, match=message):
        load_catalogue(tmp_path / "corpora.yaml")
