"""Sessions: `nox` runs tests, lint and types; the others are asked for by name, e.g. `nox -s slow`."""

import os
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types"]
nox.options.default_venv_backend = "venv"
PROJECT = nox.project.load_toml("pyproject.toml")
EXAMPLE = "./docs/example-plugin"
PYTHONS = nox.project.python_versions(PROJECT)


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(PROJECT, name))


def run_tests(session: nox.Session) -> None:
    """Run the tests with the example of a plug-in installed as its users would, and first the example's own."""
    session.install("-e", ".[dask]", *group("test"))
    session.install(EXAMPLE)
    if not session.posargs:
        session.run("pytest", f"{EXAMPLE}/tests")
    # Two files at a time: much of a test's time is waiting for processes that it has started, killed or stopped.
    session.run("pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session(reuse_venv=True)
def tests(session: nox.Session) -> None:
    """Run the tests on the Python that runs nox; those of real corpora where SERBENCH_DATA is set."""
    run_tests(session)


@nox.session(venv_backend="none", default=False)
def slow(session: nox.Session) -> None:
    """Run the tests that take longer, in the environment of `tests`; not together with it, as nox runs it only once.

    `nox -s slow -- -m long` runs what is too long for CI, the papers' experiments on synthetic recordings among it.
    """
    session.notify("tests", ["-m", "slow and not long", *session.posargs])


@nox.session(venv_backend="none", default=False)
def fuzz(session: nox.Session) -> None:
    """Feed the readers twenty times as much hostile input as the tests do, in the environment of `tests`."""
    os.environ["HYPOTHESIS_PROFILE"] = "thorough"
    session.notify("tests", ["-m", "hypothesis", *session.posargs])


@nox.session(default=False)
def reliability(session: nox.Session) -> None:
    """Kill, damage, fill and feed everything many times, and write docs/reliability.md; half an hour for all."""
    session.install("-e", ".[dask]", *group("test"))
    tally = Path(session.create_tmp()) / "tally.jsonl"
    commit = str(session.run("git", "rev-parse", "--short", "HEAD", external=True, silent=True)).strip()
    counted = {"SERBENCH_TALLY": str(tally.resolve()), "SERBENCH_COMMIT": commit}
    if session.posargs:
        session.run("pytest", "-n", "2", "-m", "counted", *session.posargs, env=counted)
        return
    tally.unlink(missing_ok=True)
    session.run("pytest", "-n", "2", "-m", "counted and not hypothesis", env=counted)
    session.run("pytest", "-n", "2", "-m", "hypothesis", env={**counted, "HYPOTHESIS_PROFILE": "thorough"})
    session.run("python", "benchmarks/reliability.py", str(tally), "docs/reliability.md")


@nox.session(default=False)
def frozen(session: nox.Session) -> None:
    """Compare every prediction and value of a fixed set of commands with those recorded; needs SERBENCH_DATA."""
    session.install("-e", ".")
    session.run("python", "tests/frozen/run.py", *session.posargs)


@nox.session(python=PYTHONS, default=False)
def pythons(session: nox.Session) -> None:
    """Run the tests on every supported Python that is installed."""
    run_tests(session)


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Check style, and that imports point down; the code is read and not run."""
    session.install("--no-deps", "-e", ".")
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session(reuse_venv=True)
def types(session: nox.Session) -> None:
    """Check types strictly."""
    session.install("-e", ".", *group("types"))
    session.run("mypy")


@nox.session(reuse_venv=True, default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation as a site below site/; a link or a page that is missing is an error."""
    session.install(*group("docs"))
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session(default=False)
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows."""
    lowest = [requirement.replace(">=", "==") for requirement in PROJECT["project"]["dependencies"]]
    session.install(*lowest, *group("test"))
    session.install("--no-deps", "-e", ".", EXAMPLE)
    # Old releases of libraries warn of newer ones; what is tested here is that the results hold.
    session.run("pytest", "-W", "default", *session.posargs)


@nox.session(name="audit-dependencies", default=False)
def audit_dependencies(session: nox.Session) -> None:
    """Ask for known holes in the lowest versions that pyproject.toml allows, and in those installed today."""
    session.install("pip-audit>=2.9", "-e", ".[dask]")
    project = PROJECT["project"]
    lowest = [*project["dependencies"], *project["optional-dependencies"]["dask"]]
    today = str(session.run("pip", "freeze", "--exclude-editable", silent=True)).split()
    for name, pinned in (("lowest", [one.replace(">=", "==") for one in lowest]), ("today", today)):
        path = Path(session.create_tmp()) / f"{name}.txt"
        path.write_text("\n".join(one for one in pinned if "==" in one) + "\n", encoding="utf-8")
        # Strict: a version that could not be asked for is no version without holes.
        session.run("pip-audit", "--strict", "--no-deps", "--disable-pip", "--requirement", str(path))


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure ratios against what a user would otherwise run, and write benchmarks/RESULTS.md; an hour for all."""
    session.install("-e", ".")
    session.run("python", "-W", "ignore", "benchmarks/run.py", *session.posargs)
