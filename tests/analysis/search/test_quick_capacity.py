"""The quick search for a capacity by which candidates of a race are compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tokenswarm.analysis.search.attainment import Blocks
from tokenswarm.analysis.search.load_levels import DIED, LIMITED, RATE, REFUSED, USERS, LoadEvidence
from tokenswarm.analysis.search.quick_capacity import QuickSearch


def searched(
    quick: QuickSearch, attained: Callable[[float], float], flaw: Callable[[float], str | None] = lambda _: None
) -> tuple[float | None, str, list[LoadEvidence]]:
    """The estimate, why the search ended, and its runs of independent requests."""
    rng, evidence = np.random.default_rng(3), []
    for _ in range(40):
        step = quick.next_step(evidence)
        if step.load is None:
            return quick.estimate(evidence), step.why, evidence
        good = rng.binomial(np.full(20, step.requests // 20), attained(step.load))
        blocks = Blocks((step.requests // 20,) * 20, tuple(int(each) for each in good), (0,) * 20)
        evidence.append(LoadEvidence(step.load, blocks, flaw(step.load)))
    raise AssertionError("the search does not end")


def falling(capacity: float, steepness: float = 12.0) -> Callable[[float], float]:
    return lambda load: 1.0 / (1.0 + (1 / 19) * (load / capacity) ** steepness)


@pytest.mark.parametrize("start", [2.0, 16.0, 400.0])
def test_it_finds_about_the_capacity_from_wherever_it_begins(start: float) -> None:
    estimate, why, _ = searched(QuickSearch(start, RATE), falling(57.3))
    assert why == "precision" and estimate == pytest.approx(57.3, rel=0.1)


def test_one_that_knows_about_where_it_is_takes_fewer_runs() -> None:
    first = searched(QuickSearch(16, USERS), falling(57.3))
    later = searched(QuickSearch(first[0] or 0.0, USERS, known=True), falling(57.3))
    assert len(later[2]) <= 4 < len(first[2])
    assert later[0] == pytest.approx(57.3, rel=0.1)
    assert all(each.load == round(each.load) for each in later[2]), "users are whole"


def test_a_cliff_lies_between_the_two_loads_around_it() -> None:
    estimate, _, runs = searched(QuickSearch(10, RATE), lambda load: 1.0 if load < 33 else 0.0)
    near = sorted(each.load for each in runs if 33 / 1.15 < each.load < 33 * 1.15)
    assert estimate is not None and near[0] < estimate < near[-1]


def test_a_load_at_which_the_engine_dies_is_too_much() -> None:
    estimate, _, _ = searched(QuickSearch(10, RATE), lambda _: 1.0, lambda load: DIED if load > 33 else None)
    assert estimate == pytest.approx(33, rel=0.15)


def test_what_cannot_be_found_is_said() -> None:
    nothing_passes = searched(QuickSearch(8, USERS), lambda _: 0.0)
    assert nothing_passes[:2] == (None, "below_least") and nothing_passes[2][-1].load == 1
    assert searched(QuickSearch(8, RATE), lambda _: 1.0)[:2] == (None, "levels"), "nothing fails"
    limited = searched(QuickSearch(8, RATE), lambda _: 1.0, lambda load: LIMITED if load > 20 else None)
    assert limited[:2] == (None, LIMITED) and [each.load for each in limited[2]][-2:] == [32, 32], "tried again"
    assert searched(QuickSearch(8, RATE), lambda _: 1.0, lambda _: REFUSED)[:2] == (None, REFUSED)
