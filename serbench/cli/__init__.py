"""The command line: parse, call the API, print. The only home of typer and exit codes.

Tables go to stdout, progress and messages to stderr. Exit 0: all done. 1: something failed, and is named. 2: usage.
"""

from __future__ import annotations

import atexit
import functools
import gc
import io
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from serbench.cli import look, run
from serbench.cli.options import PROGRESS, flag
from serbench.cli.show import print, say
from serbench.errors import SerbenchError, Stopped

DEFAULTS = Path("serbench.toml")  # of the working directory
PATIENCE_S = 1.5  # seconds that a stopped command may take to wind up; then it ends where it is

_PLURALS = {name: f"{name}s" for name in ("feature", "classifier", "experiment", "cell", "seed")}  # either will do

# Groups of commands in `serbench --help`, and examples in the help of each.
_GROUPS: dict[str, dict[Callable[..., None], tuple[str, ...]]] = {
    "From recordings to tables": {
        run.extract: ("extract", "extract emodb,ravdess -f IS09,eGeMAPSv02"),
        run.grid: (
            "grid --dry-run",
            "grid emodb,ravdess -f IS09,mfcc -c svc,knn",
            "grid emodb --emotions anger,neutral --where gender=female",
            "grid emodb,ravdess,savee --protocol cross --task available",
        ),
        run.report: ("report --open", "report --figures"),
        run.run: ("run goel2020-table2 --dry-run",),
        run.demo: ("demo",),
    },
    "Look closer": {
        look.audit: ("audit emodb", "audit emodb,ravdess"),
        look.compare: ("compare results-before results", "compare results-before results --metric war --exit-code"),
        look.folds: ("folds emodb -o folds.csv",),
        look.score: ("score predictions.csv --name wav2vec2",),
    },
}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda word: _PLURALS.get(word, word),
    },
)
for panel, commands in _GROUPS.items():
    for command, examples in commands.items():
        told = "\n".join(["Examples:", *(f"  serbench {example}" for example in examples)])
        kind = look.NamesMetrics if command is look.compare else None
        app.command(cls=kind, epilog=told, rich_help_panel=panel)(command)
for name in ("corpora", "features", "classifiers", "experiments", "cells", "store"):
    app.add_typer(getattr(look, f"{name}_app"), name=name, rich_help_panel="Lists, and what is stored")


def _print_version(wanted: bool) -> None:
    if wanted:
        import serbench

        print(f"serbench {serbench.__version__}")
        raise typer.Exit


@app.callback()
def _serbench(
    context: typer.Context,
    version: Annotated[
        bool, flag("--version", callback=_print_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Fair classical-ML baselines for speech emotion recognition: extract, grid, report."""
    if not DEFAULTS.is_file():
        return
    from serbench.cli.defaults import read_defaults

    defaults = read_defaults(DEFAULTS)
    given = {name: value if isinstance(value, str) else ",".join(value) for name, value in defaults.items()}
    say(f"serbench: {DEFAULTS.name}: {'; '.join(f'{name} {value}' for name, value in given.items())}")
    if "data" in defaults:
        os.environ.setdefault("SERBENCH_DATA", os.path.abspath(os.path.expanduser(defaults["data"])))
    commands: dict[str, Any] = getattr(context.command, "commands", {})
    context.default_map = {  # click's own: by command, then by parameter
        name: dict.fromkeys(of.commands, defaults) if hasattr(of, "commands") else defaults
        for name, of in commands.items()
    }


def main() -> None:
    """Run the command line; the one place where errors become messages and exit codes."""
    # Most objects come from imports and stay. Looking through them while they are made, and again when the process
    # ends, takes time that the user of a short command feels.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    # OpenBLAS's threads wait for work in a loop, on cores that others need; so they sleep at once. Their number stays
    # as it is, as it decides the last digits of features made by librosa.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    say_once = functools.cache(say)  # a command may load the same catalogue several times
    warnings.showwarning = lambda message, *where, **more: say_once(f"serbench: {message}")  # without its place
    logging.basicConfig(format="serbench: %(message)s", force=True)
    logging.getLogger("serbench").setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without dashes shows a question mark
    _stop_on_signals()
    try:
        app()
    except SerbenchError as error:
        say(f"serbench: {error}")
        sys.exit(1)
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code > 128:
            _say_stopped()
        raise


def _stop_on_signals() -> None:
    """Let a signal unwind the command, so that workers stop and results are stored, and end it after `PATIENCE_S`."""

    def end(code: int) -> None:  # even where something takes long: a thread in a long recording, a cluster, a network
        _say_stopped()
        sys.stdout.flush()
        os._exit(code)

    def stop(number: int, frame: object) -> None:
        timer = threading.Timer(PATIENCE_S, end, [128 + number])
        timer.daemon = True
        timer.start()
        if number == signal.SIGINT:
            raise KeyboardInterrupt  # which typer makes exit code 130
        raise Stopped(128 + number)

    def unraisable(told: sys.UnraisableHookArgs) -> None:
        """Say nothing of a stop that came while Python was freeing an object, where it unwinds nothing."""
        if not isinstance(told.exc_value, (KeyboardInterrupt, SystemExit)):
            sys.__unraisablehook__(told)

    sys.unraisablehook = unraisable
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no hang-up
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stop)


@functools.cache
def _say_stopped() -> None:
    """Say, once, what is stored and how to go on."""
    done = f" ({PROGRESS.activity}: {PROGRESS.done} of {PROGRESS.total})" if PROGRESS.total else ""
    say(f"\nserbench: stopped. What was finished is stored{done}; the same command goes on from there.")
