"""Names of recordings -> a pattern with the speaker and the emotion, as far as words and places show them.

A name is split into parts, and what most names have in common becomes the pattern. The emotion is the part with words
for emotions, or else with a few codes. A speaker is a part that goes with several emotions.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from serbench.corpora.entry import EMOTIONS
from serbench.corpora.patterns import compile_pattern, hits
from serbench.errors import MEANT

_EMOTION_OF = {word: name for word, name in MEANT.items() if name in EMOTIONS}
_INITIALS = {"a": "anger", "b": "boredom", "c": "calm", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutral"}
_INITIALS |= {"s": "sadness", "sa": "sadness", "su": "surprise"}
GENDER_OF = dict.fromkeys(("f", "female", "w", "woman", "weiblich"), "female")
GENDER_OF |= dict.fromkeys(("m", "male", "man", "mannlich"), "male")
BOTH = {"female", "male"}
SPEAKER = "(?:speaker|actor|spk|subject|subj|sub|participant|talker|person|sprecher)"
_NO_SPEAKER = "(?:text|sentence|sent|utterance|utt|take|rep|session|ses|part)"
_MOST_CODES, _LONGEST_CODE = 9, 2  # of emotions without words
# Ways to split a name: at what is no letter or digit; between letters and digits, too, and Fa into F and a; at / only.
_FIELDS, _RUNS, _FOLDERS = r"[^\W_]+|.", r"[A-Z](?=[a-z](?![A-Za-z]))|[^\W\d_]+|\d+|.", r"[^/]+|/"
_WAYS = [(split, whole) for split in (_FIELDS, _RUNS) for whole in (True, False)]  # whole paths, or their last parts
_WAYS += [(f"[^/]+(?=/)|{split}", True) for split in (_FIELDS, _RUNS)] + [(_FOLDERS, True)]  # whole names of folders


def emotion_of(label: str) -> str:
    """Return the canonical emotion that a label or a part of a name is a word for; empty if it is for none or several.

    >>> emotion_of("Pleasant_surprise"), emotion_of("Ärger"), emotion_of("W")
    ('surprise', 'anger', '')
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", label.casefold()) if not unicodedata.combining(c))
    found = {_EMOTION_OF[word] for word in re.split(r"[\W\d_]+", plain) if word in _EMOTION_OF}
    return found.pop() if len(found) == 1 else ""


def share_of_emotions(values: pd.Series[str]) -> float:
    """Return the share of values that are words for emotions; 0 where all are for one."""
    of = {value: emotion_of(value) for value in values.unique()}
    return float(values.map(of).ne("").mean()) if len({*of.values()} - {""}) > 1 else 0.0


def emotions_of(labels: pd.Series[str]) -> dict[str, str]:
    """Return the emotion of each label, empty where it is no word; initials of English words count if all are such."""
    values = sorted(labels.unique())
    known = {value: emotion_of(value) for value in values}
    initials = {value: _INITIALS.get(value.lower(), "") for value in values}
    return initials if len(values) > 2 and all(initials.values()) and not any(known.values()) else known


def genders_of(values: pd.Series[str]) -> set[str]:
    """Return the genders that values are words for; other values as they are."""
    return {GENDER_OF.get(value.casefold(), value) for value in values.unique() if value}


def read_names(paths: Sequence[str]) -> tuple[str, pd.DataFrame]:
    """Return the pattern that shows most, and what it reads: the `file` and groups of each path that it matches."""

    def shows(read: tuple[str, pd.DataFrame]) -> float:
        emotion = share_of_emotions(read[1]["emotion"]) if "emotion" in read[1] else -1.0
        return 2 * emotion + 2 * ("speaker" in read[1]) + len(read[1]) / len(paths)

    return max((_read(paths, _pattern(paths, split, whole=whole)) for split, whole in _WAYS), key=shows)


def _read(paths: Sequence[str], pattern: str) -> tuple[str, pd.DataFrame]:
    try:
        compiled = compile_pattern(pattern)
    except ValueError:  # names of a thousand characters
        return "", pd.DataFrame(columns=["file"])
    found = {path: hits(compiled, path) for path in paths}
    rows = [{"file": path, **of[0]} for path, of in found.items() if len(of) == 1]
    return pattern, pd.DataFrame(rows, columns=["file", *compiled.groupindex])


def _pattern(paths: Sequence[str], split: str, *, whole: bool) -> str:
    """Write the pattern of most paths, split into parts; of what follows the last / if not `whole`."""
    tokens = [re.findall(split, os.path.splitext(path if whole else path.rpartition("/")[2])[0]) for path in paths]

    def kind(token: str) -> str:  # what is alike in two names: a word, a number, or the very character in between
        word = "number" if _RUNS in split and token.isdecimal() else "word"
        return token if len(token) == 1 and not token.isalnum() else word

    shapes = [tuple(map(kind, of)) for of in tokens]
    shape = Counter(shapes).most_common(1)[0][0]
    alike = [of for of, its in zip(tokens, shapes, strict=True) if its == shape]
    parts = _Parts(pd.DataFrame(alike, dtype=object), shape)
    emotion, values = parts.emotion(), parts.values
    speaker = parts.speaker(emotion)
    gender = parts.gender(speaker)
    roles = {i: name for i, name in ((emotion, "emotion"), (speaker, "speaker"), (gender, "gender")) if i is not None}
    first = max((i + 1 for i in range(min(roles, default=0)) if shape[i] == "/"), default=0)
    apart = [{"/"} if after == "/" else {*shape, "/"} for after in (*shape[1:], "")]
    written = {i: _written(sorted(values[i].unique()), apart[i]) for i in range(first, len(shape))}
    if speaker is not None and speaker > first and genders_of(values[speaker - 1]) == BOTH:  # F of F03
        written |= {speaker - 1: "", speaker: f"(?P<gender>{written[speaker - 1]}){written[speaker]}"}
    elif speaker is not None and values[speaker].str[1:].str.isdecimal().all():
        letters = values[speaker].str[0]
        if genders_of(letters) == BOTH:
            written[speaker] = f"(?P<gender>[{''.join(sorted(letters.unique()))}])\\d+"
    named = [f"(?P<{roles[i]}>{of})" if i in roles else of for i, of in written.items()]
    ends = sorted({re.escape(os.path.splitext(path)[1]) for path in paths})
    begin, end = "^" if whole and not first else "(?:^|/)", ends[0] if len(ends) == 1 else f"(?:{'|'.join(ends)})"
    return f"{begin}{''.join(named)}{end}$"


def _written(values: Sequence[str], kinds: set[str]) -> str:
    r"""Write what a part of the names looks like, as in `anna`, `[a-z]+`, `[AN]` and `\d\d`."""
    if len(values) == 1:
        return re.sub(r"([.^$*+?{}()|\[\]\\])", r"\\\1", values[0])
    widths = {len(value) for value in values}
    if all(map(str.isdecimal, values)):
        width = widths.pop() if len(widths) == 1 else 0
        return r"\d" * width if width in (1, 2) else rf"\d{{{width}}}" if width else r"\d+"
    for letters in ("[a-z]", "[A-Z]", "[A-Za-z]"):
        if all(re.fullmatch(f"{letters}+", value) for value in values):
            return f"[{''.join(values)}]" if widths == {1} else f"{letters}+"
    apart = "".join(f"\\{c}" if c in r"\^-][" else c for c in sorted(kinds) if len(c) == 1)
    return f"[^{apart}]+" if any(map(str.isdecimal, "".join(values))) else rf"[^{apart}\d]+"


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of names of one shape: a row a name, a column a part. Parts are asked for by their places."""

    values: pd.DataFrame
    shape: Sequence[str]

    @property
    def varied(self) -> dict[int, int]:
        """Parts that are not the same in all names, with their numbers of values."""
        counts = {i: self.values[i].nunique() for i, kind in enumerate(self.shape) if len(kind) > 1}
        return {i: n for i, n in counts.items() if n > 1}

    def tells(self, i: int, j: int | None) -> bool:
        """Whether each value of a part goes with one value of another."""
        return j is not None and bool((self.values.groupby(i)[j].nunique() == 1).all())

    def is_called(self, i: int, words: str) -> bool:
        """Whether a part has a word in it or before it, as in speaker03 and Actor_01."""
        own = self.values[i].str.fullmatch(rf"(?i:{words}s?)[-_ ]?(?:\d\w*|[A-Z]{{1,2}})").all()
        before = i - 2 if i and self.shape[i - 1] in "-_ ." else i - 1
        return bool(own or (before >= 0 and self.values[before].str.fullmatch(rf"(?i:{words}s?)").all()))

    def emotion(self) -> int | None:
        """Find words for emotions, or else codes: capitals, letters or numbers."""
        share = {i: share_of_emotions(self.values[i]) for i in self.varied}
        if worded := [i for i in share if share[i] >= 0.5]:
            return max(worded, key=lambda i: (share[i], i))
        people = [i for i in self.varied if self.is_called(i, SPEAKER)]
        codes = [i for i, n in self.varied.items() if 3 <= n <= _MOST_CODES and i not in people]
        codes = [i for i in codes if self.values[i].str.len().max() <= _LONGEST_CODE]
        codes = [i for i in codes if not any(self.tells(i, j) and self.tells(j, i) for j in people)]

        def looks(i: int) -> tuple[bool, bool, bool, int]:  # a speaker comes first more often, and a take last
            of = self.values[i].str
            return i != min(self.varied), bool(of.isupper().all()), bool(of.isalpha().all()), -i

        return max(codes, key=looks, default=None)

    def speaker(self, emotion: int | None) -> int | None:
        """Find a part that is called so, or else the first that may be people."""
        called = [i for i in self.varied if self.is_called(i, SPEAKER)]
        people = [i for i in self.varied if i != emotion and not self.tells(i, emotion)]
        people = [i for i in people if genders_of(self.values[i]) != BOTH and not self.is_called(i, _NO_SPEAKER)]
        people = [i for i in people if self.varied[i] <= len(self.values) / 2]
        if emotion is not None:  # what goes with each emotion once is rather the number of a recording
            people = [i for i in people if i in called or self.values.groupby([i, emotion]).size().max() > 1]
        if not people or (chosen := [i for i in called if i in people]):
            return chosen[0] if people else None
        finer = (i for i in people if self.varied[i] > self.varied[people[0]] and self.tells(i, people[0]))
        return next(finer, people[0])  # of two that are nested, as in train/anna

    def gender(self, speaker: int | None) -> int | None:
        """Find the gender of the speakers where it is apart from their names."""
        genders = [i for i in self.varied if genders_of(self.values[i]) == BOTH and speaker not in (None, i + 1)]
        return next((i for i in genders if speaker is not None and self.tells(speaker, i)), None)
