"""Checks without a run: the effective scenario, and whether a scenario is valid."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit
from tokenswarm.cli import main


def test_print_config_shows_the_effective_scenario_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        [
            "load",
            "--results",
            str(tmp_path / "results"),
            "--scenario",
            "chat",
            "--users",
            "7",
            "--duration",
            "2m",
            "--engine",
            "external",
            "--host",
            "http://127.0.0.1:9",
            "--print-config",
            "--set",
            "slo.ttft_p95_ms=400 prompts.salt=42",
        ]
    )
    config = tomllib.loads(capsys.readouterr().out)
    assert code == Exit.PASSED
    assert (config["load"]["users"], config["load"]["duration_s"]) == (7, 120.0)
    assert (config["slo"]["ttft_p95_ms"], config["prompts"]["salt"]) == (400, "42")
    assert not (tmp_path / "results").exists()


def test_print_config_refuses_what_a_run_would_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "--rate", "3", "--users", "4", "--print-config"]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == "" and "USERS" in err and "RATE" in err


def test_scenarios_are_checked_by_name_by_file_and_as_a_mix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nlocustfile = "rag.py"\nworkload = "rag"\n[slo]\nttft_p95_ms = 3\n', "utf-8")
    assert main(["scenarios", "--check", "chat", "rag:2 chat:1", str(own), "--set", "load.rate=3"]) == Exit.PASSED
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(": valid: " in line and "3 requests/s" in line for line in lines)
    assert lines[2].endswith("1 SLO)")


def test_each_wrong_scenario_is_a_sentence_and_the_others_are_checked_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nlocustfile = "nobody.py"\nworkload = "rag"\n', "utf-8")
    assert main(["scenarios", "--check", "ragg", str(own), "dataset", "batch"]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out.startswith("batch: valid: ")
    sentences = err.splitlines()
    assert len(sentences) == 3
    wanted = (("ragg", "'rag'"), (str(own), "nobody"), ("dataset", "DATA="))
    for sentence, words in zip(sentences, wanted, strict=True):
        assert all(word in sentence for word in words)
