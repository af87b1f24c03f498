import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.divisions import MOST_TEXT_GROUPS, sentences, text_groups
from serbench.errors import ProtocolError

WHERE = "toy, --text-independent: "


@pytest.fixture
def index_saying(make_index):
    """An index in which every speaker says each of the texts in every emotion."""

    def make(*texts):
        index = make_index(takes=len(texts))
        return index.assign(text=[*texts] * (len(index) // len(texts)))

    return make


def dealt(index):
    """Texts by their group."""
    groups = {}
    for text, group in sorted(set(zip(index["text"], index["utterance"].map(text_groups(index, "toy")), strict=True))):
        groups.setdefault(group, []).append(text)
    return groups


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_texts_are_a_group_each(index_saying, n):
    assert dealt(index_saying(*"abcde"[:n])) == {f"texts{i + 1}": ["abcde"[i]] for i in range(n)}


def test_ten_texts_are_five_groups_of_two(index_saying):
    assert [len(texts) for texts in dealt(index_saying(*"abcdefghij")).values()] == [2] * 5


def test_groups_of_texts_are_balanced_by_utterances(index_saying):
    index = index_saying("often", "often", "often", *"abcde", "f", "g", "h")
    assert dealt(index)["texts1"] == ["often"]
    sizes = list(index["utterance"].map(text_groups(index, "toy")).value_counts())
    assert sizes == [36, 24, 24, 24, 24]


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


def test_corpus_that_knows_no_texts_is_refused_with_what_to_do(make_index):
    with pytest.raises(ProtocolError, match=WHERE + "its entry gives no texts.*Add a `text` group to the pattern"):
        text_groups(make_index(), "toy")


@pytest.mark.parametrize("unknown", [None, "", " "])
def test_utterance_without_a_text_is_named(index_saying, unknown):
    index = index_saying("a", "b")
    index.loc[3, "text"] = unknown
    with pytest.raises(ProtocolError, match=WHERE + r"1 of 24 utterances without text \(first toy/f1_happiness_1.wav"):
        text_groups(index, "toy")


def test_one_text_is_refused(index_saying):
    with pytest.raises(ProtocolError, match=WHERE + r"one text only \('a'\). Expected at least two, to hold one out"):
        text_groups(index_saying("a", "A"), "toy")


def test_texts_that_tell_the_emotion_are_refused(index_saying):
    index = index_saying("1", "2")
    with pytest.raises(ProtocolError, match=r"text and emotion are confounded \(6 of 6 have one emotion only\)"):
        text_groups(index.assign(text=index["emotion"] + index["text"]), "toy")


@pytest.mark.parametrize(
    ("name", "known"), [("emodb", True), ("ravdess", True), ("cremad", True), ("nemo", True), ("savee", False)]
)
def test_catalogue_knows_whose_names_tell_texts(name, known):
    """SAVEE numbers the sentences of each emotion anew: its `a07` and `f07` say different things."""
    assert ("text" in load_catalogue().corpus(name).fields) == known
