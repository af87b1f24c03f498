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


def toy(catalogue):
    """An entry without targets, genders or dimensions of its own."""
    return catalogue.corpus("emodb").model_copy(update={"name": "toy"})


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
    task = find_task(catalogue, task=None, emotions="anger,neutral", where=("style=improvised",))
    with pytest.raises(ConfigError, match=r"toy has no 'style'"):
        task.select(make_index(), toy(catalogue))


@pytest.mark.parametrize(
    ("emotions", "name"),
    [
        (("anger", "happiness", "neutral"), "anger,happiness,neutral"),
        (("anger", "fear", "happiness", "neutral", "sadness"), "paper5"),
    ],
)
def test_available_is_the_task_of_all_emotions_that_a_corpus_has(catalogue, make_index, emotions, name):
    task = find_task(catalogue, task="available", emotions=None, where=("gender=female",))
    index = make_index(emotions=emotions)
    own = task.for_index(index, toy(catalogue))
    assert own == find_task(catalogue, task=None, emotions=",".join(emotions), where=("gender=female",))
    assert own.title == f"{name} where gender=female"
    assert own.for_index(make_index(emotions=("anger", "calm")), toy(catalogue)) == own


def test_available_counts_no_emotion_that_only_copies_of_other_speakers_have(catalogue, make_index):
    task = find_task(catalogue, task="available", emotions=None, where=())
    index = make_index()
    index.loc[index["emotion"] == "neutral", "duplicate"] = "same audio as another"
    assert task.for_index(index, toy(catalogue)).title == "anger,happiness"


def target_task(catalogue, target, where=()):
    return find_task(catalogue, task=None, emotions=None, where=where, target=target)


@pytest.mark.parametrize("target", sorted(TARGET_LABELS))
def test_labels_of_a_target_are_known_without_an_index(catalogue, target):
    task = target_task(catalogue, target, where=("gender=female",))
    assert task.emotions == TARGET_LABELS[target]
    assert task.target == target
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
def test_emotions_are_mapped_to_arousal_and_valence_as_cited(catalogue, make_index, target, places):
    selected = target_task(catalogue, target).select(make_index(emotions=EMOTIONS), toy(catalogue))
    for label, emotions in places.items():
        assert set(selected["raw_label"][selected["emotion"] == label]) == emotions
    assert "contempt" not in set(selected["raw_label"])


def test_an_emotion_without_a_place_is_counted_in_a_note(catalogue, make_index):
    index = make_index(emotions=("anger", "contempt", "neutral"))
    (note,) = target_task(catalogue, "arousal").notes(index, toy(catalogue))
    assert note == "8 utterances have no label: emotions without a place (contempt) or no emotion"
    assert target_task(catalogue, "gender").notes(index, toy(catalogue)) == []


@given(values=st.lists(st.one_of(st.none(), st.floats(0, 6), st.sampled_from([1.0, 2.5, 5.0])), min_size=1))
def test_ranges_of_an_entry_label_its_dimension(catalogue, values):
    index = pd.DataFrame({"utterance": [f"iemocap/{i}" for i in range(len(values))], "corpus": "iemocap"})
    index["arousal"] = pd.array(values, dtype="float64")
    index["emotion"] = "anger"  # whose arousal is high by the map: ranges come first
    task, iemocap = target_task(catalogue, "arousal"), catalogue.corpus("iemocap")
    cut = pd.cut(
        index["arousal"], [1, 2.5, 5], labels=["low", "high"], include_lowest=True
    )  # (1, 2.5] but for 1 itself
    expected = cut.dropna().astype(str)
    selected = task.select(index, iemocap)
    assert selected["emotion"].to_dict() == expected.to_dict()
    n = len(values) - len(expected)
    assert task.notes(index, iemocap) == (
        [f"{n} utterances have no label: arousal in none of low [1, 2.5], high (2.5, 5]"] if n else []
    )


def test_a_corpus_without_ranges_and_emotions_says_what_to_add(catalogue, make_index):
    bare = catalogue.corpus("recola").model_copy(update={"targets": {}})
    with pytest.raises(
        CorpusError, match=r"recola.targets: neither ranges of arousal nor emotions.*Add `targets: \{arousal"
    ):
        target_task(catalogue, "arousal").select(make_index(), bare)


def test_gender_is_that_of_women_and_men(catalogue, make_index):
    index = make_index(speakers=("f1", "m1", "x1"))
    selected = target_task(catalogue, "gender").select(index, toy(catalogue))
    assert selected["emotion"].tolist() == selected["gender"].tolist()
    assert set(selected["speaker"]) == {"toy/f1", "toy/m1"}
    with pytest.raises(CorpusError, match=r"toy.genders: nothing gives the speakers' gender.*list the speakers"):
        target_task(catalogue, "gender").select(index.drop(columns="gender"), toy(catalogue))


def test_languages_are_those_of_the_corpora_without_regions(catalogue, make_index):
    corpora = [catalogue.corpus(name) for name in ("savee", "emodb", "iemocap")]
    task = target_task(catalogue, "language")
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
def test_what_is_no_task_is_refused_with_the_reason(catalogue, asked, message):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        find_task(catalogue, **{"task": None, "emotions": None, "where": (), **asked})


def test_emotions_spelt_as_a_target_are_not_called_by_its_name(catalogue):
    """The name of the target stands for ranges where a corpus has some; emotions given do not."""
    spelt = ",".join(catalogue.tasks["arousal"].emotions)
    assert find_task(catalogue, task=None, emotions=spelt, where=()).name.startswith("high=")


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


def test_shipped_tasks_and_lists_of_emotions_need_no_map(catalogue):
    for name in catalogue.tasks:
        of_target = {"target": name} if name in DIMENSION_TARGETS else {"task": name}
        assert find_task(catalogue, **{"task": None, "emotions": None, "where": (), **of_target}).map == ""
    assert find_task(catalogue, task=None, emotions="anger,joy=happiness+calm", where=()).map == ""


def test_overridden_map_of_arousal_is_part_of_the_task(tmp_path):
    (tmp_path / "corpora.yaml").write_text("tasks: {arousal: [high=anger+fear, low=sadness]}\n")
    catalogue = load_catalogue(tmp_path / "corpora.yaml")
    task = find_task(catalogue, task=None, emotions=None, where=(), target="arousal")
    assert task.map == "high=anger+fear,low=sadness"


@pytest.mark.parametrize(
    ("tag", "subtag", "group"),
    [("en-US", "en", "Germanic"), ("zh-Hans-CN", "zh", "Sinitic"), ("EN", "en", "Germanic"), ("und", "und", None)],
)
def test_languages_are_known_whatever_their_region(catalogue, tag, subtag, group):
    assert (primary(tag), family(tag)) == (subtag, group)
    assert all(family(corpus.language) for corpus in catalogue.corpora.values())
