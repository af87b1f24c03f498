"""Grids across corpora, end to end on blobs: against plain scikit-learn, and what users see."""

import across
import numpy as np
import pandas as pd
import pytest
from tables import codes_of

import serbench
from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.entry import FIELDS, Partition
from serbench.corpora.index import index_fingerprint
from serbench.errors import ProtocolError
from serbench.grid.utterances import CorpusData, grouped
from serbench.protocols import PROTOCOLS, Draw, drawn
from serbench.scores.predictions import Index, _utterances, load_predictions

SPEAKERS = {"aa": ("f1", "m1", "m2"), "bb": ("f1", "f2", "m1", "m2"), "cc": ("f1", "m1", "f2")}
LANGUAGE = {"aa": "de", "bb": "en-US", "cc": "en-GB"}
PARTITION = "  partitions: {half: {test: {speaker: [f1]}}}\n"


@pytest.fixture
def three(make_corpus, make_features, workspace, tmp_path):
    """Three corpora in two languages with a file of features, and a function for grids over them."""

    def make(*, noise=3.0, emotions=("anger", "happiness", "neutral"), partition=False):
        for name, speakers in SPEAKERS.items():
            extra = PARTITION if partition else ""
            path = make_corpus(
                name=name, speakers=speakers, emotions=emotions, takes=4, extra=extra, seed=10_000 * int(name, 16)
            )
        text = path.read_text()
        for name, language in LANGUAGE.items():
            text = text.replace(
                f"{name}:\n  title: Toy corpus\n  language: en", f"{name}:\n  title: T\n  language: {language}"
            )
        path.write_text(text)
        place = workspace(path)
        indexes = [serbench.load_index(name, place) for name in SPEAKERS]
        whole = pd.concat(indexes, ignore_index=True)
        features = make_features(whole, noise=noise, n_features=5)
        shift = whole["corpus"].map({"aa": 0.0, "bb": 4.0, "cc": -3.0}).to_numpy()
        columns = [c for c in features if c != "utterance"]
        features[columns] += shift[:, None]  # corpora are recorded differently, or scaling would not matter
        features = features.astype(dict.fromkeys(columns, np.float32))
        features.to_csv(tmp_path / "blobs.csv", index=False)

        def run(*corpora, **request):
            asked = {"features": str(tmp_path / "blobs.csv"), "classifiers": "logistic", **request}
            return serbench.run_grid(corpora or tuple(SPEAKERS), serbench.GridRequest(**asked), place)

        run.place, run.path = place, path
        table = features.merge(whole[["utterance", "emotion", "speaker", "corpus"]], on="utterance")
        table["language"] = table["corpus"].map({"aa": "de", "bb": "en", "cc": "en"})
        run.table = table.sort_values("utterance", ignore_index=True)
        return run

    return make


def predicted(run, protocol, corpus, train=None):
    """Predictions of a cell by rule, as emotions in the order of the table; "" where it has none."""
    cells = load_predictions(run.place.store())
    wanted = [c for c in cells if (c.cell["protocol"], c.cell["corpus"]) == (protocol, corpus)]
    (cell,) = [c for c in wanted if train in (None, c.cell["train"])]
    names = np.array([*cell.emotions, ""])
    return {
        rule: [str(names[codes_of(cell, rule).get(u, -1)]) for u in run.table["utterance"]]
        for rule in ("nested", "default")
    }


def assert_same(run, protocol, corpus, expected, train=None):
    own = predicted(run, protocol, corpus, train)
    assert len(set(own["nested"])) > 2  # something was told apart
    assert own == {"nested": list(map(str, expected[0])), "default": list(map(str, expected[1]))}


@pytest.mark.slow
@pytest.mark.parametrize("scaling", ["train", "speaker", "corpus"])
def test_cross_predicts_what_a_plain_loop_does(three, scaling):
    run = three()
    assert not run(protocol="cross", scaling=scaling).refused
    for source, target in (("aa", "bb"), ("bb", "aa"), ("cc", "aa")):
        expected = across.predict(run.table, across.cross(run.table, target, source), "logistic", scaling=scaling)
        assert_same(run, "cross", target, expected, train=source)


@pytest.mark.parametrize("protocol", ["loco", "lolo", "pooled"])
@pytest.mark.parametrize("scaling", ["train", pytest.param("corpus", marks=pytest.mark.slow)])
def test_training_on_several_corpora_predicts_what_a_plain_loop_does(three, protocol, scaling):
    run = three()
    assert not run(protocol=protocol, scaling=scaling).refused
    for target in ("aa", "bb"):
        evaluations = getattr(across, protocol)(run.table, target)
        assert_same(run, protocol, target, across.predict(run.table, evaluations, "logistic", scaling=scaling))


@pytest.mark.slow
def test_adapt_predicts_what_a_plain_loop_with_weights_does(three):
    run = three()
    assert not run("aa", "bb", protocol="adapt", k=(6,), weight=2.5).refused
    rows = run.table[run.table["corpus"] == "bb"]
    side = rows.assign(group=rows["speaker"], label=rows["emotion"], tested=True)
    added = {who: drawn(side, who, Draw(6, 2.5)) for who in rows["speaker"].unique()}
    for tested, train, inner in across.adapt(run.table, "bb", "aa", added):
        weights = np.where(run.table["corpus"] == "bb", 2.5, 1.0)
        expected = across.predict(run.table, [(tested, train, inner)], "logistic", weights=weights)
        own = predicted(run, "adapt", "bb")
        for rule, values in zip(("nested", "default"), expected, strict=True):
            assert list(np.array(own[rule])[tested]) == list(values[tested])


def test_holdout_predicts_what_a_plain_loop_does(three):
    run = three(partition=True)
    told = {"emotions": "anger,happiness,neutral"}  # one corpus: the task is not what several have in common
    assert not run("bb", protocol="holdout", partition="half", **told).refused
    evaluations = across.holdout(run.table, ["bb/f2", "bb/m1", "bb/m2"], ["bb/f1"])
    assert_same(run, "holdout", "bb", across.predict(run.table, evaluations, "logistic"))


def test_cross_brings_the_diagonal_and_fits_one_model_for_each_pair_beside_it(three):
    run = three()
    told = {"emotions": "anger,happiness,neutral"}
    alone = {name: len(run(name, **told).plan.jobs) for name in SPEAKERS}
    both = run(protocol="cross", **told)
    assert len(both.plan.cells) == 3 + 6
    assert len(both.plan.jobs) == sum(alone.values()) + 6
    assert len(both.plan.todo) == 6


def test_scaling_per_corpus_within_one_corpus_is_scaling_on_its_training_rows(three):
    run = three()
    assert run("aa", emotions="anger,happiness,neutral").plan.todo
    again = run("aa", emotions="anger,happiness,neutral", scaling="corpus")
    assert not again.plan.todo
    values = serbench.load_scores(run.place).query("metric == 'uar' and rule == 'nested'").set_index("scaling")["value"]
    assert 0 <= values["train"] == values["corpus"]


@pytest.mark.parametrize("asked", [{"protocol": "lolo"}, {"protocol": "pooled", "target": "language"}])
def test_corpus_without_a_language_is_refused_where_languages_are_held_apart(three, asked):
    run = three()
    run.path.write_text(run.path.read_text().replace("  language: de\n", ""))
    with pytest.raises(ProtocolError, match=r"--protocol \w+: corpora without a language \(aa\).*Add `language: TAG`"):
        run(**asked)


@pytest.mark.slow
def test_transductive_is_stamped_where_a_corpus_is_scaled_unseen_and_only_there(three):
    run = three()
    for protocol in ("cross", "pooled", "loco"):
        run(protocol=protocol, scaling="corpus")
    scores = serbench.load_scores(run.place)
    stamped = scores.groupby("protocol")["transductive"].unique().map(list).to_dict()
    assert stamped == {"within": [False], "cross": [True], "pooled": [False], "loco": [True]}


def test_emotions_are_those_that_all_corpora_have_and_the_report_names_the_others(three, make_corpus):
    run = three(emotions=("anger", "happiness", "neutral"))
    make_corpus(name="dd", speakers=("f1", "m1"), emotions=("anger", "neutral", "fear"), takes=2, seed=7)
    table = run.table.assign(utterance=run.table["utterance"])
    more = serbench.load_index("dd", run.place)
    columns = [c for c in table if c.startswith("x")]
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(len(more), 5)), columns=columns)
    both = pd.concat([table[["utterance", *columns]], rows.assign(utterance=more["utterance"])])
    both.to_csv(run.path.parent / "blobs.csv", index=False)
    result = run("aa", "dd", protocol="cross", inner="none")
    assert not result.refused
    (cell, _) = [c for c in load_predictions(run.place.store()) if c.cell["protocol"] == "cross"]
    assert cell.emotions == ("anger", "neutral")
    assert {"aa: dropped happiness (12)", "dd: dropped fear (4)"} <= set(cell.notes)


def test_cells_across_corpora_are_outdated_when_a_training_corpus_changes(three):
    run = three()
    run("aa", "bb", protocol="cross")
    (run.path.parent / "aa" / "f1_anger_0.wav").unlink()
    serbench.load_index("aa", run.place)
    scores = serbench.load_scores(run.place).query("metric == 'uar' and rule == 'nested'")
    reasons = scores.set_index(["train", "corpus"])["reason"]
    assert "aa has changed since" in reasons["aa", "bb"]
    assert "the corpus has changed since" in reasons["aa", "aa"]
    assert not reasons["bb", "bb"]


def test_filtered_cell_is_outdated_when_what_its_filter_names_has_another_meaning(three):
    run = three()
    asked = {"emotions": "anger,happiness,neutral", "where": "take=1"}
    run("aa", **asked)
    text = run.path.read_text().replace("values: {", "values: {take: {'1': '2', '2': '1'}, ", 1)
    run.path.write_text(text)
    serbench.load_index("aa", run.place)
    (reason,) = serbench.load_scores(run.place).query("metric == 'uar' and rule == 'nested'")["reason"]
    assert "the corpus has changed since" in reason
    run("aa", **asked)
    (reason,) = serbench.load_scores(run.place).query("metric == 'uar' and rule == 'nested'")["reason"]
    assert not reason


@pytest.mark.parametrize("field", [field for field in FIELDS if field != "emotion"])
def test_fingerprint_covers_every_field_that_a_request_can_name(make_index, field):
    index = make_index().assign(**{field: "1"})
    assert index_fingerprint(index) != index_fingerprint(index.assign(**{field: "2"}))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"protocol": "cross"}, r"--protocol cross: 1 corpus \(aa\)\. Expected at least two"),
        ({"protocol": "adapt"}, r"no --k\. Expected --k N"),
        ({"protocol": "within", "k": (3,)}, r"--k 3\. Expected --k N,\.\.\. .* only there"),
        ({"protocol": "holdout"}, r"no --partition\. Expected --partition NAME"),
        ({"protocol": "crosss"}, r"Did you mean 'cross'"),
        ({"weight": 2.0}, r"--weight 2\. Expected --weight with --protocol adapt only"),
        ({"features": "schiavone"}, r"utterances that are not cut\. Expected pieces of 1 s\. Give --segment 1"),
        ({"scaling": "corpora"}, r"Did you mean 'corpus'"),
        ({"quick": True, "inner": "all"}, r"--quick: --inner all\. Expected neither --space nor --inner"),
        ({"quick": True, "space": "s.yaml"}, r"--quick: --space s\.yaml\. Expected neither --space nor --inner"),
    ],
)
def test_requests_that_cannot_be_meant_say_what_to_give(three, request_, message):
    run = three()
    with pytest.raises(serbench.SerbenchError, match=message):
        run("aa", **request_)


def test_ring_of_neighbours_is_refused_where_there_is_none(three):
    run = three()
    (reason, _) = run("aa", "bb", protocol="loco", inner="4").refused.values()
    assert "--inner: 4, for training data that is not tested. Expected auto, all or none" in reason


def test_weights_are_refused_for_a_classifier_that_cannot_weigh(three):
    run = three()
    refused = run("aa", "bb", protocol="adapt", k=(4,), weight=2.0, classifiers="knn").refused
    assert refused
    assert all("knn with --weight 2. Expected --weight 1" in reason for reason in refused.values())
    assert not run.place.store().cells
    assert not run("aa", "bb", protocol="adapt", k=(4,), classifiers="knn").refused


@pytest.mark.slow
def test_feature_set_that_lacks_an_utterance_stands_beside_one_that_has_all(three):
    run = three()
    whole = pd.read_csv(run.path.parent / "blobs.csv")
    whole.iloc[1:].to_csv(run.path.parent / "less.csv", index=False)
    files = tuple(str(run.path.parent / name) for name in ("blobs.csv", "less.csv"))
    for protocol in ("cross", "pooled", "loco"):
        assert not run(protocol=protocol, features=files, classifiers="knn", inner="none").refused
    scores = serbench.load_scores(run.place).query("metric == 'uar' and rule == 'default'")
    assert scores["value"].notna().all()


def declare(run, corpus, other):
    """Say in the entry of a corpus that it shares speakers with another one."""
    before = f"\n  root: {corpus}\n"
    run.path.write_text(run.path.read_text().replace(before, f"{before}  shares_speakers_with: [{other}]\n"))


@pytest.mark.parametrize("protocol", ["cross", "loco", "pooled", "adapt"])
def test_people_of_one_name_in_corpora_that_share_speakers_never_train_where_they_are_tested(three, protocol):
    run = three()
    declare(run, "bb", "aa")
    declare(run, "cc", "bb")  # and so with aa, where f1 and m1 have their names too
    given = {"k": (2,)} if protocol == "adapt" else {}
    plan = run("aa", "cc", protocol=protocol, classifiers="knn", **given).plan
    tested = [cell for cell in plan.cells if cell.cell.protocol == protocol]
    assert not [cell.reason for cell in tested if cell.reason]
    who = run.table.set_index("utterance")["speaker"].str.partition("/")[2]
    for cell in tested:
        for fold in cell.folds:
            inner = [(plan.jobs[job].train, cell.sets[name]) for name, job in fold.inner]
            parts = [(plan.jobs[fold.job].train, cell.sets[fold.name]), *inner]
            for train, test in [*parts, *((train, cell.sets[fold.name]) for train, _ in inner)]:
                assert train.utterances
                assert not {who[u] for u in train.utterances} & {who[u] for u in test}


def test_corpus_all_of_whose_people_are_tested_cannot_train(three):
    run = three()
    declare(run, "aa", "bb")
    place = run.path.parent
    for recording in (place / "aa").glob("m2_*"):  # whom bb has too
        recording.rename(recording.with_name(recording.name.replace("m2", "f2")))
    refused = run("aa", "bb", protocol="cross", classifiers="knn").refused
    assert any("all of its speakers are tested in another corpus" in why for why in refused.values()), refused


def test_scores_of_a_copy_pooled_with_its_original_are_those_of_the_original(three, tmp_path):
    """Copies of other names and bytes train the people tested, unless their entry says whose speakers they are."""
    run = three(noise=6.0)
    spaces = tmp_path / "spaces.yaml"
    spaces.write_text("knn: {settings: [{k: 1}]}\n")
    rng = np.random.default_rng(0)
    blobs = pd.read_csv(tmp_path / "blobs.csv")
    own = blobs[blobs["utterance"].str.startswith("aa/")]
    rest = blobs[~blobs["utterance"].str.startswith(("aa/", "cc/"))]
    copied = own.assign(utterance=own["utterance"].str.replace("aa/", "cc/"))
    copied.iloc[:, 1:] += 0.01 * rng.normal(size=copied.iloc[:, 1:].shape)
    for path in (run.path.parent / "cc").glob("f2_*"):  # the same three speakers as aa
        path.rename(path.with_name(path.name.replace("f2", "m2")))
    pd.concat([own, copied, rest]).to_csv(tmp_path / "copied.csv", index=False)
    asked = {"features": str(tmp_path / "copied.csv"), "classifiers": "knn", "inner": "none", "space": spaces}
    asked |= {"emotions": "anger,happiness,neutral"}

    def uar(protocol):
        assert not run("aa", "cc", protocol=protocol, **asked).refused
        rows = serbench.load_scores(run.place).query("metric == 'uar' and rule == 'default' and corpus == 'aa'")
        return float(rows.set_index("protocol")["value"][protocol])

    alone, naive = uar("within"), uar("pooled")
    declare(run, "cc", "aa")
    told = uar("pooled")
    assert abs(told - alone) < 0.15
    assert naive > told + 0.2


def test_recording_that_two_corpora_share_does_not_train_where_it_is_tested(three):
    run = three()
    (run.path.parent / "bb" / "f1_anger_0.wav").write_bytes((run.path.parent / "aa" / "f1_anger_0.wav").read_bytes())
    refused = " ".join(run("aa", "bb", protocol="pooled", classifiers="knn", inner="none").refused.values())
    assert (
        "aa and bb: 1 recordings are in more than one corpus (aa/f1_anger_0.wav = bb/f1_anger_0.wav), so speakers are "
        "shared. Expected speakers of their own, or a declaration. Add `shares_speakers_with: [aa]` to the entry of bb"
    ) in refused
    declare(run, "bb", "aa")
    run("aa", "bb", protocol="pooled", classifiers="knn", inner="none")
    cells = [c for c in load_predictions(run.place.store()) if c.cell["protocol"] == "pooled" and c.with_values]
    notes = {c.cell["corpus"]: " ".join(c.notes) for c in cells}
    assert "1 recordings of aa are another corpus' too and take no part" in notes["bb"]
    assert "1 recordings of bb are another corpus' too and take no part" in notes["aa"]
    assert all(c.n_utterances == 12 * len(SPEAKERS[c.cell["corpus"]]) for c in cells)


def test_cells_made_by_another_partition_are_outdated_once_the_corpus_is_indexed_again(three):
    run = three(partition=True)
    run("bb", protocol="holdout", partition="half", classifiers="knn", emotions="anger,happiness,neutral")
    run.path.write_text(run.path.read_text().replace("speaker: [f1]", "speaker: [f2]"))
    serbench.load_index("bb", run.place)
    (reason,) = serbench.make_report(run.place).missing
    assert "the partition half of the corpus in its entry has changed since" in reason


def test_one_corpus_that_is_left_is_not_another_question(three, make_corpus):
    run = three()
    for path in (run.path.parent / "bb").glob("*.wav"):
        path.unlink()
    with pytest.raises(serbench.SerbenchError, match=r"1 corpus that can be used \(aa\)\. Expected at least two"):
        run("aa", "bb", protocol="cross")


@pytest.mark.slow
def test_language_is_told_apart_in_one_cell_and_not_when_scaling_would_tell_it(three):
    run = three()
    result = run("aa", "bb", "cc", protocol="pooled", target="language", classifiers="knn")
    (planned,) = result.plan.cells
    assert planned.cell.corpus == "aa+bb+cc"
    report = serbench.make_report(run.place)
    assert {row.text for row in report.of("table2-uar")[0].rows[0]} >= {"0.500"}
    assert not report.of("speakers")
    assert "Chance: the most frequent class" in " ".join(report.of("table2-uar")[0].notes)
    with pytest.raises(serbench.SerbenchError, match=r"--target language.*--scaling train"):
        run("aa", "bb", protocol="pooled", target="language", scaling="corpus")


def test_gender_of_one_speaker_is_refused_in_words(three):
    run = three()
    result = run("aa", target="gender", classifiers="logistic")  # f1 alone is female
    (reason,) = result.refused.values()
    assert "no utterance of female to train on" in reason


def in_sessions(make_index, corpus):
    index = make_index(corpus=corpus, speakers=("f1", "f2", "m1", "m2"))
    return index.assign(session="s" + index["speaker"].str[-1])


def test_sessions_of_two_corpora_are_not_one_unit_though_they_are_called_alike(make_index):
    indexes = {name: Index(name, in_sessions(make_index, name), {}) for name in ("aa", "bb")}
    unit, known = _utterances(indexes, dict.fromkeys(indexes, "speaker"))
    assert unit == "session"
    assert set(known["unit"]) == {"aa/s1", "aa/s2", "bb/s1", "bb/s2"}


def test_voices_and_speakers_stand_in_one_cell(make_index):
    voices = make_index(corpus="vv").assign(speaker=None, voice=lambda index: index["gender"])
    indexes = {"aa": Index("aa", make_index(corpus="aa"), {}), "vv": Index("vv", voices, {})}
    unit, known = _utterances(indexes, {"aa": "speaker", "vv": "voice"})
    assert unit == "speaker"
    assert {"aa/aa/f1", "vv/female"} <= set(known["unit"])


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ({"speaker": ["f1"]}, r"1 sessions on both sides \(s1\)"),
        ({"emotion": ["anger"]}, r"4 speakers on both sides \(toy/f1, .*scores of known voices"),
    ],
)
def test_partition_that_parts_people_or_who_talk_to_each_other_is_refused(make_index, test, told):
    partition = Partition.model_validate({"test": test})
    emodb = load_catalogue().corpus("emodb")
    toy = emodb.model_copy(update={"name": "toy", "partitions": {"half": partition}})
    data = CorpusData(toy, in_sessions(make_index, "toy"), "")
    with pytest.raises(serbench.SerbenchError, match=told):
        grouped(data, PROTOCOLS["holdout"], "half")
