"""The figures of a report: what is drawn is what was measured, and the files are sound and the same each time."""

import re
from xml.etree import ElementTree

import pytest
from matplotlib.text import Text

from serbench.report.figures import alike, drawing, figures, rank_diagram, to_files, write_figures
from serbench.scores.statistics import rank_over

HOSTILE = "a$b_$ <x> & \x07 % ../\\ \N{GREEK SMALL LETTER PI}"


def drawn_as(report, start):
    (name,) = [name for name in figures(report) if name.startswith(start)]
    return figures(report)[name]()


def test_every_figure_is_written_as_svg_and_pdf(made_up_report):
    report, store = made_up_report(corpora=["alpha"], features=["sound"], classifiers=["svc"])
    written = write_figures(report, store.report)
    assert set(written) == set((store.report / "figures").iterdir())
    assert [path.stem.partition("-within")[0] for path in written] == ["uar", "uar"]
    for path in written:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        else:
            assert path.read_bytes().startswith(b"%PDF-")


def test_figures_are_the_same_bytes_each_time_and_their_text_is_text(made_up_report):
    report, _ = made_up_report()
    with drawing():
        first, second = (to_files(drawn_as(report, "uar-")) for _ in range(2))
    assert first == second
    assert not re.search(rb"CreationDate|<dc:date>", first["svg"] + first["pdf"])
    assert b"alpha</text>" in first["svg"]


def test_heat_map_shows_table_2(made_up_report):
    report, _ = made_up_report()
    with drawing():
        figure = drawn_as(report, "uar-")
    (table,) = report.of("table2-uar")
    entries = [entry for row in table.rows for entry in row[2:]]
    shown = iter(figure.axes[0].texts)
    assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("corpus", "feature set and classifier")
    for entry in entries:
        text = next(shown)
        assert text.get_text() == entry.text
        assert (text.get_fontweight() == "bold") == entry.bold
        assert not entry.aside or next(shown).get_text() == entry.aside
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{row[0].text} {row[1].text}" for row in table.rows]


def test_differences_are_drawn_with_their_intervals_and_the_best_on_top(made_up_report):
    report, _ = made_up_report(classifiers=["svc", "knn", "dummy"])
    with drawing():
        figure = drawn_as(report, "differences-to-best-")
    assert "UAR of a cell minus UAR of the best cell" in figure.legends[0].get_title().get_text()
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7
    assert figure.get_figwidth() <= 7.2
    uar = report.scores.query("metric == 'uar' and rule == 'nested'")
    for axes, corpus in zip(figure.axes, ("alpha", "beta"), strict=True):
        of = uar[(uar["corpus"] == corpus) & (uar["classifier"] != "dummy")].sort_values("value", ascending=False)
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert sorted(names) == sorted(of["classifier"] + " on " + of["features"])
        assert names[0] == f"{of['classifier'].iloc[0]} on {of['features'].iloc[0]}"
        dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
        expected = (of["value"] - of["value"].max())[1:]
        assert [x for x in dots if x == x] == pytest.approx(expected.tolist())
        assert axes.get_title("left").startswith(f"{corpus}\nbest: {of['value'].max():.3f} [")


def test_hostile_names_are_drawn_as_text_into_safe_files(made_up_report):
    names = [HOSTILE, HOSTILE.upper()]
    report, _ = made_up_report(corpora=names[:1], features=names, classifiers=["svc"], speakers=["f$", "m<"])
    drawn = figures(report)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in drawn)
    assert len({name.casefold() for name in drawn}) == len(drawn)
    with drawing():
        svg = ElementTree.fromstring(to_files(drawn_as(report, "uar-"))["svg"])
    assert HOSTILE.replace("\x07", " ") in "".join(svg.itertext())


def test_mean_ranks_are_drawn_from_eight_corpora_on(made_up_report):
    few, _ = made_up_report(classifiers=["svc", "knn", "mlp"])
    assert not [name for name in figures(few) if name.startswith("mean-ranks")]
    corpora = [f"corpus{i}" for i in range(8)]
    many, _ = made_up_report(corpora=corpora, speakers=["f1", "m1", "m2"], classifiers=["svc", "knn"])
    with drawing():
        (axes,) = next(draw for name, draw in figures(many).items() if name.startswith("mean-ranks-UAR"))().axes
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
