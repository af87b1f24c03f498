"""Commands that are killed, stopped, or run twice at once, on the same store: what is there in the end."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import psutil
import pytest

from serbench import api
from serbench.sealed import read_columns

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")

FIVE = ("anger", "fear", "happiness", "neutral", "sadness")
SMALL_CHUNKS = "import serbench.extract; serbench.extract.CHUNK = 16; "
JOBS, PARTS = "jobs/[!.]*.parquet", "features/*/toy/part-*.parquet"
KILLS = [10, pytest.param(50, marks=pytest.mark.slow)]


class Bench:
    """Runs one command of serbench in child processes."""

    def __init__(self, arguments, corpora_file, *, before=""):
        self.arguments, self.corpora_file, self.before = arguments, corpora_file, before

    def start(self, results, *more):
        options = ["--corpora", str(self.corpora_file), "--results", str(results), "--jobs", "2", *more]
        code = f"{self.before}from serbench.cli import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, *self.arguments, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, results, *more):
        process = self.start(results, *more)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert not leftovers(results)
        return out


def leftovers(results):
    return [*results.rglob(".tmp-*"), *results.rglob("*.lock")]


def jobs_of(results):
    return {path.name: path.read_bytes() for path in results.glob(JOBS)}


def places_of(results, pattern):
    """What changes when something is done again: the file that holds it."""
    found = {path: path.stat() for path in results.glob(pattern)}
    return {path: (told.st_ino, told.st_mtime_ns) for path, told in found.items()}


def features_of(results, corpora_file, names=("mfcc", "IS09")):
    """Features as bytes, by set."""
    place = api.Workspace(results=results, corpora_file=corpora_file)
    matrices = {name: api.load_features("toy", name, place) for name in names}
    return {name: (tuple(m.index), m.to_numpy().tobytes()) for name, m in matrices.items()}


CALM = {}


def calm_jobs(grid, folder):
    """What the grid predicts when nothing disturbs it: the same for every test, so it is run once."""
    if "jobs" not in CALM:
        grid.run(folder / "calm")
        CALM["jobs"] = jobs_of(folder / "calm")
    return CALM["jobs"]


def calm_features(extract, folder):
    """What the extraction gives when nothing disturbs it, likewise."""
    if "features" not in CALM:
        extract.run(folder / "calm")
        CALM["features"] = features_of(folder / "calm", extract.corpora_file)
    return CALM["features"]


def told_extracted(out):
    """How many rows of features a run says that it computed."""
    return sum(int(n) for n in re.findall(r"(\d+) extracted", out))


@pytest.fixture
def grid(make_corpus):
    """A grid of 28 jobs, a third of a second each."""
    path = make_corpus(emotions=FIVE, speakers=("f1", "f2", "f3", "m1", "m2", "m3", "m4"), takes=1)
    space = path.parent / "space.yaml"
    space.write_text("rf: {settings: [{max_features: sqrt, min_samples_leaf: 1}]}")
    options = ["-f", "mfcc", "-c", "rf", "--space", str(space)]
    return Bench(["grid", "toy", *options], path)


@pytest.fixture
def extract(make_corpus):
    """An extraction of 240 recordings in 15 chunks."""
    return Bench(["extract", "toy", "-f", "mfcc", "-f", "IS09"], make_corpus(takes=20), before=SMALL_CHUNKS)


def kill_again_and_again(bench, folder, *, kills, pattern):
    """Kill a command at random moments, and start it again, until it has been killed so often.

    One kill in three comes at any time, imports and planning too; the others once the files of `pattern` have grown by
    a few. Yields each folder that was killed in, once the command has run to its end there, with the files that were
    in place before a kill, as they were then.
    """
    rng = random.Random(kills)
    killed = 0
    for campaign in range(kills):
        results = folder / f"killed{campaign}"
        before = {}
        while killed < kills:
            process = bench.start(results)
            enough = len(places_of(results, pattern)) + rng.randint(1, 4) if killed % 3 else 0
            while process.poll() is None and len(places_of(results, pattern)) < enough:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 0.3) if enough else rng.uniform(0.1, 3.0))
            there = places_of(results, pattern)
            if process.poll() is not None:
                process.communicate()
                break
            (os.killpg if rng.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
            process.communicate(timeout=60)
            before = {**there, **before}
            killed += 1
        bench.run(results)
        yield results, before
        if killed >= kills:
            return


@pytest.mark.parametrize("kills", KILLS)
def test_killed_grid_ends_with_the_same_bytes_and_does_no_job_twice(grid, tmp_path, tally, kills):
    calm = calm_jobs(grid, tmp_path)
    assert len(calm) == 28
    in_place = again = 0
    for results, before in kill_again_and_again(grid, tmp_path, kills=kills, pattern=JOBS):
        assert jobs_of(results) == calm
        now = places_of(results, JOBS)
        in_place += len(before)
        again += sum(now[path] != place for path, place in before.items())
    assert in_place > kills
    tally("grid: kills", kills)
    tally("grid: jobs in place before a kill", in_place)
    tally("grid: jobs done again", again)
    assert again == 0


@pytest.mark.parametrize("kills", KILLS)
def test_killed_extraction_ends_with_the_same_bytes_and_computes_nothing_stored_twice(extract, tmp_path, tally, kills):
    calm = calm_features(extract, tmp_path)
    in_place = again = 0
    for results, before in kill_again_and_again(extract, tmp_path, kills=kills, pattern=PARTS):
        assert features_of(results, extract.corpora_file) == calm
        now = places_of(results, PARTS)
        rows = Counter((p.parent.parent.name, row["utterance"]) for p in now for row in read_columns(p, ["utterance"]))
        assert len(rows) == 480
        in_place += len(before)
        again += sum(now.get(path) != place for path, place in before.items()) + sum(rows.values()) - len(rows)
    assert in_place > kills
    tally("extract: kills", kills)
    tally("extract: parts in place before a kill", in_place)
    tally("extract: parts computed again", again)
    assert again == 0


def test_killed_extraction_of_frames_ends_with_the_same_bytes_and_computes_nothing_twice(make_corpus, tmp_path):
    extract = Bench(["extract", "toy", "-f", "logmel26"], make_corpus(takes=20), before=SMALL_CHUNKS)
    extract.run(tmp_path / "calm")
    calm = features_of(tmp_path / "calm", extract.corpora_file, ["logmel26"])
    for results, before in kill_again_and_again(extract, tmp_path, kills=4, pattern=PARTS):
        assert features_of(results, extract.corpora_file, ["logmel26"]) == calm
        now = places_of(results, PARTS)
        assert sum(len(read_columns(path, ["utterance"])) for path in now) == 240
        assert {path: now.get(path) for path in before} == before


@pytest.fixture
def endless(make_corpus, tmp_path):
    """A grid whose every fit keeps libsvm busy for hours."""
    path = make_corpus(takes=40, speakers=("f1", "m1"))
    rng = np.random.default_rng(0)
    ids = [f"toy/{recording.name}" for recording in sorted((path.parent / "toy").iterdir())]
    lines = [",".join([u, *(f"{x:.6f}" for x in rng.normal(size=5))]) for u in ids]
    (tmp_path / "noise.csv").write_text("\n".join(["utterance,a,b,c,d,e", *lines]))
    (tmp_path / "hard.yaml").write_text("svc: {settings: [{kernel: linear, C: 1000000000}]}")
    features, space = str(tmp_path / "noise.csv"), str(tmp_path / "hard.yaml")
    options = ["-f", features, "-c", "svc", "--space", space, "--emotions", "anger,happiness,neutral"]
    return Bench(["grid", "toy", *options], path)


def workers_of(process):
    return [child for child in psutil.Process(process.pid).children(recursive=True) if child.cpu_times().user > 1.5]


def wait_for_fits(process):
    """Wait until both workers have been busy for longer than their imports take."""
    deadline = time.monotonic() + 60
    while len(workers_of(process)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers_of(process)) == 2
    time.sleep(1.0)


@pytest.mark.parametrize(
    ("number", "code", "to_all"),
    [
        pytest.param(signal.SIGINT, 130, True, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, 143, False, id="SIGTERM"),
        pytest.param(signal.SIGINT, 130, False, id="SIGINT to the process", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, True, id="SIGTERM to all", marks=pytest.mark.slow),
    ],
)
def test_stopped_grid_ends_within_two_seconds_inside_libsvm(endless, tmp_path, tally, number, code, to_all):
    process = endless.start(tmp_path / "results")
    wait_for_fits(process)
    (os.killpg if to_all else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=2)
    assert process.returncode == code
    assert "stopped. What was finished is stored (grid: 0 of 2); the same command goes on from there." in err
    assert "Traceback" not in err
    assert not leftovers(tmp_path / "results")
    tally("grid: stops inside libsvm", 1)


@pytest.mark.parametrize(
    "after_s", [0.8, 1.8, 2.8, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.3, 1.3, 2.3))]
)
def test_command_stopped_at_any_moment_of_its_start_says_so_without_tracebacks(endless, tmp_path, after_s):
    process = endless.start(tmp_path / "results")
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=2)
    assert process.returncode in (130, -signal.SIGINT)  # the latter before serbench's own code runs
    assert "Traceback" not in err or after_s < 0.5, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_stopped_extraction_keeps_what_it_did(extract, tmp_path, tally, number):
    slow = Bench(["extract", "toy", "-f", "ComParE_2016"], extract.corpora_file, before=SMALL_CHUNKS)
    process = slow.start(tmp_path / "results")
    while not list((tmp_path / "results").glob("features/*/toy/part-*.parquet")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=2)
    assert "stopped. What was finished is stored (extract toy: " in err
    assert "Traceback" not in err
    assert not leftovers(tmp_path / "results")
    told = slow.run(tmp_path / "results")
    done, there, failed = (int(word) for word in told.replace(",", " ").split() if word.isdigit())
    assert (done + there, failed) == (240, 0)
    assert there >= 16
    tally("extract: stops", 1)


def test_workers_end_soon_after_the_program_was_killed(endless, tmp_path):
    process = endless.start(tmp_path / "results")
    wait_for_fits(process)
    workers = workers_of(process)
    process.kill()
    process.communicate()
    gone, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive


def test_job_that_takes_longer_than_its_timeout_fails_its_cell(endless, tmp_path):
    process = endless.start(tmp_path / "results", "--job-timeout", "8", "-c", "dummy")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "it took longer than --job-timeout 8 seconds" in err
    assert "1 of 2 cells have no result; 1 are stored" in err
    assert not leftovers(tmp_path / "results")


@pytest.mark.parametrize("deaths", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_workers_that_are_killed_cost_their_jobs_a_retry(grid, tmp_path, tally, deaths):
    """Killed early only: jobs are run again at the end, and one that is killed there too has failed, rightly."""
    rng = random.Random(deaths)
    killed = 0
    for attempt in range(deaths):
        results = tmp_path / f"killed{attempt}"
        process = grid.start(results)
        while killed < deaths and process.poll() is None and len(jobs_of(results)) < 18:
            time.sleep(rng.uniform(0.5, 1.5))
            busy = workers_of(process) if process.poll() is None and len(jobs_of(results)) < 18 else []
            if busy:
                rng.choice(busy).kill()
                killed += 1
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert jobs_of(results) == calm_jobs(grid, tmp_path)
        assert not leftovers(results)
        if killed >= deaths:
            break
    assert killed == deaths
    tally("grid: workers killed", deaths)


AT_ONCE = [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 6))]


@pytest.mark.parametrize("n", AT_ONCE)
def test_two_grids_at_once_share_the_jobs(grid, tmp_path, tally, n):
    both = [grid.start(tmp_path / "both") for _ in range(2)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert jobs_of(tmp_path / "both") == calm_jobs(grid, tmp_path)
    done = len((tmp_path / "both" / "timings.csv").read_text().splitlines())
    assert done == 28
    assert all("were done by another process on this results folder" in err for _, err in told)
    assert not leftovers(tmp_path / "both")
    tally("grid: two at once", 1)
    tally("grid: jobs done twice by two at once", done - 28)


@pytest.mark.parametrize("n", AT_ONCE)
def test_two_extractions_at_once_share_the_recordings(extract, tmp_path, tally, n):
    for recording in (extract.corpora_file.parent / "toy").iterdir():
        os.utime(recording, ns=(0, 0))
    time.sleep(2.1)  # files that have just changed are read by everyone
    both = [extract.start(tmp_path / "both") for _ in range(2)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert features_of(tmp_path / "both", extract.corpora_file) == calm_features(extract, tmp_path)
    done = [told_extracted(out) for out, _ in told]
    assert sum(done) == 480
    assert all(done)
    assert not leftovers(tmp_path / "both")
    tally("extract: two at once", 1)
    tally("extract: rows computed twice", sum(done) - 480)
