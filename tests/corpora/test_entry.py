import pytest
from hypothesis import given
from hypothesis import strategies as st

from serbench.corpora.entry import parse_interval

NUMBERS = st.integers(-3, 3).map(lambda n: n / 2)


@given(one=NUMBERS, other=NUMBERS, left=st.sampled_from("[("), right=st.sampled_from("])"))
def test_range_holds_the_numbers_that_its_brackets_count(one, other, left, right):
    numbers = [n / 8 for n in range(-20, 21)]
    inside = [n for n in numbers if one < n < other or (n == one and left == "[") or (n == other and right == "]")]
    if one < other or (one == other and left + right == "[]"):
        lower, upper = parse_interval(f"{left}{one}, {other}{right}")
        assert [n for n in numbers if lower <= n <= upper] == inside
    else:
        with pytest.raises(ValueError, match=r"the smaller one first|nothing in it"):
            parse_interval(f"{left}{one}, {other}{right}")


@pytest.mark.parametrize("text", ["1 to 2", "[1; 2]", "[nan, 2]", "[1e999, 2]", f"[{'1' * 1000}, 2]"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(ValueError, match="not a range"):
        parse_interval(text)
