"""The files of a report: whose they are, and what is there after a report that fails or is killed."""

import dataclasses
import hashlib
import pickle
import subprocess
import sys

import pytest

from serbench.errors import DiskError
from serbench.grid.check import check_store
from serbench.report import write_report
from serbench.report.table import make_table
from serbench.store.files import read_json, write_atomically, write_json
from serbench.store.results import Store
from serbench.workspace import Workspace

MINE = {"notes.md": b"notes", "figures/mine.svg": b"<svg/>", "figures/mine.pdf": b"%PDF-", "extra/data.csv": b"1"}


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def reports(made_up_report):
    """An earlier report with a table that the later one does not have, the later one, and the store of both."""
    new, store = made_up_report(corpora=["alpha"], features=["sound"], classifiers=["svc"])
    tables = [dataclasses.replace(table, notes=(*table.notes, "Of the earlier report.")) for table in new.tables]
    long = {name: frame.iloc[::2] for name, frame in new.long.items()}
    old = dataclasses.replace(new, tables=(*tables, make_table("stale", "Stale", ("a",), (), n_labels=1)), long=long)
    return old, new, store


def put_mine(store):
    for name, content in MINE.items():
        (store.report / name).parent.mkdir(parents=True, exist_ok=True)
        (store.report / name).write_bytes(content)


def whole(report, tmp_path):
    """What a report holds that is written to an empty folder, beside the files of others."""
    write_report(report, Store(tmp_path))
    return {**files_of(tmp_path / "report"), **MINE}


def test_report_removes_what_it_wrote_and_nothing_else(reports, tmp_path):
    old, new, store = reports
    put_mine(store)
    with pytest.warns(UserWarning, match=r"no list of what the last report wrote; .* this one does not have stay"):
        write_report(old, store)
    assert "stale.csv" in files_of(store.report)
    write_report(new, store)
    assert files_of(store.report) == whole(new, tmp_path / "fresh")
    listed = read_json(store.provenance)["files"]
    assert set(listed) == set(files_of(store.report)) - set(MINE) - {"provenance.json"}


def test_plain_report_draws_figures_where_the_last_report_has_some(reports, monkeypatch):
    old, new, store = reports
    drawn = []

    def figures(report):
        names = ["heatmap", "gone"] if report is old else ["heatmap", "more"]
        return {name: lambda name=name: drawn.append(name) or name for name in names}

    monkeypatch.setattr("serbench.report.figures.figures", figures)
    monkeypatch.setattr("serbench.report.figures.to_files", lambda name: {"svg": f"{name} {len(drawn)}".encode()})
    place = store.report / "figures"
    write_report(old, store)
    assert drawn == []
    write_report(old, store, figures=True)
    assert drawn == ["heatmap", "gone"]
    put_mine(store)
    written = write_report(new, store)
    assert drawn[2:] == ["heatmap", "more"]
    mine = {"mine.svg": b"<svg/>", "mine.pdf": b"%PDF-"}
    assert files_of(place) == {"heatmap.svg": b"heatmap 3", "more.svg": b"more 4", **mine}
    assert [n for n in written.provenance["files"] if "figures/" in n] == ["figures/heatmap.svg", "figures/more.svg"]


def test_figure_that_a_user_altered_is_left_and_named(reports, monkeypatch):
    _, new, store = reports
    contents = iter(range(100))
    monkeypatch.setattr("serbench.report.figures.figures", lambda report: {"heatmap": lambda: next(contents)})
    monkeypatch.setattr(
        "serbench.report.figures.to_files", lambda n: {"svg": f"svg {n}".encode(), "pdf": f"pdf {n}".encode()}
    )
    write_report(new, store, figures=True)
    place = store.report / "figures"
    (place / "heatmap.svg").write_bytes(b"retouched")
    with pytest.warns(UserWarning, match=r"altered since serbench wrote them, and left alone: figures/heatmap.svg"):
        write_report(new, store)
    assert files_of(place) == {"heatmap.svg": b"retouched", "heatmap.pdf": b"pdf 1"}
    write_report(new, store, figures=True)
    assert files_of(place) == {"heatmap.svg": b"svg 2", "heatmap.pdf": b"pdf 2"}


def test_hostile_list_of_files_leads_nowhere_else(reports, tmp_path):
    _, new, store = reports
    victim = tmp_path / "victim.csv"
    victim.write_bytes(b"mine")
    write_report(new, store)
    names = ["../../victim.csv", str(victim), "figures/../../../victim.csv"]
    write_json(store.provenance, {"files": dict.fromkeys(names, hashlib.sha256(b"mine").hexdigest())})
    write_report(new, store)
    assert victim.read_bytes() == b"mine"


@pytest.mark.parametrize("n", [0, 1, 20, "page"])
def test_report_that_fails_half_way_leaves_the_last_one_whole(reports, monkeypatch, n):
    old, new, store = reports
    write_report(old, store)
    before, calls = files_of(store.report), []

    def full(path, write):
        calls.append(path)
        if len(calls) > n:
            raise DiskError(str(path), "written", "No space left on device")
        write_atomically(path, write)

    def broken(report):
        raise ValueError("a fault of the page")

    if n == "page":
        monkeypatch.setattr("serbench.report.page.render_page", broken)
        expected = pytest.raises(ValueError, match="a fault of the page")
    else:
        monkeypatch.setattr("serbench.store.files.write_atomically", full)
        expected = pytest.raises(DiskError, match="No space left on device")
    with expected:
        write_report(new, store)
    assert files_of(store.root) == {f"report/{name}": content for name, content in before.items()}


@pytest.mark.parametrize(
    ("mine", "words"), [("table1.md/x", "table1.md is a folder"), ("figures", "figures is a file")]
)
def test_report_that_something_is_in_the_way_of_leaves_the_last_one_whole(reports, monkeypatch, mine, words):
    old, new, store = reports
    monkeypatch.setattr("serbench.report.figures.figures", lambda report: {"heatmap": lambda: None})
    monkeypatch.setattr("serbench.report.figures.to_files", lambda drawn: {"svg": b"<svg/>"})
    write_report(old, store)
    place = store.report / mine
    if place.parent != store.report:
        place.parent.unlink()
        place.parent.mkdir()
    place.write_bytes(b"mine")
    before = files_of(store.root)
    with pytest.raises(DiskError, match=rf"report: cannot be written \({words}\)"):
        write_report(new, store, figures=True)
    assert files_of(store.root) == before


def test_altered_file_of_a_report_is_named_by_store_check(reports):
    _, new, store = reports
    write_report(new, store)
    assert not check_store(Workspace(store.root)).damaged
    (store.report / "report.md").write_text("altered")
    assert check_store(Workspace(store.root)).damaged == {
        store.report / "report.md": "it is not what the last report wrote; run `serbench report`"
    }


KILLED = """
import os, pickle, shutil, signal, sys
from pathlib import Path
from serbench.report import page, write_report
from serbench.store.results import Store
reports, source, target = pickle.loads(Path(sys.argv[1]).read_bytes()), *map(Path, sys.argv[2:4])
write_report(reports[1], Store(target / "warm"))  # all imports are done before the first fork
left = [None]
def count(event, given):
    if left[0] is not None and event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
for n in range(0, 10**6, int(sys.argv[4])):
    shutil.copytree(source, target / str(n))
    child = os.fork()
    if not child:
        left[0] = n
        write_report(reports[1], Store(target / str(n)))
        os._exit(0)
    if not os.waitpid(child, 0)[1]:
        break
"""


@pytest.mark.parametrize("step", [pytest.param(31, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)])
def test_report_that_is_killed_leaves_whole_files_and_the_next_one_clears_up(reports, tmp_path, tally, step):
    """Killed at every so many-th operation on files, from the first to the last."""
    old, new, store = reports
    write_report(old, store)
    put_mine(store)
    (tmp_path / "reports.pickle").write_bytes(pickle.dumps((old, new)))
    (tmp_path / "killed").mkdir()
    given = [tmp_path / "reports.pickle", store.root, tmp_path / "killed", step]
    subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, *map(str, given)], check=True)
    before, after = files_of(store.report), whole(new, tmp_path / "fresh")
    killed = sorted(int(path.name) for path in (tmp_path / "killed").iterdir() if path.name.isdigit())
    states = set()
    for n in killed:
        found = files_of(tmp_path / "killed" / str(n) / "report")
        assert all(content in (before.get(name), after.get(name)) for name, content in found.items()), n
        assert set(after) & set(before) <= set(found), n
        states.add("old" if found == before else "new" if found == after else "both")
        write_report(new, Store(tmp_path / "killed" / str(n)))
        assert files_of(tmp_path / "killed" / str(n)) == {f"report/{name}": c for name, c in after.items()}, n
    assert len(killed) > 10
    assert states == {"old", "both", "new"}
    tally("report: kills at operations", len(killed) - 1)
