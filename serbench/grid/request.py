"""What a grid is asked for. The command line makes its options of these fields.

`serbench --help` imports this module, so it must stay light.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from serbench.classifiers import DEFAULT_CLASSIFIERS
from serbench.corpora.catalogue import Names


class Option(NamedTuple):
    """The option of a field: its flags, what the command line reads, and what `--help` shows."""

    flags: tuple[str, ...]
    type: Any
    help: str
    metavar: str | None = None
    min: int | None = None


@dataclass(frozen=True, slots=True)
class GridRequest:
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
    space : a file of spaces.
    segment : seconds of the segments that utterances are cut into, or None.
    """

    features: Annotated[
        Names,
        Option(
            ("--features", "-f"),
            list[str],
            "Feature set, or a .parquet or .csv file with an utterance column; repeatable. Default: IS09, mfcc.",
            "NAME|FILE",
        ),
    ] = ("IS09", "mfcc")  # serbench.features.DEFAULT_FEATURES, without its imports
    classifiers: Annotated[
        Names,
        Option(("--classifier", "-c"), list[str], "Classifier; may be repeated. Default: svc, rf and mlp.", "NAME"),
    ] = DEFAULT_CLASSIFIERS
    task: Annotated[
        str | None,
        Option(("--task",), str, "Preset of emotions, or available: all that a corpus has. Default: paper5.", "NAME"),
    ] = None
    emotions: Annotated[
        str | None, Option(("--emotions",), str, "Emotions, e.g. anger,happiness=happiness+excitement.")
    ] = None
    target: Annotated[
        str | None, Option(("--target",), str, "Instead of emotions: arousal, valence, gender or language.", "NAME")
    ] = None
    where: Annotated[
        Names, Option(("--where",), list[str], "Only utterances with FIELD=VALUE; may be repeated.", "FIELD=VALUE")
    ] = ()
    protocol: Annotated[
        str,
        Option(
            ("--protocol",),
            str,
            "within, within-text, holdout, cross, pooled, loco, lolo, adapt. Default: within.",
            "NAME",
        ),
    ] = "within"
    partition: Annotated[
        str | None, Option(("--partition",), str, "With holdout: a partition of the corpora's entries.", "NAME")
    ] = None
    k: Annotated[
        tuple[int, ...],
        Option(("--k",), list[int], "With adapt: utterances of the test corpus to train on; may be repeated.", "N"),
    ] = ()
    weight: Annotated[float, Option(("--weight",), float, "With adapt: how much each of these counts. Default: 1.")] = (
        1.0
    )
    scaling: Annotated[
        str,
        Option(("--scaling",), str, "train (default), corpus, none, or speaker (transductive, as corpus may be)."),
    ] = "train"
    inner: Annotated[
        str,
        Option(("--inner",), str, "Inner validation: auto (default), all, an even number of groups, or none."),
    ] = "auto"
    space: Annotated[Path | str | None, Option(("--space",), Path, "YAML file of settings to try.", "FILE")] = None
    seeds: Annotated[
        tuple[int, ...], Option(("--seed",), list[int], "Random state; may be repeated. Default: 0.", "N", 0)
    ] = (0,)
    segment: Annotated[
        float | None,
        Option(
            ("--segment",),
            float,
            "Cut every utterance into segments of so many seconds; the remainder is dropped.",
            "SECONDS",
        ),
    ] = None


DEFAULTS = GridRequest()
"""What `serbench grid` runs without options."""
