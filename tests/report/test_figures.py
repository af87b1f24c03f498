"""The figures of a report: what is drawn is what was measured, and the files are sound and the same each time."""

import re
from xml.etree import ElementTree

import pytest

from serbench.report.figures import alike, drawing, figures, rank_diagram, to_files, write_figures
from serbench.scores.statistics import rank_over

HOSTILE = "a$b_$ <x> & \x07 % ../\\ \N{GREEK SMALL LETTER PI}"


def heat_map_of(report, stem):
    (name,) = [name for name in figures(report) if name.startswith(f"heatmap-{stem}-")]
    return figures(report)[name]()


def test_every_figure_is_written_as_svg_and_pdf(made_up_report):
    report, store = made_up_report(corpora=["alpha"], features=["sound"], classifiers=["svc"])
    written = write_figures(report, store.report)
    assert set(written) == set((store.report / "figures").iterdir())
    coloured = [table for table in report.tables if table.values and table.stem != "confusion"]
    assert {"table2-uar", "table2-war", "table2-kappa"} <= {table.stem for table in coloured}
    assert len(written) == 2 * len(coloured)
    for path in written:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        else:
            assert path.read_bytes().startswith(b"%PDF-")


def test_figures_are_the_same_bytes_each_time_and_their_text_is_text(made_up_report):
    report, _ = made_up_report()
    with drawing():
        first, second = (to_files(heat_map_of(report, "table2-uar")) for _ in range(2))
    assert first == second
    assert not re.search(rb"CreationDate|<dc:date>", first["svg"] + first["pdf"])
    assert b"alpha</text>" in first["svg"]


def test_heat_map_shows_table_2(made_up_report):
    report, _ = made_up_report()
    with drawing():
        figure = heat_map_of(report, "table2-uar")
    (table,) = report.of("table2-uar")
    entries = [entry for row in table.rows for entry in row[2:]]
    shown = iter(figure.axes[0].texts)
    for entry in entries:
        text = next(shown)
        assert text.get_text() == entry.text
        assert (text.get_fontweight() == "bold") == entry.bold
        assert not entry.aside or next(shown).get_text() == entry.aside
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{row[0].text} {row[1].text}" for row in table.rows]


def test_hostile_names_are_drawn_as_text_into_safe_files(made_up_report):
    names = [HOSTILE, HOSTILE.upper()]
    report, _ = made_up_report(corpora=names[:1], features=names, classifiers=["svc"], speakers=["f$", "m<"])
    drawn = figures(report)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in drawn)
    assert len({name.casefold() for name in drawn}) == len(drawn)
    with drawing():
        svg = ElementTree.fromstring(to_files(heat_map_of(report, "table2-uar"))["svg"])
    assert HOSTILE.replace("\x07", " ") in "".join(svg.itertext())


def test_mean_ranks_are_drawn_from_eight_corpora_on(made_up_report):
    few, _ = made_up_report(classifiers=["svc", "knn", "mlp"])
    assert not [name for name in figures(few) if name.startswith("ranks")]
    corpora = [f"corpus{i}" for i in range(8)]
    many, _ = made_up_report(corpora=corpora, speakers=["f1", "m1", "m2"], classifiers=["svc", "knn"])
    with drawing():
        (axes,) = next(draw for name, draw in figures(many).items() if name.startswith("ranks-UAR"))().axes
    dots = next(line for line in axes.lines if line.get_marker() == "o").get_xdata()
    assert list(dots) == sorted(dots)
    assert sum(dots) == pytest.approx(4 * 5 / 2)


def test_bars_of_the_rank_diagram_join_what_cannot_be_told_apart():
    assert alike([1.0, 2.0, 3.0, 4.5], 1.5) == [(0, 1), (1, 2), (2, 3)]
    assert alike([1.0, 4.0], 1.0) == []
    ranks = rank_over({name: [value] * 8 for name, value in (("a", 0.9), ("b", 0.5), ("c", 0.1))})
    with drawing():
        (axes,) = rank_diagram(ranks, "uar").axes
    joined = [line.get_ydata().tolist() for line in axes.lines if line.get_marker() != "o"]
    assert len(joined) == len(alike(sorted(ranks.mean_ranks.values()), ranks.critical_difference))


def test_drawing_leaves_the_look_of_other_plots_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with drawing():
        assert matplotlib.rcParams["svg.hashsalt"] == "serbench"
    assert dict(matplotlib.rcParams) == before
