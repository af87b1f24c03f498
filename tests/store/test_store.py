import importlib.metadata
import os

import numpy as np
import pytest

import serbench
from serbench.errors import StoreError
from serbench.store.files import read_frame, system_id, write_atomically, write_text
from serbench.store.keys import digest, package_versions
from serbench.store.results import Store


def test_failed_write_leaves_the_old_file_and_no_other_and_damage_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    write_text(path, "PAR1 but not really")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"No space left on device"):
        write_atomically(path, fail)
    assert path.read_text() == "PAR1 but not really"
    assert os.listdir(tmp_path) == ["a.parquet"]
    with pytest.raises(StoreError, match=r"a\.parquet: its content is not what was written.* make it anew"):
        read_frame(path)


def test_file_in_the_place_of_a_folder_is_an_error(tmp_path, cli):
    (tmp_path / "jobs").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written"):
        write_text(tmp_path / "jobs" / "a.txt", "text")
    with pytest.raises(StoreError, match=r"results: cannot be written"):
        Store(tmp_path / "jobs" / "results").prepare()
    code, _, err = cli("extract", "--results", tmp_path / "jobs" / "results")
    assert (code, "results: cannot be written" in err) == (1, True)


def test_leftovers_of_dead_processes_are_cleared_and_those_of_living_ones_kept(tmp_path):
    host = system_id()
    dead = f".tmp-{host}-999999999-0123abcd-x"
    kept = [f".tmp-{host}-{os.getpid()}-0123abcd-x", ".tmp-0123456789ab-1-0123abcd-x", f"mine/{dead}", ".tmp-mine"]
    for name in (dead, f"jobs/{dead}", f"audits/{dead}", f".tmp-{host}-999999999-0123abcd-report/page", *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    Store(tmp_path).prepare()
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(kept)


def test_key_changes_with_content_and_versions_are_exact_for_opensmile_and_major_minor_for_the_rest():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1}) != digest({"a": 2, "b": [1, 2]})
    versions = package_versions(["opensmile", "numpy"])
    assert versions["opensmile"] == importlib.metadata.version("opensmile")
    assert versions["numpy"] == ".".join(np.__version__.split(".")[:2])


def test_files_that_another_process_is_still_writing_are_no_cells_and_no_indexes(tmp_path):
    store = Store(tmp_path)
    for path in (store.cell("one"), store.index("toy")):
        path.parent.mkdir()
        for name in (path.name, f".tmp-host-1-ab-{path.name}"):
            (path.parent / name).write_text("{}")
    assert store.cells == [store.cell("one")]
    assert store.indexes == [store.index("toy")]


@pytest.mark.parametrize(
    "url", ["s3://bucket/results", "s3:/bucket/results", "file:///tmp/results", "memory://results"]
)
def test_results_at_a_url_are_refused_with_what_to_do(cli, url):
    code, _, err = cli("report", "--results", url)
    assert code == 1
    assert f"{url}: a URL. Expected a folder of this machine. Copy the folder before and after a run" in err
    assert not os.path.exists(url.partition("/")[0])


def test_results_without_a_name_are_refused_and_names_of_folders_are_no_urls(tmp_path, monkeypatch):
    """An unset variable of the shell must not fill the working directory."""
    with pytest.raises(StoreError, match=r"--results: an empty name\. Expected a folder"):
        serbench.Workspace("").store()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    for name in ("results", "C:/results", "s3:", "s3:results", "s3:/"):
        serbench.Workspace(results=name).store()
