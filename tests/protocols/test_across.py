"""What holds for every protocol, whatever meets: corpora of any number, with any groups and labels."""

import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tables import table, within

from serbench.errors import ProtocolError
from serbench.grid.plan import check_no_leak
from serbench.protocols import PROTOCOLS, Draw, Fold, InnerRule, TrainingSet, drawn, inner_rule

LANGUAGES = ("de", "en", "pl")


@st.composite
def corpora(draw, name):
    """A corpus of two to five people, each with some labelled utterances that say texts; some may be held out."""
    people, language = draw(st.integers(2, 5)), draw(st.sampled_from(LANGUAGES))
    n_held_out = draw(st.integers(1, people - 1))
    return [
        {
            "utterance": f"{name}/{person}/{i}",
            "group": f"{name}/{person}",
            "sex": "fm"[person % 2],
            "text_group": f"t{i % 2}",
            "label": draw(st.sampled_from(["anger", "neutral"])),
            "corpus": name,
            "corpus_language": language,
            "held_out": person < n_held_out,
        }
        for person in range(people)
        for i in range(draw(st.integers(1, 5)))
    ]


@st.composite
def cells(draw, protocol):
    """The table of utterances of one cell that a protocol makes of corpora, how it draws, and its folds."""
    made = [draw(corpora(name)) for name in ("a", "b", "c")[: draw(st.integers(2, 3))]]
    tested, others = draw(st.sampled_from(protocol.pairings([rows[0]["corpus_language"] for rows in made])))
    of_tested = [row for i in tested for row in made[i]]
    is_held_out = protocol.needs == "partition"
    asked = [{**row, "tested": row["held_out"] if is_held_out else True} for row in of_tested]
    beside = [{**row, "tested": False} for i in others for row in made[i]]
    rows = table(*asked, *beside)
    rows = rows if protocol.holds_out_texts else rows.drop(columns="text_group")
    drawing = Draw(draw(st.integers(1, 6)), seed=draw(st.integers(0, 3))) if protocol.needs == "k" else None
    try:
        rule = protocol.rule(draw(st.sampled_from(["auto", "all", "none", "2", "4"])), rows)
        return rows, rule, drawing, protocol.folds(rows, rule, drawing)
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
    rows, _, _, evaluations = data.draw(cells(protocol))
    assert Counter(u for e in evaluations for u in e.test) == Counter(rows["utterance"][rows["tested"]])
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
    _, rule, _, evaluations = data.draw(cells(PROTOCOLS[name]))
    for evaluation in evaluations:
        train = set(evaluation.train.utterances)
        assert rule.name != "none" or not evaluation.inner
        for inner in evaluation.inner:
            assert set(inner.test) <= train
            assert set(inner.train.utterances) <= train
            assert not person_of(inner.train.utterances) & person_of(inner.test)


@given(data=st.data())
def test_lolo_never_trains_on_the_language_of_the_test(data):
    rows, _, _, evaluations = data.draw(cells(PROTOCOLS["lolo"]))
    language = dict(zip(rows["corpus"], rows["corpus_language"], strict=True))
    for evaluation in evaluations:
        known = {language[corpus] for corpus in corpora_of(evaluation.train.utterances)}
        assert not known & {language[corpus] for corpus in corpora_of(evaluation.test)}


@given(data=st.data())
def test_adapt_adds_k_utterances_of_other_people_of_the_target_and_nothing_else(data):
    rows, _, drawing, evaluations = data.draw(cells(PROTOCOLS["adapt"]))
    whole = set(rows["utterance"][~rows["tested"]])
    for evaluation in evaluations:
        added = set(evaluation.train.utterances) - whole
        assert whole <= set(evaluation.train.utterances)
        assert len(added) == drawing.k
        assert corpora_of(added) == corpora_of(evaluation.test)
        validated = [u for inner in evaluation.inner for u in inner.test]
        assert sorted(validated) in ([], sorted(evaluation.train.utterances))


def rows_of(n_people, n_each, *, corpus="a", prefix="", **columns):
    labels = ("anger", "anger", "neutral")
    return [
        {
            "utterance": f"{corpus}/g{p}/{i:03d}",
            "group": f"{prefix}g{p}",
            "label": labels[i % 3],
            "corpus": corpus,
            **columns,
        }
        for p in range(n_people)
        for i in range(n_each)
    ]


def source(corpus="b"):
    return rows_of(2, 1, corpus=corpus, prefix=f"{corpus}/", tested=False)


@given(k=st.integers(1, 80), smaller=st.integers(1, 80), seed=st.integers(0, 9))
def test_draw_holds_each_label_in_proportion_and_every_smaller_draw(k, smaller, seed):
    side = table(*rows_of(4, 30))
    ids = drawn(side, "g0", Draw(k, seed=seed))
    assert len(set(ids)) == k
    counts = side[side["utterance"].isin(ids)]["label"].value_counts()
    assert abs(counts.get("anger", 0) - k * 2 / 3) < 1
    assert k < smaller or set(drawn(side, "g0", Draw(smaller, seed=seed))) <= set(ids)


def test_draws_differ_between_seeds_and_test_groups_and_not_between_runs():
    side = table(*rows_of(4, 30))
    assert drawn(side, "g0", Draw(9)) == drawn(side, "g0", Draw(9))
    assert drawn(side, "g0", Draw(9, seed=1)) != drawn(side, "g0", Draw(9))
    shared = set(drawn(side, "g0", Draw(9))) & set(drawn(side, "g1", Draw(9)))
    assert len(shared) < 9


def test_draw_of_more_than_there_is_says_how_many_there_are():
    with pytest.raises(ProtocolError, match=r"--k 91, where 90 utterances of a are outside g0.*at most as many"):
        drawn(table(*rows_of(4, 30)), "g0", Draw(91))


def test_weights_of_drawn_utterances_hold_in_training_and_validation():
    rows = table(*rows_of(3, 3), *source())
    for fold in PROTOCOLS["adapt"].folds(rows, InnerRule("all"), Draw(4, weight=3)):
        for train in (fold.train, *(inner.train for inner in fold.inner)):
            weights = dict(zip(train.utterances, train.weights, strict=True))
            assert weights == {u: 1.0 if u.startswith("b/") else 3.0 for u in train.utterances}
        assert len(fold.train.utterances) == 2 + 4


def test_loco_validates_corpora_and_cross_validates_people():
    beside = {name: rows_of(3, 2, corpus=name, prefix=f"{name}/", tested=False) for name in "bc"}
    tables = {"loco": [*beside["b"], *beside["c"]], "cross": beside["b"]}
    folds = {p: PROTOCOLS[p].folds(table(*rows_of(3, 2), *of), InnerRule("all")) for p, of in tables.items()}
    names = {protocol: [v.name for v in of[0].inner] for protocol, of in folds.items()}
    assert names == {"loco": ["b", "c"], "cross": ["b/g0", "b/g1", "b/g2"]}


def test_planted_sight_of_the_target_stops_the_run():
    side = table(*rows_of(3, 2))
    rows = side.assign(stored="a", who=side["group"].astype(str), audio_hash=side["utterance"])
    with pytest.raises(ProtocolError, match=r"corpora in training and test: a.*This is a leak"):
        check_no_leak(within(side), rows, sees_target=False)


def test_every_protocol_is_described_on_its_page():
    page = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| ([a-z-]+)[ |]", page, flags=re.MULTILINE)
    assert described == list(PROTOCOLS)


def test_people_who_validate_or_are_tested_are_taken_out_of_training():
    who = {"a/g0": "ann", "a/g1": "bob", "b/g0": "ann", "b/g1": "cem"}
    rows = table(*rows_of(2, 1, prefix="a/"), *source()).assign(person=lambda rows: rows["group"].map(who).astype(str))
    folds = PROTOCOLS["pooled"].folds(rows, inner_rule("all", 3))
    assert folds[0].train.utterances == ("a/g1/000", "b/g1/000")
    assert folds[1].train.utterances == ("a/g0/000", "b/g0/000", "b/g1/000")
    assert [inner.train.utterances for inner in folds[1].inner] == [("b/g1/000",)]


def test_planted_person_under_another_name_stops_the_run():
    evaluation = Fold("t", TrainingSet(("a/1",)), ("b/1",), ())
    ids = ("a/1", "b/1")
    rows = pd.DataFrame(dict.fromkeys(("utterance", "who", "audio_hash"), ids))
    check_no_leak([evaluation], rows)
    with pytest.raises(ProtocolError, match=r"speakers in training and test: ann\. Expected none"):
        check_no_leak([evaluation], rows.assign(person="ann"))
