"""Commands that are killed, stopped, or run twice at once, on the same store: what is there in the end."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import PurePath

import numpy as np
import psutil
import pytest
from commands import PATIENCE_S, acting, endless_grid, finish, touching, wait_for_fits, wait_until, workers_of

import serbench
from serbench.store.files import read_table

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")

FIVE = ("anger", "fear", "happiness", "neutral", "sadness")
SMALL_CHUNKS = "import serbench.features.extract; serbench.features.extract.CHUNK = 16\n"
JOBS, PARTS = "jobs/[!.]*.parquet", "features/*/toy/part-*.parquet"
KILLS = [pytest.param(2, marks=pytest.mark.slow), pytest.param(30, marks=pytest.mark.long)]
SETS = ("mfcc", "IS09", "logmel26")


class Bench:
    """Runs one command of serbench in child processes."""

    def __init__(self, arguments, corpora_file=None, *, before=""):
        self.arguments, self.corpora_file, self.before = list(map(str, arguments)), corpora_file, before
        self.options = ["--corpora", str(corpora_file)] if corpora_file else []
        self.options += ["--jobs", "2"] if arguments[0] in ("extract", "grid", "run") else []

    def start(self, results, *more, before=""):
        code = f"{self.before}{before}\nfrom serbench.cli import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, *self.arguments, *self.options, "--results", str(results), *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, results, *, before=""):
        process = self.start(results, before=before)
        out, err = finish(process)
        assert process.returncode == 0, err
        return out

    def count(self, results):
        """Run the command to its end; return how often it touches the results folder."""
        told = results.parent / "touches"
        write = f"lambda: pathlib.Path({str(told)!r}).write_text(str(len(touched)))"
        at_end = f"import atexit, pathlib; atexit.register({write})\n"
        self.run(results, before=touching(results, 0, "pass") + at_end)
        return int(told.read_text())


def leftovers(results):
    return [*results.rglob(".tmp-*"), *results.rglob("*.lock")]


def jobs_of(results):
    return {path.name: path.read_bytes() for path in results.glob(JOBS)}


def places_of(results, pattern):
    """What changes when something is done again: the file that holds it."""
    found = {path: path.stat() for path in results.glob(pattern)}
    return {path: (told.st_ino, told.st_mtime_ns) for path, told in found.items()}


def features_of(results, corpora_file):
    """Features as bytes, by set; the frames of `logmel26` below each other."""
    place = serbench.Workspace(results=results, corpora_file=corpora_file)
    matrices = {name: serbench.load_features("toy", name, place) for name in SETS}
    return {name: (tuple(m.index), m.to_numpy().tobytes()) for name, m in matrices.items()}


def told_extracted(out):
    """How many rows of features a run says that it computed."""
    return sum(int(n) for n in re.findall(r"(\d+) extracted", out))


@pytest.fixture(scope="module")
def grid(tmp_path_factory, write_corpus):
    """A grid of 15 jobs, a third of a second each, with the predictions of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("grid")
    path = write_corpus(folder, emotions=FIVE, speakers=("f1", "f2", "m1", "m2", "m3"), takes=1)
    space = folder / "space.yaml"
    space.write_text("rf: {settings: [{max_features: sqrt, min_samples_leaf: 1}]}")
    bench = Bench(["grid", "toy", "-f", "mfcc", "-c", "rf", "--space", space], path)
    bench.touches = bench.count(folder / "calm")
    bench.calm = jobs_of(folder / "calm")
    assert len(bench.calm) == 15
    return bench


@pytest.fixture(scope="module")
def extract(tmp_path_factory, write_corpus):
    """An extraction of 240 recordings in 15 chunks, with the features of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("extract")
    bench = Bench(
        ["extract", "toy", *(word for name in SETS for word in ("-f", name))],
        write_corpus(folder, takes=20),
        before=SMALL_CHUNKS,
    )
    bench.touches = bench.count(folder / "calm")
    bench.calm = features_of(folder / "calm", bench.corpora_file)
    return bench


def kill_again_and_again(bench, folder, *, kills, made=None):
    """Let a command kill itself at random instants, and start it again, until it has been killed so often.

    Each folder that it is killed in begins as a copy of `made`, or empty.

    The instant is a random touch of the results folder, or up to 50 ms later, when a file may be half written; half of
    the kills take the workers along. Yields each folder that was killed in, once the command has run to its end
    there, with the files that were in place after a kill, as they were then.
    """
    rng = random.Random(kills)
    killed = campaign = 0
    while killed < kills:
        results = folder / f"killed{campaign}" / "results"
        campaign += 1
        if made:
            shutil.copytree(made, results)
        before = {}
        for _ in range(min(rng.randint(1, 4), kills - killed)):
            act = f"os.kill{rng.choice(['', 'pg'])}(os.getpid(), signal.SIGKILL)"
            later = f"threading.Timer({rng.uniform(0, 0.05):.3f}, lambda: {act}).start()"
            instant = touching(results, rng.randint(1, bench.touches), rng.choice([act, later]))
            process = bench.start(results, before=instant)
            _, err = finish(process)
            if process.returncode == 0:  # what was left to do had fewer touches
                break
            assert process.returncode == -signal.SIGKILL, err
            before = {**places_of(results, "**/*.*"), **before}
            killed += 1
        bench.run(results)
        yield results, before


@pytest.mark.parametrize("kills", KILLS)
def test_killed_grid_ends_with_the_same_bytes_and_does_no_job_twice(grid, tmp_path, tally, kills):
    in_place = again = 0
    for results, before in kill_again_and_again(grid, tmp_path, kills=kills):
        assert jobs_of(results) == grid.calm
        assert not leftovers(results)
        done = {path: place for path, place in before.items() if path.parent.name == "jobs" and path.name[0] != "."}
        now = places_of(results, JOBS)
        in_place += len(done)
        again += sum(now[path] != place for path, place in done.items())
    assert in_place
    tally("grid: kills", kills)
    tally("grid: jobs in place before a kill", in_place)
    tally("grid: jobs done again", again)
    assert again == 0


@pytest.mark.parametrize("kills", KILLS)
def test_killed_extraction_ends_with_the_same_bytes_and_computes_nothing_stored_twice(extract, tmp_path, tally, kills):
    in_place = again = 0
    for results, before in kill_again_and_again(extract, tmp_path, kills=kills):
        assert features_of(results, extract.corpora_file) == extract.calm
        assert not leftovers(results)
        done = {path: place for path, place in before.items() if path.match(PARTS)}
        now = places_of(results, PARTS)
        rows = Counter(
            (p.parent.parent.name, u) for p in now for u in read_table(p, ["utterance"])["utterance"].to_pylist()
        )
        assert len(rows) == 720
        in_place += len(done)
        again += sum(now.get(path) != place for path, place in done.items()) + sum(rows.values()) - len(rows)
    assert in_place
    tally("extract: kills", kills)
    tally("extract: parts in place before a kill", in_place)
    tally("extract: parts computed again", again)
    assert again == 0


EMOTIONS = "anger,happiness,neutral"
EXPERIMENT = """\
title: A toy corpus
citation: Nobody, 2020.
about: Nothing that anybody printed.
corpora: [toy]
metric: uar
grids:
  - {features: mfcc, classifiers: knn, emotions: 'anger,happiness,neutral'}
  - {features: mfcc, classifiers: dummy, emotions: 'anger,happiness,neutral'}
values:
  - {row: k-NN, column: toy, paper: 0.5, where: {corpus: toy, classifier: knn}}
"""
OWN = {"report/notes.md": "notes of a user", "report/figures/photo.png": "a figure of a user"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_corpus, make_features):
    """A results folder with litter (jobs and features without cells), predictions of a system, and an experiment."""
    folder = tmp_path_factory.mktemp("folder")
    place = serbench.Workspace(results=folder / "made", corpora_file=write_corpus(folder), jobs=2)
    index = serbench.load_index("toy", place)
    for seed, name in enumerate(("blobs", "other")):
        make_features(index, noise=2.5, seed=seed).to_csv(folder / f"{name}.csv", index=False)
        serbench.run_grid(
            "toy", serbench.GridRequest((str(folder / f"{name}.csv"),), ("knn", "dummy"), emotions=EMOTIONS), place
        )
    (record,) = folder.glob("made/cells/*other*dummy*.json")
    record.unlink()
    (record,) = folder.glob("made/cells/*other*knn*.json")
    record.unlink()
    folds = serbench.list_folds("toy", serbench.GridRequest(emotions=EMOTIONS), place)
    folds.assign(prediction=np.roll(folds["emotion"], 5)).to_csv(folder / "mine.csv", index=False)
    (folder / "mine.yaml").write_text(EXPERIMENT)
    for name, text in OWN.items():
        path = folder / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def content_of(results):
    """Every file of a results folder but times, and features whose parts depend on what was done at once."""
    files = (path for path in results.rglob("*") if path.is_file() and ".tmp-" not in str(path))
    names = {path.relative_to(results): path for path in files}
    passing = ("index/*", "timings.csv", "features/mfcc-*/toy/*")
    return {name: path.read_bytes() for name, path in names.items() if not any(map(name.match, passing))}


def commands_of(folder):
    corpora = folder / "corpora.yaml"
    return {
        "report": Bench(["report"]),
        "report --figures": Bench(["report", "--figures"]),
        "run": Bench(["run", folder / "mine.yaml"], corpora),
        "score": Bench(["score", folder / "mine.csv", "--emotions", EMOTIONS], corpora),
        "store clean": Bench(["store", "clean", "--yes"]),
    }


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "name",
    [
        "store clean",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("score", "report")),
        *(pytest.param(name, marks=pytest.mark.long) for name in ("report --figures", "run")),
    ],
)
def test_killed_command_loses_nothing_and_ends_as_if_undisturbed(folder, tmp_path, tally, name, kills):
    bench, made = commands_of(folder)[name], folder / "made"
    shutil.copytree(made, tmp_path / "calm" / "results")
    bench.touches = bench.count(tmp_path / "calm" / "results")
    calm, base = content_of(tmp_path / "calm" / "results"), content_of(made)
    kept = {path for path, content in base.items() if calm.get(path) == content}
    assert len(kept) > 10
    assert kept >= set(map(PurePath, OWN))
    assert calm != base
    for results, before in kill_again_and_again(bench, tmp_path, kills=kills, made=made):
        assert {results / path for path in kept} <= set(before)
        assert content_of(results) == calm
        now = places_of(results, "**/*.*")
        assert all(now[results / path] == before[results / path] for path in kept if path.parts[0] != "index")
    tally(f"{name.partition(' --')[0]}: kills", kills)


@pytest.fixture
def endless(make_corpus, tmp_path):
    """A grid whose every fit keeps libsvm busy for hours."""
    path = make_corpus(takes=40, speakers=("f1", "m1"))
    command, at_once = endless_grid(path)
    bench = Bench(command, path)
    bench.at_once = lambda results: serbench.run_grid("toy", at_once, serbench.Workspace(results, path, jobs=2))
    return bench


@pytest.mark.parametrize(
    ("number", "code", "to_all"),
    [
        pytest.param(signal.SIGINT, 130, True, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, 143, False, id="SIGTERM", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, False, id="SIGINT to the process", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, True, id="SIGTERM to all", marks=pytest.mark.long),
    ],
)
def test_stopped_grid_ends_and_does_not_wait_for_a_fit_inside_libsvm(endless, tmp_path, tally, number, code, to_all):
    process = endless.start(tmp_path / "results")
    wait_for_fits(process, 2)
    (os.killpg if to_all else os.kill)(process.pid, number)
    out, err = finish(process)
    assert process.returncode == code
    assert "stopped. What was finished is stored (grid: 0 of 2); the same command goes on from there." in err
    assert "Traceback" not in err
    assert not leftovers(tmp_path / "results")
    tally("grid: stops inside libsvm", 1)


LATE = [pytest.param(name, marks=pytest.mark.slow) for name in ("yaml", "serbench.corpora.tasks", "numpy", "loky")]


@pytest.mark.parametrize("imported", ["pandas", "serbench.grid.plan", *LATE])  # by a statement, which is an event
def test_command_stopped_while_it_imports_says_so_without_tracebacks(endless, tmp_path, imported):
    stop = acting(f"event == 'import' and arguments[0] == {imported!r}", "os.killpg(os.getpid(), signal.SIGINT)")
    process = endless.start(tmp_path / "results", before=stop)
    out, err = finish(process)
    assert process.returncode == 130, err
    assert "stopped. What was finished is stored" in err
    assert "Traceback" not in err


FREEING = """
import os, signal
import serbench

class Freed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

def list_corpora(place):
    Freed()
    signal.pause()

serbench.list_corpora = list_corpora
"""


def test_command_stopped_while_python_frees_an_object_ends_in_words_all_the_same():
    code = FREEING + "from serbench.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "corpora", "list"], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 130
    assert done.stderr == "\nserbench: stopped. What was finished is stored; the same command goes on from there.\n"


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, marks=pytest.mark.slow), pytest.param(signal.SIGTERM, marks=pytest.mark.long)],
)
def test_stopped_extraction_keeps_what_it_did(extract, tmp_path, tally, number):
    seventh = "event == 'os.rename' and 'part-' in str(arguments[1]) and (touched.append(1) or len(touched) == 7)"
    stop = "touched = []\n" + acting(seventh, f"os.killpg(os.getpid(), {int(number)})")
    process = extract.start(tmp_path / "results", before=stop)
    out, err = finish(process)
    assert process.returncode == 128 + number
    assert "stopped. What was finished is stored (extract toy: " in err
    assert "Traceback" not in err
    assert not leftovers(tmp_path / "results")
    stored = features_in(tmp_path / "results")
    assert stored > 0
    assert told_extracted(extract.run(tmp_path / "results")) == 720 - stored
    assert features_of(tmp_path / "results", extract.corpora_file) == extract.calm
    tally("extract: stops", 1)


def features_in(results):
    """How many rows of features are stored."""
    return sum(read_table(path, ["utterance"]).num_rows for path in results.glob(PARTS))


@pytest.mark.slow
def test_workers_end_after_the_program_was_killed(endless, tmp_path):
    process = endless.start(tmp_path / "results")
    wait_for_fits(process, 2)
    workers = workers_of(process)
    process.kill()
    gone, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert len(gone) >= 2
    assert not alive
    finish(process)


@pytest.mark.slow
def test_job_that_takes_longer_than_its_timeout_fails_its_cell(endless, tmp_path):
    endless.at_once(tmp_path / "results")
    process = endless.start(tmp_path / "results", "--job-timeout", "1", "-c", "dummy")
    out, err = finish(process)
    assert process.returncode == 1
    assert "it took longer than --job-timeout 1 seconds" in err
    assert "1 of 2 cells have no result; 1 are stored" in err
    assert not leftovers(tmp_path / "results")


@pytest.mark.parametrize("deaths", [pytest.param(3, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.long)])
def test_workers_that_are_killed_cost_their_jobs_a_retry(grid, tmp_path, tally, deaths):
    """Killed early only: jobs are run again at the end, and one that is killed there too has failed, rightly."""
    rng = random.Random(deaths)
    killed = attempt = 0
    while killed < deaths:
        results = tmp_path / f"killed{attempt}"
        attempt += 1
        process = grid.start(results)
        for enough in sorted(rng.sample(range(1, 9), min(3, deaths - killed))):
            wait_until(lambda enough=enough, results=results: len(jobs_of(results)) >= enough, [process])
            process.send_signal(signal.SIGSTOP)  # so that no job is handed out meanwhile
            if len(jobs_of(results)) < 11 and (workers := workers_of(process)):
                rng.choice(workers).kill()
                killed += 1
            process.send_signal(signal.SIGCONT)
        out, err = finish(process)
        assert process.returncode == 0, err
        assert jobs_of(results) == grid.calm
        assert not leftovers(results)
    tally("grid: workers killed", deaths)


AT_ONCE = [pytest.param(1, marks=pytest.mark.slow), *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 6))]


def run_two_at_once(bench, results, pattern):
    """Run a command twice at once: the first is held, with what it has in hand, until the second has done something."""
    first = bench.start(results)
    wait_until(lambda: places_of(results, pattern), [first])
    os.killpg(first.pid, signal.SIGSTOP)
    there = len(places_of(results, pattern))
    second = bench.start(results)
    wait_until(lambda: len(places_of(results, pattern)) > there, [second])
    os.killpg(first.pid, signal.SIGCONT)
    told = [finish(process) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), told
    assert not leftovers(results)
    return told


@pytest.mark.slow
@pytest.mark.parametrize("n", AT_ONCE)
def test_two_grids_at_once_share_the_jobs(grid, tmp_path, tally, n):
    told = run_two_at_once(grid, tmp_path / "both", JOBS)
    assert jobs_of(tmp_path / "both") == grid.calm
    done = len((tmp_path / "both" / "timings.csv").read_text().splitlines())
    assert done == 15
    assert all("were done by another process on this results folder" in err for _, err in told)
    tally("grid: two at once", 1)
    tally("grid: jobs done twice by two at once", done - 15)


@pytest.mark.parametrize("n", AT_ONCE)
def test_two_extractions_at_once_share_the_recordings(extract, tmp_path, tally, n):
    # Files just written are read by everyone.
    settled = "import serbench.corpora.index as i; i.SETTLED_NS = 0\n"
    both = Bench(extract.arguments, extract.corpora_file, before=SMALL_CHUNKS + settled)
    told = run_two_at_once(both, tmp_path / "both", PARTS)
    assert features_of(tmp_path / "both", extract.corpora_file) == extract.calm
    done = [told_extracted(out) for out, _ in told]
    assert sum(done) == 720
    assert all(done)
    tally("extract: two at once", 1)
    tally("extract: rows computed twice", sum(done) - 720)
