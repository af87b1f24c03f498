import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import EMODB_SPEAKERS, WRITERS

import serbench
from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.divisions import (
    MOST_TEXT_GROUPS,
    check_tested_people,
    is_copy_of_earlier,
    one_person_each,
    partition_notes,
    partition_of,
    sentences,
    text_groups,
    with_people,
)
from serbench.corpora.entry import Partition
from serbench.corpora.labels import scan_corpus
from serbench.errors import CorpusError, ProtocolError, UnknownNameError


@pytest.fixture(scope="module")
def emodb():
    return load_catalogue().corpus("emodb").model_copy(update={"name": "toy", "partitions": {}})


def with_partition(corpus, **fields):
    return corpus.model_copy(update={"partitions": {"mine": Partition.model_validate(fields)}})


# What the papers say: speakers trained on, speakers tested.
PAPERS = [
    ("emovo", "schiavone", {"f1", "f2", "m1", "m2"}, {"f3", "m3"}),
    ("emodb", "schiavone", {"09", "13", "14", "16", "10", "11", "12", "15"}, {"08", "03"}),
    ("ravdess", "schiavone", {f"{n:02d}" for n in range(1, 9)}, {"09", "10", "11", "12"}),
]


@pytest.mark.parametrize(("name", "partition", "train", "test"), PAPERS)
def test_published_partitions_are_those_of_the_papers(tmp_path, monkeypatch, name, partition, train, test):
    monkeypatch.setenv("SERBENCH_DATA", str(tmp_path))
    WRITERS[name](tmp_path / name, duration_s=0.05)
    corpus = load_catalogue().corpus(name)
    table = scan_corpus(corpus, partial=True).table
    sides = partition_of(table, corpus, partition)
    for ids, speakers in zip(sides, (train, test), strict=True):
        of = table.set_index("utterance").loc[list(ids), "speaker"]
        assert set(of) == {f"{name}/{speaker}" for speaker in speakers}
        assert list(ids) == sorted(table["utterance"][table["speaker"].isin(set(of))])
    assert partition_notes(table, corpus, partition) == []


def test_the_24_actors_of_crema_d_are_spread_evenly_and_said_to_be_others_than_the_papers(tmp_path, monkeypatch):
    monkeypatch.setenv("SERBENCH_DATA", str(tmp_path))
    WRITERS["cremad"](tmp_path / "cremad", duration_s=0.05)
    corpus = load_catalogue().corpus("cremad")
    table = scan_corpus(corpus, partial=True).table
    train, test = partition_of(table, corpus, "schrama-like")
    assert (len(train), len(test)) == (67 * 6, 24 * 6)
    tested = sorted({int(utterance.split("/")[-1][:4]) for utterance in test})
    assert tested == [1001 + 91 * i // 24 for i in range(24)]
    assert partition_notes(table, corpus, "schrama-like") == [
        "partition schrama-like: as many actors as Schrama tests (24 of 91), but not the same, which are not published"
    ]
    place = serbench.Workspace(tmp_path / "results", partial=True, jobs=2)
    request = serbench.GridRequest("mfcc", "dummy", protocol="holdout", partition="schrama-like")
    (cell,) = serbench.plan_grid(["cremad"], request, place, dry_run=True).plan.cells
    assert {int(speaker[-4:]) for speaker in cell.utterances["speaker"]} == {*tested}
    assert any("not the same, which are not published" in note for _, note in cell.notes)
    for path in (tmp_path / "cremad").rglob("*.wav"):
        if not 1001 <= int(path.name[:4]) < 1013:
            path.unlink()
    (cell,) = serbench.plan_grid(["cremad"], request, place, dry_run=True).plan.cells
    assert {speaker[-4:] for speaker in cell.utterances["speaker"]} == {"1001", "1004", "1008", "1012"}
    assert any(note.startswith("partition schrama-like: no utterance of speaker 1016, 1019") for _, note in cell.notes)


@settings(max_examples=settings.default.max_examples // 4)
@given(tested=st.sets(st.sampled_from(["f1", "f2", "m1", "m2"]), min_size=1, max_size=3), data=st.data())
def test_no_person_is_on_both_sides_and_the_order_of_rows_does_not_matter(emodb, make_index, tested, data):
    index = make_index()
    corpus = with_partition(emodb, test={"speaker": sorted(tested)})
    train, test = partition_of(index, corpus, "mine")
    people = dict(zip(index["utterance"], index["speaker"], strict=True))
    assert not {people[u] for u in train} & {people[u] for u in test}
    assert {*train, *test} == {*people}  # without a list to train on, all others are trained on
    shuffled = index.loc[data.draw(st.permutations(list(index.index)))]
    assert partition_of(shuffled, corpus, "mine") == (train, test)


def test_fields_together_narrow_a_side(emodb, make_index):
    fields = {"test": {"speaker": ["f1", "m1"], "emotion": ["anger"]}, "train": {"speaker": ["f2"]}}
    _, test = partition_of(make_index(takes=1), with_partition(emodb, **fields), "mine")
    assert test == ("toy/f1_anger_0.wav", "toy/m1_anger_0.wav")


def test_a_value_that_a_partial_copy_lacks_is_noted(emodb, make_index):
    corpus = with_partition(emodb, test={"speaker": ["f1", "f9"]})
    _, test = partition_of(make_index(), corpus, "mine")
    assert len(test) == 6
    assert partition_notes(make_index(), corpus, "mine") == ["partition mine: no utterance of speaker f9 to test"]


@pytest.mark.parametrize(
    ("test", "train", "message"),
    [
        (
            {"speaker": ["f8", "f9"]},
            None,
            r"toy.partitions.mine.test.speaker: no utterance of f8, f9.*There are f1, f2",
        ),
        ({"speaker": ["f1", "f2", "m1", "m2"]}, None, r"mine.train: no utterance has these values"),
        ({"speaker": ["f1"]}, {"gender": ["female"]}, r"6 utterances on both sides \(toy/f1_anger_0.wav"),
    ],
)
def test_a_side_without_utterances_and_what_is_on_both_sides_are_errors(emodb, make_index, test, train, message):
    corpus = with_partition(emodb, test=test, **({"train": train} if train else {}))
    with pytest.raises((CorpusError, ProtocolError), match=message):
        partition_of(make_index(), corpus, "mine")


def test_unknown_partition_is_suggested(make_index):
    emodb = load_catalogue().corpus("emodb")
    with pytest.raises(UnknownNameError, match=r"Unknown partition of emodb 'schiavonne'. Did you mean 'schiavone'"):
        partition_of(make_index(speakers=tuple(EMODB_SPEAKERS)), emodb, "schiavonne")


@pytest.fixture
def index_saying(make_index):
    """An index in which every speaker says each of the texts in every emotion."""
    return lambda *texts: make_index(takes=len(texts)).assign(text=[*texts] * 12)


@pytest.mark.parametrize(
    ("texts", "groups"), [("ab", ["a", "b"]), ("abcdefghij", [2] * 5), ("oooabcdefgh", ["o", "ae", "bf", "cg", "dh"])]
)
def test_texts_are_dealt_into_five_groups_at_most_that_are_as_large(index_saying, texts, groups):
    index = index_saying(*texts)
    said = (
        index["text"]
        .groupby(index["utterance"].map(text_groups(index, "toy")))
        .unique()
        .map(sorted)
        .map("".join)
        .tolist()
    )
    assert groups in (said, list(map(len, said)))


@given(seed=st.integers(0, 99))
@settings(max_examples=20)
def test_groups_of_texts_depend_neither_on_the_order_of_rows_nor_on_emotions(index_saying, seed):
    index = index_saying(*"abcdefg")
    other = index.sample(frac=1, random_state=seed)
    other.loc[other["emotion"] == "neutral", "emotion"] = None
    assert text_groups(index, "toy") == text_groups(other, "toy")
    assert len(set(text_groups(index, "toy").values())) == MOST_TEXT_GROUPS


def test_case_and_blanks_do_not_tell_texts_apart(index_saying):
    index = index_saying("Come  here", "come here ", "go away")
    assert sorted(set(sentences(index))) == ["come here", "go away"]
    assert len(set(text_groups(index, "toy").values())) == 2


def test_corpus_without_two_known_texts_that_all_emotions_share_is_refused(make_index, index_saying):
    with pytest.raises(
        ProtocolError, match=r"toy, --text-independent: its entry gives no texts.*Add a `text` group to the pattern"
    ):
        text_groups(make_index(), "toy")
    with pytest.raises(
        ProtocolError, match=r"toy, --text-independent: one text only \('a'\). Expected at least two, to hold one out"
    ):
        text_groups(index_saying("a", "A"), "toy")
    for unknown in (None, "", " "):
        index = index_saying("a", "b")
        index.loc[3, "text"] = unknown
        with pytest.raises(ProtocolError, match=r"1 of 24 utterances without text \(first toy/f1_happiness_1.wav"):
            text_groups(index, "toy")
    index = index_saying("1", "2")
    with pytest.raises(ProtocolError, match=r"text and emotion are confounded \(6 of 6 have one emotion only\)"):
        text_groups(index.assign(text=index["emotion"] + index["text"]), "toy")


@pytest.mark.parametrize(
    ("name", "known"), [("emodb", True), ("ravdess", True), ("cremad", True), ("nemo", True), ("savee", False)]
)
def test_catalogue_knows_whose_names_tell_texts(name, known):
    """SAVEE numbers the sentences of each emotion anew: its `a07` and `f07` say different things."""
    assert ("text" in load_catalogue().corpus(name).fields) == known


@pytest.fixture
def spoken(make_index, emodb):
    """Utterances of a corpus whose recordings have the hashes given, in the order of their names."""

    def make(corpus, hashes, *, namespace="", speakers=("f1", "m1")):
        index = make_index(corpus=corpus, speakers=speakers, takes=1, emotions=("anger",))
        entry = emodb.model_copy(update={"name": corpus})
        return with_people(index.assign(audio_hash=list(hashes)), entry, namespace=namespace)

    return make


def test_speakers_of_one_name_are_one_person_in_corpora_that_share_speakers(spoken):
    rows = one_person_each(pd.concat([spoken("aa", "xy"), spoken("bb", "zw", namespace="aa"), spoken("cc", "uv")]))
    assert rows["who"].tolist() == ["aa/f1", "aa/m1", "bb/f1", "bb/m1", "cc/f1", "cc/m1"]
    assert rows["person"].tolist() == ["aa/f1", "aa/m1", "aa/f1", "aa/m1", "cc/f1", "cc/m1"]


def test_a_recording_shows_that_two_names_are_one_person_and_the_copy_is_marked(spoken):
    rows = one_person_each(pd.concat([spoken("aa", "xy"), spoken("bb", "zx", namespace="aa", speakers=("g1", "g2"))]))
    assert rows["person"].tolist() == ["aa/f1", "aa/m1", "aa/g1", "aa/f1"]
    assert is_copy_of_earlier(rows).tolist() == [False, False, False, True]
    check_tested_people(rows[:3])
    with pytest.raises(ProtocolError, match=r"one person under several names: aa/f1 = bb/g2"):
        check_tested_people(rows)


def test_shared_recordings_without_a_declaration_are_refused(spoken):
    with pytest.raises(ProtocolError, match=r"1 recordings are in more than one corpus \(aa/f1.*bb.*shares_speakers"):
        one_person_each(pd.concat([spoken("aa", "xy"), spoken("bb", "xz")]))
