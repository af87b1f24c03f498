"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serbench.cli.show import ProgressLine

if TYPE_CHECKING:
    from serbench.api import Workspace

Corpora = Annotated[
    list[str] | None,
    typer.Argument(help="Names of corpora; none means every corpus on this disk.", metavar="[CORPUS]..."),
]
Results = Annotated[str, typer.Option("--results", help="Results folder.", metavar="DIR")]
CorporaFile = Annotated[
    Path | None,
    typer.Option(
        "--corpora",
        help="YAML that adds to or overrides the catalogue; default: ./corpora.yaml if there is one.",
        metavar="FILE",
    ),
]
Partial = Annotated[bool, typer.Option("--partial", help="Accept incomplete or altered copies; tables will say so.")]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Workers; default: one per core.")]
Features = Annotated[
    list[str] | None,
    typer.Option("--features", "-f", help="Feature set; may be repeated. Default: IS09 and mfcc.", metavar="NAME"),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task", help="Preset of emotions, or available: all that a corpus has. Default: paper5.", metavar="NAME"
    ),
]
Emotions = Annotated[
    str | None, typer.Option("--emotions", help="Emotions, e.g. anger,happiness=happiness+excitement.")
]
Target = Annotated[
    str | None,
    typer.Option("--target", help="Instead of emotions: arousal, valence, gender or language.", metavar="NAME"),
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help="Only utterances with FIELD=VALUE; may be repeated.", metavar="FIELD=VALUE"),
]
TextIndependent = Annotated[
    bool,
    typer.Option("--text-independent", help="Hold out the sentences of a fold too, where the corpus knows its texts."),
]
Segment = Annotated[
    float | None,
    typer.Option(
        "--segment",
        help="Cut every utterance into pieces of so many seconds; the remainder is dropped.",
        metavar="SECONDS",
    ),
]

DEFAULT_RESULTS = "results"
PROGRESS = ProgressLine()


def workspace_of(
    results: str,
    corpora_file: Path | None,
    *,
    partial: bool,
    jobs: int | None = None,
    rehash: bool = False,
) -> Workspace:
    """Put together where a command reads and writes, and how it runs."""
    from serbench.api import Workspace

    return Workspace(results, corpora_file, partial, jobs, PROGRESS, rehash)


def protocol_named(given: str | None, *, text_independent: bool) -> str:
    """Name the protocol that `--protocol` and `--text-independent` ask for."""
    if not text_independent:
        return given or "within"
    if given not in (None, "within-text"):
        raise typer.BadParameter(f"--text-independent is --protocol within-text, not {given}; give one of them")
    return "within-text"


def results_option(results: str) -> str:
    """Word `--results` for a command that goes on from here; nothing where it is the default."""
    return "" if results == DEFAULT_RESULTS else f" --results {shlex.quote(results)}"
