import pytest

from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.tasks import find_task
from serbench.errors import ConfigError, UnknownNameError


@pytest.fixture(scope="module")
def catalogue():
    return load_catalogue()


def toy(catalogue):
    """An entry without targets, genders or dimensions of its own."""
    return catalogue.corpus("emodb").model_copy(update={"name": "toy"})


def test_default_task_is_the_papers_five_emotions(catalogue):
    task = find_task(catalogue, task=None, emotions=None, where=())
    assert task.name == "paper5"
    assert task.emotions == ("anger", "fear", "happiness", "neutral", "sadness")


def test_iemocap4_merges_excitement_into_happiness(catalogue, make_index):
    task = find_task(catalogue, task="iemocap4", emotions=None, where=())
    index = make_index(emotions=("happiness", "excitement", "fear"))
    assert set(task.select(index, toy(catalogue))["emotion"]) == {"happiness"}
    assert len(task.select(index, toy(catalogue))) == 16


def test_emotions_that_spell_a_preset_get_its_name(catalogue):
    given = find_task(catalogue, task=None, emotions="sadness,anger,happiness=excitement+happiness,neutral", where=())
    assert given == find_task(catalogue, task="iemocap4", emotions=None, where=())


def test_where_keeps_only_matching_utterances(catalogue, make_index):
    task = find_task(catalogue, task=None, emotions="anger,neutral", where=("gender=female", "speaker=f1"))
    selected = task.select(make_index(), toy(catalogue))
    assert set(selected["speaker"]) == {"toy/f1"}
    assert task.title == "anger,neutral where gender=female, speaker=f1"


def test_wrong_names_are_suggested(catalogue):
    with pytest.raises(UnknownNameError, match=r"Unknown task 'paper'. Did you mean 'paper5'"):
        find_task(catalogue, task="paper", emotions=None, where=())
    with pytest.raises(UnknownNameError, match=r"Unknown emotion 'angre'. Did you mean 'anger'"):
        find_task(catalogue, task=None, emotions="angre,fear", where=())
    with pytest.raises(UnknownNameError, match=r"Unknown field 'styl'. Did you mean 'style'"):
        find_task(catalogue, task=None, emotions=None, where=("styl=improvised",))


@pytest.mark.parametrize("emotions", ["anger", "anger,anger", "anger,fear=anger"])
def test_fewer_than_two_emotions_or_one_twice_is_an_error(catalogue, emotions):
    with pytest.raises(ConfigError, match=r"at least two emotions, each used once"):
        find_task(catalogue, task=None, emotions=emotions, where=())


def test_malformed_filter_is_an_error(catalogue):
    with pytest.raises(ConfigError, match=r"Expected FIELD=VALUE"):
        find_task(catalogue, task=None, emotions=None, where=("style",))


def test_field_that_the_corpus_lacks_is_an_error(catalogue, make_index):
    task = find_task(catalogue, task=None, emotions="anger,neutral", where=("style=improvised",))
    with pytest.raises(ConfigError, match=r"toy has no 'style'"):
        task.select(make_index(), toy(catalogue))
