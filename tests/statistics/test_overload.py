"""Overload: an engine that keeps up is hardly ever called overloaded, one that does not is found."""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.figures.overload import judge_overload

from tests.statistics.simulated import runs, servers_queue, tolerance

TRIALS = runs(400, fast=40)


def called_overloaded(load: float, servers: int, seconds: float, burstiness: float) -> float:
    rng = np.random.default_rng([20261121, int(100 * load), servers, int(seconds)])
    found = 0
    for _ in range(TRIALS):
        arrived, ended, ttft = servers_queue(
            rng, load=load, servers=servers, seconds=seconds, settle=seconds / 6.0, burstiness=burstiness
        )
        drained = np.where(ended > seconds + 10.0, np.nan, ended)  # cancelled when the drain was over
        found += bool(judge_overload(arrived, drained, ttft, 0.0, seconds).overloaded)
    print(
        f"load {load:.0%}, {servers} servers, {seconds:g} s, burstiness {burstiness}: {found / TRIALS:.0%} overloaded"
    )
    return found / TRIALS


@pytest.mark.parametrize("burstiness", [1.0, 1.5])
@pytest.mark.parametrize("load", [0.5, 0.8, 0.9, 0.95])
def test_an_engine_that_keeps_up_is_not_called_overloaded(load: float, burstiness: float) -> None:
    assert called_overloaded(load, 4, 60.0, burstiness) <= 0.05 + tolerance(0.05, TRIALS)
    assert called_overloaded(load, 16, 30.0, burstiness) <= 0.05 + tolerance(0.05, TRIALS)


@pytest.mark.parametrize(
    ("load", "servers", "seconds", "least"),
    [(1.5, 4, 30.0, 0.95), (1.2, 16, 30.0, 0.95), (1.2, 4, 120.0, 0.90), (1.1, 16, 120.0, 0.90)],
)
def test_an_overload_is_found(load: float, servers: int, seconds: float, least: float) -> None:
    assert called_overloaded(load, servers, seconds, 1.0) >= least - tolerance(1.0 - least, TRIALS)
