"""What a race promises: the winner is the best or within 3% of it, for a fraction of a grid's runs.

Figures differ by their round's work (0.3, common to all), by the candidate, and by what is left (the noise).
"""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.search.load_levels import RATE, LoadEvidence
from tokenswarm.analysis.search.quick_capacity import QuickSearch
from tokenswarm.analysis.search.race import Race

from tests.analysis.search.queues import Queue
from tests.statistics.simulated import runs, tolerance

RACES = runs(400, fast=100)
GRID_REPEATS = 8
QUEUE, QUEUE_CAPACITY = Queue(servers=8, arrival_cv=1.5, service_cv=1.0, limit=0.5), 5.25
"""A queue, and about what it carries: where the first searches begin is drawn around it."""
CAPACITY_RACES = runs(100, fast=10)


def raced(count: int, effect: float, noise: float) -> tuple[float, float, float]:
    """(share of races whose winner is within 3%, median share of the grid's runs, share in which the best was
    dropped)."""
    rng = np.random.default_rng([count, int(1000 * effect), int(1000 * noise)])
    good, dropped, shares = 0, 0, []
    for _ in range(RACES):
        truth = rng.normal(0.0, effect, count)
        truth -= truth.max()
        race = Race([str(each) for each in range(count)])
        while race.over is None:
            work = rng.normal(0.0, 0.3)
            race.record_round(
                {each: float(np.exp(work + truth[int(each)] + rng.normal(0.0, noise))) for each in race.survivors}
            )
        good += truth[int(race.winner)] >= -np.log(1.03)
        dropped += str(truth.argmax()) in race.drops
        shares.append(sum(map(len, race.figures.values())) / (GRID_REPEATS * count))
    return good / RACES, float(np.median(shares)), dropped / RACES


@pytest.mark.parametrize("count", [12, 18, 24])
@pytest.mark.parametrize(("effect", "noise"), [(0.3, 0.06), (0.1, 0.06), (0.3, 0.09)])
def test_the_winner_is_within_3_percent_in_90_percent_of_races_for_half_of_a_grids_runs(
    count: int, effect: float, noise: float
) -> None:
    good, share, dropped = raced(count, effect, noise)
    print(
        f"{count} candidates, effects {effect:.0%}, noise {noise:.0%}: within 3% {good:.0%}, {share:.0%} of the "
        f"grid's runs, best dropped {dropped:.1%}"
    )
    assert good >= 0.90 - tolerance(0.10, RACES)
    assert share <= 0.5
    assert dropped <= 0.05 + tolerance(0.05, RACES)


def capacity_race(count: int, seed: int) -> tuple[bool, float, bool]:
    """A race by capacity between queues that differ by their speed alone: whether the winner is within 3%, the share of
    a grid's searches, and whether the best one was dropped. All candidates of a round have its random numbers."""
    rng = np.random.default_rng([seed, count])
    speed = np.exp(rng.normal(0.0, 0.3, count))
    start, last = QUEUE_CAPACITY * float(np.exp(rng.uniform(-1.0, 0.5))), dict[str, float]()
    race = Race([str(each) for each in range(count)])
    while race.over is None:
        for name in race.survivors:
            quick = QuickSearch(last.get(name, start), RATE, QUEUE.target, known=name in last)
            evidence: list[LoadEvidence] = []
            while (step := quick.next_step(evidence)).load is not None:
                run, _ = QUEUE.run(step.load / speed[int(name)], step.requests, (seed, race.rounds, len(evidence)))
                evidence.append(LoadEvidence(step.load, run.blocks))
            last[name] = quick.estimate(evidence) or 0.0
        race.record_round({name: last[name] for name in race.survivors})
    searches = sum(map(len, race.figures.values()))
    return (
        speed[int(race.winner)] >= speed.max() / 1.03,
        searches / (GRID_REPEATS * count),
        str(speed.argmax()) in race.drops,
    )


@pytest.mark.parametrize("count", [12, 24])
def test_a_race_by_capacity_finds_the_queue_that_carries_most(count: int) -> None:
    good, share, dropped = map(
        np.array, zip(*(capacity_race(count, seed) for seed in range(CAPACITY_RACES)), strict=True)
    )
    print(
        f"{count} queues by capacity, {CAPACITY_RACES} races: within 3% {good.mean():.0%}, {np.median(share):.0%} of "
        f"the grid's searches, best dropped {dropped.mean():.1%}"
    )
    assert good.mean() >= 0.90 - tolerance(0.10, CAPACITY_RACES)
    assert np.median(share) <= 0.5
