"""Habits of the repository that a reader counts on."""

import ast
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

import serbench

PACKAGE = Path(serbench.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


def test_modules_were_found_and_there_is_no_drawer_for_everything():
    assert len(MODULES) > 30
    assert not [path.name for path in MODULES if path.stem in ("utils", "helpers", "common", "misc")]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_opens_with_its_purpose_and_only_the_command_line_prints_through_what_escapes_names(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    calls = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    imported = [a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module for a in n.names]
    assert "print" not in calls or path.name == "show.py" or (path.parent.name == "cli" and "print" in imported)


def test_nothing_is_unpickled_but_what_dask_has_sent():
    cluster = PACKAGE / "grid" / "cluster.py"  # where dask unpickles all that its scheduler sends anyway
    for path in MODULES:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        imported = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
        imported += [n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module]
        named = [
            f"{n.value.id}.{n.attr}" for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
        ]
        found = [name for name in imported + named if name.split(".")[0] in ("pickle", "cloudpickle", "dill", "shelve")]
        assert sorted(found) == (["pickle", "pickle.dumps", "pickle.loads"] if path == cluster else [])


def test_every_public_name_exists():
    assert all(getattr(serbench, name) is not None for name in serbench._MODULES)
    assert set(serbench._MODULES) <= set(dir(serbench))
    with pytest.raises(AttributeError, match=r"has no attribute 'no_such_name'"):
        _ = serbench.no_such_name


HOLES_CLOSED = {"filelock": "3.20.3", "jinja2": "3.1.6", "distributed": "2026.1"}
"""Packages with the version that closed their latest known hole; `nox -s audit-dependencies` asks for newer ones."""


def test_lower_bounds_leave_out_versions_with_known_holes():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = [*project["dependencies"], *project["optional-dependencies"]["dask"]]
    lowest = dict(bound.split(">=") for bound in bounds)
    for name, closed in HOLES_CLOSED.items():
        assert Version(lowest[name]) >= Version(closed)
