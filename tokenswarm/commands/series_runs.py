"""What the commands have in common that make a series of runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenswarm.contract.summary.summary_record import Summary


def series_folder(results: Path, kind: str) -> Path:
    """RESULTS/KIND-<time>, in UTC as the names of run folders are."""
    return results / time.strftime(f"{kind}-%Y%m%d-%H%M%S", time.gmtime())


def reported(folder: Path, dashboard: bool = True) -> Summary:
    """The report of a run of the series that has just ended; its verdict goes into run.json too. Without `dashboard`
    the page is left for later."""
    from tokenswarm.analysis.report import report
    from tokenswarm.contract.manifest import note_verdict

    summary = report(folder, dashboard=dashboard)
    note_verdict(folder, summary.verdict, summary.reasons)
    return summary
