"""Results in an object store: what is kept the same, and what is not lost."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from serbench.errors import StoreError
from serbench.remote import Mirror
from serbench.sealed import write_text

pytestmark = pytest.mark.skipif(importlib.util.find_spec("fsspec") is None, reason="needs pip install '.[remote]'")
needs_s3 = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("s3fs", "moto")),
    reason="needs s3fs and moto: pip install '.[remote]' and the test group",
)


@pytest.fixture
def place(tmp_path):
    """A place by URL, and a function that makes a mirror of it on one of several machines."""
    (tmp_path / "bucket").mkdir()

    def machine(name):
        mirror = Mirror(f"file://{tmp_path}/bucket/results", tmp_path / name)
        mirror.pull()
        return mirror

    return machine


def content(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_what_one_machine_puts_there_another_finds(place, tmp_path):
    one = place("one")
    write_text(one.folder / "jobs" / "a.parquet", "predictions")
    one.push()
    assert content(tmp_path / "bucket" / "results") == {"jobs/a.parquet": "predictions"}
    assert content(place("two").folder) == {"jobs/a.parquet": "predictions"}


def test_temporary_files_claims_and_mapped_features_stay_here(place, tmp_path):
    one = place("one")
    for name in ("jobs/.tmp-host-1-ab-x.parquet", "claims/a.lock", "features/IS09-k/toy/rows-0a1b.arrow", "jobs/a"):
        write_text(one.folder / name, "text")
    one.push()
    assert content(tmp_path / "bucket" / "results") == {"jobs/a": "text"}


def test_what_changes_or_goes_on_one_machine_does_so_on_the_other(place):
    one, two = place("one"), place("two")
    for name in "abc":
        write_text(one.folder / name, "old")
    one.push()
    two.pull()
    write_text(one.folder / "a", "new")
    (one.folder / "b").unlink()
    one.push()
    two.pull()
    assert content(two.folder) == {"a": "new", "c": "old"}


def test_nothing_is_sent_twice(place, monkeypatch):
    one = place("one")
    sent = []
    put = one._files.put_file
    monkeypatch.setattr(one._files, "put_file", lambda here, there: (sent.append(there), put(here, there)))
    for name in "ab":
        write_text(one.folder / name, "text")
    one.push()
    write_text(one.folder / "b", "more")
    one.push()
    one.push()
    assert [place.rpartition("/")[2] for place in sent] == ["a", "b", "b"]


def test_what_a_killed_program_had_not_sent_is_kept_and_sent_later(place, tmp_path):
    one = place("one")
    write_text(one.folder / "a", "text")
    again = Mirror(one.url, one.folder)
    again.pull()
    again.push()
    assert content(tmp_path / "bucket" / "results") == {"a": "text"}


def test_lost_memory_of_what_was_the_same_costs_only_fetching_again(place):
    one = place("one")
    write_text(one.folder / "a", "text")
    one.push()
    (one.folder / ".remote.json").write_text("{torn")
    again = place("one")
    assert content(again.folder) == {"a": "text"}


def test_two_processes_of_one_machine_lose_nothing_of_each_other(place, tmp_path, monkeypatch):
    one = place("one")
    two = Mirror(one.url, one.folder)
    listing = two._listing

    def late():
        """Let the other process put a file there between the look there and the look here."""
        there = listing()
        sender = threading.Thread(target=lambda: (write_text(one.folder / "job", "text"), one.push()))
        sender.start()
        sender.join(timeout=1.0)
        return there

    monkeypatch.setattr(two, "_listing", late)
    two.pull()
    monkeypatch.undo()
    one.push()
    assert content(one.folder) == {"job": "text"}
    assert content(tmp_path / "bucket" / "results") == {"job": "text"}


def test_file_that_two_machines_remove_is_no_error(place):
    one = place("one")
    write_text(one.folder / "a", "text")
    one.push()
    two = place("two")
    for mirror in (one, two):
        (mirror.folder / "a").unlink()
        mirror.push()
    assert content(place("three").folder) == {}


def test_keys_that_lead_out_of_the_folder_are_none_of_ours(place, tmp_path, monkeypatch):
    one = place("one")
    outside = tmp_path / "outside"
    found = {f"{one._root}/{outside}": {"size": 1}, f"{one._root}/../../outside": {"size": 1}}
    monkeypatch.setattr(one._files, "find", lambda *a, **k: found)
    one.pull()
    assert not outside.exists()


def test_network_that_fails_for_a_while_does_not_end_a_run(place, tmp_path, monkeypatch):
    monkeypatch.setattr("serbench.remote.PUT_S", 0.05)
    one = place("one")
    put, failures = one._files.put_file, []

    def fails_at_first(here, there):
        if len(failures) < 3:
            failures.append(there)
            raise ConnectionResetError("Connection reset by peer")
        put(here, there)

    monkeypatch.setattr(one._files, "put_file", fails_at_first)

    def run():
        with one.pushing():
            write_text(one.folder / "a", "text")
            time.sleep(0.5)

    with pytest.warns(UserWarning, match=r"cannot be written \(Connection reset by peer\).* It is tried again"):
        run()
    assert content(tmp_path / "bucket" / "results") == {"a": "text"}


def test_place_is_looked_at_again_by_a_program_that_goes_on(place, monkeypatch):
    monkeypatch.setattr("serbench.remote.PUT_S", 0.0)
    one, two = place("one"), place("two")
    write_text(one.folder / "a", "text")
    one.push()
    two.pull_now_and_then()
    assert content(two.folder) == {"a": "text"}


def test_package_that_is_not_installed_is_named(tmp_path):
    with pytest.raises(
        StoreError, match=r"nonsense://x: cannot be opened \(Protocol not known: nonsense|needs a package"
    ):
        Mirror("nonsense://x", tmp_path / "here")


@pytest.fixture(scope="module")
def s3():
    """Start a server that speaks the protocol of S3, and return the environment that leads programs to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], **quiet)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(address, timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        yield {**os.environ, **keys, "AWS_ENDPOINT_URL": address}
    finally:
        server.kill()
        server.wait()


def jobs_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def in_s3(s3, code):
    """Run code with the server's file system as `files`, in a process of its own, and return what it prints."""
    code = f"import s3fs; files = s3fs.S3FileSystem(); {code}"
    return subprocess.run([sys.executable, "-c", code], env=s3, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def grid(make_corpus, tmp_path, s3):
    """Run a grid of 20 jobs from one of several machines, which have nothing in common but the object store."""
    path = make_corpus(emotions=("anger", "fear", "happiness", "neutral", "sadness"), takes=1)
    (tmp_path / "space.yaml").write_text("rf: {settings: [{max_features: sqrt, min_samples_leaf: [1, 2, 3]}]}")

    def start(results, *, machine="one", command="grid"):
        options = ["-f", "mfcc", "-c", "rf", "-c", "svc", "--space", str(tmp_path / "space.yaml"), "--jobs", "2"]
        given = ["grid", "toy", *options, "--corpora", str(path)] if command == "grid" else [command]
        return subprocess.Popen(
            [sys.executable, "-c", "from serbench.cli import main; main()", *given, "--results", str(results)],
            env={**s3, "XDG_CACHE_HOME": str(tmp_path / machine)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(results, **options):
        process = start(results, **options)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out

    run.start = start
    return run


@needs_s3
def test_grid_in_s3_survives_the_loss_of_its_machine_and_gives_the_bytes_of_a_local_run(grid, s3, tmp_path, tally):
    in_s3(s3, "files.mkdir('bucket')")
    grid(tmp_path / "here")
    process = grid.start("s3://bucket/results", machine="one")
    while len(before := in_s3(s3, "print(*files.find('bucket/results/jobs'))").split()) < 2:
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    before = in_s3(s3, "print(*files.find('bucket/results/jobs'))").split()
    assert len(before) < 20
    out = grid("s3://bucket/results", machine="two")
    assert f"{len(before)} already there" in out
    assert "20 already there, 0 to do" in grid("s3://bucket/results", machine="three")
    in_s3(s3, f"files.get('bucket/results/jobs', {str(tmp_path / 'there')!r}, recursive=True)")
    assert jobs_in(tmp_path / "there") == jobs_in(tmp_path / "here" / "jobs")
    grid("s3://bucket/results", machine="two", command="report")
    names = in_s3(s3, "print(*files.find('bucket/results'))").split()
    assert "bucket/results/report/report.md" in names
    assert not [name for name in names if "/.tmp" in name or "claims" in name or name.endswith(".arrow")]
    tally("remote: machines lost", 1)


@needs_s3
def test_place_that_does_not_exist_is_an_error_in_words(grid):
    process = grid.start("s3://no-such-bucket/results")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "s3://no-such-bucket/results: cannot be " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("url", ["s3://", "s3:/bucket/results", "memory://results"])
def test_place_that_is_none_is_refused_before_any_work(tmp_path, url):
    from serbench import api

    with pytest.raises(StoreError, match=r"no place for results. Expected a folder, or a URL that lasts"):
        api.Workspace(results=url).store()


def test_place_that_cannot_be_written_is_refused_before_any_work(place, monkeypatch):
    one = place("one")

    def forbidden(*arguments):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(one._files, "pipe_file", forbidden)
    with pytest.raises(StoreError, match=r"cannot be written \(Access Denied\)"), one.pushing():
        pytest.fail("work began")
