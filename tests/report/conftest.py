"""Grids on made-up features, each run once for all tests of the report."""

import shutil

import pytest

import serbench
from serbench.store.results import Store


@pytest.fixture(scope="session")
def made():
    """What the grids of this session were run with -> a copy of their folder, the report, and the index."""
    return {}


@pytest.fixture
def toy_report(made, tmp_path_factory, make_corpus, make_features, workspace, tmp_path):
    """Run a grid on blobs of a corpus and report it; `without` names recordings that are not there."""

    def make(
        *, names=("blobs",), noise=2.5, classifiers=("knn", "logistic"), runs=({},), without=(), replace=(),
        rename=None, takes=4, **corpus,
    ):  # fmt: skip
        key = repr((names, noise, classifiers, runs, without, replace, rename and rename.__name__, takes, corpus))
        if key not in made:
            path = make_corpus(takes=takes, **corpus)
            for wav in (wav for pattern in without for wav in (path.parent / "toy").glob(pattern)):
                wav.unlink()
            for wav in (path.parent / "toy").iterdir() if rename else ():
                wav.rename(wav.with_name(rename(wav.name)))
            text = path.read_text()
            for old, new in replace:
                assert old in text
                text = text.replace(old, new)
            path.write_text(text)
            index = serbench.load_index("toy", workspace(path))
            known = index if index["speaker"].notna().all() else index.assign(speaker=index["voice"])
            for seed, name in enumerate(names):
                make_features(known, noise=noise, seed=seed).to_csv(tmp_path / f"{name}.csv", index=False)
            files = tuple(str(tmp_path / f"{name}.csv") for name in names)
            for run in runs:
                given = {"features": files, "classifiers": classifiers, "emotions": "anger,happiness,neutral", **run}
                serbench.run_grid(["toy"], serbench.GridRequest(**given), workspace(path))
            made[key] = tmp_path_factory.mktemp("made") / "once", serbench.make_report(workspace(path)), index
            shutil.copytree(tmp_path, made[key][0])
        folder, report, index = made[key]
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        return report, Store(tmp_path / "results"), index

    return make
