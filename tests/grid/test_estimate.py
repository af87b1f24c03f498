"""What `--dry-run` tells of time and memory, and which jobs run at once."""

import pandas as pd
import pytest

from serbench.classifiers import CLASSIFIERS
from serbench.grid.estimate import PROCESS, START_S, Estimate
from serbench.grid.plan import Job
from serbench.grid.request import Recipe
from serbench.grid.run import GridPlan
from serbench.protocols import TrainingSet
from serbench.store import memory as estimate
from serbench.store.memory import free_memory
from serbench.store.results import Store


def job(classifier, n):
    about = classifier, 1, CLASSIFIERS[classifier].space, "IS09-key", "train", 0, ("anger", "fear"), {}
    recipe = Recipe(**dict(zip(Recipe.__annotations__, about, strict=True)))
    train = TrainingSet(tuple(f"u{i}" for i in range(n)))
    return Job(f"{classifier}{n}", recipe, train, ("v",), pd.DataFrame())


def plan(*jobs):
    return GridPlan((), {}, jobs, Estimate({"IS09-key": 384}, {}))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_more_rows_take_more_time_and_memory(name):
    classifier = CLASSIFIERS[name]
    assert classifier.seconds(9000, 384, 6) >= classifier.seconds(300, 384, 6) > 0
    assert classifier.memory(9000, 1000, 384) > classifier.memory(300, 100, 384) > 0


def test_number_of_the_largest_jobs_at_once_follows_from_memory():
    planned = plan(job("svc", 10_000), job("dummy", 400))
    assert planned.at_once(workers=4, free=4e9) == 2
    assert planned.at_once(workers=4, free=1e12) == 4
    assert planned.at_once(workers=4, free=1.0) == 1


def test_expected_time_is_no_less_than_the_longest_job_and_than_memory_allows():
    alone = plan(job("svc", 10_000))
    assert alone.expected_seconds(workers=4, free=1e12) == pytest.approx(START_S + alone.seconds)
    four = plan(*(job("svc", n) for n in range(9_997, 10_001)))
    assert four.expected_seconds(workers=4, free=1e12) == pytest.approx(START_S + four.seconds / 4, rel=0.01)
    assert four.expected_seconds(workers=4, free=1.8e9) > 0.9 * four.seconds


def test_line_torn_by_a_crash_costs_no_estimate(tmp_path):
    store = Store(tmp_path)
    store.timings.write_bytes(b"svc,2.0\nrf,4.0\n\xfc\xffsv,\nsv\nmlp,\n")
    assert Estimate.of(store, {}).corrections == {"svc": 2.0, "rf": 4.0}


def test_bounds_of_svc_that_the_documentation_states():
    memory = CLASSIFIERS["svc"].memory
    assert 2 * (PROCESS + memory(9_900, 100, 384)) < 4e9
    assert PROCESS + memory(24_900, 100, 384) < 12e9


@pytest.mark.parametrize("limited", ["job", "job/step"])
def test_limits_of_control_groups_count_without_the_cache_that_gives_way(tmp_path, monkeypatch, limited):
    monkeypatch.setattr(estimate, "_GROUPS", tmp_path)
    monkeypatch.setattr(estimate, "_OWN_GROUP", tmp_path / "own")
    unlimited = free_memory()
    (tmp_path / "own").write_text("0::/job/step\n")
    (tmp_path / "job" / "step").mkdir(parents=True)
    for group in ("job", "job/step"):
        (tmp_path / group / "memory.current").write_text("3000000\n")
        (tmp_path / group / "memory.stat").write_text("anon 5\ninactive_file 600000\nactive_file 400000\n")
        (tmp_path / group / "memory.max").write_text("max\n")
    assert free_memory() == pytest.approx(unlimited, rel=0.5)
    (tmp_path / limited / "memory.max").write_text("4000000\n")
    assert free_memory() == 2e6


@pytest.mark.parametrize("limited", [".", "job", "job/step"])
def test_limits_of_control_groups_of_version_1_count_too(tmp_path, monkeypatch, limited):
    monkeypatch.setattr(estimate, "_GROUPS", tmp_path)
    monkeypatch.setattr(estimate, "_OWN_GROUP", tmp_path / "own")
    (tmp_path / "own").write_text("9:name=systemd:/\n4:cpu,memory:/job/step\n1:cpuset:/elsewhere\n0::/\n")
    (tmp_path / "memory" / limited).mkdir(parents=True)  # in a container, the groups of the host are not there
    for name, number in (("limit", 4_000_000), ("usage", 3_000_000)):
        (tmp_path / "memory" / limited / f"memory.{name}_in_bytes").write_text(f"{number}\n")
    stat = "inactive_file 7\ntotal_inactive_file 600000\ntotal_active_file 400000\n"
    (tmp_path / "memory" / limited / "memory.stat").write_text(stat)
    assert free_memory() == 2e6


def test_dry_run_says_what_does_not_fit_and_what_takes_a_day(capsys, monkeypatch):
    from serbench.cli.show import print_expectation

    monkeypatch.setattr("serbench.store.memory.free_memory", lambda: 4e9)
    print_expectation(plan(job("svc", 300_000)), workers=2)
    told = capsys.readouterr()
    assert "with 2 workers of up to" in told.out
    assert "may be stopped by the system for want of memory" in told.err
    assert "more than a day; --inner 4" in told.err
    print_expectation(plan(job("svc", 10_000)), workers=4)
    assert "No more than 2 of the largest jobs run at a time" in capsys.readouterr().err
    print_expectation(plan(job("dummy", 300)), workers=2)
    assert not capsys.readouterr().err
