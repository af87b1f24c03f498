"""Any text in any place of a table: the table keeps its shape, and nothing in it runs."""

import csv
import io
import re

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serbench.report.table import Entry, make_table, to_csv, to_latex, to_markdown
from serbench.store.files import frame_to_csv

NASTY = ["=cmd|' /C calc'!A1", "a|b\nc", "\\", "\\|", "# x", "1. x", "- x", "<script>", "$x_{2}$", "&amp;", "`x`", ""]
NASTY += [
    "a\r\nb",
    "\ud800",
    "\x00",
    "\u2028",
    "[x](y)",
    "\\\\|",
    "* x",
    "~~x~~",
    "  x",
    "''",
    '"',
    "-",
    "+1",
    "@a",
    "",
]
TEXT = st.one_of(st.sampled_from(NASTY), st.text(st.characters()), st.text("|\\\n\r=+-@#&%$_{}~^<>[]`*.0123 ab"))


def table_of(*texts, note="note"):
    rows = ((Entry("word"), Entry(texts[0])), (Entry(texts[-1], bold=True, aside=texts[0]), Entry("-0.5", aside=note)))
    return make_table("stem", texts[0], ("first", texts[-1]), rows, notes=(note,), n_labels=1)


@given(TEXT, TEXT)
def test_markdown_rows_keep_their_columns(one, two):
    lines = to_markdown(table_of(one, two, note=two)).split("\n")
    assert lines[0].startswith("### ")
    assert len(lines) == 9
    for line in lines[2:6]:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3
    assert not re.match(r"\s*(#|[-+*>=]|[0-9]+[.)]\s|<)", lines[7])
    assert not re.search(r"(?<!\\)(?:\\\\)*[<`\[]", "".join(lines))
    assert not re.search(r"&(?!amp;)", "".join(lines))
    "".join(lines).encode()


ASIDE = r"(?: \{\\footnotesize (.*)\})?"
LATEX_ESCAPES = (
    r"\\text(backslash|textasciitilde|asciitilde|asciicircum|degree|less|greater|bar)\{\}|\\[&%$#_{}]|\{[\[\]*]\}"
    r"|\$\\(approx|pm)\$"
)


@given(TEXT, TEXT)
def test_latex_has_no_special_character_left(one, two):
    lines = to_latex(table_of(one, two, note=two)).splitlines()
    top = lines.index(r"\toprule")
    assert lines[top + 2] == r"\midrule"
    assert lines[top + 5] == r"\bottomrule"
    assert len(lines) == top + 9
    body = "\n".join((lines[top + 1], lines[top + 3]))
    last = re.fullmatch(r"\\textbf\{(.*?)\}" + ASIDE + " & -0.5" + ASIDE + r" \\\\", lines[top + 4])
    cells = [cell for line in body.split("\n") for cell in line.removesuffix(r" \\").split(" & ")]
    cells += [text or "" for text in last.groups()]
    assert len(cells) == 7
    for cell in cells:
        assert not re.search(r'[\\&%$#_{}~^<>|"\[\]*\x00-\x1f]', re.sub(LATEX_ESCAPES, "", cell))


def disarmed(written, text):
    """Say whether what was written for a text is safe, and gives it back."""
    text = re.sub("\r\n?", "\n", re.sub("[\ud800-\udfff]", "\ufffd", text))
    is_number = re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?", text, re.IGNORECASE)
    is_safe = not written.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    return written in (text, f"'{text}") and (is_safe or is_number or text == "-")


@given(TEXT, TEXT)
@example("=1+1", "-1e-5")
def test_csv_of_a_table_gives_the_text_back_and_no_formula(one, two):
    rows = list(csv.reader(io.StringIO(to_csv([table_of(one, two)]), newline="")))
    assert [len(row) for row in rows] == [4, 4, 4]  # the title first, the key of the provenance last
    assert disarmed(rows[0][2], two)
    assert disarmed(rows[1][0], one)
    assert disarmed(rows[2][1], two)
    assert rows[2][2] == "-0.5"


PANDAS_TEXT = TEXT.map(lambda text: re.sub("[\ud800-\udfff]", "", text))  # its columns of text hold no halves


@given(st.lists(PANDAS_TEXT, min_size=1), PANDAS_TEXT)
def test_csv_of_a_frame_gives_the_text_back_and_no_formula(texts, name):
    frame = pd.DataFrame({f"x{name}": texts, name: -1.5, "kind": pd.Categorical(texts), "none": None})
    before = frame.copy()
    rows = list(csv.reader(io.StringIO(frame_to_csv(frame), newline="")))
    pd.testing.assert_frame_equal(frame, before)
    assert disarmed(rows[0][1], name)
    for row, text in zip(rows[1:], texts, strict=True):
        assert disarmed(row[0], text)
        assert row[1:] == ["-1.5", row[0], ""]


@pytest.mark.parametrize("value", ["-0.5", "+3", "-1e-5", "–", "-", "emodb/a.wav"])
def test_ordinary_values_are_written_as_they_are(value):
    assert frame_to_csv(pd.DataFrame({"x": [value]})) == f"x\n{value}\n"


def test_entries_are_formatted_and_escaped():
    entries = ((Entry("x_1 | y"), Entry("-0.123", "[.1, .2]", bold=True)), (Entry("=HYPERLINK()"), Entry("–")))
    table = make_table("t", "50% of <c>", ("name", "value"), entries, notes=("# and $",), n_labels=1)
    markdown, latex, rows = to_markdown(table), to_latex(table), list(csv.reader(io.StringIO(to_csv([table]))))
    assert r"| x\_1 \| y" in markdown
    assert r"**-0.123** \[.1, .2\]" in markdown
    assert r"\caption{50\% of \textless{}c\textgreater{}}" in latex
    assert r"x\_1 \textbar{} y & \textbf{-0.123} {\footnotesize {[}.1, .2{]}} \\" in latex
    assert r"\footnotesize \# and \$" in latex
    assert [row[1:3] for row in rows] == [["name", "value"], ["x_1 | y", "-0.123"], ["'=HYPERLINK()", "–"]]
