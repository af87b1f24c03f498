"""Hostile input to every reader: a result or a clear error within seconds, whatever the bytes.

`HYPOTHESIS_PROFILE=thorough` tries twenty times as many inputs; $SERBENCH_TALLY names a file for how many there were.
"""

import copy
import faulthandler
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

import serbench
from serbench.corpora.audio import decode, read_header, to_mono
from serbench.corpora.catalogue import build_catalogue, parse_document
from serbench.corpora.documents import Folder
from serbench.corpora.labels import scan_corpus
from serbench.corpora.patterns import compile_pattern, hits
from serbench.corpora.tables import read_table_of_strings
from serbench.errors import SerbenchError
from serbench.features.own import read_own_features

SLOWEST_S = 10
"""Seconds of processor time that any input may take; almost all take milliseconds."""

LONGEST_MESSAGE = 20_000


@pytest.fixture(autouse=True)
def hang_guard():
    """End the session with a traceback where a reader hangs in code that no exception reaches."""
    faulthandler.dump_traceback_later(3600 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def survives(request, tally):
    """Call a reader: it returns a result, or None after a clear error; anything else fails the test."""
    counts = Counter()

    def run(read, *args, **options):
        counts["tried"] += 1
        started = time.process_time()
        result, message = None, "a result"
        try:
            result = read(*args, **options)
        except SerbenchError as error:
            message = str(error)
        except BaseException:
            counts["unexpected"] += 1
            raise
        assert 0 < len(message) < LONGEST_MESSAGE
        assert time.process_time() - started < SLOWEST_S
        return result

    yield run
    tally(f"fuzz inputs: {request.node.originalname}", counts["tried"])
    tally("fuzz unexpected exceptions", counts["unexpected"])


EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF]


@st.composite
def mutated(draw, content):
    """Bytes of a real file with a few places flipped, overwritten, cut, doubled or filled; headers more often."""
    data = bytearray(draw(content) if not isinstance(content, bytes) else content)
    for _ in range(draw(st.integers(1, 4))):
        end = max(1, len(data) if draw(st.booleans()) else min(len(data), 120))
        place = draw(st.integers(0, end - 1))
        kind = draw(st.sampled_from(["flip", "number", "cut", "insert", "delete", "double"]))
        length = draw(st.integers(1, 64))
        if kind == "flip" and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "number":
            width = draw(st.sampled_from([1, 2, 4, 8]))
            number = draw(st.sampled_from(EXTREMES)) & (256**width - 1)
            data[place : place + width] = number.to_bytes(width, draw(st.sampled_from(["big", "little"])))
        elif kind == "cut":
            del data[place:]
        elif kind == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=64))
        elif kind == "delete":
            del data[place : place + length]
        elif kind == "double":
            data[place:place] = data[place : place + length]
    return bytes(data)


def audio_bytes(container, subtype, channels):
    samples = 0.1 * np.random.default_rng(0).normal(size=(2000, channels))
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format=container, subtype=subtype)
    return file.getvalue()


KINDS = """WAV PCM_16 1, WAV FLOAT 2, WAV IMA_ADPCM 1, WAV ULAW 1, WAVEX PCM_24 2, RF64 PCM_16 1, W64 PCM_16 1,
FLAC PCM_16 1, FLAC PCM_24 2, OGG VORBIS 1, OGG OPUS 1, MP3 MPEG_LAYER_III 1, AIFF PCM_16 1, AU PCM_16 1, CAF ALAC_16 1,
NIST PCM_16 1, VOC PCM_16 1, MAT5 PCM_16 1"""


def read_audio(path):
    read_header(path)
    recording = decode(path)
    mono = to_mono(recording, 16000)
    assert mono.dtype == np.float32
    assert not len(mono) or (mono.min() >= -1 and mono.max() < 1)
    decode(path, start_s=0.01, end_s=recording.duration_s / 2)
    return recording.audio_hash


@pytest.mark.parametrize("kind", KINDS.replace("\n", " ").split(", "))
def test_mutated_recordings(tmp_path, survives, kind):
    container, subtype, channels = kind.split()
    whole = audio_bytes(container, subtype, int(channels))
    path = tmp_path / "a.wav"

    @given(mutated(whole))
    def mutate(data):
        path.write_bytes(data)
        survives(read_audio, path)

    mutate()


@given(
    st.sampled_from(["wav", "raw", "flac", "mp3", "vox", "gsm", "au", "sd2", "ogg", "xi", "", "mat"]),
    st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"ID3", b"FORM", b"caff"]),
    st.binary(max_size=400),
)
@example("wav", b"RIFF\0\0\0\0WAVE", b"none\0\0\0\0" * 30_000)
def test_any_bytes_and_ending_of_a_recording(tmp_path, survives, ending, magic, data):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(magic + data)
    survives(read_audio, path)
    path.unlink()


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))  # the readers of labels refuse NaN
def test_any_segment(tmp_path, survives, start_s, end_s):
    path = tmp_path / "a.wav"
    path.write_bytes(audio_bytes("WAV", "PCM_16", 1))
    survives(decode, path, start_s=start_s, end_s=end_s)


CHILD = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
from serbench.corpora.audio import decode
from serbench.errors import AudioError
for path in sys.argv[1:]:
    try:
        decode(Path(path))
    except AudioError as error:
        print(error)
lines = Path("/proc/self/status").read_text().splitlines()  # ru_maxrss would count the process that started this one
print(*(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""
CLAIMS = (
    ("FLAC", "PCM_16", 21, b"\xff\xff\xff\xff\xff"),
    ("FLAC", "PCM_16", 22, b"\x03\x00\x00\x00"),
    ("AIFF", "PCM_16", 22, b"\x7f\xff\xff\xff"),
    ("AU", "PCM_16", 8, b"\x7f\xff\xff\xff"),
    ("CAF", "PCM_16", 56, b"\x7f\xff\xff\xff"),
    ("W64", "PCM_16", 16, b"\xff\xff\xff\xff\xff\xff\xff\x7f"),
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_headers_that_claim_much_stay_within_memory(tmp_path):
    paths = []
    for container, subtype, place, claim in CLAIMS:
        data = bytearray(audio_bytes(container, subtype, 1))
        data[place : place + len(claim)] = claim
        paths.append(tmp_path / f"{len(paths)}.{container}")
        paths[-1].write_bytes(data)
    done = subprocess.run([sys.executable, "-c", CHILD, *map(str, paths)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) * 1024 < 600e6


def parquet(frame):
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


TABLE = pd.DataFrame({"file": ["a1.wav", "n2.wav"], "utterance": ["x/a", "x/b"], "speaker": ["é", "m"], "n": [1, None]})
CSV = TABLE.to_csv(index=False).encode()
TYPED = TABLE.assign(kind=pd.Categorical(["a", "b"]), day=pd.Timestamp("2020-01-01"))
TABLES = {"x.csv": CSV, "x.tsv": CSV.replace(b",", b"\t"), "x.parquet": parquet(TYPED)}
FEATURES = pd.DataFrame({"utterance": ["x/a", "x/b"], "f1": [1.0, 2.5], "f2": [3, 4]})
OWN = {"mine.csv": FEATURES.to_csv(index=False).encode(), "mine.parquet": parquet(FEATURES.set_index("utterance"))}


def read_table(path, **options):
    table = read_table_of_strings(path, where="toy.labels.file", **options)
    assert all(isinstance(value, str) for column in table for value in table[column])
    return table


def read_features(path):
    own = read_own_features(path)
    assert (own.matrix.dtype, own.matrix.shape) == (np.float32, (len(own.utterances), len(own.columns)))
    return own.key


@pytest.mark.parametrize("name", [*TABLES, *OWN])
def test_mutated_tables(tmp_path, survives, name):
    path, whole = tmp_path / name, {**TABLES, **OWN}[name]

    @given(mutated(whole) | st.binary())
    @example(b"utterance,x\na," + b"9" * 400 + b"\n")
    @example(b"utterance,x,x\na,1,2\n")
    @example(b"utterance,utterance\na,1\n")
    def mutate(data):
        path.write_bytes(data)
        survives(read_features if name in OWN else read_table, path)

    mutate()


@given(
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), max_size=60), st.sampled_from([".csv", ".parquet"])
)
def test_any_name_of_features(tmp_path, survives, stem, suffix):
    path = tmp_path / f"{stem}{suffix}"
    path.write_bytes(OWN[f"mine{suffix}"])
    own = survives(read_own_features, path)
    assert own is None or (tmp_path / own.key).resolve().parent == tmp_path.resolve()
    path.unlink()


AUDFORMAT = {
    "db.yaml": b"{name: toy, tables: {files: {type: filewise}, spans: {type: segmented}, words: {type: filewise}}}",
    "db.files.csv": b"file,emotion\na.wav,anger\nb.wav,fear\n",
    "db.spans.csv": b"file,start,end\na.wav,0 days 00:00:00.5,0 days 00:00:01\nb.wav,0 days,0 days 00:00:02\n",
    "db.words.parquet": parquet(pd.DataFrame({"file": ["a.wav", "b.wav"], "text": ["yes", "no"]})),
}


@pytest.mark.parametrize("name", AUDFORMAT)
def test_mutated_audformat(tmp_path, survives, name):
    for other, content in AUDFORMAT.items():
        (tmp_path / other).write_bytes(content)
    assert len(read_table(tmp_path / "db.yaml")) == 2

    @given(mutated(AUDFORMAT[name]))
    def mutate(data):
        (tmp_path / name).write_bytes(data)
        survives(read_table, tmp_path / "db.yaml")

    mutate()


ENTRY = {
    "title": "Toy",
    "language": "en",
    "licence": "none",
    "root": "corpus",
    "audio": ["*.wav", "**/*.flac"],
    "labels": {"from": "path", "pattern": r"(?P<emotion>[an])(?P<take>\d)"},
    "join": [{"file": "people.csv", "match": {"take": "take"}, "columns": {"speaker": "who"}}],
    "compose": {"text": "{take}"},
    "values": {"take": {"1": "one"}},
    "genders": {"male": ["x"], "female": ["y"]},
    "emotions": {"a": "anger", "n": "neutral"},
    "drop": ["z"],
    "folds": {"leave_out": "1", "by": "speaker"},
    "expect": {"utterances": "2", "emotions": {"anger": "1"}},
    "outside": "refuse",
}
LABELS = [
    ENTRY["labels"],
    {"from": "table", "file": "labels.csv", "columns": {"file": "file", "take": "take", "emotion": "what"}},
    {"from": "lines", "files": "*.txt", "pattern": r"(?P<f>\S+) (?P<emotion>\w)(?P<take>\d)", "path": "{f}.wav"},
]
WORDS = "1 -1 99999999999999999999 a {take} { * ** .. / ~ $HOME speaker emotion path table lines file start".split()
WORDS += "labels.csv people.csv (?P<emotion>.) (a|aa)+$ utf-16 hex ../*.wav labels.txt anger".split()
WORDS += ["", "x" * 300, "\u202e", "0", "true", "1e400", "nan", "é", "loop/**/*.wav"]
VALUES = st.recursive(
    st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated_entries(draw):
    """A valid entry with one to three places replaced by any value, or with a key of its own."""
    entry = {**copy.deepcopy(ENTRY), "labels": copy.deepcopy(draw(st.sampled_from(LABELS)))}
    for _ in range(draw(st.integers(1, 3))):
        place, key = entry, draw(st.sampled_from([*entry, draw(st.sampled_from(WORDS))]))
        while (inner := place[key] if key in place or isinstance(place, list) else None) and draw(st.booleans()):
            if not isinstance(inner, dict | list):
                break
            place, key = inner, draw(st.sampled_from([*inner] if isinstance(inner, dict) else range(len(inner))))
        place[key] = draw(VALUES)
    return draw(VALUES) if draw(st.integers(0, 19)) == 0 else entry


@pytest.fixture
def toy(tmp_path):
    """Make a corpus of two recordings that are empty, with labels of every kind and a link that goes round."""
    root = tmp_path / "corpus"
    root.mkdir()
    for name in ("a1.wav", "n2.wav"):
        (root / name).touch()
    (root / "people.csv").write_text("take,who\n1,x\n2,y\n")
    (root / "labels.csv").write_text("file,take,what\na1.wav,1,a\nn2.wav,2,n\n")
    (root / "labels.txt").write_text("a1 a1\nn2 n2\n")
    (root / "loop").symlink_to(".")
    return tmp_path


def read_corpora(path):
    """Parse and scan whatever corpora a file holds."""
    catalogue = build_catalogue([parse_document(path)])
    scans = [scan_corpus(corpus, partial=True) for corpus in catalogue.corpora.values()]
    for scan in scans:
        json.dumps([dict(row) for row in scan.rows], ensure_ascii=False).encode()
    return scans


@pytest.mark.parametrize("labels", LABELS, ids=["path", "table", "lines"])
def test_the_entry_that_is_mutated_is_valid(toy, labels):
    (toy / "corpora.yaml").write_text(yaml.safe_dump({"toy": {**ENTRY, "labels": labels}}))
    assert len(read_corpora(toy / "corpora.yaml")[0].rows) == 2


@given(mutated_entries())
@example({})
def test_mutated_entries(toy, survives, entry):
    (toy / "corpora.yaml").write_text(yaml.safe_dump({"toy": entry}, allow_unicode=True), encoding="utf-8")
    survives(read_corpora, toy / "corpora.yaml")


BUILT_IN = Path(serbench.__file__).parents[1].joinpath("corpora.yaml").read_bytes()
SMALL = yaml.safe_dump({"toy": ENTRY, "tasks": {"two": ["anger", "neutral"]}}).encode()
SNIPPETS = ["&a", "*a", "<<:", "!!python/object:x", "- ", "? ", ": ", "\t", '"\\U11111111"', "---\n", *"|>{}[]%"]


@given(
    mutated(SMALL)
    | mutated(BUILT_IN)
    | st.binary()
    | st.lists(st.sampled_from([*SNIPPETS, "a", "\n", " "])).map(lambda parts: "".join(parts).encode())
)
@example(b'a: "\\UFFFFFFFF"')
@example(b"toy: {}")
def test_any_bytes_as_corpora(toy, survives, data):
    (toy / "corpora.yaml").write_bytes(data)
    survives(lambda path: build_catalogue([parse_document(path)]), toy / "corpora.yaml")


PIECES = (
    "( ) (?P<a> (?: (?= (?<= (?! [ ] [^ ] {2} {1,} {,3} * + ? | ^ $ . a aa b - (a|aa)+ (?i) (?R) {e} ++ (?>".split()
)
PIECES += r"\d \w \W \s \b \1 [[:alpha:]] \ ".split()


@given(
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=30), st.text("ab-1", max_size=200)
)
@example("(?i)" + "straße" * 300, "ab" * 5000)
def test_any_pattern(survives, pattern, text):
    def match():
        try:
            compiled = compile_pattern(pattern)
        except ValueError:
            return
        hits(compiled, text)

    survives(match)


@given(
    st.text("*?[]!-./ab^", max_size=40)
    | st.lists(st.sampled_from(["**", "*", "a", "b.wav", "..", ".", "", "loop", "[ab]"])).map("/".join)
)
@example("loop/" * 30 + "**/*.wav")
@example("./")
def test_any_glob(toy, survives, pattern):
    folder = Folder(toy / "corpus", "toy", fenced=True)
    found = survives(folder.files, [pattern], key="audio")
    for path in found or []:
        assert (toy / "corpus" / path).resolve().is_relative_to((toy / "corpus").resolve())


@given(mutated(b"a1 a1\nn2 n2\n") | st.binary(), st.sampled_from("utf-8 utf-16 cp1252 gb18030 shift_jis".split()))
def test_any_bytes_as_annotations(toy, survives, data, encoding):
    (toy / "corpus" / "labels.txt").write_bytes(data)
    entry = {**ENTRY, "labels": {**LABELS[2], "encoding": encoding}}
    (toy / "corpora.yaml").write_text(yaml.safe_dump({"toy": entry}))
    survives(read_corpora, toy / "corpora.yaml")


NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: not set(name) & {0, ord("/")})


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_any_names_of_recordings(tmp_path_factory, survives, names):
    folder = tmp_path_factory.mktemp("names")
    (folder / "corpus").mkdir()
    for name in names:
        with open(os.fsencode(folder / "corpus") + b"/a" + name, "wb"):
            pass
    labels = {"from": "path", "pattern": "(?s)^(?P<emotion>a)(?P<speaker>.+)"}
    entry = {name: ENTRY[name] for name in ("title", "language", "licence", "root", "emotions")}
    (folder / "corpora.yaml").write_text(yaml.safe_dump({"toy": {**entry, "audio": "*", "labels": labels}}))
    survives(read_corpora, folder / "corpora.yaml")


def test_no_input_left_gigabytes_behind():
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < 6e9
