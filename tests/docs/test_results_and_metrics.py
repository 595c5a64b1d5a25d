"""docs/results.md and docs/metrics.md say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.verdict.validity import RULES

from tests.analysis.make_run import row, write_run
from tokenswarm.contract import tables as schema
from tokenswarm.contract.objectives import slo_rates

DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows_under(heading: str, text: str) -> list[str]:
    """The table rows of a section, without head and rule."""
    section = text.split(heading, 1)[1]
    section = re.split(r"\n#{2,3} ", section, maxsplit=1)[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("### requests.csv", schema.REQUEST_COLUMNS),
        ("### prompts.csv", schema.PROMPT_COLUMNS),
        ("### engine_metrics.csv", schema.ENGINE_METRIC_COLUMNS),
        ("### host_metrics.csv", schema.HOST_METRIC_COLUMNS),
    ],
)
def test_tables_are_documented_column_by_column(heading: str, columns: tuple[schema.Column, ...]) -> None:
    documented = rows_under(heading, (DOCS / "results.md").read_text())
    assert documented == [f"| `{c.name}` | {c.kind} | {c.meaning} |" for c in columns]


def test_every_kind_of_error_is_documented() -> None:
    documented = rows_under("### Errors", (DOCS / "results.md").read_text())
    assert documented == [f"| `{kind}` | {meaning} |" for kind, meaning in schema.ERROR_KINDS.items()]


def test_every_key_of_the_summary_is_documented(tmp_path: Path) -> None:
    documented = rows_under("## summary.json", (DOCS / "results.md").read_text())
    keys = [re.match(r"\| `(\w+)`", line)[1] for line in documented]
    assert keys == list(summarise(read_run(write_run(tmp_path, [row()]))))


def test_every_rule_and_objective_is_documented() -> None:
    text = (DOCS / "metrics.md").read_text()
    for name in [rule.name for rule in RULES] + [rate.slo_key for rate in slo_rates()]:
        assert f"`{name}`" in text, name
