"""The steps of the search for the highest load within the limits, as a pure function of what was measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tokenswarm.analysis.search.attainment import Blocks
from tokenswarm.analysis.search.capacity_search import Knowledge, judge, next_step
from tokenswarm.analysis.search.load_levels import CUT, DIED, LIMITED, OVERLOADED, REFUSED, LoadEvidence, SearchSettings


def blocks(share: float, requests: int, rng: np.random.Generator) -> Blocks:
    sent = np.full(20, requests // 20)
    return Blocks(tuple(sent), tuple(rng.binomial(sent, share)), tuple(rng.binomial(sent, 0.05)))


def searched(
    attained: Callable[[float], float],
    start: float = 16,
    flaw: Callable[[float], str | None] = lambda _: None,
    **settings: object,
) -> tuple[Knowledge, str, list[LoadEvidence]]:
    """A search where a load attains `attained(load)`, with independent requests."""
    asked = SearchSettings(start, **settings)
    rng, evidence = np.random.default_rng(3), []
    for _ in range(80):
        step = next_step(asked, evidence)
        if step.load is None:
            return judge(asked, evidence), step.why, evidence
        evidence.append(LoadEvidence(step.load, blocks(attained(step.load), step.requests, rng), flaw(step.load)))
    raise AssertionError("the search does not end")


def falling(capacity: float, steepness: float = 12.0) -> Callable[[float], float]:
    return lambda load: 1.0 / (1.0 + (1 / 19) * (load / capacity) ** steepness)


@pytest.mark.parametrize("start", [1, 16, 400])
def test_the_interval_holds_the_capacity_wherever_the_search_starts(start: int) -> None:
    known, why, _ = searched(falling(57.3), start)
    assert why in ("precision", "neighbours")
    assert known.low <= 57 <= known.high
    assert known.sure_pass < 57.3 < known.sure_fail
    assert known.high <= 1.1 * known.low


def test_few_users_are_told_to_the_user() -> None:
    known, why, _ = searched(falling(3.4, 30.0), 16)
    assert (why, known.sure_pass, known.sure_fail, known.low, known.high) == ("neighbours", 3, 4, 3, 3)


def test_a_cliff_has_the_bracket_as_its_interval_and_no_curve() -> None:
    known, why, _ = searched(lambda load: 1.0 if load <= 90 else 0.0, 16)
    assert why == "precision" and known.cliff and known.crossing is None
    assert (known.low, known.high) == (known.sure_pass, known.sure_fail - 1)
    assert known.sure_pass <= 90 < known.sure_fail <= 1.1 * known.sure_pass


def test_both_ends_are_confirmed_by_a_second_run() -> None:
    known, _, evidence = searched(lambda load: 1.0 if load <= 90 else 0.0, 16)
    for end in (known.sure_pass, known.sure_fail):
        assert sum(each.load == end for each in evidence) >= 2


def test_one_user_that_is_too_much_ends_the_search() -> None:
    known, why, _ = searched(lambda load: 0.2, 4)
    assert why == "below_least" and known.sure_pass is None and known.sure_fail == 1


def test_a_load_at_which_the_generator_was_the_limit_is_no_evidence() -> None:
    known, why, _ = searched(lambda load: 1.0, 16, lambda load: LIMITED if load > 100 else None)
    assert why == LIMITED and known.sure_fail is None and known.high is None
    assert 90 <= known.sure_pass <= 100 < known.limit


def test_refused_requests_are_no_capacity() -> None:
    known, why, _ = searched(lambda load: 1.0 if load < 60 else 0.5, 16, lambda load: REFUSED if load > 60 else None)
    assert why == REFUSED and known.sure_fail is None


def test_an_engine_that_dies_at_a_load_fails_there() -> None:
    known, _, _ = searched(lambda load: 1.0, 16, lambda load: DIED if load > 50 else None)
    assert known.sure_pass <= 50 < known.sure_fail and known.sure_fail <= 1.1 * known.sure_pass


def test_a_load_above_a_sure_fail_that_passes_is_said() -> None:
    rng = np.random.default_rng(1)
    known = judge(
        SearchSettings(8),
        [LoadEvidence(load, blocks(share, 2000, rng)) for load, share in ((8, 1.0), (16, 0.5), (32, 1.0))],
    )
    assert known.non_monotone and (known.sure_pass, known.sure_fail) == (8, 16)


def test_the_same_runs_give_the_same_next_step() -> None:
    _, _, evidence = searched(falling(57.3))
    for count in range(len(evidence)):
        assert next_step(SearchSettings(16), evidence[:count]) == next_step(SearchSettings(16), evidence[:count])
        assert next_step(SearchSettings(16), evidence[:count]).load == evidence[count].load


def test_a_level_at_the_target_is_measured_longer_and_then_called_undecided() -> None:
    _, why, evidence = searched(lambda load: 0.95, 16, first_look=400, most_doublings=3)
    assert why in ("undecided", "levels")
    assert (
        max(
            sum(each.blocks.requests for each in evidence if each.load == load)
            for load in {each.load for each in evidence}
        )
        <= 2 * 400 * 2**3
    )


def test_a_generator_that_was_disturbed_once_is_asked_again() -> None:
    disturbed = []

    def once(load: float) -> str | None:
        disturbed.append(load)
        return LIMITED if load == 64 and disturbed.count(64) == 1 else None

    known, why, _ = searched(falling(57.3), 16, once)
    assert why == "precision" and known.limit is None and known.low <= 57 <= known.high


def test_an_overloaded_level_fails_however_its_requests_came_together() -> None:
    rng = np.random.default_rng(1)
    late = Blocks((50,) * 20, (50,) * 10 + (0,) * 10, (0,) * 10 + (5,) * 10)
    known = judge(SearchSettings(8), [LoadEvidence(8, blocks(1.0, 2000, rng)), LoadEvidence(16, late, OVERLOADED)])
    assert known.sure_fail == 16
    assert judge(SearchSettings(8), [LoadEvidence(16, late)]).sure_fail is None


def test_a_run_that_was_interrupted_says_nothing_and_its_load_is_measured_anew() -> None:
    asked, all_good = SearchSettings(16), Blocks((50,) * 20, (50,) * 20, (0,) * 20)
    cut = LoadEvidence(16, all_good, CUT)
    assert judge(asked, [cut]).levels == ()
    assert next_step(asked, [cut]) == next_step(asked, [])
    known = judge(asked, [cut, LoadEvidence(16, all_good)])
    assert [(each.load, each.runs) for each in known.levels] == [(16, (1,))], "places are those of all runs"
