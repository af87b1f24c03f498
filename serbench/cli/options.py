"""Options that several commands share; those of a grid are made from the fields of `GridRequest`."""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from serbench.cli.show import ProgressLine
from serbench.grid.request import GridRequest, Option

if TYPE_CHECKING:
    from serbench.workspace import Workspace

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

DEFAULT_RESULTS = "results"
PROGRESS = ProgressLine()

_TEXT_INDEPENDENT = typer.Option(
    "--text-independent", help="Hold out the sentences of a fold too, where the corpus knows its texts."
)


def takes_request(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of fields of `GridRequest`; it receives their values as `request`.

    Parameters
    ----------
    names : fields, all of them where none is given. `--text-independent`, short for a protocol, is always there.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(GridRequest, include_extras=True)
        fields = {name: hint.__metadata__[0] for name, hint in hints.items() if name in (names or hints)}

        @functools.wraps(command)
        def run(**given: Any) -> None:
            asked = {name: given.pop(name) for name in fields}
            command(request=_request(asked, text_independent=given.pop("text_independent")), **given)

        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "request"]
        is_argument = [isinstance(p.annotation.__metadata__[0], typer.models.ArgumentInfo) for p in own]
        arguments = [p for p, is_first in zip(own, is_argument, strict=True) if is_first]
        options = [_parameter(n, Annotated[o.type | None, _typer_option(o)], None) for n, o in fields.items()]
        options.append(_parameter("text_independent", Annotated[bool, _TEXT_INDEPENDENT], False))
        parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in [*arguments, *options, *own[len(arguments) :]]]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _typer_option(option: Option) -> Any:
    return typer.Option(*option.flags, help=option.help, metavar=option.metavar, min=option.min)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _request(asked: Mapping[str, Any], *, text_independent: bool) -> GridRequest:
    """Make the request; a field keeps its default where its option was not given."""
    given: dict[str, Any] = {name: value for name, value in asked.items() if value not in (None, [])}
    given = {name: tuple(dict.fromkeys(v)) if isinstance(v, list) else v for name, v in given.items()}
    if text_independent and given.setdefault("protocol", "within-text") != "within-text":
        told = f"--text-independent is --protocol within-text, not {given['protocol']}; give one of them"
        raise typer.BadParameter(told)
    return GridRequest(**given)


def workspace_of(results: str, corpora_file: Path | None = None, **more: Any) -> Workspace:
    """Put together where a command reads and writes, and how it runs."""
    from serbench.workspace import Workspace

    return Workspace(results, corpora_file, progress=PROGRESS, **more)


def results_option(results: str) -> str:
    """Word `--results` for a command that goes on from here; nothing where it is the default."""
    return "" if results == DEFAULT_RESULTS else f" --results {shlex.quote(results)}"
