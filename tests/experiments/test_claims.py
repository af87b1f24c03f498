"""Verdicts on made-up numbers: a book whose values and intervals are given, without cells."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serbench.experiments.claims import Contrast, Judgement, Value, judge
from serbench.experiments.load import Claim, ClaimTest
from serbench.grid.cells import CELL_COLUMNS
from serbench.scores.statistics import Interval

CORPORA = ["emodb", "emovo", "iemocap", "masc", "savee"]


class GivenBook:
    """Values by (corpus, features, classifier); what is further than `reach` from a bound has a p of 0.01."""

    def __init__(self, values, *, reach=0.05, missing=None, chance=0.2):
        self.cells, self.reach, self.missing, self.chance = values, reach, missing or {}, chance
        self.compared = []

    def values(self, where, metric):
        found = []
        for (corpus, features, classifier), value in self.cells.items():
            fields = dict.fromkeys(CELL_COLUMNS, "")
            fields |= {"corpus": corpus, "features": features, "classifier": classifier, "train": corpus}
            if all(fields.get(name) in values for name, values in where.items()):
                interval = Interval(value - self.reach, value + self.reach)
                found.append(Value(fields, metric, value, interval, self.chance, None))
        return found

    def lacking(self, where, metric):
        return [why for corpus, why in self.missing.items() if corpus in where.get("corpus", ())]

    def contrasts(self, pairs, bounds):
        self.compared.append(len(pairs))
        return [self.contrast(a, b, of) for (a, b), of in zip(pairs, bounds, strict=True)]

    def contrast(self, a, b, bounds):
        gap = a.number - b.number if b else a.number
        tests = tuple((1 if gap > bound else -1, 0.01 if abs(gap - bound) > self.reach else 0.4) for bound in bounds)
        return Contrast(a, b, gap, Interval(gap - self.reach, gap + self.reach), tests)


def claim(**test):
    return Claim(name="a claim", says="A sentence.", source="here", test=ClaimTest(**test))


def verdict(book, **test):
    return judge(claim(**test), book, metric="uar")


def best_on(n):
    return claim(above="others", cells={"features": "IS09", "classifier": "svc"}, by={"corpus": CORPORA}, at_least=n)


def table(gaps):
    """Two rows per corpus: svc on IS09, and a rival that lies `gap` below it."""
    values = {}
    for corpus, gap in gaps.items():
        values[corpus, "IS09", "svc"] = 0.6
        values[corpus, "mfcc", "svc"] = 0.6 - gap
    return values


def verdict_of(gaps, n, **book):
    missing = {corpus: "no such folder" for corpus in CORPORA if corpus not in gaps}
    return judge(best_on(n), GivenBook(table(gaps), missing=missing, **book), metric="war")


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        (dict.fromkeys(CORPORA[:4], 0.1), "supported"),
        ({"emodb": -0.1, "emovo": -0.1}, "contradicted"),
        ({"emodb": 0.1}, "cannot tell"),
        ({"emodb": -0.1}, "cannot tell"),
        (dict.fromkeys(CORPORA, -0.04), "cannot tell"),
    ],
)
def test_best_of_four_of_five_is_decided_once_no_other_corpus_could_turn_it(gaps, expected):
    judgement = verdict_of(gaps, 4)
    assert judgement.verdict == expected
    assert judgement.count("undecided") == sum(abs(gap) < 0.05 for gap in gaps.values())
    assert ("savee: no value, no such folder (missing)" in judgement.why) == (len(gaps) < 5)


def test_words_have_both_values_the_difference_its_interval_and_what_is_missing():
    judgement = verdict_of({"emodb": 0.1}, 4)
    assert "emodb: IS09 0.600, mfcc 0.500: +0.100 [+0.050, +0.150], p 0.01 (holds)" in judgement.why
    assert judgement.why.startswith("must hold on at least 4 of 5, holds on 1: ")
    values = {("emodb", "IS09", "svc"): 0.7, ("emodb", "IS09", "rf"): 0.68, ("emodb", "IS09", "knn"): 0.4}
    ((group, state, words), *_) = judge(best_on(4), GivenBook(values), metric="war").groups
    assert (group, state) == ("emodb", "undecided")  # the nearest is named
    assert words.startswith("svc 0.700, rf 0.680: +0.020")
    book = GivenBook(table({"emodb": 0.1}), missing={"emodb": "rf failed"})
    ((_, state, words), *_) = judge(best_on(4), book, metric="war").groups
    assert (state, "others have no value: rf failed" in words) == ("undecided", True)


def test_the_best_is_tested_in_the_family_of_all_pairs_as_in_table_2():
    values = {("emodb", f, c): 0.5 for f, c in itertools.product(("IS09", "mfcc"), ("svc", "rf", "knn"))}
    book = GivenBook(values)
    judge(best_on(4), book, metric="war")
    assert [n for n in book.compared if n] == [15]  # pairs of six cells; other corpora have none


def test_one_of_many_columns_needs_more_evidence_than_all_of_them():
    """With n of m columns any of m - n + 1 may be the one that holds: the level is shared between them."""
    book = GivenBook(table(dict.fromkeys(CORPORA, 0.1)))
    for n in (5, 4, 1):  # p of 0.01 at the levels 0.05, 0.025 and 0.01
        assert judge(best_on(n), book, metric="war").verdict == "supported"
    few = claim(cells={"features": "IS09"}, above={"features": "mfcc"}, by={"corpus": [*CORPORA, "x"]}, at_least=1)
    assert judge(few, book, metric="war").verdict == "cannot tell"  # 0.0083


@pytest.mark.parametrize(
    ("kind", "margin", "gaps"),
    [
        ("above", 0, {0.1: "supported", -0.1: "contradicted", 0.04: "cannot tell"}),
        ("below", 0, {-0.1: "supported", 0.1: "contradicted", -0.04: "cannot tell"}),
        ("near", 0.06, {0.0: "supported", 0.04: "cannot tell", 0.2: "contradicted"}),
        ("above", 0.06, {0.3: "supported", 0.0: "supported", -0.04: "cannot tell", -0.2: "contradicted"}),
    ],
)
def test_a_side_goes_by_the_interval_of_the_difference_and_its_margin(kind, margin, gaps):
    sides = {"cells": {"features": "IS09"}, kind: {"features": "mfcc"}}
    for gap, expected in gaps.items():
        book = GivenBook(table({"emodb": gap}))
        assert verdict(book, **sides, margin=margin, where={"corpus": "emodb"}).verdict == expected


@pytest.mark.parametrize("lost", ["IS09", "mfcc"])
def test_a_cell_that_lacks_on_either_side_keeps_a_difference_from_holding(lost):
    class Holed(GivenBook):
        def lacking(self, where, metric):
            return [f"{lost}: deleted"] if lost in where.get("features", (lost,)) else []

    books = {
        f"others have no value: {lost}: deleted": Holed(table({"emodb": 0.1})),
        "nothing to compare it with": GivenBook({**table({"emodb": 0.1}), ("emovo", "IS09", "svc"): 0.6}),
    }
    for why, book in books.items():
        judgement = verdict(book, cells={"features": "IS09"}, above={"features": "mfcc"})
        assert (judgement.verdict, why in judgement.why) == ("cannot tell", True)


def test_train_is_not_told_beside_the_corpus_that_it_is():
    values = {("emodb", "IS09", "svc"): 0.7, ("emovo", "IS09", "svc"): 0.5}
    judgement = verdict(GivenBook(values), cells={"corpus": "emodb"}, above={"corpus": "emovo"}, ignoring=["train"])
    assert "emodb 0.700, emovo 0.500: +0.200" in judgement.why


@pytest.mark.parametrize(
    ("side", "margin", "numbers"),
    [
        ("above", 0, {0.2: "supported", 0.58: "cannot tell", 0.9: "contradicted"}),
        ("below", 0, {0.9: "supported", 0.62: "cannot tell", 0.2: "contradicted"}),
        ("near", 0.06, {0.6: "supported", 0.64: "cannot tell", 0.2: "contradicted"}),
    ],
)
def test_chance_and_a_number_are_sides_that_the_whole_interval_lies_on(side, margin, numbers):
    cells = {"corpus": "emodb", "features": "IS09"}
    for number, expected in numbers.items():
        for target, named in (("chance", f"chance {number:.3f}"), (number, f"{number:g}")):
            book = GivenBook(table({"emodb": 0.1}), chance=number)
            judgement = verdict(book, cells=cells, **{side: target}, margin=margin)
            assert judgement.verdict == expected
            assert f"0.600 [0.550, 0.650] against {named}, p " in judgement.why


def test_cells_are_held_against_those_that_agree_in_all_else():
    places = itertools.product(CORPORA[:2], ("IS09", "mfcc"), ("svc",))
    book = GivenBook(dict(zip(places, (9, 8, 1, 0), strict=True)))
    assert verdict(book, cells={"features": "IS09"}, above={"features": "mfcc"}).verdict == "supported"
    assert book.compared == [2]


def test_what_needs_a_network_or_has_no_cell_is_not_judged():
    listed = Claim(name="a claim", says="A sentence.", source="here", needs="neural network")
    assert judge(listed, GivenBook({}), metric="uar") == Judgement("not tested here", "it needs a neural network")
    none = verdict(GivenBook({}), cells={"features": "IS09"}, above={"features": "mfcc"})
    assert (none.verdict, none.why) == ("cannot tell", "no value, not run (missing)")
    book = GivenBook(table({"emodb": 0.1}), chance=None)
    none = verdict(book, cells={"corpus": "emodb", "features": "IS09"}, above="chance")
    assert (none.verdict, "chance is not defined" in none.why) == ("cannot tell", True)


gaps = st.dictionaries(st.sampled_from(CORPORA), st.sampled_from([-0.1, -0.01, 0.01, 0.1]))


@given(gaps, st.integers(1, 5))
def test_no_verdict_could_turn_whatever_the_missing_corpora_would_say(found, n):
    now = verdict_of(found, n).verdict if found else "cannot tell"
    open_ = [corpus for corpus in CORPORA if abs(found.get(corpus, 0.0)) < 0.05]
    could_be = {verdict_of({**found, **dict.fromkeys(open_, gap)}, n).verdict for gap in (-0.1, 0.1)}
    assert (now == "cannot tell") == (could_be == {"supported", "contradicted"})
    assert now in {*could_be, "cannot tell"}
