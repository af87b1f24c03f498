"""A table as Markdown, CSV and LaTeX (booktabs). Text is escaped here, and only here."""

from __future__ import annotations

import csv
import io
import itertools
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from serbench.scores.provenance import NO_ORIGIN, Line, Origin
from serbench.store.files import without_formula

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # behind the end of a row these would be an option of it
    "]": "{]}",
    "*": "{*}",
    "°": r"\textdegree{}",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "–": "--",
    "≈": r"$\approx$",
    "↑": r"$\uparrow$",
    "±": r"$\pm$",
}

_CONTROL = "\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff"


@dataclass(frozen=True, slots=True)
class Entry:
    """The text of one place in a table; `best` is set in bold.

    `aside` is what readers see behind it (an interval, a mark); CSV has the text alone, a number.
    `verdict`: see `Contest.verdict`. `step`: its colour where a page shows the table as a heat map, one of
    `colours.scale`.
    """

    text: str
    best: bool = False
    aside: str = ""
    verdict: str = ""
    step: int | None = None

    @property
    def whole(self) -> str:
        """Text and aside."""
        return f"{self.text} {self.aside}".strip()


@dataclass(frozen=True, slots=True)
class Table:
    """A table for readers: `stem` names its files, the first `n_labels` columns are words, the rest numbers."""

    stem: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...]
    n_labels: int
    origin: Origin = NO_ORIGIN

    @property
    def is_coloured(self) -> bool:
        """Whether a page shows it as a heat map."""
        return any(entry.step is not None for row in self.rows for entry in row)


def to_markdown(table: Table) -> str:
    """Render a table with its title as a heading and its notes below."""
    rows = [[_beside(f"**{_md(e.text)}**" if e.best else _md(e.text), _md(e.aside)) for e in row] for row in table.rows]
    align = ["left"] * table.n_labels + ["right"] * (len(table.header) - table.n_labels)
    header = [_md(name) for name in table.header]
    body = tabulate(rows, headers=header, tablefmt="pipe", colalign=align if rows else None, disable_numparse=True)
    notes = "".join(f"\n{_md_paragraph(note)}\n" for note in table.notes)
    return f"### {_md(table.title)}\n\n{body}\n{notes}{_md_comment(table.origin.lines)}"


def to_csv(tables: Sequence[Table]) -> str:
    """Render tables of the same kind as CSV, the title of each in a first column, its provenance in the last."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for table in tables:
        writer.writerow(without_formula(text) for text in ("table", *table.header, "provenance"))
        writer.writerows(
            [without_formula(table.title), *(without_formula(entry.text) for entry in row), table.origin.key]
            for row in table.rows
        )
    return out.getvalue()


def to_latex(table: Table, number: int = 1) -> str:
    """Render a table as a LaTeX float that needs booktabs, under comments that say what made it.

    `number` tells apart the labels of one file.
    """
    columns = "l" * table.n_labels + "r" * (len(table.header) - table.n_labels)
    header = " & ".join(_tex(name) for name in table.header)
    rows = [" & ".join(_tex_entry(entry) for entry in row) for row in table.rows]
    body = "\n".join(rf"{row} \\" for row in rows)
    notes = "".join(f"\n\\par\\smallskip\\footnotesize {_tex(note)}" for note in table.notes)
    caption = re.sub(r"^Table [0-9]+[.] ", "", table.title)  # LaTeX numbers tables itself
    label = f"tab:{table.stem}{number if number > 1 else ''}"
    return (
        f"{_tex_comment(table.origin.lines)}\\begin{{table}}\n\\centering\n"
        f"\\caption{{{_tex(caption)}}}\n\\label{{{label}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{header} \\\\\n\\midrule\n{body}\n\\bottomrule\n"
        f"\\end{{tabular}}{notes}\n\\end{{table}}\n"
    )


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "md": lambda tables: "\n".join(map(to_markdown, tables)),
    "csv": to_csv,
    "tex": lambda tables: "\n".join(["% needs \\usepackage{booktabs}", *map(to_latex, tables, itertools.count(1))]),
}
"""File ending -> how tables of one kind become a file."""


def to_text(lines: Sequence[Line], width: int = 78) -> list[str]:
    """Set what made a table as plain lines, words in a column of their own; nothing in them breaks a line."""
    wide = max((len(name) for name, _ in lines), default=0)
    return [line for name, text in lines for line in _hanging(f"{name:{wide}}  ", text, width)]


def _hanging(label: str, text: str, width: int) -> list[str]:
    indent = " " * len(label)
    return textwrap.wrap(text, width, initial_indent=label, subsequent_indent=indent, break_on_hyphens=False)


def _md_comment(lines: Sequence[Line]) -> str:
    """A comment of HTML, which two hyphens in a row could end."""
    text = re.sub("-(?=-)", "- ", "\n".join(to_text(lines)))
    return f"\n<!--\n{text}\n-->\n" if lines else ""


def _tex_comment(lines: Sequence[Line]) -> str:
    return "".join(f"% {line}\n" for line in to_text(lines))


def _beside(text: str, aside: str) -> str:
    return f"{text} {aside}" if aside else text


def _tex_entry(entry: Entry) -> str:
    text = rf"\textbf{{{_tex(entry.text)}}}" if entry.best else _tex(entry.text)
    return _beside(text, rf"{{\footnotesize {_tex(entry.aside)}}}" if entry.aside else "")


def _md(text: str) -> str:
    return re.sub(r"([\\|*_<>`\[\]~$])", r"\\\1", _one_line(text).replace("&", "&amp;"))


def _md_paragraph(text: str) -> str:
    """Escape a line of its own: it must not open a heading, a list or a rule."""
    return re.sub(r"^([0-9]*)([#+=.):-])", r"\1\\\2", _md(text))


def _tex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in _one_line(text))


def _one_line(text: str) -> str:
    """Put a space for line ends and other control characters: they would end a row."""
    return re.sub(f"[{_CONTROL}]", " ", text).strip()
