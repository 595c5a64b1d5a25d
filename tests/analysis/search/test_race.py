"""Which candidates leave a race, when it ends, and what a round without figures means."""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.search.race import AS_GOOD, NONE_LEFT, NOTHING, ONE_LEFT, ROUNDS_OVER, Race, RaceRules, look


def rounds(race: Race, truth: dict[str, float], noise: float, seed: int = 1) -> Race:
    """Play a race out: each round's work makes all of them faster or slower alike."""
    rng = np.random.default_rng(seed)
    while race.over is None:
        work = rng.normal(0.0, 0.5)
        race.record_round({name: truth[name] * float(np.exp(work + rng.normal(0.0, noise))) for name in race.survivors})
    return race


def test_one_that_is_clearly_worse_is_dropped_though_rounds_differ_more_than_candidates() -> None:
    race = rounds(Race(["a", "b", "c"]), {"a": 1.0, "b": 0.7, "c": 0.5}, 0.02)
    assert (race.winner, race.over, set(race.drops)) == ("a", ONE_LEFT, {"b", "c"})
    assert race.drops["c"].after_round <= 3
    assert race.drops["c"].place.high < 1.0


def test_nobody_is_dropped_after_a_single_round_or_for_a_rank() -> None:
    race = Race(["a", "b"])
    race.record_round({"a": 10.0, "b": 1.0})
    assert race.survivors == ["a", "b"] and race.over is None
    noisy = Race(["a", "b"], RaceRules(most_rounds=4))
    for a, b in ((1.0, 0.8), (0.9, 1.1), (1.2, 1.0), (1.1, 1.0)):
        noisy.record_round({"a": a, "b": b})
    assert noisy.over == ROUNDS_OVER and noisy.winner == "a" and noisy.undecided == ["b"]


def test_a_race_of_equals_ends_once_nobody_can_be_better_by_the_margin() -> None:
    race = rounds(Race(list("abcd")), dict.fromkeys("abcd", 1.0), 0.005)
    assert race.over == AS_GOOD and len(race.survivors) > 1 and race.rounds < 8


def test_one_that_cannot_be_measured_is_out_and_the_others_go_on() -> None:
    race = Race(["a", "b", "c"])
    race.record_round({"a": 1.0, "b": None, "c": 1.1})
    assert race.withdrawn == ["b"] and race.survivors == ["a", "c"]
    race.record_round({"a": None, "c": 1.1})
    assert race.over == ONE_LEFT and race.winner == "c"
    assert look({}, RaceRules()).over == NONE_LEFT


def test_a_figure_of_zero_is_bad_and_a_round_in_which_nobody_reached_anything_tells_nothing() -> None:
    values = {"a": [5.0, 5.1, 0.0, 5.0], "b": [0.0, 0.0, 0.0, 0.0]}
    state = look(values, RaceRules())
    assert state.leader == "a" and state.survivors[0].candidate == "a"
    assert np.isfinite(state.spread)


def test_where_nobody_reaches_anything_nobody_leads() -> None:
    race = Race(["a", "b"])
    race.record_round({"a": 0.0, "b": 0.0})
    assert (race.over, race.winner) == (NOTHING, None)


def test_figures_of_different_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="every survivor"):
        look({"a": [1.0, 2.0], "b": [1.0]}, RaceRules())


def test_the_residual_is_that_of_the_two_way_layout() -> None:
    logs = np.array([[0.1, 0.3, 0.2], [0.0, 0.1, 0.3]])
    state = look({"a": list(np.exp(logs[0])), "b": list(np.exp(logs[1]))}, RaceRules())
    apart = logs[0] - logs[1]
    assert state.spread * np.sqrt(2.0) == pytest.approx(apart.std(ddof=1)), "of two, the paired difference's"
    assert state.df == 2
