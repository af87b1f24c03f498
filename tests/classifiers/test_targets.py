"""Targets beside the emotion, from synthetic trees of the corpora to the scores."""

import numpy as np
import pytest
from trees import write_iemocap, write_recola

import serbench
from serbench import audit_corpora
from serbench.corpora.index import index_fingerprint


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Small trees of IEMOCAP and RECOLA where the catalogue looks for them."""
    root = tmp_path_factory.mktemp("trees")
    turns = {"neu": 3, "ang": 2, "sad": 2, "hap": 1, "exc": 1, "xxx": 1}
    write_iemocap(root / "iemocap", turns=turns, duration_s=0.2)
    write_recola(root / "recola", people=[f"P{n}" for n in range(16, 26)], utterances=4, duration_s=0.2, rate=8000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERBENCH_DATA", str(root))
        yield root


@pytest.fixture
def plan(trees):
    """Plan a grid of the trees with one cheap classifier, and extract what it needs; no fits."""

    def planned(corpora, **request):
        asked = serbench.GridRequest(features="mfcc", classifiers="logistic", **request)
        return serbench.plan_grid(corpora, asked, serbench.Workspace(trees / "results", partial=True, jobs=1))

    return planned


def truth_of(result, corpus):
    (record,) = (c for c in result.plan.cells if c.cell.corpus == corpus)
    return dict(zip(record.utterances["id"], record.utterances["emotion"], strict=True))


@pytest.mark.parametrize(("target", "low", "high"), [("arousal", "low", "high"), ("valence", "negative", "positive")])
def test_dimensions_of_iemocap_and_recola_are_cut_into_two_classes(plan, trees, target, low, high):
    result = plan(["iemocap", "recola"], target=target)
    assert result.refused == {}
    for corpus, edge in (("iemocap", 2.5), ("recola", 0.0)):
        index = serbench.load_index(corpus, serbench.Workspace(trees / "results", partial=True)).set_index("utterance")
        expected = np.where(index[target] <= edge, low, high)
        assert truth_of(result, corpus) == dict(zip(index.index, expected, strict=True))


def test_arousal_of_one_corpus_is_predicted_from_ratings_of_the_other(plan):
    result = serbench.run_planned_grid(plan(["iemocap", "recola"], target="arousal", protocol="cross", inner="none"))
    assert result.refused == {}
    assert {label for c in result.plan.cells for label in c.utterances["emotion"]} == {"high", "low"}
    told = result.scores().query("protocol == 'cross' and metric == 'uar' and rule == 'default'")
    assert set(zip(told["train"], told["corpus"], strict=True)) == {("iemocap", "recola"), ("recola", "iemocap")}
    assert told["value"].min() > 0.5
    assert set(told["task"]) == {"arousal"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "protocol", "least"),
    [("arousal", "within", 0.6), ("valence", "within", 0.6), ("gender", "within", 0.8), ("language", "pooled", 0.5)],
)
def test_targets_are_predicted_with_settings_chosen_by_inner_validation(plan, target, protocol, least):
    """The tones of the trees follow both dimensions, an octave lies between the genders; chance is 0.5."""
    result = serbench.run_planned_grid(plan(["iemocap", "recola"], target=target, protocol=protocol))
    assert not result.failed
    uar = result.scores().query("metric == 'uar' and rule == 'nested'").set_index("corpus")["value"].dropna()
    tested = {"gender": {"iemocap"}, "language": {"iemocap+recola"}}.get(target, {"iemocap", "recola"})
    assert set(uar.index) == tested
    assert uar.min() > least


def test_folds_of_recola_are_the_five_of_its_paper_and_balanced_in_sex_where_a_user_says_who_is_who(plan, trees):
    (cell,) = plan(["recola"], target="arousal").plan.cells
    assert len(cell.folds) == 5
    people = [f"P{n}" for n in range(16, 26)]
    genders = f"{{female: [{', '.join(people[:5])}], male: [{', '.join(people[5:])}]}}"
    (trees / "mine.yaml").write_text(f"recola:\n  genders: {genders}\n")
    workspace = serbench.Workspace(trees / "mine", trees / "mine.yaml", partial=True)
    folds = serbench.list_folds("recola", serbench.GridRequest(target="valence"), workspace)
    assert set(folds["emotion"]) == {"negative", "positive"}
    women = folds["speaker"].isin({f"recola/{person}" for person in people[:5]})
    assert folds["speaker"].groupby(folds["fold"]).nunique().tolist() == [2] * 5
    assert folds["speaker"][women].groupby(folds["fold"][women]).nunique().tolist() == [1] * 5


def test_a_corpus_of_dimensions_is_audited_by_its_first_target(trees):
    (audit,) = audit_corpora(["recola"], serbench.Workspace(trees / "results", partial=True))
    assert [finding for finding in audit.findings if finding.kind == "folds"] == []  # tones look like copies, too
    assert audit.baseline is not None
    assert audit.baseline.emotions == ("high", "low")


def test_gender_is_a_target_where_it_is_known_and_no_target_for_scaling_by_speaker(plan):
    result = plan(["iemocap", "recola"], target="gender")
    assert set(truth_of(result, "iemocap").values()) == {"female", "male"}
    (reason,) = result.refused.values()
    assert reason.startswith("recola.genders: nothing gives the speakers' gender")
    (cell,) = (c for c in result.plan.cells if not c.reason)
    assert cell.notes == ()  # that speaker and gender go together is no confound
    (reason,) = plan(["iemocap"], target="gender", scaling="speaker").refused.values()
    assert "one label" in reason


def test_language_is_a_target_over_corpora_of_two_in_one_cell(plan):
    (cell,) = plan(["iemocap", "recola"], target="language", protocol="pooled").plan.cells
    assert cell.reason == ""
    truth = dict(zip(cell.utterances["id"], cell.utterances["emotion"], strict=True))
    assert truth == {utterance: {"i": "en", "r": "fr"}[utterance[0]] for utterance in truth}
    assert set(truth.values()) == {"en", "fr"}
    assert not [note for _, note in cell.notes if "confounded" in note]
    with pytest.raises(serbench.SerbenchError, match=r"--protocol within\. Expected --protocol pooled"):
        plan(["iemocap"], target="language")


def test_index_whose_ratings_changed_is_another_state(trees):
    index = serbench.load_index("iemocap", serbench.Workspace(trees / "results", partial=True))
    assert index_fingerprint(index) != index_fingerprint(index.assign(valence=index["valence"] + 0.5))


def test_what_lies_in_no_range_is_left_out_and_noted(plan, trees):  # the last, as it alters the tree
    path = next((trees / "iemocap").glob("Session1/dialog/EmoEvaluation/*.txt"))
    text = path.read_text()
    value = text.split("\t[")[1].split("]")[0]
    path.write_text(text.replace(value, "2.5000, 5.5000, 2.5000", 1))
    result = plan(["iemocap"], target="arousal")
    assert len(truth_of(result, "iemocap")) == 99
    (cell,) = result.plan.cells
    assert ("iemocap", "1 utterances have no label: arousal in none of low [1, 2.5], high (2.5, 5]") in cell.notes
