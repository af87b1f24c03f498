"""Results folders in states that nobody planned: every command ends with a result or with words, never a traceback."""

import random
import shutil
import traceback
import warnings

import numpy as np
import pytest

import serbench

EMOTIONS = "anger,happiness,neutral"
EXPERIMENT = """\
title: A toy corpus
citation: Nobody, 2020.
about: Nothing that anybody printed.
corpora: [toy, gone]
grids: [{features: mfcc, classifiers: [knn, dummy], emotions: 'anger,happiness,neutral'}]
values: [{row: k-NN, column: toy, paper: 0.5, where: {corpus: toy, classifier: knn}}]
claims:
  - {name: best, says: k-NN is best., source: Section 1, test: {cells: {classifier: knn}, above: others}}
"""
KINDS = (
    *("index/*", "features/*/set.json", "features/*/*/*", "jobs/*", "cells/*", "experiments/*"),
    *("timings.csv", "report/*"),
)
STATES = [4, pytest.param(400, marks=pytest.mark.long)]


@pytest.fixture
def whole(make_corpus, tmp_path):
    """A small results folder with a cell of every kind: seeds, no inner rule, across corpora, refused, outside."""
    path = make_corpus()
    make_corpus(name="far", seed=1000)
    path.write_text(path.read_text() + path.read_text().partition("far:")[0].replace("toy", "gone"))
    (tmp_path / "mine.yaml").write_text(EXPERIMENT)
    place = serbench.Workspace(tmp_path / "whole", path, jobs=1)
    serbench.run_experiment(str(tmp_path / "mine.yaml"), place)
    knn = {"features": ("mfcc",), "classifiers": ("knn",), "emotions": EMOTIONS}
    serbench.run_grid("toy", serbench.GridRequest(**knn, seeds=(0, 1), inner="none"), place)
    serbench.run_grid(["toy", "far"], serbench.GridRequest(**knn, protocol="cross"), place)
    refused = serbench.GridRequest(("mfcc",), ("knn", "dummy"), emotions=EMOTIONS, scaling="none")
    serbench.run_grid("toy", refused, place)
    folds = serbench.list_folds("toy", serbench.GridRequest(emotions=EMOTIONS), place)
    folds.assign(prediction=np.roll(folds["emotion"], 1)).to_csv(tmp_path / "theirs.csv", index=False)
    serbench.score_predictions(tmp_path / "theirs.csv", serbench.GridRequest(emotions=EMOTIONS), place)
    serbench.make_report(place)
    return place.store()


def states(n, rng):
    """What to do to the files of a few kinds: all of two kinds first, of each kind alone, then of some all or some."""
    states = [[(one, delete, None), (two, flip, None)] for one, two in zip(KINDS[::2], KINDS[1::2], strict=True)]
    states += [[(kind, harm, None)] for harm in (delete, flip) for kind in KINDS]
    while len(states) < n:
        kinds = rng.sample(KINDS, rng.choice([1, 2, 2, 3, 5]))
        harms = [rng.choice([delete, flip, cut, empty]) for _ in kinds]
        states.append([(kind, harm, rng.choice([None, rng.random()])) for kind, harm in zip(kinds, harms, strict=True)])
    return states[:n]


def spoil(root, state, rng):
    """Spoil a share of the files of each kind, all where it is None, and say what was done."""
    told = []
    for kind, harm, share in state:
        files = sorted(path for path in root.glob(kind) if path.is_file())
        chosen = files if share is None else rng.sample(files, round(share * len(files)))
        for path in chosen:
            harm(path, rng)
        told.append(f"{harm.__name__} {len(chosen)} of {len(files)} {kind}")
    return ", ".join(told)


def delete(path, rng):
    path.unlink()


def flip(path, rng):
    data = bytearray(path.read_bytes())
    for at in rng.sample(range(len(data)), min(len(data), rng.choice([1, 8]))):
        data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path, rng):
    path.write_bytes(path.read_bytes()[: rng.randrange(max(1, path.stat().st_size))])


def empty(path, rng):
    path.write_bytes(b"")


@pytest.mark.parametrize("n", STATES)
def test_no_state_of_a_results_folder_ends_a_command_in_a_traceback(whole, tmp_path, cli, tally, n):
    bad, rng = tmp_path / "bad", random.Random(n)
    here = ("--results", bad)
    commands = [("report", *here), ("compare", bad, whole.root), ("store", "check", *here)]
    commands += [("store", "clean", "--yes", *here), ("report", *here)]
    wrong = []
    for state in states(n, rng):
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(whole.root, bad)
        told = spoil(bad, state, rng)
        for command in commands:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # which the command line prints
                try:
                    code, out, err = cli(*command)
                except Exception as error:
                    wrong.append(f"{command[0]} after {told}: {''.join(traceback.format_exception(error)[-3:])}")
                    continue
            if code and (code != 1 or not (out or err).strip()):
                wrong.append(f"{command[0]} after {told}: exit status {code}, {out}{err}")
            files = [path for path in (bad / "report").rglob("*") if path.is_file()]
            if absolute := [path.name for path in files if str(tmp_path).encode() in path.read_bytes()]:
                wrong.append(f"{command[0]} after {told}: absolute paths in {absolute}")
    assert not wrong, "\n".join(wrong)
    tally("states: folders", n)
