"""Tables, plots and figures of what was trained and tested across corpora, on made-up predictions."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test
from sklearn.metrics import recall_score
from tables import made_cell, made_record, saying, with_fields, with_record

from serbench.report.across import across_tables
from serbench.report.figures import drawing, figures
from serbench.scores.predictions import Utterances

EMOTIONS = ("anger", "fear", "neutral")
LANGUAGES = {"aa": "de", "bb": "en-US", "cc": "pl"}


def cell(protocol, train, corpus, *, scaling="train", options="", classifier="svc", hit=0.6, seed=0, wrong=None):
    """A cell of six speakers whose predictions are right in a share of cases, else `wrong` or anything."""
    rng = np.random.default_rng([seed, *map(ord, train + corpus + scaling + options)])
    truth, speakers, guesses = {}, {}, {}
    for s in range(6):
        for i in range(12):
            u = f"{corpus}/s{s}_{i}"
            truth[u], speakers[u] = i % 3, f"{corpus}/s{s}"
            other = int(rng.integers(3)) if wrong is None else wrong
            guesses[u] = truth[u] if rng.random() < hit else other
    fields = {"protocol": protocol, "task": "three", "train": train, "corpus": corpus, "features": "IS09"}
    fields |= {"classifier": classifier, "space": "standard", "scaling": scaling, "inner": "all"}
    fields |= {"preprocessing": "none", "options": options}
    pool = {"within": "", "pooled": "aa+bb+cc"}.get(protocol, train)
    made = {"pool": pool, "task_map": ",".join(EMOTIONS), "indexes": {corpus: "x"}, "tested": (corpus,), "basis": "b"}
    made["transductive"] = protocol == "cross" and scaling != "train"
    table = pd.DataFrame({"utterance": list(truth), "truth": truth.values(), "who": speakers.values()})
    return made_cell(made_record(fields, EMOTIONS, **made), table, {"nested": guesses})


def uar_by_scikit_learn(made, utterances=None):
    rows = made.of() if utterances is None else made.on(utterances).of()
    return recall_score(rows["truth"], rows["prediction"], average="macro")


def every_pair(**given_to):
    names = sorted(LANGUAGES)
    cross = [cell("cross", a, b, hit=0.3, **given_to) for a in names for b in names if a != b]
    return [*(cell("within", a, a, hit=0.8, **given_to) for a in names), *cross]


def texts(table):
    return {tuple(e.text for e in row[: table.n_labels]): [e.text for e in row[table.n_labels :]] for row in table.rows}


def tables_of(cells, stem, languages=LANGUAGES):
    return [table for table in across_tables(cells, languages, lambda name: 0)[0] if table.stem == stem]


def shown(cells, train, corpus):
    """The value of a pair in the table of transfer."""
    (table,) = tables_of(cells, "transfer")
    return next(row for row in table.rows if (row[1].text, row[2].text) == ("svc", train))[table.header.index(corpus)]


def test_values_are_those_of_scikit_learn_and_the_diagonal_is_within():
    cells = every_pair()
    (table,) = tables_of(cells, "transfer")
    assert table.header == ("features", "classifier", "trained on", "aa", "bb", "cc")
    expected = {(c.cell["train"], c.cell["corpus"]): f"{uar_by_scikit_learn(c):.3f}" for c in cells}
    for source in LANGUAGES:
        row = texts(table)["IS09", "svc", source]
        assert row == [expected[source, target] for target in sorted(LANGUAGES)]
    bold = [[e.bold for e in row[3:]] for row in table.rows]
    assert bold == np.eye(3, dtype=bool).tolist()


def test_scalings_inner_rules_and_tasks_are_not_mixed():
    cells = [*every_pair(), *every_pair(scaling="corpus"), cell("within", "dd", "dd")]
    found = tables_of([*cells, *(with_record(c, inner_title="none") for c in every_pair())], "transfer")
    titles = [table.title.split(", ")[2:4] for table in found]
    assert titles == [["scaling train", "seed 0"], ["scaling per corpus", "seed 0"], ["scaling train", "inner none"]]
    assert all(table.header[3:] == ("aa", "bb", "cc") for table in found)
    assert all(len(table.values) == 9 for table in found)


def test_value_below_chance_is_marked_and_says_what_its_model_did():
    below = cell("cross", "aa", "bb", hit=0.0, wrong=0)
    below = saying(below, lambda rows: (rows["truth"] + 1) % 3)
    (table,) = tables_of([below], "transfer")
    assert table.rows[0][4].aside == "b"  # all speakers are alike, so that there is no interval
    assert "b: below chance, by more than chance explains." in table.notes
    assert "aa -> bb, IS09 svc: 0.000 is below chance; 33% of its predictions are anger." in table.notes


def test_mark_is_that_of_scipys_sign_flips_of_speakers():
    marks = set()
    for seed, hit in itertools.product(range(3), (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)):
        drawn = np.random.default_rng(seed).random(72)
        one = saying(cell("cross", "aa", "bb"), lambda rows, wrong=drawn > hit: (rows["truth"] + wrong) % 3)
        is_right = one.of()["prediction"].to_numpy() == one.of()["truth"].to_numpy()
        above = (is_right - 1 / 3).reshape(6, 12).sum(axis=1)  # of each speaker, all emotions as frequent
        p = permutation_test((above,), np.sum, permutation_type="samples", vectorized=True).pvalue
        expected = "c" if p > 0.05 else "b" if above.sum() < 0 else ""
        assert shown([one], "aa", "bb").aside.rpartition("]")[2].strip() == expected, (seed, hit)
        marks.add(expected)
    assert marks == {"", "b", "c"}


def test_marks_against_chance_are_corrected_for_all_cells_that_test_the_corpus():
    others = [cell("cross", "cc", "bb", hit=0.0, classifier=f"c{i}") for i in range(12)]
    one = saying(cell("cross", "aa", "bb"), lambda rows: rows["truth"].where(rows["utterance"].str.endswith("_1"), 0))
    alone = shown([one], "aa", "bb").aside
    assert alone == ""  # all speakers are alike, and above chance
    assert shown([one, cell("cross", "aa", "cc", hit=0.2)], "aa", "bb").aside == alone
    assert shown([one, *others], "aa", "bb").aside == "c"


@pytest.mark.parametrize(("n_speakers", "mark"), [(1, "?"), (5, "?"), (6, "")])
def test_too_few_speakers_for_a_test_against_chance_are_marked_and_explained(n_speakers, mark):
    """Five speakers cannot give a p of 0.05, as 2 / 2**5 is more."""
    found = cell("cross", "aa", "bb", hit=0.9)
    rows = found.utterances.rows
    units = pd.Categorical(rows["unit"].astype(str).map(lambda name: f"bb/{int(name[-1]) % n_speakers}"))
    (table,) = tables_of([replace(found, utterances=Utterances(rows.assign(unit=units)))], "transfer")
    assert table.rows[0][4].aside.rpartition("]")[2].strip() == mark
    assert ("?: cannot be tested against chance: too few speakers." in table.notes) == (mark == "?")


def test_transductive_crossings_say_so():
    (table,) = tables_of(every_pair(scaling="corpus"), "transfer")
    notes = " ".join(table.notes)
    assert "Transductive: features are scaled per corpus on the unlabelled audio of the test corpus too." in notes


def test_scalings_are_compared_pair_by_pair_and_on_average():
    cells = [*every_pair(), *every_pair(scaling="speaker")]
    (table,) = tables_of(cells, "scalings")
    assert table.header[3:] == ("train", "speaker - train")
    by_pair = {(c.cell["scaling"], c.cell["train"], c.cell["corpus"]): uar_by_scikit_learn(c) for c in cells}
    shown = texts(table)
    gains = []
    for a in LANGUAGES:
        for b in LANGUAGES:
            base, other = by_pair["train", a, b], by_pair["speaker", a, b]
            label = f"{a} -> {b}" if a != b else f"{a} within"
            assert shown["IS09", "svc", label][0] == f"{base:.3f}"
            assert float(shown["IS09", "svc", label][1]) == pytest.approx(other - base, abs=6e-4)
            gains += [other - base] if a != b else []
    assert float(shown["IS09", "svc", "mean of 6"][1]) == pytest.approx(np.mean(gains), abs=6e-4)


def lacking(made, n):
    """The same cell without the predictions of its last utterances."""
    return made.on(made.of()["utterance"][:-n])


def every_table(cells):
    return across_tables(cells, LANGUAGES, lambda name: 0)[0]


@pytest.fixture
def everything():
    """Cells of every table across corpora; those of another feature set, which may lack something, first."""
    plain = [*every_pair(), *every_pair(scaling="speaker"), *(cell("loco", "x+y", a) for a in sorted(LANGUAGES))]
    plain += [cell("adapt", "aa", "bb", options="k=20", hit=0.5)]
    return [*(with_fields(c, features="own") for c in plain), *plain]


def test_all_tables_across_corpora_compare_cells_on_the_utterances_they_share(everything):
    n_own = len(everything) // 2
    cells = [*(lacking(c, 2) if c.cell["corpus"] == "bb" else c for c in everything[:n_own]), *everything[n_own:]]
    crossed = next(c for c in cells[n_own:] if (c.cell["train"], c.cell["corpus"]) == ("aa", "bb"))
    shared = crossed.of()["utterance"][:-2]
    tables = every_table(cells)
    assert {table.stem for table in tables} == {"transfer", "scalings", "languages", "curves", "protocols"}
    for table in tables:
        assert "bb: 70 of 72 utterances, those that all cells have." in table.notes
    (whole,) = [t for t in tables if t.stem == "transfer" and "scaling train" in t.title]
    row = next(row for row in whole.rows if [entry.text for entry in row[:3]] == ["IS09", "svc", "aa"])
    assert row[3 + sorted(LANGUAGES).index("bb")].text == f"{uar_by_scikit_learn(crossed, shared):.3f}"


def test_cells_across_corpora_that_lack_too_many_utterances_move_no_other_and_are_marked(everything):
    n_own = len(everything) // 2
    cells = [*(lacking(c, 9) if c.cell["corpus"] == "bb" else c for c in everything[:n_own]), *everything[n_own:]]
    pairs = zip(every_table(cells), every_table(everything), strict=True)
    for table, before in pairs:
        rows = zip(table.rows, before.rows, strict=True)
        assert all(a == b for a, b in rows if a[0].text == "IS09")
        own = [entry.text for row in table.rows if row[0].text == "own" for entry in row]
        assert any("‡" in text for text in own) or table.stem == "languages"
        assert any(note.startswith("‡ fewer than 95% of the column") and "63 of 72" in note for note in table.notes)


def test_means_by_language_are_over_the_pairs_so_related():
    cells = every_pair()
    (table,) = tables_of(cells, "languages")
    assert table.header[2:] == ("same corpus", "same family", "other family")
    of = {(c.cell["train"], c.cell["corpus"]): uar_by_scikit_learn(c) for c in cells}
    near = np.mean([of["aa", "bb"], of["bb", "aa"]])
    far = np.mean([value for pair, value in of.items() if "cc" in pair and pair[0] != pair[1]])
    (row,) = table.rows
    assert [e.text for e in row[3:]] == [f"{near:.3f}", f"{far:.3f}"]
    assert [e.aside for e in row[2:]] == ["(3)", "(2)", "(4)"]


def test_tables_that_would_compare_nothing_are_left_out():
    assert tables_of(every_pair(), "scalings") == []
    assert tables_of(every_pair(), "languages", dict.fromkeys(LANGUAGES, "de")) == []
    assert every_table([cell("within", "aa", "aa")]) == []


def test_corpus_whose_index_is_gone_takes_no_part_in_means_by_language():
    gone = [replace(c, predicted={}) if "cc" in (c.cell["train"], c.cell["corpus"]) else c for c in every_pair()]
    known = {"aa": "de", "bb": "en", "dd": "pl"}
    (table,) = tables_of([*gone, cell("cross", "aa", "dd")], "languages", known)
    assert table.header[2:] == ("same corpus", "same family", "other family")


def adapted():
    drawn = [cell("adapt", "aa", "bb", options=f"k={k}", hit=0.3 + k / 200) for k in (50, 10)]
    return [*every_pair(), *drawn, cell("adapt", "aa", "bb", options="k=10 weight=3", hit=0.4)]


def test_curve_starts_at_cross_and_ends_beside_within():
    cells = adapted()
    tables, found = across_tables(cells, LANGUAGES, lambda name: 0)
    assert [(curve.weight, list(curve.points)) for curve in found] == [("", [0, 10, 50]), (", weight 3", [0, 10])]
    (table,) = (table for table in tables if table.stem == "curves")
    by_options = {c.cell["options"]: f"{uar_by_scikit_learn(c):.3f}" for c in cells if c.cell["protocol"] == "adapt"}
    of = {(c.cell["protocol"], c.cell["train"], c.cell["corpus"]): f"{uar_by_scikit_learn(c):.3f}" for c in cells[:9]}
    start, end = of["cross", "aa", "bb"], of["within", "bb", "bb"]
    assert texts(table)["IS09", "svc", "aa -> bb"] == [start, by_options["k=10"], by_options["k=50"], end]
    assert texts(table)["IS09", "svc", "aa -> bb, weight 3"] == [start, by_options["k=10 weight=3"], "–", end]


def test_protocols_stand_side_by_side_in_the_order_of_the_registry():
    cells = [*adapted(), *(cell("pooled", "aa+bb+cc", name, hit=0.7) for name in LANGUAGES)]
    (table,) = tables_of(cells, "protocols")
    kinds = [row[2].text for row in table.rows]
    assert kinds[0] == "within"
    assert kinds[1:4] == ["cross from aa", "cross from bb", "cross from cc"]
    assert kinds[4] == "pooled over aa+bb+cc"
    assert kinds[5:] == ["adapt from aa (k=10 weight=3)", "adapt from aa (k=10)", "adapt from aa (k=50)"]


@pytest.fixture
def crossed_report(monkeypatch, make_index, tmp_path):
    """A report of made-up cells across three corpora."""
    from serbench.report import score_store
    from serbench.scores.predictions import Index
    from serbench.store.results import Store

    cells = [*adapted(), *every_pair(scaling="corpus")]
    indexes = {name: make_index(corpus=name).assign(sampling_rate=16000) for name in LANGUAGES}
    read = [Index(name, index, {"language": LANGUAGES[name]}) for name, index in indexes.items()]
    monkeypatch.setattr("serbench.report.load_predictions", lambda store, indexes: cells)
    monkeypatch.setattr("serbench.report.read_indexes", lambda store: read)
    return score_store(Store(tmp_path / "results"))


def test_report_has_every_table_and_no_table_2_of_pairs(crossed_report):
    stems = [table.stem for table in crossed_report.tables]
    across = ["transfer"] * 2 + ["scalings"] + ["languages"] * 2 + ["curves"] + ["protocols"] * 2
    assert [stem for stem in stems if stem in across] == across
    assert all("cross" not in table.title for table in crossed_report.of("table2-uar"))
    assert set(crossed_report.scores["protocol"]) == {"within", "cross", "adapt"}


def test_page_shows_tables_and_curves_and_figures_draw_them(crossed_report):
    from serbench.report.page import render_page

    page = render_page(crossed_report)
    assert len(re.findall("<figure", page)) == 1
    assert "aa → bb" in page
    drawn = figures(crossed_report)
    across = [name for name in drawn if "curves" in name or "across" in name]
    assert sorted(across) == [
        "learning-curves-three-scaling-train-seed-0",
        "uar-across-corpora-three-scaling-per-corpus-seed-0",
        "uar-across-corpora-three-scaling-train-seed-0",
    ]
    with drawing():
        (axes,) = drawn["learning-curves-three-scaling-train-seed-0"]().axes
    assert [line.get_label() for line in axes.get_lines()] == ["chance", "IS09 svc", "IS09 svc, weight 3"]
    for curve, line in zip(crossed_report.curves, axes.get_lines()[1:], strict=True):
        assert list(line.get_xdata()) == list(curve.points)  # k is to scale


def test_notes_of_one_corpus_say_which_where_several_are_in_a_table():
    copies = "3 utterances are copies of other speakers' recordings and take no part"
    within, across = cell("within", "bb", "bb"), cell("cross", "aa", "bb")
    within = with_record(within, notes=(("bb", copies),))
    across = with_record(across, notes=(("bb", copies),))
    for table in every_table([within, across]):
        assert [note for note in table.notes if "copies" in note] == [f"bb: {copies}."]
