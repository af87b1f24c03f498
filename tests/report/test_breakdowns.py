"""What lies behind pooled values, against plain computations from scores.csv's neighbours and the index."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from sklearn.metrics import recall_score
from tables import codes_of, saying, with_record

import serbench
from serbench.report.table import signed
from serbench.scores.predictions import load_predictions

EMOTIONS = ("anger", "happiness", "neutral")
SPEAKERS = ("f1", "f2", "m1", "m2", "m3")


@pytest.fixture
def grid(toy_report):
    """Run a grid on blobs of a corpus of five speakers and report it."""
    return lambda **options: toy_report(**{"speakers": SPEAKERS, **options})


def of_utterances(store, index, classifier, rule="nested", **cell_fields):
    """Truth and prediction of each utterance, joined to the index."""
    cell = next(
        c for c in load_predictions(store) if {**cell_fields, "classifier": classifier}.items() <= dict(c.cell).items()
    )
    predicted = {u: cell.emotions[code] for u, code in codes_of(cell, rule).items()}
    return index[index["utterance"].isin(predicted)].assign(prediction=lambda rows: rows["utterance"].map(predicted))


def uar(rows):
    return recall_score(rows["emotion"], rows["prediction"], average="macro", labels=sorted(set(rows["emotion"])))


def row_of(table, classifier):
    return next(row for row in table.rows if row[2].text == classifier)


def test_rules_stand_side_by_side_with_what_the_test_set_would_have_added(grid):
    report, store, index = grid()
    (table,) = report.of("rules")
    scores = report.scores[report.scores["metric"] == "uar"].set_index(["classifier", "rule"])["value"]
    gains = {}
    for name in ("knn", "logistic"):
        shown = row_of(table, name)
        for place, rule in ((3, "nested"), (4, "default"), (5, "oracle")):
            assert shown[place].text == f"{uar(of_utterances(store, index, name, rule)):.3f}"
        gains[name] = scores[name, "oracle"] - scores[name, "nested"]
        assert shown[6].text == signed(scores[name, "nested"] - scores[name, "default"])
        assert shown[7].text == signed(gains[name])
        oracle, nested = (of_utterances(store, index, name, rule) for rule in ("oracle", "nested"))
        pseudo = []  # of what the oracle has more, without each of the five speakers
        for speaker in index["speaker"].unique():
            rest = [uar(rows[rows["speaker"] != speaker]) for rows in (oracle, nested)]
            pseudo.append(5 * gains[name] - 4 * (rest[0] - rest[1]))
        reach = np.ptp(ttest_1samp(pseudo, 0).confidence_interval(0.95)) / 2
        ends = [float(end) for end in shown[7].aside.strip("[]").split(",") if end]
        expected = [gains[name] - reach, gains[name] + reach] if reach else []
        assert ends == pytest.approx(expected, abs=0.005)
    assert row_of(table, "knn")[7].aside  # all speakers are alike in the other
    tuned = [scores[name, "nested"] - scores[name, "default"] for name in gains]
    assert (
        f"Mean of nested - default over 2 cells with settings to choose from: {signed(np.mean(tuned))}." in table.notes
    )
    (claim,) = [note for note in report.of("table2-uar")[0].notes if note.startswith("Settings tuned on the test")]
    assert f"{100 * np.mean(list(gains.values())):.1f} points more on average" in claim
    assert f"at most {100 * max(gains.values()):.1f} (toy, blobs, {max(gains, key=gains.get)})" in claim
    assert not {"texts", "held-out-texts", "seeds"} & {table.stem for table in report.tables}  # there are none


def test_weakest_and_strongest_speaker_are_named_and_genders_have_a_gap(grid):
    report, store, index = grid()
    rows = of_utterances(store, index, "logistic")
    by_speaker = {speaker.removeprefix("toy/"): uar(of) for speaker, of in rows.groupby("speaker")}
    shown = row_of(report.of("speakers")[0], "logistic")
    for entry, extreme in ((shown[3], min), (shown[4], max)):
        name, value = entry.text.split(": ")
        assert by_speaker[name] == extreme(by_speaker.values())
        assert value == f"{by_speaker[name]:.3f}"
    female, male = (uar(rows[rows["gender"] == gender]) for gender in ("female", "male"))
    assert [entry.text for entry in shown[5:]] == [f"{female:.3f}", f"{male:.3f}", signed(female - male)]
    assert not shown[7].aside  # of two and three speakers
    long = report.long["groups"]
    knn = long[(long["classifier"] == "logistic") & (long["by"] == "speaker")].set_index("group")["uar"]
    assert {speaker.removeprefix("toy/"): value for speaker, value in knn.items()} == pytest.approx(by_speaker)


def test_gap_between_genders_has_an_interval_from_four_speakers_of_each_on(made_up_report):
    report, *_ = made_up_report()
    assert row_of(report.of("speakers")[0], "knn")[7].aside.startswith("[")
    report, *_ = made_up_report(speakers=("f1", "m1", "m2", "m3"))
    assert row_of(report.of("speakers")[0], "knn")[7].aside == ""


def renamed(name):
    """Takes 0 to 3 of a name become takes of two sentences."""
    stem, take = name.removesuffix(".wav").rsplit("_", 1)
    return f"{stem}_{int(take) // 2}{int(take) % 2}.wav"


WITH_TEXTS = {"rename": renamed, "replace": ((r"_(?P<take>\d+)", r"_(?P<text>\d)(?P<take>\d)"),)}


def test_hardest_and_easiest_sentence_are_named_where_the_corpus_knows_them(grid):
    report, store, index = grid(**WITH_TEXTS)
    rows = of_utterances(store, index, "knn")
    by_text = {text: uar(of) for text, of in rows.groupby("text")}
    shown = row_of(report.of("texts")[0], "knn")
    assert shown[3].text.split(": ")[0] == min(by_text, key=by_text.get)
    assert float(shown[3].text.split(": ")[1]) == pytest.approx(min(by_text.values()), abs=0.0005)
    assert float(shown[4].text.split(": ")[1]) == pytest.approx(max(by_text.values()), abs=0.0005)
    assert shown[5].text == "2 of 2"


def test_holding_out_sentences_is_compared_with_keeping_them(grid):
    report, store, index = grid(**WITH_TEXTS, runs=({}, {"protocol": "within-text"}), classifiers=("logistic",))
    (table,) = report.of("held-out-texts")
    values = [uar(of_utterances(store, index, "logistic", protocol=p)) for p in ("within", "within-text")]
    shown = row_of(table, "logistic")
    assert [entry.text for entry in shown[3:5]] == [f"{value:.3f}" for value in values]
    assert shown[5].text == signed(values[1] - values[0])
    assert len(table.cells) == 2


def test_seeds_are_averaged_with_their_spread(grid, tmp_path):
    (tmp_path / "small.yaml").write_text("mlp: {settings: [{hidden: 8, alpha: 1}]}")
    run = {"seeds": (0, 1, 2), "space": str(tmp_path / "small.yaml")}
    report, *_ = grid(speakers=SPEAKERS[1:4], classifiers=("mlp", "knn"), runs=(run,), takes=2)
    (table,) = report.of("seeds")
    scores = report.scores[(report.scores["metric"] == "uar") & (report.scores["rule"] == "nested")]
    for name in ("mlp", "knn"):
        of_seeds = scores[scores["classifier"] == name]["value"]
        assert len(of_seeds) == 3
        shown = next(row for row in table.rows if row[1].text.startswith(name))
        assert shown[2].text == f"{of_seeds.mean():.3f}"
        assert shown[2].aside == f"± {of_seeds.std(ddof=1):.3f}"
    assert "seeds 0, 1, 2" in table.notes[0]


def test_folds_that_lack_an_emotion_are_named(grid):
    report, store, index = grid(without=("f2_neutral_*",), classifiers=("knn",))
    assert "toy: emotions that folds lack: f2: neutral." in report.of("rules")[0].notes
    folds = report.long["folds"]
    assert dict(zip(folds["fold"], folds["n_emotions"], strict=True))["f2"] == 2
    groups = report.long["groups"]
    rows = of_utterances(store, index, "knn")
    f2 = groups[(groups["by"] == "speaker") & (groups["group"] == "toy/f2")]
    assert f2["n_emotions"].tolist() == [2]
    assert f2["uar"].tolist() == pytest.approx([uar(rows[rows["speaker"] == "toy/f2"])])


def test_sessions_are_the_units_where_speakers_talk_to_each_other(make_index):
    from serbench.protocols import independent_unit

    index = make_index(speakers=("f1", "m1", "f2", "m2"))
    assert independent_unit(index) == "speaker"
    in_session = index["speaker"].str[-1].map({"1": "toy/A", "2": "toy/B"})
    assert independent_unit(index.assign(session=in_session)) == "session"


def test_recalls_have_intervals_and_units_that_alone_have_an_emotion_are_counted(grid):
    without = ("[!f]*_neutral_*", "f2_neutral_*")
    report, store, index = grid(without=without, noise=3.0, classifiers=("knn",), runs=({"inner": "none"},))
    assert set(report.scores["n_incomplete"]) == {1}
    recall = report.long["recall-long"].set_index(["rule", "emotion"]).loc["default"]
    assert recall["low"].isna().to_dict() == {"anger": False, "happiness": False, "neutral": True}
    rows = of_utterances(store, index, "knn", "default")
    said = rows[rows["emotion"] == "anger"]
    of_speakers = said.groupby("speaker")["prediction"].apply(lambda p: (p == "anger").mean())
    expected = ttest_1samp(of_speakers, 0).confidence_interval(0.95)
    assert recall.loc["anger", "low"] == pytest.approx(max(0, expected.low))
    assert recall.loc["anger", "high"] == pytest.approx(min(1, expected.high))


OF_VOICES = (
    ("(?P<speaker>", "(?P<voice>"),
    ("(?P<gender>[fm])", "[fm]"),
    ("  values: {gender: {f: female, m: male}}\n", ""),
)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("take", "take-independent (speakers are not known and may be in training and test)"),
        ("voice", "voice-independent (speakers are not known)"),
    ],
)
def test_no_table_calls_a_corpus_without_speakers_speaker_independent(toy_report, field, words):
    replace = (*OF_VOICES, ("  emotions:", f"  folds: {{by: {field}}}\n  emotions:"))
    report, store, index = toy_report(replace=replace, classifiers=("knn",))
    assert index["speaker"].isna().all()
    assert not report.missing
    written = [file.read_text() for file in store.report.glob("*.*") if file.suffix in (".md", ".html", ".tex")]
    assert written
    assert not any("speaker-independent" in text for text in written)
    (notes,) = [" ".join(table.notes) for table in report.of("table2-uar")]
    assert f"Each test group against the rest of its corpus, {words}; emotions" in notes
    assert f"Settings are chosen by nested {field}-independent validation" in notes
    assert all(words in " ".join(table.notes) for table in report.tables if table.stem != "table1")
    assert not report.of("speakers")
    assert set(report.scores["unit"]) == {field}
    assert f"intervals over {field}s" in notes


def test_corpus_with_speakers_cannot_be_tested_by_what_keeps_no_speakers_apart(make_corpus, workspace):
    path = make_corpus(extra="  folds: {by: take}\n")
    asked = serbench.GridRequest(features="mfcc", classifiers="knn", emotions="anger,happiness,neutral")
    with pytest.raises(
        serbench.SerbenchError, match=r"speakers in training and test: toy/f1, toy/f2, .* This is a leak"
    ):
        serbench.run_grid("toy", asked, workspace(path))


def test_table_of_corpora_with_and_without_speakers_says_which_is_which(made_up_report):
    def of_takes(cell):
        return [with_record(cell, persons={"beta": "take"})]

    change = {(f, c, "beta"): of_takes for f in ("sound", "shape") for c in ("svc", "knn")}
    report, _ = made_up_report(change=change)
    notes = " ".join(report.of("table2-uar")[0].notes)
    assert "speaker-independent, but beta: take-independent (speakers are not known and may be" in notes
    assert "Settings are chosen by nested validation" in notes


def test_gap_between_genders_is_over_emotions_that_both_have(grid):
    report, store, index = grid(without=("f*_neutral_*",), classifiers=("knn",))
    shown = row_of(report.of("speakers")[0], "knn")
    rows = of_utterances(store, index, "knn")
    both = [rows[(rows["gender"] == gender) & (rows["emotion"] != "neutral")] for gender in ("female", "male")]
    expected = [recall_score(of["emotion"], of["prediction"], average="macro", labels=EMOTIONS[:2]) for of in both]
    assert [entry.text for entry in shown[5:7]] == [f"{value:.3f}" for value in expected]
    assert shown[7].text == signed(expected[0] - expected[1])


def as_dummy(cell):
    """Make a cell say the first emotion always, or, given a cell of a classifier, the wrong one always."""
    is_dummy = cell.cell["classifier"] == "dummy"
    return [saying(cell, lambda rows: 0 if is_dummy else (rows["truth"] + 1) % 3)]


def test_dummy_above_the_best_is_not_said_to_be_no_different_from_it(made_up_report):
    change = {("sound", c, "alpha"): as_dummy for c in ("svc", "dummy")}
    given = {"corpora": ("alpha",), "features": ("sound",), "classifiers": ("svc", "dummy")}
    report, _ = made_up_report(change=change, **given)
    table = report.of("table2-uar")[0]
    marks = {row[1].text: row[2].aside for row in table.rows}
    assert marks["dummy"] == "↑"
    assert report.long["differences"].set_index("metric").loc["uar", "p"] == 2 / 2**8
    assert "↑ a dummy that is above the best other cell of its corpus by more than chance explains." in table.notes
    assert not any(note.startswith("≈") for note in table.notes)


def test_comparisons_with_a_dummy_alone_are_counted(made_up_report):
    given = {"corpora": ("alpha",), "features": ("sound",)}
    for classifiers, told in ((("svc", "dummy"), "1 pair of a cell and a dummy"), (("svc", "knn"), "1 pair of cells")):
        report, _ = made_up_report(classifiers=classifiers, **given)
        assert f"{told} compared, over 8 speakers" in " ".join(report.of("table2-uar")[0].notes)
    change = {(f, "dummy", "alpha"): as_dummy for f in ("a", "b", "c")}
    report, _ = made_up_report(corpora=("alpha",), features=("a", "b", "c"), classifiers=("dummy",), change=change)
    assert "3 pairs of cells compared" in " ".join(report.of("table2-uar")[0].notes)
    assert set(report.long["differences"]["n_comparisons"]) == {3}


def test_short_cell_is_not_said_to_be_below_the_best(made_up_report):
    """A value with ‡ is not compared, so only other values without ≈ are below the best."""

    def lacking(cell):
        utterances = cell.of()["utterance"]
        return [cell.on(utterances[: len(utterances) * 3 // 4])]

    change = {("shape", "knn", "alpha"): lacking, ("sound", "svc", "alpha"): as_dummy}
    report, _ = made_up_report(corpora=("alpha",), change=change)
    table = report.of("table2-uar")[0]
    shown = {(row[0].text, row[1].text): row[2] for row in table.rows}
    assert shown["shape", "knn"].text.endswith("‡")
    assert shown["shape", "knn"].aside[-1:] in ("]", "")
    assert shown["sound", "svc"].aside[-1:] in ("]", "")
    assert "Values without ≈ or ? are below the best by more than chance explains." in table.notes
    assert not any(note.startswith("Other values") for note in table.notes)
