import dataclasses
import json

import pytest
from tables import groups_of, within

from serbench.errors import ProtocolError
from serbench.grid.plan import AUXILIARY, PlannedCell, check_no_overlap, make_plan
from serbench.grid.request import Recipe
from serbench.protocols import Fold, TrainingSet, Validation
from serbench.store.keys import digest

RECIPE = Recipe(
    classifier="svc",
    revision=1,
    settings=({"kernel": "linear", "C": 1},),
    features="IS09-x",
    scaling="train",
    seed=0,
    emotions=("anger", "neutral"),
    versions={"scikit-learn": "1.9"},
)


def rows_of(table):
    known = {"who": table["group"].astype(str), "audio_hash": "hash " + table["utterance"], "stored": "toy"}
    label = table["utterance"].str.endswith("a").astype(int)
    return table[["utterance"]].assign(label=label, **known).set_index("utterance", drop=False)


def request_of(n, inner="all", recipe=RECIPE):
    table = groups_of(n)
    return PlannedCell(recipe, rows_of(table), tuple(within(table, inner)))


def text_request_of(n, n_texts, inner="all"):
    table = groups_of(n, texts=[f"t{t}" for t in range(n_texts)])
    rows = rows_of(table).assign(said=table["text_group"].tolist())
    return PlannedCell(RECIPE, rows, tuple(within(table, inner, "within-text")))


def jobs_of(*requests):
    return make_plan(requests)[0]


@pytest.mark.parametrize("n", [3, 5, 10])
def test_nested_leave_one_speaker_out_costs_a_model_per_pair_and_one_per_speaker_and_again_for_each_text(n):
    assert len(jobs_of(request_of(n))) == n * (n - 1) // 2 + n
    assert len(jobs_of(text_request_of(n, 4))) == 4 * (n * (n - 1) // 2 + n)


def test_ring_of_four_costs_two_models_per_group_and_one_and_again_for_each_text():
    assert len(jobs_of(request_of(33, inner="4"))) == 3 * 33  # ASED: 561 jobs become 99
    assert len(jobs_of(text_request_of(15, 2, inner="4"))) == 2 * 3 * 15


def test_job_for_a_pair_predicts_both_groups():
    pair = next(job for job in jobs_of(request_of(4)).values() if len(job.train.utterances) == 4)
    assert len(pair.evaluated) == 4
    assert not set(pair.evaluated) & set(pair.train.utterances)


def test_keys_of_jobs_on_one_corpus_are_those_of_earlier_stores():
    """A digest of what was written before corpora met in a job: a store of then is not computed again."""
    assert digest(sorted(jobs_of(request_of(3)))) == "ff5e382f2942c5e1044cc9be"


def test_auxiliary_labels_of_training_rows_make_other_jobs_and_those_of_held_rows_do_not():
    request = request_of(3)

    def jobs_with(**other):
        labels = [other.get(u, "en") for u in request.rows["utterance"]]
        rows = request.rows.assign(**{f"{AUXILIARY}language": labels})
        return jobs_of(dataclasses.replace(request, rows=rows))

    plain, told, other = jobs_of(request), jobs_with(), jobs_with(u0a="de")
    assert not set(plain) & set(told)
    assert {job.json["training"]["auxiliary"]["language"][0] for job in told.values()} == {"en"}
    kept = {key for key, job in told.items() if "u0a" not in job.train.utterances}
    assert set(told) & set(other) == kept
    assert kept


def test_equal_requests_share_their_jobs_and_other_seeds_do_not():
    once = jobs_of(request_of(4))
    assert jobs_of(request_of(4), request_of(4)).keys() == once.keys()
    other = dataclasses.replace(RECIPE, seed=1)
    assert len(jobs_of(request_of(4), request_of(4, recipe=other))) == 2 * len(once)


OTHER = {str: "other", int: 7, tuple: ({"kernel": "rbf"},), dict: {"scikit-learn": "1.8"}}


@pytest.mark.parametrize("name", [axis.name for axis in dataclasses.fields(Recipe)])
def test_key_covers_everything_that_decides_a_prediction(name):
    other = dataclasses.replace(RECIPE, **{name: OTHER[type(getattr(RECIPE, name))]})
    assert not jobs_of(request_of(3)).keys() & jobs_of(request_of(3, recipe=other)).keys()


@pytest.mark.parametrize(("column", "value"), [("label", 0), ("audio_hash", "other audio")])
def test_key_covers_labels_and_audio(column, value):
    request = request_of(3)
    rows = request.rows.copy()
    rows.loc["u0a", column] = value
    other = dataclasses.replace(request, rows=rows)
    assert jobs_of(request).keys() != jobs_of(other).keys()


def test_jobs_are_json():
    for job in jobs_of(request_of(3)).values():
        assert json.loads(json.dumps(job.json)) == job.json


def evaluation(train, test, inner=()):
    return Fold("e", TrainingSet(tuple(train)), tuple(test), tuple(inner))


LEAKS = {
    "speaker in test": (evaluation(["u0a"], ["u0b"]), "speakers in training and test: g00"),
    "speaker in validation": (
        evaluation(["u0a", "u1a"], ["u2a"], [Validation("v", TrainingSet(("u0a",)), ("u0b",))]),
        "e, validation v: speakers in training and test: g00",
    ),
    "test speaker trains the inner model": (
        evaluation(["u0a", "u1a"], ["u2a"], [Validation("v", TrainingSet(("u2b",)), ("u1a",))]),
        "validation v against its test: speakers in training and test: g02",
    ),
    "tuned on the test": (
        evaluation(["u0a", "u1a"], ["u2a"], [Validation("v", TrainingSet(("u0a",)), ("u2b",))]),
        "validation v on its test: speakers in training and test: g02",
    ),
}


@pytest.mark.parametrize(("leaky", "message"), LEAKS.values(), ids=LEAKS)
def test_leak_stops_the_run(leaky, message):
    with pytest.raises(ProtocolError, match=message):
        make_plan([PlannedCell(RECIPE, rows_of(groups_of(3)), (leaky,))])


TEXT_LEAKS = {
    "text in training": (evaluation(["u0a", "u1b"], ["u2b"]), "plan, e: texts in training and test: b"),
    "test text trains the inner model": (
        evaluation(["u0a", "u1a"], ["u2b"], [Validation("v", TrainingSet(("u0b",)), ("u1a",))]),
        "validation v against its test: texts in training and test: b",
    ),
    "tuned on the test text": (
        evaluation(["u0a", "u1a"], ["u2b"], [Validation("v", TrainingSet(("u0a",)), ("u1b",))]),
        "validation v on its test: texts in training and test: b",
    ),
}


@pytest.mark.parametrize(("leaky", "message"), TEXT_LEAKS.values(), ids=TEXT_LEAKS)
def test_text_of_the_test_in_training_or_tuning_stops_a_run_that_holds_out_texts(leaky, message):
    rows = rows_of(groups_of(3))
    make_plan([PlannedCell(RECIPE, rows, (leaky,))])
    with pytest.raises(ProtocolError, match=message):
        make_plan([PlannedCell(RECIPE, rows.assign(said=rows["utterance"].str[-1]), (leaky,))])


def test_validation_may_say_what_its_training_says():
    rows = rows_of(groups_of(3)).assign(said=list("ab") * 3)
    sound = evaluation(["u0a", "u1a"], ["u2b"], [Validation("v", TrainingSet(("u0a",)), ("u1a",))])
    assert len(jobs_of(PlannedCell(RECIPE, rows, (sound,)))) == 2


def test_overlapping_segments_on_both_sides_are_a_leak():
    with pytest.raises(ProtocolError, match=r"plan, g00: overlapping segments apart: u0a and u1a"):
        check_no_overlap(within(groups_of(3)), [("u0a", "u1a")])


def test_same_audio_on_both_sides_is_a_leak():
    rows = rows_of(groups_of(2))
    rows.loc["u1a", "audio_hash"] = rows.loc["u0a", "audio_hash"]
    with pytest.raises(ProtocolError, match=r"recordings in training and test: u0a, u1a"):
        make_plan([PlannedCell(RECIPE, rows, (evaluation(["u0a"], ["u1a"]),))])
