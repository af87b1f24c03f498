"""serbench: fair classical-ML baselines for speech emotion recognition.

In a notebook::

    import serbench
    scores = serbench.run_grid(["emodb"], serbench.GridRequest(features=("IS09",), classifiers=("svc",))).scores()

Everything in `serbench.api` is also a name of this package; it is imported on first use, so that `serbench --help`
answers at once.
"""

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if not name.startswith("_") and name in (api := importlib.import_module("serbench.api")).__all__:
        return getattr(api, name)
    raise AttributeError(f"module 'serbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *importlib.import_module("serbench.api").__all__])
