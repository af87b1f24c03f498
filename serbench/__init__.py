"""serbench: fair classical-ML baselines for speech emotion recognition.

In a notebook::

    import serbench
    scores = serbench.run_grid(["emodb"], serbench.GridRequest(features=("IS09",), classifiers=("svc",))).scores()

Everything in `serbench.api` is also a name of this package; it is imported on first use, so that `serbench --help`
answers at once.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    from serbench import api

    if name in api.__all__:
        return getattr(api, name)
    raise AttributeError(f"module 'serbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    from serbench import api

    return sorted([*globals(), *api.__all__])
