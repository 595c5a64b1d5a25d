"""docs/results.md and docs/metrics.md say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tokenswarm.analysis.figures.plausibility import RULES as IMPLAUSIBLE
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.verdict.validity import RULES

from tests.analysis.make_run import row, write_run
from tokenswarm.contract.summary.summary_file import summary_json

DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows_under(heading: str, text: str) -> list[str]:
    """The table rows of a section, without head and rule."""
    section = text.split(heading, 1)[1]
    section = re.split(r"\n#{2,3} ", section, maxsplit=1)[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def test_every_key_of_the_summary_is_documented(tmp_path: Path) -> None:
    documented = rows_under("## summary.json", (DOCS / "results.md").read_text())
    keys = [re.match(r"\| `(\w+)`", line)[1] for line in documented]
    assert keys == list(json.loads(summary_json(summarise(read_run(write_run(tmp_path, [row()]))))))


def test_every_rule_is_documented() -> None:
    text = (DOCS / "metrics.md").read_text()
    for name in (*(rule.name for rule in RULES), *IMPLAUSIBLE):
        assert f"`{name}`" in text, name
        assert f"`{name}`" in (DOCS / "troubleshooting.md").read_text(), name
