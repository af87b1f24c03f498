import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.patterns import LONGEST_TEXT, compile_pattern, hits

BUILT_IN = {
    name: corpus.labels.pattern
    for name, corpus in load_catalogue().corpora.items()
    if hasattr(corpus.labels, "pattern")
}


@pytest.mark.parametrize("pattern", BUILT_IN.values(), ids=BUILT_IN)
@given(data=st.data())
@settings(max_examples=20)
def test_every_built_in_pattern_hits_what_re_hits(pattern, data):
    assert len(BUILT_IN) > 10
    # RE2 and Python know different versions of Unicode, so that new scripts may differ
    text = data.draw(st.from_regex(pattern, alphabet=st.characters(max_codepoint=0x17F)).map(lambda t: t.strip("\n")))
    assert hits(compile_pattern(pattern), text) == [hit.groupdict("") for hit in re.finditer(pattern, text)][:2]


@given(
    st.lists(st.sampled_from([*r"\d \w \s \D \W \S [\d_] [^\w.] [\s-] []a] [^]\d] [a[] a \Z $".split(), "|", "x?"])),
    st.text("aé_1٣ \t\x0b-.[]x"),
)
@example([r"\w"], "e\u0301")
def test_classes_mean_for_every_script_what_they_mean_to_re(pieces, text):
    pattern = "".join(pieces)
    ours, theirs = compile_pattern(f"({pattern})").search(text), re.search(pattern, text)
    assert (ours and ours.span()) == (theirs and theirs.span()) or "\u0301" in text


def test_combining_mark_is_a_letter_and_a_name_that_is_not_utf8_is_matched_as_it_is_shown():
    assert hits(compile_pattern(r"^(?P<text>\w+)\.wav$"), "nin\u0303o.wav") == [{"text": "nin\u0303o"}]
    assert hits(compile_pattern("(?P<a>[^_]+)_x"), "caf\udce9_x") == [{"a": r"caf\xe9"}]


REFUSED = {
    "recursion": ("(?R)", "unknown extension"),
    "no regular expression": ("(a", "missing \\)"),
    "look-behind": ("(?<!a)b", "RE2 knows no look-around"),
    "back-reference by name": ("(?P<a>x)(?P=a)", "RE2 knows no look-around and no back-references"),
    "counts within counts": ("((a{1000}){1000}){1000}", "invalid repetition size"),
    "a count of ten thousand digits": ("a{" + "9" * 1900 + "}", "a count above 1000"),
    "half a character": ("\ud800", "surrogates not allowed"),
    "one name twice": ("(?P<a>x)(?P<a>y)", "redefinition of group name"),
    "look-ahead": ("a(?=b)", r"invalid perl operator: \(\?=; RE2 knows no look-around and no back-references"),
    "back-reference": (r"(a)\1", "RE2 knows no look-around and no back-references"),
    "one count that takes gigabytes": ("a{1000000000}", "a count above 1000; use"),
    "a count without an end": ("a{,3}", "write {0,"),
    "a large program": (r"(?:\w{100}){10}", "pattern too large"),
    "deep groups": ("(" * 500 + ")" * 500, "nested too deeply"),
    "many groups": ("(.*)" * 51, "51 groups, at most 50"),
    "length": ("a" * 2001, "2001 characters, at most 2000"),
    "a named class": ("[a[:alpha:]]", "named class"),
    "a nested set": ("[[a-z]--[b]]", "Possible (nested set|set difference)"),
    "an ASCII boundary": (r"\bsad\b", "write the characters that end the word"),
    "not a letter within brackets": (r"[\W_]", "within brackets"),
}


@pytest.mark.parametrize(("pattern", "reason"), REFUSED.values(), ids=REFUSED)
def test_pattern_that_re2_reads_otherwise_or_that_takes_too_much_is_refused(pattern, reason):
    with pytest.raises(ValueError, match=reason):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", [r"(?P<x>\d{4}-\d{2})", r"\{e\}", "[{}]", r"(\d{2}_){3}[a-f0-9]{8}", "(?:happy){e<=1}"]
)
def test_pattern_of_every_day_is_accepted(pattern):
    assert compile_pattern(pattern).groups == re.compile(pattern).groups


@pytest.mark.parametrize("pattern", ["^(a|aa)+$", "(" * 24 + "a" + "+)" * 24 + "$", "(.*)" * 50 + "(?:.?){900}!$"])
def test_pattern_is_compiled_small_and_decides_a_text_that_backtracking_never_ends_on(pattern):
    compiled = compile_pattern(pattern)
    assert compiled.programsize < 10_000
    assert hits(compiled, "a" * (LONGEST_TEXT - 1) + "\n") == []
    with pytest.raises(ValueError, match=f"{LONGEST_TEXT + 1} characters, at most {LONGEST_TEXT}"):
        hits(compiled, "b" * (LONGEST_TEXT + 1))
