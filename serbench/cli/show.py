"""What the terminal shows: tables on stdout, progress and messages on stderr."""

from __future__ import annotations

import builtins
import re
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from serbench.errors import LISTED_AT_MOST

if TYPE_CHECKING:
    from serbench import Extracted, GridResult, Workspace
    from serbench.grid.run import GridPlan
    from serbench.report.table import Entry, Table

A_DAY_S = 86400
GAP = 2  # blanks between two columns of a table
LINE = 79  # characters of a line of prose

# Control characters, C1 among them, and what turns the direction of writing: a file's name may hold any of them.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def print(*values: object, end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """Print as Python does, with all that would steer the terminal escaped; the modules of the command line use it."""
    builtins.print(visible(" ".join(map(str, values))), end=end, file=file, flush=flush)


def visible(text: str) -> str:
    r"""Escape what would steer the terminal; tabs and line ends stay.

    >>> visible("a\x1b[2J.wav")
    'a\\x1b[2J.wav'
    """
    return _CONTROL.sub(lambda hit: hit[0] if hit[0] == "\t" else repr(hit[0])[1:-1], text)


class ProgressLine:
    """Progress on stderr: one line rewritten on a terminal, a plain line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self.activity = ""
        self.done = self.total = 0
        self.started = self.shown = 0.0

    def __call__(self, activity: str, done: int, total: int, share: float) -> None:
        """Show how far an activity is, its rate and the time left."""
        now = time.monotonic()
        self.done, self.total = done, total
        if activity != self.activity:
            self.activity, self.started, self.shown = activity, now, 0.0
        is_terminal = sys.stderr.isatty()
        interval = 0.1 if is_terminal else 10.0
        if (not done and not is_terminal) or (0 < done < total and now - max(self.shown, self.started) < interval):
            return
        self.shown = now
        elapsed = max(now - self.started, 1e-3)
        line = f"{activity}: {done}/{total}"
        if done:
            left = "done" if done == total else f"{duration(elapsed * (1 - share) / share)} left"
            line += f", {done / elapsed:.1f}/s, {left}"
        if is_terminal:
            sys.stderr.write(f"\r{line:<78}" + ("\n" if done == total else ""))
            sys.stderr.flush()
        else:
            say(line)


def print_table(table: Table) -> None:
    """Print a table on stdout, in blocks of as many corpora as the width of the terminal takes, labels repeated.

    Long labels are shortened in their middle, so that numbers are never cut.
    """
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    def short(text: str) -> str:
        text = visible(text)
        return text if len(text) <= 24 else f"{text[:11]}...{text[-11:]}"

    def styled(entry: Entry, *, is_label: bool) -> Text:
        """Show the best value in bold, and another by the mark behind it."""
        colour = {"≈": "green", "?": "yellow", "↑": "yellow"}.get(entry.aside[-1:], "")
        shown = Text((short if is_label else visible)(entry.text), style="bold green" if entry.bold else colour)
        return shown.append(f" {visible(entry.aside)}", style="dim") if entry.aside else shown

    n, header = table.n_labels, [short(name) for name in table.header]
    rows = [[styled(entry, is_label=i < n) for i, entry in enumerate(row)] for row in table.rows]
    widths = [max(len(name), *(len(row[i]) for row in rows), 0) + GAP for i, name in enumerate(header)]
    console = Console(highlight=False, soft_wrap=False)
    console.print(visible(table.title), style="bold", markup=False)
    blocks: list[list[int]] = []
    for i in range(n, len(header)):
        if not blocks or sum(widths[j] for j in (*blocks[-1], i)) > console.width + GAP:
            blocks.append([*range(n)])
        blocks[-1].append(i)
    for block in blocks:
        shown = RichTable(box=None, header_style="bold", pad_edge=False)
        for i in block:
            shown.add_column(header[i], justify="left" if i < n else "right", no_wrap=True)
        for row in rows:
            shown.add_row(*(row[i] for i in block))
        console.print(shown)
        console.print()
    for note in table.notes:
        console.print(visible(note), markup=False)


def print_plain(table: Table) -> None:
    """Print a table on stdout for other programs: no colour, no notes, cells parted by tabs."""
    rows = [[f"{entry.text} {entry.aside}".strip() for entry in row] for row in table.rows]
    lines = ["\t".join(_CONTROL.sub(" ", text) for text in row) for row in ([table.title], table.header, *rows)]
    print("# " + "\n".join(lines))


def duration(seconds: float) -> str:
    """Word a duration.

    >>> duration(42), duration(600), duration(7200)
    ('42 s', '10 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def say(text: str) -> None:
    """Print a message on stderr."""
    print(text, file=sys.stderr)


def prose(text: str, *, indent: str = "") -> str:
    """Wrap a sentence to the width of a terminal."""
    return textwrap.fill(text, LINE, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)


def print_lead(lead: Mapping[str, Sequence[str]]) -> None:
    """Print the sentences on the best cells, below the lines on their setup."""
    for title, sentences in lead.items():
        print(prose(title))
        for one in sentences:
            print(prose(one, indent="  "))
        print()


def print_cells(plan: GridPlan) -> None:
    """Print what a grid would do, cell by cell."""
    todo = {job.key for job in plan.todo}
    for one in plan.cells:
        if not one.reason:
            print(f"{one.cell.title}: would run {len(todo & set(one.jobs))} of its {len(one.jobs)} jobs")
    for line in by_reason({one.cell.title: one.reason for one in plan.cells}, "would be refused"):
        print(line)


def print_plan(
    plan: GridPlan, workspace: Workspace, *, is_dry_run: bool, to_extract: tuple[int, float] = (0, 0.0)
) -> None:
    """Print how many jobs a grid is going to do, or would do in a dry run, with time and memory."""
    n_jobs, todo = len(plan.jobs), plan.todo
    if is_dry_run:
        print(f"A dry run: {len(plan.cells)} cells would run {len(todo)} of their {n_jobs} jobs")
    else:
        print(f"{len(plan.cells)} cells, {n_jobs} jobs, {n_jobs - len(todo)} already there, {len(todo)} to do")
    n_rows, extraction_s = to_extract[0], to_extract[1] / workspace.workers
    if n_rows:
        print(f"{n_rows} rows of features would be extracted first, in about {duration(extraction_s)}")
    if todo and workspace.scheduler is None:
        print_expectation(plan, workers=workspace.workers, extraction_s=extraction_s)
    elif todo:
        print(f"Expected: about {duration(plan.seconds)} of one core, by the workers of the scheduler", flush=True)


def print_expectation(plan: GridPlan, *, workers: int, extraction_s: float = 0.0) -> None:
    """Print the time and memory that a grid will take, and what to do where that is much."""
    from serbench.store.memory import free_memory

    free = free_memory()
    at_once = plan.at_once(workers=workers, free=free)
    seconds = extraction_s + plan.expected_seconds(workers=workers, free=free)
    largest, there = f"{plan.memory / 1e9:.1f} GB", f"{free / 1e9:.1f} GB"
    print(f"Expected: about {duration(seconds)} with {workers} workers of up to {largest} ({there} free)", flush=True)
    if plan.memory > free:
        say(f"The largest job takes {largest} and {there} are free: it may be stopped by the system for want of memory")
    elif at_once < workers:
        say(f"No more than {at_once} of the largest jobs run at a time, because more do not fit into memory")
    if seconds > A_DAY_S:
        say("That is more than a day; --inner 4, fewer settings (--space) or a quicker classifier take less")


def say_grid(result: GridResult) -> bool:
    """Print which cells have no result, and why; return whether anything failed."""
    failed = say_failures(result.extracted)
    if result.elsewhere:
        say(f"{result.elsewhere} of the jobs were done by another process on this results folder")
    cells = {name: why for name, why in result.refused.items() if name not in result.extracted.refused}
    n, n_cells, is_plan = len(cells), len(result.plan.cells), result.failed is None
    for line in by_reason({} if is_plan else cells, "no result"):  # those of a plan have been printed
        say(line)
    if cells:
        rest = "would be refused" if is_plan else f"have no result; {n_cells - n} are stored"
        say(f"{n} of {n_cells} cells {rest}")
    return failed or bool(cells)


def by_reason(reasons: Mapping[str, str], what: str) -> Iterator[str]:
    """Word, once for every reason, what became of the cells that have it.

    >>> list(by_reason({"toy svc": "toy: no fear.", "toy rf": "toy: no fear.", "toy knn": ""}, "no result"))
    ['toy svc and 1 more: no result. toy: no fear.']
    """
    for reason in dict.fromkeys(filter(None, reasons.values())):
        first, *others = (name for name, of in reasons.items() if of == reason)
        yield f"{first}{f' and {len(others)} more' if others else ''}: {what}. {reason}"


def say_failures(extracted: Extracted) -> bool:
    """Print the failures table; return whether anything failed."""
    failed = extracted.failed
    for one in failed[:LISTED_AT_MOST]:
        say(f"failed: {one.utterance} ({one.features}): {one.reason}")
    if len(failed) > LISTED_AT_MOST:
        say(f"... {len(failed)} failures in all")
    if failed:
        say("They count as missing; all are listed in failures.parquet below features/ in the results folder")
    for name, reason in extracted.refused.items():
        say(f"{name}: left out. {reason}")
    return bool(failed or extracted.refused)
