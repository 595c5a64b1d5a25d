"""The headline of a load does not depend on how long it was measured: rag at 30 requests/s, in virtual time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tokenswarm.analysis.figures.statistics import Estimate, percentiles

from tests.statistics.simulated import runs
from tokenswarm.base.config_text import parse_set
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.run import run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads.corpus import load_corpus

SEEDS = runs(20, fast=4)


def estimate(settings: str, seed: int) -> Estimate:
    """TTFT p95 of a run of rag, with its interval."""
    scenario = load_scenario("rag", parse_set(settings))
    rows = [
        row
        for row in run(scenario, simulated(), load_corpus(), seed=seed, salt=f"salt-{seed}").measured()
        if row["status"] == "ok"
    ]
    rows.sort(key=lambda row: row["sent_at"])
    return percentiles(np.array([row["ttft_ms"] for row in rows], dtype=float), (95,))[95]


def holds(estimate: Estimate, value: float) -> bool:
    """Whether its interval does; an open end holds everything."""
    return (estimate.low or 0.0) <= value <= (estimate.high or math.inf)


def ttft_p95(seed: int, seconds: int, state: str = "steady") -> Estimate:
    return estimate(f"load.rate=30 load.duration_s={seconds} prompts.state={state}", seed)


def test_ten_and_sixty_seconds_give_the_same_ttft_within_their_intervals() -> None:
    pairs = [(ttft_p95(seed, 10), ttft_p95(seed, 60)) for seed in range(1, SEEDS + 1)]
    ratios = [math.log(short.value / long.value) for short, long in pairs]
    inside = sum(holds(short, long.value) for short, long in pairs)
    apart = sum(
        short.high is not None and (short.high < (long.low or 0.0) or (long.high or math.inf) < (short.low or 0.0))
        for short, long in pairs
    )
    print(*(f"{short.value:.0f} and {long.value:.0f} ms" for short, long in pairs), sep="; ")
    print(f"60 s lies in the interval of 10 s in {inside} of {SEEDS}; median ratio {math.exp(np.median(ratios)):.2f}")
    assert apart == 0
    assert inside >= 0.75 * SEEDS
    assert math.exp(np.median(ratios)) == pytest.approx(1.0, abs=0.25)


def test_cold_prompts_show_what_was_wrong() -> None:
    """The measured phase begins with an empty cache then: ten seconds of that say far more than sixty."""
    short, long = ttft_p95(1, 10, "cold"), ttft_p95(1, 60, "cold")
    print(f"cold: 10 s {short.value:.0f} ms, 60 s {long.value:.0f} ms")
    assert short.value > 1.5 * long.value


def test_thirty_sixty_and_a_hundred_and_twenty_seconds_of_the_default_load_agree() -> None:
    """rag as it comes, a closed loop of 16 users: `make load` with DURATION=30s, 60s and 120s."""

    def p95(seed: int, seconds: int) -> Estimate:
        return estimate(f"load.duration_s={seconds}", seed)

    inside, ratios = 0, []
    for seed in range(1, SEEDS + 1):
        short, middle, long = (p95(seed, seconds) for seconds in (30, 60, 120))
        print(
            *(
                f"{each.value:.0f} ({each.low or 0:.0f} to {each.high or math.inf:.0f})"
                for each in (short, middle, long)
            )
        )
        for one, longer in ((short, middle), (short, long), (middle, long)):
            assert (longer.high or math.inf) >= (one.low or 0.0), "intervals apart"
            assert (one.high or math.inf) >= (longer.low or 0.0), "intervals apart"
            inside += holds(one, longer.value)
        ratios += [math.log(short.value / long.value), math.log(middle.value / long.value)]
    print(f"the longer run's figure lies in the shorter one's interval in {inside} of {3 * SEEDS}")
    assert inside >= 0.75 * 3 * SEEDS
    assert math.exp(np.median(ratios)) == pytest.approx(1.0, abs=0.15)
