"""Which job runs next, by a crew that only pretends to work."""

from collections import deque

import pandas as pd
import pytest

from serbench.errors import DiskError
from serbench.grid.estimate import PROCESS
from serbench.grid.plan import Job, Recipe
from serbench.grid.workers import Elsewhere, Failed, Room, failure_of, run_jobs
from serbench.protocols import TrainingSet
from serbench.store.files import write_text
from serbench.store.results import Store

DEAD = Failed("its worker died", is_worker_fault=True)


def job(name):
    recipe = Recipe("dummy", 1, ({"strategy": "most_frequent"},), "IS09-key", "train", 0, ("anger", "fear"), {})
    return Job(name, recipe, TrainingSet(("u",)), ("v",), pd.DataFrame())


class PretendedCrew:
    """Ends jobs in the order of their start, with the outcomes told for them, 1.0 second where nothing is told."""

    def __init__(self, workers, outcomes=None, store=None):
        self.workers, self.store = workers, store
        self.outcomes = {name: deque(told) for name, told in (outcomes or {}).items()}
        self.running, self.beside = [], []

    @property
    def n_free(self):
        return self.workers - len(self.running)

    def start(self, job):
        self.running.append(job)
        self.beside.append([other.key for other in self.running])

    def wait(self, timeout_s):
        if not self.running:
            return []
        job = self.running.pop(0)
        told = self.outcomes.get(job.key)
        outcome = told.popleft() if told else 1.0
        if self.store and outcome == 1.0:
            write_text(self.store.job(job.key), "predictions")
        return [(job, outcome)]


def run(names, crew, store, *, free=1e12, memory=None):
    jobs = [job(name) for name in names]
    room = Room(crew.workers, free, memory or dict.fromkeys(names, 1.0))
    return [(done.key, outcome) for done, outcome in run_jobs(jobs, crew, store, room)]


def test_every_job_runs_once_and_as_many_at_a_time_as_there_are_workers(tmp_path):
    crew = PretendedCrew(2)
    assert run("abcde", crew, Store(tmp_path)) == [(name, 1.0) for name in "abcde"]
    assert crew.beside == [["a"], ["a", "b"], ["b", "c"], ["c", "d"], ["d", "e"]]
    assert not list(tmp_path.rglob("*.lock"))


def test_jobs_run_beside_each_other_as_long_as_there_is_room(tmp_path):
    crew = PretendedCrew(3)
    run("abc", crew, Store(tmp_path), free=10.0, memory={"a": 8.0, "b": 8.0, "c": 1.0})
    assert crew.beside == [["a"], ["a", "c"], ["c", "b"]]


def test_job_that_fits_nowhere_runs_alone(tmp_path):
    crew = PretendedCrew(2)
    assert len(run("ab", crew, Store(tmp_path), free=1.0, memory={"a": 8.0, "b": 0.5})) == 2
    assert crew.beside == [["a"], ["b"]]


def test_job_whose_worker_died_is_run_again_at_the_end_and_alone(tmp_path):
    crew = PretendedCrew(2, {"a": [DEAD, 1.0]})
    assert run("abcd", crew, Store(tmp_path)) == [("b", 1.0), ("c", 1.0), ("d", 1.0), ("a", 1.0)]
    assert crew.beside[-1] == ["a"]


def test_job_whose_worker_dies_twice_has_failed_and_no_other(tmp_path):
    crew = PretendedCrew(2, {"b": [DEAD, DEAD]})
    outcomes = dict(run("abcd", crew, Store(tmp_path)))
    assert outcomes == {"a": 1.0, "c": 1.0, "d": 1.0, "b": Failed("its worker died, twice")}


def test_failed_job_is_not_run_again(tmp_path):
    failed = Failed("no features of x")
    crew = PretendedCrew(1, {"a": [failed, 1.0]})
    assert run("ab", crew, Store(tmp_path)) == [("a", failed), ("b", 1.0)]


def test_job_that_another_process_has_in_hand_is_left_to_it(tmp_path):
    store = Store(tmp_path)
    other = store.locks()
    assert other.acquire("a")

    class Watched(PretendedCrew):
        def wait(self, timeout_s):
            if not self.running and "c" in {done for beside in self.beside for done in beside}:
                write_text(store.job("a"), "predictions of the other process")
                other.release("a")
            return super().wait(timeout_s)

    with pytest.warns(UserWarning, match=r"waiting for 1 jobs that another process has in hand"):
        outcomes = run("abc", Watched(1), store)
    assert outcomes == [("b", 1.0), ("c", 1.0), ("a", Elsewhere())]


def test_job_of_a_process_that_gave_it_up_is_done(tmp_path):
    store = Store(tmp_path)
    other = store.locks()
    assert other.acquire("a")

    class Watched(PretendedCrew):
        def wait(self, timeout_s):
            if not self.running:
                other.release("a")
            return super().wait(timeout_s)

    with pytest.warns(UserWarning, match=r"waiting for 1 jobs that another process has in hand"):
        outcomes = run("ab", Watched(1), store)
    assert outcomes == [("b", 1.0), ("a", 1.0)]


def test_jobs_that_do_not_fit_on_every_worker_go_first_and_the_rest_fills_the_room():
    jobs = [job(name) for name in "abcd"]
    memory = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 1.0}
    assert [j.key for j in Room.of(memory, workers=2, free=10 * PROCESS).in_order(jobs)] == ["a", "b", "c", "d"]
    assert [j.key for j in Room(2, 3.0, memory).in_order(jobs)] == ["c", "b", "a", "d"]


def test_no_more_processes_start_than_there_are_jobs_or_than_fit():
    memory = {str(n): 1.0 for n in range(5)}
    assert Room.of(memory, workers=64, free=1e12).workers == 5
    assert Room.of(memory, workers=64, free=4.1 * PROCESS).workers == 4
    assert Room.of(memory, workers=64, free=1.0).workers == 1


def test_disk_that_refuses_stops_the_run():
    with pytest.raises(DiskError, match=r"jobs: cannot be written \(no room\)"):
        failure_of(DiskError("jobs", "written", "no room"))
    assert failure_of(ValueError("bad")) == Failed("ValueError: bad")
