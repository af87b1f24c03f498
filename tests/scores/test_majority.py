"""Votes of pieces, against a loop of its own and against the files of a run."""

import pandas as pd
from hypothesis import assume, given
from hypothesis import strategies as st
from tables import codes_of, made_cell, made_record, truth_of

import serbench
from serbench.scores.metrics import METRICS, confusions
from serbench.scores.predictions import VOTED as NOTE
from serbench.scores.predictions import load_predictions, majority, without_predictions
from serbench.store.results import read_predictions


def cell_of(codes, truth):
    """A cell of pieces with these codes by rule and piece; None where a piece has no features."""
    pieces = list(truth)
    here = [p for p in pieces if all(of[p] is not None for of in codes.values())]
    columns = {"id": pieces, "emotion": list(truth.values()), "speaker": [p[0] for p in pieces]}
    columns |= {"gender": [None for _ in pieces], "present": [p in here for p in pieces]}
    missing = {p: f"no features of {p}" for p in pieces if p not in here}
    fields = {"preprocessing": "segment 1 s", "corpus": "toy"}
    record = made_record(fields, ("a", "b", "c"), notes=(("toy", "a note"),), missing=missing, utterances=columns)
    table = pd.DataFrame({"utterance": here, "truth": [truth[p] for p in here], "who": [p[0] for p in here]})
    return made_cell(record, table, codes)


def by_majority(cell, wholes):
    """Let pieces vote; utterances have their pieces earliest first."""
    return majority(cell, pd.Series({p: whole for whole, pieces in wholes.items() for p in pieces}, dtype=object))


@st.composite
def votes(draw):
    """Utterances with their pieces, earliest first, and what each piece was taken for (None: no features)."""
    n_pieces = draw(st.lists(st.integers(1, 7), min_size=1, max_size=8))
    wholes = {f"s{w}": [f"s{w}#{i}" for i in draw(st.permutations(range(n)))] for w, n in enumerate(n_pieces)}
    code = st.sampled_from([0, 1, 2, None])
    return wholes, {piece: draw(code) for pieces in wholes.values() for piece in pieces}


@given(votes())
def test_most_pieces_win_and_of_equals_the_earliest(given_votes):
    wholes, codes = given_votes
    assume(any(code is not None for code in codes.values()))
    truth = {piece: int(piece[1]) % 3 for piece in codes}
    voted = by_majority(cell_of({"default": codes}, truth), wholes)
    expected = {}
    for whole, pieces in wholes.items():
        best = None
        for i, piece in enumerate(pieces):
            if codes[piece] is None:
                continue
            n = sum(codes[other] == codes[piece] for other in pieces)
            if best is None or n > best[0]:
                best = n, i, codes[piece]
        if best is not None:
            expected[whole] = best[2]
    assert codes_of(voted) == expected
    assert truth_of(voted) == {whole: int(whole[1]) % 3 for whole in expected}
    assert voted.of()["utterance"].tolist() == sorted(expected)
    assert set(voted.record.missing) == set(wholes) - set(expected)
    assert voted.record.utterances["id"] == list(wholes)
    assert voted.record.utterances["present"] == [whole in expected for whole in wholes]


def test_pieces_and_their_record_are_left_as_they_were():
    cell = cell_of({"default": {"a#0": 1, "a#1": None}}, {"a#0": 0, "a#1": 0})
    before = str(cell.record), truth_of(cell)
    voted = by_majority(cell, {"a": ["a#0", "a#1"]})
    assert (str(cell.record), truth_of(cell)) == before
    assert voted.cell["preprocessing"] == voted.record.cell.preprocessing == "segment 1 s, majority"
    assert voted.record.notes == (("toy", "a note"), ("", NOTE))
    assert voted.record.missing == {}


def test_cell_without_result_keeps_its_reason():
    refused = made_record({"preprocessing": "segment 1 s"}, reason="why")
    voted = by_majority(without_predictions(refused, "why", state="refused"), {})
    assert voted.reason == "why"
    assert voted.cell["preprocessing"] == "segment 1 s, majority"


def test_values_of_a_report_are_those_of_a_loop_over_files(make_corpus, workspace):
    """From the pieces' predictions of the report, and (for default) from the jobs, to values of whole utterances."""
    place = workspace(make_corpus(), jobs=1)
    request = serbench.GridRequest("mfcc120", "knn", emotions="anger,happiness,neutral", segment=0.1)
    scores = serbench.run_grid(["toy"], request, place).scores()
    pieces, _ = load_predictions(place.store())
    of_job = {}
    for fold in pieces.record.folds:
        ids, of_settings, _ = read_predictions(place.store().job(fold.job))
        told = dict(zip(ids, of_settings[pieces.record.default].tolist(), strict=True))
        of_job |= {u: told[u] for u in pieces.record.sets[fold.name]}
    assert codes_of(pieces, "default") == of_job
    index = serbench.load_index("toy", place, segment=0.1)
    emotions = sorted(set(index["emotion"]))
    for rule in ("nested", "default", "oracle"):
        table = index.assign(code=index["utterance"].map(codes_of(pieces, rule))).sort_values("start_s")
        truth, prediction = [], []
        for _, of in table.groupby("whole"):
            assert len(of) == 5
            counts = of["code"].value_counts()
            winners = set(counts[counts == counts.max()].index)
            prediction.append(next(code for code in of["code"] if code in winners))
            truth.append(emotions.index(of["emotion"].iloc[0]))
        assert len(truth) == 24
        confusion = confusions(pd.DataFrame({"truth": truth, "prediction": prediction}), n_emotions=3)
        voted = scores[(scores["preprocessing"] == "segment 0.1 s, majority") & (scores["rule"] == rule)]
        values = voted.set_index("metric")["value"]
        for metric in ("uar", "war", "kappa", "macro_f1"):
            assert values[metric] == METRICS[metric](confusion)
