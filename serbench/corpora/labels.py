"""A corpus on disk -> its utterances with their labels, from paths, tables or lines. No audio is opened here.

Names are what labels write; fields are the columns they become. Order: names from the source, `join`, `compose`,
then `values` renames, then `genders`, `traces` and `emotions`. Each step raises all its faults at once.
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
from serbench.corpora.documents import Folder, number_of, read_whole
from serbench.corpora.entry import DIMENSIONS, GENDERS, Corpus, LineLabels, PathLabels, TableLabels, names_in
from serbench.corpora.patterns import compile_pattern, hits
from serbench.errors import CorpusError, Fault, did_you_mean, listed, printable

if TYPE_CHECKING:
    import pandas as pd

MOST_ANNOTATION_BYTES = 2**24  # of one annotation file

Record = Mapping[str, Any]  # one utterance of a scan
LabelRow = dict[str, str]  # what labels give for an utterance: name -> text as written; `file` is below the root


@dataclass(frozen=True, slots=True)
class Scan:
    """Utterances of a corpus before their audio is read.

    `rows`, sorted by utterance, have utterance, corpus, file, start_s, end_s (None for a whole recording), speaker,
    raw_label, emotion and the entry's other fields. `partial` words what a complete copy has more. `odd_names` has the
    files whose names are not UTF-8, by the names that tables have. `stored` names the corpus in a results folder.
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
        """Return where a recording of the table lies."""
        return self.root / self.odd_names.get(file, file)

    def span(self, row: Record) -> tuple[Path, float | None, float | None]:
        """Return the recording of a row, and the seconds in it where the utterance starts and ends."""
        return self.path(row["file"]), row["start_s"], row["end_s"]


def scan_corpus(corpus: Corpus, *, partial: bool = False) -> Scan:
    """List a corpus' utterances with their labels, or raise CorpusError; `partial` accepts a copy with fewer."""
    folder = Folder(root_of(corpus), corpus.name, fenced=corpus.outside == "refuse")
    globs = (corpus.audio,) if isinstance(corpus.audio, str) else corpus.audio
    files = folder.files(globs, key="audio")
    if not files:
        found = f"no recording matches {', '.join(map(repr, globs))} below {folder.root}"
        raise CorpusError(f"{corpus.name}.audio", found, "recordings", "Correct `audio` or `root`; case matters")
    match corpus.labels:
        case PathLabels():
            labelled = _from_paths(corpus, corpus.labels, files)
        case TableLabels():
            labelled = _from_table(corpus, corpus.labels, folder)
        case LineLabels():
            labelled = _from_lines(corpus, corpus.labels, folder)
    rows = _joined(corpus, folder, _on_disk(corpus, files, labelled, partial=partial))
    rows = [_renamed(corpus, _composed(corpus, row)) for row in rows]
    _check_values(corpus, rows)
    rows, note = _with_one_gender_each(rows)
    if corpus.traces:
        from serbench.corpora.tables import read_traces  # brings pandas, which names in paths do without

        rows = read_traces(corpus, folder, rows)
    records = _records(corpus, rows)
    found, expected = _differences(corpus, records)
    if found and not partial:
        todo = "Complete the copy, or correct `expect`; --partial accepts it as it is and marks every table"
        raise CorpusError(f"{corpus.name}.expect", found, expected, todo)
    wanted = (corpus.expect.utterances or 0) if found else len(labelled)
    title = f"not as expected: {found} instead of {expected}" if found else ""
    title = f"partial, {len(records)} of {wanted}" if wanted > len(records) else title
    odd_names = {printable(file): file for file in files if printable(file) != file}
    return Scan(corpus, folder.root, records, title, odd_names, corpus.name, note)


def _raise(faults: Sequence[Fault]) -> None:
    if faults:
        raise CorpusError(faults)


def _from_paths(corpus: Corpus, labels: PathLabels, files: Sequence[str]) -> list[LabelRow]:
    found = {file: hits(compile_pattern(labels.pattern), file) for file in files}
    if odd := [printable(file) for file, of in found.items() if len(of) != 1]:
        text = f"{len(odd)} of {len(found)} paths do not match exactly once ({listed(odd)})"
        todo = "Correct the pattern, or narrow `audio` to the recordings it describes"
        raise CorpusError(f"{corpus.name}.labels.pattern", text, "one hit in each path", todo)
    return [{**of[0], "file": file} for file, of in found.items()]


def _from_table(corpus: Corpus, labels: TableLabels, folder: Folder) -> list[LabelRow]:
    if labels.file.endswith(".yaml"):  # the tables of an audformat database are in the folder of its header
        stem = glob.escape(labels.file.removesuffix(".yaml"))
        folder.files([f"{stem}.*.csv", f"{stem}.*.parquet"], key="labels.file")
    rows = _table(corpus, folder, labels.file, "labels.file", labels.columns.values(), tables=labels.tables)
    named = [{name: row[column] for name, column in labels.columns.items()} for row in rows]
    return [{**row, "file": _normal(labels.path.format_map(row))} for row in named]


def _from_lines(corpus: Corpus, labels: LineLabels, folder: Folder) -> list[LabelRow]:
    rows: list[LabelRow] = []
    barren, faults = list[str](), list[Fault]()
    annotations = folder.files([labels.files], key="labels.files")
    if not annotations:
        found = f"no file matches '{labels.files}' below {folder.root}"
        faults.append(Fault(f"{corpus.name}.labels.files", found, "annotation files"))
    for name in annotations:
        try:
            content = read_whole(folder.root / name, at_most=MOST_ANNOTATION_BYTES)
        except OSError as error:
            found = f"{printable(name)} cannot be read ({error.strerror})"
            faults.append(Fault(f"{corpus.name}.labels.files", found, "a text file"))
            continue
        lines = content.decode(labels.encoding, errors="replace").splitlines()
        tried = list[list[dict[str, str]]]()
        for n, line in enumerate(lines, start=1):
            try:
                tried.append(hits(compile_pattern(labels.pattern), line))
            except ValueError as error:
                found, todo = f"{error} on line {n} of {printable(name)}", "Shorten the line, or narrow `files`"
                raise CorpusError(f"{corpus.name}.labels.pattern", found, "a shorter line", todo) from error
        rows += [found[0] for found in tried if found]
        barren += [] if any(tried) else [printable(name)]
    if barren:
        found = f"no line matches in {len(barren)} of {len(annotations)} annotation files ({listed(barren)})"
        todo = "Correct the pattern or narrow `files`"
        faults.append(Fault(f"{corpus.name}.labels.pattern", found, "a hit in each", todo))
    _raise(faults)
    return [{**row, "file": _normal(labels.path.format_map(row))} for row in rows]


def _table(
    corpus: Corpus, folder: Folder, file: str, key: str, columns: Iterable[str], *, tables: Sequence[str] = ()
) -> list[LabelRow]:
    """Read the rows of a table that an entry names under `key`, and check that it has the columns."""
    from serbench.corpora.tables import read_table_of_strings

    where = f"{corpus.name}.{key}"
    table = read_table_of_strings(folder.file(file, key=key), where=where, tables=tables)
    expected, has = "the columns that the entry names", f"It has {listed(table.columns)}"
    absent = [column for column in columns if column not in table.columns]
    _raise([
        Fault(where, f"no column '{name}' in the table", expected, did_you_mean(name, table.columns) or has)
        for name in absent
    ])  # fmt: skip
    rows: list[Any] = table.to_dict("records")
    return rows


def _on_disk(corpus: Corpus, files: Sequence[str], rows: list[LabelRow], *, partial: bool) -> list[LabelRow]:
    """Match labels and recordings on disk: each recording needs a label, and each label a recording."""
    names = {_normal(file): file for file in files}
    absent = [row["file"] for row in rows if _normal(row["file"]) not in names]
    present = [{**row, "file": file} for row in rows if (file := names.get(_normal(row["file"])))]
    bare = sorted({*files} - {row["file"] for row in present})
    faults = []
    if absent and not (partial and present):
        found = f"{len(absent)} of {len(rows)} labelled recordings are not on disk ({listed(absent)})"
        todo = "Complete the copy or correct `path`; --partial goes on with those that are there"
        faults.append(Fault(f"{corpus.name}.labels", found, "every labelled recording below the root", todo))
    if bare:
        found = f"{len(bare)} of {len(files)} recordings have no label ({listed(map(printable, bare))})"
        todo = "Complete the labels, or narrow `audio` to the labelled recordings"
        faults.append(Fault(f"{corpus.name}.labels", found, "a label for each recording", todo))
    _raise(faults)
    return present


def _joined(corpus: Corpus, folder: Folder, rows: list[LabelRow]) -> list[LabelRow]:
    """Add what the joined tables give for each utterance."""
    for i, join in enumerate(corpus.join):
        known: dict[tuple[str, ...], LabelRow] = {}
        columns = [*join.match.values(), *join.columns.values()]
        for record in _table(corpus, folder, join.file, f"join.{i}.file", columns):
            key = tuple(record[column] for column in join.match.values())
            if known.setdefault(key, record) != record:
                found = f"two rows for {'/'.join(key)} in {join.file}"
                raise CorpusError(f"{corpus.name}.join.{i}", found, "one row for each")
        keys = [tuple(_composed(corpus, row)[name] for name in join.match) for row in rows]
        if lost := sorted({"/".join(key) for key in keys if key not in known}):
            found = f"{len(lost)} values of {'/'.join(join.match)} are not in {join.file} ({listed(lost)})"
            raise CorpusError(f"{corpus.name}.join.{i}", found, "a row for each")
        added = [{name: known[key][column] for name, column in join.columns.items()} for key in keys]
        rows = [{**row, **more} for row, more in zip(rows, added, strict=True)]
    return rows


def _composed(corpus: Corpus, row: LabelRow) -> LabelRow:
    """Fill the templates whose names are known already: some may come from a join that is still to be made."""
    ready = {field: template for field, template in corpus.compose.items() if set(names_in(template)) <= set(row)}
    return {**row, **{field: template.format_map(row) for field, template in ready.items()}}


def _renamed(corpus: Corpus, row: LabelRow) -> LabelRow:
    renamed = {name: corpus.values.get(name, {}).get(value, value) for name, value in row.items()}
    if corpus.genders:
        speaker, own = renamed.get("speaker", ""), renamed.get("gender", "")
        renamed["gender"] = next((g for g, speakers in corpus.genders.items() if speaker in speakers), own)
    return renamed


def _check_values(corpus: Corpus, rows: list[LabelRow]) -> None:
    """Check that people are named, genders known, times and dimensions numbers, raw labels mapped or dropped."""
    faults, person = list[Fault](), corpus.person_field
    if nameless := [printable(row["file"]) for row in rows if not row.get(person)]:
        found = f"{len(nameless)} utterances have no {person} ({listed(nameless)})"
        faults.append(Fault(f"{corpus.name}.labels", found, f"a {person} for each"))
    if "gender" in corpus.provided:
        counts = Counter(row["gender"] or f"none for {row.get(person)}" for row in rows)
        if odd := [f"'{gender}' ({n})" for gender, n in counts.items() if gender not in GENDERS]:
            todo = "Map it under `values: {gender: ...}`, or list the speaker under `genders`"
            faults.append(Fault(f"{corpus.name}.gender", listed(odd), f"one of {', '.join(GENDERS)}", todo))
    for name in (*DIMENSIONS, "start", "end"):
        if bad := [row for row in rows if row.get(name) and not math.isfinite(number_of(row[name]))]:
            found = f"{len(bad)} values of {name} are no numbers (first '{bad[0][name]}' for {bad[0]['file']})"
            faults.append(Fault(f"{corpus.name}.labels", found, "numbers"))
    known, unmapped = (*corpus.emotions, *corpus.drop), dict[str, list[str]]()
    for row in rows if corpus.emotions else ():  # a corpus of dimensions has no labels
        if row["emotion"] not in known:
            unmapped.setdefault(row["emotion"], []).append(printable(row["file"]))
    for raw, files in sorted(unmapped.items()):
        found = f"raw label '{raw}' is not mapped ({len(files)} files, first {files[0]})"
        todo = f"{did_you_mean(raw, known)} Map it or add it to 'drop'".strip()
        faults.append(Fault(f"{corpus.name}.emotions", found, "", todo))
    _raise(faults)


def _with_one_gender_each(rows: list[LabelRow]) -> tuple[list[LabelRow], str]:
    """Give each speaker the gender of most of their utterances, none where there is a tie, and word what differs.

    Folds keep speakers apart whatever their gender, so a misnamed file does not make a corpus unusable.
    """
    files: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        of = files.setdefault(row.get("speaker", ""), {})
        of.setdefault(row.get("gender", ""), []).append(printable(row["file"]))
    chosen, notes = dict[str, str](), list[str]()
    for speaker, of in sorted(files.items()):
        if speaker and len(of) > 1:
            first, second = sorted(of, key=lambda gender: -len(of[gender]))[:2]
            most = chosen[speaker] = first if len(of[first]) > len(of[second]) else ""
            sides = [f"{len(of[g])} {g}" + (f" ({listed(of[g])})" if g != most else "") for g in sorted(of)]
            notes.append(f"{speaker}: {', '.join(sides if most else [*sides, 'so unknown'])}")
    if not chosen:
        return rows, ""
    found = f"speakers whose files say two genders get that of most files ({listed(notes)})"
    rows = [{**row, "gender": chosen.get(row.get("speaker", ""), row.get("gender", ""))} for row in rows]
    return rows, f"{found}. List them under `genders` in the entry, or correct the labels"


def _records(corpus: Corpus, rows: list[LabelRow]) -> tuple[Record, ...]:
    """Turn names into the fields of the index, sorted by utterance."""
    fields = [name for name in corpus.fields if name not in ("speaker", "emotion")]
    records: list[Record] = []
    for row in rows:
        start_s, end_s = (float(row[name]) if row.get(name) else None for name in ("start", "end"))
        has_span = start_s is not None or end_s is not None
        span = f"#{start_s or 0.0!r}-{'' if end_s is None else repr(end_s)}" if has_span else ""
        records.append({
            "utterance": f"{corpus.name}/{_normal(row['file'])}{span}",
            "corpus": corpus.name,
            "file": printable(row["file"]),
            "start_s": start_s,
            "end_s": end_s,
            "speaker": f"{corpus.name}/{row['speaker']}" if row.get("speaker") else None,
            "raw_label": row.get("emotion"),
            "emotion": corpus.emotions.get(row.get("emotion", "")),
            **{f: (float(row[f]) if f in DIMENSIONS else row[f]) if row.get(f) else None for f in fields},
        })  # fmt: skip
    if twice := sorted(name for name, n in Counter(record["utterance"] for record in records).items() if n > 1):
        found = f"{len(twice)} utterances are labelled twice ({listed(twice)})"
        raise CorpusError(f"{corpus.name}.labels", found, "one label each", "Remove the doubled rows")
    return tuple(sorted(records, key=lambda record: str(record["utterance"])))


def _differences(corpus: Corpus, records: Sequence[Record]) -> tuple[str, str]:
    """Word counts that differ from `expect`, and what they should be; rates are compared once the headers are read."""
    expect = corpus.expect
    counts = Counter(record["emotion"] for record in records)
    speakers = {record["speaker"] for record in records} - {None}
    pairs = [("utterances", len(records), expect.utterances), ("speakers", len(speakers), expect.speakers)]
    pairs += [(f"of {emotion}", counts[emotion], n) for emotion, n in expect.emotions.items()]
    odd = [(name, found, wanted) for name, found, wanted in pairs if wanted is not None and found != wanted]
    return listed(f"{found} {name}" for name, found, _ in odd), listed(f"{wanted} {name}" for name, _, wanted in odd)


def _normal(path: str) -> str:
    return unicodedata.normalize("NFC", printable(path.replace(os.sep, "/")))
