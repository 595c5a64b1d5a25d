"""Attainment by blocks of time: what is certain, and how dependence widens the interval."""

from __future__ import annotations

import numpy as np
from tokenswarm.analysis.search.attainment import FEWEST_BLOCKS, Blocks, attainment, blocks_of, error_of_a_look

ERROR = error_of_a_look()


def run(good_share: float, requests: int = 1000, together: int = 1) -> Blocks:
    """A run whose bad requests come `together` at a time, at random."""
    rng = np.random.default_rng(int(1000 * good_share) + requests + together)
    bad = np.repeat(rng.random(requests // together) >= good_share, together)
    return blocks_of(np.arange(len(bad)) + 0.5, np.where(bad, 2.0, 0.5), (0.0, float(len(bad))), 0.95)


def test_all_good_is_a_sure_pass_and_all_bad_a_sure_fail() -> None:
    assert attainment([run(1.0)], ERROR).state(0.95) == "pass"
    assert attainment([run(0.0)], ERROR).state(0.95) == "fail"


def test_the_target_itself_is_undecided() -> None:
    assert attainment([run(0.95, 4000)], ERROR).state(0.95) == "undecided"


def test_few_requests_decide_nothing() -> None:
    assert attainment([run(1.0, 60)], ERROR).state(0.95) == "undecided"


def test_requests_that_fail_together_count_for_fewer() -> None:
    alone, together = attainment([run(0.9, 4000)], ERROR), attainment([run(0.9, 4000, together=50)], ERROR)
    assert together.dependence > 10 * alone.dependence
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_run_that_saw_hardly_a_bad_request_knows_its_dependence_from_its_slowest() -> None:
    at = np.arange(2000) + 0.5
    waves = 0.4 + 0.3 * np.sin(at / 100.0)
    calm = np.random.default_rng(2).permutation(waves)
    window = (0.0, 2000.0)
    one, other = (attainment([blocks_of(at, margin, window, 0.95)], ERROR) for margin in (waves, calm))
    assert one.share == other.share == 1.0
    assert one.dependence > 5 * other.dependence and one.low < other.low


def test_a_failed_request_is_not_good_and_one_of_unknown_latency_is_left_out() -> None:
    blocks = blocks_of(np.array([1.0, 2.0, 3.0]), np.array([np.inf, np.nan, 0.9]), (0.0, 4.0), 0.95)
    assert (blocks.requests, sum(blocks.good), len(blocks.sent)) == (2, 1, FEWEST_BLOCKS)


def test_nothing_sent_says_nothing() -> None:
    nothing = attainment([], ERROR)
    assert nothing.share is None and nothing.state(0.95) == "undecided"


def test_dependent_requests_at_the_target_are_rarely_called_sure() -> None:
    """AR(1) latencies whose clusters are 30 requests long: with the error of 5% on one side, at most about that."""
    rng = np.random.default_rng(5)
    at, wrong, trials = np.arange(3000) + 0.5, 0, 200
    for _ in range(trials):
        noise, wave = rng.normal(size=3000), np.empty(3000)
        level = rng.normal()
        for place, each in enumerate(noise):
            level = 0.94 * level + np.sqrt(1 - 0.94**2) * each
            wave[place] = level
        margin = np.exp(wave - 1.6449)
        wrong += attainment([blocks_of(at, margin, (0.0, 3000.0), 0.95)], 0.05).low > 0.95
    assert wrong <= 0.05 * trials + 3 * np.sqrt(0.05 * 0.95 * trials)
