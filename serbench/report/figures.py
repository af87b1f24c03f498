"""The figures of a report as SVG and PDF: heat maps of its tables, learning curves, and mean ranks.

Drawn by matplotlib through `Figure` alone, so that nothing of a user's own plots is touched. Text stays text: it can be
selected, and a `$` in a name is a `$`. The same report gives the same bytes. Sizes are those of a column of a journal.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serbench.report.across import Curve
from serbench.report.table import Table
from serbench.scores.statistics import SHARES, Ranking
from serbench.store.files import write_bytes
from serbench.workspace import Progress, silent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from serbench.report import Report

FOLDER = "figures"
"""Where in the report they are."""

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
    for table in report.tables:
        if table.values and table.stem != "confusion":
            name = f"heatmap-{table.stem}-{table.title.partition(': ')[2]}"
            wanted.append((name, functools.partial(heat_map, table)))
    for title, of in itertools.groupby(report.curves, key=lambda curve: curve.setup.title):
        wanted.append((f"curves-{title}", functools.partial(curve_figure, list(of))))
    for matrix, metric in itertools.product(report.matrices, SHARES):
        ranks = matrix.ranking(metric)
        if ranks and ranks.can_be_drawn:  # Table 2 gives the reason where there is no diagram
            title = f"{metric.upper()}: {matrix.setup.title}"
            wanted.append((f"ranks-{title}", functools.partial(rank_diagram, ranks, title)))
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


def heat_map(table: Table) -> Figure:
    """Draw a table whose places have values: text with its aside, the best in bold, colours from low to high."""
    rows = [row[table.n_labels :] for row in table.rows]
    figure, axes = _canvas(1.05 * max(len(rows[0]), 2), 0.32 * len(rows), table.title, pad=18)
    values = np.array([[entry.value for entry in row] for row in rows], dtype=float)
    axes.pcolormesh(np.ma.masked_invalid(values), cmap="cividis_r", alpha=0.5, edgecolors="white", linewidth=1.5)
    for y, x in np.ndindex(values.shape):
        entry = rows[y][x]
        how: dict[str, Any] = {"ha": "center", "va": "center", "color": _MUTED if np.isnan(values[y, x]) else _INK}
        weight = "bold" if entry.bold else "normal"
        axes.text(x + 0.5, y + (0.36 if entry.aside else 0.5), _plain(entry.text), fontweight=weight, **how)
        if entry.aside:
            axes.text(x + 0.5, y + 0.74, _plain(entry.aside), size=5.5, **how)
    axes.set_ylim(len(rows), 0)
    axes.spines[:].set_visible(False)
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(len(rows[0])) + 0.5, [_plain(name) for name in table.header[table.n_labels :]])
    labels = [_plain(" ".join(entry.text for entry in row[: table.n_labels])) for row in table.rows]
    axes.set_yticks(np.arange(len(rows)) + 0.5, labels)
    return figure


def curve_figure(curves: Sequence[Curve]) -> Figure:
    """Draw learning curves: a plot per pair of corpora, a line per classifier with its interval, chance dotted."""
    from matplotlib.figure import Figure

    pairs = list(dict.fromkeys(curve.pair for curve in curves))
    numbers = sorted({k for curve in curves for k in curve.points})  # at equal distances
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
            numbers_drawn, uars, low, high = zip(*curve.drawn, strict=True)
            x = [numbers.index(k) for k in numbers_drawn]
            axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
            how: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3, "linewidth": 1.2}
            how["label"] = _plain(f"{' '.join(curve.row)}{curve.weight}")
            axes.plot(x, uars, dashes, **how)
        axes.set_xticks(range(len(numbers)), [str(k) for k in numbers])
        axes.set_title(_plain(f"{pair[0]} → {pair[1]}"))
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.supylabel("UAR", size=8)
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
    label = f"mean rank over {ranks.n_corpora} corpora; critical difference {ranks.critical_difference:.2f}"
    axes.set(xlim=(1, len(order)), ylim=(len(order) - 0.5, -0.5), xlabel=label)
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
    axes.set_title(_plain(title), pad=pad)
    return figure, axes


def _plain(text: str) -> str:
    """Put a space for control characters and halves of characters, which no XML may hold, and shorten the rest."""
    clean = re.sub("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff\\ufffe\\uffff]", " ", text)
    return clean if len(clean) <= 80 else f"{clean[:77]}..."
