import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serbench.corpora import patterns
from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.patterns import LONGEST_TEXT, Matcher, MatchError, compile_pattern

BUILT_IN = {
    name: corpus.labels.pattern
    for name, corpus in load_catalogue().corpora.items()
    if hasattr(corpus.labels, "pattern")
}


@pytest.mark.parametrize("pattern", BUILT_IN.values(), ids=BUILT_IN)
def test_every_built_in_pattern_has_the_groups_that_re_finds(pattern):
    assert len(BUILT_IN) > 10
    assert compile_pattern(pattern).groupindex == re.compile(pattern).groupindex


@pytest.mark.parametrize("pattern", BUILT_IN.values(), ids=BUILT_IN)
@given(data=st.data())
def test_every_built_in_pattern_hits_what_re_hits(pattern, data):
    # hypothesis makes its texts with `re`, in ASCII: for accents alone the two packages know different Unicode versions
    text = data.draw(st.from_regex(re.compile(pattern, re.ASCII), alphabet=st.characters(max_codepoint=126)))
    ours, theirs = list(compile_pattern(pattern).finditer(text)), list(re.finditer(pattern, text))
    assert [(hit.span(), hit.groupdict()) for hit in ours] == [(hit.span(), hit.groupdict()) for hit in theirs]


REFUSED = {
    "no regular expression": ("(a", "missing \\)"),
    "recursion, which re does not know": ("(?R)", "unknown extension"),
    "counts within counts": ("((a{1000}){1000}){1000}", "counts in braces"),
    "one count that takes gigabytes": ("a{1000000000}", "counts in braces"),
    "a count of ten thousand digits": ("a{" + "9" * 1900 + "}", "counts in braces"),
    "deep groups": ("(" * 500 + ")" * 500, "nested too deeply"),
    "length": ("a" * 2001, "2001 characters, at most 2000"),
    "inexact matching": ("(?:happy){e<=1}", "opens no count"),
    "inexact matching after a backslash": (r"a\\{i}", "opens no count"),
    "a named class": ("[a[:alpha:]]", "named class"),
    "a nested set": ("[[a-z]--[b]]", "Possible (nested set|set difference)"),
    "one name twice": ("(?P<a>x)(?P<a>y)", "redefinition of group name"),
}


@pytest.mark.parametrize(("pattern", "reason"), REFUSED.values(), ids=REFUSED)
def test_pattern_that_re_reads_otherwise_or_that_takes_too_much_is_refused(pattern, reason):
    started = time.process_time()
    with pytest.raises(ValueError, match=reason):
        compile_pattern(pattern)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "pattern", [r"(?P<x>\d{4}-\d{2})", r"\{e\}", "[{}]", r"(\d{2}_){3}[a-f0-9]{8}", r"\N{EN DASH}?x*"]
)
def test_pattern_of_every_day_is_accepted(pattern):
    assert compile_pattern(pattern).pattern == pattern


def test_text_that_would_take_for_ever_is_given_up_after_its_second(monkeypatch):
    monkeypatch.setattr(patterns, "TEXT_S", 0.05)
    with pytest.raises(MatchError, match=r"no end after 0\.[01] s"):
        Matcher("^(a|aa)+$").search("a" * 60 + "!")


def test_all_texts_together_have_a_budget(monkeypatch):
    monkeypatch.setattr(patterns, "TEXT_S", 0.02)
    monkeypatch.setattr(patterns, "SCAN_S", 0.05)
    matcher = Matcher("^(a|aa)+$")
    reasons = []
    for _ in range(10):
        with pytest.raises(MatchError) as caught:
            matcher.hits("a" * 60 + "!")
        reasons.append(str(caught.value))
    assert reasons[-1] == "more than 0.05 s in all"


def test_text_of_a_megabyte_is_not_tried():
    with pytest.raises(MatchError, match=f"{LONGEST_TEXT + 1} characters, at most {LONGEST_TEXT}"):
        Matcher("a").search("b" * (LONGEST_TEXT + 1))
