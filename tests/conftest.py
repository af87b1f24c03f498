"""Fixtures: small corpora, indexes and features, made by factories from seeds."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import HealthCheck, settings
from tables import MeanAndSpread, made_cell

from serbench import Workspace
from serbench.cli import main
from serbench.corpora.index import index_fingerprint
from serbench.features.record import FeatureSet
from serbench.features.spectral import load_librosa
from serbench.grid import workers
from serbench.grid.cells import CELL_COLUMNS, Cell, CellRecord
from serbench.plugins import forget_plugins
from serbench.report import Report, score_store
from serbench.scores.predictions import CellPredictions, Index
from serbench.store.results import Store

# Machines of CI stall, so no deadline for one example; what may take how long is asserted where it matters.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}
settings.register_profile("ci", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("thorough", max_examples=2000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

load_librosa()  # before a module of tests imports it, in many processes at once
REAL_DATA = os.environ.get("SERBENCH_DATA", "")


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark tests that count; skip, with the reason, what needs real recordings where there are none."""
    for item in items:
        if "tally" in item.fixturenames:
            item.add_marker("counted")
        if item.get_closest_marker("corpus") and not (Path(REAL_DATA) / "emodb" / "wav").is_dir():
            item.add_marker(pytest.mark.skip(reason="needs real recordings: set SERBENCH_DATA to a folder with emodb"))


@pytest.fixture(scope="session", autouse=True)
def unflushed() -> Iterator[None]:
    """Leave flushing to the operating system: no test cuts the power, and a disk may take longer than the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture
def tally() -> Callable[[str, int], None]:
    """Count what a test did on purpose; the counts become the figures of docs/reliability.md."""

    def count(name: str, n: int) -> None:
        if path := os.environ.get("SERBENCH_TALLY"):
            with open(path, "a", encoding="utf-8") as file:
                told = {"name": name, "n": n, "commit": os.environ.get("SERBENCH_COMMIT", "")}
                file.write(json.dumps(told) + "\n")

    return count


@pytest.fixture(scope="session")
def write_wav() -> Callable[..., Path]:
    """Write a seeded recording: noise over a tone whose height follows the seed."""

    def write(path: Path, *, seed: int = 0, duration_s: float = 0.5, rate: int = 16000, channels: int = 1) -> Path:
        rng = np.random.default_rng(seed)
        t = np.arange(int(duration_s * rate)) / rate
        tone = 0.3 * np.sin(2 * np.pi * (150 + 40 * (seed % 7)) * t)
        samples = np.stack([tone + 0.05 * rng.normal(size=len(t)) for _ in range(channels)], axis=1)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(str(path), samples, rate, subtype="PCM_16", format="WAV")
        return path

    return write


ENTRY = """\
{name}:
  title: Toy corpus
  language: en
  licence: CC0-1.0
  root: {name}
  audio: '*.wav'
  labels:
    from: path
    pattern: '(?P<speaker>(?P<gender>[fm])\\d+)_(?P<emotion>[a-z]+)_(?P<take>\\d+)\\.wav$'
  values: {{gender: {{f: female, m: male}}}}
  emotions: {{anger: anger, happiness: happiness, neutral: neutral, sadness: sadness, fear: fear}}
"""


@pytest.fixture(scope="session")
def write_corpus(write_wav: Callable[..., Path]) -> Callable[..., Path]:
    """Write a corpus of `speakers` x `emotions` x `takes` short recordings and return its corpora.yaml."""

    def write(
        folder: Path,
        *,
        name: str = "toy",
        speakers: Sequence[str] = ("f1", "f2", "m1", "m2"),
        emotions: Sequence[str] = ("anger", "happiness", "neutral"),
        takes: int = 2,
        extra: str = "",
        seed: int = 0,
    ) -> Path:
        for s, speaker in enumerate(speakers):
            for e, emotion in enumerate(emotions):
                for take in range(takes):
                    write_wav(folder / name / f"{speaker}_{emotion}_{take}.wav", seed=seed + 100 * s + 10 * e + take)
        path = folder / "corpora.yaml"
        before = path.read_text() if path.exists() else ""
        path.write_text(before + ENTRY.format(name=name) + extra)
        return path

    return write


@pytest.fixture
def make_corpus(tmp_path: Path, write_corpus: Callable[..., Path]) -> Callable[..., Path]:
    """Write a corpus as `write_corpus` does, into the folder of the test unless another is given."""
    return lambda *, folder=None, **options: write_corpus(folder or tmp_path, **options)


@pytest.fixture
def workspace(tmp_path: Path) -> Callable[..., Workspace]:
    """Return a workspace over a corpora.yaml with its results beside it."""

    def make(corpora_file: Path, *, results: str = "results", jobs: int = 2, partial: bool = False) -> Workspace:
        return Workspace(results=tmp_path / results, corpora_file=corpora_file, jobs=jobs, partial=partial)

    return make


@pytest.fixture(scope="session")
def make_index() -> Callable[..., pd.DataFrame]:
    """Make an index without audio: every speaker says every emotion `takes` times."""

    def make(
        *,
        speakers: Sequence[str] = ("f1", "f2", "m1", "m2"),
        emotions: Sequence[str] = ("anger", "happiness", "neutral"),
        takes: int = 2,
        corpus: str = "toy",
    ) -> pd.DataFrame:
        rows = [
            {
                "utterance": f"{corpus}/{speaker}_{emotion}_{take}.wav",
                "corpus": corpus,
                "file": f"{speaker}_{emotion}_{take}.wav",
                "speaker": f"{corpus}/{speaker}",
                "raw_label": emotion,
                "emotion": emotion,
                "gender": {"f": "female", "m": "male"}.get(speaker[0]),
                "audio_hash": f"hash of {speaker} {emotion} {take}",
                "problem": None,
                "duplicate": None,
                "duration_s": 1.0,
            }
            for speaker in speakers
            for emotion in emotions
            for take in range(takes)
        ]
        return pd.DataFrame(rows)

    return make


@pytest.fixture(scope="session")
def make_features() -> Callable[..., pd.DataFrame]:
    """Make separable blobs for the utterances of an index: one centre per emotion, a shift per speaker."""

    def make(index: pd.DataFrame, *, n_features: int = 8, noise: float = 1.0, seed: int = 0) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        centres = {emotion: rng.normal(0, 2, n_features) for emotion in sorted(index["emotion"].unique())}
        shifts = {speaker: rng.normal(0, 0.7, n_features) for speaker in sorted(index["speaker"].unique())}
        rows = [
            centres[e] + shifts[s] + rng.normal(0, noise, n_features)
            for e, s in zip(index["emotion"], index["speaker"], strict=True)
        ]
        table = pd.DataFrame(np.array(rows, dtype=np.float32), columns=[f"x{i}" for i in range(n_features)])
        table.insert(0, "utterance", index["utterance"].to_numpy())
        return table

    return make


@pytest.fixture
def made_up_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_index: Callable[..., pd.DataFrame]
) -> Callable[..., tuple[Report, Store]]:
    """Make a report of cells with made-up predictions, without audio, features or fits; any name will do."""

    def make(
        *,
        corpora: Sequence[str] = ("alpha", "beta"),
        features: Sequence[str] = ("sound", "shape"),
        classifiers: Sequence[str] = ("svc", "knn"),
        speakers: Sequence[str] = ("f1", "f2", "f3", "f4", "m1", "m2", "m3", "m4"),
        scalings: Sequence[str] = ("train",),
        change: Mapping[tuple[str, str, str], Callable[[CellPredictions], list[CellPredictions]]] | None = None,
    ) -> tuple[Report, Store]:
        indexes = {c: make_index(corpus=c, speakers=speakers, takes=3).assign(sampling_rate=16000) for c in corpora}
        places = itertools.product(scalings, corpora, features, classifiers)
        cells = []
        for seed, (scaling, corpus, f, c) in enumerate(places):
            cell = _made_up_cell((f, c, corpus, scaling), indexes[corpus], seed)
            cells += (change or {}).get((f, c, corpus), lambda cell: [cell])(cell)
        monkeypatch.setattr("serbench.report.load_predictions", lambda store, indexes: cells)
        read = [Index(name, index, {"language": "en"}) for name, index in indexes.items()]
        monkeypatch.setattr("serbench.report.read_indexes", lambda store: read)
        store = Store(tmp_path / "results")
        return score_store(store), store

    return make


def _made_up_cell(place: tuple[str, str, str, str], index: pd.DataFrame, seed: int) -> CellPredictions:
    """Make a cell of half guesses; the default is mostly wrong, the oracle always right."""
    rng = np.random.default_rng(seed)
    emotions = sorted(index["emotion"].unique())
    table = index[["utterance", "speaker", "gender"]].assign(
        truth=index["emotion"].map(emotions.index), who=index["speaker"]
    )
    truth = dict(zip(table["utterance"], table["truth"].tolist(), strict=True))
    guesses = {u: int(rng.integers(len(emotions))) if rng.random() < 0.5 else code for u, code in truth.items()}
    of_rule = {"nested": guesses, "default": {u: (code + 1) % 3 for u, code in guesses.items()}, "oracle": truth}
    f, c, corpus, scaling = place
    columns = {"id": index["utterance"], "emotion": index["emotion"], "speaker": index["speaker"]}
    axes = "within", "paper5", corpus, corpus, f, c, "standard", scaling, "all", "none", 0
    record = CellRecord(
        cell=Cell(**dict(zip(CELL_COLUMNS, axes, strict=False))),
        inner_title="auto",
        emotions=tuple(emotions),
        task_map=",".join(emotions),
        indexes={corpus: index_fingerprint(index)},
        tested=(corpus,),
        transductive=scaling == "speaker",
        basis="made up",
        serbench="0.1.0",
        versions={"numpy": "2.4"},
        feature_key=f"{f}-0",
        revision=1,
        settings=({"C": 1}, {"C": 10.0}),
        utterances={**columns, "present": [True] * len(index)},
    )
    return made_cell(record, table, of_rule)


@pytest.fixture
def fake_feature_set() -> FeatureSet:
    """A feature set that costs nothing."""
    return FeatureSet(
        name="fake",
        title="mean and spread",
        citation="none",
        n_features=2,
        sampling_rate=16000,
        shortest_s=0.02,
        packages=("numpy",),
        open=MeanAndSpread,
        options={},
    )


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `serbench ...` in this process and return exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["serbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        return int(caught.value.code or 0), out, err

    return run


class Site:
    """A folder of installed packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package, text, *, version="1.0", group="serbench.features", points=None):
        """Write a package of one module and its metadata, in place of an earlier version."""
        module = package.replace("-", "_")
        self.remove(package)
        (self.folder / f"{module}.py").write_text(text)
        about = self.folder / f"{module}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        points = points or ({"quiet": "SET"} if group == "serbench.features" else {"prior": "MODEL"})
        lines = [f"[{group}]", *(f"{name} = {module}:{attribute}" for name, attribute in points.items())]
        (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
        importlib.invalidate_caches()

    def remove(self, package):
        """Remove a package, if it is there, and forget it."""
        module = package.replace("-", "_")
        (self.folder / f"{module}.py").unlink(missing_ok=True)
        for old in self.folder.glob(f"{module}-*.dist-info"):
            shutil.rmtree(old)
        sys.modules.pop(module, None)
        forget_plugins()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Install packages into a folder that worker processes look at, too."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions of a module within a second
    monkeypatch.setattr(workers, "_idle", [])  # those of earlier tests look for packages elsewhere
    forget_plugins()
    yield Site(folder)
    for worker in workers._idle:
        worker.shutdown(kill_workers=True)
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)
    forget_plugins()
