"""A folder of recordings -> a block for corpora.yaml, as far as file names and tables show it.

Comments of the block say what is a guess (CHECK) and what names cannot show (FILL IN). The block is read as `serbench
audit` reads it. It is a start for somebody who has the README of the corpus at hand.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from serbench.corpora.catalogue import Catalogue, build_catalogue, built_in_file, place_of
from serbench.corpora.documents import Folder, parse_document, parse_text
from serbench.corpora.entry import FIELDS, NAME, Corpus
from serbench.corpora.labels import Scan, scan_corpus
from serbench.corpora.names import (
    BOTH,
    GENDER_OF,
    SPEAKER,
    emotion_of,
    emotions_of,
    genders_of,
    read_names,
    share_of_emotions,
)
from serbench.corpora.tables import read_table_of_strings
from serbench.errors import ConfigError, CorpusError, Fault, SerbenchError, listed, printable

AUDIO = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus", ".m4a", ".sph", ".w64")
TABLES = ("db.yaml", ".csv", ".tsv", ".parquet")  # the first is the header of an audformat database
OTHER_TABLES = (".xlsx", ".xls", ".ods", ".json", ".txt")  # that may have labels and are not read
ENOUGH = 0.9  # share of the recordings that a table or a known entry must name
MOST_LABELS = 30  # of a corpus
MOST_TABLES = 50  # of a folder that are looked at; some corpora have one for each recording
FEW_SPEAKERS = 12  # up to which one is left out at a time, else two
CHECK, FILL_IN = "CHECK", "FILL IN"

_COLUMNS = {  # field -> what its column is called; that of the emotion is known by its values, too
    "gender": "gender|sex",
    "age": "(^|_)age($|_)",
    "start": "^(start|onset|begin)",
    "end": "^(end|stop)",
    "speaker": f"{SPEAKER}|^(voice|name|who)$",
    "text": "text|sentence|transcript|phrase",
}
_EMOTION = "emo|feeling|affect|label|categor|class"
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # that a name may have and a line may not

Tables = Sequence[tuple[str, pd.DataFrame]]  # with their paths below the folder


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

    Without a `name`, it is that of the folder, or of the built-in corpus whose recordings these are. `file` is where
    the block is going to stand; `root` is relative to its folder. `CorpusError` where the folder does not exist or has
    no recordings; `ConfigError` where the file is that of serbench itself, cannot be read, or has a block of this name.
    """
    if not folder.is_dir():
        raise CorpusError(str(folder), "no such folder", "the folder of a corpus")
    if file.resolve() == built_in_file():
        todo = "Work in a folder of your own, or name another file: --corpora mine.yaml"
        raise ConfigError(str(file), "the catalogue of serbench itself", "a file of yours", todo)
    place = folder.resolve()
    files = Folder(place, str(folder), fenced=False).files(["**/*"], key="**")
    kinds = Counter(kind for path in files if (kind := _suffix(path).lower()) in AUDIO)
    if not kinds:
        found = f"none of its {len(files)} files is a recording ({', '.join(AUDIO)})"
        raise CorpusError(str(folder), found, "the folder of a corpus", "Extract the audio of videos first")
    kind = kinds.most_common(1)[0][0]
    paths = [printable(path) for path in files if _suffix(path).lower() == kind]
    own = parse_document(file).entries if file.is_file() else {}
    readers = [  # names of one's own corpora may be built alike
        one
        for one in catalogue.corpora.values()
        if one.verified and (one.name not in own or Path(place_of(one)).resolve().is_relative_to(place))
    ]
    known = None if name else _known(paths, place, readers)
    if name in catalogue.corpora:
        raise ConfigError(f"--name {name}", "a corpus of the catalogue", "a new name", "Give another one")
    if known:
        name, place, labels = known
        lines = list[str]()
    else:
        name = name or _free_name(place.name, catalogue)
        labels, lines = _described(place, files, paths)
        lines += [f"  # {CHECK} {n} recordings are {other} and left out" for other, n in kinds.items() if other != kind]
    if name in own:
        todo = "Correct that block or remove it, or choose another name with --name"
        raise ConfigError(f"{file}: {name}", "a block of this name is there", "a new name", todo)
    beside = file.resolve().parent
    root = place.relative_to(beside).as_posix() if beside in place.parents else str(place)
    lines.insert(0, f"  root: {_quoted(root)}")
    block = "".join(f"{_BREAKS.sub('?', line)}\n" for line in [f"{name}:", *lines])
    return Guess(name, block, len(paths), labels, *_read(name, block, file))


def _described(place: Path, files: Sequence[str], paths: Sequence[str]) -> tuple[Labels, list[str]]:
    """Describe a corpus that nobody knows: its labels, and the lines of its block but for the root."""
    found = sorted((one for one in files if one.endswith(TABLES)), key=lambda one: (not one.endswith(TABLES[0]), one))
    tables = []
    for one in found[:MOST_TABLES]:
        with contextlib.suppress(CorpusError):  # none that can be read
            tables.append((one, read_table_of_strings(place / one, where=one)))
    labels = _from_tables(tables, paths) or _from_names(paths)
    lines = ["  # Optional: title, licence, citation, and for comparisons across languages e.g. `language: fi`."]
    lines += [f"  audio: {_globs(paths)}", *labels.lines, *_meanings(labels), *_of_speakers(labels, tables)]
    others = [one for one in files if one.endswith(OTHER_TABLES)]
    if others and not labels.means:
        lines.append(f"  # {CHECK} {listed(others)}: if labels are there, save them as CSV and begin again")
    return labels, lines


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1]


def _quoted(text: str) -> str:
    """Write a text of YAML, in single quotes where it is more than a word."""
    return text if re.fullmatch(r"[A-Za-z][\w-]*", text, re.ASCII) else "'" + text.replace("'", "''") + "'"


def _flow(block: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{_quoted(key)}: {_quoted(value)}' for key, value in block.items())}}}"


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


def _known(paths: Sequence[str], place: Path, corpora: Sequence[Corpus]) -> tuple[str, Path, Labels] | None:
    """Return the corpus whose entry reads nearly all of these recordings, and below which folder."""
    shared = os.path.commonpath([f"./{os.path.dirname(path)}" for path in paths])
    for top in reversed([place / shared, *(place / above for above in Path(shared).parents)]):
        for corpus in corpora:
            try:
                scan = scan_corpus(corpus.model_copy(update={"root": str(top)}), partial=True)
            except CorpusError:
                continue
            if len(scan.rows) >= ENOUGH * len(paths):
                rows = [{name: str(value or "") for name, value in row.items()} for row in scan.rows]
                own = [{"speaker": row["speaker"].partition("/")[2], "emotion": row["raw_label"]} for row in rows]
                table = pd.DataFrame([{**row, **more} for row, more in zip(rows, own, strict=True)])
                source = f"the entry of {corpus.name} in the catalogue"
                return corpus.name, top, Labels(source, [], table, corpus.emotions)
    return None


def _seen(values: Iterable[str]) -> str:
    """Word some of the values."""
    every = sorted({*values} - {""})
    return f"{len(every)} values ({', '.join(every[:6])}{', ...' if len(every) > 6 else ''})"


def _from_tables(tables: Tables, paths: Sequence[str]) -> Labels | None:
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
            if "gender" in columns and not genders_of(table[columns["gender"]]) <= BOTH:
                seen = _seen(table[columns.pop("gender")])
                notes.append(f"    # {CHECK} the gender has {seen}; add a column, and `values: {{gender: ...}}`")
            if "speaker" not in columns:
                notes.append(f"    # {FILL_IN} which column is the speaker? The table has {listed(table.columns)}")
            lines = ["  labels:", "    from: table", f"    file: {_quoted(file)}", *notes]
            lines.append(f"    columns: {_flow(columns)}")
            lines.append(f"    path: {_quoted(f'{before}{{file}}{after}')}")
            rows = pd.DataFrame({name: table[of] for name, of in columns.items()}).assign(file=named)
            return Labels(f"the table {file}", lines, rows, emotions_of(rows["emotion"]))
    return None


def _columns(table: pd.DataFrame) -> dict[str, str]:
    """Return which columns give which fields: the emotion by its values or else its name, the others by their names."""
    few = [str(name) for name, values in table.items() if values.nunique() <= MOST_LABELS]
    share = {name: share_of_emotions(table[name]) + 0.1 * bool(re.search(_EMOTION, name.lower())) for name in few}
    emotion = max(few, key=lambda name: share[name], default="")
    columns = {"emotion": emotion} if emotion and share[emotion] else {}
    for name, words in _COLUMNS.items():
        free = [of for of in map(str, table) if of not in columns.values()]
        if column := next((of for of in free if re.search(words, of.lower())), ""):
            columns[name] = column
    return columns


def _from_names(paths: Sequence[str]) -> Labels:
    """Take the labels from parts of the names."""
    pattern, rows = read_names(paths)
    means, notes = emotions_of(rows["emotion"]) if "emotion" in rows else {}, []
    if odd := sorted({*paths}.difference(rows["file"])):
        notes.append(f"{FILL_IN} {len(odd)} of {len(paths)} names are built otherwise, as {listed(odd[:2])}")
    if "speaker" in rows:
        notes.append(f"{CHECK} the speaker has {_seen(rows['speaker'])}: are these people?")
    if "gender" in rows:
        notes.append(f"{CHECK} the gender is taken from {', '.join(sorted(rows['gender'].unique()))}")
    for name in (name for name in ("speaker", "emotion") if name not in rows):
        notes.append(f"{FILL_IN} no part of the names is the {name}; mark it by (?P<{name}>...), or add a table")
    if means and not any(map(emotion_of, means)):
        notes.append(f"{CHECK} the emotion has {_seen(rows['emotion'])}: are these emotions?")
    comments = [f"    # {note}" for note in notes]
    lines = ["  labels:", "    from: path", *comments, f"    pattern: {_quoted(pattern)}"]
    return Labels("file names", lines, rows, means)


def _meanings(labels: Labels) -> Iterator[str]:
    """Write what labels mean."""
    means = labels.means
    if unknown := [label for label, emotion in means.items() if not emotion]:
        told = "Or move it to `drop: [...]`, or declare a new one: `own_emotions: [...]`"
        yield f"  # {FILL_IN} which emotion is each of {', '.join(unknown)}? {told}"
    elif means and not any(map(emotion_of, means)):
        yield f"  # {CHECK} the labels are taken for the first letters of English words"
    yield "  emotions:" if means else "  emotions: {}"
    for label, emotion in means.items():
        n = (labels.rows["emotion"] == label).sum()
        yield f"    {_quoted(label)}: {emotion or f'{FILL_IN}  # {n} recordings'}"


def _of_speakers(labels: Labels, tables: Tables) -> Iterator[str]:
    """Write the genders, which a table with a row for each speaker may give, and how many speakers are left out."""
    people = {*labels.rows["speaker"]} if "speaker" in labels.rows else set()
    genders = labels.rows["gender"] if "gender" in labels.rows else pd.Series(dtype=object)
    for file, table in tables if people and genders.empty else ():
        columns = {name: of for name, of in _columns(table).items() if name in ("gender", "age")}
        keys = [key for key in table if people <= {*table[key]} and table[key].is_unique]
        if keys and "gender" in columns and genders_of(table[columns["gender"]]) <= BOTH:
            yield from ("  join:", f"    - file: {_quoted(file)}", f"      match: {{speaker: {_quoted(str(keys[0]))}}}")
            yield f"      columns: {_flow(columns)}"
            genders = table[columns["gender"]]
            break
    words = {value: GENDER_OF[value.casefold()] for value in sorted(genders.unique()) if value}
    if any(value != word for value, word in words.items()):
        yield f"  values: {{gender: {_flow(words)}}}"
    if people:
        yield f"  folds: {{leave_out: {1 if len(people) <= FEW_SPEAKERS else 2}}}"


def _read(name: str, block: str, file: Path) -> tuple[Scan | None, tuple[Fault, ...]]:
    """Read the labels of a corpus by its block, as it is going to stand in a file."""
    try:
        own = parse_text(with_block(file, block), file.name, file.resolve().parent)
        corpus = build_catalogue([parse_document(built_in_file()), own]).corpus(name)
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
