"""A corpus on disk -> its utterances with their labels, from paths, tables or lines. No audio is opened here.

Names are what labels write; fields are the columns they become. Order: names from the source, `join`, `compose`,
then `values` renames, then `genders`, `traces` and `emotions`.
"""

from __future__ import annotations

import glob
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serbench.corpora.catalogue import root_of
from serbench.corpora.documents import read_whole
from serbench.corpora.entry import DIMENSIONS, GENDERS, Corpus, LineLabels, PathLabels, TableLabels, names_in
from serbench.corpora.folder import Folder
from serbench.corpora.patterns import MatchError, compile_pattern, hits
from serbench.errors import LISTED_AT_MOST, CorpusError, Fault, did_you_mean, listed, printable

if TYPE_CHECKING:
    import pandas as pd

MOST_ANNOTATION_BYTES = 2**24
"""Bytes of one annotation file."""

Record = Mapping[str, Any]
"""One utterance of a scan."""

Names = dict[str, str]
"""What the labels say of one utterance: name -> text as written; `file` is its path below the root."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Utterances of a corpus before their audio is read.

    `rows`, one per utterance and sorted by it, have the fields utterance, corpus, file, start_s, end_s (None for a
    whole recording), speaker, raw_label, emotion and the entry's other fields; `partial` says what lacks of a
    complete copy, or is empty. `stored` names the corpus in a results folder; `note` says what tables must tell of it.
    """

    corpus: Corpus
    root: Path
    rows: tuple[Record, ...]
    partial: str
    odd_names: Mapping[str, str]
    stored: str
    note: str = ""

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a table."""
        import pandas as pd

        return pd.DataFrame.from_records(list(self.rows)).astype({"start_s": "float64", "end_s": "float64"})

    def path(self, file: str) -> Path:
        """Return where a recording of the table lies; names that are not UTF-8 stand escaped in the table."""
        return self.root / self.odd_names.get(file, file)

    def span(self, row: Mapping[str, Any]) -> tuple[Path, float | None, float | None]:
        """Return the recording of a row of the table, and where in it the utterance starts and ends, in seconds."""
        return self.path(row["file"]), row["start_s"], row["end_s"]


def scan_corpus(corpus: Corpus, *, partial: bool = False) -> Scan:
    """List a corpus' utterances with their labels and hold them against what the entry expects.

    Parameters
    ----------
    partial : accept a copy that is not complete; the tables will say so.

    Raises
    ------
    CorpusError : with all faults: no recordings, unlabelled ones, unmapped labels, counts that differ.
    """
    root = root_of(corpus)
    folder = Folder(root, corpus.name, fenced=corpus.outside == "refuse")
    files = _recordings(corpus, folder)
    faults: list[Fault] = []
    rows = _READERS[type(corpus.labels)](corpus, folder, files, faults)
    n_labelled = len(rows)
    rows = _keep_present(corpus, rows, files, faults, partial=partial)
    rows = _joined(corpus, folder, rows, faults)
    if faults:
        raise CorpusError(faults)
    rows = [_renamed(corpus, _composed(corpus, row)) for row in rows]
    _check_fields(corpus, rows, faults)
    _check_labels(corpus, rows, faults)
    if faults:
        raise CorpusError(faults)
    rows, note = _one_gender_each(rows)
    rows = _traced(corpus, folder, rows)
    records = _records(corpus, rows)
    short = _differences(corpus, records)
    if short and not partial:
        raise CorpusError(short)
    odd_names = {printable(file): file for file in files if printable(file) != file}
    title = _partial_title(len(records), short, n_labelled=n_labelled)
    return Scan(corpus, root, records, title, odd_names, corpus.name, note)


def _recordings(corpus: Corpus, folder: Folder) -> list[str]:
    """Paths of the recordings below the root, sorted; hidden files (`._x.wav` of old Macs) are left out.

    What is no file (a link to nothing in a git-annex copy that was not fetched, a pipe) is a recording too: one that
    cannot be read.
    """
    files = folder.files(corpus.globs, key="audio")
    if not files:
        globs = ", ".join(f"'{g}'" for g in corpus.globs)
        where, todo = f"{corpus.name}.audio", "Correct `audio` or `root`; case matters"
        raise CorpusError([Fault(where, f"no recording matches {globs} below {folder.root}", "recordings", todo)])
    return files


def _read_paths(corpus: Corpus, folder: Folder, files: Sequence[str], faults: list[Fault]) -> list[Names]:
    assert isinstance(corpus.labels, PathLabels)
    pattern = _compiled(corpus, corpus.labels.pattern)
    matched = {file: _matched(pattern, file, corpus, place=f"'{printable(file)}'") for file in files}
    odd = [file for file, found in matched.items() if len(found) != 1]
    if odd:
        found = f"{len(odd)} of {len(files)} paths do not match exactly once ({listed(map(printable, odd))})"
        todo = "Correct the pattern, or narrow `audio` to the recordings it describes"
        faults.append(Fault(f"{corpus.name}.labels.pattern", found, "one hit in each path", todo))
    return [{**_texts(found[0]), "file": file} for file, found in matched.items() if len(found) == 1]


def _read_table(corpus: Corpus, folder: Folder, files: Sequence[str], faults: list[Fault]) -> list[Names]:
    labels = corpus.labels
    assert isinstance(labels, TableLabels)
    where = f"{corpus.name}.labels.file"
    if labels.file.endswith(".yaml"):  # the tables of an audformat database lie beside its header
        beside = glob.escape(labels.file.removesuffix(".yaml"))
        folder.files([f"{beside}.*.csv", f"{beside}.*.parquet"], key="labels.file")
    table = _table(folder.file(labels.file, key="labels.file"), where=where, tables=labels.tables)
    if not _has_columns(table, labels.columns.values(), where=where, faults=faults):
        return []
    rows: list[Names] = [
        {name: record[column] for name, column in labels.columns.items()} for record in table.to_dict("records")
    ]
    return [{**row, "file": _normal(labels.path.format_map(row))} for row in rows]


def _read_lines(corpus: Corpus, folder: Folder, files: Sequence[str], faults: list[Fault]) -> list[Names]:
    labels = corpus.labels
    assert isinstance(labels, LineLabels)
    pattern = _compiled(corpus, labels.pattern)
    rows: list[Names] = []
    annotations = folder.files([labels.files], key="labels.files")
    where = f"{corpus.name}.labels"
    if not annotations:
        faults.append(
            Fault(f"{where}.files", f"no file matches '{labels.files}' below {folder.root}", "annotation files")
        )
    barren = []
    for name in annotations:
        try:
            read = _read_annotation(corpus, pattern, folder.root / name, name=printable(name))
        except OSError as error:
            found = f"{printable(name)} cannot be read ({error.strerror})"
            faults.append(Fault(f"{where}.files", found, "a text file"))
            continue
        rows += read
        if not read:
            barren.append(name)
    if barren:
        names = listed(map(printable, barren))
        found = f"no line matches in {len(barren)} of {len(annotations)} annotation files ({names})"
        faults.append(Fault(f"{where}.pattern", found, "a hit in each", "Correct the pattern or narrow `files`"))
    return [{**row, "file": _normal(labels.path.format_map(row))} for row in rows]


def _read_annotation(corpus: Corpus, pattern: Any, path: Path, *, name: str) -> list[Names]:
    """Match the lines of an annotation file."""
    assert isinstance(corpus.labels, LineLabels)
    text = read_whole(path, at_most=MOST_ANNOTATION_BYTES).decode(corpus.labels.encoding, errors="replace")
    tried = (
        _matched(pattern, line, corpus, place=f"line {n} of {name}")
        for n, line in enumerate(text.splitlines(), start=1)
    )
    return [_texts(found[0]) for found in tried if found]


def _matched(pattern: Any, text: str, corpus: Corpus, *, place: str) -> list[dict[str, str | None]]:
    try:
        return hits(pattern, text)
    except MatchError as error:
        where = f"{corpus.name}.labels.pattern"
        raise CorpusError([Fault(where, f"on {place}: {error}", "paths and lines of labels")]) from error


def _compiled(corpus: Corpus, pattern: str) -> Any:
    try:
        return compile_pattern(pattern)
    except ValueError as error:  # an entry made in Python, past the checks of corpora.yaml
        raise CorpusError([Fault(f"{corpus.name}.labels.pattern", f"'{pattern}' ({error})", "a pattern")]) from error


_READERS = {PathLabels: _read_paths, TableLabels: _read_table, LineLabels: _read_lines}


def _table(path: Path, *, where: str, tables: Sequence[str] = ()) -> pd.DataFrame:
    from serbench.corpora.tables import read_table_of_strings  # brings pandas, which most corpora do without

    return read_table_of_strings(path, where=where, tables=tables)


def _has_columns(table: pd.DataFrame, columns: Iterable[str], *, where: str, faults: list[Fault]) -> bool:
    absent = [column for column in columns if column not in table.columns]
    for column in absent:
        todo = did_you_mean(column, map(str, table.columns)) or f"It has {listed(map(str, table.columns))}"
        faults.append(Fault(where, f"no column '{column}' in the table", "the columns that the entry names", todo))
    return not absent


def _keep_present(
    corpus: Corpus, rows: list[Names], files: Sequence[str], faults: list[Fault], *, partial: bool
) -> list[Names]:
    """Match labelled utterances and recordings on disk: each recording needs a label, and each label a recording."""
    on_disk = {_normal(file): file for file in files}
    present = [{**row, "file": on_disk[_normal(row["file"])]} for row in rows if _normal(row["file"]) in on_disk]
    absent = [row["file"] for row in rows if _normal(row["file"]) not in on_disk]
    labelled = {row["file"] for row in present}
    bare = [file for file in files if file not in labelled]
    if absent and not (partial and present):
        found = f"{len(absent)} of {len(rows)} labelled recordings are not on disk ({listed(absent)})"
        todo = "Complete the copy or correct `path`; --partial goes on with those that are there"
        faults.append(Fault(f"{corpus.name}.labels", found, "every labelled recording below the root", todo))
    if bare and not isinstance(corpus.labels, PathLabels):
        found = f"{len(bare)} of {len(files)} recordings have no label ({listed(map(printable, bare))})"
        todo = "Complete the labels, or narrow `audio` to the labelled recordings"
        faults.append(Fault(f"{corpus.name}.labels", found, "a label for each recording", todo))
    return present


def _joined(corpus: Corpus, folder: Folder, rows: list[Names], faults: list[Fault]) -> list[Names]:
    for i, join in enumerate(corpus.join):
        where = f"{corpus.name}.join.{i}"
        table = _table(folder.file(join.file, key=f"join.{i}.file"), where=f"{where}.file")
        if not _has_columns(table, [*join.match.values(), *join.columns.values()], where=where, faults=faults):
            continue
        known: dict[tuple[str, ...], dict[str, str]] = {}
        for written in table.to_dict("records"):
            record = {str(column): str(value) for column, value in written.items()}
            key = tuple(record[c] for c in join.match.values())
            if known.setdefault(key, record) != record:
                faults.append(Fault(where, f"two rows for {'/'.join(key)} in {join.file}", "one row for each"))
        keys = [tuple(_composed(corpus, row)[name] for name in join.match) for row in rows]
        lost = sorted({"/".join(key) for key in keys if key not in known})
        if lost:
            found = f"{len(lost)} values of {'/'.join(join.match)} are not in {join.file} ({listed(lost)})"
            faults.append(Fault(where, found, "a row for each"))
        rows = [
            {**row, **{name: known[key][column] if key in known else "" for name, column in join.columns.items()}}
            for row, key in zip(rows, keys, strict=True)
        ]
    return rows


def _composed(corpus: Corpus, row: Names) -> Names:
    """Fill the templates whose names are known already: some may come from a join that is still to be made."""
    ready = {field: template for field, template in corpus.compose.items() if set(names_in(template)) <= set(row)}
    return {**row, **{field: template.format_map(row) for field, template in ready.items()}}


def _traced(corpus: Corpus, folder: Folder, rows: list[Names]) -> list[Names]:
    if not corpus.traces:
        return rows
    from serbench.corpora.traces import traced  # brings numpy, which labels do without

    faults: list[Fault] = []
    told = traced(corpus, folder, rows, faults)
    if faults:
        raise CorpusError(faults)
    return told


def _renamed(corpus: Corpus, row: Names) -> Names:
    renamed = {name: corpus.values.get(name, {}).get(value, value) for name, value in row.items()}
    if corpus.genders:
        speaker = renamed.get("speaker", "")
        own = renamed.get("gender", "")
        renamed["gender"] = next((g for g, speakers in corpus.genders.items() if speaker in speakers), own)
    return renamed


def _check_fields(corpus: Corpus, rows: list[Names], faults: list[Fault]) -> None:
    """Check that people are named, genders known, times and dimensions numbers."""
    nameless = [row["file"] for row in rows if not row.get(corpus.person)]
    if nameless:
        found = f"{len(nameless)} utterances have no {corpus.person} ({listed(map(printable, nameless))})"
        faults.append(Fault(f"{corpus.name}.labels", found, f"a {corpus.person} for each"))
    if "gender" in corpus.provided:
        odd = Counter(row["gender"] or f"none for {row.get(corpus.person)}" for row in rows)
        unknown = [f"'{gender}' ({n})" for gender, n in odd.items() if gender not in GENDERS]
        if unknown:
            todo = "Map it under `values: {gender: ...}`, or list the speaker under `genders`"
            faults.append(Fault(f"{corpus.name}.gender", listed(unknown), f"one of {', '.join(GENDERS)}", todo))
    for name in (*DIMENSIONS, "start", "end"):
        bad = [row for row in rows if row.get(name) and not _is_number(row[name])]
        if bad:
            found = f"{len(bad)} values of {name} are no numbers (first '{bad[0][name]}' for {bad[0]['file']})"
            faults.append(Fault(f"{corpus.name}.labels", found, "numbers"))


def _one_gender_each(rows: list[Names]) -> tuple[list[Names], str]:
    """Give each speaker the gender of most of their utterances, none where there is a tie, and word what differs.

    Folds keep speakers apart whatever their gender, so a misnamed file does not make a corpus unusable.
    """
    files: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        files.setdefault(row.get("speaker", ""), {}).setdefault(row.get("gender", ""), []).append(row["file"])
    mixed = {speaker: of for speaker, of in sorted(files.items()) if speaker and len(of) > 1}
    if not mixed:
        return rows, ""
    chosen = {speaker: _most(of) for speaker, of in mixed.items()}
    told = [f"{speaker}: {_sides(of, chosen[speaker])}" for speaker, of in mixed.items()]
    more = f"; ... ({len(told)} in all)" if len(told) > LISTED_AT_MOST else ""
    found = f"speakers whose files say two genders get that of most files ({'; '.join(told[:LISTED_AT_MOST])}{more})"
    rows = [{**row, "gender": chosen.get(row.get("speaker", ""), row.get("gender", ""))} for row in rows]
    return rows, f"{found}. List them under `genders` in the entry, or correct the labels"


def _most(files: Mapping[str, Sequence[str]]) -> str:
    """Return the gender of most files, or nothing where two genders have as many."""
    first, second = sorted(files, key=lambda gender: -len(files[gender]))[:2]
    return first if len(files[first]) > len(files[second]) else ""


def _sides(files: Mapping[str, Sequence[str]], chosen: str) -> str:
    """Word how many files say each gender, and name those that are outvoted."""
    sides = (
        f"{len(of)} {gender}" + ("" if gender == chosen else f" ({listed(map(printable, of))})")
        for gender, of in sorted(files.items())
    )
    return ", ".join([*sides, *([] if chosen else ["so unknown"])])


def _check_labels(corpus: Corpus, rows: list[Names], faults: list[Fault]) -> None:
    if not corpus.emotions:
        return  # a corpus of dimensions, without categories
    known = {*corpus.emotions, *corpus.drop}
    unmapped: dict[str, list[str]] = {}
    for row in rows:
        if row["emotion"] not in known:
            unmapped.setdefault(row["emotion"], []).append(row["file"])
    for raw, files in sorted(unmapped.items()):
        found = f"raw label '{raw}' is not mapped ({len(files)} files, first {printable(files[0])})"
        todo = did_you_mean(raw, known) + " Map it or add it to 'drop'"
        faults.append(Fault(f"{corpus.name}.emotions", found, todo=todo.strip()))


def _records(corpus: Corpus, rows: list[Names]) -> tuple[Record, ...]:
    fields = [field for field in corpus.fields if field not in ("speaker", "emotion")]
    records = []
    for row in rows:
        start_s, end_s = _seconds(row.get("start")), _seconds(row.get("end"))
        records.append(
            {
                "utterance": _utterance_id(corpus.name, row["file"], start_s, end_s),
                "corpus": corpus.name,
                "file": printable(row["file"]),
                "start_s": start_s,
                "end_s": end_s,
                "speaker": f"{corpus.name}/{row['speaker']}" if row.get("speaker") else None,
                "raw_label": row.get("emotion"),
                "emotion": corpus.emotions.get(row.get("emotion", "")),
                **{field: _typed(field, row.get(field)) for field in fields},
            }
        )
    twice = [utterance for utterance, n in Counter(str(r["utterance"]) for r in records).items() if n > 1]
    if twice:
        found = f"{len(twice)} utterances are labelled twice ({listed(sorted(twice))})"
        raise CorpusError([Fault(f"{corpus.name}.labels", found, "one label each", "Remove the doubled rows")])
    return tuple(sorted(records, key=lambda record: str(record["utterance"])))


def _utterance_id(corpus: str, file: str, start_s: float | None, end_s: float | None) -> str:
    segment = "" if start_s is None and end_s is None else f"#{start_s or 0.0!r}-{'' if end_s is None else repr(end_s)}"
    return f"{corpus}/{_normal(file)}{segment}"


def _differences(corpus: Corpus, records: Sequence[Record]) -> list[Fault]:
    """Compare with `expect`; rates are compared once the headers are read."""
    expect = corpus.expect
    counts = Counter(record["emotion"] for record in records)
    speakers = {record["speaker"] for record in records} - {None}
    pairs = [("utterances", len(records), expect.utterances), ("speakers", len(speakers), expect.speakers)]
    pairs += [(f"of {emotion}", counts[emotion], n) for emotion, n in expect.emotions.items()]
    odd = [(name, found, wanted) for name, found, wanted in pairs if wanted is not None and found != wanted]
    if not odd:
        return []
    found = listed(f"{found} {name}" for name, found, _ in odd)
    wanted = listed(f"{wanted} {name}" for name, _, wanted in odd)
    todo = "Complete the copy, or correct `expect`; --partial accepts it as it is and says so in every table"
    return [Fault(f"{corpus.name}.expect", found, wanted, todo)]


def _partial_title(n: int, short: Sequence[Fault], *, n_labelled: int) -> str:
    """Say what lacks: of the utterances expected, or else of those labelled."""
    if not short:
        return f"partial, {n} of {n_labelled}" if n_labelled > n else ""
    wanted = short[0].expected.split(" utterances")[0]
    if wanted.isdecimal() and int(wanted) > n:
        return f"partial, {n} of {wanted}"
    return f"not as expected: {short[0].found} instead of {short[0].expected}"


def _texts(groups: Mapping[str, str | None]) -> Names:
    return {name: printable(value or "") for name, value in groups.items()}


def _normal(path: str) -> str:
    return unicodedata.normalize("NFC", printable(path.replace(os.sep, "/")))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _seconds(text: str | None) -> float | None:
    return float(text) if text else None


def _typed(field: str, text: str | None) -> str | float | None:
    if not text:
        return None
    return float(text) if field in DIMENSIONS else text
