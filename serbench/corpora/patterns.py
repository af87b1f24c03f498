"""Patterns of corpora.yaml: Python's own regular expressions, matched against a clock.

A pattern such as `(a+)+$` takes longer than the universe lasts on a text it just misses, and `re` cannot be stopped.
The regex package can. It knows more than `re` does, recursion and inexact matching for example; a pattern must be one
of `re` all the same, so that it means what Python's documentation says (docs/decisions/0009).
"""

from __future__ import annotations

import functools
import math
import re
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import regex

LONGEST_PATTERN = 2_000
"""Characters of a pattern. The clock is not looked at while a literal text is searched for, so both are kept short."""

LONGEST_TEXT = 10_000
"""Characters of a path or line that a pattern is matched against."""

TEXT_S = 1.0
"""Seconds that one text may take, of processor time."""

SCAN_S = 30.0
"""Seconds that all texts of a corpus may take, of processor time."""

_MOST_STATES = 2_000_000
"""Length times all counts: `((a{1000}){1000}){1000}` is short and takes gigabytes once compiled."""

_COUNT = re.compile(r"\{(\d*)(?:,(\d*))?\}")
# Plain characters in `re`; the regex package takes them for inexact matching and for named classes.
_OTHERWISE = (
    (re.compile(r"(?<!\\)(?:\\\\)*\{[^{}a-zA-Z]*[deis]\s*(?:[<+:,}]|\d)"), "a { that opens no count; write it \\{"),
    (re.compile(r"\[:\^?\w+:\]"), "a named class; write its characters, or \\[ for a bracket"),
)


class MatchError(Exception):
    """A text could not be matched, for the reason in its message."""


@functools.lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """Compile a pattern of `re` with the regex package.

    Raises
    ------
    ValueError : it is none, or needs more memory or time than a pattern should; the text says why.

    >>> compile_pattern("(?P<speaker>[0-9]+)_(?P<take>[a-z])").groupindex["take"]
    2
    """
    _check_size(pattern)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python finds ambiguous, the two packages may read differently
            re.compile(pattern)
            return regex.compile(pattern, regex.VERSION0)
    except (re.error, regex.error, OverflowError, Warning) as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("groups nested too deeply") from error


def _check_size(pattern: str) -> None:
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"{len(pattern)} characters, at most {LONGEST_PATTERN} are read")
    counts = [max(int(n or 0) for n in (hit["low"], hit["high"])) for hit in _counts(pattern)]
    if math.prod(max(1, n) for n in counts) * len(pattern) > _MOST_STATES:
        raise ValueError("its counts in braces multiply to too many; use + or * where the number does not matter")
    for syntax, reason in _OTHERWISE:
        if syntax.search(pattern):
            raise ValueError(reason)


def _counts(pattern: str) -> Iterator[dict[str, str]]:
    for hit in _COUNT.finditer(pattern):
        # More digits than Python turns into a number are too many anyway.
        yield {"low": (hit[1] or "")[:12], "high": (hit[2] or "")[:12]}


class Matcher:
    """A compiled pattern with the time that a scan has left for it."""

    def __init__(self, pattern: str) -> None:
        self.pattern = compile_pattern(pattern)
        self.left_s = SCAN_S

    def search(self, text: str) -> regex.Match[str] | None:
        """Return the first hit in a text; `MatchError` where it takes too long."""
        hit: regex.Match[str] | None = self._timed(lambda s: self.pattern.search(text, timeout=s), text)
        return hit

    def hits(self, text: str) -> list[regex.Match[str]]:
        """Return all hits in a text; `MatchError` where it takes too long."""
        found: list[regex.Match[str]] = self._timed(lambda s: list(self.pattern.finditer(text, timeout=s)), text)
        return found

    def _timed(self, match: Callable[[float], Any], text: str) -> Any:
        if len(text) > LONGEST_TEXT:
            raise MatchError(f"{len(text)} characters, at most {LONGEST_TEXT} are matched")
        if self.left_s <= 0:
            raise MatchError(f"more than {SCAN_S:g} s in all")
        limit_s = min(TEXT_S, self.left_s)
        started = time.process_time()
        try:
            return match(limit_s)
        except TimeoutError as error:
            raise MatchError(f"no end after {limit_s:.1f} s") from error
        except MemoryError as error:
            raise MatchError("memory without bound") from error
        finally:
            self.left_s -= time.process_time() - started
