"""Grids, folds and reports of the protocol within-text, end to end on blobs."""

import dataclasses
import io

import nested_loso
import numpy as np
import pandas as pd
import pytest
from tables import codes_of, settings_of

import serbench
from serbench import protocols
from serbench.scores.predictions import load_predictions
from serbench.store.results import Store

THREE = ("anger", "happiness", "neutral")


@pytest.fixture
def toy(make_corpus, make_features, workspace, tmp_path):
    """A corpus whose takes are texts, each said in each emotion, with a file of features, and a function for grids."""

    def make(*, texts=3, noise=2.5, **options):
        path = make_corpus(takes=texts, **options)
        path.write_text(path.read_text().replace("(?P<take>", "(?P<text>"))
        index = serbench.load_index("toy", workspace(path))
        features = make_features(index, noise=noise, n_features=6)
        features.to_csv(tmp_path / "blobs.csv", index=False)

        def run(*, dry_run=False, **request):
            asked = {"features": str(tmp_path / "blobs.csv"), "classifiers": "dummy", "emotions": ",".join(THREE)}
            asked |= {"protocol": "within-text", **request}
            planned = serbench.plan_grid("toy", serbench.GridRequest(**asked), run.place, dry_run=dry_run)
            return planned if dry_run else serbench.run_planned_grid(planned)

        run.index, run.features, run.path, run.place = index, features, path, workspace(path)
        return run

    return make


def outcome_of(run):
    (cell,) = load_predictions(Store(run.place.results))
    return cell


@pytest.mark.parametrize("family", ["logistic", "svc"])
def test_predictions_are_those_of_the_independent_script(toy, family):
    run = toy(speakers=("f1", "m1", "m2"), noise=3.0)
    assert not run(classifiers=family).refused
    cell = outcome_of(run)
    table = run.features.merge(run.index, on="utterance").sort_values("utterance")
    x, y, speakers, texts = (table[c].to_numpy() for c in ([f"x{i}" for i in range(6)], "emotion", "speaker", "text"))
    tuned, default, selected = nested_loso.nested_texts(family, x, y, speakers, texts)
    emotions = np.array(cell.emotions)
    for rule, expected in (("nested", tuned), ("default", default)):
        predicted = codes_of(cell, rule)
        assert [str(emotions[predicted[u]]) for u in table["utterance"]] == list(expected)
    settings = {(f"toy/{who}", what): s for (who, what), s in by_fold(settings_of(cell)).items()}
    assert settings == {(who, f"texts{int(text) + 1}"): s for (who, text), s in selected.items()}


def by_fold(values):
    return {tuple(fold.split("/")): value for fold, value in values.items()}


def test_cells_stand_beside_those_of_within_and_share_no_key(toy):
    run = toy()
    run(protocol="within")
    both = len(run.place.store().cells), len(run(protocol="within", dry_run=True).plan.todo)
    assert both == (1, 0)
    assert len(run().plan.todo) == 3 * (4 * 3 // 2 + 4)
    assert len(run.place.store().cells) == 2
    assert not run(dry_run=True).plan.todo
    titles = [table.title.split(": ")[1].split(",")[0] for table in serbench.make_report(run.place).of("table2-uar")]
    assert titles == ["within", "within-text (text-independent)"]


def test_report_says_in_words_what_was_held_out(toy):
    run = toy()
    run()
    (table,) = serbench.make_report(run.place).of("table2-uar")
    assert "within-text (text-independent), anger,happiness,neutral" in table.title
    notes = " ".join(table.notes)
    assert "against the others' of all other texts (fewer to train on), speaker- and text-independent;" in notes
    assert "36 utterances; 12 folds, inner all; 4 groups of speakers x 3 of texts, which leaves 67% of" in notes


def test_planted_leak_of_a_text_stops_the_run(toy, monkeypatch):
    sound = protocols.Protocol.folds

    def leaky(self, rows, rule, draw=None):
        first, *others = sound(self, rows, rule)
        said = next(u for u in rows["utterance"] if "f1" not in u and u[-5] == "0")
        train = dataclasses.replace(first.train, utterances=(*first.train.utterances, said))
        return [dataclasses.replace(first, train=train), *others]

    run = toy()
    monkeypatch.setattr(protocols.Protocol, "folds", leaky)
    with pytest.raises(serbench.SerbenchError, match=r"plan, f1/texts1: texts in training and test: 0.*This is a leak"):
        run()


def test_corpus_without_texts_is_refused_and_the_others_go_on(toy):
    run = toy()
    run.path.write_text(run.path.read_text().replace("(?P<text>", "(?P<take>"))
    (reason,) = run().refused.values()
    assert reason.startswith(
        "toy, --text-independent: its entry gives no texts. Expected what each utterance says. Add a"
    )
    assert not run(protocol="within").refused


def test_emotion_that_the_texts_held_out_take_along_refuses_the_cell(toy):
    run = toy()
    for path in (run.path.parent / "toy").glob("*anger_[12].wav"):
        path.unlink()
    (reason,) = run().refused.values()
    assert reason == (
        "toy, --protocol within-text: fold f1/texts1: no utterance of anger to train on. Expected some of each "
        "emotion. Leave these emotions out with --emotions, or use --protocol within."
    )


@pytest.mark.slow
def test_texts_told_anew_make_cells_outdated_until_they_are_run_again(toy):
    run = toy(texts=4)
    run(classifiers="knn")
    run(protocol="within")
    run.path.write_text(run.path.read_text().replace("values: {", "values: {text: {'3': '2'}, "))
    serbench.load_index("toy", run.place)
    cells = load_predictions(Store(run.place.results))
    assert all("the corpus has changed since" in cell.reasons["default"] for cell in cells)
    run()
    assert not run(protocol="within").plan.todo  # the same jobs
    (command,) = serbench.make_report(run.place).commands
    asked = "--classifier knn --emotions anger,happiness,neutral --protocol within-text"
    assert command == f"serbench grid toy --features blobs.csv {asked}"


def test_speaker_scaling_uses_what_speakers_say_of_the_texts_held_out(toy):
    """A speaker is scaled on all of the speaker's audio, unlabelled; results are called transductive."""
    run = toy(texts=4)
    job = next(iter(run(scaling="speaker", dry_run=True).plan.jobs.values()))
    assert all(len(utterances) == 12 for utterances in job.json["normalised"].values())
    run(scaling="speaker")
    notes = " ".join(serbench.make_report(run.place).of("table2-uar")[0].notes)
    assert "Transductive" in notes
    assert "speakers are scaled on their utterances of the texts held out too" in notes


def test_folds_for_other_tools_tell_speakers_from_texts(toy):
    run = toy()
    asked = serbench.GridRequest(protocol="within-text", emotions=",".join(THREE))
    table = serbench.list_folds("toy", asked, run.place)
    assert list(table["fold"]) == list(table["speaker_fold"] + "/" + table["text_fold"])
    assert table["fold"].nunique() == 12
    row = table[table["fold"] == "f1/texts1"].iloc[0]
    tuning = table[table["fold"].isin(row["tuning_folds"].split())]
    assert set(tuning["speaker_fold"]) == {"f2", "m1", "m2"}
    assert set(tuning["text_fold"]) == {"texts2", "texts3"}
    plan = run(dry_run=True).plan  # which trains and tests as the table says
    for fold in plan.cells[0].folds:
        who, what = fold.name.split("/")
        train = table[(table["speaker_fold"] != who) & (table["text_fold"] != what)]
        assert set(plan.jobs[fold.job].train.utterances) == set(train["utterance"])
        assert set(plan.cells[0].sets[fold.name]) == set(table[table["fold"] == fold.name]["utterance"])


def test_command_line_knows_the_flag(toy, cli, tmp_path):
    run = toy()
    place = ["--corpora", run.path, "--results", run.place.results]
    asked = ["grid", "toy", "-f", tmp_path / "blobs.csv", "-c", "dummy", "--emotions", "anger,neutral", *place]
    code, out, err = cli(*asked, "--text-independent")
    assert code == 0, err
    assert "30 jobs" in out + err
    code, out, err = cli(*asked, "--protocol", "within-text")
    assert code == 0, err
    assert "30 already there" in out + err
    code, out, err = cli("folds", "toy", "--text-independent", "--emotions", "anger,neutral", *place)
    assert code == 0, err
    assert pd.read_csv(io.StringIO(out))["text_fold"].nunique() == 3


def test_flag_and_another_protocol_are_a_usage_error(cli):
    code, _, err = cli("grid", "toy", "--text-independent", "--protocol", "within")
    assert code == 2
    assert "--text-independent is --protocol within-text, not within" in " ".join(err.replace("│", " ").split())
