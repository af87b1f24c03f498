"""The figures of a report as SVG and PDF: differences to the best, heat maps of UAR, learning curves, and mean ranks.

Drawn by matplotlib through `Figure` alone, so that nothing of a user's own plots is touched. Text stays text: it can be
selected, and a `$` in a name is a `$`. The same report gives the same bytes. No figure is wider than a
page of a journal, and no text is below 7 pt.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serbench.report.across import CHANCE_MARKS, Curve
from serbench.report.answers import Answer, answers
from serbench.report.comparisons import MARK_NOTES, Matrix, entry_of
from serbench.report.table import Table
from serbench.report.tables import VERDICT_NOTES
from serbench.scores.statistics import ALPHA, SHARES, Ranking
from serbench.store.files import write_bytes
from serbench.workspace import Progress, silent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from serbench.report import Report

FOLDER = "figures"
"""Where in the report they are."""

HEAT_MAPS = {
    "table2-uar": ("uar", "corpus", "feature set and classifier"),
    "transfer": ("uar-across-corpora", "corpus that is tested", "feature set, classifier and corpus that trains"),
}
"""Kind of a table -> what its heat map is called, and what its columns and rows are."""
WIDTH_INCH = 7.2
"""Of the text of a page: a wider figure would be made smaller, and its text with it."""
SMALL = 7.0
"""Points of the smallest text."""
LETTER_INCH = 0.065
"""Of a title, about."""

LOOK: dict[Any, Any] = {  # whose keys matplotlib's own types list one by one
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "serbench",
    "pdf.fonttype": 42,
}
_INK, _MUTED, _ACCENT = "#1b1f26", "#59616d", "#24508f"
_LINES = ((_ACCENT, "-"), ("#9a4a00", "--"), ("#2f6b3a", ":"), ("#6d3a8c", "-."))
_METADATA = {"svg": {"Date": None, "Creator": "serbench"}, "pdf": {"CreationDate": None, "Creator": "serbench"}}


def write_figures(report: Report, folder: Path, *, progress: Progress = silent) -> list[Path]:
    """Draw the figures of a report as SVG and PDF below its folder, and return the files."""
    written: list[Path] = []
    drawn = figures(report)
    for done, (name, draw) in enumerate(drawn.items(), 1):
        with drawing():
            contents = to_files(draw())
        for ending, content in contents.items():
            written.append(folder / FOLDER / f"{name}.{ending}")
            write_bytes(written[-1], content)
        progress("figures", done, len(drawn), done / len(drawn))
    return written


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Let matplotlib draw as serbench's figures look, and as before afterwards."""
    import matplotlib

    with matplotlib.rc_context(LOOK), warnings.catch_warnings():
        # Text of an SVG is set by whoever shows it; in a PDF a box stands for what the font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def to_files(figure: Figure, endings: Sequence[str] = ("svg", "pdf")) -> dict[str, bytes]:
    """Return a figure as files by ending, cut to what is drawn, without the time at which they were made."""
    bounds = figure.get_tightbbox().padded(0.05)  # once for all, as it takes as long as drawing
    files = {}
    for ending in endings:
        content = io.BytesIO()
        figure.savefig(content, format=ending, metadata=_METADATA[ending], bbox_inches=bounds)
        files[ending] = content.getvalue()
    return files


def figures(report: Report) -> dict[str, Callable[[], Figure]]:
    """Return every figure of a report by the name of its files: a function that draws it."""
    wanted: list[tuple[str, Callable[[], Figure]]] = []
    for matrix in report.matrices:
        if found := [answer for answer in answers(matrix) if answer.rows]:
            draw = functools.partial(difference_figure, matrix, found)
            wanted.append((f"differences-to-best-{matrix.setup.title}", draw))
    for table in (table for table in report.tables if table.values and table.stem in HEAT_MAPS):
        name = f"{HEAT_MAPS[table.stem][0]}-{table.title.partition(': ')[2]}"
        wanted.append((name, functools.partial(heat_map, table)))
    for title, of in itertools.groupby(report.curves, key=lambda curve: curve.setup.title):
        wanted.append((f"learning-curves-{title}", functools.partial(curve_figure, list(of))))
    for matrix, metric in itertools.product(report.matrices, SHARES):
        ranks = matrix.ranking(metric)
        if ranks and ranks.can_be_drawn:  # Table 2 gives the reason where there is no diagram
            title = f"{metric.upper()}: {matrix.setup.title}"
            wanted.append((f"mean-ranks-{title}", functools.partial(rank_diagram, ranks, title)))
    return dict(zip(file_names([name for name, _ in wanted]), [draw for _, draw in wanted], strict=True))


def file_names(wanted: Sequence[str]) -> list[str]:
    """Return names of safe characters, none of which is another's where letters count the same in either case.

    >>> file_names(["heatmap-uar", "a/b", "A b"])
    ['heatmap-uar', 'a-b', 'A-b-2']
    """
    taken: set[str] = set()
    names = []
    for plain in (re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:120].strip("-") for name in wanted):
        numbered = (f"{plain}-{n}" if n > 1 else plain for n in itertools.count(1))
        names.append(next(name for name in numbered if name.casefold() not in taken))
        taken.add(names[-1].casefold())
    return names


def difference_figure(matrix: Matrix, found: Sequence[Answer]) -> Figure:
    """Draw by how much each cell differs from the best of its corpus: a plot per corpus, a dot with interval per cell.

    References are left out where there is something else, as a dummy would be the whole scale.
    """
    from matplotlib.figure import Figure

    n_columns = min(3, len(found))
    n_rows = -(-len(found) // n_columns)
    drawn = [[row for row in answer.rows if not row["is_reference"]] or answer.rows for answer in found]
    height = n_rows * (0.17 * (1 + max(map(len, drawn))) + 0.45) + 0.6
    figure = Figure(figsize=((3.5, 5.4, WIDTH_INCH)[n_columns - 1], height), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True)
    for axes, answer, rows in itertools.zip_longest(grid.flat, found, drawn):
        if answer is None:
            axes.set_visible(False)
            continue
        axes.axvline(0, color=_MUTED, linewidth=0.8)
        axes.plot(0, 0, "D", color=_INK, markersize=4)
        for y, row in enumerate(rows, 1):
            low, high = (np.nan, np.nan) if row["low"] is None else (-row["high"], -row["low"])
            axes.hlines(y, low, high, color=_ACCENT, linewidth=1)
            _dot(axes, -row["below_best"], y, row["verdict"])
        names = [answer.best, *((row["features"], row["classifier"]) for row in rows)]
        axes.set_yticks(range(len(names)), [_plain(f"{name} on {features}") for features, name in names])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(names) - 0.5, -0.5)
        best = entry_of(matrix.scored[(*answer.best, answer.corpus)])
        axes.set_title(f"{_plain(answer.corpus)}\nbest: {best.text} {best.aside}", size=8)
    for axes in grid[-1]:
        axes.tick_params(axis="x", labelbottom=True)
    label = "UAR of a cell minus UAR of the best cell of its corpus, with 95 % intervals"
    key = {"best": _dot(grid[0, 0], np.nan, 0, "best")}
    words = {
        "tie": "cannot be told apart",
        "worse": "below by more than chance explains",
        "untestable": "cannot be tested",
    }
    verdicts = {row["verdict"] for rows in drawn for row in rows}
    key |= {text: _dot(grid[0, 0], np.nan, 0, verdict) for verdict, text in words.items() if verdict in verdicts}
    how: dict[str, Any] = {"title": label, "title_fontsize": 8, "ncols": 2 if n_columns == 1 else 4, "frameon": False}
    figure.legend(key.values(), key.keys(), loc="outside lower center", **how)
    figure.draw_without_rendering()  # so that everything has its place when the figure is cut
    return figure


def _dot(axes: Axes, x: float, y: float, verdict: str) -> Line2D:
    """Draw a difference: full where a test tells it from the best, the best itself as a diamond."""
    how: dict[str, Any] = {"color": _INK, "marker": "D"} if verdict == "best" else {"color": _ACCENT, "marker": "o"}
    face = {"tie": "white", "untestable": "#c9d3e2"}.get(verdict, how["color"])
    return axes.plot([x], [y], linestyle="none", markersize=4, markerfacecolor=face, zorder=3, **how)[0]


def heat_map(table: Table) -> Figure:
    """Draw a table whose places have values: text with its aside, the best in bold, colours from low to high.

    Below it stands what its marks mean.
    """
    rows = [row[table.n_labels :] for row in table.rows]
    width = min(1.05 * max(len(rows[0]), 2), WIDTH_INCH - 1.5)
    _, of_columns, of_rows = HEAT_MAPS[table.stem]
    figure, axes = _canvas(width, 0.36 * len(rows), re.sub(r"^Table [0-9]+[.] ", "", table.title), pad=32)
    values = np.array([[entry.value for entry in row] for row in rows], dtype=float)
    axes.pcolormesh(np.ma.masked_invalid(values), cmap="cividis_r", alpha=0.5, edgecolors="white", linewidth=1.5)
    for y, x in np.ndindex(values.shape):
        entry = rows[y][x]
        how: dict[str, Any] = {"ha": "center", "va": "center", "color": _MUTED if np.isnan(values[y, x]) else _INK}
        weight = "bold" if entry.bold else "normal"
        axes.text(x + 0.5, y + (0.32 if entry.aside else 0.5), _plain(entry.text), fontweight=weight, **how)
        if entry.aside:
            axes.text(x + 0.5, y + 0.72, _plain(entry.aside), size=SMALL, **how)
    axes.set_ylim(len(rows), 0)
    axes.spines[:].set_visible(False)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(np.arange(len(rows[0])) + 0.5, [_plain(name) for name in table.header[table.n_labels :]])
    labels = [_plain(" ".join(entry.text for entry in row[: table.n_labels])) for row in table.rows]
    axes.set_yticks(np.arange(len(rows)) + 0.5, labels)
    axes.set(xlabel=of_columns, ylabel=of_rows)
    explained = *VERDICT_NOTES.values(), *MARK_NOTES.values(), *CHANCE_MARKS.values()
    notes = [note for note in table.notes if note in explained or note.startswith(("In brackets:", "Bold:", "Rows"))]
    lines = [line for note in notes for line in textwrap.wrap(_plain(note, 400), int(20 * width))]
    _explain(axes, "\n".join(lines), -6)
    return figure


def curve_figure(curves: Sequence[Curve]) -> Figure:
    """Draw learning curves: a plot per pair of corpora, a line per classifier with its interval, chance dotted."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    pairs = list(dict.fromkeys(curve.pair for curve in curves))
    n_columns = min(3, len(pairs))
    n_rows = -(-len(pairs) // n_columns)
    figure = Figure(figsize=(2.2 * n_columns, 1.7 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    for axes, pair in itertools.zip_longest(grid.flat, pairs):
        if pair is None:
            axes.set_visible(False)
            continue
        axes.axhline(curves[0].setup.chance, color=_MUTED, linewidth=0.8, linestyle=":", label="chance")
        of_pair = [curve for curve in curves if curve.pair == pair]
        for curve, (colour, dashes) in zip(of_pair, itertools.cycle(_LINES)):
            x, uars, low, high = zip(*curve.drawn, strict=True)
            axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
            how: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3, "linewidth": 1.2}
            how["label"] = _plain(f"{' '.join(curve.row)}{curve.weight}")
            axes.plot(x, uars, dashes, **how)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_title(_plain(f"{pair[0]} → {pair[1]}"))
    how = {
        "title": "k: utterances of the test corpus that train too",
        "title_fontsize": 8,
        "ncols": 3,
        "frameon": False,
    }
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", **how)
    figure.supylabel("UAR, with 95 % intervals over speakers", size=8)
    figure.draw_without_rendering()  # so that everything has its place when the figure is cut
    return figure


def rank_diagram(ranks: Ranking, title: str) -> Figure:
    """Draw mean ranks; a bar joins methods that Nemenyi's test cannot tell apart (Demsar, 2006)."""
    order = sorted(ranks.mean_ranks.items(), key=lambda item: (item[1], item[0]))
    values = [rank for _, rank in order]
    figure, axes = _canvas(3.4, 0.19 * len(order), f"Ranks by {title}")
    axes.hlines(range(len(order)), 1, values, color="#dcdfe3", linewidth=0.5)
    axes.plot(values, range(len(order)), "o", color=_INK, markersize=4)
    for i, (first, last) in enumerate(alike(values, ranks.critical_difference)):
        x = len(order) + 0.5 + 0.35 * i
        axes.plot([x, x], [first - 0.2, last + 0.2], color=_ACCENT, linewidth=2, clip_on=False)
    axes.set_yticks(range(len(order)), [_plain(name) for name, _ in order])
    label = f"mean rank over {ranks.n_corpora} corpora (1 is best)"
    axes.set(xlim=(1, len(order)), ylim=(len(order) - 0.5, -0.5), xlabel=label, ylabel="feature set and classifier")
    apart = f"critical difference {ranks.critical_difference:.2f}, Nemenyi, p > {ALPHA}"
    _explain(axes, f"Bars join what cannot be told apart ({apart}).", -28)
    return figure


def alike(values: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Find the longest runs of ascending ranks within a difference: places of the first and the last of each.

    >>> alike([1.0, 1.5, 2.4, 4.0], 1.0)
    [(0, 1), (1, 2)]
    """
    runs: list[tuple[int, int]] = []
    for first, value in enumerate(values):
        last = max(i for i, other in enumerate(values) if other - value <= difference)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def _canvas(width: float, height: float, title: str, pad: float | None = None) -> tuple[Figure, Axes]:
    """Return axes of a size in inches, whatever is around them, with their figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.tick_params(length=0)
    axes.set_title(textwrap.fill(_plain(title, 160), max(40, int(width / LETTER_INCH))), pad=pad)
    return figure, axes


def _explain(axes: Axes, text: str, offset: float) -> None:
    """Write below the axes, by an offset in points, what marks mean."""
    how: dict[str, Any] = {"textcoords": "offset points", "va": "top", "size": SMALL, "color": _MUTED}
    axes.annotate(text, (0, 0), xytext=(0, offset), xycoords="axes fraction", **how)


def _plain(text: str, at_most: int = 80) -> str:
    """Put a space for control characters and halves of characters, which no XML may hold, and shorten the rest."""
    clean = re.sub("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff\\ufffe\\uffff]", " ", text)
    return clean if len(clean) <= at_most else f"{clean[: at_most - 3]}..."
