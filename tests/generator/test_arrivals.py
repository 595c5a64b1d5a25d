"""Laws of arrival and rate profiles: pure sequences, tested against their distributions."""

from __future__ import annotations

import math
from itertools import islice, pairwise
from random import Random

import pytest
from scipy import stats

from tokenswarm.generator.arrivals import Pacer, RateProfile, arrival_times, gaps, share_of

SEED = 7
COUNT = 4000


def take(law: str, profile: RateProfile, count: int = COUNT, cv: float = 1.0) -> list[float]:
    return list(islice(arrival_times(law, profile, SEED, cv), count))


def gaps_of(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise([0.0, *times])]


def test_poisson_gaps_follow_the_exponential_law():
    found = gaps_of(take("poisson", RateProfile.steady(5.0)))
    assert stats.kstest(found, stats.expon(scale=1 / 5.0).cdf).pvalue > 0.01


@pytest.mark.parametrize("cv", [0.3, 1.0, 3.0])
def test_gamma_gaps_follow_the_gamma_law_of_their_burstiness(cv):
    found = list(islice(gaps("gamma", cv, Random(SEED)), COUNT))  # not from times: the shortest gaps would round away
    law = stats.gamma(1 / cv**2, scale=cv**2)
    assert stats.kstest(found, law.cdf).pvalue > 0.01
    assert law.std() / law.mean() == pytest.approx(cv)


def test_gamma_of_burstiness_one_is_not_told_from_poisson():
    found = gaps_of(take("gamma", RateProfile.steady(4.0), cv=1.0))
    assert stats.kstest(found, stats.expon(scale=1 / 4.0).cdf).pvalue > 0.01


def test_a_wrong_law_is_told_apart():
    bursty = gaps_of(take("gamma", RateProfile.steady(4.0), cv=2.0))
    assert stats.kstest(bursty, stats.expon(scale=1 / 4.0).cdf).pvalue < 1e-6


def test_constant_arrivals_are_equally_spaced():
    assert gaps_of(take("constant", RateProfile.steady(8.0), 100)) == pytest.approx([1 / 8.0] * 100)


def test_a_ramp_brings_the_arrivals_that_its_area_says():
    times = take("constant", RateProfile.ramp(2.0, 10.0, 20.0), 400)
    assert sum(time <= 20.0 for time in times) == (2.0 + 10.0) / 2 * 20
    assert gaps_of(times)[-1] == pytest.approx(1 / 10.0)  # afterwards the end rate holds


def test_a_falling_ramp_ends_at_its_lower_rate():
    times = take("constant", RateProfile.ramp(10.0, 1.0, 10.0), 100)
    assert sum(time <= 10.0 + 1e-9 for time in times) == 55
    assert gaps_of(times)[-1] == pytest.approx(1.0)


def test_poisson_on_a_ramp_is_poisson_again_once_time_is_stretched_back():
    start, end, seconds = 2.0, 12.0, 500.0
    times = [time for time in take("poisson", RateProfile.ramp(start, end, seconds)) if time <= seconds]
    slope = (end - start) / seconds
    expected = [start * time + slope * time**2 / 2 for time in times]
    assert stats.kstest(gaps_of(expected), stats.expon.cdf).pvalue > 0.01


def test_steps_have_equal_length_and_their_own_rates():
    times = take("constant", RateProfile.steps([2.0, 4.0, 8.0], 30.0), 400)
    assert [sum(low < time <= low + 10.0 for time in times) for low in (0.0, 10.0, 20.0)] == [20, 40, 80]


@pytest.mark.parametrize("law", ["poisson", "constant", "gamma"])
@pytest.mark.parametrize("workers", [2, 3, 7])
def test_the_shares_of_all_workers_are_the_whole_and_nothing_else(law, workers):
    profile = RateProfile.ramp(3.0, 9.0, 10.0)
    whole = take(law, profile, 210, cv=2.0)
    shares = [
        list(islice(share_of(arrival_times(law, profile, SEED, 2.0), worker, workers), 210 // workers))
        for worker in range(workers)
    ]
    assert sorted(time for share in shares for time in share) == whole


def test_the_same_seed_gives_the_same_arrivals_and_another_one_others():
    profile = RateProfile.steady(1.0)
    assert take("poisson", profile, 50) == take("poisson", profile, 50)
    assert take("poisson", profile, 50) != list(islice(arrival_times("poisson", profile, SEED + 1), 50))


def test_arrivals_ascend_for_ever():
    times = take("gamma", RateProfile.steps([0.5, 50.0], 4.0), cv=5.0)
    assert all(earlier <= later for earlier, later in pairwise(times)) and math.isfinite(times[-1])


@pytest.mark.parametrize("pieces", [[], [0.0], [2.0, -1.0]])
def test_a_profile_without_a_rate_above_zero_is_refused(pieces):
    with pytest.raises(ValueError, match="rate"):
        RateProfile.steps(pieces, 10.0) if pieces else RateProfile([])


def test_an_unknown_law_is_named():
    with pytest.raises(ValueError, match="unknown law of arrivals: pareto"):
        next(gaps("pareto", 1.0, None))


# ---- the pacer


def test_pacer_waits_until_the_next_arrival_is_due_and_not_at_all_when_behind():
    pacer = Pacer(iter([1.0, 1.5, 4.0]))
    waits = [pacer.wait_s(elapsed_s, sent) for elapsed_s, sent in ((0.25, 0), (1.0, 0), (1.25, 1), (9.0, 2))]
    assert waits == [0.75, 0, 0.25, 0]


def test_pacer_asked_twice_gives_the_same_answer_and_none_for_the_past():
    pacer = Pacer(iter([1.0, 2.0]))
    assert pacer.wait_s(0.5, 1) == pacer.wait_s(0.5, 1) == 1.5
    with pytest.raises(ValueError, match="has passed"):
        pacer.wait_s(0.5, 0)


@pytest.mark.parametrize(
    ("law", "cv", "cdf"),
    [
        ("poisson", 1.0, stats.expon(scale=1 / 5.0).cdf),
        ("gamma", 2.0, stats.gamma(a=1 / 4.0, scale=4.0 / 5.0).cdf),
    ],
)
def test_a_sender_that_follows_the_pacer_sends_by_its_law(law, cv, cdf):
    pacer, now, sent_at = Pacer(arrival_times(law, RateProfile.steady(5.0), SEED, cv)), 0.0, []
    for sent in range(COUNT):
        now += pacer.wait_s(now, sent)
        sent_at.append(now)
    assert stats.kstest(gaps_of(sent_at), cdf).pvalue > 0.01
