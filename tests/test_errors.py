import pickle

import pytest

from serbench.errors import (
    AudioError,
    ConfigError,
    CorpusError,
    DiskError,
    Fault,
    FeatureError,
    SerbenchError,
    UnknownNameError,
    did_you_mean,
)


def test_message_says_where_found_expected_and_what_to_do():
    error = FeatureError("my.csv", "no column 'utterance'", "an utterance column", "Name it so")
    assert str(error) == "my.csv: no column 'utterance'. Expected an utterance column. Name it so."


def test_unknown_name_suggests_across_case_or_only_lists():
    sets = ["IS09", "eGeMAPSv02", "ComParE_2016"]
    told = "Unknown feature set 'egemaps'. Did you mean 'eGeMAPSv02'? Known: ComParE_2016, IS09, eGeMAPSv02."
    assert str(UnknownNameError("feature set", "egemaps", sets)) == told
    assert str(UnknownNameError("corpus", "zzzz", ["emodb"])) == "Unknown corpus 'zzzz'. Known: emodb."


def test_other_words_of_the_field_lead_to_the_known_name():
    emotions = ["anger", "boredom", "happiness", "sadness"]
    assert did_you_mean("Joy", emotions) == "Did you mean 'happiness'?"
    assert did_you_mean("svm", ["rf", "svc", "linear-svc"]) == "Did you mean 'svc'?"
    assert did_you_mean("joy", ["joyful"]) == "Did you mean 'joyful'?"


def test_all_faults_are_in_one_message():
    error = ConfigError([Fault("a.yaml: x", "one"), Fault("a.yaml: y", "two", "three")])
    assert str(error) == "2 faults:\n  a.yaml: x: one.\n  a.yaml: y: two. Expected three."


@pytest.mark.parametrize(
    "error",
    [
        AudioError("a.wav", "cut short"),
        CorpusError("emodb", "no recordings"),
        CorpusError([Fault("emodb", "no recordings"), Fault("tess", "no recordings")]),
        UnknownNameError("corpus", "emodv", ["emodb"]),
        DiskError("jobs", "written", OSError(28, "No space left on device")),
    ],
)
def test_errors_survive_the_way_between_processes(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert isinstance(back, SerbenchError)
