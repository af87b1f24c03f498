"""Run a command as a process of its own: its time from start to end, and the memory of it and its children."""

import os
import resource
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).parent
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


@dataclass(frozen=True)
class Run:
    """What a process took, `cpu_s` of all processors; `peak_mib` is proportional memory (PSS) with its children."""

    seconds: float
    cpu_s: float
    output: str
    peak_mib: float


def run(*command, watch=False, env=None, cwd=HERE.parent):
    """Run a command to its end; a status other than 0 stops the benchmark with what the command said."""
    started, before = time.perf_counter(), _cpu_of_children()
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )
    peak = [0.0]
    if watch:
        threading.Thread(target=_watch, args=(process.pid, peak), daemon=True).start()
    output, errors = process.communicate()
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{output}{errors}")
    return Run(seconds, _cpu_of_children() - before, output, peak[0])


def _cpu_of_children():
    """Seconds of processors that ended children took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_script(name, *arguments, **options):
    """Run a script of this folder by the Python that runs the benchmarks."""
    return run(sys.executable, "-W", "ignore", HERE / name, *arguments, **options)


def serbench(*arguments, **options):
    """Run the serbench command of this environment."""
    return run(Path(sys.executable).parent / "serbench", *arguments, **options)


def _watch(pid, peak):
    """Look at the memory of a process and its children ten times a second."""
    try:
        top = psutil.Process(pid)
        while top.is_running():
            peak[0] = max(peak[0], sum(map(_pss, [top, *top.children(recursive=True)])) / 2**20)
            time.sleep(0.1)
    except psutil.NoSuchProcess:
        return


def _pss(process):
    try:
        return process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
