"""Equal engines are called different in at most one record in twenty, whatever is looked at."""

from __future__ import annotations

import numpy as np
from tokenswarm.analysis.compare.one_shot_figures import DIFFERENT, contrasts_of

from tests.statistics.simulated import runs, tolerance
from tokenswarm.contract.one_shot_record import OneShot, Shot, ShotEngine

RECORDS = runs(3000, fast=150)


def _record(rng: np.random.Generator, ratio: float) -> OneShot:
    shots = []
    for repeat in range(1, 6):
        machine = rng.normal(0.0, 0.05)  # what comes and goes weighs on both
        for engine, factor in (("a", 1.0), ("b", ratio)):
            for case in ("cold", "cached"):
                e2e, ttft = np.exp(machine + rng.normal(0.0, (0.03, 0.10)))
                shots.append(
                    Shot(
                        engine,
                        case,
                        repeat,
                        status="ok",
                        e2e_ms=2000 * factor * e2e,
                        ttft_ms=60 * ttft,
                        completion_tokens=200,
                    )
                )
    return OneShot(engines=[ShotEngine("a"), ShotEngine("b")], shots=shots)


def _share_different(ratio: float) -> float:
    rng = np.random.default_rng(18)
    return float(
        np.mean([any(each.state == DIFFERENT for each in contrasts_of(_record(rng, ratio))) for _ in range(RECORDS)])
    )


def test_equal_engines_and_equal_cases_are_seldom_called_different() -> None:
    assert _share_different(1.0) <= 0.05 + tolerance(0.05, RECORDS)


def test_a_tenth_more_is_seen_in_five_repeats_most_of_the_time() -> None:
    assert _share_different(1.15) >= 0.6
