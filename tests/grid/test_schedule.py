"""Which job runs next, by a crew that only pretends to work."""

import threading
from collections import deque
from concurrent.futures import BrokenExecutor

import pandas as pd
import pytest

from serbench.errors import DiskError
from serbench.grid.plan import Job
from serbench.grid.request import Recipe
from serbench.grid.workers import failure_of, run_jobs
from serbench.protocols import TrainingSet
from serbench.store.files import write_text
from serbench.store.results import Store


def job(name):
    about = "dummy", 1, ({"strategy": "most_frequent"},), "IS09-key", "train", 0, ("anger", "fear"), {}
    recipe = Recipe(**dict(zip(Recipe.__annotations__, about, strict=True)))
    return Job(name, recipe, TrainingSet(("u",)), ("v",), pd.DataFrame())


class PretendedCrew:
    """Ends jobs with the outcomes told for them, else after 1.0 seconds; `beside` is what ran when each was started.

    A job ends when all that can run beside it have started: those of a `batch`.
    """

    def __init__(self, n_workers, outcomes=None, batches=()):
        self.n_workers, self.batches, self.is_closed = n_workers, batches, False
        self.outcomes = {name: deque(told) for name, told in (outcomes or {}).items()}
        self.running, self.beside, self.changed = set(), [], threading.Condition()

    def run(self, job):
        with self.changed:
            self.running.add(job.key)
            self.beside.append(set(self.running))
            self.changed.notify_all()
            batch = next((set(batch) for batch in self.batches if job.key in batch), set())
            self.changed.wait_for(lambda: any(batch <= beside for beside in self.beside), timeout=60)
            self.running.discard(job.key)
        told = self.outcomes.get(job.key)
        outcome = told.popleft() if told else 1.0
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self):
        self.is_closed = True


def run(names, crew, store, *, free=1e12, memory=None):
    given = {"memory": memory or dict.fromkeys(names, 1.0), "free": free}
    return [(done.key, outcome) for done, outcome in run_jobs([job(name) for name in names], crew, store, **given)]


def test_every_job_runs_once_and_as_many_at_a_time_as_there_are_workers(tmp_path):
    crew = PretendedCrew(2, batches=["ab", "cd"])
    assert sorted(run("abcde", crew, Store(tmp_path))) == [(name, 1.0) for name in "abcde"]
    assert max(map(len, crew.beside)) == 2
    assert crew.is_closed
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize(
    ("free", "memory", "batches", "apart"),
    [
        (10.0, {"a": 8.0, "b": 8.0, "c": 1.0}, ["ac"], {"a", "b"}),
        (1.0, {"a": 8.0, "b": 0.5}, [], {"a", "b"}),  # one that fits nowhere runs alone
    ],
)
def test_jobs_run_beside_each_other_as_long_as_there_is_room(tmp_path, free, memory, batches, apart):
    crew = PretendedCrew(3, batches=batches)
    assert len(run(memory, crew, Store(tmp_path), free=free, memory=memory)) == len(memory)
    assert not [beside for beside in crew.beside if apart <= beside]


def test_jobs_that_do_not_fit_on_every_worker_go_first_and_the_rest_fills_the_room(tmp_path):
    crew = PretendedCrew(1)
    memory = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 1.0}
    assert [key for key, _ in run("abcd", crew, Store(tmp_path), free=1.5, memory=memory)] == ["c", "b", "a", "d"]


def test_job_whose_worker_died_is_run_again_at_the_end_and_alone(tmp_path):
    crew = PretendedCrew(2, {"a": [BrokenExecutor(), 1.0]})
    assert sorted(run("abcd", crew, Store(tmp_path))) == [(name, 1.0) for name in "abcd"]
    assert crew.beside[-1] == {"a"}


def test_job_whose_worker_dies_twice_has_failed_and_no_other(tmp_path):
    crew = PretendedCrew(2, {"b": [BrokenExecutor(), BrokenExecutor()]})
    outcomes = dict(run("abcd", crew, Store(tmp_path)))
    died = "its worker process died (killed, or out of memory), twice"
    assert outcomes == {"a": 1.0, "c": 1.0, "d": 1.0, "b": died}


def test_failed_job_is_not_run_again(tmp_path):
    crew = PretendedCrew(1, {"a": ["no features of x", 1.0]})
    assert run("ab", crew, Store(tmp_path)) == [("a", "no features of x"), ("b", 1.0)]


@pytest.mark.parametrize("is_done", [True, False])
def test_job_that_another_process_has_in_hand_is_left_to_it_until_it_gives_it_up(tmp_path, is_done):
    store = Store(tmp_path)
    other = store.locks()
    assert other.acquire("a")

    def release():
        if is_done:
            write_text(store.job("a"), "predictions of the other process")
        other.release("a")

    timer = threading.Timer(0.5, release)
    crew = PretendedCrew(1)
    crew.close = timer.cancel
    timer.start()
    with pytest.warns(UserWarning, match=r"waiting for 1 jobs that another process has in hand"):
        outcomes = run("ab", crew, store)
    assert outcomes == [("b", 1.0), ("a", None if is_done else 1.0)]


def test_disk_that_refuses_stops_the_run(tmp_path):
    error = DiskError("jobs", "written", "no room")
    with pytest.raises(DiskError, match=r"jobs: cannot be written \(no room\)"):
        failure_of(error)
    assert failure_of(ValueError("bad")) == "ValueError: bad"
    crew = PretendedCrew(1, {"a": [error]})
    with pytest.raises(DiskError, match="no room"):
        run("ab", crew, Store(tmp_path))
    assert crew.is_closed
    assert not list(tmp_path.rglob("*.lock"))
