"""Results in an object store: what is kept the same, and what is not lost."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
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
    (tmp_path / "space.yaml").write_text("rf: {settings: [{max_features: sqrt, min_samples_leaf: 1}]}")

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
    jobs = tmp_path / "one" / "serbench"
    while len(list(jobs.glob("*/jobs/[!.]*.parquet"))) < 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    before = in_s3(s3, "print(*files.find('bucket/results/jobs'))").split()
    assert len(before) >= 4
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
