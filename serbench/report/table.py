"""A table for readers, and its Markdown, CSV and LaTeX. Text is escaped here, and only here."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd
from tabulate import tabulate

from serbench.scores.statistics import Interval
from serbench.store.files import frame_to_csv
from serbench.store.keys import digest

NOTHING = "–"
"""Stands where there is no value."""

_SYMBOLS = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater", "|": "bar"}
_SYMBOLS |= {"°": "degree", "†": "dagger", "‡": "daggerdbl"}
_LATEX: dict[str, str | int | None] = {symbol: rf"\text{name}{{}}" for symbol, name in _SYMBOLS.items()}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}
_LATEX |= {character: f"{{{character}}}" for character in "[]*"}  # options, after the end of a row
_LATEX |= {'"': "''", "–": "--", "≈": r"$\approx$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$"}
_ESCAPES = str.maketrans(_LATEX)
_CONTROL = "\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff"


class Entry(NamedTuple):
    """One place of a table.

    `text` is what CSV has, so that its numbers stay numbers; `aside` is an interval or a mark behind it. A page colours
    by `value`. `key` is the provenance key of the cell that the value is of.
    """

    text: str
    aside: str = ""
    bold: bool = False
    value: float | None = None
    key: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table for readers; see `make_table`.

    Parameters
    ----------
    stem : names its files.
    rows : the first `n_labels` places of a row are words, the others numbers.
    notes : sentences below the table.
    facets : what a page chooses by, such as protocol, task, setup, metric and rule.
    cells : provenance keys of all cells behind it.
    """

    stem: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    n_labels: int
    notes: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    facets: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name of its cells in `provenance.json`: tables of the same cells share it."""
        return digest(list(self.cells))[:12] if self.cells else ""

    @property
    def values(self) -> list[float]:
        """Numbers that a page colours its places by."""
        return [entry.value for row in self.rows for entry in row if entry.value is not None]


def make_table(
    stem: str,
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    n_labels: int,
    notes: Iterable[str] = (),
    cells: Iterable[str] = (),
    facets: Mapping[str, str] | None = None,
) -> Table:
    """Make a table; a place is an `Entry`, or a text alone."""
    places = (tuple(entry if isinstance(entry, Entry) else Entry(str(entry)) for entry in row) for row in rows)
    made = tuple(sorted(set(cells)))
    return Table(stem, title, tuple(header), tuple(places), n_labels, tuple(notes), made, facets or {})


def bracketed(interval: Interval | None, *, digits: int = 2) -> str:
    """Word an interval in little room.

    >>> bracketed(Interval(0.6989, 0.8631)), bracketed(Interval(-0.05, 1.0)), bracketed(None)
    ('[.70, .86]', '[-.05, 1.00]', '')
    """
    if interval is None:
        return ""
    low, high = (re.sub("^(-?)0[.]", r"\1.", f"{end:.{digits}f}") for end in interval)
    return f"[{low}, {high}]"


def signed(difference: float) -> str:
    """Word a difference; one that rounds to nothing has no sign.

    >>> signed(0.0123), signed(-0.0004)
    ('+0.012', '0.000')
    """
    rounded = round(difference, 3)
    return f"{rounded:+.3f}" if rounded else "0.000"


def to_markdown(table: Table) -> str:
    """Render a table with its title as a heading and its notes below."""
    rows = [
        [f"{f'**{md_text(e.text)}**' if e.bold else md_text(e.text)} {md_text(e.aside)}".strip() for e in row]
        for row in table.rows
    ]
    align = ["left"] * table.n_labels + ["right"] * (len(table.header) - table.n_labels)
    header = [md_text(name) for name in table.header]
    body = tabulate(rows, headers=header, tablefmt="pipe", colalign=align if rows else None, disable_numparse=True)
    # A note is a paragraph: it must not open a heading, a list or a rule.
    notes = (re.sub(r"^([0-9]*)([#+=.):-])", r"\1\\\2", md_text(note)) for note in table.notes)
    return f"### {md_text(table.title)}\n\n{body}\n" + "".join(f"\n{note}\n" for note in notes)


def to_latex(table: Table, number: int = 1) -> str:
    """Render a table as a LaTeX float that needs booktabs; `number` tells apart the labels of one file."""
    columns = "l" * table.n_labels + "r" * (len(table.header) - table.n_labels)
    header = " & ".join(_tex(name) for name in table.header)
    body = "".join(" & ".join(_tex_entry(entry) for entry in row) + " \\\\\n" for row in table.rows)
    notes = "".join(f"\n\\par\\smallskip\\footnotesize {_tex(note)}" for note in table.notes)
    caption = re.sub(r"^Table [0-9]+[.] ", "", table.title)  # LaTeX numbers tables itself
    label = f"tab:{table.stem}{number if number > 1 else ''}"
    return (
        f"\\begin{{table}}\n\\centering\n\\caption{{{_tex(caption)}}}\n\\label{{{label}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{header} \\\\\n\\midrule\n{body}\\bottomrule\n"
        f"\\end{{tabular}}{notes}\n\\end{{table}}\n"
    )


def to_csv(tables: Sequence[Table]) -> str:
    """Render tables of the same kind as CSV, the title of each in a first column, its provenance in the last."""
    texts = []
    for table in tables:
        rows = [[table.title, *(entry.text for entry in row), table.key] for row in table.rows]
        header = pd.Index(["table", *table.header, "provenance"], dtype=object)
        texts.append(frame_to_csv(pd.DataFrame(rows, columns=header, dtype=object)))
    return "".join(texts)


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "md": lambda tables: "\n".join(map(to_markdown, tables)),
    "csv": to_csv,
    "tex": lambda tables: "\n".join(["% needs \\usepackage{booktabs}", *map(to_latex, tables, itertools.count(1))]),
}
"""File ending -> how tables of one kind become a file."""


@functools.lru_cache(maxsize=10_000)
def md_text(text: str) -> str:
    """Escape text for Markdown, on one line."""
    return re.sub(r"([\\|*_<>`\[\]~$])", r"\\\1", _one_line(text).replace("&", "&amp;"))


def _tex_entry(entry: Entry) -> str:
    text = rf"\textbf{{{_tex(entry.text)}}}" if entry.bold else _tex(entry.text)
    return rf"{text} {{\footnotesize {_tex(entry.aside)}}}" if entry.aside else text


@functools.lru_cache(maxsize=10_000)
def _tex(text: str) -> str:
    return _one_line(text).translate(_ESCAPES)


def _one_line(text: str) -> str:
    """Put a space for line ends and other control characters: they would end a row."""
    return (text if text.isprintable() else re.sub(f"[{_CONTROL}]", " ", text)).strip()
