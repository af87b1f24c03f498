"""A dask scheduler and its workers, each a process of its own on loopback: predictions of the same bytes as here."""

import concurrent.futures
import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import psutil
import pytest
from commands import PATIENCE_S, endless_grid, finish, wait_for_fits, wait_until

import serbench

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


WITHOUT_SERBENCH = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "serbench":
            raise ModuleNotFoundError(f"No module named '{name}'")

sys.meta_path.insert(0, Blocker())
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


class Cluster(tuple):
    """Address and function, with the scheduler's process."""


@pytest.fixture
def cluster():
    """Give the address of a scheduler, and a function that starts a worker of it."""
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

        given = Cluster((address, add))
        given.scheduler = scheduler
        yield given


@pytest.fixture(scope="module")
def here(tmp_path_factory, write_corpus):
    """A corpus, and the 20 jobs of a grid as worker processes of this machine do them."""
    folder = tmp_path_factory.mktemp("here")
    write_corpus(folder, emotions=("anger", "fear", "happiness", "neutral", "sadness"), takes=1)
    (folder / "space.yaml").write_text("rf: {settings: [{max_features: sqrt, min_samples_leaf: 1}]}")
    run_here(folder, folder / "here")
    assert len(jobs_of(folder / "here")) == 20
    return folder / "here"


def run_here(folder, results):
    request = serbench.GridRequest(("mfcc",), ("rf", "svc"), space=folder / "space.yaml")
    assert not serbench.run_grid("toy", request, serbench.Workspace(results, folder / "corpora.yaml", jobs=2)).refused


@pytest.fixture
def grid(here, tmp_path):
    """Run the same grid by dask, with the features that are there; those that still run end with the test."""
    running = []
    folder = here.parent

    def run(results, *more, check=True):
        if not (tmp_path / results).exists():
            shutil.copytree(here, tmp_path / results, ignore=shutil.ignore_patterns("cells", "jobs"))
        arguments = ["grid", "toy", "-f", "mfcc", "-c", "rf", "-c", "svc", "--space", str(folder / "space.yaml")]
        options = ["--corpora", str(folder / "corpora.yaml"), "--results", str(tmp_path / results), *more]
        process = start_serbench([*arguments, *options])
        running.append(process)
        if not check:
            return process
        out, err = finish(process)
        assert process.returncode == 0, err
        return out, err

    yield run
    for process in running:
        process.kill()
        process.communicate()


def jobs_of(folder):
    return {path.name: path.read_bytes() for path in (folder / "jobs").iterdir()}


@pytest.mark.parametrize(
    "n", [pytest.param(1, marks=pytest.mark.slow), *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 6))]
)
def test_cluster_that_loses_a_worker_gives_the_bytes_of_a_local_run(grid, here, cluster, tmp_path, tally, n):
    address, add = cluster
    workers = [add(), add()]
    process = grid("there", "--scheduler", address, check=False)
    wait_for_jobs(tmp_path / "there", 3 * n, process)
    workers[0].send_signal(signal.SIGKILL)
    out, err = finish(process)
    assert process.returncode == 0, err
    assert jobs_of(tmp_path / "there") == jobs_of(here)
    assert not [*(tmp_path / "there").rglob(".tmp-*"), *(tmp_path / "there").rglob("*.lock")]
    tally("cluster: workers killed", 1)


def wait_for_jobs(folder, n, process):
    wait_until(lambda: len(list(folder.glob("jobs/[!.]*.parquet"))) >= n, [process])


@pytest.mark.slow
def test_cluster_that_loses_its_only_worker_waits_for_the_next_one(grid, here, cluster, tmp_path):
    address, add = cluster
    worker = add()
    process = grid("there", "--scheduler", address, check=False)
    wait_for_jobs(tmp_path / "there", 2, process)
    worker.send_signal(signal.SIGKILL)
    add()
    out, err = finish(process)
    assert process.returncode == 0, err
    assert jobs_of(tmp_path / "there") == jobs_of(here)


@pytest.mark.slow
def test_scheduler_that_dies_ends_the_run_in_words_and_loses_nothing(grid, here, cluster, tmp_path):
    address, add = cluster
    add()
    process = grid("there", "--scheduler", address, check=False)
    wait_for_jobs(tmp_path / "there", 2, process)
    cluster.scheduler.kill()
    out, err = finish(process)
    assert process.returncode == 1
    assert "the scheduler does not answer any more" in err
    assert "What was finished is stored" in err
    assert "Traceback" not in err
    stored = jobs_of(tmp_path / "there")
    assert len(stored) >= 2
    run_here(here.parent, tmp_path / "there")
    assert stored.items() <= jobs_of(tmp_path / "there").items() == jobs_of(here).items()


@pytest.mark.slow
def test_workers_with_other_versions_are_refused_by_name_and_get_no_job(grid, here, cluster, tmp_path):
    address, add = cluster
    for name, code in (("old", OTHER_VERSION), ("bare", WITHOUT_SERBENCH)):
        (tmp_path / f"{name}.py").write_text(code)
        add("--preload", str(tmp_path / f"{name}.py"), "--name", name)
    process = grid("there", "--scheduler", address, check=False)
    out, err = finish(process)
    assert process.returncode == 1
    assert re.search(r"worker tcp://127.0.0.1:\d+ \(old\) gets no job: \w+: scikit-learn 0.1, not \d", err), err
    assert re.search(r"worker tcp://127.0.0.1:\d+ \(bare\) gets no job: .*No module named 'serbench", err), err
    assert "no worker that may be used" in err
    add()
    grid("there", "--scheduler", address)
    assert jobs_of(tmp_path / "there") == jobs_of(here)


@pytest.mark.slow
def test_scheduler_that_does_not_answer_is_named(here, tmp_path, cli):
    shutil.copytree(here, tmp_path / "there", ignore=shutil.ignore_patterns("cells", "jobs"))
    where = ["--corpora", here.parent / "corpora.yaml", "--results", tmp_path / "there"]
    code, out, err = cli("grid", "toy", "-f", "mfcc", "-c", "dummy", *where, "--scheduler", "tcp://127.0.0.1:9")
    assert code == 1
    assert "--scheduler tcp://127.0.0.1:9: no dask scheduler answers" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_service_that_is_no_scheduler_keeps_nobody_waiting(monkeypatch):
    import http.server

    from serbench.errors import ClusterError
    from serbench.grid.cluster import _connect

    monkeypatch.setattr("serbench.grid.cluster.CONNECT_S", 3)
    monkeypatch.setattr(http.server.BaseHTTPRequestHandler, "log_message", lambda *told: None)
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ClusterError, match=r"no dask scheduler answers"):
            _connect(f"tcp://127.0.0.1:{other.server_port}", workers=1)
    finally:
        other.shutdown()
        other.server_close()


@pytest.mark.parametrize("among", [None, ["first"]])
def test_answer_that_dies_with_its_worker_is_waited_for_only_where_another_may_give_it(monkeypatch, among):
    from serbench.grid import cluster

    monkeypatch.setattr(cluster, "LOOK_S", 0.01)
    crew, future = object.__new__(cluster.ClusterCrew), concurrent.futures.Future()
    crew._running, crew._timeout_s, crew._workers = set(), None, {"first", "second"}
    waiting = cluster.in_thread(crew._answer, future, among)
    wait_until(lambda: crew._running == {future})
    assert not waiting.done()
    crew._workers = {"second"}  # dask gives the job to it, unless it was meant for others alone
    if among:
        with pytest.raises(concurrent.futures.BrokenExecutor):
            waiting.result(PATIENCE_S)
    else:
        future.set_result("the answer of the second")
        assert waiting.result(PATIENCE_S) == "the answer of the second"
    assert not crew._running


@pytest.mark.slow
def test_local_scheduler_gives_the_bytes_of_worker_processes(grid, here, tmp_path):
    grid("there", "--scheduler", "local", "--jobs", "2")
    assert jobs_of(tmp_path / "there") == jobs_of(here)


@pytest.fixture
def endless(make_corpus, tmp_path):
    """Run a grid of two jobs that keep libsvm busy for hours, and two that take no time."""
    path = make_corpus(takes=40, speakers=("f1", "m1"))
    command, at_once = endless_grid(path)
    where = ["-c", "dummy", "--corpora", str(path), "--results", str(tmp_path / "results"), "--jobs", "2"]

    def start(*more):
        return start_serbench([*command, *where, *more])

    start.at_once = lambda: serbench.run_grid("toy", at_once, serbench.Workspace(tmp_path / "results", path, jobs=2))
    return start


def start_serbench(arguments):
    return start("-c", "from serbench.cli import main; main()", *arguments, stdout=subprocess.PIPE)


@pytest.mark.long
def test_job_that_takes_too_long_fails_its_cell_on_a_cluster_too(endless):
    endless.at_once()
    out, err = finish(process := endless("--scheduler", "local", "--job-timeout", "2"))
    assert process.returncode == 1
    assert "it took longer than --job-timeout 2 seconds" in err
    assert "1 of 2 cells have no result; 1 are stored" in err


@pytest.mark.slow
def test_worker_that_cannot_be_stopped_gets_no_further_job_and_is_named(endless, cluster):
    address, add = cluster
    add()
    out, err = finish(process := endless("--scheduler", address, "--job-timeout", "5"))
    assert process.returncode == 1
    assert "its fit cannot be stopped, as it was started without a nanny" in err
    assert "no worker that may be used" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, marks=pytest.mark.slow), pytest.param(signal.SIGTERM, marks=pytest.mark.long)],
)
def test_stopped_grid_ends_and_does_not_wait_for_a_fit_with_a_scheduler_of_its_own(endless, tmp_path, number, tally):
    process = endless("--scheduler", "local")
    wait_for_fits(process, 1)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    out, err = finish(process)
    assert process.returncode == 128 + number
    assert "stopped. What was finished is stored (grid: " in err
    gone, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert not alive
    tally("cluster: stops", 1)
