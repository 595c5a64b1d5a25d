"""Shared code of commands that make a series of runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tokenswarm.base.files import drop_if_empty
from tokenswarm.contract.search_progress import PROGRESS_JSON

if TYPE_CHECKING:
    from tokenswarm.contract.summary.summary_record import Summary


def series_folder(results: Path, kind: str) -> Path:
    """RESULTS/KIND-<time>, in UTC like the names of run folders."""
    folder = results / time.strftime(f"{kind}-%Y%m%d-%H%M%S", time.gmtime())
    _NAMED.append(folder)
    return folder


_NAMED: list[Path] = []
"""The folders of this process's series."""


def drop_unused_folders() -> None:
    """Remove the folders of series that never began, which hold at most a progress file."""
    while _NAMED:
        folder = _NAMED.pop()
        files = [path for path in folder.rglob("*") if not path.is_dir()]
        if all(path.name == PROGRESS_JSON for path in files):
            for path in files:
                path.unlink(missing_ok=True)
        drop_if_empty(folder)


def reported(folder: Path, dashboard: bool = True) -> Summary:
    """Write the report of a finished run of the series; its verdict also goes into run.json. Without `dashboard`, the
    page is made later."""
    from tokenswarm.analysis.run_report import report
    from tokenswarm.contract.manifest import note_verdict

    summary = report(folder, dashboard=dashboard)
    note_verdict(folder, summary.verdict, summary.reasons)
    return summary
