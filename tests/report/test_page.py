"""The page of a report: what its file holds, and what it does in a browser."""

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from serbench.report import write_report
from serbench.report.figures import figures
from serbench.report.page import render_page
from serbench.report.table import Entry, make_table
from serbench.scores.outcomes import RULES, changed

HOSTILE = "</script><script>alert('x')</script>"
QUOTED = "z\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}&amp;"
VOID = {"meta", "link", "input", "br", "img"}


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
        if tag not in VOID:
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

    @property
    def model(self):
        (text,) = [data for tag, data in self.texts if tag == "script" and data.startswith("{")]
        return json.loads(text)


def test_page_holds_every_cell_and_its_notes(made_up_report):
    report, _ = made_up_report()
    reading = Reading(render_page(report))
    (table,) = report.of("table2-uar")
    for row in table.rows[1:]:
        for entry in row:
            assert entry.text in reading.text
    keys = {cell.provenance.key for matrix, _ in report.compared for cell in matrix.cells.values()}
    assert {of["data-key"] for of in reading.of("button") if "data-key" in of} == keys == set(reading.model["cells"])
    for note in (*table.notes, *report.of("recall")[0].notes):
        assert note in reading.text


def test_values_of_the_page_are_the_scores(made_up_report):
    report, _ = made_up_report()
    (matrix,) = Reading(render_page(report)).model["matrices"]
    scores = report.scores.set_index(["corpus", "features", "classifier", "rule", "metric"])["value"]
    seen = 0
    for name, view in matrix["views"].items():
        metric, rule = name.split()
        for row, (features, classifier) in enumerate(matrix["rows"]):
            for column, corpus in enumerate(matrix["corpora"]):
                text, _, value, *_ = view["rows"][row][column]
                expected = scores[corpus, features, classifier, rule, metric]
                assert value == pytest.approx(expected, abs=1e-6)
                assert text == f"{expected:.3f}"
                seen += 1
    assert seen == len(scores)


def test_marks_are_explained_where_they_stand_and_only_there(made_up_report):
    report, _ = made_up_report(speakers=["F1", "F2", "M1", "M2"])
    views = Reading(render_page(report)).model["matrices"][0]["views"]
    assert "? cannot be tested" in views["uar nested"]["reading"]
    assert "tested for nested UAR and WAR alone" not in views["war nested"]["reading"]
    for name in ("kappa nested", "uar default", "war oracle"):
        assert "?" not in views[name]["reading"]
        assert "differences are tested for nested UAR and WAR alone" in views[name]["reading"]


def test_cells_that_lack_utterances_are_compared_on_those_that_all_have(made_up_report):
    report, _ = made_up_report(change={("sound", "svc", "alpha"): lambda cell: [lacking(cell, 2)]})
    model = Reading(render_page(report)).model
    for metric in ("uar", "war", "kappa"):
        (table,) = report.of(f"table2-{metric}")
        shown = [[place[0] for place in row] for row in model["matrices"][0]["views"][f"{metric} nested"]["rows"]]
        assert shown == [[entry.text for entry in row[2:]] for row in table.rows[1:]]
    scores = report.scores.set_index(["corpus", "features", "classifier", "rule", "metric"])["value"]
    for cell in model["cells"].values():
        own = scores[cell["corpus"], cell["features"], cell["classifier"], "nested", "uar"]
        assert cell["rules"]["nested"]["scores"]["uar"][0] == pytest.approx(own, abs=1e-6)
        assert any("the table shows it over the 70" in note for note in cell["notes"]) == (
            cell["corpus"] == "alpha" and (cell["features"], cell["classifier"]) != ("sound", "svc")
        )


def test_what_stands_behind_a_cell_adds_up(made_up_report):
    report, _ = made_up_report()
    for cell in Reading(render_page(report)).model["cells"].values():
        of = cell["rules"]["nested"]
        n = sum(map(sum, of["confusion"]))
        assert n == sum(person[2] for person in of["people"]) == 72
        hits = sum(of["confusion"][i][i] for i in range(3))
        assert of["scores"]["war"][0] == pytest.approx(hits / n, abs=1e-6)
        assert [setting[1:] for setting in of["settings"]] == [[4, 1], [4, 0]]
        assert sum(setting[1] for setting in of["settings"]) == cell["folds"]


def test_oracle_is_always_called_tuned_on_the_test_data(made_up_report):
    report, _ = made_up_report()
    views = Reading(render_page(report)).model["matrices"][0]["views"]
    oracle = [view for name, view in views.items() if name.endswith("oracle")]
    assert len(oracle) == 6
    for view in oracle:
        assert "tuned on the test data" in view["caption"]
        assert "tuned on the test data" in view["csv"]
        assert "tuned on the test data" in view["tex"]
        assert "best on the test data" in view["notes"][0]
        assert all(mark == "" for row in view["rows"] for *_, mark, _ in row)


def test_marks_are_those_of_table_2(made_up_report):
    report, _ = made_up_report()
    view = Reading(render_page(report)).model["matrices"][0]["views"]["uar nested"]
    (table,) = report.of("table2-uar")
    for shown, row in zip(view["rows"], table.rows[1:], strict=True):
        for (_, told, _, _, best, mark, interval), entry in zip(shown, row[2:], strict=True):
            assert bool(best) == entry.bold
            assert f"{interval} {mark}".strip() == entry.aside
            assert ("cannot be told apart from the best" in told) == (mark == "≈")


def test_missing_values_say_why_and_nested_gives_way_to_default(made_up_report):
    change = {
        ("sound", "svc", "alpha"): lambda cell: [],
        ("sound", "knn", "alpha"): lambda cell: [refused(cell)],
        ("shape", "svc", "alpha"): lambda cell: [without_nested(cell)],
    }
    report, _ = made_up_report(change=change)
    reading = Reading(render_page(report))
    rows = [row[0] for row in reading.model["matrices"][0]["views"]["uar nested"]["rows"]]
    assert {tuple(row[:2]) for row in rows if row[2] is None} == {("–", "missing: not run"), ("–", "missing: <why>")}
    (default,) = [row for row in rows if row[5] == "°"]
    assert "default setting, as nested is missing: too few groups" in default[1]
    assert [of for of in reading.of("button") if "disabled" in of and of["data-key"]] == []


def test_predictions_of_other_systems_stand_beside_nested_ones(made_up_report):
    report, store = made_up_report(change={("sound", "svc", "alpha"): lambda cell: [outside(cell)]})
    model = Reading(render_page(report)).model
    (matrix,) = model["matrices"]
    place = [row[1] for row in matrix["rows"]].index("svc†")
    (table,) = report.of("table2-uar")
    assert matrix["views"]["uar nested"]["rows"][place][0][0] == table.rows[1 + place][2].text != "–"
    assert matrix["views"]["uar oracle"]["rows"][place][0][0] == "–"
    (cell,) = [cell for cell in model["cells"].values() if list(cell["rules"]) == ["given"]]
    assert cell["rules"]["given"]["settings"] == []
    assert "heard" not in render_page(report)
    assert "confusion-alpha-sound-svc" in figures(report)


def outside(cell):
    record = {**cell.record, "outside": {"file": "theirs.csv", "sha256": "0" * 64}}
    return changed(cell, record=record, outcomes={"given": replace(cell.outcomes["nested"], rule="given")})


def refused(cell):
    reasons = dict.fromkeys(RULES, "<why>")
    return changed(cell, record={**cell.record, "refused": "<why>"}, outcomes={}, reasons=reasons)


def without_nested(cell):
    outcomes = {rule: outcome for rule, outcome in cell.outcomes.items() if rule != "nested"}
    return changed(cell, outcomes=outcomes, reasons={"nested": "too few groups"})


def lacking(cell, n):
    """Leave out the first utterances of a cell."""
    left = list(cell.truth)[n:]
    truth = {u: cell.truth[u] for u in left}
    folds = {name: tuple(u for u in fold if u in truth) for name, fold in cell.folds.items()}
    outcomes = {
        rule: replace(outcome, predictions={u: outcome.predictions[u] for u in left})
        for rule, outcome in cell.outcomes.items()
    }
    return changed(cell, truth=truth, folds=folds, outcomes=outcomes)


def test_hostile_names_stay_text(made_up_report):
    names = {"corpora": [HOSTILE, QUOTED], "features": [HOSTILE, QUOTED], "classifiers": [HOSTILE, QUOTED]}
    report, _ = made_up_report(**names, speakers=[f"f{HOSTILE}", f"m{QUOTED}", "f\u2028", "m\x00"])
    text = render_page(report)
    reading = Reading(text)
    assert len(reading.of("script")) == 2
    assert not reading.of("img")
    assert not [name for _, attributes in reading.elements for name in attributes if name.startswith("on")]
    assert HOSTILE in reading.text
    assert QUOTED in reading.text
    assert {cell["corpus"] for cell in reading.model["cells"].values()} == {HOSTILE, QUOTED}
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
    loaded = [
        of.get("src") or of.get("href") for tag, of in reading.elements if tag in ("link", "script", "img", "iframe")
    ]
    assert set(loaded) == {"data:,", None}
    assert not re.search(r"url\(|@import|https?://", "".join(d for tag, d in reading.texts if tag == "style"))


def test_policy_of_the_page_allows_its_own_script_alone(made_up_report):
    report, _ = made_up_report()
    reading = Reading(render_page(report))
    (script,) = [data for tag, data in reading.texts if tag == "script" and "use strict" in data]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [of["content"] for of in reading.of("meta") if of.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_tables_without_a_place_of_their_own_follow_at_the_end(made_up_report):
    report, _ = made_up_report()
    rows = ((Entry("alpha"), Entry("0.1", bold=True)),)
    extra = make_table("rules", "Rules side by side", ("corpus", "gap"), rows, notes=("A note.",), n_labels=1)
    reading = Reading(render_page(replace(report, tables=(*report.tables, extra))))
    assert "Rules side by side" in reading.text
    assert "A note." in reading.text
    shown = [of["id"].rpartition("-")[0] for of in reading.of("section") if of.get("class") == "other"]
    own_place = ("table1", "table2", "confusion")
    assert shown == [t.stem for t in report.tables if not t.stem.startswith(own_place)] + ["rules"]


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


def texts(page, selector):
    return page.locator(selector).all_inner_texts()


def column(page, corpus):
    return texts(page, f".cells td[data-column='{corpus}'] .value")


@in_browser
def test_headers_sort_and_a_third_time_gives_the_order_back(opened):
    page, _ = opened()
    before = column(page, 0)
    header = page.locator("thead th[data-column='0']")
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert column(page, 0) == sorted(before, reverse=True) != before
    header.get_by_role("button").press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(page, 0) == sorted(before)
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") is None
    assert column(page, 0) == before
    page.locator("thead th[data-sort='1'] button").click()
    assert texts(page, ".cells th.second") == ["knn", "knn", "svc", "svc"]


@in_browser
def test_metric_rule_and_corpora_are_selected_and_downloads_follow(opened):
    page, report = opened()
    scores = report.scores.set_index(["corpus", "features", "classifier", "rule", "metric"])["value"]
    rows = list(zip(texts(page, ".cells th:first-child"), texts(page, ".cells th.second"), strict=True))
    page.get_by_label("Metric", exact=True).select_option("kappa")
    page.get_by_label("Settings", exact=True).select_option("default")
    assert column(page, 0) == [f"{scores['alpha', *row, 'default', 'kappa']:.3f}" for row in rows]
    page.get_by_label("Settings", exact=True).select_option("oracle")
    assert "tuned on the test data" in page.locator(".what").inner_text()
    assert "tuned on the test data" in page.locator("#status").inner_text()
    page.get_by_label("alpha").uncheck()
    assert not page.locator("thead th[data-column='0']").is_visible()
    assert page.locator(".cells td:visible").count() == 8
    links = {ending: page.locator(f".downloads .{ending}") for ending in ("csv", "tex", "svg")}
    assert links["csv"].get_attribute("download") == "table2-kappa-oracle.csv"
    content = {ending: unquote(link.get_attribute("href").partition(",")[2]) for ending, link in links.items()}
    assert content["csv"].splitlines()[0].startswith("table,features,classifier,alpha,beta")
    assert r"\begin{tabular}" in content["tex"]
    assert ">beta</text>" in content["svg"]
    assert ">alpha</text>" not in content["svg"]
    assert "<img" not in content["svg"]
    with page.expect_download() as download:
        links["csv"].click()
    assert download.value.path().read_text(encoding="utf-8") == content["csv"]


@in_browser
def test_cell_opens_by_click_and_by_keyboard_and_closes_with_escape(opened):
    page, report = opened()
    dialog = page.get_by_role("dialog")
    first = page.locator(".cells button").first
    first.click()
    assert dialog.is_visible()
    assert page.locator("#cell-title").inner_text() == "alpha, shape, knn"
    cell = next(c for c in report.compared[0][0].cells.values() if c.provenance.key == first.get_attribute("data-key"))
    assert page.locator(".confusion tbody tr").count() == len(cell.emotions)
    assert page.locator(".people tbody tr").count() == 8
    assert cell.provenance.key in page.locator(".made").last.inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#cell-title").inner_text().startswith("beta, ")
    page.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.dataset.column") == "1"


@in_browser
def test_interval_is_said_on_hover_on_focus_and_to_screen_readers(opened):
    page, _ = opened()
    first, tip = page.locator(".cells button").first, page.locator("#tip")
    assert not tip.is_visible()
    first.hover()
    assert "95 % interval" in tip.inner_text()
    page.mouse.move(0, 0)
    assert not tip.is_visible()
    first.focus()
    assert "over 8 speakers" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    assert page.get_by_role("button", name=re.compile(r"0\.\d+.*95 % interval .* over 8 speakers")).count() == 12


@in_browser
def test_view_stands_in_the_address_and_can_be_linked(opened):
    page, _ = opened()
    page.get_by_label("Metric", exact=True).select_option("war")
    page.get_by_label("beta").uncheck()
    page.locator("thead th[data-column='0'] button").click()
    page.locator(".cells button").first.click()
    title, shown = page.locator("#cell-title").inner_text(), column(page, 0)
    view = page.evaluate("location.hash")
    page.goto("about:blank")
    again, _ = opened(view=view)
    assert again.locator("#cell-title").inner_text() == title
    again.keyboard.press("Escape")
    assert again.get_by_label("Metric", exact=True).input_value() == "war"
    assert not again.get_by_label("beta").is_checked()
    assert column(again, 0) == shown
    again.get_by_role("link", name="Table 1").click()
    assert again.get_by_label("Metric", exact=True).input_value() == "war"
    nonsense, _ = opened(view="#metric=no&variant=no&sort=99%20ascending&cell=no&without=no")
    assert nonsense.locator(".cells td:visible").count() == 12


@in_browser
def test_dark_and_light_follow_the_system_until_told_otherwise(opened):
    page, _ = opened(scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    button = page.get_by_role("button", name="Dark")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    light = page.evaluate(paper)
    assert light != dark
    page.emulate_media(color_scheme="light")
    button.click()
    assert page.evaluate(paper) == dark
    page.emulate_media(media="print")
    assert page.evaluate(paper) == "rgba(0, 0, 0, 0)"
    assert not page.locator("#controls").is_visible()
    assert page.locator(".heat .interval").first.is_visible()


@in_browser
def test_small_screen_scrolls_inside_the_table_alone(opened):
    page, _ = opened(width=360)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator(".cells button").first.click()
    assert page.evaluate("document.getElementById('cell').scrollWidth") <= 360


@in_browser
def test_page_without_any_result_says_so(opened):
    page, _ = opened(
        corpora=["alpha"],
        features=["sound"],
        classifiers=["svc"],
        change={("sound", "svc", "alpha"): lambda c: [refused(c)]},
    )
    assert "No cell has a result" in page.locator("main").inner_text()
    assert not page.locator("#controls").is_visible()


@in_browser
def test_variants_are_selected(opened):
    page, report = opened(scalings=["train", "speaker"])
    assert texts(page, ".variant:visible") == [report.compared[0][0].variant.title]
    page.get_by_label("Variant").select_option("1")
    assert "transductive" in page.locator(".variant:visible").inner_text()
    page.locator(".cells button:visible").first.click()
    assert "Transductive" in page.locator(".warning").inner_text()
