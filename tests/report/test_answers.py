"""The sentences on the best cells: their numbers against plain loops, and that nothing false is said of odd columns."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp
from sklearn.metrics import recall_score
from tables import saying, with_record

from serbench.audit.setup import Baseline
from serbench.report import score_store
from serbench.report.answers import answers
from serbench.report.audits import Audited, with_cues
from serbench.report.page import sentence
from serbench.report.tables import score_matrix
from serbench.scores.scores import values_by
from serbench.scores.statistics import Interval, units_needed
from serbench.store.files import write_json

ALONE = {"corpora": ("alpha",), "features": ("sound",)}


def hitting(share, seed=0):
    """Let a cell say the truth in a share of its utterances, and the next emotion in the others."""

    def predicted(rows):
        is_hit = np.random.default_rng(seed).random(len(rows)) < share
        return np.where(is_hit, rows["truth"], (rows["truth"] + 1) % 3)

    return lambda cell: [saying(cell, predicted)]


def always(code):
    return lambda cell: [saying(cell, lambda rows: code)]


def report_of(made_up_report, shares, **given):
    """Report cells of one corpus and feature set, by their share of hits."""
    change = {("sound", name, "alpha"): of if callable(of) else hitting(of, i) for i, (name, of) in enumerate(shares)}
    return made_up_report(**{**ALONE, "classifiers": [name for name, _ in shares], "change": change, **given})[0]


def uar(rows):
    return recall_score(rows["truth"], rows["prediction"], average="macro")


def pseudo_values(statistic, speakers):
    """Pseudo-values of a statistic of the speakers that are kept, by leaving out each in turn."""
    n, whole = len(speakers), statistic(speakers)
    return np.array([n * whole - (n - 1) * statistic(speakers - {one}) for one in sorted(speakers)])


def test_numbers_of_a_sentence_are_those_of_plain_loops(made_up_report):
    shares = [("a", 0.84), ("b", 0.9), ("c", 0.88), ("d", 0.2), ("e", 0.1)]
    report = report_of(made_up_report, shares)
    (answer,) = report.answers
    rows = {cell.cell["classifier"]: cell.of() for cell in report.cells}
    values = {name: uar(of) for name, of in rows.items()}
    best, *others = sorted(values, key=lambda name: -values[name])
    speakers = set(rows["a"]["speaker"])

    def kept(name):
        return lambda who: uar(rows[name][rows[name]["speaker"].isin(who)])

    def less(name):
        return lambda who: kept(best)(who) - kept(name)(who)

    ends = ttest_1samp(pseudo_values(kept(best), speakers), 0).confidence_interval(0.95)
    assert answer.best == ("sound", best)
    found = re.match(r"alpha: best is (\w) on sound, UAR ([\d.]+) \[([\d.]+), ([\d.]+)\]\. Next: ", answer.sentence)
    assert (found[1], found[2]) == (best, f"{values[best]:.3f}")
    reach = np.ptp(ends) / 2
    assert float(found[3]) == pytest.approx(values[best] - reach, abs=0.0051)
    assert float(found[4]) == pytest.approx(min(1, values[best] + reach), abs=0.0051)
    nearest = re.findall(r"(\w) on sound, (-[\d.]+) \[([-\d.]+), ([-\d.]+)\]", answer.sentence)
    assert [name for name, *_ in nearest] == others[:2]
    for name, shown, low, high in nearest:
        difference = values[name] - values[best]
        reach = np.ptp(ttest_1samp(pseudo_values(less(name), speakers), 0).confidence_interval(0.95)) / 2
        assert shown == f"{difference:.3f}"
        assert float(low) == pytest.approx(difference - reach, abs=0.00051)
        assert float(high) == pytest.approx(difference + reach, abs=0.00051)
    far = values[best] - values["d"], values[best] - values["e"]
    assert f"2 of 4 others are worse, by {far[0]:.3f} to {far[1]:.3f}" in answer.sentence
    spread = pseudo_values(less(others[0]), speakers).std(ddof=1)
    needed = ((norm.ppf(0.975) + norm.ppf(0.8)) * spread / (values[best] - values[others[0]])) ** 2
    many = re.search(rf"2 of 4 others cannot be told apart from the best; a test of {others[0]} on sound alone would "
                     r"need (more than 1,000|about (\d+)) speakers", answer.sentence)  # fmt: skip
    assert needed > 1000 if many[2] is None else float(many[2]) == pytest.approx(needed, rel=0.06)


def test_number_of_speakers_needed_grows_with_the_spread_and_falls_with_the_difference():
    few, many = (units_needed(d, Interval(d - 0.04, d + 0.04), 10) for d in (0.04, 0.02))
    assert many == pytest.approx(4 * few, abs=4)
    assert units_needed(0.0, Interval(-0.1, 0.1), 10) is None
    assert units_needed(0.1, None, 10) is None


def test_sentences_stand_first_in_markdown_and_the_caveat_once(toy_report):
    report, store, _ = toy_report()
    text = (store.report / "report.md").read_text()
    first, *rest = text.partition("### ")[0].strip().split("\n\n")
    assert first == "# serbench report"
    assert rest[0].startswith("Best cells (within, ")
    assert text.count("is picked on the test data") == 1
    (answer,) = report.answers
    assert rest[1] == "- " + answer.sentence.replace("[", r"\[").replace("]", r"\]")
    assert "With 4 speakers, no difference can be tested" in answer.sentence


def test_one_cell_is_not_called_the_best_and_nothing_was_picked(made_up_report):
    report = report_of(made_up_report, [("svc", 0.9)])
    ((title, (told,)),) = report.lead.items()
    assert re.fullmatch(r"alpha: one cell, svc on sound, UAR 0\.\d{3} \[[.\d]+, [.\d]+\]\.", told)
    assert "picked" not in title
    with_dummy = report_of(made_up_report, [("svc", 0.9), ("dummy", always(0))])
    assert with_dummy.answers[0].sentence == told
    assert "picked" not in next(iter(with_dummy.lead))


def test_cell_no_better_than_chance_is_said_to_be_so(made_up_report):
    report = report_of(made_up_report, [("svc", 0.3), ("knn", 0.1)])
    assert "It is not clearly above chance (0.333)." in report.answers[0].sentence
    assert "chance" not in report_of(made_up_report, [("svc", 0.9), ("knn", 0.1)]).answers[0].sentence


def test_two_speakers_have_neither_interval_nor_test(made_up_report):
    report = report_of(made_up_report, [("svc", 0.9), ("knn", 0.5)], speakers=("f1", "m1"))
    (answer,) = report.answers
    assert "(2 speakers: no interval). Next: knn on sound, -0." in answer.sentence
    assert re.search(r"-0\.\d{3}\. With 2 speakers, no difference can be tested\.$", answer.sentence)
    notes = report.of("table2-uar")[0].notes
    assert any("2 speakers: no interval" in note for note in notes)
    assert not any(note.startswith("In brackets") for note in notes)
    assert report.scores["low"].isna().all()
    assert report.long["differences"]["low"].isna().all()


def test_cells_that_say_the_same_are_equal_and_no_number_of_speakers_is_named(made_up_report):
    report = report_of(made_up_report, [("svc", hitting(0.9)), ("knn", hitting(0.9))])
    told = "Next: knn on sound, equal. It cannot be told apart from the best."
    assert report.answers[0].sentence.endswith(told)


def test_default_settings_are_compared_where_none_can_be_chosen_and_named(made_up_report):
    def untuned(share, seed):
        def change(cell):
            (made,) = hitting(share, seed)(cell)
            predicted, settings = ({"default": of["nested"]} for of in (made.predicted, made.settings))
            return [replace(made, predicted=predicted, settings=settings, reasons={"nested": "too few groups"})]

        return change

    report = report_of(made_up_report, [("svc", untuned(0.95, 0)), ("knn", untuned(0.2, 1))])
    (answer,) = report.answers
    assert answer.sentence.startswith("alpha: best is svc on sound with its default setting, UAR 0.9")
    assert "It is worse, by 0." in answer.sentence
    table = report.of("table2-uar")[0]
    shown = {row[1].text: row[2] for row in table.rows}
    assert shown["svc"].text.endswith("°")
    assert shown["svc"].bold
    assert "Every classifier has its default setting." in table.notes[0]


def test_copy_that_is_partial_and_a_short_cell_are_said(made_up_report):
    def partial(cell):
        return [with_record(one, partials={"alpha": "partial, 72 of 90"}) for one in hitting(0.9)(cell)]

    def short(cell):
        utterances = cell.of()["utterance"]
        return [cell.on(utterances[: len(utterances) // 2])]

    report = report_of(made_up_report, [("svc", partial), ("knn", 0.5), ("rf", short)])
    (answer,) = report.answers
    assert answer.sentence.startswith("alpha (partial, 72 of 90): best is svc on sound")
    assert "1 cell misses utterances and cannot be compared" in answer.sentence


def test_emotion_that_is_never_predicted_is_named_in_sentence_and_note(made_up_report):
    def no_neutral(cell):
        return [saying(cell, lambda rows: rows["truth"].clip(upper=1))]

    report = report_of(made_up_report, [("svc", no_neutral), ("knn", 0.1), ("dummy", always(0))])
    assert "It never predicts neutral (0 of 24)." in report.answers[0].sentence
    notes = [note for note in report.of("table2-uar")[0].notes if "never predicts" in note]
    assert notes == ["alpha, sound, svc: never predicts neutral (0 of 24)."]


@pytest.mark.parametrize(
    ("uar_of_cues", "told"),
    [(0.5, "1 of 3 are below"), (0.2, "every cell is above"), (0.99, "every cell is below")],
)
def test_cells_below_the_simple_cues_are_counted_and_marked(made_up_report, uar_of_cues, told):
    report = report_of(made_up_report, [("svc", 0.9), ("knn", 0.8), ("rf", 0.3), ("dummy", always(0))])
    (matrix,) = report.matrices
    baseline = Baseline(uar_of_cues, ("anger", "happiness", "neutral"), 72, 8)
    (answer,) = answers(with_cues(matrix, {"alpha": Audited((), baseline)}))
    assert f"Duration and level alone give {uar_of_cues:.3f}: {told} that." in answer.sentence
    table = score_matrix(with_cues(matrix, {"alpha": Audited((), baseline)}), "uar", "nested")
    shown = {row[0].text if not row[1].text else row[1].text: row[2] for row in table.rows}
    assert shown["cues"].text == f"{uar_of_cues:.3f}"
    values = {name: float(entry.text) for name, entry in shown.items() if name in ("svc", "knn", "rf")}
    assert {name for name, entry in shown.items() if "↓" in entry.aside} == {
        name for name, value in values.items() if value < uar_of_cues
    }
    assert any(note.startswith("↓ ") for note in table.notes) == (uar_of_cues > min(values.values()))
    without_rf = report_of(made_up_report, [("svc", 0.9), ("knn", 0.8), ("dummy", always(0))]).matrices[0]
    (answer,) = answers(with_cues(without_rf, {"alpha": Audited((), replace(baseline, uar=0.5))}))
    assert "every cell but dummy is above that" in answer.sentence
    lowest = min(values_by(cell, cell.rule)["uar"].value for cell in report.cells if not cell.is_reference)
    as_good = replace(baseline, uar=float(np.nextafter(lowest, 1)))  # the last digit of a sum in another order
    equal = with_cues(matrix, {"alpha": Audited((), as_good)})
    assert "no cell is below that" in answers(equal)[0].sentence
    assert not any(note.startswith("↓ ") for note in score_matrix(equal, "uar", "nested").notes)
    for other in (Baseline(0.5, ("anger", "fear", "neutral"), 72, 8), Baseline(0.5, baseline.emotions, 60, 8), None):
        assert not with_cues(matrix, {"alpha": Audited((), other)}).cues


def test_gravest_findings_of_an_audit_are_printed_with_the_column_of_its_corpus(made_up_report):
    report, store = made_up_report()
    assert "never heard" in sentence(report.scores)
    findings = [
        ("error", "altered copies", "altered copies of one recording under names of different speakers, 1 time: x = y"),
        ("error", "copies", "alpha/f1.wav: the same recording as alpha/m1.wav; it takes no part"),
        ("error", "set-up", "the recording set-up gives the emotion away: from the bits alone UAR is 0.60; '16' in 3"),
        ("warning", "set-up", "the recording set-up gives the emotion away: from the rate alone UAR is 0.40; 'x' in 2"),
        ("warning", "copies", "byte-identical recordings of one speaker: a, b"),
        ("warning", "text", "the text gives the emotion away: from the text alone UAR is 0.50; 's1' in 4 of 5"),
        ("note", "counts", "emotions with fewer than 50 utterances: anger (24)"),
    ]
    audit = {"index": report.cells[0].record.indexes["alpha"], "baseline": None}
    audit["findings"] = [dict(zip(("level", "kind", "text"), one, strict=True)) for one in findings]
    write_json(store.audit("alpha"), audit)
    audited = score_store(store)
    (note,) = [note for note in audited.of("table2-uar")[0].notes if note.startswith("alpha: ")]
    told = [
        "its audit found: altered copies of one recording under names of different speakers, 1 time: x = y; folds do "
        "not keep them apart",
        "its audit found: the recording set-up gives the emotion away: from the bits alone UAR is 0.60 (and 1 more)",
        "its audit found: the text gives the emotion away: from the text alone UAR is 0.50",
    ]
    assert note.endswith(f"{'; '.join(told)}.")
    assert note.count("its audit found") == len(told)
    assert "cues" not in {row[0].text for row in audited.of("table2-uar")[0].rows}
    assert "never heard" not in sentence(audited.scores)
    audit["baseline"] = {"uar": 0.4, "emotions": ["anger", "happiness", "neutral"], "n_utterances": 72, "n_groups": 8}
    write_json(store.audit("alpha"), audit)
    (row,) = [row for row in score_store(store).of("table2-uar")[0].rows if row[0].text == "cues"]
    assert [entry.text for entry in row[2:]] == ["0.400", "–"]  # beta has no audit
    del audit["baseline"]
    write_json(store.audit("alpha"), audit)
    with pytest.warns(UserWarning, match=r"alpha.json: what the audit found cannot be used and is left out; run serb"):
        score_store(store)
