"""summary.json: every figure of a run. Its one reader and its one writer; docs/results.md describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import write_whole
from tokenswarm.contract.manifest import read_object, too_new
from tokenswarm.contract.tables import SUMMARY_JSON

SUMMARY_FORMAT = 1
"""Version of summary.json's layout, written to it as `format`."""


def summary_json(summary: Mapping[str, Any]) -> str:
    """The content of summary.json. Raises ValueError for a figure that is not finite: JSON has none."""
    return json.dumps(summary, indent=2, allow_nan=False)


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary.json of a folder. Raises UserError (RUN_FOLDER) if it is not there, is no JSON object, or is of a
    newer format than this version knows."""
    summary = read_object(folder / SUMMARY_JSON)
    version = summary.get("format")
    if isinstance(version, int) and (sentence := too_new(SUMMARY_JSON, version, SUMMARY_FORMAT)) is not None:
        raise UserError(Exit.RUN_FOLDER, f"{folder}: {sentence}")
    return summary


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Replace summary.json as a whole. Raises UserError (RESULTS)."""
    write_whole(folder / SUMMARY_JSON, summary_json(summary) + "\n")
