"""What `--dry-run` tells of time and memory, and how many workers run at once."""

import dataclasses

import pytest

from serbench import estimate
from serbench.classifiers import CLASSIFIERS
from serbench.estimate import PROCESS, Estimate, free_memory
from serbench.grid import GridPlan
from serbench.plan import Job, Plan, Recipe, Rows
from serbench.protocols import TrainingSet


def job(classifier, n):
    recipe = Recipe(classifier, 1, CLASSIFIERS[classifier].space, "IS09-key", "train", 0, ("anger", "fear"), {})
    train = TrainingSet(tuple(f"u{i}" for i in range(n)))
    return Job(f"{classifier}{n}", recipe, train, ("v",), Rows({}, {}, {}, {}))


def plan(*jobs):
    return GridPlan((), Plan({}, ()), jobs, Estimate({"IS09-key": 384}, {}))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_more_rows_take_more_time_and_memory(name):
    classifier = CLASSIFIERS[name]
    assert classifier.seconds(9000, 384, 6) >= classifier.seconds(300, 384, 6) > 0
    assert classifier.memory(9000, 1000, 384) > classifier.memory(300, 100, 384) > 0


def test_large_jobs_run_fewer_at_a_time_and_small_ones_with_all_workers():
    planned = plan(job("svc", 10_000), job("svc", 400), job("dummy", 400))
    batches = planned.batches(workers=4, free=4e9)
    assert {n: [j.key for j in jobs] for n, jobs in batches.items()} == {2: ["svc10000"], 4: ["svc400", "dummy400"]}
    assert planned.batches(workers=4, free=1e12).keys() == {4}
    assert planned.batches(workers=4, free=1.0).keys() == {1}


def test_expected_time_counts_the_workers_that_run_at_once():
    planned = plan(job("svc", 10_000))
    alone = planned.expected_seconds(workers=4, free=2e9)
    assert planned.expected_seconds(workers=4, free=1e12) == pytest.approx(alone / 4)
    assert alone == pytest.approx(planned.seconds)


def test_bounds_of_svc_that_the_documentation_states():
    memory = CLASSIFIERS["svc"].memory
    assert 2 * (PROCESS + memory(9_900, 100, 384)) < 4e9
    assert PROCESS + memory(24_900, 100, 384) < 12e9


def test_limit_of_a_control_group_counts_without_the_cache_that_gives_way(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_CGROUP", tmp_path)
    unlimited = free_memory()
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 1000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() == pytest.approx(unlimited, rel=0.5)
    (tmp_path / "memory.max").write_text("4000000\n")
    assert free_memory() == 2e6


def test_dry_run_says_what_does_not_fit_and_what_takes_a_day(capsys):
    from serbench import cli

    cli._print_expectation(plan(job("svc", 300_000)), workers=2)
    told = capsys.readouterr()
    assert "with 2 workers of up to" in told.out
    assert "may be stopped by the system for want of memory" in told.err
    assert "more than a day. Shorter: --inner 4" in told.err
    cli._print_expectation(dataclasses.replace(plan(job("dummy", 300))), workers=2)
    assert not capsys.readouterr().err
