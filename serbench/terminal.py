"""What the terminal shows: tables on stdout, progress and messages on stderr."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serbench.report.formats import Table


_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


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
        interval = 0.1 if sys.stderr.isatty() else 10.0
        if not done or (done < total and now - max(self.shown, self.started) < interval):
            return
        self.shown = now
        elapsed = max(now - self.started, 1e-3)
        left = "done" if done == total else f"{duration(elapsed * (1 - share) / share)} left"
        line = f"{activity}: {done}/{total}, {done / elapsed:.1f}/s, {left}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{line:<78}" + ("\n" if done == total else ""))
            sys.stderr.flush()
        else:
            say(line)


def print_table(table: Table) -> None:
    """Print a table on stdout, in blocks of as many corpora as the width of the terminal takes."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=False)
    table = _shortened(table)
    console.print(table.title, style="bold", markup=False)
    for columns in _blocks(table, console.width):
        grid_ = RichTable(box=None, header_style="bold", pad_edge=False)
        for i in columns:
            grid_.add_column(table.header[i], justify="left" if i < table.n_labels else "right", no_wrap=True)
        for row in table.rows:
            grid_.add_row(*(Text(row[i].text, style="bold" if row[i].best else "") for i in columns))
        console.print(grid_)
        console.print()
    for note in table.notes:
        console.print(note, markup=False)


def _shortened(table: Table) -> Table:
    """Shorten words that are too long for a terminal in their middle, so that numbers are never cut."""
    rows = tuple(
        tuple(replace(e, text=_short(e.text)) if i < table.n_labels else e for i, e in enumerate(row))
        for row in table.rows
    )
    return replace(table, header=tuple(map(_short, table.header)), rows=rows)


def _short(text: str, limit: int = 24) -> str:
    half = limit // 2 - 1
    return text if len(text) <= limit else f"{text[:half]}...{text[-half:]}"


def _blocks(table: Table, width: int) -> list[list[int]]:
    """Columns that fit side by side, the labels repeated in each block."""
    widths = [max(len(name), *(len(row[i].text) for row in table.rows)) + 1 for i, name in enumerate(table.header)]
    labels = list(range(table.n_labels))
    blocks: list[list[int]] = []
    room = 0
    for i in range(table.n_labels, len(table.header)):
        if not blocks or widths[i] > room:
            blocks.append([*labels])
            room = width - sum(widths[j] for j in labels)
        blocks[-1].append(i)
        room -= widths[i]
    return blocks


def duration(seconds: float) -> str:
    """Word a duration.

    >>> duration(42), duration(600), duration(7200)
    ('42 s', '10 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def say(text: str) -> None:
    """Print a message on stderr; what would steer the terminal, as a file's name may, is escaped."""
    print(_CONTROL.sub(lambda hit: repr(hit[0])[1:-1], text), file=sys.stderr)
