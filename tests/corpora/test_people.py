import pandas as pd
import pytest

from serbench.corpora.people import check_tested_people, is_copy_of_earlier, one_person_each, with_people
from serbench.errors import ProtocolError


@pytest.fixture
def corpus_named(make_corpus, workspace):
    entry = workspace(make_corpus()).catalogue().corpus("toy")
    return lambda name: entry.model_copy(update={"name": name})


@pytest.fixture
def spoken(make_index, corpus_named):
    """Utterances of a corpus whose recordings have the hashes given, in the order of their names."""

    def make(corpus, hashes, *, namespace="", speakers=("f1", "m1")):
        index = make_index(corpus=corpus, speakers=speakers, takes=1, emotions=("anger",))
        return with_people(index.assign(audio_hash=list(hashes)), corpus_named(corpus), namespace=namespace)

    return make


def test_speakers_of_one_name_are_one_person_in_corpora_that_share_speakers(spoken):
    rows = one_person_each(pd.concat([spoken("aa", "xy"), spoken("bb", "zw", namespace="aa"), spoken("cc", "uv")]))
    assert rows["who"].tolist() == ["aa/f1", "aa/m1", "bb/f1", "bb/m1", "cc/f1", "cc/m1"]
    assert rows["person"].tolist() == ["aa/f1", "aa/m1", "aa/f1", "aa/m1", "cc/f1", "cc/m1"]


def test_a_recording_shows_that_two_names_are_one_person_and_the_copy_is_marked(spoken):
    rows = one_person_each(pd.concat([spoken("aa", "xy"), spoken("bb", "zx", namespace="aa", speakers=("g1", "g2"))]))
    assert rows["person"].tolist() == ["aa/f1", "aa/m1", "aa/g1", "aa/f1"]
    assert is_copy_of_earlier(rows).tolist() == [False, False, False, True]
    check_tested_people(rows[:3])
    with pytest.raises(ProtocolError, match=r"one person under several names: aa/f1 = bb/g2"):
        check_tested_people(rows)


def test_shared_recordings_without_a_declaration_are_refused(spoken):
    with pytest.raises(ProtocolError, match=r"1 recordings are in more than one corpus \(aa/f1.*bb.*shares_speakers"):
        one_person_each(pd.concat([spoken("aa", "xy"), spoken("bb", "xz")]))
