"""What a section measured, kept as JSON beside this file, and `RESULTS.md`, which is made of all of them."""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from datetime import date
from pathlib import Path

import psutil
from tabulate import tabulate

HERE = Path(__file__).parent
PACKAGES = ("serbench", "scikit-learn", "numpy", "scipy", "pandas", "pyarrow", "opensmile", "joblib")


def spread(values, digits=2):
    """Word a median with the least and the greatest of several values.

    >>> spread([1.0, 2.0, 4.0])
    '2.00 (1.00 to 4.00, 3 pairs)'
    """
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return f"{middle} (one pair)"
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f}, {len(values)} pairs)"


def reached(values, *, at_least=None, at_most=None):
    """Word what was to be reached and what was; a median that misses says so.

    >>> reached([1.4, 1.4, 1.7], at_most=1.5), reached([6.0], at_least=7)
    (('<= 1.5', '1.40 (1.40 to 1.70, 3 pairs)'), ('>= 7', '6.00 (one pair), not reached'))
    """
    middle = statistics.median(values)
    missed = (at_least is not None and middle < at_least) or (at_most is not None and middle > at_most)
    wanted = f">= {at_least}" if at_least is not None else f"<= {at_most}" if at_most is not None else ""
    return wanted, marked(spread(values), is_met=not missed)


def marked(text, *, is_met):
    """Mark a figure that misses what was to be reached."""
    return text if is_met else f"{text}, not reached"


def keep(section, title, header, rows, notes=()):
    """Store a section's table and write `RESULTS.md` anew."""
    told = {
        "title": title,
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "header": list(header),
        "rows": [list(map(str, row)) for row in rows],
        "notes": list(notes),
    }
    folder = HERE / "measured"
    folder.mkdir(exist_ok=True)
    (folder / f"{section}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(_section(told))
    write_results(folder)


def write_results(folder):
    """Put the sections that were measured together, in the order of their files' names."""
    told = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    text = f"""# Benchmarks

Written by `nox -s bench`; how each figure is measured stands in `benchmarks/`. Ratios are of two things run in turn on
the same two processors, each a process of its own: the median of pairs with the least and the greatest. Where nothing
else is said, a figure is of one run. A section carries the date of its last run, with machine and versions.

{chr(10).join(_section(section) for section in told)}"""
    (HERE / "RESULTS.md").write_text(text, encoding="utf-8")


def machine():
    """Processor, cores and memory."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {platform.system()}"


def versions():
    """Versions of Python and of what takes the time."""
    found = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return ", ".join([f"commit {commit()}", f"Python {platform.python_version()}", *found])


def commit():
    """Return the commit that ran, and whether the code had been changed since."""
    git = ["git", "-C", str(HERE), "describe", "--always", "--abbrev=7", "--exclude=*"]
    found = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    code = [*git[:3], "status", "--porcelain", "--", "../serbench", "*.py"]
    changed = subprocess.run(code, capture_output=True, text=True, check=False).stdout.strip()
    return f"{found}, with changes" if changed else found


def _section(told):
    table = tabulate(told["rows"], told["header"], tablefmt="github", disable_numparse=True)
    notes = "".join(f"\n- {note}" for note in told["notes"])
    return f"## {told['title']}\n\n{told['date']}; {told['machine']}; {told['versions']}.\n\n{table}\n{notes}\n"
