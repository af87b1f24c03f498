import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import serbench
from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.entry import DIMENSION_TARGETS, EMOTIONS, TARGET_LABELS
from serbench.corpora.tasks import family, find_task, primary
from serbench.errors import ConfigError, CorpusError, ProtocolError, UnknownNameError
from serbench.scores.predictions import load_predictions


@pytest.fixture(scope="module")
def catalogue():
    return load_catalogue()


@pytest.fixture(scope="module")
def toy(catalogue):
    """An entry without targets, genders or dimensions of its own."""
    return catalogue.corpus("emodb").model_copy(update={"name": "toy"})


@pytest.fixture(scope="module")
def find(catalogue):
    """Find a task by what is asked for."""
    return lambda **asked: find_task(catalogue, **{"task": None, "emotions": None, "where": (), **asked})


def test_default_task_is_the_papers_five_emotions_and_one_task_for_all_corpora(find, catalogue):
    assert find().name == "paper5"
    assert find().emotions == ("anger", "fear", "happiness", "neutral", "sadness")
    for task in (find(), find(target="arousal")):
        assert task.for_corpora([catalogue.corpus("savee")]) == task


def test_iemocap4_merges_excitement_into_happiness_by_name_or_spelt(find, toy, make_index):
    task = find(task="iemocap4")
    selected = task.select(make_index(emotions=("happiness", "excitement", "fear")), toy)
    assert selected["emotion"].tolist() == ["happiness"] * 16
    assert task == find(emotions="sadness,anger,happiness=excitement+happiness,neutral")


def test_where_keeps_only_matching_utterances(find, toy, make_index):
    task = find(emotions="anger,neutral", where=("gender=female", "speaker=f1"))
    assert set(task.select(make_index(), toy)["speaker"]) == {"toy/f1"}
    assert task.title == "anger,neutral where gender=female, speaker=f1"
    with pytest.raises(ConfigError, match=r"toy has no 'style'"):
        find(emotions="anger,neutral", where=("style=improvised",)).select(make_index(), toy)
    assert set(find(target="valence", where=("speaker=f1",)).select(make_index(), toy)["speaker"]) == {"toy/f1"}


@pytest.mark.parametrize(
    ("emotions", "name"),
    [
        (("anger", "happiness", "neutral"), "anger,happiness,neutral"),
        (("anger", "fear", "happiness", "neutral", "sadness"), "paper5"),
    ],
)
def test_available_is_the_task_of_all_emotions_that_a_corpus_has(find, toy, make_index, emotions, name):
    index = make_index(emotions=emotions)
    own = find(task="available", where=("gender=female",)).for_index(index, toy)
    assert own == find(emotions=",".join(emotions), where=("gender=female",))
    assert own.title == f"{name} where gender=female"
    assert own.for_index(make_index(emotions=("anger", "calm")), toy) == own
    index.loc[index["emotion"] == "neutral", "duplicate"] = "same audio as another"  # speaker's: that is no emotion
    assert find(task="available").for_index(index, toy).emotions == tuple(e for e in emotions if e != "neutral")


@pytest.mark.parametrize("target", sorted(TARGET_LABELS))
def test_labels_of_a_target_are_known_without_an_index(find, target):
    task = find(target=target, where=("gender=female",))
    assert (task.emotions, task.target) == (TARGET_LABELS[target], target)
    assert task.title == f"{target} where gender=female"


# Table 1 of Schuller et al. (2010) for EmoDB and eNTERFACE, joy being happiness; then what Russell's circumplex adds.
HIGH = {"anger", "fear", "happiness", "surprise"} | {"excitement", "frustration"}
LOW = {"boredom", "disgust", "neutral", "sadness"} | {"calm"}
NEGATIVE = {"anger", "boredom", "disgust", "fear", "sadness"} | {"frustration"}
POSITIVE = {"happiness", "neutral", "surprise"} | {"calm", "excitement"}


@pytest.mark.parametrize(
    ("target", "places"),
    [("arousal", {"high": HIGH, "low": LOW}), ("valence", {"negative": NEGATIVE, "positive": POSITIVE})],
)
def test_emotions_are_mapped_to_arousal_and_valence_as_cited(find, toy, make_index, target, places):
    selected = find(target=target).select(make_index(emotions=EMOTIONS), toy)
    for label, emotions in places.items():
        assert set(selected["raw_label"][selected["emotion"] == label]) == emotions
    assert "contempt" not in set(selected["raw_label"])


def test_an_emotion_without_a_place_is_counted_in_a_note(find, toy, make_index):
    index = make_index(emotions=("anger", "contempt", "neutral"))
    (note,) = find(target="arousal").notes(index, toy)
    assert note == "8 utterances have no label: emotions without a place (contempt) or no emotion"
    assert find(target="gender").notes(index, toy) == []


@given(values=st.lists(st.one_of(st.none(), st.floats(0, 6), st.sampled_from([1.0, 2.5, 5.0])), min_size=1))
def test_ranges_of_an_entry_label_its_dimension(catalogue, find, values):
    index = pd.DataFrame({"utterance": [f"iemocap/{i}" for i in range(len(values))], "corpus": "iemocap"})
    index["arousal"] = pd.array(values, dtype="float64")
    index["emotion"] = "anger"  # whose arousal is high by the map: ranges come first
    task, iemocap = find(target="arousal"), catalogue.corpus("iemocap")
    expected = pd.cut(index["arousal"], [1, 2.5, 5], labels=["low", "high"], include_lowest=True).dropna().astype(str)
    assert task.select(index, iemocap)["emotion"].to_dict() == expected.to_dict()
    n = len(values) - len(expected)
    told = [f"{n} utterances have no label: arousal in none of low [1, 2.5], high (2.5, 5]"]
    assert task.notes(index, iemocap) == (told if n else [])


def test_a_corpus_without_ranges_and_emotions_says_what_to_add(catalogue, find, make_index):
    bare = catalogue.corpus("recola").model_copy(update={"targets": {}})
    message = r"recola.targets: neither ranges of arousal nor emotions.*Add `targets: \{arousal"
    with pytest.raises(CorpusError, match=message):
        find(target="arousal").select(make_index(), bare)


def test_gender_is_that_of_women_and_men(find, toy, make_index):
    index = make_index(speakers=("f1", "m1", "x1"))
    selected = find(target="gender").select(index, toy)
    assert selected["emotion"].tolist() == selected["gender"].tolist()
    assert set(selected["speaker"]) == {"toy/f1", "toy/m1"}
    with pytest.raises(CorpusError, match=r"toy.genders: nothing gives the speakers' gender.*list the speakers"):
        find(target="gender").select(index.drop(columns="gender"), toy)


def test_languages_are_those_of_the_corpora_without_regions(catalogue, find, make_index):
    corpora = [catalogue.corpus(name) for name in ("savee", "emodb", "iemocap")]
    task = find(target="language")
    assert task.emotions == ()
    task = task.for_corpora(corpora)
    assert task.emotions == ("de", "en")
    assert set(task.select(make_index(), catalogue.corpus("iemocap"))["emotion"]) == {"en"}
    own = make_index().assign(language=["de-AT", None, "fr"] * 8)
    assert task.select(own, catalogue.corpus("savee"))["emotion"].tolist() == ["de", "en"] * 8
    with pytest.raises(ProtocolError, match=r"corpora of one language \(en\). Expected two or more"):
        task.for_corpora([catalogue.corpus("savee"), catalogue.corpus("iemocap")])


REFUSED = {
    "an unknown task": ({"task": "paper"}, r"Unknown task 'paper'. Did you mean 'paper5'"),
    "an unknown emotion": ({"emotions": "angre,fear"}, r"Unknown emotion 'angre'. Did you mean 'anger'"),
    "an unknown field": ({"where": ("styl=improvised",)}, r"Unknown field 'styl'. Did you mean 'style'"),
    "an unknown target": ({"target": "arousel"}, r"Unknown target 'arousel'. Did you mean 'arousal'"),
    "no value": ({"where": ("style",)}, r"--where: 'style'. Expected FIELD=VALUE"),
    "one emotion": ({"emotions": "anger"}, r"at least two emotions, each used once"),
    "an emotion twice": ({"emotions": "anger,anger"}, r"at least two emotions, each used once"),
    "an emotion in two labels": ({"emotions": "anger,fear=anger"}, r"at least two emotions, each used once"),
    "target and emotions": (
        {"emotions": "anger,fear", "target": "arousal"},
        r"--target: given together with --emotions",
    ),
    "target and task": ({"task": "big6", "target": "arousal"}, r"--target: given together with --task"),
    "a target as a task": ({"task": "arousal"}, r"--task arousal: a target.*Use --target arousal"),
    "the speaker": ({"target": "speaker"}, r"--target speaker: folds that share no speaker cannot test it"),
}


@pytest.mark.parametrize(("asked", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_task_is_refused_with_the_reason(find, asked, message):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        find(**asked)


def test_emotions_spelt_as_a_target_are_not_called_by_its_name(catalogue, find):
    """The name of the target stands for ranges where a corpus has some; emotions given do not."""
    assert find(emotions=",".join(catalogue.tasks["arousal"].emotions)).name.startswith("high=")


OWN = "tasks: {mine: [anger, happiness=happiness+fear, neutral]}\n"
OTHER = "tasks: {mine: [anger=anger+fear, happiness, neutral]}\n"


def test_two_definitions_of_one_task_are_two_tasks(make_corpus, make_features, workspace, tmp_path):
    for name in ("aa", "bb"):
        path = make_corpus(name=name, emotions=("anger", "fear", "happiness", "neutral"), seed=10_000 * int(name, 16))
    corpora, place = path.read_text(), workspace(path)
    whole = pd.concat([serbench.load_index(name, place) for name in ("aa", "bb")], ignore_index=True)
    make_features(whole).to_csv(tmp_path / "blobs.csv", index=False)
    asked = serbench.GridRequest(features=str(tmp_path / "blobs.csv"), classifiers="knn", task="mine")
    for name, tasks in (("aa", OWN), ("bb", OTHER)):
        path.write_text(corpora + tasks)
        assert not serbench.run_grid([name], asked, place).refused

    report = serbench.make_report(place)
    titles = {table.title.partition(": within, ")[2]: table.header[2:] for table in report.of("table2-uar")}
    assert titles == {
        "mine (anger, happiness=fear+happiness, neutral), scaling train, inner auto, seed 0": ("aa",),
        "mine (anger=anger+fear, happiness, neutral), scaling train, inner auto, seed 0": ("bb",),
    }
    made = report.provenance["cells"].values()
    maps = {"anger,happiness=fear+happiness,neutral", "anger=anger+fear,happiness,neutral"}
    assert {cell["task_map"] for cell in made} == maps

    assert not serbench.run_grid(["aa"], asked, place).refused  # by the second definition; both of its cells are kept
    cells = load_predictions(place.store())
    assert sorted((c.cell["corpus"], c.cell["map"], bool(c.with_values)) for c in cells) == [
        ("aa", "anger,happiness=fear+happiness,neutral", True),
        ("aa", "anger=anger+fear,happiness,neutral", True),
        ("bb", "anger=anger+fear,happiness,neutral", True),
    ]


def test_shipped_tasks_and_lists_of_emotions_need_no_map_and_an_overridden_one_is_part_of_the_task(
    catalogue, find, tmp_path
):
    for name in catalogue.tasks:
        assert find(**{"target" if name in DIMENSION_TARGETS else "task": name}).map == ""
    assert find(emotions="anger,joy=happiness+calm").map == ""
    (tmp_path / "corpora.yaml").write_text("tasks: {arousal: [high=anger+fear, low=sadness]}\n")
    own = load_catalogue(tmp_path / "corpora.yaml")
    assert find_task(own, task=None, emotions=None, where=(), target="arousal").map == "high=anger+fear,low=sadness"


@pytest.mark.parametrize(
    ("tag", "subtag", "group"),
    [("en-US", "en", "Germanic"), ("zh-Hans-CN", "zh", "Sinitic"), ("EN", "en", "Germanic"), ("und", "und", None)],
)
def test_languages_are_known_whatever_their_region(catalogue, tag, subtag, group):
    assert (primary(tag), family(tag)) == (subtag, group)
    assert all(family(corpus.language) for corpus in catalogue.corpora.values())
