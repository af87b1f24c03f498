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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from serbench.report.figures import curve_figure, curves_by_title, drawing, to_files
from serbench.report.table import Table
from serbench.report.tables import score_matrix
from serbench.scores.metrics import FOLD_METRICS, METRICS
from serbench.scores.predictions import RULES

if TYPE_CHECKING:
    from serbench.report import Report

FILE = "index.html"
N_STEPS = 16
"""Steps of the colours, from the lowest to the highest value."""
CHOICES = {"task": "Task", "metric": "Metric", "rule": "Settings"}
"""Facet of a table -> what the page calls the choice."""
NAMES = {
    "uar": "UAR",
    "war": "Accuracy (WAR)",
    "kappa": "Cohen's kappa",
    "macro_f1": "Macro F1",
    "uar_folds": "UAR, mean over folds",
    "war_folds": "Accuracy (WAR), mean over folds",
    "nested": "Chosen by nested validation",
    "default": "Default",
    "oracle": "Oracle, tuned on the test data",
    "given": "Predictions of another system",
}
"""Metrics and rules in words."""
HEADLINE = ("nested", "given", "default", "oracle")
"""Rules in the order in which the sheet of a cell prefers them."""
_LISTS = (("groups", ["by", "group"], "UAR by speaker"), ("folds", ["fold", "setting"], "Folds and their settings"))
"""Long tables of a report that a sheet lists, their columns that are words, and what the sheet calls them."""


@dataclass(frozen=True, slots=True)
class Block:
    """The tables of one protocol, task and setup: one per metric and rule to choose from, and the others."""

    title: str
    task: str
    choices: list[Table]
    others: list[Table]
    is_open: bool


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is behind a cell, over all of its utterances: what must be known of it, and its tables."""

    key: str
    title: str
    about: list[str]
    tables: list[Table]


def render_page(report: Report) -> str:
    """Render the page as HTML; the same report gives the same text."""
    import jinja2

    others = [table for table in report.tables if not table.stem.startswith(("table2-", "confusion"))]
    by_choice = itertools.product(report.matrices, (*METRICS, *FOLD_METRICS), RULES)
    tables = [*(score_matrix(*choice) for choice in by_choice), *others]
    blocks, ends = blocks_of(tables), colour_ends(tables)
    folder = files("serbench.report") / "templates"
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("style.css", "page.js"))
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8")).render(
        blocks=blocks,
        loose=[table for table in others if "protocol" not in table.facets],
        choices=choices_of(blocks),
        names=NAMES,
        legends=CHOICES,
        step_of=lambda entry, table: step_of(entry.value, *ends.get(range_of(table), (0.0, 1.0))),
        ends_of=lambda table: ends.get(range_of(table)),
        sheets=list(sheets_of(report.long, {entry.key for t in tables for row in t.rows for entry in row} - {""})),
        curves=curve_drawings(report),
        sentence=sentence(report.scores),
        commands=report.commands,
        made_with=report.made_with,
        colours=list(zip(scale("light"), scale("dark"), strict=True)),
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def scale(theme: str) -> list[str]:
    """Colours from the lowest to the highest value, as #rrggbb: cividis, faded to the paper of a light or dark theme.

    The colour-blind see cividis as all others do. It is faded so far that the ink of the theme can be read on every
    step at 4.5 to 1, as WCAG 2 AA asks. Higher values are darker on light paper, and lighter on dark paper.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex, to_rgb

    name, share, paper = {"light": ("cividis_r", 0.5, "#fdfdfb"), "dark": ("cividis", 0.38, "#10141b")}[theme]
    colours = colormaps[name](np.linspace(0, 1, N_STEPS))[:, :3]
    return [to_hex(colour) for colour in share * colours + (1 - share) * np.array(to_rgb(paper))]


def step_of(value: float | None, low: float, high: float) -> int | None:
    """Return the step of a value on a scale from `low` to `high`; what lies beyond takes the last one.

    >>> step_of(0.2, 0.2, 0.8), step_of(0.9, 0.2, 0.8), step_of(0.3, 0.3, 0.3), step_of(None, 0, 1)
    (0, 15, 0, None)
    """
    if value is None or math.isnan(value):
        return None
    share = (value - low) / (high - low) if high > low else 0.0
    return round(min(max(share, 0.0), 1.0) * (N_STEPS - 1))


def range_of(table: Table) -> str:
    """Name the range of the colours of a table: tables of one metric share it, so that a colour means one value."""
    return table.facets.get("metric", table.title)


def colour_ends(tables: Iterable[Table]) -> dict[str, tuple[float, float]]:
    """Return the ends of every range of colours, in tenths."""
    found: dict[str, list[float]] = {}
    for table in tables:
        if table.values is not None:
            values = table.values.to_numpy(float)
            found.setdefault(range_of(table), []).extend(values[~np.isnan(values)].tolist())
    tenths = {name: (round(min(of) * 10, 6), round(max(of) * 10, 6)) for name, of in found.items() if of}
    return {name: (math.floor(low) / 10, math.ceil(high) / 10) for name, (low, high) in tenths.items()}


def blocks_of(tables: Iterable[Table]) -> list[Block]:
    """Put the tables of one protocol, task and setup together; the first block of every task is open."""
    grouped: dict[tuple[str, str, str], list[Table]] = {}
    for table in tables:
        if "protocol" in table.facets:
            protocol, task, setup = (table.facets.get(name, "") for name in ("protocol", "task", "setup"))
            grouped.setdefault((protocol, task, setup), []).append(table)
    made: list[Block] = []
    for (protocol, task, setup), of in grouped.items():
        title = ", ".join(filter(None, (protocol, task, setup)))
        choices = [table for table in of if "rule" in table.facets]
        others = [table for table in of if "rule" not in table.facets]
        made.append(Block(title, task, choices, others, all(block.task != task for block in made)))
    return made


def choices_of(blocks: Sequence[Block]) -> dict[str, list[str]]:
    """Facet -> its values, in the order of the tables; a facet of one value leaves no choice."""
    tables = [table for block in blocks for table in block.choices]
    values = {name: list(dict.fromkeys(t.facets[name] for t in tables if name in t.facets)) for name in CHOICES}
    values["task"] = list(dict.fromkeys(block.task for block in blocks))
    return {name: of for name, of in values.items() if len(of) > 1}


def curve_drawings(report: Report) -> dict[str, str]:
    """Draw the learning curves of each setup as SVG for a page: in the colours of its text, without a header."""
    drawings = {}
    for title, curves in curves_by_title(report).items():
        with drawing():
            text = to_files(curve_figure(curves), ["svg"])["svg"].decode()
        svg = text[text.index("<svg") :].replace("#000000", "currentColor")
        drawings[title] = svg.replace("<style", "<style hidden")
    return drawings


def sheets_of(long: Mapping[str, pd.DataFrame], keys: set[str]) -> Iterator[Sheet]:
    """Make the sheet of every cell that a table leads to, from the long tables of the report."""
    scores = long["scores"][long["scores"]["provenance"].isin(keys)]
    if scores["value"].isna().all():  # no cell, or outdated cells alone
        return
    ranks = scores["rule"].map(HEADLINE.index)
    headline = scores.loc[ranks.groupby(scores["provenance"]).idxmin()].set_index("provenance")["rule"]
    parts = {}
    for name in ("confusion", "groups", "folds"):  # of the headline rule alone
        rows = long[name][long[name]["rule"] == long[name]["provenance"].map(headline)]
        parts[name] = dict(list(rows.groupby("provenance", sort=False)))
    for key, of_cell in scores.groupby("provenance", sort=False):
        first = of_cell.iloc[0]
        setup = ", ".join(f"{name} {first[name]}" for name in ("protocol", "task", "scaling", "inner", "seed"))
        about = [setup, *of_cell["notes"].dropna().unique(), *of_cell["reason"].dropna().unique()]
        if of_cell["transductive"].eq(True).any():
            about.append("Transductive: scaling has used unlabelled audio of the test speakers.")
        if of_cell["n_missing"].gt(0).any():
            about.append(f"{of_cell['n_missing'].max()} utterances have no features and take no part.")
        title = ", ".join(str(first[name]) for name in ("corpus", "features", "classifier"))
        rule = NAMES.get(headline[key], headline[key]).lower()
        tables = [_score_sheet(of_cell)]
        if key in parts["confusion"]:
            tables.append(_confusion_sheet(parts["confusion"][key], rule))
        for name, columns, title_of in _LISTS:
            if key in parts[name]:
                body = parts[name][key].assign(UAR=parts[name][key]["uar"].map("{:.3f}".format))
                body = body.rename(columns={"n_utterances": "utterances"})[[*columns, "UAR", "utterances"]]
                tables.append(Table(name, f"{title_of}: {rule}", body.astype(str), len(columns)))
        yield Sheet(str(key), title, [text for text in about if text], tables)


def _score_sheet(scores: pd.DataFrame) -> Table:
    """Every metric by every rule, with intervals."""
    scores = scores.drop_duplicates(["metric", "rule"], keep="last")
    pairs = zip(scores["low"], scores["high"], strict=True)
    intervals = ["" if math.isnan(low) else f"[{low:.2f}, {high:.2f}]" for low, high in pairs]
    values = ["" if math.isnan(value) else f"{value:.3f}" for value in scores["value"]]
    body, asides = (
        scores.assign(shown=shown)
        .pivot(index="metric", columns="rule", values="shown")
        .reindex(index=scores["metric"].unique(), columns=scores["rule"].unique(), fill_value="")
        .fillna("")
        .reset_index()
        for shown in (values, intervals)
    )
    body["metric"] = body["metric"].map(lambda metric: NAMES.get(metric, metric))
    return Table("scores", "Scores by rule, with 95 % intervals", body, 1, asides=asides.assign(metric=""))


def _confusion_sheet(rows: pd.DataFrame, rule: str) -> Table:
    """Counts of a confusion matrix; a colour is the share of its row."""
    emotions = sorted({*rows["truth"], *rows["prediction"]})
    counts = np.zeros((len(emotions), len(emotions)), dtype=int)
    counts[tuple(rows[side].map(emotions.index) for side in ("truth", "prediction"))] = rows["n_utterances"]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    body = pd.DataFrame(counts.astype(str), columns=emotions)
    body.insert(0, "truth \\ prediction", emotions)
    values = pd.DataFrame(np.column_stack([np.full(len(emotions), np.nan), shares]))
    return Table("confusion", f"Confusion matrix: {rule}. Colours are shares of a row", body, 1, values=values)


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
