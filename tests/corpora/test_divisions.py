import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import EMODB_SPEAKERS, WRITERS

from serbench import api
from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.divisions import partition_notes, partition_of
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


def test_without_a_list_to_train_on_all_others_are_trained_on(emodb, make_index):
    index = make_index()
    train, test = partition_of(index, with_partition(emodb, test={"speaker": ["f1"]}), "mine")
    assert set(train) | set(test) == set(index["utterance"])
    assert all(utterance.startswith("toy/f1") for utterance in test)


@given(tested=st.sets(st.sampled_from(["f1", "f2", "m1", "m2"]), min_size=1, max_size=3), data=st.data())
def test_no_person_is_on_both_sides_and_the_order_of_rows_does_not_matter(emodb, make_index, tested, data):
    index = make_index()
    corpus = with_partition(emodb, test={"speaker": sorted(tested)})
    train, test = partition_of(index, corpus, "mine")
    people = dict(zip(index["utterance"], index["speaker"], strict=True))
    assert not {people[u] for u in train} & {people[u] for u in test}
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


def test_a_partition_of_which_nothing_is_here_is_an_error(emodb, make_index):
    with pytest.raises(
        CorpusError, match=r"toy.partitions.mine.test.speaker: no utterance of f8, f9.*There are f1, f2"
    ):
        partition_of(make_index(), with_partition(emodb, test={"speaker": ["f8", "f9"]}), "mine")
    everyone = {"speaker": ["f1", "f2", "m1", "m2"]}
    with pytest.raises(CorpusError, match=r"mine.train: no utterance has these values"):
        partition_of(make_index(), with_partition(emodb, test=everyone), "mine")


def test_an_utterance_or_a_person_on_both_sides_is_an_error(emodb, make_index):
    both = with_partition(emodb, test={"speaker": ["f1"]}, train={"gender": ["female"]})
    with pytest.raises(ProtocolError, match=r"6 utterances on both sides \(toy/f1_anger_0.wav"):
        partition_of(make_index(), both, "mine")
    by_emotion = with_partition(emodb, test={"emotion": ["anger"]})
    with pytest.raises(ProtocolError, match=r"4 speakers on both sides \(toy/f1, .*scores of known voices"):
        partition_of(make_index(), by_emotion, "mine")


def test_unknown_partition_is_suggested(make_index):
    emodb = load_catalogue().corpus("emodb")
    with pytest.raises(UnknownNameError, match=r"Unknown partition of emodb 'schiavonne'. Did you mean 'schiavone'"):
        partition_of(make_index(speakers=tuple(EMODB_SPEAKERS)), emodb, "schiavonne")


def test_a_cell_of_a_partition_says_what_is_not_the_papers(tmp_path, monkeypatch):
    monkeypatch.setenv("SERBENCH_DATA", str(tmp_path))
    WRITERS["cremad"](tmp_path / "cremad", actors=range(1001, 1013), duration_s=0.2)
    request = api.GridRequest(
        features="mfcc", classifiers="logistic", emotions="anger,sadness", protocol="holdout", partition="schrama-like"
    )
    result = api.run_grid(["cremad"], request, api.Workspace(tmp_path / "results", partial=True, jobs=2))
    (cell,) = result.plan.cells
    assert cell.refused == ""
    assert {speaker[-4:] for speaker in cell.record["utterances"]["speaker"]} == {"1001", "1004", "1008", "1012"}
    notes = [note for note in cell.record["notes"] if note.startswith("partition schrama-like")]
    assert "not the same, which are not published" in notes[0]
    assert notes[1].startswith("partition schrama-like: no utterance of speaker 1016, 1019, 1023")
