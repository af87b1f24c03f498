"""Patterns of corpora.yaml: regular expressions that RE2 matches, in time linear in the text.

A pattern is one that both Python's `re` and RE2 read, and it means what Python's documentation says. RE2 has no
look-around and no back-references; that is why no pattern and no text makes it slow (docs/decisions/0009).
"""

from __future__ import annotations

import functools
import itertools
import re
import warnings
from typing import Any

import re2

from serbench.errors import printable

LONGEST_PATTERN = 2_000  # characters
LONGEST_TEXT = 10_000  # characters of a path or line
MOST_GROUPS = 50  # of a pattern: the time of a match grows with their number
_MOST_BYTES = 2**20  # memory of a compiled pattern; the longest pattern of the catalogue needs a tenth of this
# RE2's own classes know ASCII only; these are Python's, and combining marks count as letters (names on old Macs).
_CLASSES = {"d": r"\p{Nd}", "w": r"\pL\pM\pN_", "s": r"\s\v\pZ"}
_TOKEN = re.compile(r"\\(.)|\[\^?\]?|\]", re.DOTALL)
_OTHERWISE = {  # what one of the two packages takes for plain characters
    r"\[:\^?\w+:\]": "a named class; write its characters, or \\[ for a bracket",
    r"(?<!\\)\{,\d*\}": "a count without its lower end; write {0,",
    r"(?<!\\)\{\d*,?\d{5}": "a count above 1000; use + or * where the number does not matter",
}


@functools.lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Any:
    """Compile a pattern with RE2; the ValueError of one that cannot be used names the reason."""
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"{len(pattern)} characters, at most {LONGEST_PATTERN} are read")
    for syntax, reason in _OTHERWISE.items():
        if re.search(syntax, pattern):
            raise ValueError(reason)
    options = re2.Options()
    options.max_mem, options.log_errors = _MOST_BYTES, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python finds ambiguous, RE2 may read differently
            n_groups = re.compile(pattern).groups
        compiled = re2.compile(_for_re2(pattern), options)
    except re2.error as error:
        todo = "RE2 knows no look-around and no back-references, and no count above 1000"
        raise ValueError(f"{error.args[0].decode(errors='replace')}; {todo} (docs/decisions/0009)") from error
    except (re.error, OverflowError, UnicodeEncodeError, Warning, RecursionError) as error:
        deep = "groups nested too deeply" if isinstance(error, RecursionError) else ""
        raise ValueError(deep or str(error)) from error
    if n_groups > MOST_GROUPS:
        raise ValueError(f"{n_groups} groups, at most {MOST_GROUPS} are read")
    return compiled


def _for_re2(pattern: str) -> str:
    """Write out the classes that RE2 knows for ASCII only."""
    in_brackets = False

    def written(token: re.Match[str]) -> str:
        nonlocal in_brackets
        letter = token[1] or ""
        if not letter:
            in_brackets = not token[0].endswith("]") if in_brackets else token[0].startswith("[")
        elif inner := _CLASSES.get(letter.lower()):
            if letter.isupper() and in_brackets:
                raise ValueError(f"\\{letter} within brackets; write the characters")
            return inner if in_brackets else f"[{'^' if letter.isupper() else ''}{inner}]"
        elif letter in ("b", "B") and not in_brackets:
            raise ValueError(f"\\{letter}, which RE2 knows for ASCII only; write the characters that end the word")
        return r"\z" if letter == "Z" else token[0]

    return _TOKEN.sub(written, pattern)


def hits(pattern: Any, text: str) -> list[dict[str, str]]:
    """Return the groups of the first two hits in a text; a group without a part in the hit is empty.

    A text that is too long is a ValueError.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"{len(text)} characters, at most {LONGEST_TEXT} are read")
    found = itertools.islice(pattern.finditer(printable(text)), 2)
    return [{name: value or "" for name, value in hit.groupdict().items()} for hit in found]
