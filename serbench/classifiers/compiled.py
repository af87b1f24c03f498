"""Functions that numba compiles, and whether what they compute is what scikit-learn computes, here and now."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import sklearn

if TYPE_CHECKING:
    from serbench.workspace import Progress


inlined = numba.njit(inline="always", error_model="numpy")
"""Make a function part of those that call it: calls with many arrays cost as much as short loops."""


def function(code: Callable[..., Any]) -> Any:
    """Compile a function at its first call, to run without Python's lock; kept on disk where that can be written."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(code)
    except RuntimeError:  # no folder for its cache can be written
        return numba.njit(nogil=True, error_model="numpy")(code)


@functools.cache
def agrees(compare: Callable[[], bool]) -> bool:
    """Return whether `compare` finds compiled code equal to scikit-learn's; asked once per process, in 0.1 s.

    The tests hold it to scikit-learn 1.9, at length. Releases before draw bootstraps without the weights, for example.
    """
    try:
        return compare()
    except (AttributeError, ImportError, LookupError, TypeError, ValueError):  # another release lacks what it calls
        return False


def prepare(name: str, function: Any, compare: Callable[[], bool], progress: Progress) -> None:
    """Compile a classifier's code, unless this machine has kept it; warn where scikit-learn computes otherwise."""
    source, folder = Path(function.py_func.__code__.co_filename), function.stats.cache_path
    kept = [] if folder is None else Path(folder).glob(f"{source.stem}.{function.__name__}-*.nbi")
    is_first = not any(path.stat().st_mtime > source.stat().st_mtime for path in kept)
    activity = f"compile {name}, once on this machine"
    if is_first:
        progress(activity, 0, 1, 0.0)
    if not agrees(compare):
        found = f"scikit-learn {sklearn.__version__} computes {name} otherwise than serbench's compiled code"
        warnings.warn(f"{found}; it is fitted by scikit-learn, as ever, but several times more slowly", stacklevel=2)
    if is_first:
        progress(activity, 1, 1, 1.0)
