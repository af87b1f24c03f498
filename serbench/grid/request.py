"""What a grid is asked for. The command line makes its options of these fields, and a report its commands.

`serbench --help` imports this module, so it must stay light.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from serbench.classifiers import CLASSIFIERS, DEFAULT_CLASSIFIERS, find_classifier
from serbench.corpora import Names, as_names
from serbench.errors import ConfigError, Fault, UnknownNameError
from serbench.protocols import PROTOCOLS, check_inner, find_protocol


class Option(NamedTuple):
    """The option of a field: its flags, what the command line reads, and what `--help` shows.

    What is of a list may be repeated, or given with commas.
    """

    flags: tuple[str, ...]
    type: Any
    metavar: str | None
    help: str


def _axis(default: Any, flags: str, kind: Any, metavar: str | None, help: str) -> Any:
    return field(default=default, metadata={"option": Option(tuple(flags.split()), kind, metavar, help)})


_FEATURES = "Sets of `serbench features list`, or .parquet or .csv files with an utterance column. Default: IS09,mfcc."
_CLASSIFIERS = f"{', '.join(CLASSIFIERS)}, or of a plug-in. Default: svc,rf,mlp."
_EMOTIONS = "Emotions, e.g. anger,happiness=happiness+excitement."
_TASK = "paper5 (default), big6, iemocap4, available (all that a corpus has), or one of your corpora.yaml."
_TARGET = "Instead of emotions: arousal, valence, gender or language."
_WHERE = "Only utterances with a value, e.g. style=improvised or gender=female."
_PARTITION = "With holdout: a partition of the corpora's entries."
_PROTOCOL = f"{', '.join(PROTOCOLS)}. Default: within (leave one speaker out, loso)."
_K = "With adapt: utterances of the test corpus to train on."
_SCALING = "train (default), corpus, none, or speaker (transductive, as corpus may be)."
_INNER = "Inner validation: auto (default), all, an even number of groups, or none."
_QUICK = "Default settings only, without tuning: a first table in a tenth of the time or less."
SCALINGS = ("train", "speaker", "corpus", "none")
SEGMENT_HELP = "Cut every utterance into segments of so many seconds; the remainder is dropped."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitAxes:
    """What every fit does with its rows; each field goes from the request to cells, jobs and `serbench.grid.fit`.

    Parameters
    ----------
    scaling : which rows scalers are fitted on.
    """

    scaling: str = _axis("train", "--scaling", str, "NAME", _SCALING)

    @property
    def axes(self) -> dict[str, Any]:
        """The axes of a fit alone, to make another record with."""
        return {axis.name: getattr(self, axis.name) for axis in fields(FitAxes)}

    @property
    def keyed(self) -> dict[str, Any]:
        """What names a record: its own fields, and axes that are not at their default: names outlive a new axis."""
        values, own = {f.name: getattr(self, f.name) for f in fields(self)}, type(self).__annotations__
        return {f.name: values[f.name] for f in fields(self) if f.name in own or values[f.name] != f.default}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(FitAxes):
    """What the jobs of a cell have in common: all that decides a model except its training set."""

    classifier: str
    revision: int
    settings: Sequence[Mapping[str, str | int | float]]
    features: str
    scaling: str  # again, as an own field, so that keys have it at its default too
    seed: int
    emotions: Sequence[str]
    versions: Mapping[str, str]

    @property
    def json(self) -> dict[str, Any]:
        """The recipe as JSON."""
        return self.keyed | {"settings": list(map(dict, self.settings)), "emotions": list(self.emotions)}


@dataclass(frozen=True, slots=True)
class GridRequest(FitAxes):
    """What a grid runs: the axes as asked, crossed into cells where a field has several values.

    Parameters
    ----------
    features : names, or files with an `utterance` column.
    emotions, task, target : e.g. "anger,happiness=happiness+excitement"; or a preset ("available": all that a corpus
        has); or instead "arousal", "valence", "gender" or "language". Without any of them, protocols across corpora
        take all emotions that the corpora have in common.
    where : filters such as "style=improvised".
    protocol : a name of `serbench.protocols.PROTOCOLS`; "holdout" needs a `partition` of the corpora's entries, "adapt"
        numbers `k` of utterances to draw, each of which counts `weight`.
    space : a file of spaces. `quick` leaves of each space its default, so that nothing is chosen.
    segment : seconds of the segments that utterances are cut into, or None.
    """

    # The defaults of features are those of serbench.features, without its imports.
    features: Names = _axis(("IS09", "mfcc"), "--features -f", list[str], "NAME,...", _FEATURES)
    classifiers: Names = _axis(DEFAULT_CLASSIFIERS, "--classifier -c", list[str], "NAME,...", _CLASSIFIERS)
    task: str | None = _axis(None, "--task", str, "NAME", _TASK)
    emotions: str | None = _axis(None, "--emotions", list[str], "NAME,...", _EMOTIONS)
    target: str | None = _axis(None, "--target", str, "NAME", _TARGET)
    where: Names = _axis((), "--where", list[str], "FIELD=VALUE", _WHERE)
    protocol: str = _axis("within", "--protocol", str, "NAME", _PROTOCOL)
    partition: str | None = _axis(None, "--partition", str, "NAME", _PARTITION)
    k: tuple[int, ...] = _axis((), "--k", list[int], "N,...", _K)
    weight: float = _axis(1.0, "--weight", float, "NUMBER", "With adapt: how much each of these counts. Default: 1.")
    inner: str = _axis("auto", "--inner", str, "NAME|K", _INNER)
    space: Path | str | None = _axis(None, "--space", Path, "FILE", "YAML file of settings to try.")
    quick: bool = _axis(False, "--quick", bool, "", _QUICK)
    seeds: tuple[int, ...] = _axis((0,), "--seed", list[int], "N,...", "Random state, or several. Default: 0.")
    segment: float | None = _axis(None, "--segment", float, "SECONDS", SEGMENT_HELP)

    @property
    def options(self) -> str:
        """Word it as options of `serbench grid`, without those at a default that no `serbench.toml` changes."""
        words = list[str]()
        for axis in AXES:
            if axis.name not in ("features", "classifiers") and getattr(self, axis.name) == axis.default:
                continue
            given, flag = getattr(self, axis.name), axis.metadata["option"].flags[0]
            for value in given if isinstance(given, tuple) else (given,):
                words += [flag] if value is True else [flag, str(value).removesuffix(".0")]
        return shlex.join(words)


AXES = sorted(fields(GridRequest), key=lambda axis: bool(axis.kw_only))
"""Its fields, those of `FitAxes` last, as `--help` and commands list them."""
DEFAULTS = GridRequest()  # what `serbench grid` runs without options


def check_request(request: GridRequest, corpora: Sequence[str] | None = None) -> None:
    """Check the options of a grid against each other, and with the corpora if given; all faults are in one error."""
    for classifier in as_names(request.classifiers) or ():
        find_classifier(classifier)
    protocol, faults = find_protocol(request.protocol), []
    check_inner(str(request.inner))
    if request.scaling not in SCALINGS:
        raise UnknownNameError("scaling", request.scaling, SCALINGS)
    name = f"--protocol {protocol.name}"
    if corpora is not None and protocol.is_across and len(corpora) < 2:
        faults.append(Fault(name, f"{len(corpora)} corpus ({', '.join(corpora)})", "at least two"))
    if bool(request.partition) != (protocol.needs == "partition"):
        found = f"--partition {request.partition}" if request.partition else "no --partition"
        faults.append(Fault(name, found, "--partition NAME with --protocol holdout, and only there"))
    if bool(request.k) != (protocol.needs == "k"):
        found = f"--k {', '.join(map(str, request.k))}" if request.k else "no --k"
        faults.append(Fault(name, found, "--k N,... with --protocol adapt, and only there"))
    if request.target == "language" and protocol.name != "pooled":
        todo = "Only corpora of several languages together can be told apart by it"
        faults.append(Fault("--target language", name, "--protocol pooled", todo))
    if request.target == "language" and request.scaling in ("corpus", "speaker"):
        found = f"--scaling {request.scaling}: what is scaled by itself has one language"
        faults.append(Fault("--target language", found, "--scaling train", "The scaler would tell the language"))
    if request.quick and (request.space is not None or request.inner not in ("auto", "none")):
        found = f"--space {request.space}" if request.space is not None else f"--inner {request.inner}"
        faults.append(
            Fault("--quick", found, "neither --space nor --inner", "It fits default settings, and tunes none")
        )
    if request.weight != 1 and protocol.needs != "k":
        faults.append(Fault(name, f"--weight {request.weight:g}", "--weight with --protocol adapt only"))
    if any(k < 1 for k in request.k):
        faults.append(Fault("--k", str(min(request.k)), "1 or more utterances; --protocol cross is none of them"))
    if not 0 < request.weight < float("inf"):
        faults.append(Fault("--weight", str(request.weight), "a number above 0"))
    if any(seed < 0 for seed in request.seeds):
        faults.append(Fault("--seed", str(min(request.seeds)), "0 or more"))
    if faults:
        raise ConfigError(faults)
