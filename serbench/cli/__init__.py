"""The command line: parse, call the API, print. The only home of typer and exit codes.

Tables go to stdout, progress and messages to stderr. Exit 0: all done. 1: something failed, and is named. 2: usage.
"""

from __future__ import annotations

import atexit
import functools
import gc
import io
import sys
import warnings
from typing import Annotated

import typer

from serbench.cli import look, run
from serbench.cli.options import PROGRESS
from serbench.cli.show import print, say
from serbench.cli.signals import say_stopped, stop_on_signals
from serbench.errors import SerbenchError

app = typer.Typer(
    help="Fair classical-ML baselines for speech emotion recognition: extract, grid, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run.extract, run.grid, run.run, run.report, look.audit, look.compare, look.folds, look.score, run.demo):
    app.command()(command)
for name in ("corpora", "experiments", "features", "classifiers", "store"):
    app.add_typer(getattr(look, f"{name}_app"), name=name)


def _print_version(wanted: bool) -> None:
    if wanted:
        import serbench

        print(f"serbench {serbench.__version__}")
        raise typer.Exit


@app.callback()
def _serbench(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Fair classical-ML baselines for speech emotion recognition: extract, grid, report."""


def main() -> None:
    """Run the command line; the one place where errors become messages and exit codes."""
    # Most objects come from imports and stay. Looking through them while they are made, and again when the process
    # ends, takes time that the user of a short command feels.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    warnings.showwarning = lambda message, *where, **more: _say_once(f"serbench: {message}")  # without its place
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without dashes shows a question mark
    stop_on_signals(PROGRESS)
    try:
        app()
    except SerbenchError as error:
        say(f"serbench: {error}")
        sys.exit(1)
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code > 128:
            say_stopped(PROGRESS)
        raise


@functools.cache
def _say_once(text: str) -> None:
    """Show a line once per process: a command may load the same catalogue several times."""
    say(text)
