"""The page of a report: one file that opens from disk, needs no network and runs no script but its own.

What it shows is worked out here and handed over as text and numbers; the script of the page sorts, selects and unfolds
it, and computes nothing. Names from corpora and files are escaped by the templates, and in the model as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from serbench.corpora.entry import EMOTIONS
from serbench.report.across import curve_title
from serbench.report.colours import ink, scale, step_in
from serbench.report.details import Json, details, numbers
from serbench.report.plots import HEIGHT, WIDTH, plots
from serbench.report.table import FORMATS, Table
from serbench.report.views import METRIC_NAMES, RULE_NAMES, Shown, View, blocks, views
from serbench.scores.metrics import FOLD_METRICS, METRICS
from serbench.scores.outcomes import RULES

if TYPE_CHECKING:
    from serbench.report import Report
    from serbench.report.tables import Indexed

FILE = "index.html"
_OWN_PLACE = re.compile(r"table1|table2-.*|confusion")
"""Stems of tables that the page shows in a form of its own; all others follow one after another."""


def render_page(report: Report) -> str:
    """Render the page as HTML; the same report gives the same text."""
    import jinja2

    of_matrix = [views(block, report.scores) for block in blocks(report.compared, report.tables)]
    templates = jinja2.FileSystemLoader(str(files("serbench.report") / "templates"))
    environment = jinja2.Environment(loader=templates, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    script = _read("page.js")
    others = [table for table in report.tables if not _OWN_PLACE.fullmatch(table.stem)]
    text = environment.get_template("page.html.j2").render(
        report=report,
        step_in=step_in,
        matrices=of_matrix,
        sentence=sentence(of_matrix),
        is_of_emotions=all(of[0].matrix.variant.target == "emotion" for of in of_matrix),
        is_transductive=any(of[0].matrix.variant.is_transductive for of in of_matrix),
        has_outside=any(of[0].matrix.is_outside(row) for of in of_matrix for row in of[0].matrix.rows),
        first=report.of("table1")[0],
        table1=_balanced(report.of("table1")[0], report.indexes),
        others=others,
        plots={curve_title(setup): of for setup, of in plots(report.curves).items()},
        width=WIDTH,
        height=HEIGHT,
        contents=_contents(others),
        corpora=sorted({corpus for of in of_matrix for corpus in of[0].matrix.corpora}),
        metrics=_named((*METRICS, *FOLD_METRICS), METRIC_NAMES),
        rules=_named(RULES, RULE_NAMES),
        colours=[[(colour, ink(colour)) for colour in scale(theme)] for theme in ("light", "dark")],
        style=_read("style.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        model=as_json(page_model(report, of_matrix)),
    )
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def _read(name: str) -> str:
    return (files("serbench.report") / "templates" / name).read_text(encoding="utf-8")


def _named(keys: Iterable[str], names: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(key, f"{names.get(key, key)[0].upper()}{names.get(key, key)[1:]}") for key in keys]


def _contents(others: Iterable[Table]) -> dict[str, str]:
    """Anchors of the first table of each kind, and what it is."""
    found: dict[str, tuple[str, str]] = {}
    for number, table in enumerate(others, 1):
        found.setdefault(table.stem, (f"{table.stem}-{number}", table.title.partition(":")[0]))
    return dict(found.values())


def as_json(model: Json) -> str:
    r"""Write JSON that stands in a script element, where nothing in it can end that element.

    >>> as_json({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(model, separators=(",", ":"), allow_nan=False)  # which leaves ASCII only
    return re.sub("[<>&]", lambda hit: f"\\u{ord(hit[0]):04x}", text)


def page_model(report: Report, of_matrix: Sequence[Sequence[View]]) -> Json:
    """What the script of the page needs: every view, and what stands behind every cell."""
    own_rows = {str(key): rows for key, rows in report.scores.groupby("provenance", sort=False)}
    cells = {}
    for matrix, _ in report.compared:
        for place, cell in matrix.cells.items():
            key, common = cell.provenance.key, len(matrix.scored_on(place))
            cells[key] = details(place, cell, own_rows[key], n_common=common)
    return {
        "metrics": dict(_named((*METRICS, *FOLD_METRICS), METRIC_NAMES)),
        "rules": RULE_NAMES,
        "colours": [[colour, ink(colour)] for colour in scale("light")],
        "matrices": [_matrix_model(found) for found in of_matrix],
        "cells": cells,
    }


def _matrix_model(found: Sequence[View]) -> Json:
    matrix = found[0].matrix
    return {
        "title": matrix.variant.title,
        "corpora": list(matrix.corpora),
        "rows": [list(labels) for labels in found[0].labels],
        "views": {f"{view.metric} {view.rule}": _view_model(view) for view in found},
    }


def _view_model(view: View) -> Json:
    return {
        "caption": view.caption,
        "reading": view.reading,
        "ends": [f"{view.low:.1f}", f"{view.high:.1f}"],
        "chance": list(view.chance),
        "notes": [note.replace("In brackets: ", "Beside each value when pointed at: ") for note in view.table.notes],
        "file": re.sub(r"[^a-z0-9-]+", "-", view.table.stem.replace("_", "-")),
        "csv": FORMATS["csv"]([view.table]),
        "tex": FORMATS["tex"]([view.table]),
        "rows": [[_shown_model(shown) for shown in row] for row in view.rows],
    }


def _shown_model(shown: Shown) -> list[Any]:
    value = numbers(shown.score)[0] if shown.score else None
    return [shown.text, shown.told, value, shown.step, int(shown.best), shown.mark, shown.interval]


def sentence(of_matrix: Sequence[Sequence[View]]) -> str:
    """Say what was compared, for somebody who meets the page by chance."""
    found = [of[0].matrix for of in of_matrix]
    classifiers = counted({name for matrix in found for _, name in matrix.rows}, "classifier", "classifiers")
    features = counted({name for matrix in found for name, _ in matrix.rows}, "feature set", "feature sets")
    tested = {name for matrix in found for joined in matrix.corpora for name in joined.split("+")}
    corpora = counted(tested, "corpus", "corpora")
    return f"{classifiers} on {features} in {corpora}"


def counted(things: Collection[str], one: str, many: str) -> str:
    """Count things in words.

    >>> counted({"emodb"}, "corpus", "corpora")
    '1 corpus'
    """
    return f"{len(things)} {one if len(things) == 1 else many}"


def _balanced(table: Table, indexes: Sequence[Indexed]) -> list[Json]:
    """Rows of Table 1; those of emotions with bars: shares of labelled utterances, of which the largest is 1."""
    shares = [corpus.index["emotion"].value_counts(normalize=True) for corpus in indexes]
    largest = max((float(of.max()) for of in shares if len(of)), default=1.0)
    rows = []
    for row in table.rows:
        name = row[0].text
        bars = [f"{of.get(name, 0) / largest:.4f}" for of in shares] if name in EMOTIONS else []
        rows.append({"name": name, "texts": [entry.text for entry in row[1:]], "bars": bars})
    return rows
