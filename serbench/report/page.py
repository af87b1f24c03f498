"""The page of a report: one file that opens from disk, needs no network, and shows answers and tables of the report.

Everything is rendered here. Choices are radio buttons, which the style sheet reads; one chooses task and protocol for
all sections. A cell opens as a popover of HTML. The script of the page sorts columns and keeps the choices in the
address; without it all the rest works. Names from corpora and files are escaped by the template.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pandas as pd

from serbench.report.across import Curve
from serbench.report.answers import Answer, answers
from serbench.report.audits import LEAKS
from serbench.report.comparisons import Matrix, entry_of, notes_on
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table, signed
from serbench.report.tables import MARKS, NAMES, confusion_of, score_matrix
from serbench.scores.metrics import ALL_METRICS, METRICS
from serbench.scores.rules import RULES
from serbench.scores.statistics import Interval

if TYPE_CHECKING:
    from markupsafe import Markup

    from serbench.report import Report

FILE = "index.html"
CHOICES = {"metric": ("Metric", tuple(METRICS)), "rule": ("Settings", RULES)}
"""Facet of Table 2 -> what the page calls the choice, and its values."""
VERDICTS = {
    "worse": "below by more than chance explains",
    "tie": "cannot be told apart",
    "untestable": "cannot be tested",
    "better": "above by more than chance explains",
}
"""Verdict on a difference to the best cell -> the verdict in words."""
NAMED = 4
"""Corpora that a title names; of more it gives the number."""
TICKS_APART = 12
"""Hundredths of the axis of a learning curve between two numbers, so that none is on another."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What one choice of task and protocol shows at the top of the page.

    Parameters
    ----------
    label : what tells this view from others.
    scores : Table 2 by metric and rule; none for a task that has tables across corpora alone.
    answers : one for each corpus; those with at least two cells have one of `plots`, see `plots_of`.
    tips : metric and key of a cell -> its difference to the best of its corpus, in words.
    """

    task: str
    title: str
    label: str
    corpora: tuple[str, ...] = ()
    scores: tuple[Table, ...] = ()
    answers: Sequence[Answer] = ()
    plots: Sequence[Mapping[str, Any]] = ()
    tips: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """Tables of one kind that fold away together; each with the places of the views that show it, or none for all."""

    id: str
    title: str
    tables: Sequence[tuple[Table, Sequence[int]]]

    @property
    def views(self) -> list[int]:
        """Places of the views that show something of this section; none for all."""
        of_tables = [views for _, views in self.tables]
        return sorted(set().union(*of_tables)) if all(of_tables) else []


def render_page(report: Report) -> str:
    """Render the page as HTML; the same report gives the same text."""
    import jinja2

    others = [without_empty(t) for t in report.tables if not t.stem.startswith(("table2-", "confusion"))]
    views = views_of(report.matrices, others)
    sections = sections_of(others, report.matrices, views)
    tables = [*(table for view in views for table in view.scores), *others]
    keys = {entry.key for table in tables for row in table.rows for entry in row}
    folder = files("serbench.report") / "templates"
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("style.css", "page.js"))
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["linked"] = linked
    text = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8")).render(
        title=title_of(report),
        made_on=report.made_on,
        views=views,
        elsewhere=[elsewhere(view, views) for view in views],
        sections=sections,
        choices=CHOICES,
        names=NAMES,
        verdicts=VERDICTS,
        ends=colour_ends(tables),
        sheets=sheets_of(report, keys, views),
        curves=curve_plots(report.curves),
        sentence=sentence(report.scores),
        commands=report.commands,
        made_with=report.made_with,
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def title_of(report: Report) -> str:
    """Say what the page is about: the corpora with a result."""
    found = report.scores[report.scores["value"].notna()]
    corpora = sorted({name for joined in found["corpus"] for name in joined.split("+")})
    named = ", ".join(corpora) if len(corpora) <= NAMED else f"{len(corpora)} corpora"
    return f"Speech emotion recognition: {named}" if corpora else "Speech emotion recognition"


def without_empty(table: Table) -> Table:
    """Return a table without the rows and columns that have no value."""

    def has_value(entries: Iterable[Entry]) -> bool:
        return any(entry.text not in ("", NOTHING) for entry in entries)

    rows = [row for row in table.rows if has_value(row[table.n_labels :])]
    kept = [i for i in range(len(table.header)) if i < table.n_labels or has_value(row[i] for row in rows)]
    header = tuple(table.header[i] for i in kept)
    return replace(table, header=header, rows=tuple(tuple(row[i] for i in kept) for row in rows))


def colour_ends(tables: Iterable[Table]) -> dict[str, tuple[float, float]]:
    """Metric, or title of a table without one -> ends of its colours, in tenths, so that a colour means one value."""
    found: dict[str, list[float]] = {}
    for table in tables:
        name = table.facets.get("metric", table.title)
        found.setdefault(name, []).extend(value for value in table.values if not math.isnan(value))
    tenths = {name: (round(min(of) * 10, 6), round(max(of) * 10, 6)) for name, of in found.items() if of}
    return {name: (math.floor(low) / 10, math.ceil(high) / 10) for name, (low, high) in tenths.items()}


def views_of(matrices: Sequence[Matrix], others: Iterable[Table]) -> list[View]:
    """Make a view of each matrix, and of each task that has tables across corpora alone; views of a task meet."""
    parts = {m: [m.facets["protocol"], *m.facets["setup"].split(", ")] for m in matrices}
    shared = set.intersection(*map(set, parts.values())) if len(matrices) > 1 else set()
    views = []
    for matrix in matrices:
        label = ", ".join(part for part in parts[matrix] if part not in shared) or matrix.facets["protocol"]
        scores = (score_matrix(matrix, *choice) for choice in itertools.product(METRICS, RULES))
        shown, found = tuple(without_empty(table) for table in scores), answers(matrix)
        names = matrix.facets["task"], matrix.setup.title, label
        views.append(View(*names, matrix.corpora, shown, found, plots_of(matrix, found), differences_of(matrix)))
    tasks = list(dict.fromkeys(view.task for view in views))
    alone = dict.fromkeys(t.facets["task"] for t in others if t.facets.get("task", "") not in ("", *tasks))
    views += [View(task, f"{task}, across corpora", "across corpora") for task in alone]
    return sorted(views, key=lambda view: [*tasks, *alone].index(view.task))


def elsewhere(view: View, views: Sequence[View]) -> list[tuple[int, str]]:
    """Return the answers for corpora that the task of a view does not have, each with the place of its own view."""
    own = {corpus for other in views if other.task == view.task for corpus in other.corpora}
    found: dict[str, tuple[int, str]] = {}
    for i, other in enumerate(views):
        said = {answer.corpus: answer.sentence for answer in other.answers}
        for corpus in (corpus for corpus in other.corpora if corpus not in own):
            found.setdefault(corpus, (i, said.get(corpus, f"{corpus}: no two cells to compare.")))
    return list(found.values())


def sections_of(tables: Iterable[Table], matrices: Sequence[Matrix], views: Sequence[View]) -> list[Section]:
    """Put tables of one kind together, each with the views that show it and without notes that are said above it."""
    place_of = {view.title: i for i, view in enumerate(views)}
    by_facets = {tuple(matrix.facets.items()): place_of[matrix.setup.title] for matrix in matrices}
    kinds: dict[str, list[tuple[Table, Sequence[int]]]] = {}
    for table in tables:
        own = by_facets.get(tuple(table.facets.items()))
        task = table.facets.get("task")
        shows = [own] if own is not None else [i for i, view in enumerate(views) if view.task == task]
        before = kinds.setdefault(table.stem, [])
        said = views[own].scores[0].notes if own is not None else [note for t, _ in before for note in t.notes]
        new = tuple(note for note in table.notes if not any(is_said(note, above) for above in said))
        before.append((replace(table, notes=new), shows))
    sections = []
    for stem, of in kinds.items():
        title = of[0][0].title
        is_alone = len(of) == 1 and not of[0][1]
        sections.append(Section(f"section-{stem}", title if is_alone else title.partition(":")[0], of))
    return sections


def is_said(note: str, above: str) -> bool:
    """Whether a note is another one, or the end of what another one has on the same corpus.

    >>> is_said("nemo: partial.", "nemo: 360 utterances; partial."), is_said("emodb: partial.", "nemo: partial.")
    (True, False)
    """
    corpus, _, said = note.partition(": ")
    return note == above or (above.startswith(f"{corpus}: ") and above.endswith(f"; {said}"))


def linked(note: str, sections: Iterable[Section]) -> Markup:
    """Return a note as HTML that leads to a section where the note names its file."""
    from markupsafe import Markup, escape

    text = escape(note)
    for section in sections:
        stem = section.id.removeprefix("section-")
        text = text.replace(f"{stem}.md", Markup('<a href="#{}">{}</a>').format(section.id, section.title))
    return text


def plots_of(matrix: Matrix, found: Sequence[Answer]) -> list[dict[str, Any]]:
    """Return a plot of differences to the best for each answer that has some, on one scale, in hundredths.

    The scale is that of the contenders. A reference below it, such as a dummy, is at its end, and `is_off`.
    """
    rows = [row for answer in found for row in answer.rows]
    drawn = [row for row in rows if not row["is_reference"]] or rows
    lowest = -max((end for row in drawn for end in (row["high"], row["below_best"]) if end is not None), default=0.0)
    highest = max((-row["low"] for row in drawn if row["low"] is not None), default=0.0)
    width = max(highest, 0.0) - lowest or 1.0
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if width / step <= 2.5)

    def place(difference: float) -> float:
        return round(min(max(100 * (difference - lowest) / width, 0.0), 100.0), 1)

    ticks = [(place(-i * step), f"{-i * step:.2f}" if i else "0") for i in range(int(-lowest / step + 1e-9) + 1)]
    plots = []
    for answer in (answer for answer in found if answer.rows):
        best = matrix.scored[(*answer.best, answer.corpus)]
        value = entry_of(best)
        named = f"{answer.best[1]} on {answer.best[0]}"
        dots = [{"name": named, "key": best.key, "x": place(0.0), "verdict": "best", "text": value.text}]
        dots[0] |= {"aside": value.aside}
        for row in answer.rows:
            dot = {"name": f"{row['classifier']} on {row['features']}", "verdict": row["verdict"]}
            dot |= {"key": matrix.scored[row["features"], row["classifier"], answer.corpus].key}
            dot |= {"x": place(-row["below_best"]), "is_off": -row["below_best"] < lowest}
            if row["low"] is not None:
                dot |= {"low": place(-row["high"]), "high": place(-row["low"])}
            dots.append(
                {**dot, "text": signed(-row["below_best"]), "aside": f"{_between(row)} {MARKS[row['verdict']]}"}
            )
        plots.append({"corpus": answer.corpus, "zero": place(0.0), "ticks": ticks, "dots": dots})
    return plots


def differences_of(matrix: Matrix) -> dict[tuple[str, str], str]:
    """Metric and key of a cell -> its difference to the best of its corpus in words."""
    told = {}
    for row in matrix.differences:
        best, other = ((row[f"{of}features"], row[f"{of}classifier"], row["corpus"]) for of in ("best_", ""))
        told[row["metric"], matrix.scored[best].key] = f"the best of {row['corpus']}"
        difference = f"{signed(-row['below_best'])} {_between(row)}".strip()
        to_best = f"{difference} to the best, {best[1]} on {best[0]}: {VERDICTS[row['verdict']]}"
        told[row["metric"], matrix.scored[other].key] = to_best
    return told


def _between(row: Mapping[str, Any]) -> str:
    """Word the interval of cell minus best; a row has that of best minus cell."""
    return "" if row["low"] is None else bracketed(Interval(-row["high"], -row["low"]))


def curve_plots(curves: Sequence[Curve]) -> dict[str, list[dict[str, Any]]]:
    """Title of a setup -> a plot for each pair of corpora, in hundredths: k to the right, UAR from 100 up to 0."""
    by_plot: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        by_plot.setdefault((curve.setup.title, " → ".join(curve.pair)), []).append(curve)
    plots: dict[str, list[dict[str, Any]]] = {}
    for (title, pair), drawn in by_plot.items():
        numbers = sorted({k for curve in curves if curve.setup.title == title for k in curve.points})
        x = {k: 100 * k / max(*numbers, 1) for k in numbers}
        lines = []
        for curve in drawn:
            line = [(k, uar) for k, uar, _, _ in curve.drawn]
            band = [(k, low) for k, _, low, _ in curve.drawn] + [(k, high) for k, *_, high in reversed(curve.drawn)]
            points = (" ".join(f"{x[k]:.1f},{100 - 100 * uar:.1f}" for k, uar in of) for of in (line, band))
            lines.append((f"{' '.join(curve.row)}{curve.weight}", *points))
        ticks: list[tuple[int, float]] = []
        for k in numbers:
            if not ticks or x[k] - ticks[-1][1] >= TICKS_APART:
                ticks.append((k, x[k]))
        plot = {"title": pair, "lines": lines, "ticks": ticks, "chance": 100 - 100 * drawn[0].setup.chance}
        plots.setdefault(title, []).append(plot)
    return plots


def sheets_of(report: Report, keys: set[str], views: Sequence[View]) -> list[dict[str, Any]]:
    """Make the sheet of every cell that a table leads to: what must be known of it, and tables over all utterances.

    Sentences have a row in groups.csv alone, and folds in folds.csv: they would be most of the page.
    """
    groups = report.long["groups"].reindex(columns=["provenance", "by", "group", "uar", "n_utterances"])
    people: dict[str, list[tuple[str, str, str, int]]] = {}
    for key, by, group, value, n in zip(*(groups[name].tolist() for name in groups), strict=True):
        if by != "text":
            people.setdefault(key, []).append((by, group, f"{value:.3f}", n))
    folds = report.long["folds"].reindex(columns=["provenance", "rule", "setting"])
    chosen: dict[tuple[str, str], Counter[str]] = {}
    for key, rule, setting in zip(*(folds[name].tolist() for name in folds), strict=True):
        chosen.setdefault((key, rule), Counter())[setting] += 1
    tips = {place: text for view in reversed(views) for place, text in view.tips.items()}
    sheets = []
    for cell in (cell for cell in report.cells if cell.key in keys):
        fields, key = cell.cell, cell.key
        notes = ", ".join(f"{name} {fields[name]}" for name in ("protocol", "task", "scaling", "inner", "seed"))
        about = [notes, *(notes_on([cell], {}) if cell.with_values else ()), *dict.fromkeys(cell.reasons.values())]
        rows = []
        for metric in ALL_METRICS:
            values = [entry_of(cell, metric=metric, rule=r) if r in cell.with_values else Entry("") for r in cell.rules]
            shown = (Entry(entry.text, entry.aside) for entry in values)
            rows.append((NAMES[metric], *shown, tips.get((metric, key), "")))
        title, header = "Scores by rule, with 95 % intervals", ("metric", *cell.rules, "difference to the best")
        tables = [without_empty(make_table("scores", title, header, rows, n_labels=1))]
        if cell.rule:
            rule = NAMES[cell.rule].lower()
            title = f"Confusion matrix: {rule}. Colours are shares of a row"
            tables.append(make_table("confusion", title, *confusion_of(cell), n_labels=1))
            if key in people:
                header, title = ("by", "group", "UAR", "utterances"), f"UAR by speaker and gender: {rule}"
                tables.append(make_table("list", title, header, people[key], n_labels=2))
            if (key, cell.rule) in chosen:
                counts = chosen[key, cell.rule].most_common()
                title = f"Settings of the test groups: {rule}"
                tables.append(make_table("list", title, ("setting", "groups"), counts, n_labels=1))
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
    is_kept_apart &= not found["notes"].str.contains(LEAKS).any()
    return said + (" Models never heard the speakers they are tested on." if is_kept_apart else "")
