"""What a race promises: the winner is the best or within 3% of it, for a fraction of a grid's runs.

Figures differ by their round's work (0.3, common to all), by the candidate, and by what is left (the noise).
"""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.search.race import Race

from tests.statistics.simulated import runs, tolerance

RACES = runs(400, fast=100)
GRID_REPEATS = 8


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
