"""comparison.html, comparison.md and comparison.json."""

from __future__ import annotations

import json
from pathlib import Path

from tokenswarm.analysis.compare.comparison_report import Comparison, document
from tokenswarm.analysis.render.compare_page import markdown, render_comparison

from tokenswarm.base.files import make_folder, write_whole

COMPARISON_JSON, COMPARISON_MD, COMPARISON_HTML = "comparison.json", "comparison.md", "comparison.html"


def write_comparison(comparison: Comparison, folder: Path) -> dict[str, object]:
    """Write the three files into `folder`; returns the document. Raises UserError(RESULTS) on failure."""
    make_folder(folder)
    written = document(comparison)
    write_whole(folder / COMPARISON_JSON, json.dumps(written, indent=2, allow_nan=False) + "\n")
    write_whole(folder / COMPARISON_MD, markdown(comparison))
    write_whole(folder / COMPARISON_HTML, render_comparison(comparison, folder))
    return written
