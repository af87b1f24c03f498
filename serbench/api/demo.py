"""The demo: a synthetic corpus from audio to tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serbench.api.grids import run_grid
from serbench.api.reports import make_report
from serbench.errors import StoreError
from serbench.grid.request import GridRequest
from serbench.progress import Progress, silent
from serbench.workspace import Workspace

if TYPE_CHECKING:
    from serbench.report import Report


def run_demo(folder: Path | str = "serbench-demo", *, jobs: int | None = None, progress: Progress = silent) -> Report:
    """Write a small synthetic corpus and take it from audio to tables, through the same code as any corpus."""
    from serbench.demo import CORPUS_NAME, write_demo_corpus

    place = Path(folder)
    corpora_file = write_demo_corpus(place)
    workspace = Workspace(results=place / "results", corpora_file=corpora_file, jobs=jobs, progress=progress)
    result = run_grid([CORPUS_NAME], GridRequest(), workspace)
    if result.refused:
        raise StoreError(str(place), f"the demo failed: {next(iter(result.refused.values()))}")
    return make_report(workspace)
