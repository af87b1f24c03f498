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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from serbench.corpora.catalogue import root_of
from serbench.corpora.documents import Folder, number_of, read_whole
from serbench.corpora.entry import DIMENSIONS, GENDERS, Corpus, LineLabels, PathLabels, TableLabels, names_in
from serbench.corpora.patterns import compile_pattern, hits
from serbench.corpora.tables import read_table_of_strings, read_traces
from serbench.errors import CorpusError, Fault, did_you_mean, listed, printable

MOST_ANNOTATION_BYTES = 2**24  # of one annotation file

Record = Mapping[str, Any]  # one utterance of a scan
Names = dict[str, str]  # what labels give for an utterance: name -> text as written; `file` is its path below the root


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
        return pd.DataFrame.from_records(list(self.rows)).astype({"start_s": "float64", "end_s": "float64"})

    def path(self, file: str) -> Path:
        """Return where a recording of the table lies."""
        return self.root / self.odd_names.get(file, file)

    def span(self, row: Mapping[str, Any]) -> tuple[Path, float | None, float | None]:
        """Return the recording of a row, and the seconds in it where the utterance starts and ends."""
        return self.path(row["file"]), row["start_s"], row["end_s"]


def scan_corpus(corpus: Corpus, *, partial: bool = False) -> Scan:
    """List a corpus' utterances with their labels, or raise CorpusError with all faults.

    `partial` accepts a copy that has not what the entry expects.
    """
    folder = Folder(root_of(corpus), corpus.name, fenced=corpus.outside == "refuse")
    globs = (corpus.audio,) if isinstance(corpus.audio, str) else corpus.audio
    files = folder.files(globs, key="audio")
    labels = _Labels(corpus, folder, files)
    if not files:
        found = f"no recording matches {', '.join(map(repr, globs))} below {folder.root}"
        labels.fault("audio", found, "recordings", "Correct `audio` or `root`; case matters")
        labels.stop()
    readers = {PathLabels: labels.from_paths, TableLabels: labels.from_table, LineLabels: labels.from_lines}
    labelled = readers[type(corpus.labels)]()
    rows = labels.joined(labels.present(labelled, partial=partial))
    labels.stop()
    rows = [_renamed(corpus, _composed(corpus, row)) for row in rows]
    labels.check_values(rows)
    labels.stop()
    rows, note = _with_one_gender_each(rows)
    rows = read_traces(corpus, folder, rows, labels.faults)
    labels.stop()
    records = labels.records(rows)
    found, expected = _differences(corpus, records)
    if found and not partial:
        todo = "Complete the copy, or correct `expect`; --partial accepts it as it is and marks every table"
        labels.fault("expect", found, expected, todo)
    labels.stop()
    wanted = (corpus.expect.utterances or 0) if found else len(labelled)
    title = f"not as expected: {found} instead of {expected}" if found else ""
    title = f"partial, {len(records)} of {wanted}" if wanted > len(records) else title
    odd_names = {printable(file): file for file in files if printable(file) != file}
    return Scan(corpus, folder.root, records, title, odd_names, corpus.name, note)


@dataclass(frozen=True, slots=True)
class _Labels:
    """The labels of a corpus with these recordings; `faults` collects what is wrong with them."""

    corpus: Corpus
    folder: Folder
    files: Sequence[str]
    faults: list[Fault] = field(default_factory=list)

    def fault(self, key: str, found: str, expected: str = "", todo: str = "") -> None:
        self.faults.append(Fault(f"{self.corpus.name}.{key}", found, expected, todo))

    def stop(self) -> None:
        if self.faults:
            raise CorpusError(self.faults)

    def from_paths(self) -> list[Names]:
        found = {file: self._hits(file, place=f"'{printable(file)}'") for file in self.files}
        odd = [printable(file) for file, of in found.items() if len(of) != 1]
        if odd:
            text = f"{len(odd)} of {len(found)} paths do not match exactly once ({listed(odd)})"
            todo = "Correct the pattern, or narrow `audio` to the recordings it describes"
            self.fault("labels.pattern", text, "one hit in each path", todo)
        return [{**of[0], "file": file} for file, of in found.items() if len(of) == 1]

    def from_table(self) -> list[Names]:
        labels = self.corpus.labels
        assert isinstance(labels, TableLabels)
        if labels.file.endswith(".yaml"):  # the tables of an audformat database are in the folder of its header
            stem = glob.escape(labels.file.removesuffix(".yaml"))
            self.folder.files([f"{stem}.*.csv", f"{stem}.*.parquet"], key="labels.file")
        rows = self._table(labels.file, "labels.file", labels.columns.values(), tables=labels.tables)
        named = [{name: row[column] for name, column in labels.columns.items()} for row in rows]
        return [{**row, "file": _normal(labels.path.format_map(row))} for row in named]

    def from_lines(self) -> list[Names]:
        labels = self.corpus.labels
        assert isinstance(labels, LineLabels)
        rows: list[Names] = []
        barren: list[str] = []
        annotations = self.folder.files([labels.files], key="labels.files")
        if not annotations:
            found = f"no file matches '{labels.files}' below {self.folder.root}"
            self.fault("labels.files", found, "annotation files")
        for name in annotations:
            try:
                content = read_whole(self.folder.root / name, at_most=MOST_ANNOTATION_BYTES)
            except OSError as error:
                self.fault("labels.files", f"{printable(name)} cannot be read ({error.strerror})", "a text file")
                continue
            lines = enumerate(content.decode(labels.encoding, errors="replace").splitlines(), start=1)
            tried = [self._hits(line, place=f"line {n} of {printable(name)}") for n, line in lines]
            rows += [found[0] for found in tried if found]
            barren += [] if any(tried) else [printable(name)]
        if barren:
            found = f"no line matches in {len(barren)} of {len(annotations)} annotation files ({listed(barren)})"
            self.fault("labels.pattern", found, "a hit in each", "Correct the pattern or narrow `files`")
        return [{**row, "file": _normal(labels.path.format_map(row))} for row in rows]

    def _hits(self, text: str, *, place: str) -> list[Names]:
        assert not isinstance(self.corpus.labels, TableLabels)
        try:
            return hits(compile_pattern(self.corpus.labels.pattern), text)
        except ValueError as error:  # too long a text
            self.fault("labels.pattern", f"on {place}: {error}", "paths and lines of labels")
            raise CorpusError(self.faults) from error

    def _table(self, file: str, key: str, columns: Iterable[str], *, tables: Sequence[str] = ()) -> list[Names]:
        """Read the rows of a table that an entry names under `key`; none where a column of the entry is not there."""
        where = f"{self.corpus.name}.{key}"
        table = read_table_of_strings(self.folder.file(file, key=key), where=where, tables=tables)
        absent = [column for column in columns if column not in table.columns]
        for column in absent:
            todo = did_you_mean(column, table.columns) or f"It has {listed(table.columns)}"
            self.fault(key, f"no column '{column}' in the table", "the columns that the entry names", todo)
        rows: list[Any] = [] if absent else table.to_dict("records")
        return rows

    def present(self, rows: list[Names], *, partial: bool) -> list[Names]:
        """Match labels and recordings on disk: each recording needs a label, and each label a recording."""
        on_disk = {_normal(file): file for file in self.files}
        absent = [row["file"] for row in rows if _normal(row["file"]) not in on_disk]
        present = [{**row, "file": file} for row in rows if (file := on_disk.get(_normal(row["file"])))]
        bare = sorted({*self.files} - {row["file"] for row in present})
        if absent and not (partial and present):
            found = f"{len(absent)} of {len(rows)} labelled recordings are not on disk ({listed(absent)})"
            todo = "Complete the copy or correct `path`; --partial goes on with those that are there"
            self.fault("labels", found, "every labelled recording below the root", todo)
        if bare and not isinstance(self.corpus.labels, PathLabels):
            found = f"{len(bare)} of {len(self.files)} recordings have no label ({listed(map(printable, bare))})"
            todo = "Complete the labels, or narrow `audio` to the labelled recordings"
            self.fault("labels", found, "a label for each recording", todo)
        return present

    def joined(self, rows: list[Names]) -> list[Names]:
        """Add what the joined tables give for each utterance; no rows where something is wrong with a table."""
        for i, join in enumerate(self.corpus.join):
            n_faults, known = len(self.faults), dict[tuple[str, ...], Names]()
            for record in self._table(join.file, f"join.{i}.file", [*join.match.values(), *join.columns.values()]):
                key = tuple(record[column] for column in join.match.values())
                if known.setdefault(key, record) != record:
                    self.fault(f"join.{i}", f"two rows for {'/'.join(key)} in {join.file}", "one row for each")
            keys = [tuple(_composed(self.corpus, row)[name] for name in join.match) for row in rows]
            lost = sorted({"/".join(key) for key in keys if key not in known})
            if lost and len(self.faults) == n_faults:
                found = f"{len(lost)} values of {'/'.join(join.match)} are not in {join.file} ({listed(lost)})"
                self.fault(f"join.{i}", found, "a row for each")
            if len(self.faults) > n_faults:
                return []
            added = [{name: known[key][column] for name, column in join.columns.items()} for key in keys]
            rows = [{**row, **more} for row, more in zip(rows, added, strict=True)]
        return rows

    def check_values(self, rows: list[Names]) -> None:
        """Check that people are named, genders known, times and dimensions numbers, raw labels mapped or dropped."""
        corpus, person = self.corpus, self.corpus.person
        nameless = [printable(row["file"]) for row in rows if not row.get(person)]
        if nameless:
            found = f"{len(nameless)} utterances have no {person} ({listed(nameless)})"
            self.fault("labels", found, f"a {person} for each")
        if "gender" in corpus.provided:
            odd = Counter(row["gender"] or f"none for {row.get(person)}" for row in rows)
            unknown = [f"'{gender}' ({n})" for gender, n in odd.items() if gender not in GENDERS]
            if unknown:
                todo = "Map it under `values: {gender: ...}`, or list the speaker under `genders`"
                self.fault("gender", listed(unknown), f"one of {', '.join(GENDERS)}", todo)
        for name in (*DIMENSIONS, "start", "end"):
            bad = [row for row in rows if row.get(name) and not math.isfinite(number_of(row[name]))]
            if bad:
                found = f"{len(bad)} values of {name} are no numbers (first '{bad[0][name]}' for {bad[0]['file']})"
                self.fault("labels", found, "numbers")
        unmapped: dict[str, list[str]] = {}
        for row in rows if corpus.emotions else ():  # a corpus of dimensions has no labels
            if row["emotion"] not in (*corpus.emotions, *corpus.drop):
                unmapped.setdefault(row["emotion"], []).append(printable(row["file"]))
        for raw, files in sorted(unmapped.items()):
            todo = f"{did_you_mean(raw, (*corpus.emotions, *corpus.drop))} Map it or add it to 'drop'".strip()
            self.fault("emotions", f"raw label '{raw}' is not mapped ({len(files)} files, first {files[0]})", "", todo)

    def records(self, rows: list[Names]) -> tuple[Record, ...]:
        """Turn names into the fields of the index, sorted by utterance."""
        corpus = self.corpus
        fields = [name for name in corpus.fields if name not in ("speaker", "emotion")]
        records: dict[str, Record] = {}
        twice = set()
        for row in rows:
            start_s, end_s = (float(row[name]) if row.get(name) else None for name in ("start", "end"))
            has_span = start_s is not None or end_s is not None
            span = f"#{start_s or 0.0!r}-{'' if end_s is None else repr(end_s)}" if has_span else ""
            utterance = f"{corpus.name}/{_normal(row['file'])}{span}"
            twice |= {utterance} & set(records)
            records[utterance] = {
                "utterance": utterance,
                "corpus": corpus.name,
                "file": printable(row["file"]),
                "start_s": start_s,
                "end_s": end_s,
                "speaker": f"{corpus.name}/{row['speaker']}" if row.get("speaker") else None,
                "raw_label": row.get("emotion"),
                "emotion": corpus.emotions.get(row.get("emotion", "")),
                **{f: (float(row[f]) if f in DIMENSIONS else row[f]) if row.get(f) else None for f in fields},
            }
        if twice:
            found = f"{len(twice)} utterances are labelled twice ({listed(sorted(twice))})"
            self.fault("labels", found, "one label each", "Remove the doubled rows")
        return tuple(records[utterance] for utterance in sorted(records))


def _composed(corpus: Corpus, row: Names) -> Names:
    """Fill the templates whose names are known already: some may come from a join that is still to be made."""
    ready = {field: template for field, template in corpus.compose.items() if set(names_in(template)) <= set(row)}
    return {**row, **{field: template.format_map(row) for field, template in ready.items()}}


def _renamed(corpus: Corpus, row: Names) -> Names:
    renamed = {name: corpus.values.get(name, {}).get(value, value) for name, value in row.items()}
    if corpus.genders:
        speaker, own = renamed.get("speaker", ""), renamed.get("gender", "")
        renamed["gender"] = next((g for g, speakers in corpus.genders.items() if speaker in speakers), own)
    return renamed


def _with_one_gender_each(rows: list[Names]) -> tuple[list[Names], str]:
    """Give each speaker the gender of most of their utterances, none where there is a tie, and word what differs.

    Folds keep speakers apart whatever their gender, so a misnamed file does not make a corpus unusable.
    """
    files: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        of = files.setdefault(row.get("speaker", ""), {})
        of.setdefault(row.get("gender", ""), []).append(printable(row["file"]))
    chosen: dict[str, str] = {}
    notes = []
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
