"""The figures of a report as SVG and PDF: heat maps, confusion matrices, speakers, class balance, mean ranks.

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
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serbench.corpora.entry import EMOTIONS
from serbench.progress import Progress, silent
from serbench.report.colours import ink, scale, step_in, step_of
from serbench.report.comparisons import ranking
from serbench.report.details import people_stack
from serbench.report.matrices import Place, in_corpus_order
from serbench.report.plots import Plot, plots
from serbench.report.table import Table
from serbench.report.tables import TITLES, Indexed
from serbench.report.views import Block, Score, View, blocks, read_scores, views
from serbench.scores.metrics import uar_of_present
from serbench.scores.outcomes import CellOutcomes, Outcome
from serbench.scores.statistics import SHARES, Ranking
from serbench.store.files import write_bytes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from serbench.report import Report

Draw = Callable[[], "Figure"]

FOLDER = "figures"
"""Where in the report they stand."""

LOOK: dict[Any, Any] = {  # whose keys matplotlib's own types list one by one
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "serbench",
    "pdf.fonttype": 42,
}
_INK, _MUTED, _ACCENT, _BAR, _BAND = "#1b1f26", "#59616d", "#24508f", "#b9cfe4", "#dbe4ee"
_COLOURS = scale("light")
_LINES = ((_ACCENT, "-"), ("#9a4a00", "--"), ("#2f6b3a", ":"), ("#6d3a8c", "-."))
_METADATA = {"svg": {"Date": None, "Creator": "serbench"}, "pdf": {"CreationDate": None, "Creator": "serbench"}}


def write_figures(
    report: Report, folder: Path, *, only: Collection[str] | None = None, progress: Progress = silent
) -> list[Path]:
    """Write figures of a report as SVG and PDF, all or some.

    Parameters
    ----------
    folder : the folder of the report.
    only : names of those to draw; None for all. Those that this report does not have are passed over.

    Returns
    -------
    the files that were written.
    """
    written: list[Path] = []
    drawn = (
        {} if only == set() else {name: draw for name, draw in figures(report).items() if only is None or name in only}
    )
    if not drawn:
        return written
    with drawing():
        for done, (name, draw) in enumerate(drawn.items(), 1):
            for ending, content in to_files(draw()).items():
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


def to_files(figure: Figure) -> dict[str, bytes]:
    """Return a figure as files by ending, cut to what is drawn, without the time at which they were made."""
    bounds = figure.get_tightbbox().padded(0.05)  # once for all, as it takes as long as drawing
    files = {}
    for ending, metadata in _METADATA.items():
        content = io.BytesIO()
        figure.savefig(content, format=ending, bbox_inches=bounds, metadata=metadata)
        files[ending] = content.getvalue()
    return files


def figures(report: Report) -> dict[str, Draw]:
    """Return what draws each figure of a report, by a name of safe characters."""
    wanted: list[tuple[str, Draw]] = []
    for i, block in enumerate(blocks(report.compared, report.tables)):
        variant = f"variant{i + 1}-" if i else ""
        found = views(block, report.scores)
        wanted += [(f"heatmap-{variant}{v.metric}-{v.rule}", functools.partial(heat_map, v)) for v in found]
        wanted += [(f"ranks-{variant}{metric}", draw) for metric, draw in _rank_diagrams(block)]
        for place, cell in in_corpus_order(block.matrix):
            of_cell = report.scores[report.scores["provenance"] == cell.provenance.key]
            name = f"{variant}{place[2]}-{place[0]}-{place[1]}"
            wanted += [(f"{kind}-{name}", draw) for kind, draw in _of_cell(place, cell, of_cell)]
    for table in (table for table in report.tables if table.values is not None):
        name = f"heatmap-{table.stem}-{table.title.partition(': ')[2]}"
        wanted.append((name, functools.partial(table_heat_map, table)))
    wanted += [
        (f"curves-{setup.title}", functools.partial(curve_figure, of)) for setup, of in plots(report.curves).items()
    ]
    wanted += [(f"balance-{corpus.name}", functools.partial(balance_figure, corpus)) for corpus in report.indexes]
    return dict(zip(file_names([name for name, _ in wanted]), [draw for _, draw in wanted], strict=True))


def _rank_diagrams(block: Block) -> Iterator[tuple[str, Draw]]:
    """Only where there are corpora enough; Table 2 says so where there are not."""
    for metric in SHARES:
        ranks = ranking(block.matrix, metric)
        if ranks and ranks.can_be_drawn:
            yield metric, functools.partial(rank_diagram, ranks, metric)


def _of_cell(place: Place, cell: CellOutcomes, scores: pd.DataFrame) -> Iterator[tuple[str, Draw]]:
    outcome = cell.headline or cell.outcomes["default"]
    rule = outcome.rule
    title = f"{place[2]}, {place[0]}, {place[1]} ({rule})"
    yield "confusion", functools.partial(confusion_figure, cell, outcome, title)
    yield "speakers", functools.partial(people_figure, cell, outcome, read_scores(scores)[rule, "uar"], title)


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


def heat_map(view: View) -> Figure:
    """Draw a view of a matrix: values with intervals and marks, the best of each corpus in bold."""
    matrix = view.matrix
    axes = _axes(1.1 * max(len(matrix.corpora), 2), 0.32 * len(matrix.rows))
    _draw_steps(axes, [[shown.step for shown in row] for row in view.rows])
    for y, row in enumerate(view.rows):
        for x, shown in enumerate(row):
            colour = _MUTED if shown.step is None else ink(_COLOURS[shown.step])
            weight = "bold" if shown.best else "normal"
            number = f"{shown.text} {shown.mark}".strip()
            _write_in(axes, (x, y - (0.15 if shown.interval else 0)), number, color=colour, weight=weight)
            _write_in(axes, (x, y + 0.24), shown.interval, color=colour, size=5.5)
    _label(axes, matrix.corpora, [" ".join(labels) for labels in view.labels])
    axes.set_title(_plain(view.caption), pad=18)
    return _figure(axes)


def table_heat_map(table: Table) -> Figure:
    """Draw a table whose places have colours, such as who trains (rows) whom (columns); the diagonal has a frame."""
    from matplotlib.patches import Rectangle

    columns = table.header[table.n_labels :]
    axes = _axes(1.0 * len(columns), 0.32 * len(table.rows))
    places = [row[table.n_labels :] for row in table.rows]
    _draw_steps(axes, [[step_in(table, entry) for entry in row] for row in places])
    for y, row in enumerate(places):
        for x, entry in enumerate(row):
            step = step_in(table, entry)
            colour = _MUTED if step is None else ink(_COLOURS[step])
            _write_in(axes, (x, y - (0.15 if entry.aside else 0)), entry.text, color=colour)
            _write_in(axes, (x, y + 0.24), entry.aside, color=colour, size=5.5)
            if entry.bold:
                axes.add_patch(Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, fill=False, edgecolor=colour, linewidth=1.2))
    _label(axes, columns, [" ".join(entry.text for entry in row[: table.n_labels]) for row in table.rows])
    axes.set_title(_plain(table.title), pad=18)
    return _figure(axes)


def curve_figure(of: Sequence[Plot]) -> Figure:
    """Draw learning curves: one plot a pair of corpora, a line a classifier with its interval, chance dotted."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_columns = min(3, len(of))
    n_rows = -(-len(of) // n_columns)
    figure = Figure(figsize=(2.2 * n_columns, 1.7 * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    for axes, plot in itertools.zip_longest(grid.flat, of):
        if plot is None:
            axes.set_visible(False)
            continue
        _draw_curves(axes, plot)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.supylabel("UAR", size=8)
    figure.draw_without_rendering()  # so that everything has its place when the figure is cut
    return figure


def _draw_curves(axes: Axes, plot: Plot) -> None:
    places = range(len(plot.numbers))
    axes.axhline(plot.setup.chance, color=_MUTED, linewidth=0.8, linestyle=":", label="chance")
    for line, (colour, dashes) in zip(plot.lines, itertools.cycle(_LINES)):
        x = [plot.numbers.index(point.k) for point in line.points]
        low, high = [p.low for p in line.points], [p.high for p in line.points]
        axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
        values = [point.uar for point in line.points]
        axes.plot(x, values, dashes, color=colour, marker="o", markersize=3, linewidth=1.2, label=_plain(line.name))
    axes.set_xticks(places, [str(k) for k in plot.numbers])
    axes.set_ylim(plot.low, plot.high)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(_plain(plot.title))


def confusion_figure(cell: CellOutcomes, outcome: Outcome, title: str) -> Figure:
    """Draw a confusion matrix: rows are the truth; shares of the row, and counts below."""
    _, stack = people_stack(cell, outcome)
    counts = stack.sum(axis=0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    n = len(cell.emotions)
    axes = _axes(0.72 * n, 0.45 * n)
    steps = [[step_of(float(share), 0, 1) for share in row] for row in shares]
    _draw_steps(axes, steps)
    for y, x in np.ndindex(n, n):
        colour = ink(_COLOURS[steps[y][x]])
        _write_in(axes, (x, y - 0.15), f"{100 * shares[y, x]:.0f} %", color=colour)
        _write_in(axes, (x, y + 0.24), str(counts[y, x]), color=colour, size=6)
    _label(axes, cell.emotions, cell.emotions)
    axes.set_title(_plain(title), pad=18)
    axes.set_ylabel("truth")
    return _figure(axes)


def people_figure(cell: CellOutcomes, outcome: Outcome, score: Score, title: str) -> Figure:
    """Draw the UAR of each speaker as a dot, the value of the pool as a line, and its interval as a band."""
    names, stack = people_stack(cell, outcome)
    values = [uar_of_present(of) for of in stack]
    order = sorted(range(len(names)), key=lambda i: (-values[i], names[i]))
    axes = _axes(3.2, 0.17 * len(names) + 0.1)
    if score.interval:
        axes.axvspan(*score.interval.ends, color=_BAND, linewidth=0)
    axes.axvline(score.value, color=_ACCENT, linewidth=1.2)
    axes.hlines(range(len(names)), 0, 1, color="#dcdfe3", linewidth=0.5, zorder=0.9)
    axes.plot([values[i] for i in order], range(len(names)), "o", color=_INK, markersize=4, clip_on=False)
    axes.set_yticks(range(len(names)), [_plain(names[i].partition("/")[2] or names[i]) for i in order])
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), xlabel=f"UAR per {cell.person}")
    axes.set_title(_plain(title))
    return _figure(axes)


def balance_figure(corpus: Indexed) -> Figure:
    """Draw how many utterances of each emotion a corpus has."""
    counts = corpus.index["emotion"].value_counts()
    emotions = [emotion for emotion in EMOTIONS if counts.get(emotion, 0)]
    axes = _axes(2.6, 0.19 * max(len(emotions), 1))
    bars = axes.barh(range(len(emotions)), [int(counts[e]) for e in emotions], color=_BAR, height=0.72)
    axes.bar_label(bars, padding=3, color=_INK)
    axes.set_yticks(range(len(emotions)), list(emotions))
    axes.set_ylim(len(emotions) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("utterances")
    axes.set_title(_plain(corpus.name))
    return _figure(axes)


def rank_diagram(ranks: Ranking, metric: str) -> Figure:
    """Draw mean ranks; a bar joins methods that Nemenyi's test cannot tell apart (Demsar, 2006)."""
    order = sorted(ranks.mean_ranks.items(), key=lambda item: (item[1], item[0]))
    values = [rank for _, rank in order]
    axes = _axes(3.4, 0.19 * len(order))
    axes.hlines(range(len(order)), 1, values, color="#dcdfe3", linewidth=0.5)
    axes.plot(values, range(len(order)), "o", color=_INK, markersize=4)
    for i, (first, last) in enumerate(alike(values, ranks.critical_difference)):
        x = len(order) + 0.5 + 0.35 * i
        axes.plot([x, x], [first - 0.2, last + 0.2], color=_ACCENT, linewidth=2, clip_on=False)
    axes.set_yticks(range(len(order)), [_plain(name) for name, _ in order])
    label = f"mean rank over {ranks.n_corpora} corpora; critical difference {ranks.critical_difference:.2f}"
    axes.set(xlim=(1, len(order)), ylim=(len(order) - 0.5, -0.5), xlabel=label)
    axes.set_title(_plain(f"Ranks by {TITLES[metric]}"))
    return _figure(axes)


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


def _axes(width: float, height: float) -> Axes:
    """Axes of a size in inches, whatever stands around them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
    return axes


def _figure(axes: Axes) -> Figure:
    from matplotlib.figure import Figure

    figure = axes.get_figure()
    if not isinstance(figure, Figure):
        raise TypeError(f"{figure} is part of another figure")
    return figure


def _draw_steps(axes: Axes, steps: Sequence[Sequence[int | None]]) -> None:
    """Draw rectangles of the colours of steps; None is left white."""
    from matplotlib.patches import Rectangle

    for y, row in enumerate(steps):
        for x, step in enumerate(row):
            colour = "#ffffff" if step is None else _COLOURS[step]
            axes.add_patch(Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, facecolor=colour, linewidth=0))
    axes.set(xlim=(-0.5, len(steps[0]) - 0.5), ylim=(len(steps) - 0.5, -0.5))
    axes.spines[:].set_visible(False)


def _write_in(axes: Axes, place: tuple[float, float], text: str, **how: Any) -> None:
    if text:
        axes.text(*place, text, ha="center", va="center", **how)


def _label(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(columns)), [_plain(name) for name in columns])
    axes.set_yticks(range(len(rows)), [_plain(name) for name in rows])


def _plain(text: str) -> str:
    """Put a space for control characters and halves of characters, which no XML may hold, and shorten the rest."""
    clean = re.sub("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff\\ufffe\\uffff]", " ", text)
    return clean if len(clean) <= 80 else f"{clean[:77]}..."
