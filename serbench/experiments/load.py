"""experiments/*.yaml -> `Experiment`: strictly validated, all faults at once, each with its file, field and line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from serbench.corpora.catalogue import Catalogue
from serbench.corpora.documents import Document, Place, parse_text, read_whole
from serbench.corpora.entry import EMOTIONS, faults_of
from serbench.errors import ConfigError, Fault, SerbenchError, UnknownNameError, did_you_mean
from serbench.experiments.record import Experiment, Trial
from serbench.store.keys import digest

_ENDINGS = (".yaml", ".yml")
_MOST_BYTES = 2**20
RECALL = "recall "
"""How the metric begins that is the recall of one emotion."""
PRECISION = "precision "
"""How the metric begins that is the precision of one emotion: hits among its predictions."""


@dataclass(frozen=True, slots=True)
class Described:
    """An experiment with the text that describes it; `digest` changes with every letter of the text."""

    name: str
    text: str
    experiment: Experiment
    document: Document

    @property
    def digest(self) -> str:
        """Name of this state of the description."""
        return text_digest(self.text)


def text_digest(text: str) -> str:
    """Return the digest that a description is known by: 12 hexadecimal digits."""
    return digest(text)[:12]


def built_in_names() -> list[str]:
    """Names of the experiments that come with serbench."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def find_experiment(name_or_path: str) -> Described:
    """Read an experiment by name, or from a file of one's own, whose name ends in .yaml.

    Raises
    ------
    UnknownNameError : no experiment of this name comes with serbench.
    ConfigError : with every fault of the file.
    """
    is_file = name_or_path.endswith(_ENDINGS)
    if not is_file and name_or_path not in built_in_names():
        raise UnknownNameError("experiment", name_or_path, built_in_names())
    path = Path(name_or_path) if is_file else _folder() / f"{name_or_path}.yaml"
    try:
        text = read_whole(path, at_most=_MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([Fault(str(path), f"cannot be read ({error.strerror})", "a YAML file")]) from error
    except ValueError as error:
        raise ConfigError([Fault(str(path), str(error), "text in UTF-8", "Save it as UTF-8")]) from error
    return read_experiment(text, path.stem)


def read_experiment(text: str, name: str) -> Described:
    """Validate the text of an experiment.

    Raises
    ------
    ConfigError : with every fault of the text.
    """
    document = parse_text(text, f"{name}.yaml", Path(), holds="an experiment")
    try:
        experiment = Experiment.model_validate(document.entries)
    except ValidationError as error:
        raise ConfigError(faults_of(error, document.where)) from error
    return Described(name, text, experiment, document)


def check_names(described: Described, catalogue: Catalogue) -> None:
    """Check every name in an experiment against what this serbench knows.

    Raises
    ------
    ConfigError : with every unknown corpus, feature set, classifier, protocol, emotion and metric.
    """
    faults = [*_grid_faults(described, catalogue), *_metric_faults(described)]
    if faults:
        raise ConfigError(faults)


def _grid_faults(described: Described, catalogue: Catalogue) -> Iterator[Fault]:
    from serbench.classifiers import find_classifier
    from serbench.corpora.tasks import find_task
    from serbench.features import find_feature_set
    from serbench.features.own import is_file_name
    from serbench.protocols import find_protocol

    experiment, where = described.experiment, described.document.where
    for i, name in enumerate(experiment.corpora):
        yield from _tried(partial(catalogue.corpus, name), where(("corpora", i)))
    for i, grid in enumerate(experiment.grids):
        for name in grid.corpora or ():
            if name not in experiment.corpora:
                todo = did_you_mean(name, experiment.corpora)
                yield Fault(where(("grids", i, "corpora")), f"'{name}'", "a corpus of the experiment", todo)
        for name in grid.features:
            if not is_file_name(name):
                yield from _tried(partial(find_feature_set, name), where(("grids", i, "features")))
        for name in grid.classifiers:
            yield from _tried(partial(find_classifier, name), where(("grids", i, "classifiers")))
        yield from _tried(partial(find_protocol, grid.protocol), where(("grids", i, "protocol")))
        task = partial(find_task, catalogue, task=grid.task, emotions=grid.emotions, where=grid.where or ())
        yield from _tried(task, where(("grids", i)))


def _tried(find: Callable[[], object], where: str) -> Iterator[Fault]:
    try:
        find()
    except SerbenchError as error:
        yield Fault(where, str(error))


def _metric_faults(described: Described) -> Iterator[Fault]:
    from serbench.scores.metrics import METRICS

    known = [*METRICS, *(f"{kind}{emotion}" for kind in (RECALL, PRECISION) for emotion in EMOTIONS)]
    for place, metric in _metrics(described.experiment):
        if metric and metric not in known:
            todo = did_you_mean(metric, known) or f"Known: {', '.join(METRICS)}, recall EMOTION and precision EMOTION"
            yield Fault(described.document.where(place), f"the metric '{metric}'", "one that serbench has", todo)


def _metrics(experiment: Experiment) -> Iterator[tuple[Place, str]]:
    yield ("metric",), experiment.metric
    for i, value in enumerate(experiment.values):
        yield ("values", i, "metric"), value.metric
    for i, claim in enumerate(experiment.claims):
        for metric in _metrics_of(claim.test) if claim.test else ():
            yield ("claims", i, "test"), metric


def _metrics_of(test: Trial) -> list[str]:
    return [test.metric, *(m for where in (test.where, test.this, *test.than) for m in where.get("metric", ()))]


def _folder() -> Path:
    """Return the folder of the built-in experiments: this one in a wheel; in a checkout one beside the package."""
    here = Path(__file__).resolve().parent
    return here if any(here.glob("*.yaml")) else here.parent.parent / "experiments"
