"""The generated tables in docs/ are up to date."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from docs.generate import FOLDER, TABLES, current, main, pages, scenario_tables
from tokenswarm.contract.metrics import METRICS
from tokenswarm.scenario.model import Scenario


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_has_its_tables_as_the_code_gives_them(page) -> None:
    text = page.read_text("utf-8")
    assert current(text) == text, "run make docs"


def test_every_table_stands_in_one_place() -> None:
    texts = "".join(page.read_text("utf-8") for page in pages())
    named = Counter(re.findall(r"^<!-- generated: (.+) -->$", texts, re.MULTILINE))
    ended = Counter(re.findall(r"^<!-- end of (.+) -->$", texts, re.MULTILINE))
    assert named == ended == Counter(TABLES.keys())


def test_no_key_of_a_scenario_and_no_metric_is_left_out() -> None:
    scenarios = (FOLDER / "scenarios.md").read_text("utf-8")
    keys = [f"{name}.{key}" for name, model in scenario_tables().items() for key in model.model_fields]
    assert len(keys) > 60
    keys += [key for key in Scenario.model_fields if key not in scenario_tables() and key != "slo"]
    assert [key for key in keys if f"\n| `{key}` | " not in scenarios and key not in scenario_tables()] == []
    metrics = (FOLDER / "metrics.md").read_text("utf-8")
    assert [each.name for each in METRICS if f"\n| `{each.name}` | {each.title} | " not in metrics] == []


def test_what_was_changed_by_hand_is_named_and_put_right(tmp_path, monkeypatch, capsys) -> None:
    text = (FOLDER / "metrics.md").read_text("utf-8")
    page = tmp_path / "metrics.md"
    page.write_text(text.replace("| `ttft` | TTFT | ms |", "| `ttft` | TTFT | s |", 1), "utf-8")
    monkeypatch.setattr("docs.generate.FOLDER", tmp_path)
    assert main(["--check"]) == 1
    assert "docs/metrics.md: not current" in capsys.readouterr().out
    assert main([]) == 0
    assert page.read_text("utf-8") == text
    assert main(["--check"]) == 0
