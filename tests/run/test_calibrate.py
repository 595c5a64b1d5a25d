"""When more workers are advised, from what this machine was calibrated to."""

from __future__ import annotations

from typing import Any

import pytest

from tokenswarm.run import calibrate
from tokenswarm.run.calibrate import Calibration, advice
from tokenswarm.scenario.load import Load

CALIBRATED = Calibration(tokens_s=40_000.0, streams=400, limited_by="", cpu="", version="", at="")


@pytest.mark.parametrize(("load", "tokens", "workers", "advised"), [
    (Load(users=100), 128, 1, None),
    (Load(users=1000), 128, 1, "WORKERS=4"),
    (Load(users=10, users_steps=(10, 1000)), 128, 1, "WORKERS=4"),
    (Load(users=1000), 128, 4, None),
    (Load(rate=200.0), 10, 1, None),  # however many it lets be in flight
    (Load(rate=200.0), 1000, 1, "WORKERS=8"),
    (Load(rate=10.0, rate_end=200.0), 1000, 7, "WORKERS=8"),
])
def test_workers_are_advised_for_what_has_to_be_timed(load: Load, tokens: int, workers: int, advised: str | None,
                                                      monkeypatch: Any) -> None:
    monkeypatch.setattr(calibrate, "stored", lambda: CALIBRATED)
    told = advice(load, tokens, workers)
    assert told is None if advised is None else advised in told


def test_a_machine_that_was_never_calibrated_is_not_judged(monkeypatch: Any) -> None:
    monkeypatch.setattr(calibrate, "stored", lambda: None)
    assert advice(Load(users=100_000), 128, 1) is None
