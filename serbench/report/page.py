"""The page of a report: one file that opens from disk, needs no network, and shows the tables of the report.

Every table is rendered here. Choices are radio buttons, which the style sheet reads, and a cell opens as a popover of
HTML. The script of the page sorts columns and keeps the choices in the address; without it all the rest works.
Names from corpora and files are escaped by the template.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pandas as pd

from serbench.report.across import Curve
from serbench.report.answers import Answer, answers
from serbench.report.comparisons import entry_of, notes_on
from serbench.report.table import Entry, Table, bracketed, make_table, signed
from serbench.report.tables import NAMES, confusion_of, score_matrix
from serbench.scores.metrics import ALL_METRICS
from serbench.scores.rules import RULES
from serbench.scores.statistics import Interval

if TYPE_CHECKING:
    from serbench.report import Report

FILE = "index.html"
CHOICES = {"task": "Task", "metric": "Metric", "rule": "Settings"}
"""Facet of a table -> what the page calls the choice."""


def render_page(report: Report) -> str:
    """Render the page as HTML; the same report gives the same text."""
    import jinja2

    others = [table for table in report.tables if not table.stem.startswith(("table2-", "confusion"))]
    by_choice = itertools.product(report.matrices, ALL_METRICS, RULES)
    tables = [*(score_matrix(*choice) for choice in by_choice), *others]
    blocks = blocks_of(tables)
    for block, matrix in zip(blocks, report.matrices, strict=True):
        block["answers"] = answers_of(answers(matrix))
    keys = {entry.key for table in tables for row in table.rows for entry in row}
    folder = files("serbench.report") / "templates"
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("style.css", "page.js"))
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8")).render(
        blocks=blocks,
        loose=[table for table in others if "protocol" not in table.facets],
        choices=choices_of(tables),
        names=NAMES,
        legends=CHOICES,
        ends=colour_ends(tables),
        sheets=sheets_of(report, keys),
        curves=curve_plots(report.curves),
        sentence=sentence(report.scores),
        commands=report.commands,
        made_with=report.made_with,
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def colour_ends(tables: Iterable[Table]) -> dict[str, tuple[float, float]]:
    """Metric, or title of a table without one -> ends of its colours, in tenths, so that a colour means one value."""
    found: dict[str, list[float]] = {}
    for table in tables:
        name = table.facets.get("metric", table.title)
        found.setdefault(name, []).extend(value for value in table.values if not math.isnan(value))
    tenths = {name: (round(min(of) * 10, 6), round(max(of) * 10, 6)) for name, of in found.items() if of}
    return {name: (math.floor(low) / 10, math.ceil(high) / 10) for name, (low, high) in tenths.items()}


def blocks_of(tables: Iterable[Table]) -> list[dict[str, Any]]:
    """Put the tables of one protocol, task and setup together: those to choose from by metric and rule, and others.

    The first block of every task is open.
    """
    blocks: dict[str, dict[str, Any]] = {}
    for table in (table for table in tables if "protocol" in table.facets):
        protocol, task, setup = (table.facets[name] for name in ("protocol", "task", "setup"))
        title = ", ".join(filter(None, (protocol, task, setup)))
        is_open = task not in [block["task"] for block in blocks.values()]
        empty = {"title": title, "task": task, "choices": [], "others": [], "is_open": is_open}
        blocks.setdefault(title, empty)["choices" if "rule" in table.facets else "others"].append(table)
    return list(blocks.values())


def answers_of(found: Sequence[Answer]) -> list[dict[str, Any]]:
    """Return sentence and plot of every answer: differences to the best, in hundredths of the range of all of them."""
    rows = [row for answer in found for row in answer.rows]
    ends = [end for row in rows for end in (row["low"], row["high"], row["below_best"], 0.0) if end is not None]

    def place(value: float) -> float:
        return round(100 * (max(ends) - value) / (max(ends) - min(ends) or 1), 1)

    shown = []
    for answer in found:
        dots = []
        for row in answer.rows:
            between = bracketed(Interval(row["low"], row["high"])) if row["low"] is not None else ""
            low, high = (place(row[end]) if row[end] is not None else None for end in ("high", "low"))
            name = f"{row['classifier']} on {row['features']}"
            dots.append(
                (name, place(row["below_best"]), low, high, f"{signed(-row['below_best'])} {between}", row["verdict"])
            )
        shown.append({"sentence": answer.sentence, "corpus": answer.corpus, "zero": place(0.0), "dots": dots})
    return shown


def choices_of(tables: Iterable[Table]) -> dict[str, list[str]]:
    """Facet -> its values, in the order of the tables; a facet of one value leaves no choice."""
    facets = [table.facets for table in tables if "protocol" in table.facets]
    values = {name: list(dict.fromkeys(of[name] for of in facets if name in of)) for name in CHOICES}
    return {name: of for name, of in values.items() if len(of) > 1}


def curve_plots(curves: Sequence[Curve]) -> dict[str, list[dict[str, Any]]]:
    """Title of a setup -> a plot for each pair of corpora, in hundredths: k to the right, UAR from 100 up to 0."""
    by_plot: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        by_plot.setdefault((curve.setup.title, " → ".join(curve.pair)), []).append(curve)
    plots: dict[str, list[dict[str, Any]]] = {}
    for (title, pair), drawn in by_plot.items():
        numbers = sorted({k for curve in curves if curve.setup.title == title for k in curve.points})
        x = {k: 100 * i / max(len(numbers) - 1, 1) for i, k in enumerate(numbers)}
        lines = []
        for curve in drawn:
            line = [(k, uar) for k, uar, _, _ in curve.drawn]
            band = [(k, low) for k, _, low, _ in curve.drawn] + [(k, high) for k, *_, high in reversed(curve.drawn)]
            points = (" ".join(f"{x[k]:.1f},{100 - 100 * uar:.1f}" for k, uar in of) for of in (line, band))
            lines.append((f"{' '.join(curve.row)}{curve.weight}", *points))
        plot = {"title": pair, "lines": lines, "ticks": list(x.items()), "chance": 100 - 100 * drawn[0].setup.chance}
        plots.setdefault(title, []).append(plot)
    return plots


def sheets_of(report: Report, keys: set[str]) -> list[dict[str, Any]]:
    """Make the sheet of every cell that a table leads to: what must be known of it, and tables over all utterances.

    Sentences have a row in groups.csv alone: they would be most of the page.
    """
    groups = report.long["groups"].reindex(columns=["provenance", "rule", "by", "group", "uar", "n_utterances"])
    folds = report.long["folds"].reindex(columns=["provenance", "rule", "fold", "setting", "uar", "n_utterances"])
    lists = {"UAR by speaker and gender": groups[groups["by"] != "text"], "Folds and their settings": folds}
    found = {title: dict(list(frame.groupby(["provenance", "rule"]))) for title, frame in lists.items()}
    sheets = []
    for cell in (cell for cell in report.cells if cell.key in keys):
        fields, key = cell.cell, cell.key
        notes = ", ".join(f"{name} {fields[name]}" for name in ("protocol", "task", "scaling", "inner", "seed"))
        about = [notes, *(notes_on([cell], {}) if cell.with_values else ()), *dict.fromkeys(cell.reasons.values())]
        rows = []
        for metric in ALL_METRICS:
            values = [entry_of(cell, metric=metric, rule=r) if r in cell.with_values else Entry("") for r in cell.rules]
            rows.append((NAMES[metric], *(Entry(entry.text, entry.aside) for entry in values)))
        title = "Scores by rule, with 95 % intervals"
        tables = [make_table("scores", title, ("metric", *cell.rules), rows, n_labels=1)]
        if cell.rule:
            rule = NAMES[cell.rule].lower()
            title = f"Confusion matrix: {rule}. Colours are shares of a row"
            tables.append(make_table("confusion", title, *confusion_of(cell), n_labels=1))
            for title, of_cell in found.items():
                if (key, cell.rule) in of_cell:
                    frame = of_cell[key, cell.rule]
                    header = (*frame.columns[2:4], "UAR", "utterances")
                    listed = [(*words, f"{uar:.3f}", n) for _, _, *words, uar, n in frame.itertuples(index=False)]
                    tables.append(make_table("list", f"{title}: {rule}", header, listed, n_labels=2))
        title = ", ".join(str(fields[name]) for name in ("corpus", "features", "classifier"))
        sheets.append({"key": key, "title": title, "about": about, "tables": tables})
    return sheets


def sentence(scores: pd.DataFrame) -> str:
    """Say what was compared, for somebody who meets the page by chance; empty where no cell has a result."""
    found = scores[scores["value"].notna()]
    if not len(found):
        return ""
    corpora = {name for joined in found["corpus"] for name in joined.split("+")}
    counts = (found["classifier"].nunique(), "classifier"), (found["features"].nunique(), "feature set")
    words = [f"{n} {name}{'s' if n > 1 else ''}" for n, name in counts]
    said = f"{' on '.join(words)} in {len(corpora)} corp{'ora' if len(corpora) > 1 else 'us'}."
    is_kept_apart = "given" not in set(found["rule"]) and not found["transductive"].any()
    return said + (" Models never heard the speakers they are tested on." if is_kept_apart else "")
