"""Disks that refuse, and disks that give back something else than was written."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest

import serbench
import serbench.features.table
from serbench.errors import SerbenchError, StoreError
from serbench.features import find_feature_set
from serbench.grid.check import check_store, clean_store, find_unused
from serbench.store.files import UNSEALED, is_intact, read_json, write_json
from serbench.store.results import Store

KNN = serbench.GridRequest("mfcc", "knn", emotions="anger,happiness,neutral")
FAULTS = [pytest.param(9, marks=pytest.mark.slow), pytest.param(600, marks=pytest.mark.long)]


@pytest.fixture
def toy(make_corpus, tmp_path):
    """Run a small grid on mfcc, in this process with its workers."""
    path = make_corpus(speakers=("f1", "m1", "m2"))
    for recording in (path.parent / "toy").iterdir():
        os.utime(recording, ns=(0, 0))

    def run(results):
        request = serbench.GridRequest(("mfcc",), ("knn", "dummy"), emotions="anger,happiness,neutral")
        place = serbench.Workspace(tmp_path / results, path, jobs=1)
        done = serbench.run_grid("toy", request, place)
        return done, serbench.make_report(place).scores

    run.path = path
    run.store = lambda results: Store(tmp_path / results)
    return run


def damage(path, rng):
    """Cut a file, flip one bit of it, or put noise over a few bytes; say what was done."""
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    what = rng.choice(["cut", "flipped", "overwritten"])
    if what == "cut":
        del data[at:]
    elif what == "flipped":
        data[at] ^= 1 << rng.randrange(8)
    else:
        noise = rng.randbytes(min(8, len(data) - at))
        data[at : at + len(noise)] = bytes(a ^ (b or 1) for a, b in zip(data[at:], noise, strict=False))
    path.write_bytes(data)
    return f"{path.name} {what} at {at} of {len(data)}"


@pytest.mark.parametrize("n", FAULTS)
def test_damage_is_found_named_and_made_good_or_refused_and_no_number_changes(toy, tmp_path, tally, n):
    _, sound = toy("sound")
    files = one_of_each_kind_first(path.relative_to(tmp_path / "sound") for path in (tmp_path / "sound").rglob("*"))
    assert {path.parts[0] for path in files} == {"cells", "features", "index", "jobs", "report"}
    rng = random.Random(n)
    found = changed = 0
    for fault in range(n):
        victim = files[fault % len(files)]
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "sound", tmp_path / "bad")
        what = damage(tmp_path / "bad" / victim, rng)
        found += list(check_store(serbench.Workspace(tmp_path / "bad")).damaged) == [tmp_path / "bad" / victim]
        assert found == fault + 1, what
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # which name what is damaged
            with contextlib.suppress(SerbenchError):
                assert tables_agree(serbench.load_scores(serbench.Workspace(tmp_path / "bad")), sound), what
            _, scores = toy("bad")
        changed += int((~scores["value"].eq(sound["value"]) & sound["value"].notna()).sum())
        assert scores.equals(sound), what
        made_when_needed = {tmp_path / "bad" / victim} if victim.suffix == ".arrow" else set()
        assert set(check_store(serbench.Workspace(tmp_path / "bad")).damaged) <= made_when_needed, what
    tally("disk: files damaged", n)
    tally("disk: damage found and named", found)
    tally("disk: values that changed", changed)


def one_of_each_kind_first(places):
    """Files with a checksum; a kind is a folder and how names begin (those of jobs do not) and end."""
    places = sorted(place for place in places if place.suffix in (".parquet", ".json", ".arrow"))
    kinds = [(place.parts[0], place.parts[0] != "jobs" and place.name[:4], place.suffix) for place in places]
    return [place for _, place in sorted((kinds[:i].count(kinds[i]), place) for i, place in enumerate(places))]


def tables_agree(scores, sound):
    """Every value that is there is the right one."""
    cell = ["protocol", "task", "corpus", "features", "classifier", "inner", "scaling", "seed", "rule", "metric"]
    both = scores.merge(sound, on=[name for name in cell if name in sound], suffixes=("", "_sound"))
    there = both["value"].notna()
    return np.array_equal(both["value"][there], both["value_sound"][there])


def test_every_single_bit_of_a_sealed_file_counts(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"emotion": UNSEALED, "looks like a checksum": "serbench-sha256:" + "1" * 64})
    whole = path.read_bytes()
    assert is_intact(whole)
    for at in range(len(whole)):
        for bit in range(8):
            assert not is_intact(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        assert not is_intact(whole[:at])


def test_clean_removes_what_no_cell_refers_to_and_nothing_else(toy, tmp_path):
    toy("results")
    store, place = toy.store("results"), serbench.Workspace(tmp_path / "results", toy.path)
    assert not find_unused(place)
    before = check_store(place).counts
    next(path for path in store.cells if "-dummy-" in path.name).unlink()
    old = store.features("mfcc-0123456789ab", "toy")
    shutil.copytree(store.features(find_feature_set("mfcc").key, "toy"), old)
    write_json(old.parent / "set.json", {"name": "mfcc"})
    files = [path for path in old.parent.rglob("*") if path.is_file()]  # on a busy machine, more parts
    unused = find_unused(place)
    assert {kind: len(paths) for kind, paths in unused.items()} == {"jobs": 6, "files of features": len(files)}
    clean_store(unused, place)
    assert not old.parent.exists()
    after = check_store(place).counts
    assert (after["jobs"], after["parts of features"]) == (before["jobs"] - 6, before["parts of features"])
    assert not serbench.plan_grid("toy", KNN, place, dry_run=True).plan.todo


@pytest.fixture
def crowded(toy, tmp_path):
    """A results folder without cells, with a user's files everywhere, and links to folders of theirs."""
    serbench.extract_features("toy", ("mfcc",), serbench.Workspace(tmp_path / "results", toy.path))
    store, elsewhere = toy.store("results"), tmp_path / "elsewhere"
    old, key = "features/mfcc-0123456789ab/toy", "0123456789abcdef01234567"
    temporary = ".tmp-0123456789ab-1-0123abcd-x"
    litter = [f"{old}/part-{key}.parquet", f"{old}/failures.parquet", f"jobs/{key}.parquet", f"report/{temporary}"]
    mine = [f"{old}/notes.txt", f"{old}/part-mine.parquet", f"{old}/deep/part-{key}.parquet", "features/my/data/a.csv"]
    mine += [f"features/my/data/part-{key}.parquet", "jobs/mine.parquet", "jobs/.tmp-mine", f"mine/{temporary}"]
    for name in (*litter, *mine):
        (store.root / name).parent.mkdir(parents=True, exist_ok=True)
        (store.root / name).write_text("text")
    write_json(store.features("mfcc-0123456789ab", "set.json"), {"name": "mfcc"})
    (elsewhere / "toy").mkdir(parents=True)
    for name in (f"toy/part-{key}.parquet", temporary):
        (elsewhere / name).write_text("text")
    (store.root / "features" / "mfcc-ffffffffffff").symlink_to(elsewhere)
    (store.root / "features" / "mfcc-0123456789ab" / "linked").symlink_to(elsewhere / "toy")
    (store.root / "jobs" / f"{'f' * 24}.parquet").symlink_to(elsewhere / temporary)
    for path in (*store.root.rglob(".tmp-*"), *elsewhere.rglob("*")):
        os.utime(path, (0, 0))
    return store, set(litter)


def every_file(folder):
    """Files and links below a folder by name, and what files and links hold, as seen through no link above them."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_symlink() or p.is_file()}
    return {name: os.readlink(path) if path.is_symlink() else path.read_bytes() for name, path in found.items()}


def test_clean_removes_names_that_serbench_writes_and_follows_no_link(crowded, tmp_path, cli):
    store, litter = crowded
    before, elsewhere = every_file(store.root), every_file(tmp_path / "elsewhere")
    code, out, err = cli("store", "clean", "--yes", "--results", store.root)
    assert code == 0, err
    after = every_file(store.root)
    assert set(before) - set(after) == litter
    assert {name: before[name] for name in after} == after
    assert every_file(tmp_path / "elsewhere") == elsewhere
    assert "2 files of features: features/mfcc-0123456789ab/toy/failures.parquet, features/mfcc-" in out
    assert "1 jobs: jobs/0123456789abcdef01234567.parquet\n" in out


def test_clean_of_no_results_folder_is_refused(tmp_path, cli):
    for name in ("features/a-0123456789ab/toy/part-0123456789abcdef01234567.parquet", "index/toy.parquet"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("of another program")
    (tmp_path / "index" / "gone.parquet").symlink_to("nowhere")
    before = every_file(tmp_path)
    with pytest.raises(StoreError, match=r"nowhere: no such folder"):
        check_store(serbench.Workspace(tmp_path / "nowhere"))
    code, _, err = cli("store", "clean", "--yes", "--results", tmp_path)
    assert code == 1
    assert f"{tmp_path}: no results folder: none of index/ and cells/ holds a sound file" in err
    assert every_file(tmp_path) == before


def test_clean_that_may_not_remove_says_so(crowded, cli, monkeypatch, tmp_path):
    def refuse(path, missing_ok=False):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(type(tmp_path), "unlink", refuse)
    code, _, err = cli("store", "clean", "--yes", "--results", crowded[0].root)
    assert code == 1
    assert "parquet: cannot be removed (Read-only file system). Mend the permissions and run this again" in err


JOB = "0123456789abcdef01234567"


def test_clean_leaves_a_folder_at_work_jobs_of_a_failed_cell_and_files_of_others_alone(toy, tmp_path):
    place, store = serbench.Workspace(tmp_path / "results", toy.path), toy.store("results")
    refused = serbench.GridRequest(("mfcc",), ("knn", "dummy"), emotions=KNN.emotions, scaling="none")
    serbench.run_grid("toy", refused, place)
    assert list(find_unused(place)) == ["cells that cannot be carried out"]
    clean_store(find_unused(place), place)
    toy("results")
    other = store.root / "locks" / "mine.lock"
    other.parent.mkdir()
    other.touch()
    locks = store.locks()
    assert locks.acquire(JOB)
    with pytest.raises(StoreError, match=r"another process is at work on it"):
        find_unused(place)
    locks.release(JOB)
    write_json(store.cells[0], {**read_json(store.cells[0]), "reason": "1 job failed"})
    assert not find_unused(place)
    assert other.is_file()
    first, second = store.jobs[:2]
    shutil.copy(first, second)
    assert check_store(place).damaged == {second: f"it holds what belongs under the name {first.stem}"}


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_told_once_and_keeps_no_lock_file(tmp_path, monkeypatch, code):
    def refuse(*given):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    locks = Store(tmp_path).locks()
    with pytest.warns(UserWarning, match="has no locks: run one serbench at a time") as told:
        taken = [locks.acquire(JOB), locks.acquire("another")]
    assert taken == [True, True]
    assert len(told) == 1
    assert not list((tmp_path / "locks").iterdir())
    (tmp_path / "locks" / f"{JOB}.lock").touch()  # an earlier serbench left it
    assert not locks.held()


def test_file_that_cannot_be_read_just_now_is_not_taken_for_damaged(toy, tmp_path, monkeypatch):
    toy("results")
    store = toy.store("results")
    real, before = type(tmp_path).read_bytes, check_store(serbench.Workspace(store.root)).counts

    def refuse(path):
        if "part-" in path.name or path.parent.name == "jobs":
            raise OSError(24, "Too many open files")
        return real(path)

    monkeypatch.setattr(type(tmp_path), "read_bytes", refuse)
    serbench.features.table._rows_of.cache_clear()
    with pytest.raises(SerbenchError, match=r"cannot be read \(.*Too many open files"):
        toy("results")
    monkeypatch.undo()
    assert check_store(serbench.Workspace(store.root)).counts == before


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
from serbench.cli import main
main()
"""


EXTRACT = ["extract", "toy", "-f", "mfcc"]
GRID = ["grid", "toy", "-f", "mfcc", "-c", "knn", "--emotions", "anger,happiness,neutral"]


def options(toy, results):
    return ["--corpora", str(toy.path), "--results", str(results), "--jobs", "2"]


def extract(toy, results):
    serbench.extract_features("toy", ("mfcc",), serbench.Workspace(results, toy.path))


@pytest.mark.parametrize(
    ("arguments", "size", "file"), [pytest.param(EXTRACT, 9000, "part-", marks=pytest.mark.slow), (GRID, 3000, "")]
)
def test_limit_on_the_size_of_files_is_told_and_the_next_run_goes_on(toy, tmp_path, tally, arguments, size, file):
    pytest.importorskip("resource", reason="needs POSIX limits")
    extract(toy, tmp_path / "results") if arguments is GRID else None
    command = [sys.executable, "-c", LIMITED.format(size=size), *arguments, *options(toy, tmp_path / "results")]
    limited = subprocess.run(command, capture_output=True, text=True)
    assert limited.returncode == 1, limited.stdout
    assert "cannot be written (File too large). What was stored before is intact" in limited.stderr
    assert file in limited.stderr
    assert "Traceback" not in limited.stderr
    goes_on(toy, tmp_path, tmp_path / "results")
    tally("disk: refusals", 1)


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 400 kB, which only root may mount."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [EXTRACT, GRID], ids=["extract", "grid"])
def test_full_disk_is_told_and_the_next_run_goes_on(toy, tmp_path, tally, full_disk, cli, arguments):
    results = full_disk / "results"
    extract(toy, results) if arguments is GRID else None
    filler = full_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()
    if arguments is GRID:
        os.truncate(filler, filler.stat().st_size - 8192)  # room for the record of a cell
    code, out, err = cli(*arguments, *options(toy, results))
    assert code == 1, out
    assert "(No space left on device)" in err
    assert "Traceback" not in err
    filler.unlink()
    goes_on(toy, tmp_path, results)
    tally("disk: refusals", 1)


@pytest.mark.parametrize("arguments", [EXTRACT, pytest.param(GRID, marks=pytest.mark.slow)], ids=["extract", "grid"])
def test_read_only_disk_is_told_before_any_work(toy, tally, full_disk, cli, tmp_path, arguments):
    results = full_disk / "results"
    extract(toy, results)
    subprocess.run(["mount", "-o", "remount,ro", str(full_disk)], check=True)
    code, out, err = cli(*arguments, *options(toy, results))
    assert code == 1
    assert f"{results}: cannot be written (Read-only file system)" in err
    assert "extract toy:" not in err
    subprocess.run(["mount", "-o", "remount,rw", str(full_disk)], check=True)
    goes_on(toy, tmp_path, results)
    tally("disk: refusals", 1)


def goes_on(toy, tmp_path, results):
    """Run the grid on a disk that takes it again: the bytes are those of a calm run, and nothing is left over."""
    for place in (results, tmp_path / "calm"):
        assert not serbench.run_grid("toy", KNN, serbench.Workspace(place, toy.path, jobs=2)).refused
    jobs = [{job.name: job.read_bytes() for job in place.glob("jobs/*")} for place in (results, tmp_path / "calm")]
    assert jobs[0] == jobs[1]
    assert not [*results.rglob(".tmp-*"), *results.rglob("*.lock")]
