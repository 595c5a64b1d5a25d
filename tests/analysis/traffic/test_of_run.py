"""A run's own requests as a profile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.traffic.of_run import profile_of_run

from tokenswarm.cli import main

from ..cache.test_yardstick import rag
from ..make_run import START, manifest, row, write_run


def test_a_run_says_how_its_requests_came_how_long_they_were_and_what_its_sessions_were(tmp_path: Path) -> None:
    rows = [
        row(
            request_id=f"r{i}",
            conversation=f"c{i // 2}",
            turn=1 + i % 2,
            sent_at=START + 4 * i,
            prompt_tokens=100 + 100 * (i % 2),
        )
        for i in range(10)
    ]
    rows.append(row(request_id="warm", phase="warmup", sent_at=START - 3, conversation="w"))
    profiled = profile_of_run(read_run(write_run(tmp_path, rows, manifest(seconds=60.0))))
    assert profiled.requests == 10, "those of the measure phase"
    assert (profiled.input_tokens.mean, profiled.output_tokens.mean) == (150, 100)
    assert profiled.arrivals.rate == pytest.approx(0.25)
    assert (profiled.sessions.sessions, profiled.sessions.turns.mean) == (5, 2)
    assert profiled.sessions.delay_s.mean == pytest.approx(4 - 1.09)
    assert profiled.hit_rate is None, "nobody recorded the prompts"


def test_the_prompts_of_a_run_give_the_curve_of_hits_and_what_is_fixed(tmp_path: Path) -> None:
    profiled = profile_of_run(read_run(rag(tmp_path)))
    assert [point.size for point in profiled.hit_rate.blocks] == [1, 16, 64, 128]
    rates = [point.rate for point in profiled.hit_rate.blocks]
    assert rates == sorted(rates, reverse=True) and rates[0] > 0.3
    assert profiled.hit_rate.lru[-1].rate == profiled.hit_rate.unbounded == rates[1]
    assert 0 < profiled.shared.fixed <= 1


def test_the_command_takes_run_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(rag(tmp_path / "run"))
    assert main(["profile", folder, "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert main(["profile", folder, folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [one, one]
    assert main(["profile", folder]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "hit rate" in shown
    fixed = f"{one['shared']['fixed']:.0%} of the prompts is fixed context"
    assert "rule of thumb" in one["rule_of_thumb"] and fixed in one["rule_of_thumb"] and fixed in shown
