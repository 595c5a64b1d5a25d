"""Margins when all requests at a time take about equally long: where their line reaches the limit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tokenswarm.analysis.search.attainment import blocks_of
from tokenswarm.analysis.search.capacity_search import Knowledge, judge, next_step
from tokenswarm.analysis.search.load_levels import LoadEvidence, SearchSettings
from tokenswarm.analysis.search.margin_line import (
    MarginCrossing,
    MarginRun,
    concentrated_runs,
    is_concentrated,
    margin_crossing,
    steps_of,
)

TARGET = 0.95


def margins(middle: float, spread: float, count: int, seed: int) -> np.ndarray:
    """Independent ones, whose quantile at the target is `middle`."""
    noise = np.random.default_rng(seed).normal(0.0, spread, count)
    return middle * np.exp(noise - 1.6449 * spread)


def run_at(load: float, middle: float, seed: int, spread: float = 0.03, dependence: float = 5.0) -> MarginRun:
    return MarginRun(load, steps_of(margins(middle, spread, 2000, seed)), dependence)


def crossing_of(runs: list[MarginRun]) -> MarginCrossing | None:
    return margin_crossing(runs, concentrated_runs(runs, TARGET), TARGET)


def line_of(growth: float, at: float) -> Callable[[float], float]:
    return lambda load: (load / at) ** growth


def test_the_crossing_of_runs_on_a_line_is_where_the_line_says() -> None:
    middle = line_of(0.5, 57.0)
    found = crossing_of([run_at(load, middle(load), load) for load in (50, 52, 54, 59, 62, 66)])
    assert found is not None and found.rests_on_enough
    assert found.load == pytest.approx(57.0, rel=0.02)
    assert 0.93 * 57 < found.low < 57.0 < found.high < 1.07 * 57


def test_more_dependent_requests_make_the_interval_wider() -> None:
    middle = line_of(0.5, 57.0)
    widths = []
    for dependence in (5.0, 80.0):
        runs = [run_at(load, middle(load), load, dependence=dependence) for load in (50, 52, 54, 59, 62, 66)]
        found = crossing_of(runs)
        assert found is not None
        widths.append(found.high / found.low)
    assert widths[1] > widths[0]


def test_what_short_runs_differ_belongs_to_the_margins() -> None:
    """Each run saw one part of a wave: the quantile of each is too low, and that of them all is not."""
    rng, wave, own = np.random.default_rng(4), 0.03, 0.02
    middle, runs = line_of(0.5, 57.0), []
    for load in [50, 52, 54, 56, 58, 60, 62, 64] * 12:
        lift = rng.normal(0.0, wave) - 1.6449 * np.hypot(wave, own)
        noise = rng.normal(0.0, own, 400) + lift
        runs.append(MarginRun(load, steps_of(middle(load) * np.exp(noise)), 1.0))
    found = crossing_of(runs)
    assert found is not None
    assert found.load == pytest.approx(57.0, rel=0.02), "4% more by the quantile of each run"
    assert found.low < 57.0 < found.high


@pytest.mark.parametrize(
    "middle",
    [line_of(0.5, 100.0), line_of(0.5, 20.0), lambda load: 0.7 if load < 57 else 1.3],
    ids=["all below the limit", "all above it", "a jump over it"],
)
def test_without_runs_close_to_the_limit_on_both_sides_there_is_no_crossing(middle: Callable[[float], float]) -> None:
    assert crossing_of([run_at(load, middle(load), load) for load in (50, 52, 54, 59, 62, 66)]) is None


def test_waits_and_stalls_are_not_concentrated() -> None:
    rng = np.random.default_rng(1)
    waits = rng.exponential(0.3, 2000)
    stalls = np.where(rng.random(2000) < 0.05, 1.5, 0.9)
    failed = np.where(rng.random(2000) < 0.02, np.inf, 0.9)
    assert not any(is_concentrated(steps_of(each), TARGET) for each in (waits, stalls, failed, np.zeros(2000)))
    assert is_concentrated(steps_of(margins(1.0, 0.03, 2000, 1)), TARGET)


def searched(middle: Callable[[float], float], spread: float = 0.03) -> tuple[Knowledge, str]:
    asked, evidence = SearchSettings(32), []
    while (step := next_step(asked, evidence)).load is not None:
        margin = margins(middle(step.load), spread, step.requests, len(evidence))
        at = np.arange(len(margin)) + 0.5
        evidence.append(LoadEvidence(step.load, blocks_of(at, margin, (0.0, float(len(at))), TARGET)))
    return judge(asked, evidence), step.why


def test_a_search_by_margins_closes_and_both_its_ends_are_sure() -> None:
    known, why = searched(line_of(0.5, 57.5))
    assert why in ("precision", "neighbours") and known.trusted and not known.cliff
    assert known.low <= 57 <= known.high < 1.1 * known.low
    assert known.sure_pass < 57.5 < known.sure_fail


def test_a_jump_of_the_margins_is_a_cliff_whose_interval_is_the_bracket() -> None:
    known, _ = searched(lambda load: 0.7 if load <= 90 else 1.4)
    assert known.cliff and known.crossing is None and not known.trusted
    assert known.sure_pass <= 90 < known.sure_fail


def test_attainment_that_falls_from_all_to_none_between_neighbours_is_a_cliff_though_the_margins_rise_gently() -> None:
    known, why = searched(line_of(0.9, 87.0), spread=0.004)
    shares = {level.load: level.attainment.share for level in known.levels}
    assert shares[known.sure_pass] >= 0.99 and shares[known.sure_fail] <= 0.05, "so it is one"
    assert why == "precision" and known.cliff and known.crossing is None and not known.trusted
    assert (known.low, known.high) == (known.sure_pass, known.sure_fail - 1)
    assert known.sure_pass < 87 < known.sure_fail <= 1.1 * known.sure_pass
