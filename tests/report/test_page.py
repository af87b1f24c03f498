"""The page of a report: what its file holds, and what it does in a browser."""

import base64
import hashlib
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import pandas as pd
import pytest
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from serbench.grid.cells import Outside
from serbench.report import write_report
from serbench.report.answers import answers
from serbench.report.page import View, elsewhere, is_said, render_page, without_empty
from serbench.report.table import NOTHING, make_table
from serbench.scores.predictions import without_predictions

HOSTILE = "</script><script>alert('x')</script>"
QUOTED = "z\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}&amp;"
VOID = {"meta", "link", "input", "br", "img"}
OPEN_ENDED = {"thead", "tbody", "tr", "th", "td"}
"""Elements that HTML ends itself."""


class Reading(HTMLParser):
    """A page as its elements, their attributes and its text; elements that do not close are an error."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID | OPEN_ENDED:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return "".join(data for tag, data in self.texts if tag not in ("script", "style"))


def scores_by_cell(report):
    return report.scores.set_index(["corpus", "features", "classifier", "rule", "metric"])["value"]


def test_page_has_every_table_with_its_notes_and_a_sheet_for_every_cell(made_up_report):
    report, _ = made_up_report()
    reading = Reading(render_page(report))
    notes = {note for table in report.of("table2-uar") for note in table.notes}
    for table in (t for t in report.tables if t.stem != "confusion"):
        assert {name.strip() for name in table.title.split(":")} <= {text.strip() for _, text in reading.texts}
        for note in table.notes:
            assert note.partition("rules.md")[0] in reading.text or any(is_said(note, above) for above in notes)
        for row in table.rows:
            for entry in row:
                assert entry.text == NOTHING or entry.text in reading.text
                assert entry.aside in reading.text
    keys = set(report.scores["provenance"])
    assert {of["id"] for of in reading.of("div") if "popover" in of} == {f"cell-{key}" for key in keys}
    assert {of["popovertarget"] for of in reading.of("button")} == {f"cell-{key}" for key in keys}
    assert reading.text.count("Confusion matrix") == len(keys)


def test_title_names_the_corpora_and_the_day(made_up_report):
    report, _ = made_up_report()
    assert "<title>Speech emotion recognition: alpha, beta, 2026-11-21 (serb" in render_page(
        replace(report, made_on="2026-11-21")
    )
    many, _ = made_up_report(corpora=[f"c{i}" for i in range(9)], speakers=["f1", "m1", "m2"], classifiers=["svc"])
    assert "<h1>Speech emotion recognition: 9 corpora</h1>" in render_page(many)


def test_notes_that_tables_of_a_choice_share_are_said_once(made_up_report):
    report, _ = made_up_report()
    page = render_page(report)
    (recall,) = report.of("recall")
    shared = [note for note in recall.notes if note in report.of("table2-uar")[0].notes]
    section = page[page.index('id="section-recall"') : page.index("</details>", page.index('id="section-recall"'))]
    assert [note for note in shared if note in section] == []
    assert [note for note in recall.notes if note not in shared and note not in section] == []


def test_rows_and_columns_without_a_value_are_left_out():
    rows = [["a", "", "–", "0.1"], ["b", "x", "–", "–"], ["c", "", "", "0.0"]]
    table = without_empty(make_table("t", "T", ["", "word", "no", "yes"], rows, n_labels=2))
    assert table.header == ("", "word", "yes")
    assert [[entry.text for entry in row] for row in table.rows] == [["a", "", "0.1"], ["c", "", "0.0"]]


def test_plot_has_the_differences_to_the_best_on_one_scale_and_tooltips_give_them(made_up_report):
    report, _ = made_up_report()
    text = render_page(report)
    uar = report.scores.query("metric == 'uar' and rule == 'nested'").set_index("provenance")
    best = uar.groupby("corpus")["value"].transform("max")
    below = (uar["value"] - best).round(3)
    dots = re.findall(r'<button popovertarget=cell-(\w+)>[^<]*</button>.*?class="dot \w+" style="left:([\d.]+)%', text)
    found = pd.DataFrame(dots, columns=["key", "x"]).set_index("key")["x"].astype(float)
    assert set(found.index) == set(below.index)
    zero, lowest = found[below == 0].unique(), below.idxmin()
    scale = (found[lowest] - zero[0]) / below[lowest]
    assert (found - zero[0] - below * scale).abs().max() < 0.5
    for key, difference in below.items():
        (tip,) = re.findall(rf'data-metric="0" data-rule="0".*?cell-{key} title="([^"]*)"', text, re.DOTALL)
        sheet = text[text.index(f'id="cell-{key}"') :]
        said = f"{difference:+.3f} [" if difference else "the best of "
        assert tip.startswith(said)
        assert tip in sheet[: sheet.index("Confusion matrix")]


def other_task(cell):
    return replace(cell, record=replace(cell.record, cell=replace(cell.record.cell, task="two")))


def test_one_choice_governs_all_sections_and_corpora_with_other_tasks_are_named(made_up_report):
    places = [(f, c, "beta") for f in ("sound", "shape") for c in ("svc", "knn")]
    report, _ = made_up_report(change={place: lambda cell: [other_task(cell)] for place in places})
    first, second = report.matrices
    text = render_page(report)
    reading = Reading(text)
    shows = [of for of in reading.of("input") if of["name"] == "show"]
    assert ["checked" in of for of in shows] == [True, False]
    tables = [of for of in reading.of("div") if of.get("class") == "table"]
    assert {of["data-show"] for of in tables if "data-show" in of} == {"0", "1"}
    assert sum("data-show" not in of for of in tables) == len(report.of("table1"))
    assert [of["for"] for of in reading.of("label") if "for" in of] == ["show-1", "show-0"]
    (answer,) = answers(second)
    assert reading.text.count(answer.sentence) + reading.text.count(answer.sentence.partition(". ")[2]) >= 2


def test_corpora_of_other_tasks_come_with_the_place_of_their_view():
    views = [View("one", "one", "", ("a",)), View("two", "two", "", ("a", "b")), View("two", "three", "", ("c",))]
    assert elsewhere(views[0], views) == [
        (1, "b: no two cells to compare."),
        (2, "c: no two cells to compare."),
    ]
    assert elsewhere(views[1], views) == []


def test_sheets_list_speakers_and_genders_but_not_sentences(made_up_report):
    report, _ = made_up_report()
    speakers = report.long["groups"]
    others = (speakers.assign(by=by, group=f"one {by}") for by in ("gender", "text"))
    reading = Reading(render_page(replace(report, long={**report.long, "groups": pd.concat([speakers, *others])})))
    assert {*speakers["group"], "one gender"} <= {data for tag, data in reading.texts if tag == "table"}
    assert "one text" not in reading.text


def test_page_without_any_result_gives_the_reasons_a_place(made_up_report):
    change = {("sound", "svc", "alpha"): lambda cell: [refused(cell)]}
    report, _ = made_up_report(corpora=["alpha"], features=["sound"], classifiers=["svc"], change=change)
    reading = Reading(render_page(report))
    assert "No cell has a result" in reading.text
    assert not reading.of("fieldset")


def outside(cell):
    record = replace(cell.record, outside=Outside("theirs.csv", "0" * 64, ()))
    predicted, settings = ({"given": of["nested"]} for of in (cell.predicted, cell.settings))
    return replace(cell, record=record, predicted=predicted, settings=settings)


def refused(cell):
    return without_predictions(replace(cell.record, reason="<why>"), "<why>", state="refused")


def without_nested(cell):
    predicted = {rule: codes for rule, codes in cell.predicted.items() if rule != "nested"}
    return replace(cell, predicted=predicted, reasons={"nested": "too few groups"})


def test_missing_values_stay_missing_and_nested_gives_way_to_default(made_up_report):
    change = {
        ("sound", "svc", "alpha"): lambda cell: [],
        ("sound", "knn", "alpha"): lambda cell: [refused(cell)],
        ("shape", "svc", "alpha"): lambda cell: [without_nested(cell)],
        ("shape", "svc", "beta"): lambda cell: [outside(cell)],
    }
    report, _ = made_up_report(change=change)
    page = render_page(report)
    reading = Reading(page)
    assert "never heard the speakers" not in page
    assert {"–", "svc†"} <= {data for _, data in reading.texts}
    assert any("°" in data for tag, data in reading.texts if tag == "button")
    assert "too few groups" in reading.text


def test_hostile_names_stay_text(made_up_report):
    names = {"corpora": [HOSTILE, QUOTED], "features": [HOSTILE, QUOTED], "classifiers": [HOSTILE, QUOTED]}
    report, _ = made_up_report(**names, speakers=[f"f{HOSTILE}", f"m{QUOTED}", "f\u2028", "m\x00"])
    text = render_page(report)
    reading = Reading(text)
    assert len(reading.of("script")) == 1
    assert not reading.of("img")
    assert not [name for _, attributes in reading.elements for name in attributes if name.startswith("on")]
    assert HOSTILE in reading.text
    assert QUOTED in reading.text
    text.encode()


def test_same_report_gives_the_same_page_and_it_is_written(made_up_report):
    report, store = made_up_report()
    write_report(report, store)
    assert (store.report / "index.html").read_text(encoding="utf-8") == render_page(report) == render_page(report)


def test_page_of_thirty_six_cells_is_small_and_loads_nothing(made_up_report):
    classifiers = ["svc", "rf", "mlp", "logistic", "knn", "dummy"]
    report, _ = made_up_report(corpora=["alpha", "beta", "gamma"], classifiers=classifiers)
    text = render_page(report)
    assert len(text.encode()) < 1_000_000
    reading = Reading(text)
    loaded = [of.get("src") or of.get("href") for tag in ("link", "script", "img", "iframe") for of in reading.of(tag)]
    assert set(loaded) == {"data:,", None}
    style = "".join(data for tag, data in reading.texts if tag == "style")
    assert not re.search(r"url\(|@import|https?://", style)
    (script,) = [data for tag, data in reading.texts if tag == "script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [of["content"] for of in reading.of("meta") if of.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_tables_other_than_scores_fold_away_and_those_across_corpora_follow_the_task(made_up_report):
    report, _ = made_up_report(scalings=["train", "speaker"])
    facets = {"task": report.matrices[0].setup.task_title}
    across = make_table("transfer", "Across: mine", ["on", "a"], [["a", "0.1"]], n_labels=1, facets=facets)
    alone = make_table("alone", "Alone: three", ["on", "a"], [["a", "0.1"]], n_labels=1, facets={"task": "three"})
    extra = make_table("extra", "Rules side by side", ["", "gap"], [["a", "0.1"]], n_labels=1, notes=["A note."])
    reading = Reading(render_page(replace(report, tables=(*report.tables, across, alone, extra))))
    folded = {of.get("data-show") for of in reading.of("details")}
    assert not [of for of in reading.of("details") if "open" in of]
    assert folded == {None, "0 1", "2"}
    assert [of["id"] for of in reading.of("input") if of["name"] == "show"] == ["show-0", "show-1", "show-2"]
    assert "A note." in reading.text


@pytest.mark.parametrize(("theme", "direction"), [("light", -1), ("dark", 1)])
def test_text_can_be_read_on_every_colour_and_colours_go_one_way(theme, direction):
    style = (files("serbench.report") / "templates" / "style.css").read_text(encoding="utf-8")
    at = ["light", "dark"].index(theme)
    stops = [of[at] for of in re.findall(r"light-dark\((#\w+), (#\w+)\)", re.search("--ramp:[^;]*", style)[0])]
    ink = re.search(r"--ink: light-dark\((#\w+), (#\w+)\)", style)[at + 1]
    colours = LinearSegmentedColormap.from_list("ramp", stops)

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05

    assert len(stops) == 16
    found = [luminance(colours(i / 100)) for i in range(101)]
    assert found == sorted(found, reverse=direction < 0)
    for background in found:
        assert max(background, luminance(ink)) / min(background, luminance(ink)) >= 4.5


# --- in a browser --------------------------------------------------------------------------------------------------

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium, or brew install")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser, made_up_report):
    """Open a page from disk; whatever it says on the console or asks of the network is an error."""
    said, asked = [], []

    def open_page(*, view="", scheme="light", width=1280, **names):
        report, store = made_up_report(**{"corpora": ["alpha", "beta", QUOTED], **names})
        write_report(report, store)
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
        page.set_default_timeout(600_000)  # of a page that hangs
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((store.report / "index.html").as_uri() + view)
        return page, report

    yield open_page
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def column(page):
    """Values of the first corpus in the visible Table 2, without chance."""
    rows = page.locator("#scores .table:visible").first.locator("tbody tr:not(.chance)")
    return [row.locator("td button").first.inner_text() for row in rows.all()]


@pytest.mark.slow
@in_browser
def test_headers_sort_and_a_third_time_gives_the_order_back(opened):
    page, _ = opened()
    before = column(page)
    header = page.locator("thead th:visible").nth(2)
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert column(page) == sorted(before, reverse=True) != before
    header.get_by_role("button").press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(page) == sorted(before)
    assert page.locator("#scores tbody tr:visible").first.get_attribute("class") == "chance"
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") is None
    assert column(page) == before


@pytest.mark.slow
@in_browser
def test_metric_and_rule_are_chosen_and_stay_in_the_address(opened):
    page, report = opened()
    scores = scores_by_cell(report)
    rows = report.of("table2-uar")[0].rows[1:]
    for rule, label in (("nested", "Chosen by"), ("default", "Default"), ("oracle", "Oracle, tuned on the test data")):
        page.get_by_text(label).first.click()
        for metric, name in (("kappa", "Cohen's kappa"), ("uar", "UAR"), ("macro_f1", "Macro F1")):
            page.get_by_text(name, exact=True).first.click()
            expected = [f"{scores['alpha', row[0].text, row[1].text, rule, metric]:.3f}" for row in rows]
            assert column(page) == expected
    assert "tuned on the test data" in page.locator("#scores h3:visible").first.inner_text()
    shown, address = column(page), page.evaluate("location.hash")
    page.goto("about:blank")
    again, _ = opened(view=address)
    assert column(again) == shown
    nonsense, _ = opened(view="#show=no,metric-99,cell-no")
    assert len(column(nonsense)) == 4


@in_browser
def test_cell_opens_by_click_and_by_keyboard_and_closes_with_escape(opened):
    page, report = opened()
    first = page.locator("td button:visible").first
    first.click()
    sheet = page.locator(".sheet:popover-open")
    features, classifier = report.of("table2-uar")[0].rows[1][:2]
    assert sheet.locator("h2").inner_text() == f"alpha, {features.text}, {classifier.text}"
    key = first.get_attribute("popovertarget").removeprefix("cell-")
    assert key in sheet.locator("code").inner_text()
    assert key in page.evaluate("location.hash")
    counts = [int(text) for text in sheet.locator(".heat td").all_inner_texts()]
    assert sum(counts) == 2 * 72  # with the totals of rows
    assert sum(int(n) for n in sheet.locator("table").last.locator("td").all_inner_texts()) == 8
    page.keyboard.press("Escape")
    assert sheet.count() == 0
    first.focus()
    page.keyboard.press("Enter")
    assert sheet.count() == 1
    sheet.get_by_role("button", name="Close").click()
    assert sheet.count() == 0
    assert page.evaluate("document.activeElement.getAttribute('popovertarget')") == f"cell-{key}"


@in_browser
def test_dark_and_light_follow_the_system_and_paper_is_white(opened):
    page, _ = opened(scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.emulate_media(color_scheme="light")
    assert page.evaluate(paper) != dark
    page.emulate_media(media="print")
    assert page.evaluate(paper) == "rgba(0, 0, 0, 0)"
    assert not page.locator(".choices").is_visible()
    assert page.locator("#scores td small").first.is_visible()
    assert not page.locator("details").first.is_visible()


@in_browser
def test_small_screen_scrolls_inside_the_table_alone(opened):
    page, _ = opened(width=360)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator("td button:visible").first.click()
    assert page.evaluate("document.querySelector('.sheet:popover-open').scrollWidth") <= 360


@in_browser
def test_phone_hints_at_scrolling_keeps_names_in_sight_and_has_intervals(opened):
    page, _ = opened(width=400, corpora=[f"corpus{i}" for i in range(6)], speakers=["f1", "f2", "m1", "m2"])
    scroll = page.locator("#scores .scroll:visible")
    assert page.locator("#scores .hint:visible").inner_text() == "Scroll the table sideways: 6 columns →"
    scroll.evaluate("of => of.scrollLeft = of.scrollWidth")
    row = scroll.locator("tbody tr").nth(1)
    assert [cell.bounding_box()["x"] >= 0 for cell in row.locator("th").all()] == [True, True]
    assert row.locator("small").last.is_visible()
    page.set_viewport_size({"width": 1280, "height": 800})
    assert not page.locator(".hint:visible").count()


@in_browser
def test_choice_of_a_view_changes_all_sections_and_links_open_theirs(opened):
    page, report = opened(scalings=["train", "speaker"])
    page.get_by_role("link", name="Recall per emotion").click()
    shown = page.locator("#section-recall h3:visible")
    titles = [matrix.setup.title for matrix in report.matrices]
    assert shown.all_inner_texts() == titles[:1]
    page.locator("label:has(#show-1)").click()
    assert shown.all_inner_texts() == titles[1:]
    assert page.locator("#answers h2:visible").all_inner_texts() == titles[1:]
    assert page.locator("#scores .table:visible").count() == 1
