import pandas as pd
import pytest

import serbench


def test_a_notebook_needs_one_call_for_each_thing(make_corpus, workspace):
    place = workspace(make_corpus(emotions=("anger", "fear", "happiness", "neutral", "sadness")), jobs=1)
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


HEAD = "new:\n  title: New\n  language: en\n  licence: CC0-1.0\n  root: new\n  audio: '**/*.wav'\n"
EMOTIONS = "  emotions: {ang: anger, neu: neutral}\n"
SOURCES = {
    "path": "  labels:\n    from: path\n    pattern: '(?P<speaker>s\\d)_(?P<emotion>[a-z]+)_\\d\\.wav$'\n",
    "table": "  labels:\n    from: table\n    file: labels.csv\n"
    "    columns: {file: name, speaker: who, emotion: how}\n    path: audio/{file}.wav\n",
    "lines": "  labels:\n    from: lines\n    files: '*.txt'\n"
    "    pattern: '^(?P<turn>(?P<number>\\d)\\S+) = (?P<emotion>\\w+)'\n"
    "    path: audio/s{number}_{emotion}_{turn}.wav\n"
    "  compose: {speaker: 's{number}'}\n",
}


@pytest.mark.parametrize("source", SOURCES)
def test_corpus_never_heard_of_works_from_a_yaml_block_alone(source, tmp_path, write_wav):
    rows, lines = ["name,who,how"], []
    for i in range(1, 4):
        for emotion in ("ang", "neu"):
            for take in range(3):
                turn = f"{i}x{take}" if source == "lines" else str(take)
                write_wav(tmp_path / "new" / "audio" / f"s{i}_{emotion}_{turn}.wav", seed=10 * i + take)
                rows.append(f"s{i}_{emotion}_{turn},s{i},{emotion}")
                lines.append(f"{turn} = {emotion}")
    if source == "table":
        (tmp_path / "new" / "labels.csv").write_text("\n".join(rows))
    if source == "lines":
        (tmp_path / "new" / "labels.txt").write_text("\n".join(["# turn = emotion", *lines]))
    (tmp_path / "corpora.yaml").write_text(HEAD + SOURCES[source] + EMOTIONS)
    place = serbench.Workspace(results=tmp_path / "results", corpora_file=tmp_path / "corpora.yaml", jobs=1)
    request = serbench.GridRequest(features=("mfcc",), classifiers=("knn",), emotions="anger,neutral")
    scores = serbench.run_grid(["new"], request, place).scores()
    nested = scores[(scores["rule"] == "nested") & (scores["metric"] == "uar")].iloc[0]
    assert (nested["n_utterances"], nested["n_speakers"]) == (18, 3)
    assert 0 <= nested["value"] <= 1


def test_scores_of_a_grid_are_its_own_and_absent_emotions_are_refused(make_corpus, make_features, workspace, tmp_path):
    place = workspace(make_corpus(takes=3), jobs=1)
    make_features(serbench.load_index("toy", place)).to_csv(tmp_path / "blobs.csv", index=False)
    given = {"features": str(tmp_path / "blobs.csv"), "emotions": "anger,happiness,neutral"}
    serbench.run_grid(["toy"], serbench.GridRequest(classifiers="knn", **given), place)
    result = serbench.run_grid(["toy"], serbench.GridRequest(classifiers="dummy", **given), place)
    assert set(result.scores()["classifier"]) == {"dummy"}
    assert set(serbench.load_scores(place)["classifier"]) == {"dummy", "knn"}
    told = r"no utterances of fear, sadness.*Use --task available or --emotions anger,happiness,neutral"
    with pytest.raises(serbench.SerbenchError, match=told):
        serbench.list_folds("toy", serbench.GridRequest(), place)
