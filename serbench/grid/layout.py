"""What each combination of the grid trains and tests, laid out before anything is fitted."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from serbench import __version__
from serbench.classifiers import Classifier
from serbench.classifiers.spaces import Space
from serbench.corpora.divisions import partition_notes
from serbench.corpora.index import entry_parts, index_fingerprint
from serbench.corpora.segments import segment_title
from serbench.corpora.tasks import EmotionTask
from serbench.errors import ProtocolError, SerbenchError, UnknownNameError, listed
from serbench.grid.cells import Cell, CellRecord
from serbench.grid.members import (
    SCALING_NEEDS,
    CorpusData,
    FeatureSource,
    Member,
    apart,
    auxiliary_labels,
    check_member,
    find_member,
    independence_notes,
    remarks_on,
    rows_of,
)
from serbench.grid.plan import Recipe, Request, Rows, check_no_overlap, scaled_on
from serbench.grid.records import basis_of, missing_of, sources_of, text_notes, truth_of
from serbench.protocols import Design, Draw, Evaluation, InnerRule, Protocol, keep_apart
from serbench.store.results import Store

SCALINGS = ("train", "speaker", "corpus", "none")


@dataclass(frozen=True, slots=True)
class Choice:
    """One combination of the grid: the corpora that it tests, the others that it trains on, and how."""

    tested: tuple[CorpusData, ...]
    others: tuple[CorpusData, ...]
    protocol: Protocol
    source: FeatureSource
    classifier: Classifier
    space: Space
    seed: int
    draw: Draw | None = None

    @property
    def corpora(self) -> tuple[CorpusData, ...]:
        """All of its corpora."""
        return (*self.tested, *self.others)

    @property
    def corpus(self) -> str:
        """Names of the corpora tested."""
        return _joined(self.tested)


def _joined(corpora: Iterable[CorpusData]) -> str:
    return "+".join(sorted(data.corpus.name for data in corpora))


@dataclass(frozen=True, slots=True)
class GridOptions:
    """What is asked of every cell.

    `space_file` is what `--space` was called, `pool` names all corpora asked for, `segment` the seconds of pieces.
    """

    task: EmotionTask
    protocol: str = "within"
    scaling: str = "train"
    inner: str = "auto"
    seeds: tuple[int, ...] = (0,)
    space_file: str = ""
    partition: str = ""
    draws: tuple[tuple[int, float], ...] = ()
    pool: str = ""
    segment: float | None = None

    def of(self, choice: Choice) -> GridOptions:
        """Return what is asked of one cell: its own emotions, where these are what the corpus tested has."""
        tested = choice.tested[0]
        try:
            return dataclasses.replace(self, task=self.task.for_index(tested.index, tested.corpus))
        except SerbenchError:  # a filter that does not fit the corpus, for which `plan_cell` refuses the cell
            return self


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell's record, complete but for the jobs, and its request to the plan; None where the cell is refused."""

    record: CellRecord
    request: Request | None

    @property
    def cell(self) -> Cell:
        """The cell."""
        return self.record.cell

    @property
    def refused(self) -> str:
        """Why it cannot be carried out."""
        return self.record.reason


def check_scaling(scaling: str) -> None:
    """Check the name of a scaling; `UnknownNameError` suggests the nearest."""
    if scaling not in SCALINGS:
        raise UnknownNameError("scaling", scaling, SCALINGS)


def plan_cell(choice: Choice, options: GridOptions, store: Store) -> PlannedCell:
    """Lay out one cell; what cannot be carried out is recorded as refused."""
    record = _asked(choice, options)
    try:
        _check_options(choice, options)
        tested, others = _members(choice, options, store)
        design, title = _design(choice, options, tested, others)
        cell = _cell(choice, options, inner=design.rule.name)
        record = dataclasses.replace(record, cell=cell, inner_title=title)
        filled, request = _fill(choice, options, store, tested, others, design)
    except SerbenchError as error:
        return PlannedCell(dataclasses.replace(record, state="refused", reason=store.worded(str(error))), None)
    return PlannedCell(dataclasses.replace(record, **filled), request)


def _asked(choice: Choice, options: GridOptions) -> CellRecord:
    """Record what was asked for and of which state of the corpora."""
    return CellRecord(
        cell=_cell(choice, options, inner=options.inner),
        inner_title=options.inner,
        emotions=options.task.emotions,
        task_map=options.task.spelt,
        target=options.task.target,
        indexes={d.stored: index_fingerprint(d.index) for d in choice.corpora},
        entries={data.stored: _entry(data, choice, options) for data in choice.corpora},
        tested=tuple(data.stored for data in choice.tested),
        pool=_pool(choice, options),
        partials={data.stored: data.partial for data in choice.corpora if data.partial},
        features_argument=choice.source.argument,
        space_file=options.space_file,
        serbench=__version__,
        versions={**choice.source.versions, **choice.classifier.versions},
        feature_key=choice.source.key,
        revision=choice.classifier.revision,
        settings=tuple(dict(setting) for setting in choice.space.settings),
        default=choice.space.default,
    )


def _entry(data: CorpusData, choice: Choice, options: GridOptions) -> dict[str, str]:
    """Parts of a corpus' entry that decide a cell, beside what its index holds."""
    used = ["folds", f"partition {options.partition}", f"target {options.task.target}"]
    used += ["shares_speakers_with"] if choice.protocol.is_across else []
    used += ["language"] if choice.protocol.goes_by_language or options.task.target == "language" else []
    return {part: state for part, state in entry_parts(data.corpus).items() if part in used}


def _pool(choice: Choice, options: GridOptions) -> str:
    """Name the corpora that must be asked for together to get this cell, where it is not its own alone."""
    if not choice.protocol.is_across:
        return ""
    return _joined(choice.others) if choice.protocol.is_pairwise else options.pool


def _members(choice: Choice, options: GridOptions, store: Store) -> tuple[list[Member], list[Member]]:
    def find(data: CorpusData) -> Member:
        return find_member(data, options.task, choice.protocol, options.partition, choice.source, store)

    return apart([find(data) for data in choice.tested], [find(data) for data in choice.others], choice.protocol)


def _design(
    choice: Choice, options: GridOptions, tested: Sequence[Member], others: Sequence[Member]
) -> tuple[Design, str]:
    """Return what the protocol divides, and the inner rule as tables call it: `auto` where it is what auto gives."""
    is_alone = len(choice.corpora) == 1
    own, beside = (tuple(member.side(is_alone=is_alone) for member in of) for of in (tested, others))
    design = Design(own, beside, InnerRule("none"), choice.draw)
    rule = choice.protocol.rule(options.inner, design)
    is_auto = rule.name == choice.protocol.rule("auto", design).name
    return dataclasses.replace(design, rule=rule), "auto" if is_auto else rule.name


def _cell(choice: Choice, options: GridOptions, *, inner: str) -> Cell:
    return Cell(
        protocol=choice.protocol.name,
        task=options.task.title,
        train=_joined(choice.corpora if choice.protocol.sees_target and not choice.draw else choice.others),
        corpus=choice.corpus,
        features=choice.source.name,
        classifier=choice.classifier.name,
        space=choice.space.name,
        scaling=options.scaling,
        inner=inner,
        preprocessing=segment_title(options.segment),
        seed=choice.seed,
        options=_options(choice, options),
        map=options.task.map,
    )


def _options(choice: Choice, options: GridOptions) -> str:
    if choice.protocol.needs == "partition":
        return f"partition={options.partition}"
    return choice.draw.title if choice.draw else ""


def _check_options(choice: Choice, options: GridOptions) -> None:
    """Refuse what a classifier or a scaling cannot do."""
    check_input(choice.source, choice.classifier)
    name = choice.classifier.name
    if options.scaling == "none" and choice.classifier.needs_scaling:
        raise ProtocolError(choice.corpus, f"{name} with --scaling none", "--scaling train or speaker")
    if choice.draw and choice.draw.weight != 1 and not choice.classifier.takes_weights:
        raise ProtocolError(choice.corpus, f"{name} with --weight {choice.draw.weight:g}", "--weight 1")
    if choice.draw and options.scaling == "corpus" and choice.draw.k < SCALING_NEEDS:
        found = f"--scaling corpus with {choice.draw.k} utterances of {choice.corpus}"
        raise ProtocolError("adapt", found, f"at least {SCALING_NEEDS}", "Use --scaling train, or a larger --k")


def _fill(
    choice: Choice,
    options: GridOptions,
    store: Store,
    tested: Sequence[Member],
    others: Sequence[Member],
    design: Design,
) -> tuple[dict[str, Any], Request]:
    """Work out what a cell trains and tests: the rest of its record, and the request to the plan."""
    protocol, task = choice.protocol, options.task
    _check_emotions(tested, others, task, choice.source)
    known = rows_of([*tested, *others], task, scaling=options.scaling, with_texts=protocol.holds_out_texts)
    known = dataclasses.replace(known, auxiliary=_auxiliary([*tested, *others], choice.classifier))
    evaluations = tuple(keep_apart(protocol.evaluations(design), known.same))
    for evaluation in evaluations:
        check_no_overlap(evaluation, known)
    notes = remarks_on(tested, others, task, is_across=protocol.is_across)
    notes += independence_notes(tested, protocol)
    if protocol.needs == "partition":
        notes += [n for m in tested for n in partition_notes(m.data.index, m.data.corpus, options.partition)]
    if protocol.holds_out_texts:
        notes += text_notes(evaluations, design.own.groups, options.scaling)
    if protocol.holds_out_texts or protocol.is_across or protocol.needs or task.is_of_people:
        _check_trained_emotions(evaluations, known, f"{choice.corpus}, --protocol {protocol.name}", task)
    recipe = _recipe(choice, options)
    truth = truth_of(tested)
    record = {
        "basis": basis_of(tested, others, task),
        "no_nested": design.rule.reason,
        "notes": tuple(notes),
        "transductive": any(scaled_on(recipe, known, e.train.utterances, e.test) for e in evaluations),
        "persons": {member.data.stored: member.person for member in tested},
        "utterances": truth,
        "sources": sources_of(truth["id"], [*tested, *others], evaluations),
        "missing": missing_of(tested, set(truth["id"]), choice.source, store),
    }
    return record, Request(recipe, known, evaluations, protocol.sees_target)


def _check_emotions(
    tested: Sequence[Member], others: Sequence[Member], task: EmotionTask, source: FeatureSource
) -> None:
    """Check that a corpus tested holds each emotion, and that every other one has something to train on.

    Several corpora that one cell tests need to hold each emotion together only.
    """
    if len(task.emotions) < 2:
        raise ProtocolError(tested[0].name, listed(task.emotions) or "no emotion", "at least two emotions")
    if len(tested) == 1:
        check_member(tested[0], task, source)
    for member in (*tested, *others):
        if member.present.empty:
            found = f"no utterance of {task.title} with features of {source.name}"
            raise ProtocolError(member.name, found, "some", "Leave this corpus out, or extract its features")


def check_input(source: FeatureSource, classifier: Classifier) -> None:
    """Check that a classifier takes what the features are: rows or frames.

    Raises
    ------
    ProtocolError : it takes the other.
    """
    if source.gives != classifier.input:
        found = f"{classifier.name} takes {classifier.input}, and {source.name} gives {source.gives}"
        what = "frames of each recording" if classifier.input == "frames" else "one row per recording"
        raise ProtocolError(f"{source.name} with {classifier.name}", found, f"features of {what}", _LISTS)


def check_inputs(sources: Sequence[FeatureSource], classifiers: Sequence[Classifier]) -> None:
    """Check that one combination goes together at least, before anything is extracted; see `check_input`."""
    pairs = list(itertools.product(sources, classifiers))
    if not any(source.gives == classifier.input for source, classifier in pairs):
        for source, classifier in pairs:
            check_input(source, classifier)


def _auxiliary(members: Sequence[Member], classifier: Classifier) -> dict[str, dict[str, str]]:
    """Labels that a classifier declares beside the emotion, by name and utterance."""
    told = [auxiliary_labels(member, classifier) for member in members]
    return {name: {u: label for of in told for u, label in of[name].items()} for name in classifier.auxiliary}


_LISTS = "`serbench features list` and `serbench classifiers list` tell which go together"


def _recipe(choice: Choice, options: GridOptions) -> Recipe:
    return Recipe(
        classifier=choice.classifier.name,
        revision=choice.classifier.revision,
        settings=choice.space.settings,
        features=choice.source.key,
        scaling=options.scaling,
        seed=choice.seed,
        emotions=options.task.emotions,
        versions=choice.classifier.versions,
    )


def _check_trained_emotions(evaluations: Sequence[Evaluation], rows: Rows, where: str, task: EmotionTask) -> None:
    """Check that what is held out takes no emotion out of what a model is trained on, those that validate included."""
    folds = [(e.train, f"fold {e.name}") for e in evaluations]
    validations = [(v.train, f"fold {e.name}, validation {v.name}") for e in evaluations for v in e.inner]
    for train, name in {**dict(folds), **dict(validations)}.items():
        lacking = set(range(len(task.emotions))) - {rows.labels[u] for u in train.utterances}
        if lacking:
            found = f"{name}: no utterance of {listed(task.emotions[c] for c in sorted(lacking))} to train on"
            todo = "Leave these emotions out with --emotions, or use --protocol within"
            raise ProtocolError(where, found, "some of each emotion", todo)
