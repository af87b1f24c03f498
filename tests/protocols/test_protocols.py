import dataclasses
from itertools import combinations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.entry import Folds
from serbench.errors import ProtocolError
from serbench.protocols import Group, groups_with_texts, inner_rule, ring, test_groups, within, within_text

test_groups.__test__ = False  # pytest takes the name for a test
EMODB = load_catalogue().corpus("emodb")


def corpus(**folds):
    return EMODB.model_copy(update={"name": "toy", "folds": Folds(**folds)})


def names(groups):
    return [group.name for group in groups]


def speakers(n_female, n_male):
    return [f"f{i:02d}" for i in range(n_female)] + [f"m{i:02d}" for i in range(n_male)]


def test_one_speaker_is_left_out_by_default(make_index):
    assert names(test_groups(make_index(), corpus(leave_out=1))) == ["f1", "f2", "m1", "m2"]


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
    assert names(test_groups(index, corpus(leave_out=2))) == expected


def test_pairs_are_the_sessions_where_two_talk_to_each_other(make_index):
    index = make_index(speakers=("f1", "f2", "m1", "m2"))
    index["session"] = index["speaker"].map({"toy/f1": "a", "toy/m2": "a", "toy/f2": "b", "toy/m1": "b"})
    assert names(test_groups(index, corpus(leave_out=2))) == ["f1+m2", "f2+m1"]


def test_session_with_one_speaker_left_does_not_break_up_the_others(make_index):
    index = make_index(speakers=("f1", "f2", "m2", "f3", "m3"))
    index["session"] = index["speaker"].str[-1]
    assert names(test_groups(index, corpus(leave_out=2))) == ["f1", "f2+m2", "f3+m3"]


def test_sessions_that_share_a_speaker_are_no_groups(make_index):
    index = make_index(speakers=("f1", "f2", "m1", "m2"))
    index["session"] = ["a", "b"] * (len(index) // 2)
    assert names(test_groups(index, corpus(leave_out=2))) == ["f1+m1", "f2+m2"]


def test_voices_group_where_no_speaker_is_known(make_index):
    mesd = load_catalogue().corpus("mesd")
    index = make_index().assign(speaker=None)
    index["voice"] = index["gender"]
    assert names(test_groups(index, mesd)) == ["female", "male"]


def test_groups_are_balanced_by_sex_and_emotion(make_index):
    index = make_index(speakers=speakers(6, 6))
    groups = test_groups(index, corpus(groups=3))
    assert len(groups) == 3
    assert [len(g.utterances) for g in groups] == [24, 24, 24]
    assert all(sum("/f" in u for u in g.utterances) == 12 for g in groups)


def test_more_groups_than_speakers_is_an_error(make_index):
    with pytest.raises(ProtocolError, match=r"5 groups of 4 speakers"):
        test_groups(make_index(), corpus(groups=5))


def test_grouping_does_not_depend_on_the_order_of_rows(make_index):
    index = make_index(speakers=speakers(5, 6))
    shuffled = index.sample(frac=1, random_state=1)
    for folds in ({"leave_out": 1}, {"leave_out": 2}, {"groups": 4}):
        assert test_groups(index, corpus(**folds)) == test_groups(shuffled, corpus(**folds))


@pytest.mark.parametrize(
    ("requested", "n_groups", "name"),
    [("auto", 12, "all"), ("auto", 13, "4"), ("all", 40, "all"), ("4", 10, "4"), ("4", 5, "all"), ("none", 10, "none")],
)
def test_inner_rule_is_resolved(requested, n_groups, name):
    assert inner_rule(requested, n_groups).name == name


def test_two_groups_have_no_inner_validation_and_say_why():
    assert inner_rule("auto", 2).reason == "2 test groups; choosing settings needs 3"


@pytest.mark.parametrize(
    ("requested", "message"), [("3", "an even number"), ("al", "Did you mean 'all'"), ("0", "'0'")]
)
def test_wrong_inner_rules_are_refused(requested, message):
    with pytest.raises(ProtocolError, match=message):
        inner_rule(requested, 10)


def groups_of(n, sexes="fm", texts="ab"):
    return [
        Group(f"g{i:02d}", sexes[i % len(sexes)], tuple(f"u{i}{t}" for t in texts), {f"u{i}{t}": t for t in texts})
        for i in range(n)
    ]


def test_ring_interleaves_the_sexes():
    assert [g.sex for g in ring(groups_of(8))] == ["f", "m"] * 4
    uneven = [Group(f"f{i}", "f", ("u",)) for i in range(2)] + [Group(f"m{i}", "m", ("u",)) for i in range(4)]
    assert [g.sex for g in ring(uneven)] == ["m", "f", "m", "m", "f", "m"]


@given(n=st.integers(6, 30), k=st.sampled_from([2, 4]))
def test_validating_on_ring_neighbours_is_symmetric(n, k):
    chosen = {e.name: [inner.name for inner in e.inner] for e in within(groups_of(n), inner_rule(str(k), n))}
    assert all(len(set(neighbours)) == k for neighbours in chosen.values())
    assert all(outer in chosen[inner] for outer, neighbours in chosen.items() for inner in neighbours)


def test_within_trains_on_all_that_it_does_not_test():
    for evaluation in within(groups_of(5), inner_rule("all", 5)):
        assert len(evaluation.train.utterances) + len(evaluation.test) == 10


@st.composite
def ragged_groups(draw):
    """Groups that say some of up to five texts each, some of them more than once, some nothing."""
    said = draw(st.lists(st.lists(st.sampled_from("abcde"), max_size=8), min_size=2, max_size=6))
    groups = []
    for i, texts in enumerate(said):
        of = {f"u{i}-{k}": text for k, text in enumerate(texts)}
        groups.append(Group(f"g{i}", "fm"[i % 2], tuple(of), of))
    return groups


@given(groups=ragged_groups(), inner=st.sampled_from(["all", "none", "2", "auto"]))
def test_within_text_never_shares_a_speaker_or_a_text_with_the_test_and_leaves_nothing_else_out(groups, inner):
    speaker = {u: g.name for g in groups for u in g.utterances}
    text = {u: g.texts[u] for g in groups for u in g.utterances}
    assume(len(set(speaker.values())) > 1 and len(set(text.values())) > 1)
    evaluations = within_text(groups, inner_rule(inner, len(set(speaker.values()))))
    assert sorted(u for e in evaluations for u in e.test) == sorted(speaker)
    for evaluation in evaluations:
        ((who, what),) = {(speaker[u], text[u]) for u in evaluation.test}
        free = {u for u in speaker if speaker[u] != who and text[u] != what}
        assert set(evaluation.train.utterances) == free
        for validation in evaluation.inner:
            (other,) = {speaker[u] for u in validation.test}
            assert set(validation.test) == {u for u in free if speaker[u] == other}
            assert set(validation.train.utterances) == free - set(validation.test)


def test_within_text_names_its_folds_and_validations():
    evaluation = within_text(groups_of(3), inner_rule("all", 3))[1]
    assert evaluation.name == "g00/b"
    assert names(evaluation.inner) == ["g01 without b", "g02 without b"]


def test_one_text_alone_cannot_be_held_out():
    with pytest.raises(
        ProtocolError, match=r"test groups with utterances: 3, groups of texts: 1. Expected at least two"
    ):
        within_text(groups_of(3, texts="a"), inner_rule("all", 3))


def test_groups_with_texts_are_the_test_groups(make_index):
    index = make_index().assign(text=lambda table: table["file"].str[-5])
    groups = groups_with_texts(index, corpus(leave_out=1))
    assert names(groups) == names(test_groups(index, corpus(leave_out=1)))
    assert set(groups[0].texts.values()) == {"texts1", "texts2"}
    assert set(groups[0].texts) == set(groups[0].utterances)


def test_groups_left_without_utterances_are_passed_over():
    groups = [*groups_of(3), Group("empty", "f", ())]
    assert [e.name for e in within(groups, inner_rule("all", 3))] == ["g00", "g01", "g02"]


def test_one_speaker_alone_cannot_be_tested():
    with pytest.raises(ProtocolError, match=r"1 test group with utterances. Expected at least two people"):
        within(groups_of(1), inner_rule("all", 1))


def test_models_for_validation_are_shared_between_pairs_of_groups():
    evaluations = {e.name: e for e in within(groups_of(5), inner_rule("all", 5))}
    for one, other in combinations(evaluations, 2):
        of = {v.name: v.train for v in evaluations[one].inner}
        back = {v.name: v.train for v in evaluations[other].inner}
        assert of[other] == back[one]


def test_unknown_person_is_an_error(make_index):
    index = make_index()
    index.loc[0, "speaker"] = None
    with pytest.raises(ProtocolError, match=r"1 utterances without speaker"):
        test_groups(index, corpus(leave_out=1))


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        groups_of(1)[0].name = "other"
