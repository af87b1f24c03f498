import os

import pytest

from serbench.corpora import documents as module
from serbench.corpora.catalogue import build_catalogue, parse_document
from serbench.corpora.documents import Folder
from serbench.corpora.labels import scan_corpus
from serbench.errors import CorpusError

FILES = "a/b/c.wav a/.h/x.wav .x.wav a/b.wav b.wav [x]/q.wav A/B.WAV".split()
GLOBS = {
    "**/*.wav": "[x]/q.wav a/b.wav a/b/c.wav b.wav",
    "**": "A/B.WAV [x]/q.wav a/b.wav a/b/c.wav b.wav",
    "*.wav": "b.wav",
    "./a/b/*.wav": "a/b/c.wav",
    "./**/*.wav": "[x]/q.wav a/b.wav a/b/c.wav b.wav",
    "a/.././**/c.wav": "a/../a/b/c.wav",
    "a/b.wav": "a/b.wav",
    "[[]x]/?.wav": "[x]/q.wav",
    "**/.h/*": "a/.h/x.wav",
    "nothing/*.wav": "",
    "l/**/*.wav": "l/f/b.wav l/f/b/c.wav",
    "**/f/**/c.wav": "l/f/b/c.wav",
}


def fill(root, names=FILES):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return Folder(root, "toy", fenced=True)


@pytest.mark.parametrize(("pattern", "found"), GLOBS.items())
def test_glob_finds_files_that_are_not_hidden_through_links_and_links_to_folders_above_end(tmp_path, pattern, found):
    folder = fill(tmp_path)
    if "f" in pattern or pattern.startswith("l"):
        (tmp_path / "l").mkdir()
        (tmp_path / "l" / "f").symlink_to("../a")
    for name in ("x", "y", "a/z"):
        (tmp_path / name).symlink_to(tmp_path)
    assert folder.files([pattern], key="audio") == found.split()


@pytest.mark.parametrize("pattern", ["*/../../**", "", "./", "**"])
def test_glob_that_makes_no_sense_or_finds_more_files_than_a_corpus_has_is_refused(tmp_path, monkeypatch, pattern):
    monkeypatch.setattr(module, "MOST_FILES", 3)
    why = "more than 3 files" if pattern == "**" else ".*Correct the glob"
    with pytest.raises(CorpusError, match=rf"toy.audio: the glob .* cannot be used \({why}"):
        fill(tmp_path).files([pattern], key="audio")


def outside(tmp_path):
    """Make a corpus `in` beside a folder `out` that is none of its business."""
    folder = fill(tmp_path / "in")
    fill(tmp_path / "out", ["secret.wav", "sub/secret.wav"])
    return folder


LEADS_OUT = {
    "a link to a file": ("*.wav", "s.wav", "../out/secret.wav"),
    "a link to a folder": ("*/*.wav", "s", "../out"),
    "a link to a folder that two stars enter": ("**/*.wav", "s", "../out"),
    "a link to a folder below a folder": ("a/**/*.wav", "a/s", "../../out"),
    "a link in the plain part of the glob": ("s/*.wav", "s", "../out"),
    "a plain path through a link": ("s/secret.wav", "s", "../out"),
    "git-annex keeps contents there": ("*.wav", "s.wav", "../.git/annex/objects/x.wav"),
    "dots": ("../out/*.wav", None, None),
    "a plain path with dots": ("../out/secret.wav", None, None),
    "dots that come back and leave": ("../in/../out/*.wav", None, None),
    "an absolute glob": ("/{}/out/*.wav", None, None),
}


@pytest.mark.parametrize(("pattern", "link", "target"), LEADS_OUT.values(), ids=LEADS_OUT)
def test_what_leads_out_of_the_root_is_refused_until_allowed(tmp_path, request, pattern, link, target):
    folder = outside(tmp_path)
    if link:
        (folder.root / link).symlink_to(target)
    pattern = pattern.format(str(tmp_path).strip("/"))
    with pytest.raises(
        CorpusError, match=r"toy.audio: 1 path leads out .* to .*(out|annex).* `outside: allow`"
    ) as caught:
        folder.files([pattern], key="audio")
    assert ("annex" in request.node.name) == ("(git-annex keeps contents there)" in str(caught.value))
    assert Folder(folder.root, "toy", fenced=False).files([pattern], key="audio")


def test_links_that_stay_inside_or_that_the_glob_passes_over_and_a_root_that_is_a_link_are_fine(tmp_path):
    folder = outside(tmp_path)
    (folder.root / "papers").symlink_to("../out")
    assert folder.files(["*.wav", "a/*.wav", "a/**/*.txt"], key="audio") == ["a/b.wav", "b.wav"]
    assert folder.files([f"{folder.root}/a/*.wav"], key="audio") == ["a/b.wav"]
    (folder.root / "c.wav").symlink_to("a/b.wav")
    (folder.root / "up.wav").symlink_to("../in/b.wav")
    (tmp_path / "corpus").symlink_to("in")
    linked = Folder(tmp_path / "corpus", "toy", fenced=True)
    assert linked.files(["*.wav"], key="audio") == ["b.wav", "c.wav", "up.wav"]
    assert linked.files(["../corpus/*.wav"], key="audio") == ["../corpus/b.wav", "../corpus/c.wav", "../corpus/up.wav"]


def test_pipe_in_the_place_of_a_recording_is_listed_and_not_opened(tmp_path):
    folder = fill(tmp_path)
    os.mkfifo(tmp_path / "p.wav")
    assert folder.files(["*.wav"], key="audio") == ["b.wav", "p.wav"]


ENTRY = """\
toy:
  title: Toy
  language: en
  licence: none
  root: in
  audio: '*.wav'
  labels: {labels}
  emotions: {{a: anger, n: neutral}}
  {more}
"""
TABLE = "{from: table, file: FILE, columns: {file: file, speaker: who, emotion: what}}"
LINES = "{from: lines, files: FILE, pattern: '(?P<file>\\S+) (?P<speaker>\\w+) (?P<emotion>\\w)', path: '{file}'}"
PATHS = "{from: path, pattern: '(?P<emotion>[an])(?P<take>\\d)'}"
JOIN = "join: [{file: FILE, match: {take: take}, columns: {speaker: who}}]"
READ = {
    "a table": (TABLE, "", "labels.file", "file,who,what\na1.wav,x,a\nn2.wav,y,n\n"),
    "lines": (LINES, "", "labels.files", "a1.wav x a\nn2.wav y n\n"),
    "a joined table": (PATHS, JOIN, "join.0.file", "take,who\n1,x\n2,y\n"),
}


def scan(tmp_path, text):
    (tmp_path / "corpora.yaml").write_text(text)
    return scan_corpus(build_catalogue([parse_document(tmp_path / "corpora.yaml")]).corpus("toy"))


@pytest.mark.parametrize(("labels", "more", "key", "content"), READ.values(), ids=READ)
@pytest.mark.parametrize("is_linked", [True, False])
def test_labels_are_read_from_outside_only_where_the_entry_says_so(tmp_path, labels, more, key, content, is_linked):
    fill(tmp_path / "in", ["a1.wav", "n2.wav"])
    (tmp_path / "labels.csv").write_text(content)
    if is_linked:
        (tmp_path / "in" / "labels.csv").symlink_to(tmp_path / "labels.csv")
    name = "labels.csv" if is_linked else "../labels.csv"
    text = ENTRY.format(labels=labels, more=more).replace("FILE", name)
    with pytest.raises(CorpusError, match=rf"toy.{key}: 1 path leads out .*labels.csv"):
        scan(tmp_path, text)
    assert [row["speaker"] for row in scan(tmp_path, text + "  outside: allow\n").rows] == ["toy/x", "toy/y"]


def test_path_template_reaches_recordings_of_the_glob_only(tmp_path):
    fill(tmp_path / "in", ["a1.wav", "labels.csv"])
    fill(tmp_path, ["n2.wav"])
    (tmp_path / "in" / "labels.csv").write_text("file,who,what\na1.wav,x,a\n../n2.wav,y,n\n")
    with pytest.raises(CorpusError, match=r"1 of 2 labelled recordings are not on disk \(../n2.wav\)"):
        scan(tmp_path, ENTRY.format(labels=TABLE.replace("FILE", "labels.csv"), more=""))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("from: path", r"1 of 1 paths do not match exactly once \(a+!.wav\)"),
        (
            "from: lines, files: '*.txt', path: '{speaker}'",
            r"toy.labels.pattern: 20000 characters, at most 10000 are read on line 2 of labels.txt",
        ),
    ],
)
def test_pattern_that_would_backtrack_for_ever_on_a_path_or_a_long_line_is_answered(tmp_path, source, message):
    fill(tmp_path / "in", ["a" * 60 + "!.wav"])
    (tmp_path / "in" / "labels.txt").write_text("a\n" + "a" * 20_000 + "\n")
    labels = f"{{{source}, pattern: '^(?P<speaker>(?P<emotion>a|aa))+$'}}"
    with pytest.raises(CorpusError, match=message):
        scan(tmp_path, ENTRY.format(labels=labels, more=""))
