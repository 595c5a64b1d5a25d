"""What the commands have in common that make a series of runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tokenswarm.base.files import drop_if_empty
from tokenswarm.contract.search_progress import PROGRESS_JSON

if TYPE_CHECKING:
    from tokenswarm.contract.summary.summary_record import Summary


def series_folder(results: Path, kind: str) -> Path:
    """RESULTS/KIND-<time>, in UTC as the names of run folders are."""
    folder = results / time.strftime(f"{kind}-%Y%m%d-%H%M%S", time.gmtime())
    _NAMED.append(folder)
    return folder


_NAMED: list[Path] = []
"""The folders of this process's series."""


def drop_unused_folders() -> None:
    """Remove the folders of series that never began, so that they hold no file but what says how far they have come."""
    while _NAMED:
        folder = _NAMED.pop()
        files = [path for path in folder.rglob("*") if not path.is_dir()]
        if all(path.name == PROGRESS_JSON for path in files):
            for path in files:
                path.unlink(missing_ok=True)
        drop_if_empty(folder)


def reported(folder: Path, dashboard: bool = True) -> Summary:
    """The report of a run of the series that has just ended; its verdict goes into run.json too. Without `dashboard`
    the page is left for later."""
    from tokenswarm.analysis.run_report import report
    from tokenswarm.contract.manifest import note_verdict

    summary = report(folder, dashboard=dashboard)
    note_verdict(folder, summary.verdict, summary.reasons)
    return summary
