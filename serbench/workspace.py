"""Where results go and how to run: what every function of the API is given."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serbench.errors import StoreError

if TYPE_CHECKING:
    from serbench.corpora.catalogue import Catalogue
    from serbench.corpora.entry import Corpus
    from serbench.store.results import Store

Progress = Callable[[str, int, int, float], None]
"""Is called with what is being done (e.g. `extract emodb`), units done, units in all, and the share of the work done.

The share predicts the time left better than the units where these differ in size, as jobs of the grid do.
"""


def silent(activity: str, done: int, total: int, share: float) -> None:
    """Ignore progress: the default in a notebook."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where results go and how to run.

    `corpora_file`: YAML over the built-in catalogue. `partial`: accept incomplete copies. `jobs`: workers, None for one
    per core. `rehash`: read every recording again, also where its file is as it was. `job_timeout_s`: seconds after
    which a job is stopped and has failed. `scheduler`: the address of a dask scheduler, or "local" to start one.
    """

    results: Path | str = "results"
    corpora_file: Path | str | None = None
    partial: bool = False
    jobs: int | None = None
    progress: Progress = silent
    rehash: bool = False
    job_timeout_s: float | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        for name in ("results", "corpora_file"):
            if str(given := getattr(self, name)).startswith("~"):
                object.__setattr__(self, name, Path(given).expanduser())

    def catalogue(self) -> Catalogue:
        """Load the catalogue with this workspace's own file over it."""
        from serbench.corpora.catalogue import load_catalogue  # brings pydantic, which the command line starts without

        return load_catalogue(None if self.corpora_file is None else Path(self.corpora_file))

    def store(self) -> Store:
        """Return the store of the results folder; a URL or an empty name is a StoreError."""
        from serbench.store.results import Store

        if not str(self.results):
            raise StoreError("--results", "an empty name", "a folder", "Is a variable of the shell unset?")
        folder = Path(self.results)
        if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/", str(self.results)) and not folder.exists():
            todo = "Copy the folder before and after a run, with rclone or `aws s3 sync` (docs/storage.md)"
            raise StoreError(str(self.results), "a URL", "a folder of this machine", todo)
        return Store(folder)

    @property
    def workers(self) -> int:
        """Number of workers."""
        if self.jobs is not None:
            return self.jobs
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


HERE = Workspace()  # results in the working directory, one worker per core


def list_corpora(workspace: Workspace = HERE) -> dict[str, tuple[Corpus, str | None]]:
    """Return every corpus of the catalogue with the reason why it is not on this disk, or None."""
    from serbench.corpora.catalogue import why_absent

    return {name: (corpus, why_absent(corpus)) for name, corpus in workspace.catalogue().corpora.items()}
