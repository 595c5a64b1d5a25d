"""`profile --scenario` writes a scenario like a recorded workload, without its texts."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from tokenswarm.cli import main
from tokenswarm.scenario.loading import load_scenario


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Sessions behind one of three system prompts, with words that nobody else may read."""
    rng, rows = Random(2), []
    for number in range(120):
        system = f"Mallory's handbook, volume {number % 3}. " * 12
        history = [{"role": "system", "content": system}]
        for turn in range(1 + number % 3):
            history.append({"role": "user", "content": f"Zephyrine {number} {turn} " + "asks " * rng.randrange(5, 60)})
            when = round(1000 * (number * 2.0 + turn * 40))
            rows.append(
                {"timestamp": when, "session_id": f"s{number}", "messages": list(history), "output_length": 9 + number}
            )
            history.append({"role": "assistant", "content": "It is so."})
    file = tmp_path / "prod.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in sorted(rows, key=lambda row: row["timestamp"])), "utf-8")
    return file


def test_a_fitted_scenario_is_written_without_texts_and_stands_beside_the_record(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, page = tmp_path / "ours.toml", tmp_path / "both.html"
    assert main(["profile", str(log), "--scenario", str(ours), "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert "prod.jsonl" in shown and "ours.toml" in shown and "prompt, tokens" in shown
    assert f"try it:   make load SCENARIO={ours}\n" in shown, "to be copied, so on one line"
    for text in (ours.read_text("utf-8"), page.read_text("utf-8"), shown):
        assert "Mallory" not in text and "Zephyrine" not in text and "handbook" not in text
    assert "prod.jsonl" in page.read_text("utf-8") and "ours.toml" in page.read_text("utf-8")
    scenario = load_scenario(str(ours))
    assert scenario.workload == "synthetic" and scenario.open_loop


def test_the_synthetic_workload_is_like_the_record(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(log), "--scenario", str(tmp_path / "ours.toml"), "--json"]) == 0
    recorded, synthetic = json.loads(capsys.readouterr().out)
    assert recorded["requests"] == synthetic["requests"] == 240
    for name in ("input_tokens", "output_tokens"):
        assert synthetic[name]["mean"] == pytest.approx(recorded[name]["mean"], rel=0.25)
    assert synthetic["sessions"]["turns"]["mean"] == pytest.approx(recorded["sessions"]["turns"]["mean"], rel=0.25)
    assert synthetic["hit_rate"]["unbounded"] == pytest.approx(recorded["hit_rate"]["unbounded"], abs=0.15)


def test_a_file_that_is_there_is_not_written_over(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = tmp_path / "ours.toml"
    ours.write_text("mine")
    assert main(["profile", str(log), "--scenario", str(ours)]) != 0
    assert ours.read_text() == "mine" and "already exists" in capsys.readouterr().err
