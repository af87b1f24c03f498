"""Ctrl-C, SIGTERM and a terminal that is gone: wind up, say what is stored, and end within two seconds."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading

from serbench.cli.show import ProgressLine, say
from serbench.errors import Stopped

PATIENCE_S = 1.5
"""Seconds that a stopped command may take to wind up; then it ends where it is."""


def stop_on_signals(progress: ProgressLine) -> None:
    """Let the signals that stop a command unwind it, so that workers are stopped and what was computed is stored."""

    def stop(number: int, frame: object) -> None:
        _end_soon(128 + number, progress)
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
def say_stopped(progress: ProgressLine) -> None:
    """Say, once, what is stored and how to go on."""
    done = f" ({progress.activity}: {progress.done} of {progress.total})" if progress.total else ""
    say(f"\nserbench: stopped. What was finished is stored{done}; the same command goes on from there.")


def _end_soon(code: int, progress: ProgressLine) -> None:
    """End the process even where something takes long: a thread in a long recording, a cluster, a network."""

    def end() -> None:
        say_stopped(progress)
        sys.stdout.flush()
        os._exit(code)

    timer = threading.Timer(PATIENCE_S, end)
    timer.daemon = True
    timer.start()
