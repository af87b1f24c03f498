"""What tests of running commands share: they wait for states of processes and files, and act at events.

`PATIENCE_S` ends a test that would wait for ever. It is far more than any machine needs.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import psutil

from serbench import GridRequest

PATIENCE_S = 240

TOUCHES = ("open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir")
"""Audit events of Python (PEP 578) that come just before a file or a folder is read, made, moved or removed."""


def acting(condition: str, action: str) -> str:
    """Return code that takes an action as soon as an audit `event` with its `arguments` meets a condition."""
    hook = f"def hook(event, arguments):\n    if {condition}:\n        {action}\n"
    return f"import os, signal, sys, threading, time\n{hook}sys.addaudithook(hook)\n"


def touching(root: object, event: int, action: str) -> str:
    """Return code that takes an action just before the `event`th touch of a folder; 0 is never reached."""
    count = f"touched = []\nroot = {str(root)!r}\n"
    named = "any(isinstance(a, (str, bytes, os.PathLike)) and os.fsdecode(a).startswith(root) for a in arguments)"
    condition = f"event in {TOUCHES} and {named} and (touched.append(event) or len(touched) == {event})"
    return count + acting(condition, action)


def endless_grid(corpora_file: Path) -> tuple[list[str], GridRequest]:
    """Return a grid whose every fit keeps libsvm busy for hours, and one on the same features that ends at once."""
    folder, rng, emotions = corpora_file.parent, np.random.default_rng(0), "anger,happiness,neutral"
    (folder / "hard.yaml").write_text("svc: {settings: [{kernel: linear, C: 1000000000}]}")
    ids = sorted(f"toy/{recording.name}" for recording in (folder / "toy").iterdir())
    rows = [",".join([u, *(f"{x:.6f}" for x in rng.normal(size=5))]) for u in ids]
    (folder / "noise.csv").write_text("\n".join(["utterance,a,b,c,d,e", *rows]))
    features = str(folder / "noise.csv")
    command = ["grid", "toy", "-f", features, "-c", "svc", "--space", str(folder / "hard.yaml"), "--emotions", emotions]
    return command, GridRequest((features,), ("dummy",), emotions=emotions)


def wait_until(holds: Callable[[], object], running: Iterable[subprocess.Popen[str]] = ()) -> None:
    """Wait for a state, while the processes that shall bring it about are there."""
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        for process in running:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.02)


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for the end of a process and of all that hold its pipes; return what it wrote."""
    return process.communicate(timeout=PATIENCE_S)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the worker processes of a grid."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "popen_loky_posix" in " ".join(_told(child.cmdline) or ())]


def wait_for_fits(process: subprocess.Popen[str], n: int) -> None:
    """Wait until `n` processes that a grid has started are inside libsvm.

    They have loaded it, and used a second of processor time since: what they do before a fit takes much less.
    """
    loaded: dict[int, float] = {}

    def is_inside(child: psutil.Process) -> bool:
        if child.pid not in loaded and any("_libsvm." in place.path for place in _told(child.memory_maps) or ()):
            loaded[child.pid] = child.cpu_times().user
        return child.pid in loaded and child.cpu_times().user > loaded[child.pid] + 1

    wait_until(lambda: sum(map(is_inside, psutil.Process(process.pid).children(recursive=True))) >= n, [process])


def _told(ask):
    try:
        return ask()
    except psutil.Error:  # it has just ended
        return None
