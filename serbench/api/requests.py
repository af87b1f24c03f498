"""What a grid is asked for, and whether its options go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from serbench.corpora.catalogue import Catalogue, as_names
from serbench.corpora.entry import AVAILABLE
from serbench.corpora.tasks import EmotionTask, common_task, find_task
from serbench.errors import ConfigError, CorpusError, Fault
from serbench.grid.request import GridRequest
from serbench.protocols import Protocol, find_protocol

if TYPE_CHECKING:
    from serbench.features import FeatureSet
    from serbench.features.extract import Extracted
    from serbench.grid.utterances import CorpusData


def check_request(request: GridRequest, corpora: Sequence[str]) -> None:
    """Check the options of a grid against each other, before anything is read.

    Raises
    ------
    SerbenchError : a name is unknown, or a protocol lacks what it needs, or is given what it does not take.
    """
    from serbench.grid.run import check_scaling
    from serbench.protocols import check_inner

    protocol = find_protocol(request.protocol)
    check_inner(str(request.inner))
    check_scaling(request.scaling)
    faults = [*_protocol_faults(protocol, request, corpora)]
    if any(seed < 0 for seed in request.seeds):
        faults.append(Fault("--seed", f"{min(request.seeds)}", "0 or more"))
    if faults:
        raise ConfigError(faults)


def check_corpora_left(request: GridRequest, extracted: Extracted) -> None:
    """Check that corpora still meet once those that cannot be used are left out.

    Raises
    ------
    CorpusError : one is left, so that another question would be answered than was asked.
    """
    left = [done.corpus for done in extracted.done]
    if find_protocol(request.protocol).is_across and len(left) < 2:
        faults = [Fault(name, reason) for name, reason in extracted.refused.items()]
        wanted = Fault(f"--protocol {request.protocol}", f"1 corpus that can be used ({left[0]})", "at least two")
        raise CorpusError([wanted, *faults])


def check_pieces(features: Iterable[FeatureSet], request: GridRequest) -> None:
    """Check that feature sets of pieces of one length are given these.

    Raises
    ------
    ConfigError : utterances are not cut, or into pieces of another length.
    """
    for feature_set in features:
        if feature_set.piece_s is not None and request.segment != feature_set.piece_s:
            found = "utterances that are not cut" if request.segment is None else f"pieces of {request.segment:g} s"
            wanted = f"pieces of {feature_set.piece_s:g} s"
            raise ConfigError([Fault(feature_set.name, found, wanted, f"Give --segment {feature_set.piece_s:g}")])


def _protocol_faults(protocol: Protocol, request: GridRequest, corpora: Sequence[str]) -> Iterator[Fault]:
    name = f"--protocol {protocol.name}"
    if protocol.is_across and len(corpora) < 2:
        yield Fault(name, f"{len(corpora)} corpus ({', '.join(corpora)})", "at least two")
    if bool(request.partition) != (protocol.needs == "partition"):
        found = f"--partition {request.partition}" if request.partition else "no --partition"
        yield Fault(name, found, "--partition NAME with --protocol holdout, and only there")
    if bool(request.k) != (protocol.needs == "k"):
        found = f"--k {', '.join(map(str, request.k))}" if request.k else "no --k"
        yield Fault(name, found, "--k N (may be repeated) with --protocol adapt, and only there")
    if request.target == "language" and protocol.name != "pooled":
        todo = "Only corpora of several languages together can be told apart by it"
        yield Fault("--target language", name, "--protocol pooled", todo)
    if request.target == "language" and request.scaling in ("corpus", "speaker"):
        found = f"--scaling {request.scaling}: what is scaled by itself has one language"
        yield Fault("--target language", found, "--scaling train", "The scaler would tell the language")
    if request.weight != 1 and protocol.needs != "k":
        yield Fault(name, f"--weight {request.weight:g}", "--weight with --protocol adapt only")
    if any(k < 1 for k in request.k):
        yield Fault("--k", str(min(request.k)), "1 or more utterances; --protocol cross is none of them")
    if not 0 < request.weight < float("inf"):
        yield Fault("--weight", str(request.weight), "a number above 0")


def check_whole(request: GridRequest) -> None:
    """Refuse pieces where other systems meet serbench: they are told whole utterances, and predict these."""
    if request.segment is not None:
        todo = "Cut the utterances in your own program, and let their pieces vote"
        raise ConfigError([Fault("segment", f"{request.segment:g} s", "none: folds are of whole utterances", todo)])


def asked_task(catalogue: Catalogue, request: GridRequest) -> EmotionTask:
    """Resolve what a request tells apart."""
    where = as_names(request.where) or ()
    return find_task(catalogue, task=request.task, emotions=request.emotions, where=where, target=request.target)


def task_of(request: GridRequest, task: EmotionTask, data: Sequence[CorpusData], catalogue: Catalogue) -> EmotionTask:
    """Return the task of a grid: across corpora, unless told otherwise, all emotions that they have in common."""
    is_told = task.target != "emotion" or request.task not in (None, AVAILABLE) or request.emotions is not None
    if is_told or not find_protocol(request.protocol).is_across:
        return task.for_corpora([d.corpus for d in data])
    indexes = {d.corpus.name: d.index for d in data}
    return common_task(catalogue, indexes, where=as_names(request.where) or ())
