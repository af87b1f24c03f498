"""Options that several commands share, made from the fields of `GridRequest` and of `Workspace`."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import re
import shlex
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from serbench.cli.show import ProgressLine
from serbench.errors import SerbenchError
from serbench.grid.request import AXES, GridRequest
from serbench.workspace import HERE, Workspace


def parted(text: str, kind: type = str) -> tuple[Any, ...]:
    """Part what is given for a list at its commas, `FIELD=VALUE` only before a further `FIELD=`.

    >>> parted("svc,knn"), parted("text=no, never,style=read"), parted("0,1", int)
    (('svc', 'knn'), ('text=no, never', 'style=read'), (0, 1))
    """
    parts = re.split(r",(?=\s*\w+=)" if "=" in text else ",", text)
    try:
        return tuple(kind(part.strip()) for part in parts)
    except ValueError as error:
        raise typer.BadParameter(f"'{text}'. Expected whole numbers, parted by commas") from error


def completing(what: str) -> Callable[[str], list[str]]:
    """Return what completes, in a shell, the last of the names that commas part; `what` is a field or `corpora`."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        with warnings.catch_warnings(action="ignore"), contextlib.suppress(SerbenchError):
            return [before + comma + name for name in _names(what) if name.startswith(last)]
        return []

    return complete


def _names(what: str) -> Iterable[str]:
    from serbench.classifiers import CLASSIFIERS
    from serbench.corpora.tasks import TARGETS
    from serbench.features import FEATURE_SETS
    from serbench.grid.request import SCALINGS
    from serbench.protocols import PROTOCOLS

    catalogue = HERE.catalogue()
    known: dict[str, Iterable[str]] = {
        "corpora": catalogue.corpora,
        "task": catalogue.tasks,
        "features": FEATURE_SETS,
        "scaling": SCALINGS,
    }
    return {**known, "classifiers": CLASSIFIERS, "protocol": PROTOCOLS, "target": TARGETS}.get(what, ())


_NAMES = "Names of corpora; none means every corpus on this disk."
Corpora = Annotated[
    list[str] | None,
    typer.Argument(help=_NAMES, metavar="CORPUS", parser=parted, autocompletion=completing("corpora")),
]
PROGRESS = ProgressLine()
_OPTIONS = {axis.name: axis.metadata["option"] for axis in AXES}
ALL_AXES = tuple(_OPTIONS)
WHAT, HOW, RUN = "What", "How", "Run"  # groups of options in `--help`
_WHAT = ("features", "classifiers", "task", "emotions", "target", "where", "segment")  # the other axes are how

_CORPORA = "YAML that adds to or overrides the catalogue; default: ./corpora.yaml if there is one."
_REHASH = "Read every recording again, also where its file is as it was."
_TIMEOUT = "Seconds after which a job is stopped and fails; the start of its worker, a second or two, counts."
_SCHEDULER = "Address of a dask scheduler whose workers run the jobs, or 'local'."
_PARTIAL = "Accept incomplete or altered copies; tables will say so."
_TEXT_INDEPENDENT = "Hold out the sentences of a fold too, where the corpus knows its texts."
flag = functools.partial(typer.Option, metavar="")  # an option without a value shows no type
_in_run = functools.partial(typer.Option, rich_help_panel=RUN)
_WORKSPACE: dict[str, tuple[Any, Any]] = {
    "rehash": (bool, flag("--rehash", help=_REHASH, rich_help_panel=RUN)),
    "job_timeout_s": (float | None, _in_run("--job-timeout", min=1, help=_TIMEOUT, metavar="SECONDS")),
    "scheduler": (str | None, _in_run("--scheduler", help=_SCHEDULER, metavar="HOST:PORT")),
    "partial": (bool, flag("--partial", help=_PARTIAL, rich_help_panel=RUN)),
    "results": (str, _in_run("--results", help="Results folder.", metavar="DIR")),
    "jobs": (int | None, _in_run("--jobs", "-j", min=1, help="Workers; default: one per core.", metavar="N")),
    "corpora_file": (Path | None, _in_run("--corpora", help=_CORPORA, metavar="FILE")),
}


def takes(*fields: str, request: Sequence[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of fields of `Workspace` and of `GridRequest`, as `workspace` and `request`.

    With any field of a `request` comes `--text-independent`, short for a protocol.
    """
    added: list[tuple[str, Any, Any]] = []
    for name in request:
        o = _OPTIONS[name]
        of_list = get_args(o.type)  # its option may be repeated, too
        parser = functools.partial(parted, kind=of_list[0]) if of_list else None
        how: dict[str, Any] = {
            "rich_help_panel": WHAT if name in _WHAT else HOW,
            "autocompletion": completing(name),
            "parser": parser,
        }
        option = typer.Option(*o.flags, help=o.help, metavar=o.metavar, **how)
        added.append((name, Annotated[o.type | None, option], None))
    if request:
        option = flag("--text-independent", help=_TEXT_INDEPENDENT, rich_help_panel=HOW)
        added.append(("text_independent", Annotated[bool, option], False))
    of_workspace = [(n, Annotated[_WORKSPACE[n][0], _WORKSPACE[n][1]], getattr(HERE, n)) for n in fields]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            lists = {name: value for name, value in given.items() if isinstance(value, list)}
            given |= {name: tuple(dict.fromkeys(itertools.chain(*parts))) for name, parts in lists.items()}
            if request:
                given["request"] = _request({name: given.pop(name) for name, _, _ in added})
            here = {name: given.pop(name) for name in fields}
            command(workspace=Workspace(progress=PROGRESS, **here), **given)

        signature = inspect.signature(command, eval_str=True).parameters.values()
        own = [(p.name, p.annotation, p.default) for p in signature if p.name not in ("request", "workspace")]
        n_arguments = sum(isinstance(kind.__metadata__[0], typer.models.ArgumentInfo) for _, kind, _ in own)
        parameters = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for name, kind, default in [*own[:n_arguments], *added, *own[n_arguments:], *of_workspace]
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _request(asked: Mapping[str, Any]) -> GridRequest:
    """Make the request; a field keeps its default where its option was not given."""
    given = {name: value for name, value in asked.items() if value not in (None, ())}
    if "emotions" in given:
        given["emotions"] = ",".join(given["emotions"])
    if given.pop("text_independent") and given.setdefault("protocol", "within-text") != "within-text":
        told = f"--text-independent is --protocol within-text, not {given['protocol']}; give one of them"
        raise typer.BadParameter(told)
    return GridRequest(**given)


def results_option(workspace: Workspace) -> str:
    """Word `--results` for a command that goes on from here; nothing where it is the default."""
    return "" if workspace.results == HERE.results else f" --results {shlex.quote(str(workspace.results))}"
