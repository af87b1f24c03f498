import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tables import groups_of, table, within

from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.entry import Folds
from serbench.errors import ProtocolError, UnknownNameError
from serbench.protocols import PROTOCOLS, add_groups, find_protocol, inner_rule, ring

EMODB = load_catalogue().corpus("emodb")


def corpus(**folds):
    return EMODB.model_copy(update={"name": "toy", "folds": Folds(**folds)})


def names(index, folds):
    return add_groups(index, folds)["group"].cat.categories.tolist()


def speakers(n_female, n_male):
    return [f"f{i:02d}" for i in range(n_female)] + [f"m{i:02d}" for i in range(n_male)]


def test_one_speaker_is_left_out_by_default(make_index):
    assert names(make_index(), corpus(leave_out=1)) == ["f1", "f2", "m1", "m2"]


@pytest.mark.parametrize(
    ("n_female", "n_male", "expected"),
    [
        (2, 2, ["f00+m00", "f01+m01"]),
        (1, 3, ["f00+m00", "m01+m02"]),
        (1, 4, ["f00+m00", "m01+m02+m03"]),
        (3, 1, ["f00+m00", "f01+f02"]),
        (2, 1, ["f00+f01+m00"]),
    ],
)
def test_pairs_are_one_female_and_one_male_then_remainders_then_an_odd_one(make_index, n_female, n_male, expected):
    index = make_index(speakers=speakers(n_female, n_male))
    assert names(index, corpus(leave_out=2)) == expected


def test_pairs_are_the_sessions_where_two_talk_to_each_other(make_index):
    index = make_index(speakers=("f1", "f2", "m1", "m2"))
    index["session"] = index["speaker"].map({"toy/f1": "a", "toy/m2": "a", "toy/f2": "b", "toy/m1": "b"})
    assert names(index, corpus(leave_out=2)) == ["f1+m2", "f2+m1"]


def test_session_with_one_speaker_left_does_not_break_up_the_others(make_index):
    index = make_index(speakers=("f1", "f2", "m2", "f3", "m3"))
    index["session"] = index["speaker"].str[-1]
    assert names(index, corpus(leave_out=2)) == ["f1", "f2+m2", "f3+m3"]


def test_sessions_that_share_a_speaker_are_no_groups(make_index):
    index = make_index(speakers=("f1", "f2", "m1", "m2"))
    index["session"] = ["a", "b"] * (len(index) // 2)
    assert names(index, corpus(leave_out=2)) == ["f1+m1", "f2+m2"]


def test_voices_group_where_no_speaker_is_known(make_index):
    mesd = load_catalogue().corpus("mesd")
    index = make_index().assign(speaker=None)
    index["voice"] = index["gender"]
    assert names(index, mesd) == ["female", "male"]


def test_groups_are_balanced_by_sex_and_emotion(make_index):
    grouped = add_groups(make_index(speakers=speakers(6, 6)), corpus(groups=3))
    assert grouped["group"].value_counts().tolist() == [24, 24, 24]
    assert grouped[grouped["gender"] == "female"]["group"].value_counts().tolist() == [12, 12, 12]
    assert set(grouped["sex"]) == {"mixed"}


def test_more_groups_than_speakers_is_an_error(make_index):
    with pytest.raises(ProtocolError, match=r"5 groups of 4 speakers"):
        add_groups(make_index(), corpus(groups=5))


def test_grouping_does_not_depend_on_the_order_of_rows(make_index):
    index = make_index(speakers=speakers(5, 6))
    shuffled = index.sample(frac=1, random_state=1)
    for folds in ({"leave_out": 1}, {"leave_out": 2}, {"groups": 4}):
        one, other = (add_groups(of, corpus(**folds)).sort_values("utterance") for of in (index, shuffled))
        assert names(index, corpus(**folds)) == names(shuffled, corpus(**folds))
        assert one["group"].tolist() == other["group"].tolist()


@pytest.mark.parametrize(
    ("requested", "n_groups", "name"),
    [("auto", 12, "all"), ("auto", 13, "4"), ("all", 40, "all"), ("4", 10, "4"), ("4", 5, "all"), ("none", 10, "none")],
)
def test_inner_rule_is_resolved(requested, n_groups, name):
    assert inner_rule(requested, n_groups).name == name


@pytest.mark.parametrize(
    ("requested", "message"), [("3", "an even number"), ("al", "Did you mean 'all'"), ("0", "'0'")]
)
def test_wrong_inner_rules_are_refused(requested, message):
    with pytest.raises(ProtocolError, match=message):
        inner_rule(requested, 10)


def test_ring_interleaves_the_sexes():
    assert ring({f"g{i}": "fm"[i % 2] for i in range(8)}) == [f"g{i}" for i in range(8)]
    uneven = {**{f"f{i}": "f" for i in range(2)}, **{f"m{i}": "m" for i in range(4)}}
    assert ring(uneven) == ["m0", "f0", "m1", "m2", "f1", "m3"]


@given(n=st.integers(6, 30), k=st.sampled_from([2, 4]))
@settings(max_examples=20, deadline=None)
def test_within_trains_on_all_that_it_does_not_test_and_validating_on_ring_neighbours_is_symmetric(n, k):
    folds = within(groups_of(n, sexes=("female", "male")), str(k))
    chosen = {fold.name: [inner.name for inner in fold.inner] for fold in folds}
    assert all(len(set(neighbours)) == k for neighbours in chosen.values())
    assert all(outer in chosen[inner] for outer, neighbours in chosen.items() for inner in neighbours)
    assert all(len({*fold.train.utterances, *fold.test}) == 2 * n for fold in folds)


@st.composite
def ragged_groups(draw):
    """Groups that say some of up to five texts each, some of them more than once."""
    said = draw(st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=8), min_size=2, max_size=6))
    rows = [(i, k, text) for i, texts in enumerate(said) for k, text in enumerate(texts)]
    sexes = ("female", "male")
    return table(
        *({"utterance": f"u{i}-{k}", "group": f"g{i}", "sex": sexes[i % 2], "text_group": t} for i, k, t in rows)
    )


@given(rows=ragged_groups(), inner=st.sampled_from(["all", "none", "2", "auto"]))
@settings(max_examples=60, deadline=None)
def test_within_text_never_shares_a_speaker_or_a_text_with_the_test_and_leaves_nothing_else_out(rows, inner):
    speaker = dict(zip(rows["utterance"], rows["group"], strict=True))
    text = dict(zip(rows["utterance"], rows["text_group"], strict=True))
    assume(len(set(text.values())) > 1)
    folds = within(rows, inner, "within-text")
    assert sorted(u for fold in folds for u in fold.test) == sorted(speaker)
    for fold in folds:
        ((who, what),) = {(speaker[u], text[u]) for u in fold.test}
        free = {u for u in speaker if speaker[u] != who and text[u] != what}
        assert set(fold.train.utterances) == free
        for validation in fold.inner:
            (other,) = {speaker[u] for u in validation.test}
            assert set(validation.test) == {u for u in free if speaker[u] == other}
            assert set(validation.train.utterances) == free - set(validation.test)


def test_within_text_names_its_folds_and_validations():
    fold = within(groups_of(3, texts="ab"), protocol="within-text")[1]
    assert fold.name == "g00/b"
    assert [inner.name for inner in fold.inner] == ["g01 without b", "g02 without b"]


def test_one_text_alone_cannot_be_held_out():
    message = r"test groups with utterances: 3, groups of texts: 1. Expected at least two"
    with pytest.raises(ProtocolError, match=message):
        within(groups_of(3, texts="a"), protocol="within-text")


def test_texts_are_divided_beside_the_groups(make_index):
    index = make_index().assign(text=lambda table: table["file"].str[-5])
    grouped = add_groups(index, corpus(leave_out=1), with_texts=True)
    assert set(grouped["text_group"]) == {"texts1", "texts2"}
    assert names(index, corpus(leave_out=1)) == grouped["group"].cat.categories.tolist()


def test_groups_left_without_utterances_are_passed_over():
    rows = groups_of(4)
    left = rows[rows["group"] != "g01"].reset_index(drop=True)
    assert [fold.name for fold in within(left)] == ["g00", "g02", "g03"]


def test_one_speaker_alone_cannot_be_tested():
    with pytest.raises(ProtocolError, match=r"1 test group with utterances. Expected at least two people"):
        within(groups_of(1))


def test_unknown_person_is_an_error(make_index):
    index = make_index()
    index.loc[0, "speaker"] = None
    with pytest.raises(ProtocolError, match=r"1 utterances without speaker"):
        add_groups(index, corpus(leave_out=1))


def test_leaving_one_speaker_out_is_within_by_the_name_that_papers_use():
    assert find_protocol("LOSO") is PROTOCOLS["within"]
    with pytest.raises(UnknownNameError, match="Did you mean 'loco'"):
        find_protocol("locc")
