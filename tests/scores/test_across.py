"""What holds for every protocol, whatever meets: corpora of any number, with any groups and labels."""

import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from serbench.errors import ProtocolError
from serbench.grid.plan import Rows, check_no_leak, check_unseen
from serbench.protocols import (
    PROTOCOLS,
    Design,
    Draw,
    Evaluation,
    Group,
    InnerRule,
    Side,
    TrainingSet,
    Validation,
    inner_rule,
    keep_apart,
    within,
)
from serbench.protocols.across import drawn

LANGUAGES = ("de", "en", "pl")


@st.composite
def sides(draw, name, *, n_texts=2):
    """A corpus of two to five people, each with some labelled utterances that say texts; some held out."""
    people = draw(st.integers(2, 5))
    groups = []
    for person in range(people):
        ids = tuple(f"{name}/{person}/{i}" for i in range(draw(st.integers(1, 5))))
        groups.append(Group(f"{name}/{person}", "fm"[person % 2], ids, {u: f"t{int(u[-1]) % n_texts}" for u in ids}))
    labels = {u: draw(st.sampled_from(["anger", "neutral"])) for group in groups for u in group.utterances}
    n_held_out = draw(st.integers(1, people - 1))
    language = draw(st.sampled_from(LANGUAGES))
    return Side(name, language, tuple(groups), labels), n_held_out


@st.composite
def cells(draw, protocol):
    """Sides, and the design of one cell that a protocol makes of them."""
    made = [draw(sides(name)) for name in ("a", "b", "c")[: draw(st.integers(2, 3))]]
    if protocol.needs == "partition":
        made = [(dataclasses.replace(s, groups=s.groups[n:], held_out=s.groups[:n]), n) for s, n in made]
    corpora = [side for side, _ in made]
    pairings = protocol.pairings([side.language for side in corpora])
    tested, others = draw(st.sampled_from(pairings))
    of = [tuple(corpora[i] for i in places) for places in (tested, others)]
    drawing = Draw(draw(st.integers(1, 6)), seed=draw(st.integers(0, 3))) if protocol.needs == "k" else None
    design = Design(of[0], of[1], InnerRule("none"), drawing)
    try:
        rule = protocol.rule(draw(st.sampled_from(["auto", "all", "none", "2", "4"])), design)
        return dataclasses.replace(design, rule=rule), protocol.evaluations(dataclasses.replace(design, rule=rule))
    except ProtocolError:  # too few people, texts, utterances or languages, or a ring where there is none
        assume(False)


def person_of(utterances):
    return {u.rpartition("/")[0] for u in utterances}


def corpora_of(utterances):
    return {u.partition("/")[0] for u in utterances}


@pytest.mark.parametrize("name", PROTOCOLS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_person_of_a_test_trains_and_each_utterance_is_tested_once(name, data):
    protocol = PROTOCOLS[name]
    design, evaluations = data.draw(cells(protocol))
    tested = Counter(u for e in evaluations for u in e.test)
    expected = [u for s in design.tested for g in (s.held_out or s.groups) for u in g.utterances]
    assert tested == Counter(expected)
    for evaluation in evaluations:
        train, test = evaluation.train.utterances, evaluation.test
        assert train or protocol.holds_out_texts  # a person may say all of a text: such a cell is refused
        assert not person_of(train) & person_of(test)
        assert protocol.sees_target or not corpora_of(train) & corpora_of(test)
        assert list(train) == sorted(set(train))


@pytest.mark.parametrize("name", PROTOCOLS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_settings_are_chosen_on_training_data_by_people_who_did_not_train(name, data):
    design, evaluations = data.draw(cells(PROTOCOLS[name]))
    for evaluation in evaluations:
        train = set(evaluation.train.utterances)
        assert design.rule.name != "none" or not evaluation.inner
        for inner in evaluation.inner:
            assert set(inner.test) <= train
            assert set(inner.train.utterances) <= train
            assert not person_of(inner.train.utterances) & person_of(inner.test)


@given(data=st.data())
def test_lolo_never_trains_on_the_language_of_the_test(data):
    design, evaluations = data.draw(cells(PROTOCOLS["lolo"]))
    language = {side.corpus: side.language for side in (*design.tested, *design.others)}
    for evaluation in evaluations:
        known = {language[corpus] for corpus in corpora_of(evaluation.train.utterances)}
        assert not known & {language[corpus] for corpus in corpora_of(evaluation.test)}


@given(data=st.data())
def test_adapt_adds_k_utterances_of_other_people_of_the_target_and_nothing_else(data):
    design, evaluations = data.draw(cells(PROTOCOLS["adapt"]))
    (source,) = design.others
    whole = {u for group in source.groups for u in group.utterances}
    for evaluation in evaluations:
        added = set(evaluation.train.utterances) - whole
        assert whole <= set(evaluation.train.utterances)
        assert len(added) == design.draw.k
        assert corpora_of(added) == corpora_of(evaluation.test)
        validated = [u for inner in evaluation.inner for u in inner.test]
        assert sorted(validated) in ([], sorted(evaluation.train.utterances))


def side_of(n_people, n_each, labels=("anger", "anger", "neutral")):
    groups = tuple(Group(f"g{p}", "f", tuple(f"a/g{p}/{i:03d}" for i in range(n_each))) for p in range(n_people))
    given_labels = {u: labels[int(u[-3:]) % len(labels)] for g in groups for u in g.utterances}
    return Side("a", "de", groups, given_labels)


@given(k=st.integers(1, 80), smaller=st.integers(1, 80), seed=st.integers(0, 9))
def test_draw_holds_each_label_in_proportion_and_every_smaller_draw(k, smaller, seed):
    side = side_of(4, 30)
    ids = drawn(side, "g0", Draw(k, seed=seed))
    assert len(set(ids)) == k
    counts = Counter(side.labels[u] for u in ids)
    assert abs(counts["anger"] - k * 2 / 3) < 1
    assert k < smaller or set(drawn(side, "g0", Draw(smaller, seed=seed))) <= set(ids)


def test_draws_differ_between_seeds_and_test_groups_and_not_between_runs():
    side = side_of(4, 30)
    assert drawn(side, "g0", Draw(9)) == drawn(side, "g0", Draw(9))
    assert drawn(side, "g0", Draw(9, seed=1)) != drawn(side, "g0", Draw(9))
    shared = set(drawn(side, "g0", Draw(9))) & set(drawn(side, "g1", Draw(9)))
    assert len(shared) < 9


def test_draw_of_more_than_there_is_says_how_many_there_are():
    with pytest.raises(ProtocolError, match=r"--k 91, where 90 utterances of a are outside g0.*at most as many"):
        drawn(side_of(4, 30), "g0", Draw(91))


def test_weight_of_drawn_utterances_stands_beside_them():
    source = Side("b", "en", (Group("b0", "f", ("b/0",)), Group("b1", "m", ("b/1",))), {"b/0": "anger", "b/1": "anger"})
    design = Design((side_of(2, 3),), (source,), InnerRule("none"), Draw(2, weight=3))
    train = PROTOCOLS["adapt"].evaluations(design)[0].train
    assert dict(zip(train.utterances, train.weights, strict=True)) == {
        u: 1.0 if u.startswith("b/") else 3.0 for u in train.utterances
    }
    assert len(train.utterances) == 4


def test_weights_of_drawn_utterances_hold_in_validation_too():
    source = Side("b", "en", (Group("b0", "f", ("b/0",)), Group("b1", "m", ("b/1",))), {"b/0": "anger", "b/1": "anger"})
    design = Design((side_of(3, 3),), (source,), InnerRule("all"), Draw(4, weight=3))
    for evaluation in PROTOCOLS["adapt"].evaluations(design):
        for inner in evaluation.inner:
            weights = dict(zip(inner.train.utterances, inner.train.weights, strict=True))
            assert weights == {u: 1.0 if u.startswith("b/") else 3.0 for u in inner.train.utterances}


def test_loco_validates_corpora_and_cross_validates_people():
    a, b, c = (dataclasses.replace(side_of(3, 2), corpus=name) for name in "abc")
    b, c = (_renamed(side, name) for side, name in ((b, "b"), (c, "c")))
    names = {
        protocol: [v.name for v in PROTOCOLS[protocol].evaluations(Design((a,), others, InnerRule("all")))[0].inner]
        for protocol, others in (("loco", (b, c)), ("cross", (b,)))
    }
    assert names == {"loco": ["b", "c"], "cross": ["b/g0", "b/g1", "b/g2"]}


def _renamed(side, name):
    groups = tuple(
        Group(f"{name}/{g.name}", g.sex, tuple(u.replace("a/", f"{name}/", 1) for u in g.utterances))
        for g in side.groups
    )
    labels = {u.replace("a/", f"{name}/", 1): label for u, label in side.labels.items()}
    return Side(name, side.language, groups, labels)


def test_planted_sight_of_the_target_stops_the_run():
    side = side_of(3, 2)
    ids = [u for g in side.groups for u in g.utterances]
    rows = Rows({}, {}, {}, dict.fromkeys(ids, "a"))
    evaluations = within(side.groups, inner_rule("all", 3))
    with pytest.raises(ProtocolError, match=r"corpora in training and test: a.*This is a leak"):
        check_unseen(evaluations, rows)


def test_every_protocol_is_described_on_its_page():
    page = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| ([a-z-]+)[ |]", page, flags=re.MULTILINE)
    assert described == list(PROTOCOLS)


def test_people_who_validate_or_are_tested_are_taken_out_of_training_with_their_weights():
    train = TrainingSet(("a1", "b1", "c1", "d1"), (1.0, 2.0, 3.0, 4.0))
    inner = Validation("one", TrainingSet(("a1", "b1", "d1")), ("x",))
    person = {"a1": "ann", "b1": "bob", "c1": "cem", "d1": "dan", "x": "dan", "t": "bob"}
    (kept,) = keep_apart([Evaluation("t", train, ("t",), (inner,))], person)
    assert kept.train == TrainingSet(("a1", "c1", "d1"), (1.0, 3.0, 4.0))
    assert kept.inner[0].train.utterances == ("a1",)
    assert keep_apart([kept], {}) == [kept]


def test_planted_person_under_another_name_stops_the_run():
    evaluation = Evaluation("t", TrainingSet(("a/1",)), ("b/1",), ())
    ids = ("a/1", "b/1")
    rows = Rows(dict.fromkeys(ids, 0), {u: u for u in ids}, {u: u for u in ids}, {u: u[0] for u in ids})
    check_no_leak([evaluation], rows)
    with pytest.raises(ProtocolError, match=r"speakers in training and test: ann\. Expected none"):
        check_no_leak([evaluation], dataclasses.replace(rows, same=dict.fromkeys(ids, "ann")))
