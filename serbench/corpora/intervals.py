"""Ranges as mathematics writes them: `[1, 2.5]` has both ends, `(2.5, 5]` lacks its lower one."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*"
_INTERVAL = re.compile(rf"([\[(]){_NUMBER},{_NUMBER}([\])])")


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from `lower` to `upper`, each end counted where it is `closed`."""

    lower: float
    upper: float
    closed_lower: bool
    closed_upper: bool

    def __contains__(self, value: float) -> bool:
        above = value > self.lower or (self.closed_lower and value == self.lower)
        return above and (value < self.upper or (self.closed_upper and value == self.upper))

    def overlaps(self, other: Interval) -> bool:
        """Whether a number lies in both."""
        low = max(self.lower, other.lower)
        high = min(self.upper, other.upper)
        return low < high or (low == high and low in self and low in other)


def parse_interval(text: str) -> Interval:
    """Parse a range.

    Raises
    ------
    ValueError : it is none, or has nothing in it; the text says why.

    >>> interval = parse_interval("(2.5, 5]")
    >>> 2.5 in interval, 3 in interval, 5 in interval
    (False, True, True)
    """
    parts = _INTERVAL.fullmatch(text.strip()) if len(text) <= 100 else None
    if parts is None:
        raise ValueError("not a range such as '[1, 2.5]' or '(2.5, 5]', round brackets where an end is not counted")
    interval = Interval(float(parts[2]), float(parts[3]), parts[1] == "[", parts[4] == "]")
    if interval.lower > interval.upper:
        raise ValueError("a range from the larger to the smaller number; write the smaller one first")
    if interval.lower == interval.upper and not (interval.closed_lower and interval.closed_upper):
        raise ValueError("a range with nothing in it; write [ and ] to have the one number")
    return interval
