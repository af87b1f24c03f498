"""Write docs/reliability.md from what the tests counted while they broke things: `nox -s reliability`.

Usage: reliability.py TALLY.jsonl PAGE.md. A test that fails ends the session before this is called, so that the page
tells of a whole session or is not written.
"""

import json
import os
import platform
import sys
from collections import Counter
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROWS = {
    "nox -s reliability -- tests/grid/test_crash.py": """
        `serbench grid` killed by SIGKILL at random instants | grid: kills | jobs done again | grid: jobs done again
        jobs that were in place before these kills | grid: jobs in place before a kill
        `serbench extract` killed by SIGKILL | extract: kills | parts computed again | extract: parts computed again
        parts of features that were in place before these kills | extract: parts in place before a kill
        `serbench run` killed by SIGKILL | run: kills | results lost, differing results or reports
        `serbench report` killed by SIGKILL | report: kills | results or users' files lost, differing reports
        `serbench score` killed by SIGKILL | score: kills | results lost, differing results
        `serbench store clean` killed by SIGKILL | store clean: kills | results lost, differing results
        Ctrl-C or SIGTERM inside a libsvm fit | grid: stops inside libsvm | the fit waited for
        Ctrl-C or SIGTERM while extracting | extract: stops | rows lost or computed again
        worker processes killed | grid: workers killed | differing predictions
        two `serbench grid` at once | grid: two at once | jobs done twice | grid: jobs done twice by two at once
        two `serbench extract` at once | extract: two at once | rows computed twice | extract: rows computed twice
    """,
    "nox -s reliability -- tests/store/test_disk.py": """
        files cut, flipped in a bit, or overwritten | disk: files damaged | values changed | disk: values that changed
        of these, found and named | disk: damage found and named
        disks full, read-only, or with a limit on files | disk: refusals | differing predictions afterwards
    """,
    "nox -s reliability -- tests/report/test_report_files.py": """
        `serbench report` killed at each operation on a file | report: kills at operations | files neither old nor new
    """,
    "nox -s reliability -- tests/store/test_states.py": """
        results folders with files of several kinds lost, damaged or cut | states: folders | tracebacks
    """,
    "nox -s reliability -- tests/grid/test_cluster.py": """
        workers of a dask cluster killed | cluster: workers killed | differing predictions
        Ctrl-C or SIGTERM inside a fit on dask's workers | cluster: stops | the fit waited for
    """,
    "nox -s fuzz": """
        hostile inputs to the readers | fuzz inputs | unexpected exceptions | fuzz unexpected exceptions
    """,
}
"""By command: what was done | its count | what must not happen | its count, without which it fails its test."""

HEADER = (
    "| done on purpose | times | what must not happen | seen | repeated by |",
    "|:---|---:|:---|---:|:---|",
)
BEGIN, END = "<!-- figures, written by benchmarks/reliability.py -->\n", "<!-- end of figures -->\n"


def main():
    """Add up the counts and put them into the page."""
    tally, page = map(Path, sys.argv[1:])
    counts = Counter()
    commits = set()
    for line in tally.read_text().splitlines():
        told = json.loads(line)
        commits.add(told["commit"])
        counts["fuzz inputs" if told["name"].startswith("fuzz inputs") else told["name"]] += told["n"]
    rows = [row(counts, command, *line.split(" | ")) for command, lines in ROWS.items() for line in told_in(lines)]
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(before + BEGIN + "\n".join([*HEADER, *rows, "", made_with(commits), ""]) + END + after)


def made_with(commits):
    """Say where and with what the figures were counted."""
    packages = [f"{name} {version(name)}" for name in ("scikit-learn", "numpy", "pyarrow", "joblib", "distributed")]
    machine = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    at = " and ".join(sorted(commits))
    return f"Counted on {date.today()} at commit {at}: {machine}, {', '.join(packages)}."


def told_in(lines):
    """The rows of a block of text."""
    return [line.strip() for line in lines.strip().splitlines()]


def row(counts, command, done, name, fault="", fault_name=""):
    """One row of the table; a fault without a count of its own is one that fails its test."""
    seen = "" if not fault else counts[fault_name] if fault_name else 0
    return f"| {done} | {counts[name]:,} | {fault} | {seen} | `{command}` |"


if __name__ == "__main__":
    main()
