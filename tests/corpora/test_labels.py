import os

import audformat
import pytest
from trees import WRITERS, write_ased, write_recola

from serbench.corpora.catalogue import build_catalogue, load_catalogue, parse_document
from serbench.corpora.labels import scan_corpus
from serbench.errors import CorpusError


@pytest.fixture
def scan(tmp_path, monkeypatch):
    """Scan an entry of the built-in catalogue whose copy lies in tmp_path."""

    def of(name, *, partial=True):
        monkeypatch.setenv("SERBENCH_DATA", str(tmp_path))
        return scan_corpus(load_catalogue().corpus(name), partial=partial)

    return of


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def own(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    return build_catalogue([parse_document(tmp_path / "mine.yaml")]).corpus("toy")


# What CORPORA.md says of names: path -> speaker, raw label, emotion, gender.
NAMES = [
    ("emodb", "wav/03a01Fa.wav", "03", "F", "happiness", "male"),
    ("emodb", "wav/16b10Wb.wav", "16", "W", "anger", "female"),
    ("emovo", "f1/neu-f1-b1.wav", "f1", "neu", "neutral", "female"),
    ("emovo", "m3/gio-m3-d4.wav", "m3", "gio", "happiness", "male"),
    ("savee", "DC/a01.wav", "DC", "a", "anger", "male"),
    ("savee", "JK/su15.wav", "JK", "su", "surprise", "male"),
    ("savee", "ALL/KL_sa03.wav", "KL", "sa", "sadness", "male"),
    ("ravdess", "Actor_01/03-01-05-01-02-01-01.wav", "01", "05", "anger", "male"),
    ("ravdess", "Actor_12/03-01-08-02-01-02-12.wav", "12", "08", "surprise", "female"),
    ("tess", "OAF_angry/OAF_back_angry.wav", "OAF", "angry", "anger", "female"),
    ("tess", "OAF_Fear/OA_bite_fear.wav", "OAF", "fear", "fear", "female"),
    ("tess", "YAF_pleasant_surprised/YAF_witch_ps.wav", "YAF", "ps", "surprise", "female"),
    ("urdu", "Angry/SM1_F1_A1.wav", "SM1", "A", "anger", "male"),
    ("shemo", "female/F05S10.wav", "F05", "S", "sadness", "female"),
    ("shemo", "M01A01.wav", "M01", "A", "anger", "male"),
    ("cafe", "C/01-C-1-1.wav", "01", "C", "anger", "male"),
    ("cafe", "x/02-J-2-6.wav", "02", "J", "happiness", "female"),
    ("ased", "01Neutral/n1-01-01-01-01.wav", "01", "n", "neutral", "female"),
    ("ased", "03Sad/S4-02-03-02-65.wav", "65", "S", "sadness", "male"),
]


@pytest.mark.parametrize(("corpus", "path", "speaker", "raw", "emotion", "gender"), NAMES)
def test_names_of_recordings_are_understood(tmp_path, scan, corpus, path, speaker, raw, emotion, gender):
    touch(tmp_path / corpus, path)
    row = scan(corpus).table.iloc[0]
    assert row["utterance"] == f"{corpus}/{path}"
    assert (row["speaker"], row["raw_label"], row["emotion"]) == (f"{corpus}/{speaker}", raw, emotion)
    assert row["gender"] == gender


def test_every_corpus_labelled_by_paths_is_among_the_examples():
    by_path = {c.name for c in load_catalogue().corpora.values() if c.labels.source == "path"}
    assert by_path - {"cremad", "mesd"} == {name for name, *_ in NAMES}  # these two have tests of their own


IEMOCAP_LINES = """\
% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
[10.0100 - 11.3925]\tSes01F_impro01_M003\texc\t[3.5000, 4.5000, 3.0000]
[14.8872 - 18.0175]\tSes01F_impro01_MXX0\txxx\t[2.5000, 2.5000, 2.5000]
"""


def test_iemocap_takes_the_speaker_from_the_turn_keeps_excitement_drops_xxx_and_reads_the_dimensions(tmp_path, scan):
    root = tmp_path / "iemocap/Session1"
    annotations = root / "dialog/EmoEvaluation"
    annotations.mkdir(parents=True)
    (annotations / "Ses01F_impro01.txt").write_text(IEMOCAP_LINES)
    (annotations / "Ses01M_script02_1.txt").write_text("[1.0 - 2.0]\tSes01M_script02_1_F001\tang\t[1.5, 4.0, 4.0]\n")
    (annotations / "._Ses01F_impro01.txt").write_text("resource fork of an old Mac")
    for turn in ("impro01_F000", "impro01_M003", "impro01_MXX0"):
        touch(root, f"sentences/wav/Ses01F_impro01/Ses01F_{turn}.wav")
    touch(root, "sentences/wav/Ses01M_script02_1/Ses01M_script02_1_F001.wav")
    table = scan("iemocap").table.set_index("raw_label")
    assert table["emotion"].dropna().to_dict() == {"ang": "anger", "exc": "excitement", "neu": "neutral"}
    assert table["emotion"].isna()["xxx"]
    assert list(table.loc["exc", ["valence", "arousal", "dominance"]]) == [3.5, 4.5, 3.0]
    wore_no_markers = table.loc["exc", ["speaker", "gender", "session", "style"]]
    assert list(wore_no_markers) == ["iemocap/Ses01M", "male", "Ses01", "improvised"]
    assert list(table.loc["ang", ["speaker", "style"]]) == ["iemocap/Ses01F", "scripted"]


def test_cremad_joins_gender_and_age_from_the_demographics(tmp_path, scan):
    root = tmp_path / "cremad"
    touch(root, "AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1002_IEO_HAP_LO.wav", "AudioWAV/1040_ITH_SAD_X.wav")
    (root / "VideoDemographics.csv").write_text(
        "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n"
        "1002,21,Female,Caucasian,Not Hispanic\n1040,30,Female,Asian,Not Hispanic\n"
    )
    table = scan("cremad").table
    assert table["gender"].tolist() == ["male", "female", "female"]
    assert table["age"].tolist() == ["51", "21", "30"]
    assert table["intensity"].tolist() == ["unspecified", "low", "unspecified"]


def test_name_that_is_not_utf8_is_escaped_in_ids(tmp_path, scan):
    folder = os.fsencode(tmp_path / "cafe") + b"/Col\xe8re"
    os.makedirs(folder)
    with open(folder + b"/01-C-1-1.wav", "wb"):
        pass
    found = scan("cafe")
    assert found.table["utterance"].tolist() == ["cafe/Col\\xe8re/01-C-1-1.wav"]
    assert found.path(found.table["file"][0]).is_file()


def test_mesd_knows_voices_but_no_speakers(tmp_path, scan):
    touch(tmp_path / "mesd", "Anger_F_A_abajo.wav", "Sadness_C_B_arriba.wav")
    table = scan("mesd").table
    assert table["speaker"].isna().all()
    assert table["voice"].tolist() == ["female", "child"]


def test_nemo_strips_the_blanks_around_ids(tmp_path, scan):
    root = tmp_path / "nemo"
    touch(root, "samples/WR0_surprised_64.wav")
    header = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
    (root / "data.tsv").write_text(header + "WR0_surprised_64.wav\tsurprised\tAch!\tach\t     WR0\tmale\t23\n")
    row = scan("nemo").table.iloc[0]
    assert row["speaker"] == "nemo/WR0"
    assert row["emotion"] == "surprise"


def test_masc_reads_a_table_of_the_users_own(tmp_path, scan):
    root = tmp_path / "masc"
    touch(root, "001/anger/a.wav", "002/elation/b.wav")
    rows = "001/anger/a.wav,001,f,anger,s1\n002/elation/b.wav,002,m,elation,s2\n"
    (root / "masc.csv").write_text("file,speaker,gender,emotion,text\n" + rows)
    table = scan("masc").table
    assert table["speaker"].tolist() == ["masc/001", "masc/002"]
    assert table["emotion"].tolist() == ["anger", "happiness"]


def test_recola_reads_segments_of_recordings(tmp_path, scan):
    write_recola(tmp_path / "recola", people=("P16",), utterances=3, rate=8000)
    (tmp_path / "recola/segments.csv").write_text("file,start,end,speaker\nP16.wav,0.5,2.25,P16\nP16.wav,2,2.75,P16\n")
    table = scan("recola").table
    spans = [utterance.partition(".wav")[2] for utterance in table["utterance"]]
    assert spans == ["#0.5-2.25", "#2.0-2.75"]
    assert table["emotion"].isna().all()


TABLE_ENTRY = """\
toy:
  title: Toy
  language: en
  licence: CC0-1.0
  root: toy
  audio: '**/*.wav'
  labels: {from: table, file: t.csv, columns: {file: file, speaker: speaker, emotion: emotion}}
  emotions: {ang: anger, neu: neutral}
"""


def scan_table(tmp_path, content, *, partial=False):
    """Scan a corpus of two recordings, a.wav and b.wav, that a CSV table labels."""
    touch(tmp_path / "toy", "a.wav", "b.wav")
    (tmp_path / "toy" / "t.csv").write_text("file,speaker,emotion\n" + content)
    return scan_corpus(own(tmp_path, TABLE_ENTRY), partial=partial)


def test_labels_that_the_disk_lacks_are_an_error_unless_partial_and_ids_stay_as_written(tmp_path):
    labels = "a.wav,01,ang,\nb.wav,1e3,neu\nc.wav,02,neu\n"  # with a trailing comma
    with pytest.raises(CorpusError, match=r"1 of 3 labelled recordings are not on disk \(c.wav\)"):
        scan_table(tmp_path, labels)
    scan = scan_table(tmp_path, labels, partial=True)
    assert scan.partial == "partial, 2 of 3"
    assert scan.table["speaker"].tolist() == ["toy/01", "toy/1e3"]


BAD_TABLES = {
    "a recording without a row": ("a.wav,01,ang\n", r"1 of 2 recordings have no label \(b.wav\)"),
    "a short line": ("a.wav,01\n", r"'t.csv' cannot be read \(line 2 has 2 fields, the header 3\)"),
    "a row twice": ("a.wav,01,ang\nb.wav,1,neu\na.wav,01,neu\n", r"1 utterances are labelled twice \(toy/a.wav\)"),
    "an unmapped label": (
        "a.wav,01,angst\nb.wav,02,neu\n",
        r"raw label 'angst' is not mapped \(1 files, first a.wav\). Did you mean 'ang'\? Map it or add it to 'drop'",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_table_that_does_not_label_the_recordings_is_an_error(tmp_path, content, message):
    with pytest.raises(CorpusError, match=message):
        scan_table(tmp_path, content)


CLIP, DEMOGRAPHICS = "AudioWAV/1001_DFA_ANG_XX.wav", "VideoDemographics.csv"
SPOKEN = "RECOLA-Audio-recordings/P16.wav"
SPAN = "file,start,end,speaker\nP16.wav,0,{},P16\n"
BAD_COPIES = {
    "no recordings": ("emodb", [], "", r"emodb.audio: no recording matches 'wav/\*.wav' below .*emodb"),
    "a path without a label": (
        "emodb", ["wav/03a01Fa.wav", "wav/noise.wav"], "", r"1 of 2 paths do not match exactly once \(wav/noise.wav\)"
    ),
    "no table": ("cremad", [CLIP], "", r"cremad.join.0.file: 'VideoDemographics.csv' is not in"),
    "no column": (
        "cremad", [CLIP], "ActorID,Age,Sexe\n1001,2,Male\n",
        r"join.0.file: no column 'Sex' in the table.* Did you mean 'Sexe'",
    ),
    "no row": (
        "cremad", [CLIP], "ActorID,Age,Sex\n1002,2,Male\n",
        r"1 values of speaker are not in VideoDemographics.csv \(1001\)",
    ),
    "two rows": (
        "cremad", [CLIP], "ActorID,Age,Sex\n1001,2,Female\n1001,2,Male\n",
        r"two rows for 1001 in VideoDemographics.csv",
    ),
    **{
        f"a time of {time}": ("recola", [SPOKEN], SPAN.format(time), r"1 values of end are no numbers \(first")
        for time in ("nan", "inf", "1e400", "soon")
    },
}  # fmt: skip


@pytest.mark.parametrize(("corpus", "names", "table", "message"), BAD_COPIES.values(), ids=BAD_COPIES)
def test_what_is_wrong_with_recordings_or_tables_of_a_copy_is_named(tmp_path, scan, corpus, names, table, message):
    (tmp_path / corpus).mkdir()
    touch(tmp_path / corpus, *names)
    if table:
        (tmp_path / corpus / ("segments.csv" if corpus == "recola" else DEMOGRAPHICS)).write_text(table)
    with pytest.raises(CorpusError, match=message):
        scan(corpus)


def test_wrong_counts_are_an_error_unless_partial_is_given_and_a_link_to_nothing_counts(tmp_path, scan):
    touch(tmp_path / "emodb", "wav/03a01Fa.wav")
    (tmp_path / "emodb" / "wav" / "08a01Fa.wav").symlink_to("nowhere")
    with pytest.raises(CorpusError, match=r"emodb.expect: 2 utterances, 2 speakers, .* Expected 535 utterances, 10 sp"):
        scan("emodb", partial=False)
    assert scan("emodb").partial == "partial, 2 of 535"


def test_ids_are_nfc_whatever_the_file_system_writes(tmp_path):
    touch(tmp_path / "toy", "u\u0308ber.wav")
    (tmp_path / "toy" / "t.csv").write_text("file,speaker,emotion\n\u00fcber.wav,01,ang\n", encoding="utf-8")
    table = scan_corpus(own(tmp_path, TABLE_ENTRY)).table
    assert table["utterance"].tolist() == ["toy/\u00fcber.wav"]
    assert (tmp_path / "toy" / table["file"][0]).is_file()


def test_tables_of_an_audformat_database_are_read_in_the_order_of_the_entry(tmp_path):
    touch(tmp_path / "toy", "audio/a.wav", "audio/b.wav")
    database = audformat.Database("toy")
    files = audformat.filewise_index(["audio/a.wav", "audio/b.wav"])
    for name, column, values in (("files", "speaker", ["s1", "s2"]), ("emotion", "emotion", ["ang", "neu"])):
        database.schemes[column] = audformat.Scheme("str")
        database[name] = audformat.Table(files)
        database[name][column] = audformat.Column(scheme_id=column)
        database[name][column].set(values)
    database.save(str(tmp_path / "toy"))
    entry = TABLE_ENTRY.replace("file: t.csv,", "file: db.yaml, tables: [emotion, files],")
    table = scan_corpus(own(tmp_path, entry)).table
    assert table["speaker"].tolist() == ["toy/s1", "toy/s2"]
    assert table["emotion"].tolist() == ["anger", "neutral"]


MISNAMED = """\
toy:
  title: Toy corpus
  language: en
  licence: CC0-1.0
  root: toy
  audio: '*.wav'
  labels:
    from: path
    pattern: '(?P<speaker>\\d\\d)(?P<gender>[fm])(?P<emotion>[AN])(?P<take>\\d)\\.wav$'
  values: {gender: {f: female, m: male}}
  emotions: {A: anger, N: neutral}
"""


def test_speaker_of_two_genders_has_that_of_most_files_if_any_unless_the_entry_lists_the_speaker(tmp_path):
    touch(tmp_path / "toy", "01fA1.wav", "01fN1.wav", "01mA2.wav", "02mA1.wav", "03mN1.wav", "03fN1.wav")
    scan = scan_corpus(own(tmp_path, MISNAMED))
    genders = dict(zip(scan.table["speaker"], scan.table["gender"].fillna(""), strict=True))
    assert genders == {"toy/01": "female", "toy/02": "male", "toy/03": ""}
    assert scan.note == (
        "speakers whose files say two genders get that of most files (01: 2 female, 1 male (01mA2.wav), "
        "03: 1 female (03fN1.wav), 1 male (03mN1.wav), so unknown). "
        "List them under `genders` in the entry, or correct the labels"
    )
    listed = scan_corpus(own(tmp_path, f"{MISNAMED}  genders: {{male: ['01', '03']}}\n"))
    assert (set(listed.table["gender"]), listed.note) == ({"male"}, "")


@pytest.mark.slow
def test_ased_speakers_have_one_gender_each_and_two_sentences_are_said_in_every_emotion(tmp_path, scan):
    write_ased(tmp_path / "ased", duration_s=0.01)
    read = scan("ased")
    assert read.table.groupby("gender")["speaker"].nunique().to_dict() == {"female": 25, "male": 1}
    assert read.note == ""  # the entry lists the women whom names of files deny
    emotions = read.table.groupby("text")["emotion"].nunique()
    assert len(emotions) == 27
    assert emotions[emotions > 1].to_dict() == {"01": 5, "02": 5}
    assert read.table.groupby("emotion")["text"].nunique().tolist() == [7] * 5


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_synthetic_tree_is_read_as_a_copy_of_its_corpus(tmp_path, scan, name):
    WRITERS[name](tmp_path / name, **({} if name in ("iemocap", "recola") else {"duration_s": 0.02}))
    assert scan(name).rows
