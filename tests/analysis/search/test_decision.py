"""The rules of a decision: which engine, whose settings, at which load, in what time."""

from __future__ import annotations

import math

import pytest
from tokenswarm.analysis.search.decision import (
    CAPACITY,
    DECIDED,
    GOODPUT,
    OPEN,
    SAME,
    Interval,
    RaceResult,
    allowance,
    candidates_that_fit,
    choose,
    load_of_the_pairs,
    ratio_of,
    settings_to_take,
)


def test_capacity_decides_where_it_can_and_goodput_where_capacity_cannot() -> None:
    assert choose(Interval(1.3, 1.2, 1.4), None) == choose(Interval(1.3, 1.2, 1.4), Interval(1.0, 0.9, 1.1, 0.9))
    assert choose(Interval(1.3, 1.2, 1.4), None).by == CAPACITY
    by_goodput = choose(Interval(1.1, 0.9, 1.3), Interval(0.8, 0.7, 0.9, 0.001))
    assert (by_goodput.state, by_goodput.first, by_goodput.by) == (DECIDED, False, GOODPUT)


def test_each_of_the_two_tests_has_half_of_the_error() -> None:
    assert choose(Interval(1.1, 1.001, 1.21), None).state == OPEN, "sure at 5%, not at 2.5%"
    assert choose(None, Interval(1.1, 1.001, 1.21, 0.03)).state == OPEN
    assert choose(None, Interval(1.1, 1.01, 1.21, 0.02)).state == DECIDED


def test_what_surely_differs_by_too_little_for_anybody_decides_nothing() -> None:
    assert choose(None, Interval(1.02, 1.01, 1.03, 1e-6)).state == SAME
    assert choose(Interval(1.02, 1.01, 1.03), Interval(1.02, 1.01, 1.03, 1e-6)).state == SAME
    assert choose(Interval(1.2, 1.1, 1.3), Interval(1.0, 0.98, 1.02, 0.9)).by == CAPACITY


def test_figures_that_contradict_each_other_are_said() -> None:
    choice = choose(Interval(1.3, 1.2, 1.4), Interval(0.8, 0.7, 0.9, 1e-4))
    assert choice.first and choice.by == CAPACITY and choice.contradicted


@pytest.mark.parametrize(
    ("capacity", "goodput"),
    [(None, None), (Interval(2.0, None, None), None), (Interval(1.1, 0.9, 1.3), Interval(1.05, 0.9, 1.2, 0.3))],
)
def test_too_little_is_undecided(capacity: Interval | None, goodput: Interval | None) -> None:
    assert choose(capacity, goodput).state == OPEN


def test_a_ratio_has_the_interval_of_both_figures() -> None:
    ratio = ratio_of(Interval(60.0, 50.0, 72.0), Interval(40.0, 40.0 / 1.2, 48.0))
    assert ratio.value == pytest.approx(1.5)
    assert math.log(ratio.high / 1.5) == pytest.approx(math.sqrt(2) * math.log(1.2))
    assert math.log(1.5 / ratio.low) == pytest.approx(math.sqrt(2) * math.log(1.2))
    brackets = ratio_of(Interval(60.0, 50.0, 72.0), Interval(40.0, 30.0, 48.0), brackets=True)
    assert (brackets.low, brackets.high) == (pytest.approx(50 / 48), pytest.approx(72 / 30))
    assert ratio_of(Interval(60.0, 50.0, None), Interval(40.0, 30.0, 48.0)).high is None
    back = ratio.inverse()
    assert (back.low, back.high) == (pytest.approx(1 / ratio.high), pytest.approx(1 / ratio.low))


@pytest.mark.parametrize(
    ("race", "taken"),
    [
        (RaceResult(None, "default", True), "default"),
        (RaceResult("default", "default", False), "default"),
        (RaceResult("a", "default", True, Interval(1.2, 1.1, 1.3)), "a"),
        (RaceResult("a", "default", True, Interval(1.05, 0.95, 1.15)), "default"),
        (RaceResult("a", "default", False, Interval(1.05, 0.95, 1.15)), "a"),
        (RaceResult("a", "default", False, None), "a"),
        (RaceResult("a", "default", False, Interval(0.8, 0.7, 0.9)), "default"),
    ],
)
def test_settings_change_for_a_reason_alone(race: RaceResult, taken: str) -> None:
    assert settings_to_take(race)[0] == taken


def test_the_pairs_are_at_the_lower_capacity() -> None:
    assert load_of_the_pairs([Interval(58.7), Interval(45.9)], True, 32.0)[0] == 45.0
    assert load_of_the_pairs([Interval(5.87), None], False, 2.0)[0] == 5.87
    assert load_of_the_pairs([None, None], True, 32.0)[0] == 32.0
    assert load_of_the_pairs([Interval(0.4), None], True, 32.0)[0] == 1.0


def test_the_budget_is_split_and_what_is_left_over_goes_on() -> None:
    kinds = ["race", "capacity", "race", "capacity", "pairs"]
    left, given = 7200.0, []
    for place, kind in enumerate(kinds):
        given.append(allowance(kind, kinds[place:], left))
        left -= given[-1]
    assert given == pytest.approx([1080.0, 1620.0, 1080.0, 1620.0, 1800.0]) and left == pytest.approx(0.0)
    assert allowance("pairs", ["pairs"], 5000.0) == 5000.0
    assert allowance("race", kinds, None) is None and allowance("race", kinds, -3.0) == 0.0


def test_a_race_has_the_candidates_that_its_time_holds() -> None:
    assert candidates_that_fit(17, 1080.0, 60.0, 3) == 4
    assert candidates_that_fit(17, None, 60.0, 3) == 17
    assert candidates_that_fit(3, 1e6, 60.0, 3) == 3
    assert candidates_that_fit(17, 100.0, 60.0, 3) == 0
