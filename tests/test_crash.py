"""`kill -9` in the middle of a command, then the same command again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMANDS = {
    "extract": (["extract", "toy", "-f", "mfcc", "-f", "IS09"], "features/*/toy/part-*.parquet"),
    "grid": (["grid", "toy", "-f", "mfcc", "-c", "rf"], "jobs/*.parquet"),
}


def command(arguments, corpora_file, results):
    options = ["--corpora", str(corpora_file), "--results", str(results), "--jobs", "2"]
    return [sys.executable, "-c", "from serbench.cli import main; main()", *arguments, *options]


def content(results: Path, pattern):
    """Files that are in place; a pattern of * would match those that were being written too."""
    return {path.name: path.read_bytes() for path in results.glob(pattern) if not path.name.startswith(".")}


def start_and_kill(arguments, *, results, pattern, at_least):
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(content(results, pattern)) < at_least and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_grid_goes_on_and_ends_with_the_same_bytes(make_corpus, tmp_path):
    arguments, pattern = COMMANDS["grid"]
    path = make_corpus(emotions=("anger", "fear", "happiness", "neutral", "sadness"))
    subprocess.run(command(arguments, path, tmp_path / "calm"), check=True, capture_output=True)
    killed = command(arguments, path, tmp_path / "killed")
    start_and_kill(killed, results=tmp_path / "killed", pattern=pattern, at_least=3)
    before = content(tmp_path / "killed", pattern)
    assert 3 <= len(before) < 10
    done = subprocess.run(killed, check=True, capture_output=True, text=True)
    assert f"{len(before)} already there" in done.stdout
    assert content(tmp_path / "killed", pattern) == content(tmp_path / "calm", pattern)
    assert not list((tmp_path / "killed").rglob(".tmp-*"))


def test_killed_extraction_goes_on_and_ends_with_the_same_features(make_corpus, tmp_path):
    from serbench import api

    path = make_corpus(takes=20)
    arguments, pattern = COMMANDS["extract"]
    killed = command(arguments, path, tmp_path / "killed")
    killed[2] = "import serbench.extract as e; e.CHUNK = 20; " + killed[2]
    start_and_kill(killed, results=tmp_path / "killed", pattern=pattern, at_least=4)
    assert content(tmp_path / "killed", pattern)
    done = subprocess.run(command(arguments, path, tmp_path / "killed"), check=True, capture_output=True, text=True)
    assert ", 0 already there" not in done.stdout
    for name in ("mfcc", "IS09"):
        resumed, calm = (
            api.load_features("toy", name, api.Workspace(results=tmp_path / results, corpora_file=path))
            for results in ("killed", "calm")
        )
        assert resumed.equals(calm)
    assert not list((tmp_path / "killed").rglob(".tmp-*"))


def test_two_grids_at_once_end_with_the_right_store(make_corpus, tmp_path):
    arguments, pattern = ["grid", "toy", "-f", "mfcc", "-c", "svc", "-c", "knn"], "jobs/*.parquet"
    path = make_corpus(emotions=("anger", "fear", "happiness", "neutral", "sadness"), speakers=("f1", "f2", "m1"))
    both = [subprocess.Popen(command(arguments, path, tmp_path / "both"), stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    subprocess.run(command(arguments, path, tmp_path / "calm"), check=True, capture_output=True)
    assert content(tmp_path / "both", pattern) == content(tmp_path / "calm", pattern)
    assert not list((tmp_path / "both").rglob(".tmp-*"))


pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")
