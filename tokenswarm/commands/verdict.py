"""The exit code of a summary, and the job summary of CI systems."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tokenswarm.base.errors import Exit
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.tables import SUMMARY_MD

_STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def exit_code(summary: Summary) -> Exit:
    """The exit code of a run, as decided by its report (`analysis/verdict/outcome.py`)."""
    return Exit(summary.outcome.code)


def tell_ci(folder: Path) -> None:
    """Append the Markdown summary to the CI system's job summary, if there is one."""
    page = os.environ.get(_STEP_SUMMARY)
    if page:
        with contextlib.suppress(OSError), open(page, "a", encoding="utf-8") as file:
            file.write((folder / SUMMARY_MD).read_text(encoding="utf-8") + "\n")
