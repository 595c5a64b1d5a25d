"""What a search would take, stated before anything runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit
from tokenswarm.cli import main
from tokenswarm.commands.capacity_forecast import forecast
from tokenswarm.contract.capacity_record import Capacity, CapacityFigure


def test_a_capacity_further_away_takes_more_runs() -> None:
    record = Capacity(capacity=CapacityFigure("users"), start=32)
    near, far = forecast(record, 1.5, 1.4), forecast(record, 1.5, 40.0)
    assert 3 < near.runs < far.runs < 20 and near.requests < far.requests


def test_a_higher_target_takes_more_requests() -> None:
    few, many = (
        forecast(Capacity(capacity=CapacityFigure("requests_s"), start=8, target=target), 0.0, 2.0)
        for target in (0.95, 0.99)
    )
    assert many.requests > 2 * few.requests


def test_a_dry_run_prints_the_plan_with_time_requests_and_money_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["capacity", "--scenario", "chat", "--dry-run"]
    assert main([*asked, "--budget", "30m", "--max-requests", "5000", "--gpu-hourly-cost", "3"]) == Exit.PASSED
    text = " ".join(capsys.readouterr().out.split())
    assert "capacity of Simulator for chat: the highest number of users at which TTFT of at most 500 ms" in text
    assert "for 95% of the requests hold, to 10%, beginning at 32 users" in text
    assert re.search(
        r"about \d+ runs \(\d+ to \d+\), [\d,]+ requests \([\d,]+ to [\d,]+\), [\d minsh]+ \([\d minsh]+ to "
        r"[\d minsh]+\), cut to the budget of 30 min and 5,000 requests",
        text,
    ), text
    assert re.search(r"GPU time: about \$\d+\.\d\d for 1 GPU", text), text
    assert main(asked) == Exit.PASSED
    assert "money: no price is known" in " ".join(capsys.readouterr().out.split())
    assert not list(tmp_path.iterdir())
