"""The figures of a report: what is drawn is what was measured, and the files are sound and the same each time."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from serbench.report.colours import scale
from serbench.report.details import people_stack
from serbench.report.figures import alike, drawing, figures, rank_diagram, to_files, write_figures
from serbench.scores.statistics import rank_over

HOSTILE = "a$b_$ <x> & \x07 % ../\\ \N{GREEK SMALL LETTER PI}"


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_figure_is_written_as_svg_and_pdf(made_up_report):
    report, store = made_up_report(features=["sound"])
    written = write_figures(report, store.report)
    assert set(written) == set((store.report / "figures").iterdir())
    names = {path.stem for path in written}
    assert len(written) == 2 * len(names) == 2 * (18 + 2 * 4 + 2)
    expected = {"heatmap-uar-nested", "heatmap-kappa-oracle", "confusion-alpha-sound-svc", "speakers-beta-sound-knn"}
    assert expected | {"balance-alpha"} <= names
    for path in written:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        else:
            assert path.read_bytes().startswith(b"%PDF-")


def test_figures_are_the_same_bytes_each_time_and_their_text_is_text(made_up_report):
    report, _ = made_up_report()
    chosen = ["heatmap-uar-nested", "confusion-alpha-sound-svc", "speakers-alpha-sound-svc", "balance-alpha"]
    with drawing():
        for name in chosen:
            first, second = (to_files(figures(report)[name]()) for _ in range(2))
            assert first == second
            assert not re.search(rb"CreationDate|<dc:date>", first["svg"] + first["pdf"])
            assert b"alpha</text>" in first["svg"] or b"alpha, sound, svc (nested)</text>" in first["svg"]


def test_heat_map_shows_table_2(made_up_report):
    report, _ = made_up_report()
    with drawing():
        figure = figures(report)["heatmap-uar-nested"]()
    (table,) = report.of("table2-uar")
    entries = [entry for row in table.rows[1:] for entry in row[2:]]
    marks = [entry.aside.partition("]")[2].strip() for entry in entries]
    values = [f"{entry.text} {mark}".strip() for entry, mark in zip(entries, marks, strict=True)]
    assert texts(figure)[::2] == values
    assert texts(figure)[1::2] == [
        entry.aside.removesuffix(mark).strip() for entry, mark in zip(entries, marks, strict=True)
    ]
    assert [t.get_fontweight() == "bold" for t in figure.axes[0].texts[::2]] == [entry.bold for entry in entries]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [
        f"{row[0].text} {row[1].text}" for row in table.rows[1:]
    ]


def test_confusion_matrix_shows_counts_and_shares(made_up_report):
    report, _ = made_up_report()
    cell = report.compared[0][0].cells["sound", "svc", "alpha"]
    counts = people_stack(cell, cell.outcomes["nested"])[1].sum(axis=0)
    with drawing():
        figure = figures(report)["confusion-alpha-sound-svc"]()
    assert texts(figure)[1::2] == [str(n) for n in counts.ravel()]
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert texts(figure)[::2] == [f"{100 * share:.0f} %" for share in shares.ravel()]


def test_dots_are_the_speakers_and_the_band_is_the_interval(made_up_report):
    report, _ = made_up_report()
    with drawing():
        (axes,) = figures(report)["speakers-alpha-sound-svc"]().axes
    confusion = report.long["scores"].set_index(["corpus", "features", "classifier", "rule", "metric"])
    score = confusion.loc[("alpha", "sound", "svc", "nested", "uar")]
    cell = report.compared[0][0].cells["sound", "svc", "alpha"]
    names, stack = people_stack(cell, cell.outcomes["nested"])
    recall = {name: np.mean(np.diag(of) / of.sum(axis=1)) for name, of in zip(names, stack, strict=True)}
    dots = next(line for line in axes.lines if line.get_marker() == "o").get_xdata()
    labels = [f"alpha/{label.get_text()}" for label in axes.get_yticklabels()]
    np.testing.assert_allclose(dots, [recall[name] for name in labels])
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == (pytest.approx(score["low"]), pytest.approx(score["high"]))


def test_bars_are_the_utterances_of_each_emotion(made_up_report):
    report, _ = made_up_report()
    with drawing():
        (axes,) = figures(report)["balance-alpha"]().axes
    assert [bar.get_width() for bar in axes.patches] == [24, 24, 24]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["anger", "happiness", "neutral"]


def test_hostile_names_are_drawn_as_text_into_safe_files(made_up_report):
    names = [HOSTILE, HOSTILE.upper()]
    report, _ = made_up_report(corpora=names[:1], features=names, classifiers=["svc"], speakers=["f$", "m<"])
    drawn = figures(report)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in drawn)
    assert len({name.casefold() for name in drawn}) == len(drawn) == 18 + 2 * 2 + 1
    with drawing():
        for kind in ("heatmap-uar", "confusion", "speakers", "balance"):
            name = next(name for name in drawn if name.startswith(kind))
            svg = ElementTree.fromstring(to_files(drawn[name]())["svg"])
            assert HOSTILE.replace("\x07", " ") in "".join(svg.itertext())


def test_colours_of_the_heat_map_are_those_of_the_page(made_up_report):
    from matplotlib.colors import to_hex

    report, _ = made_up_report()
    with drawing():
        (axes,) = figures(report)["heatmap-war-nested"]().axes
    assert {to_hex(patch.get_facecolor()) for patch in axes.patches} <= set(scale("light"))


def test_mean_ranks_are_drawn_from_eight_corpora_on(made_up_report):
    few, _ = made_up_report(classifiers=["svc", "knn", "mlp"])
    assert not [name for name in figures(few) if name.startswith("ranks")]
    corpora = [f"corpus{i}" for i in range(8)]
    many, _ = made_up_report(corpora=corpora, speakers=["f1", "m1", "m2"], classifiers=["svc", "knn"])
    with drawing():
        (axes,) = figures(many)["ranks-uar"]().axes
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
