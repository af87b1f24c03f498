"""Descriptions of experiments, and what runs of them leave in the results folder and in the report."""

import dataclasses
import itertools
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import codes_of, made_cell, made_record, saying, truth_of, with_fields, with_record
from trees import WRITERS

from serbench import GridRequest, Workspace, experiments, list_experiments, make_report, run_experiment, run_grid
from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.tasks import find_task
from serbench.errors import ConfigError, CorpusError, UnknownNameError
from serbench.experiments.claims import Book, judge
from serbench.experiments.load import Grid, built_in, check_names, find_experiment, read_experiment
from serbench.experiments.tables import claims_frame, experiment_tables
from serbench.protocols import Draw
from serbench.report.table import bracketed
from serbench.scores.metrics import confusions
from serbench.scores.statistics import Interval
from serbench.store.files import read_json

TEXT = """\
title: Two toy corpora
citation: Nobody, 2020.
about: Nothing that anybody printed.
corpora: [toy, far, gone]
metric: uar
grids:
  - {features: mfcc, classifiers: [knn, dummy], emotions: 'anger,happiness,neutral'}
  - {features: mfcc, classifiers: dummy, emotions: 'anger,happiness,neutral', corpora: [far]}
values:
  - {row: k-NN, column: toy, paper: 0.5, where: {corpus: toy, classifier: knn}, note: another toy.}
  - {row: k-NN, column: gone, paper: 0.25, where: {corpus: gone, classifier: knn}}
  - {row: k-NN, column: joy in toy, paper: 1, metric: recall happiness, where: {corpus: toy, classifier: knn}}
  - {row: LSTM, column: toy, paper: 0.9, needs: neural network}
claims:
  - name: knn is best
    says: k-NN gave the best performance.
    source: Section 1
    test: {cells: {classifier: knn}, above: others, by: {corpus: [toy, far, gone]}, at_least: 2}
  - name: LSTM is better
    says: The LSTM is better.
    source: Section 2
    needs: neural network
"""


MADE_UP = TEXT.replace("[toy, far, gone]", "[alpha, beta, gone]").replace("[far]", "[beta]")


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_corpus, write_wav):
    """Write the experiment above and two of its three corpora, and run it, for the tests to copy."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("toy", "far"):
        path = write_corpus(folder, name=name)
    for seed, wav in enumerate(sorted((folder / "far").glob("*.wav"))):
        write_wav(wav, seed=1000 + seed)
    path.write_text(path.read_text() + path.read_text().partition("far:")[0].replace("toy", "gone"))
    (folder / "mine.yaml").write_text(TEXT)
    run_experiment(str(folder / "mine.yaml"), Workspace(results=folder / "results", corpora_file=path, jobs=1))
    return folder


@pytest.fixture
def place(made, tmp_path):
    """A workspace in the folder of the test, where the jobs of the experiment are done and nothing is recorded."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    for name in ("experiments", "cells", "report"):
        shutil.rmtree(tmp_path / "results" / name)
    return Workspace(results=tmp_path / "results", corpora_file=tmp_path / "corpora.yaml", jobs=1)


def test_experiments_that_come_with_serbench_name_what_there_is():
    names = ["acted-cross", "goel2020-table2", "neumann2018", "schiavone2022", "schrama2021-baseline"]
    assert list(built_in()) == list(list_experiments()) == names
    for name in names:
        check_names(find_experiment(name), load_catalogue())
    with pytest.raises(UnknownNameError, match="Did you mean 'goel2020-table2'"):
        find_experiment("goel2020-table")


def test_fields_of_a_grid_are_those_of_a_request():
    assert set(Grid.model_fields) == {"corpora", *(field.name for field in dataclasses.fields(GridRequest))}
    request = Grid.model_validate({"features": "mfcc", "classifiers": ["knn"], "k": ["6"], "segment": "1.5"}).request
    assert GridRequest(**request) == GridRequest(("mfcc",), ("knn",), k=(6,), segment=1.5)


def test_all_faults_of_a_file_come_at_once_with_their_places():
    text = TEXT.replace("citation:", "citaton:").replace("paper: 0.5", "paper: half")
    with pytest.raises(ConfigError, match=r"^4 faults:") as caught:
        read_experiment(text.replace("above: others", "above: most"), "mine")
    assert "mine.yaml: citaton (line 2): unknown key 'citaton'. Did you mean 'citation'?" in str(caught.value)
    assert "mine.yaml: values.0.paper (line 10): 'half'." in str(caught.value)
    assert "no selection, 'others', 'chance' or number: 'most'" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("toy, classifier: knn}, note", "toy, classifer: knn}, note", "'classifer' is no column of the scores"),
        (", where: {corpus: gone, classifier: knn}}", "}", "without a cell of ours"),
        ("above: others,", "", "give one of above, below and near, not none"),
        ("above: others,", "above: others, below: chance,", "not above and below"),
        ("above: others,", "near: others,", "'near' needs a margin"),
        ("at_least: 2", "at_least: 4", "at least 4 of 3"),
        ("    needs: neural network\n", "", "give `test`, or say what it `needs`"),
        ("paper: 0.5", "paper: nan", "finite"),
        ("name: LSTM is better", "name: knn is best", "two claims are named 'knn is best'"),
        ("metric: uar", "metric: uaar", "'uaar' is no metric. Did you mean 'uar'"),
        ("corpora: [far]", "corpora: [fa]", "a grid names the corpus 'fa', which is not in its corpora"),
        ("metric: uar", "title: again", "the key 'title' a second time"),
    ],
)
def test_what_makes_no_sense_is_refused(old, new, told):
    with pytest.raises(ConfigError, match=told):
        read_experiment(TEXT.replace(old, new), "mine")


def test_unknown_names_are_told_all_at_once():
    text = TEXT.replace("features: mfcc, classifiers: dummy", "features: mfc, classifiers: dumy")
    with pytest.raises(ConfigError, match=r"(?s)corpus 'toy'.*Unknown feature set 'mfc'.*Unknown classifier 'dumy'"):
        check_names(read_experiment(text, "mine"), load_catalogue())


def test_a_run_goes_from_the_file_to_the_verdicts_in_every_format(place, tmp_path):
    # A cell of another grid is never compared with a value of the paper, though its columns match.
    run_grid(["toy"], GridRequest("mfcc", "knn", emotions="anger,happiness,neutral", seeds=(7,)), place)
    result = run_experiment(str(tmp_path / "mine.yaml"), place)
    assert (result.present, list(result.absent), result.skipped) == (("toy", "far"), ["gone"], {})
    assert result.absent["gone"] == "not on this disk: no such folder"
    values, claims = result.tables
    scores = result.report.scores.query("corpus == 'toy' and classifier == 'knn' and rule == 'nested' and seed == 0")
    (ours,) = scores[scores["metric"] == "uar"].itertuples()
    shown = [entry.text for entry in values.rows[0]]
    assert shown == ["k-NN", "toy", "0.500", f"{ours.value:.3f}", f"{ours.value - 0.5:+.3f}"]
    assert values.rows[0][3].aside == bracketed(Interval(ours.low, ours.high))
    recall = result.report.long["recall-long"].query(
        "corpus == 'toy' and classifier == 'knn' and rule == 'nested' and emotion == 'happiness' and seed == 0"
    )
    assert values.rows[2][3].text == f"{recall['recall'].item():.3f}"
    assert [entry.text for entry in values.rows[1][3:]] == ["–", "–"]
    assert any(note.startswith("– k-NN, gone: gone: not on this disk: no such folder.") for note in values.notes)
    assert "– LSTM, toy: needs a neural network." in values.notes
    assert [row[0].text for row in claims.rows] == ["knn is best", "LSTM is better"]
    assert claims.rows[1][1].text == "not tested here"
    folder = tmp_path / "results" / "report"
    found = {"md": "k-NN", "csv": "mine,", "tex": r"\toprule"}
    for stem, ending in itertools.product(("experiment", "claims"), found):
        assert found[ending] in (folder / f"{stem}.{ending}").read_text()
    assert list(pd.read_csv(folder / "claims-long.csv")["claim"]) == ["knn is best", "LSTM is better"]
    assert all("Claims: mine" in (folder / name).read_text() for name in ("report.md", "index.html"))


def test_a_changed_description_is_told_and_the_recorded_one_is_kept(place, tmp_path):
    file, path = tmp_path / "mine.yaml", tmp_path / "results" / "experiments" / "mine.json"
    first = run_experiment(str(file), place)
    file.write_text(TEXT.replace("paper: 0.5", "paper: 0.75"))
    (values,) = make_report(place).of("experiment")
    assert "0.500" in [row[2].text for row in values.rows]
    second = run_experiment(str(file), place)
    assert (first.earlier, second.earlier) == ("", first.described.digest)
    assert "0.750" in [row[2].text for row in second.tables[0].rows]
    record = read_json(path)
    assert (record["digest"], record["text"]) == (second.described.digest, file.read_text())
    assert str(tmp_path) not in json.dumps(record["cells"])
    for text in (json.dumps({**record, "text": TEXT.replace("above: others", "above: most")}), "{}"):
        path.write_text(text)
        with pytest.warns(UserWarning, match=r"mine\.json: the record of an experiment cannot be used and is left out"):
            assert not make_report(place).of("claims")
    path.unlink()
    make_report(place)
    folder = tmp_path / "results" / "report"
    assert not [path for path in folder.iterdir() if path.stem in ("experiment", "claims", "claims-long")]


def test_grids_of_one_title_are_all_planned(place, tmp_path):
    again = "  - {features: mfcc, classifiers: [knn, dummy], emotions: 'anger,happiness,neutral', seeds: [1]}\n"
    (tmp_path / "mine.yaml").write_text(TEXT.replace("grids:\n", f"grids:\n{again}"))
    first, second, _ = run_experiment(str(tmp_path / "mine.yaml"), place, dry_run=True).grids
    assert [{cell.cell.seed for cell in grid.plan.cells} for grid in (first, second)] == [{1}, {0}]


ACROSS = """\
title: Across two toys
citation: Nobody, 2020.
about: Two corpora of noise within and across each other; a margin of 1 takes every interval, if there is one.
corpora: [toy, far]
grids:
  - {features: mfcc, classifiers: knn, emotions: 'anger,happiness,neutral'}
  - {features: mfcc, classifiers: knn, emotions: 'anger,happiness,neutral', protocol: cross}
  - {features: mfcc, classifiers: knn, emotions: 'anger,happiness,neutral', protocol: adapt, k: [6]}
claims:
  - name: crossing costs nothing
    says: A guess is as good as a guess.
    source: asked here
    test: {cells: {protocol: cross}, near: {protocol: within}, margin: 1, ignoring: [train], by: {corpus: [toy, far]}}
  - name: adapting neither
    says: A few utterances change no guess.
    source: asked here
    test: {cells: {protocol: adapt, options: k=6}, near: {protocol: cross}, margin: 1, by: {corpus: [toy, far]}}
  - name: all is chance
    says: A guess is at chance.
    source: asked here
    test: {cells: {protocol: within}, near: chance, margin: 1, by: {corpus: [toy, far]}}
"""


@pytest.mark.slow
def test_a_stopped_run_leaves_a_record_whose_unfinished_cells_are_lacking(place, tmp_path, monkeypatch):
    file = tmp_path / "mine.yaml"
    file.write_text(ACROSS)
    run, done = experiments.run_planned_grid, []

    def stop_at_the_second(planned):
        if done:
            raise KeyboardInterrupt
        done.append(planned)
        return run(planned)

    monkeypatch.setattr(experiments, "run_planned_grid", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(str(file), place)
    long = make_report(place).long["claims-long"].set_index("claim")
    assert "p 0.12" in long["why"]["all is chance"]
    assert "toy mfcc knn: its cell is not in the results folder; run it again" in long["why"]["crossing costs nothing"]
    assert "the run was stopped before this grid; run it again" in long["why"]["adapting neither"]
    monkeypatch.undo()
    whole = run_experiment(str(file), place)
    assert not whole.report.long["claims-long"]["why"].str.contains("run it again").any()
    (claims,) = whole.tables
    # Four speakers can tell nothing by a test, and each corpus is named with its numbers.
    assert [[entry.text for entry in row[1:]] for row in claims.rows] == [["cannot tell", "0", "0", "2"]] * 3
    for line in claims.notes[2:5]:
        assert re.search(r"toy: .*p 0\.1.* \(undecided\); far: .*p 0\.1.* \(undecided\)", line), line
    path = tmp_path / "corpora.yaml"
    path.write_text(path.read_text().replace("root: toy", "root: no-toy"))
    alone = run_experiment(str(file), place)
    assert (alone.present, alone.absent["toy"]) == (("far",), "not on this disk: no such folder")
    assert set(alone.skipped.values()) == {"needs 2 corpora, here: far"}
    path.write_text(path.read_text().replace("root: far", "root: no-far"))
    with pytest.raises(CorpusError, match="2 faults"):
        run_experiment(str(file), place)


TEARS = st.tuples(st.integers(0, len(TEXT) - 1), st.sampled_from(["", ":", "- ", "{", "\n", "x", "'"]))


@given(st.lists(TEARS, max_size=4))
def test_a_torn_description_is_refused_with_faults_or_read(tears):
    text = TEXT
    for place, put in tears:
        text = text[:place] + put + text[place + 3 :]
    faults = []
    try:
        read_experiment(text, "mine")
    except ConfigError as error:
        faults = [fault for fault in error.faults if not fault.where.startswith("mine.yaml")]
    assert not faults


def test_run_prints_tables_within_80_columns_and_ends_well_with_corpora_missing(cli, place, tmp_path):
    file, options = tmp_path / "mine.yaml", ["--results", place.results, "--corpora", place.corpora_file, "--jobs", 1]
    code, out, err = cli("run", file, "--dry-run", *options)
    assert code == 0, err
    assert "Grid 2, within, emotions anger,happiness,neutral: mfcc x dummy\n" in out
    assert "\nfar mfcc dummy (anger,happiness,neutral, inner all): would run 0 of" in out
    total = (
        "All 2 grids, with the cells and jobs that they share counted once\nA dry run: 4 cells would run 0 of their 40"
    )
    assert total in out
    assert not (tmp_path / "results" / "experiments").exists()
    code, out, err = cli("run", file, *options)
    assert code == 0, err
    assert "Paper and ours: mine" in out
    assert "cannot tell" in out
    assert "1 of 3 corpora of mine took no part:" in err
    assert "gone: not on this disk: no such folder; get it: CC0-1.0" in err
    assert max(len(line) for line in out.splitlines() if not line.startswith("Open ")) <= 80
    assert "Claims: mine" in cli("report", "--results", place.results)[1]
    code, out, err = cli("store", "check", "--results", place.results)
    assert (code, "1 experiments" in out) == (0, True), err
    code, _, err = cli("run", file, "--corpora", "emodb,emovo")
    assert (code, "takes a catalogue file" in err) == (2, True), err


def test_experiments_can_be_listed_and_shown(cli):
    assert "goel2020-table2: " in cli("experiments", "list")[1]
    code, out, err = cli("experiments", "show", "goel2020-table2")
    assert code == 0, err
    assert "svc with IS09 is best" in out
    assert out.rstrip().endswith(find_experiment("goel2020-table2").digest)


LONG = [pytest.param(name, marks=pytest.mark.long) for name in ("goel2020-table2", "neumann2018", "schiavone2022")]


@pytest.mark.parametrize("name", [*LONG, pytest.param("schrama2021-baseline", marks=pytest.mark.slow)])
def test_synthetic_trees_go_through_the_experiments_of_papers_to_the_tables(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SERBENCH_DATA", str(tmp_path))
    described = find_experiment(name)
    for corpus in described.experiment.corpora:
        longer = {"duration_s": 1.2} if name == "schiavone2022" else {}  # than its pieces of 1 s
        WRITERS[corpus](tmp_path / corpus, **longer)
    result = run_experiment(name, Workspace(results=tmp_path / "results", partial=True, jobs=2))
    assert (result.absent, result.skipped, result.failed) == ({}, {}, {})
    assert not [grid.refused for grid in result.grids if grid.refused]
    for table in result.report.of("experiment"):
        shown = {entry[0].text + entry[1].text: entry[3].text for entry in table.rows}
        needed = {v.row + v.column for v in described.experiment.values if v.needs}
        assert {place for place, text in shown.items() if text == "–"} == needed
    long = result.report.long["claims-long"]
    assert not long["missing"].any(), long.loc[long["missing"] > 0, ["claim", "why"]].to_dict("records")


@pytest.fixture
def book(made_up_report):
    """Cells of made-up predictions as the book of an experiment."""
    report, _ = made_up_report()
    cells = [cell for matrix in report.matrices for cell in matrix.cells.values()]
    return Book(read_experiment(MADE_UP.replace("knn", "svc"), "mine"), cells, {"gone": "no such folder"})


ALPHA = {"corpus": ("alpha",), "classifier": ("svc",), "features": ("sound",)}


def test_cells_that_are_gone_corpora_that_are_absent_and_grids_that_were_not_run_are_lacking(book):
    lost = next(cell for cell in book.cells if (cell.cell["corpus"], cell.cell["classifier"]) == ("alpha", "svc"))
    cut = dataclasses.replace(book, cells=[cell for cell in book.cells if cell is not lost], gone=[lost.cell])
    told = f"alpha {lost.cell['features']} svc: its cell is not in the results folder; run it again"
    for where in ({"corpus": ("alpha",)}, {"corpus": ("alpha",), "classifier": ("svc",)}):
        assert (book.lacking(where, "uar"), cut.lacking(where, "uar")) == ([], [told])
    for where in ({"corpus": ("alpha", "gone")}, {"protocol": ("cross",), "corpus": ("alpha",)}):
        assert book.lacking(where, "uar") == ["gone: no such folder"]
    grid = next(grid for grid in book.described.experiment.grids if "svc" in grid.classifiers)
    stopped = dataclasses.replace(book, skipped={grid.title: "it was stopped"})
    asked = [{"classifier": ("svc",)}, {"classifier": ("svc",), "protocol": ("within",)}]
    others = [{"classifier": ("rf",)}, {"classifier": ("svc",), "protocol": ("holdout",)}]
    found = ["it was stopped" in stopped.lacking(where, "uar") for where in (*asked, *others)]
    assert found == [True, True, False, False]


def test_precision_is_the_share_of_hits_and_undefined_where_an_emotion_is_never_predicted(book):
    (measured,) = book.values(ALPHA, "precision anger")
    cell = measured.cell
    anger, neutral = (cell.emotions.index(emotion) for emotion in ("anger", "neutral"))
    called = [u for u, code in codes_of(cell).items() if code == anger]
    assert measured.number == pytest.approx(len([u for u in called if truth_of(cell)[u] == anger]) / len(called))
    assert measured.interval.low < measured.number < measured.interval.high
    never = dataclasses.replace(book, cells=[saying(cell, lambda rows: neutral)])
    assert never.values(ALPHA, "precision anger") == []
    assert never.values(ALPHA, "recall anger")[0].number == 0
    # Undefined without one speaker: no interval, and nothing is decided by it.
    one = cell.of()["unit"].iloc[0]
    alone = saying(cell, lambda rows: np.where(rows["unit"] == one, anger, neutral))
    (value,) = dataclasses.replace(book, cells=[alone]).values(ALPHA, "precision anger")
    assert value.interval is None
    assert [np.isnan(p) for _, p in book.contrasts([(value, None)], [(0.0,)])[0].tests] == [True]


@pytest.mark.parametrize("metric", ["uar", "kappa", "recall anger"])
def test_p_agrees_with_the_interval_of_a_difference(book, metric):
    a, b = book.values({"corpus": ("alpha",), "classifier": ("svc",)}, metric)
    low, high = book.contrasts([(a, b)], [(0.0,)])[0].interval
    bounds = (2 * low - high, (low + high) / 2, 2 * high - low)
    found = [book.contrasts([(a, b)], [(bound,)])[0].tests[0] for bound in bounds]
    assert [(found[0][0], found[2][0]), [p <= 0.05 for _, p in found]] == [(1, -1), [True, False, True]]


def test_cells_of_two_corpora_are_compared_over_both_their_speakers(book):
    a, b = (book.values({**ALPHA, "corpus": (corpus,)}, "uar")[0] for corpus in ("alpha", "beta"))
    (found,) = book.contrasts([(a, b)], [(0.0,)])
    assert found.difference == pytest.approx(a.number - b.number)
    ((side, p),) = found.tests
    assert (p <= 0.05) == (found.interval.low > 0 or found.interval.high < 0)


def test_the_gap_between_recalls_of_one_cell_is_jackknifed_over_its_speakers(book):
    (a,), (b,) = (book.values(ALPHA, f"recall {emotion}") for emotion in ("anger", "neutral"))
    cell = a.cell
    stack = confusions(cell.of(), "unit", n_emotions=len(cell.emotions))
    shares = [stack[:, i, i] / stack[:, i].sum(axis=1) for i in (0, 2)]  # every speaker has as many of each
    gaps = shares[0] - shares[1]
    reach = 2.3646 * gaps.std(ddof=1) / np.sqrt(len(gaps))  # Student's t with 7 degrees of freedom
    (found,) = book.contrasts([(a, b)], [(0.0,)])
    assert found.difference == pytest.approx(gaps.mean())
    assert found.interval == pytest.approx((gaps.mean() - reach, gaps.mean() + reach), abs=1e-4)


def test_tables_say_that_a_copy_is_partial_and_that_a_scaling_heard_the_test(book):
    first, *others = book.cells
    partials = {"alpha@1s": "partial, 7 of 24", "delta": "partial, 1 of 2"}  # delta trains only
    heard = with_record(with_fields(first, scaling="speaker"), partials=partials, transductive=True)
    books = [dataclasses.replace(book, cells=[heard, *others])]
    for table in experiment_tables(books, claims_frame(books)):
        assert {"alpha: partial, 7 of 24.", "delta: partial, 1 of 2."} <= set(table.notes)
        assert [note for note in table.notes if note.startswith("Transductive: ")]


def made_up_cells(experiment, make_index):
    """Make one cell for everything that the grids of an experiment would run, with predictions that are half right."""
    indexes = {c: make_index(corpus=c, speakers=("f1", "f2", "m1", "m2"), takes=2) for c in experiment.corpora}
    rng = np.random.default_rng(0)
    for grid in experiment.grids:
        axes = experiment.corpora, grid.features, grid.classifiers, grid.k or (None,)
        for corpus, features, classifier, k in itertools.product(*axes):
            for train in _trains(grid.protocol, corpus, experiment.corpora):
                fields = {"protocol": grid.protocol, "task": grid.target or "an emotion task", "train": train}
                fields |= {"corpus": corpus, "features": features, "classifier": classifier, "space": "standard"}
                options = Draw(k, grid.weight).title if k else ""
                fields |= {"scaling": grid.scaling, "inner": "all", "preprocessing": "none", "options": options}
                yield _made_up(fields, indexes[corpus], grid, rng)


def _trains(protocol, corpus, corpora):
    others = [other for other in corpora if other != corpus]
    joined = {"pooled": sorted(corpora), "loco": sorted(others), "lolo": sorted(others)}
    if protocol in joined:
        return ["+".join(joined[protocol])]
    return others if protocol in ("cross", "adapt") else [corpus]


def _made_up(fields, index, grid, rng):
    task = find_task(load_catalogue(), task=None, emotions=grid.emotions, where=())
    emotions = ("high", "low") if grid.target else task.emotions
    table = pd.DataFrame({"utterance": [f"{u} {i}" for u in index["utterance"] for i in range(10)]})
    table["truth"], table["who"] = np.arange(len(table)) % len(emotions), table["utterance"].str.partition("_")[0]
    guesses = np.where(rng.random(len(table)) < 0.5, table["truth"], rng.integers(len(emotions), size=len(table)))
    predictions = {"nested": dict(zip(table["utterance"], guesses.tolist(), strict=True))}
    return made_cell(made_record(fields, emotions), table, predictions)


@pytest.mark.parametrize("name", built_in())
def test_every_claim_that_needs_no_network_finds_its_cells_in_its_own_grids(name, make_index):
    described = find_experiment(name)
    experiment = described.experiment
    book = Book(described, list(made_up_cells(experiment, make_index)))
    for claim in experiment.claims:
        judgement = judge(claim, book, metric=experiment.metric)
        assert not judgement.count("missing"), (claim.name, judgement.why)
        assert bool(judgement.groups) == (claim.test is not None)
        assert "without an interval" not in judgement.why
    for value in experiment.values:
        assert bool(value.needs) or len(book.values(value.where, value.metric or experiment.metric)) == 1


def test_language_is_told_only_where_all_five_corpora_took_part(make_index):
    described = find_experiment("goel2020-table2")
    (claim,) = (claim for claim in described.experiment.claims if claim.name == "language is known")
    grids = tuple(grid for grid in described.experiment.grids if grid.target == "language")
    cells = list(made_up_cells(described.experiment.model_copy(update={"grids": grids}), make_index))
    of_four = [with_fields(cell, train="emodb+emovo+iemocap+masc") for cell in cells]
    assert not judge(claim, Book(described, cells), metric="war").count("missing")
    judgement = judge(claim, Book(described, of_four, {"savee": "no such folder"}), metric="war")
    assert judgement.count("missing") == 1
    assert "savee: no such folder" in judgement.why


def test_another_description_that_comes_with_serbench_is_told_in_the_report():
    described = find_experiment("goel2020-table2")
    for text in (described.text, f"{described.text}# an older one\n"):
        books = [Book(read_experiment(text, described.name), [])]
        for table in experiment_tables(books, claims_frame(books)):
            is_told = "serbench comes with another description of this name" in table.notes[0]
            assert is_told == (text != described.text)


def test_p_is_that_of_table_2_and_a_dummy_changes_none(made_up_report):
    """Both others are far from the dummy for single speakers, either way, and apart from each other by little."""

    def said(rights):
        def change(cell):
            folds = cell.of().groupby("fold", observed=True)["utterance"]
            right = {u for n, (_, of) in zip(rights, folds, strict=True) for u in of[:n]}
            return [saying(cell, lambda of: of["truth"].where(of["utterance"].isin(right), (of["truth"] + 1) % 3))]

        return change

    rights = {"svc": (9, 1, 9, 1, 9, 1, 9, 2), "knn": (8, 0, 8, 0, 8, 0, 8, 0), "dummy": (3, 3, 3, 3, 3, 3, 3, 3)}
    change = {("sound", name, "alpha"): said(of) for name, of in rights.items()}
    report, _ = made_up_report(corpora=("alpha",), features=("sound",), classifiers=tuple(rights), change=change)
    cells = [cell for matrix in report.matrices for cell in matrix.cells.values()]
    book = Book(read_experiment(MADE_UP, "mine"), cells)
    of = {m.fields["classifier"]: m for m in book.values({"corpus": ("alpha",)}, "uar")}
    pairs = [(of["svc"], of["knn"]), (of["svc"], of["dummy"]), (of["knn"], of["dummy"])]
    found = book.contrasts(pairs, [(0.0,)] * 3)[0]
    in_table_2 = report.long["differences"].query("metric == 'uar' and classifier == 'knn'").iloc[0]
    assert found.tests[0][1] == in_table_2["p"] == 2 / 2**8
    assert found.difference == pytest.approx(in_table_2["below_best"])
    assert found.interval == pytest.approx((in_table_2["low"], in_table_2["high"]))
    (alike,) = book.contrasts([(of["svc"], of["svc"])], [(-0.5,)])  # which can tell nothing
    assert (alike.difference, alike.interval, np.isnan(alike.tests[0][1])) == (0.0, None, True)
