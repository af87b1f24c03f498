"""A dask scheduler and its workers, each a process of its own on loopback: predictions of the same bytes as here."""

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs dask: pip install '.[dask]'"),
    pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals"),
]

OTHER_VERSION = """
import importlib.metadata
importlib.metadata.version = lambda name, real=importlib.metadata.version: (
    "0.1.2" if name == "scikit-learn" else real(name)
)
"""


def start(*arguments, **options):
    return subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True, **options)


def start_worker(address, *more):
    module = ["-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "2", "--no-dashboard"]
    worker = start(*module, *more, stdout=subprocess.DEVNULL)
    for line in worker.stderr:
        if "Registered to" in line:
            return worker
    raise AssertionError("the worker did not start")


@pytest.fixture
def cluster():
    """Return the address of a scheduler, and a function that starts a worker of it."""
    with contextlib.ExitStack() as started:

        def ended(process):
            process.kill()
            process.communicate()

        scheduler = start(
            "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1"
        )
        started.callback(ended, scheduler)
        address = next(hit[0] for line in scheduler.stderr if (hit := re.search(r"tcp://127.0.0.1:\d+", line)))

        def add(*more):
            worker = start_worker(address, *more)
            started.callback(ended, worker)
            return worker

        yield address, add


@pytest.fixture
def grid(make_corpus, tmp_path):
    path = make_corpus(emotions=("anger", "fear", "happiness", "neutral", "sadness"), takes=1)
    (tmp_path / "space.yaml").write_text("rf: {settings: [{max_features: sqrt, min_samples_leaf: 1}]}")

    def run(results, *more, check=True):
        arguments = ["grid", "toy", "-f", "mfcc", "-c", "rf", "-c", "svc", "--space", str(tmp_path / "space.yaml")]
        options = ["--corpora", str(path), "--results", str(tmp_path / results), *more]
        process = start("-c", "from serbench.cli import main; main()", *arguments, *options, stdout=subprocess.PIPE)
        if not check:
            return process
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out, err

    return run


def jobs_of(folder):
    return {path.name: path.read_bytes() for path in (folder / "jobs").iterdir()}


@pytest.mark.parametrize("n", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 6))])
def test_cluster_that_loses_a_worker_gives_the_bytes_of_a_local_run(grid, cluster, tmp_path, tally, n):
    grid("here")
    address, add = cluster
    workers = [add(), add()]
    process = grid("there", "--scheduler", address, check=False)
    while len(list((tmp_path / "there").glob("jobs/*.parquet"))) < 3 * n:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    workers[0].send_signal(signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert jobs_of(tmp_path / "there") == jobs_of(tmp_path / "here")
    assert len(jobs_of(tmp_path / "here")) == 20
    assert not [*(tmp_path / "there").rglob(".tmp-*"), *(tmp_path / "there").rglob("*.lock")]
    tally("cluster: workers killed", 1)


def test_worker_with_other_versions_is_refused_by_name_and_gets_no_job(grid, cluster, tmp_path):
    address, add = cluster
    (tmp_path / "other.py").write_text(OTHER_VERSION)
    add("--preload", str(tmp_path / "other.py"), "--name", "old")
    process = grid("there", "--scheduler", address, check=False)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(r"worker tcp://127.0.0.1:\d+ \(old\) gets no job: scikit-learn 0.1, here \d", err), err
    assert "no worker that may be used" in err
    add()
    out, err = grid("there", "--scheduler", address)
    assert "gets no job" in err
    grid("here")
    assert jobs_of(tmp_path / "there") == jobs_of(tmp_path / "here")


def test_scheduler_that_does_not_answer_is_named(grid):
    process = grid("there", "--scheduler", "tcp://127.0.0.1:9", check=False)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "--scheduler tcp://127.0.0.1:9: no scheduler answers" in err
    assert "Traceback" not in err


def test_local_scheduler_gives_the_bytes_of_worker_processes(grid, tmp_path):
    grid("here")
    grid("there", "--scheduler", "local", "--jobs", "2")
    assert jobs_of(tmp_path / "there") == jobs_of(tmp_path / "here")


def test_job_that_takes_too_long_fails_its_cell_on_a_cluster_too(make_corpus, tmp_path):
    from serbench import api

    path = make_corpus(takes=10, speakers=("f1", "m1"))
    (tmp_path / "hard.yaml").write_text("svc: {settings: [{kernel: linear, C: 100000000000000}]}")
    rows = [f"toy/{p.name},{hash(p.name) % 97},{hash(p.name) % 89}" for p in (path.parent / "toy").iterdir()]
    (tmp_path / "noise.csv").write_text("\n".join(["utterance,a,b", *rows]))
    request = api.GridRequest(
        features=str(tmp_path / "noise.csv"),
        classifiers=("svc", "dummy"),
        emotions="anger,happiness,neutral",
        space=tmp_path / "hard.yaml",
    )
    place = api.Workspace(tmp_path / "results", path, jobs=2, scheduler="local", job_timeout_s=6)
    done = api.run_grid("toy", request, place)
    assert [reason.endswith("longer than --job-timeout 6 seconds") for reason in done.refused.values()] == [True]
