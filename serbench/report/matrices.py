"""Cells -> matrices: what stands in one Table 2, on which common utterances, and what is missing there."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from serbench.corpora.segments import is_majority, seconds_of
from serbench.corpora.tasks import DEFAULT_TASK, OF_PEOPLE
from serbench.errors import StoreError
from serbench.features import has_feature_set
from serbench.grid.comparable import INCOMPARABLE, UNKNOWN
from serbench.protocols import PROTOCOLS, find_protocol
from serbench.report.pools import Pool, pool_of
from serbench.scores.outcomes import CellOutcomes
from serbench.store.results import OUTDATED

Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Variant:
    """What all cells of one Table 2 share.

    `pool` names the corpora that train, or that meet, where a protocol has several; `options` what it was given; `map`
    what the task makes of emotions, where its name does not say it.
    """

    protocol: str
    task: str
    scaling: str
    inner: str
    preprocessing: str
    seed: int
    emotions: tuple[str, ...]
    pool: str = ""
    options: str = ""
    target: str = "emotion"
    map: str = ""

    @staticmethod
    def of(cell: CellOutcomes) -> Variant:
        """Return the variant that a cell belongs to."""
        f = cell.cell
        task = f["protocol"], f["task"], f["scaling"], cell.inner_title, f["preprocessing"], f["seed"]
        record = cell.record
        target = record.get("target", "emotion")
        return Variant(*task, tuple(record["task_emotions"]), record["pool"], f["options"], target, f["map"])

    @property
    def question(self) -> tuple[object, ...]:
        """What is asked of any system, however it was trained: that others are asked for pieces is not known."""
        asked = self.protocol, self.options, self.pool, self.task, self.map, self.emotions
        return *asked, seconds_of(self.preprocessing)

    @property
    def label(self) -> str:
        """What is told apart, for one of them."""
        return "emotion" if self.target == "emotion" else "class"

    @property
    def is_of_people(self) -> bool:
        """Whether all utterances of a speaker have one label, so that nothing can be said of single speakers."""
        return self.target in OF_PEOPLE

    @property
    def is_transductive(self) -> bool:
        """Whether scaling has seen unlabelled audio of what is tested."""
        seen = self.inner == UNKNOWN or find_protocol(self.protocol).sees_target
        return self.scaling == "speaker" or (self.scaling == "corpus" and not seen)

    @property
    def scaling_title(self) -> str:
        """The scaling in words."""
        by_itself = {"speaker": "scaling per speaker", "corpus": "scaling per corpus"}
        title = by_itself.get(self.scaling, f"scaling {self.scaling}")
        return f"{title}, transductive" if self.is_transductive else title

    @property
    def protocol_title(self) -> str:
        """The protocol with the corpora that meet and what it was given."""
        protocol = find_protocol(self.protocol)
        words = " (text-independent)" if protocol.holds_out_texts else ""
        pool = f" {'from' if protocol.is_pairwise else 'over'} {self.pool}" if self.pool else ""
        return f"{self.protocol}{words}{pool}{f' ({self.options})' if self.options else ''}"

    @property
    def task_title(self) -> str:
        """The task, with its map where the name does not say it."""
        return task_title(self.task, self.map)

    @property
    def title(self) -> str:
        """The variant in words."""
        if self.inner == UNKNOWN:
            return f"{self.protocol}, {self.task_title}"
        cut = f", {self.preprocessing}" if seconds_of(self.preprocessing) else ""
        asked = f"{self.protocol_title}, {self.task_title}, {self.scaling_title}"
        return f"{asked}, inner {self.inner}{cut}, seed {self.seed}"

    def described(self, independence: str) -> str:
        """Describe the variant in sentences, for readers who do not know serbench."""
        name, _, filters = self.task.partition(" where ")
        emotions = f" ({', '.join(self.emotions)})" if name != ",".join(self.emotions) else ""
        emotions = f" ({self.map.replace(',', ', ')})" if self.map else emotions
        only = f", only where {filters}" if filters else ""
        protocol = find_protocol(self.protocol)
        what = f"{protocol.title[0].upper()}{protocol.title[1:]}, {independence}"
        kind = "emotions" if self.target == "emotion" else "target"
        return f"{what}; {kind}: {name}{emotions}{only}.{_cut(self.preprocessing)}"

    @property
    def order(self) -> tuple[bool | int | str, ...]:
        """Place among variants: the default task, inner rule, scaling and protocol, and whole utterances come first."""
        others = self.task != DEFAULT_TASK, self.inner != "auto", self.scaling != "train"
        place = list(PROTOCOLS).index(self.protocol), bool(seconds_of(self.preprocessing))
        return *others, *place, is_majority(self.preprocessing), self.title

    @property
    def command(self) -> str:
        """Corpora beside the one that is tested, for the command that leads to it."""
        return " ".join(self.pool.split("+")) if self.pool else ""

    @property
    def options_of_grid(self) -> str:
        """Options of `serbench grid` that lead to it, beyond the defaults."""
        given = [f"--protocol {self.protocol}"] if self.protocol != "within" else []
        given += _protocol_options(self.options)
        given += self._task_options()
        given += [f"--scaling {self.scaling}"] if self.scaling != "train" else []
        given += [f"--inner {self.inner}"] if self.inner != "auto" else []
        given += [f"--segment {seconds}"] if (seconds := seconds_of(self.preprocessing)) else []
        given += [f"--seed {self.seed}"] if self.seed else []
        return "".join(f" {option}" for option in given)

    def _task_options(self) -> list[str]:
        """The task; across corpora it must be named, as others may have other emotions in common."""
        name, _, filters = self.task.partition(" where ")
        if self.target != "emotion":
            given = [f"--target {self.target}"]
        elif name == DEFAULT_TASK and not self.pool:
            given = []
        else:
            given = [f"--emotions {name}" if "," in name else f"--task {name}"]
        return given + [f"--where {shlex.quote(text)}" for text in filters.split(", ") if text]


def task_title(task: str, of_emotions: str) -> str:
    """Word a task, and what it makes of emotions where its name does not say that.

    >>> task_title("mine", "happiness=excitement+happiness,neutral")
    'mine (happiness=excitement+happiness, neutral)'
    """
    return f"{task} ({of_emotions.replace(',', ', ')})" if of_emotions else task


def _protocol_options(options: str) -> list[str]:
    """Options of `serbench grid` of what a protocol was given.

    >>> _protocol_options("k=20 weight=0.5")
    ['--k 20', '--weight 0.5']
    """
    return [f"--{name} {value}" for name, _, value in (option.partition("=") for option in options.split())]


def _cut(preprocessing: str) -> str:
    """Say what was cut, and what is scored, in a sentence; nothing where nothing was cut."""
    seconds = seconds_of(preprocessing)
    if not seconds:
        return ""
    scored = (
        "an utterance is given what most of its pieces were, of as many the one that comes first"
        if is_majority(preprocessing)
        else "each is scored, and called an utterance below"
    )
    return f" Utterances are cut into pieces of {seconds} s, the remainder dropped; {scored}."


@dataclass(frozen=True, slots=True)
class Matrix:
    """The cells of one Table 2: by (features, classifier) row and corpus column, scored on common utterances."""

    variant: Variant
    cells: Mapping[Place, CellOutcomes]
    rows: tuple[tuple[str, str], ...]
    corpora: tuple[str, ...]
    pools: Mapping[str, Pool]

    @property
    def common(self) -> dict[str, tuple[str, ...]]:
        """Utterances that the cells of each corpus are compared on."""
        return {corpus: pool.utterances for corpus, pool in self.pools.items()}

    def scored_on(self, place: Place) -> tuple[str, ...]:
        """Utterances that a cell is scored on: the common ones, or its own where it is short."""
        return self.pools[place[2]].of(self.cells[place])

    def is_outside(self, row: tuple[str, str]) -> bool:
        """Whether a row holds predictions of another system."""
        return any(place[:2] == row and cell.is_outside for place, cell in self.cells.items())

    @property
    def description(self) -> str:
        """What was asked, in sentences, and what each corpus leaves out in turn."""
        protocol, persons = find_protocol(self.variant.protocol), self._persons
        if len(set(persons.values())) == 1:
            return self.variant.described(protocol.independence_of(next(iter(persons.values()))))
        others = "; ".join(f"{c}: {protocol.independence_of(p)}" for c, p in persons.items() if p != "speaker")
        return self.variant.described(f"{protocol.independence}, but {others}")

    @property
    def validation(self) -> str:
        """How nested settings are chosen, in words."""
        persons = set(self._persons.values())
        kept_apart = f"{persons.pop()}-independent " if len(persons) == 1 else ""
        return f"nested {kept_apart}validation"

    @property
    def _persons(self) -> dict[str, str]:
        """Corpus -> the field that keeps its people apart."""
        known = {place[2]: cell.person for place, cell in sorted(self.cells.items()) if cell.outcomes}
        return known or dict.fromkeys(self.corpora, "speaker")

    @property
    def keys(self) -> list[str]:
        """Provenance of its values."""
        return [cell.provenance.key for cell in self.cells.values() if cell.outcomes]


def matrices(cells: Iterable[CellOutcomes], order: Callable[[str], int]) -> list[Matrix]:
    """Sort cells into one matrix per variant that has predictions; `order` places feature sets and classifiers.

    Protocols of pairs of corpora have tables of their own; see `transfer.py`.
    """
    by_variant: dict[Variant, list[CellOutcomes]] = {}
    for cell in cells:
        if find_protocol(cell.cell["protocol"]).is_pairwise:
            continue
        by_variant.setdefault(Variant.of(cell), []).append(cell)
    by_variant = _beside_grid(by_variant)
    ordered = sorted(by_variant.items(), key=lambda item: item[0].order)
    return [_matrix(variant, of, order) for variant, of in ordered if any(is_hopeful(cell) for cell in of)]


def _beside_grid(by_variant: Mapping[Variant, list[CellOutcomes]]) -> dict[Variant, list[CellOutcomes]]:
    """Put cells of other systems into every table of their task: scaling, inner rule and seed say nothing of them.

    A task that has no cells of the grid keeps a table of their own.
    """
    placed = {variant: list(cells) for variant, cells in by_variant.items()}
    of_task: dict[tuple[object, ...], list[Variant]] = {}
    for variant, cells in by_variant.items():
        if not cells[0].is_outside:
            of_task.setdefault(variant.question, []).append(variant)
    for variant, cells in by_variant.items():
        if cells[0].is_outside and variant.question in of_task:
            del placed[variant]
            for beside in of_task[variant.question]:
                placed[beside] += cells
    return placed


def fill_commands(matrix: Matrix) -> list[str]:
    """Commands that would fill the empty places of a matrix, one per corpus and feature set."""
    commands = []
    for corpus in matrix.corpora:
        for features in dict.fromkeys(f for f, _ in matrix.rows):
            of_grid = [c for f, c in matrix.rows if f == features and not matrix.is_outside((f, c))]
            absent = [c for c in of_grid if _is_absent(matrix, (features, c, corpus))]
            for space, names in _by_space(matrix, absent).items():
                classifiers = "".join(f" --classifier {name}" for name in names)
                options = f"{space}{matrix.variant.options_of_grid}{_partial_option(matrix, corpus)}"
                argument = shlex.quote(_argument(matrix, features))
                corpora = " ".join(dict.fromkeys([*matrix.variant.command.split(), *corpus.split("+")]))
                commands.append(f"serbench grid {corpora} --features {argument}{classifiers}{options}")
    return commands


def _is_absent(matrix: Matrix, place: Place) -> bool:
    """Whether a command can fill a place: a user's own features may have nothing to say of a corpus."""
    cell = matrix.cells.get(place)
    if cell is None:
        of_grid = [p for p, cell in matrix.cells.items() if not cell.is_outside]
        tried = any(p[0] == place[0] and p[2] == place[2] for p in of_grid)
        return tried or has_feature_set(_argument(matrix, place[0]))
    return not cell.outcomes and is_hopeful(cell)


def is_hopeful(cell: CellOutcomes) -> bool:
    """Whether a cell has predictions, or running it again may give some: one refused for what it asks may not."""
    return not cell.record["refused"] or cell.record["refused"].startswith((OUTDATED, INCOMPARABLE))


def _argument(matrix: Matrix, features: str) -> str:
    """What `--features` calls a feature set: its name, or the name of the user's file."""
    records = [cell.record for place, cell in matrix.cells.items() if place[0] == features]
    return next((str(r["features_argument"]) for r in records if "features_argument" in r), features)


def in_corpus_order(matrix: Matrix, *, every: bool = False) -> list[tuple[Place, CellOutcomes]]:
    """Cells with predictions (or every cell) corpus by corpus, in the order of the rows."""
    places = [(f, c, corpus) for corpus in matrix.corpora for f, c in matrix.rows if (f, c, corpus) in matrix.cells]
    return [(p, matrix.cells[p]) for p in places if every or matrix.cells[p].outcomes]


def _matrix(variant: Variant, cells: Sequence[CellOutcomes], order: Callable[[str], int]) -> Matrix:
    placed = _placed(variant, cells)
    of_grid = [place for place, cell in placed.items() if not cell.is_outside]
    features = sorted({f for f, _, _ in of_grid}, key=lambda f: (order(f), f))
    classifiers = sorted({c for _, c, _ in of_grid}, key=lambda c: (order(_plain_name(c)), c))
    others = sorted({place[:2] for place, cell in placed.items() if cell.is_outside})
    rows = [*itertools.product(features, classifiers), *others]
    corpora = tuple(sorted({corpus for _, _, corpus in placed}))
    pools = {corpus: pool_of([cell for place, cell in placed.items() if place[2] == corpus]) for corpus in corpora}
    marked = {place: replace(cell, is_short=pools[place[2]].is_short(cell)) for place, cell in placed.items()}
    return Matrix(variant, marked, tuple(rows), corpora, pools)


def _placed(variant: Variant, cells: Iterable[CellOutcomes]) -> dict[Place, CellOutcomes]:
    """Put cells into their places; one that was refused gives way to one with predictions."""
    placed: dict[Place, CellOutcomes] = {}
    for cell in sorted(cells, key=lambda cell: bool(cell.outcomes)):
        place = cell.cell["features"], row_name(cell), cell.cell["corpus"]
        if place in placed and placed[place].outcomes:
            found = f"two cells for one place of '{variant.title}'"
            raise StoreError("cells", found, "one", "Delete one and run it again")
        placed[place] = cell
    return placed


def _by_space(matrix: Matrix, rows: Sequence[str]) -> dict[str, list[str]]:
    """Classifiers by the `--space` option that their rows ask for; none for the standard space."""
    grouped: dict[str, list[str]] = {}
    for row in rows:
        records = [cell.record for place, cell in matrix.cells.items() if place[1] == row]
        file = next((r["space_file"] for r in records if r.get("space_file")), "") if " " in row else ""
        grouped.setdefault(f" --space {shlex.quote(file)}" if file else "", []).append(_plain_name(row))
    return grouped


def _partial_option(matrix: Matrix, corpus: str) -> str:
    return " --partial" if any(c.record.get("partial") for p, c in matrix.cells.items() if p[2] == corpus) else ""


def row_name(cell: CellOutcomes) -> str:
    """Name the classifier of a cell, with its space where that is another than the standard one."""
    space = cell.cell["space"]
    name = str(cell.cell["classifier"])
    return name if space == "standard" or cell.is_outside else f"{name} ({space})"


def _plain_name(row: str) -> str:
    return row.partition(" ")[0]
