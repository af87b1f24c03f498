import pandas as pd

import serbench


def test_a_notebook_needs_one_call_for_each_thing(make_corpus, workspace):
    place = workspace(make_corpus(emotions=("anger", "fear", "happiness", "neutral", "sadness")))
    index = serbench.load_index("toy", place)
    assert len(index) == 40
    features = serbench.load_features("toy", "mfcc", place)
    assert features.shape == (40, 156)
    assert features.index.tolist() == index["utterance"].tolist()
    request = serbench.GridRequest(features=("mfcc",), classifiers=("knn",))
    result = serbench.run_grid(["toy"], request, place)
    assert not result.refused
    pd.testing.assert_frame_equal(result.scores(), serbench.load_scores(place))
    folds = serbench.list_folds("toy", request, place)
    assert folds["fold"].nunique() == 4


def test_corpora_on_disk_are_told_from_those_that_are_not(make_corpus, workspace, monkeypatch):
    monkeypatch.delenv("SERBENCH_DATA", raising=False)
    corpora = serbench.list_corpora(workspace(make_corpus()))
    assert corpora["toy"][1] is None
    assert corpora["emodb"][1] == "SERBENCH_DATA is not set"
