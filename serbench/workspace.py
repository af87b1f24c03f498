"""Where results go and how to run: what every function of the API is given."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serbench.corpora.catalogue import Catalogue, load_catalogue
from serbench.progress import Progress, silent

if TYPE_CHECKING:
    from serbench.store import Store


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where results go and how to run.

    `results`: the results folder, or a URL such as s3://bucket/results. `corpora_file`: YAML over the built-in
    catalogue. `partial`: accept incomplete copies. `jobs`: workers, None for one per core. `rehash`: read every
    recording again, also where its file is as it was. `job_timeout_s`: seconds after which a job of the grid is
    stopped and has failed, None for never. `scheduler`: the address of a dask scheduler whose workers run the grid, or
    "local" to start one; None for processes of this machine.
    """

    results: Path | str = "results"
    corpora_file: Path | str | None = None
    partial: bool = False
    jobs: int | None = None
    progress: Progress = silent
    rehash: bool = False
    job_timeout_s: float | None = None
    scheduler: str | None = None

    def catalogue(self) -> Catalogue:
        """Load the catalogue with this workspace's own file over it."""
        return load_catalogue(None if self.corpora_file is None else Path(self.corpora_file))

    def store(self) -> Store:
        """Return the store of the results folder."""
        from serbench.remote import is_url, mirror_of
        from serbench.store import Store

        if not is_url(self.results):
            return Store(Path(self.results))
        mirror = mirror_of(str(self.results))
        mirror.pull_now_and_then()
        return Store(mirror.folder)

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Put what is made where the results belong, on the way and in the end, where that is not a folder."""
        from serbench.remote import is_url, mirror_of

        if is_url(self.results):
            with mirror_of(str(self.results)).pushing():
                yield
        else:
            yield

    @property
    def workers(self) -> int:
        """Number of workers."""
        if self.jobs is not None:
            return self.jobs
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


HERE = Workspace()
"""Results in the working directory, one worker per core."""
