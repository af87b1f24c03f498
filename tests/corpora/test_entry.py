import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serbench.corpora.entry import Interval, parse_interval

NUMBERS = st.integers(-3, 3).map(lambda n: n / 2)
INTERVALS = st.builds(Interval, NUMBERS, NUMBERS, st.booleans(), st.booleans()).filter(
    lambda i: i.lower < i.upper or (i.lower == i.upper and i.closed_lower and i.closed_upper)
)


def spelt(interval):
    left, right = "[" if interval.closed_lower else "(", "]" if interval.closed_upper else ")"
    return f"{left}{interval.lower}, {interval.upper}{right}"


@given(INTERVALS)
def test_what_is_spelt_is_parsed(interval):
    assert parse_interval(spelt(interval)) == interval


@given(INTERVALS, INTERVALS)
def test_intervals_overlap_where_a_number_is_in_both(one, other):
    """Every end of either is a quarter away from each number that could decide."""
    numbers = [n / 8 for n in range(-20, 21)]
    assert one.overlaps(other) == any(n in one and n in other for n in numbers)
    assert one.overlaps(other) == other.overlaps(one)


def test_no_number_that_is_none_is_inside():
    assert math.nan not in parse_interval("[0, 1]")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((text, "not a range") for text in ("1 to 2", "[1; 2]", "[nan, 2]", "[1e999, 2]", f"[{'1' * 1000}, 2]")),
        *(("[2, 1]", "the smaller one first"), ("(1, 1]", "nothing in it")),
    ],
)
def test_what_is_no_range_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_interval(text)
