"""A folder of recordings -> a block for corpora.yaml, as far as file names and tables show it.

Comments of the block say what is a guess (CHECK) and what names cannot show (FILL IN). The block is read as `serbench
audit` reads it. It is a start for somebody who has the README of the corpus at hand.
"""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from serbench.corpora.catalogue import Catalogue, build_catalogue, built_in_file
from serbench.corpora.documents import Folder, parse_document, parse_text
from serbench.corpora.entry import FIELDS, NAME
from serbench.corpora.labels import Scan, scan_corpus
from serbench.corpora.patterns import compile_pattern, hits
from serbench.corpora.tables import read_table_of_strings
from serbench.errors import ConfigError, CorpusError, Fault, SerbenchError, listed, printable

AUDIO = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus", ".m4a", ".sph", ".w64")
TABLES = (".csv", ".tsv", ".parquet")
OTHER_TABLES = (".xlsx", ".xls", ".ods", ".json", ".txt")  # that may have labels and are not read
ENOUGH = 0.9  # share of the recordings that a table or a known entry must name
MOST_LABELS = 30  # of a corpus
MOST_TABLES = 50  # of a folder that are looked at; some corpora have one for each recording
CHECK, FILL_IN = "CHECK", "FILL IN"

_WORDS = {  # in names and labels of corpora in many languages, without accents
    "anger": "anger angry ang wut arger zorn rage rabbia rab enojo ira colere raiva gniew złosc",
    "boredom": "boredom bored bor langeweile ennui",
    "calm": "calm calmness cal",
    "contempt": "contempt contemptuous con verachtung",
    "disgust": "disgust disgusted dis ekel degout asco disgusto nojo",
    "excitement": "excitement excited exc",
    "fear": "fear fearful fea scared angst peur paura pau miedo medo strach",
    "frustration": "frustration frustrated fru",
    "happiness": "happiness happy hap joy joyful freude joie gioia gio alegria felicidad radosc",
    "neutral": "neutral neu neutre neutrale neutra normal",
    "sadness": "sadness sad trauer tristesse tristezza tristeza tri smutek",
    "surprise": "surprise surprised sur uberraschung sorpresa sor surpresa zaskoczenie ps",
}
_EMOTION_OF = {word: emotion for emotion, words in _WORDS.items() for word in words.split()}
_INITIALS = {"a": "anger", "b": "boredom", "c": "calm", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutral"}
_INITIALS |= {"s": "sadness", "sa": "sadness", "su": "surprise"}
_GENDER_OF = dict.fromkeys(("f", "female", "w", "woman", "weiblich"), "female")
_GENDER_OF |= dict.fromkeys(("m", "male", "man", "mannlich"), "male")
_BOTH = {"female", "male"}
_SPEAKER = "(?:speaker|actor|spk|subject|subj|sub|participant|talker|person|sprecher)"
_NO_SPEAKER = "(?:text|sentence|sent|utterance|utt|take|rep|session|ses|part)"
_COLUMNS = {  # field -> what its column is called; that of the emotion is known by its values, too
    "gender": "gender|sex",
    "age": "(^|_)age($|_)",
    "start": "^(start|onset|begin)",
    "end": "^(end|stop)",
    "speaker": f"{_SPEAKER}|^(voice|name|who)$",
    "text": "text|sentence|transcript|phrase",
}
_EMOTION = "emo|feeling|affect|label|categor|class"
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # that a name may have and a line may not
# Ways to split a name: at what is no letter or digit; between letters and digits, too, and Fa into F and a; at / only.
_FIELDS, _RUNS, _FOLDERS = r"[^\W_]+|.", r"[A-Z](?=[a-z](?![A-Za-z]))|[^\W\d_]+|\d+|.", r"[^/]+|/"
_WAYS = [(split, whole) for split in (_FIELDS, _RUNS) for whole in (True, False)]  # whole paths, or their last parts
_WAYS += [(f"[^/]+(?=/)|{split}", True) for split in (_FIELDS, _RUNS)] + [(_FOLDERS, True)]  # whole names of folders


@dataclass(frozen=True, slots=True)
class Labels:
    """What gives the labels, the lines of a block that say so, and one row per recording that they label.

    `rows` has the `file` and the fields as they are written; `means` are the emotions of labels.
    """

    source: str
    lines: list[str]
    rows: pd.DataFrame
    means: Mapping[str, str]

    @property
    def examples(self) -> list[tuple[str, str]]:
        """Two recordings, of other emotions and speakers if there are, and what is read of each."""
        shown, rest = self.rows.iloc[:1], self.rows.iloc[1:]
        for name in [name for name in ("emotion", "speaker") if name in rest and len(rest)]:
            other = rest[rest[name] != shown[name].iloc[0]]
            rest = other if len(other) else rest
        told = []
        for row in pd.concat([shown, rest.iloc[:1]]).to_dict("records"):
            words = {name: f"{name} {row[name]}" for name in FIELDS if row.get(name)}
            if (meant := self.means.get(row.get("emotion", ""), "")) not in ("", row.get("emotion")):
                words["emotion"] += f" ({meant})"
            told.append((str(row["file"]), ", ".join(words.values())))
        return told


@dataclass(frozen=True, slots=True)
class Guess:
    """A block for corpora.yaml; `scan` is what the reader of labels found by it.

    Without a scan, the labels cannot be read, and `faults` are why. With a scan, they are what the copy misses.
    """

    name: str
    block: str
    n_recordings: int
    labels: Labels
    scan: Scan | None
    faults: tuple[Fault, ...]

    def comments(self, mark: str) -> list[str]:
        """Return what the block says to CHECK or to FILL IN."""
        return [line.partition(f"# {mark} ")[2] for line in self.block.splitlines() if f"# {mark} " in line]


def guess_corpus(folder: Path, catalogue: Catalogue, *, name: str = "", file: Path = Path("corpora.yaml")) -> Guess:
    """Guess the entry of a corpus from its file names and tables, and read its labels by it.

    Parameters
    ----------
    name : of the corpus; without one, that of the folder, or of the corpus of the catalogue whose recordings these are.
    file : where the block is going to stand; `root` is relative to its folder.

    Raises
    ------
    CorpusError : the folder does not exist or has no recordings.
    ConfigError : the file is that of serbench itself, cannot be read, or has a block of this name.
    """
    if not folder.is_dir():
        raise CorpusError(str(folder), "no such folder", "the folder of a corpus")
    place = folder.resolve()
    files = Folder(place, str(folder), fenced=False).files(["**/*"], key="**")
    kinds = Counter(kind for path in files if (kind := _suffix(path).lower()) in AUDIO)
    if not kinds:
        found = f"none of its {len(files)} files is a recording ({', '.join(AUDIO)})"
        raise CorpusError(str(folder), found, "the folder of a corpus", "Extract the audio of videos first")
    kind = kinds.most_common(1)[0][0]
    paths = [printable(path) for path in files if _suffix(path).lower() == kind]
    known = None if name else _known(paths, place, catalogue)
    if known:
        name, place, labels = known
        lines = []
    else:
        if name in catalogue.corpora:
            raise ConfigError(f"--name {name}", "a corpus of the catalogue", "a new name", "Give another one")
        name = name or _free_name(place.name, catalogue)
        csvs = [one for one in files if one.endswith(TABLES)][:MOST_TABLES]
        tables = [(one, table) for one in csvs if (table := _table(place, one)) is not None]
        labels = _from_tables(tables, paths) or _from_names(paths)
        lines = ["  # Optional: title, licence, citation, and for comparisons across languages e.g. `language: fi`."]
        lines += [f"  audio: {_globs(paths)}", *labels.lines, *_meanings(labels, tables)]
        others = [one for one in files if _suffix(one).lower() in OTHER_TABLES]
        if others and not labels.means:
            lines.append(f"  # {CHECK} {listed(others)}: if labels are there, save them as CSV and begin again")
        lines += [f"  # {CHECK} {n} recordings are {other} and left out" for other, n in kinds.items() if other != kind]
    lines.insert(0, f"  root: {_quoted(_relative(place, file.resolve().parent))}")
    block = "".join(f"{_BREAKS.sub('?', line)}\n" for line in [f"{name}:", *lines])
    return Guess(name, block, len(paths), labels, *_read(name, block, file))


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1]


def _relative(place: Path, folder: Path) -> str:
    return place.relative_to(folder).as_posix() if folder in place.parents else str(place)


def _quoted(text: str) -> str:
    """Write a text of YAML, in single quotes where it is more than a word."""
    return text if re.fullmatch(r"[A-Za-z][\w-]*", text, re.ASCII) else "'" + text.replace("'", "''") + "'"


def _globs(paths: Sequence[str]) -> str:
    """Write FOLDER/*.wav where all recordings are in one folder, else **/*.wav, for each spelling of the suffix."""
    folders = {path.rpartition("/")[0] for path in paths}
    below = "**" if len(folders) > 1 else re.sub(r"([][*?])", r"[\1]", folders.pop())
    globs = [_quoted(f"{below}/*{suffix}".lstrip("/")) for suffix in sorted({*map(_suffix, paths)})]
    return globs[0] if len(globs) == 1 else f"[{', '.join(globs)}]"


def _free_name(folder: str, catalogue: Catalogue) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.lower()).strip("-_")[:50]
    name = name if NAME.fullmatch(name) else f"corpus-{name}".rstrip("-")
    return name if name not in catalogue.corpora else f"my-{name}"


def _table(place: Path, file: str) -> pd.DataFrame | None:
    """Read a table of the folder; None where it cannot be read."""
    try:
        return read_table_of_strings(place / file, where=file)
    except CorpusError:
        return None


def _known(paths: Sequence[str], place: Path, catalogue: Catalogue) -> tuple[str, Path, Labels] | None:
    """Return the corpus of the catalogue whose entry reads nearly all of these recordings, and below which folder."""
    shared = os.path.commonpath([f"./{os.path.dirname(path)}" for path in paths])
    for top in reversed([place / shared, *(place / above for above in Path(shared).parents)]):
        for corpus in (corpus for corpus in catalogue.corpora.values() if corpus.verified):
            try:
                scan = scan_corpus(corpus.model_copy(update={"root": str(top)}), partial=True)
            except CorpusError:
                continue
            if len(scan.rows) >= ENOUGH * len(paths):
                rows = [{name: str(value or "") for name, value in row.items()} for row in scan.rows]
                own = [{"speaker": row["speaker"].partition("/")[2], "emotion": row["raw_label"]} for row in rows]
                table = pd.DataFrame([{**row, **more} for row, more in zip(rows, own, strict=True)])
                return (
                    corpus.name,
                    top,
                    Labels(f"the entry of {corpus.name} in the catalogue", [], table, corpus.emotions),
                )
    return None


def emotion_of(label: str) -> str:
    """Return the canonical emotion that a label or a part of a name is a word for; empty if it is for none or several.

    >>> emotion_of("Pleasant_surprise"), emotion_of("Ärger"), emotion_of("W")
    ('surprise', 'anger', '')
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", label.casefold()) if not unicodedata.combining(c))
    found = {_EMOTION_OF[word] for word in re.split(r"[\W\d_]+", plain) if word in _EMOTION_OF}
    return found.pop() if len(found) == 1 else ""


def _are_emotions(values: pd.Series[str]) -> float:
    """Return the share of values that are words for emotions; 0 where all are for one."""
    of = {value: emotion_of(value) for value in values.unique()}
    return float(values.map(of).ne("").mean()) if len({*of.values()} - {""}) > 1 else 0.0


def _genders(values: pd.Series[str]) -> set[str]:
    return {_GENDER_OF.get(value.casefold(), value) for value in values.unique() if value}


def _seen(values: Iterable[str]) -> str:
    """Word some of the values."""
    every = sorted({*values} - {""})
    return f"{len(every)} values ({', '.join(every[:6])}{', ...' if len(every) > 6 else ''})"


def _from_tables(tables: Iterable[tuple[str, pd.DataFrame]], paths: Sequence[str]) -> Labels | None:
    """Take the labels from a table that names nearly all recordings and has a column of emotions."""
    suffix, folders = _suffix(paths[0]), {path.rpartition("/")[0] for path in paths}
    below = f"{folders.pop()}/".lstrip("/") if len(folders) == 1 else ""
    ways = [(before, after) for before in dict.fromkeys(["", below]) for after in ("", suffix)]
    for file, table in tables:
        for column, (before, after) in ((column, way) for column in table for way in ways):
            named = before + table[column] + after
            columns = {"file": str(column), **_columns(table.drop(columns=column))}
            if len({*named}.intersection(paths)) < ENOUGH * len(paths) or "emotion" not in columns:
                continue
            notes = []
            if "gender" in columns and not _genders(table[columns["gender"]]) <= _BOTH:
                seen = _seen(table[columns.pop("gender")])
                notes.append(f"    # {CHECK} the gender has {seen}; add a column, and `values: {{gender: ...}}`")
            if "speaker" not in columns:
                notes.append(f"    # {FILL_IN} which column is the speaker? The table has {listed(table.columns)}")
            lines = ["  labels:", "    from: table", f"    file: {_quoted(file)}", *notes]
            lines.append(f"    columns: {{{', '.join(f'{name}: {_quoted(of)}' for name, of in columns.items())}}}")
            lines.append(f"    path: {_quoted(f'{before}{{file}}{after}')}")
            rows = pd.DataFrame({name: table[of] for name, of in columns.items()}).assign(file=named)
            return Labels(f"the table {file}", lines, rows, _means(rows["emotion"]))
    return None


def _columns(table: pd.DataFrame) -> dict[str, str]:
    """Return which columns give which fields: the emotion by its values or else its name, the others by their names."""
    few = [str(name) for name, values in table.items() if values.nunique() <= MOST_LABELS]
    share = {name: _are_emotions(table[name]) + 0.1 * bool(re.search(_EMOTION, name.lower())) for name in few}
    emotion = max(few, key=lambda name: share[name], default="")
    columns = {"emotion": emotion} if emotion and share[emotion] else {}
    for name, words in _COLUMNS.items():
        free = [of for of in map(str, table) if of not in columns.values()]
        if column := next((of for of in free if re.search(words, of.lower())), ""):
            columns[name] = column
    return columns


def _means(labels: pd.Series[str]) -> dict[str, str]:
    """Return the emotions of the labels, empty where they are no words; initials count where all are such."""
    values = sorted(labels.unique())
    known = {value: emotion_of(value) for value in values}
    initials = {value: _INITIALS.get(value.lower(), "") for value in values}
    return initials if len(values) > 2 and all(initials.values()) and not any(known.values()) else known


def _from_names(paths: Sequence[str]) -> Labels:
    """Take the labels from parts of the names, split in the way that shows most."""
    found = [_by_parts(paths, split, whole=whole) for split, whole in _WAYS]

    def shows(labels: Labels) -> float:
        emotion = _are_emotions(labels.rows["emotion"]) if labels.means else -1.0
        return 2 * emotion + 2 * ("speaker" in labels.rows) + len(labels.rows) / len(paths)

    labels = max(found, key=shows)
    rows, notes = labels.rows, []
    if odd := sorted({*paths}.difference(rows["file"])):
        notes.append(f"{FILL_IN} {len(odd)} of {len(paths)} names are built otherwise, as {listed(odd[:2])}")
    if "speaker" in rows:
        notes.append(f"{CHECK} the speaker has {_seen(rows['speaker'])}: are these people?")
    if "gender" in rows:
        notes.append(f"{CHECK} the gender is taken from {', '.join(sorted(rows['gender'].unique()))}")
    for name in (name for name in ("speaker", "emotion") if name not in rows):
        notes.append(f"{FILL_IN} no part of the names is the {name}; mark it by (?P<{name}>...), or add a table")
    if labels.means and not any(map(emotion_of, labels.means)):
        notes.append(f"{CHECK} the emotion has {_seen(rows['emotion'])}: are these emotions?")
    lines = [*labels.lines[:2], *(f"    # {note}" for note in notes), *labels.lines[2:]]
    return Labels(labels.source, lines, rows, labels.means)


def _by_parts(paths: Sequence[str], split: str, *, whole: bool) -> Labels:
    """Split paths or the names at their ends into parts, and make a pattern of those that most have in common."""
    tokens = [re.findall(split, os.path.splitext(path if whole else path.rpartition("/")[2])[0]) for path in paths]

    def kind(token: str) -> str:  # what is alike in two names: a word, a number, or the very character in between
        word = "number" if _RUNS in split and token.isdecimal() else "word"
        return token if len(token) == 1 and not token.isalnum() else word

    shapes = [tuple(map(kind, of)) for of in tokens]
    shape = Counter(shapes).most_common(1)[0][0]
    parts = pd.DataFrame([of for of, its in zip(tokens, shapes, strict=True) if its == shape], dtype=object)
    roles = _roles(parts, shape)
    first = max((i + 1 for i in range(min(roles, default=0)) if shape[i] == "/"), default=0)
    apart = [{"/"} if after == "/" else {*shape, "/"} for after in (*shape[1:], "")]
    written = {i: _class(sorted(parts[i].unique()), apart[i]) for i in range(first, len(shape))}
    for i, name in roles.items():
        if name == "speaker" and i > first and shape[i - 1] == "word" and _genders(parts[i - 1]) == _BOTH:
            written[i - 1], written[i] = "", f"(?P<gender>{written[i - 1]}){written[i]}"
        elif name == "speaker" and parts[i].str[1:].str.isdecimal().all() and _genders(parts[i].str[0]) == _BOTH:
            written[i] = f"(?P<gender>[{''.join(sorted(parts[i].str[0].unique()))}])\\d+"
        written[i] = f"(?P<{name}>{written[i]})"
    suffixes = sorted({re.escape(_suffix(path)) for path in paths})
    end = suffixes[0] if len(suffixes) == 1 else f"(?:{'|'.join(suffixes)})"
    pattern = ("^" if whole and not first else "(?:^|/)") + "".join(written.values()) + f"{end}$"
    try:
        compiled = compile_pattern(pattern)
    except ValueError:  # names of a thousand characters
        return Labels("file names", [], pd.DataFrame(columns=["file"]), {})
    found = {path: hits(compiled, path) for path in paths}
    rows = [{"file": path, **of[0]} for path, of in found.items() if len(of) == 1]
    table = pd.DataFrame(rows, columns=["file", *compiled.groupindex])
    lines = ["  labels:", "    from: path", f"    pattern: {_quoted(pattern)}"]
    return Labels("file names", lines, table, _means(table["emotion"]) if "emotion" in table else {})


def _class(values: Sequence[str], kinds: set[str]) -> str:
    r"""Write what a part of the names looks like, as in `anna`, `[a-z]+`, `[AN]` and `\d\d`."""
    if len(values) == 1:
        return re.sub(r"([.^$*+?{}()|\[\]\\])", r"\\\1", values[0])
    widths = {len(value) for value in values}
    if all(map(str.isdecimal, values)):
        return (
            r"\d" * widths.pop() if widths in ({1}, {2}) else rf"\d{{{widths.pop()}}}" if len(widths) == 1 else r"\d+"
        )
    for letters in ("[a-z]", "[A-Z]", "[A-Za-z]"):
        if all(re.fullmatch(f"{letters}+", value) for value in values):
            return f"[{''.join(values)}]" if widths == {1} else f"{letters}+"
    apart = "".join(f"\\{c}" if c in r"\^-][" else c for c in sorted(kinds) if len(c) == 1)
    return f"[^{apart}]+" if any(map(str.isdecimal, "".join(values))) else rf"[^{apart}\d]+"


def _roles(parts: pd.DataFrame, shape: Sequence[str]) -> dict[int, str]:
    """Return which parts are the emotion, the speaker and the gender, as far as their values and places show it."""
    n_values = {i: parts[i].nunique() for i, kind in enumerate(shape) if len(kind) > 1 and parts[i].nunique() > 1}
    genders = [i for i in n_values if _genders(parts[i]) == _BOTH]

    def is_called(i: int, words: str) -> bool:  # speaker03, or Actor_01 of which the part before is the word
        own = parts[i].str.fullmatch(rf"(?i:{words}s?)[-_ ]?(?:\d\w*|[A-Z]{{1,2}})").all()
        before = i - 2 if i and shape[i - 1] in "-_ ." else i - 1
        return bool(own or (before >= 0 and parts[before].str.fullmatch(rf"(?i:{words}s?)").all()))

    def tells(i: int, j: int | None) -> bool:
        return j is not None and bool((parts.groupby(i)[j].nunique() == 1).all())

    called = [i for i in n_values if is_called(i, _SPEAKER)]
    share = {i: _are_emotions(parts[i]) for i in n_values}
    emotion = max((i for i in n_values if share[i] >= 0.5), key=lambda i: (share[i], i), default=None)
    if emotion is None:  # codes: letters, capitals first, or numbers
        codes = [i for i in n_values if 3 <= n_values[i] <= 9 and parts[i].str.len().max() <= 2]
        codes = [i for i in codes if i not in genders and not any(tells(i, j) and tells(j, i) for j in called)]

        def looks(i: int) -> tuple[bool, bool, bool, int]:  # a speaker comes first more often, and a take last
            return i != min(n_values), bool(parts[i].str.isupper().all()), bool(parts[i].str.isalpha().all()), -i

        emotion = max(codes, key=looks, default=None)
    people = [i for i in n_values if i not in (emotion, *genders) and not is_called(i, _NO_SPEAKER)]
    people = [i for i in people if n_values[i] <= len(parts) / 2 and not tells(i, emotion)]
    if emotion is not None:  # what goes with each emotion once is rather the number of a recording
        people = [i for i in people if i in called or parts.groupby([i, emotion]).size().max() > 1]
    speaker = next(iter([*(i for i in called if i in people), *people]), None)
    if speaker is not None and speaker not in called:  # the finer of two that are nested, as in train/anna
        speaker = next((i for i in people if n_values[i] > n_values[speaker] and tells(i, speaker)), speaker)
    is_apart = (i for i in genders if speaker is not None and i != speaker - 1 and tells(speaker, i))
    gender = next(is_apart, None)
    roles = {"emotion": emotion, "speaker": speaker, "gender": gender}
    return {i: name for name, i in roles.items() if i is not None}


def _meanings(labels: Labels, tables: Iterable[tuple[str, pd.DataFrame]]) -> Iterator[str]:
    """Write what labels and genders mean, further facts of the speakers, and how many speakers are left out."""
    rows, means = labels.rows, labels.means
    if unknown := [label for label, emotion in means.items() if not emotion]:
        told = "Or move it to `drop: [...]`, or declare a new one: `own_emotions: [...]`"
        yield f"  # {FILL_IN} which emotion is each of {', '.join(unknown)}? {told}"
    elif not any(map(emotion_of, means)) and means:
        yield f"  # {CHECK} the labels are taken for the first letters of English words"
    yield "  emotions:" if means else "  emotions: {}"
    for label, emotion in means.items():
        n = (rows["emotion"] == label).sum()
        yield f"    {_quoted(label)}: {emotion or f'{FILL_IN}  # {n} recordings'}"
    genders = rows["gender"] if "gender" in rows else pd.Series(dtype=object)
    if "speaker" in rows:
        people = {*rows["speaker"]}
        yield f"  folds: {{leave_out: {1 if len(people) <= 12 else 2}}}"
        of_people = ((file, table, key) for file, table in tables for key in table if people <= {*table[key]})
        for file, table, key in of_people if genders.empty else ():
            columns = {name: of for name, of in _columns(table).items() if name in ("gender", "age") and of != key}
            if table[key].is_unique and "gender" in columns and _genders(table[columns["gender"]]) <= _BOTH:
                yield from ("  join:", f"    - file: {_quoted(file)}", f"      match: {{speaker: {_quoted(str(key))}}}")
                yield f"      columns: {{{', '.join(f'{name}: {_quoted(of)}' for name, of in columns.items())}}}"
                genders = table[columns["gender"]]
                break
    words = {value: _GENDER_OF[value.casefold()] for value in sorted(genders.unique()) if value}
    if any(value != word for value, word in words.items()):
        yield f"  values: {{gender: {{{', '.join(f'{_quoted(value)}: {word}' for value, word in words.items())}}}}}"


def _read(name: str, block: str, file: Path) -> tuple[Scan | None, tuple[Fault, ...]]:
    """Read the labels of a corpus by its block, as it is going to stand in a file."""
    if file.resolve() == built_in_file():
        todo = "Work in a folder of your own, or name another file: --corpora mine.yaml"
        raise ConfigError(str(file), "the catalogue of serbench itself", "a file of yours", todo)
    documents = [parse_document(built_in_file())]
    if file.is_file() and name in parse_document(file).entries:
        todo = "Correct that block or remove it, or choose another name with --name"
        raise ConfigError(f"{file}: {name}", "a block of this name is there", "a new name", todo)
    text = with_block(file, block)
    try:
        documents.append(parse_text(text, file.name, file.resolve().parent))
        corpus = build_catalogue(documents).corpus(name)
        try:
            return scan_corpus(corpus), ()
        except CorpusError as error:
            with contextlib.suppress(CorpusError):
                return scan_corpus(corpus, partial=True), error.faults
            raise
    except SerbenchError as error:
        return None, tuple(fault for fault in error.faults if FILL_IN not in fault.found)


def with_block(file: Path, block: str) -> str:
    """Return the text of a file of corpora, which may not be there yet, with a block at its end."""
    before = file.read_text("utf-8").rstrip("\n") if file.is_file() else ""
    return f"{before}\n\n{block}".lstrip("\n")
