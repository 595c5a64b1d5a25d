"""When is an engine warm? The rule on synthetic series."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest

from tokenswarm.generator.stationarity import Stationarity
from tokenswarm.generator.warmup import HIT_RATE, IN_FLIGHT, Judgement, ended, judge, judge_load

Level = Callable[[float, Random], float]


def series(level: Level, seed: int, rate: float = 20.0, seconds: float = 60.0) -> list[tuple[float, float]]:
    """(moment, TTFT in ms) of answers at random moments."""
    rng, at, out = Random(seed), 0.0, []
    while (at := at + rng.expovariate(rate)) < seconds:
        out.append((at, level(at, rng)))
    return out


def warm_after(answers: list[tuple[float, float]], limit: float = 60.0) -> float:
    """When a warm-up with all users since second 2 would end, asked twice a second from second 5 on."""
    now = 5.0
    while now < limit and not judge([each for each in answers if each[0] <= now], 0.0, 2.0, now).steady:
        now += 0.5
    return now


def even(at: float, rng: Random) -> float:
    return 100 * rng.lognormvariate(0, 0.05)


def noisy(at: float, rng: Random) -> float:
    return 100 * rng.lognormvariate(0, 0.7)


def two_kinds(at: float, rng: Random) -> float:
    return (20 if rng.random() < 0.5 else 400) * rng.lognormvariate(0, 0.1)


def compiling(at: float, rng: Random) -> float:
    return even(at, rng) * (20 if at < 4.5 else 1)


def falling(at: float, rng: Random) -> float:
    return even(at, rng) * (1 + 5 * math.exp(-at / 5))


def queueing(at: float, rng: Random) -> float:
    return even(at, rng) * (1 + at)


def filling_cache(at: float, rng: Random) -> float:
    return (20 if rng.random() < 0.9 * (1 - math.exp(-at / 6)) else 400) * rng.lognormvariate(0, 0.1)


@pytest.mark.parametrize("level", [even, noisy, two_kinds])
def test_steady_series_are_soon_seen_to_be_steady(level: Level) -> None:
    ends = sorted(warm_after(series(level, seed)) for seed in range(20))
    assert ends[10] <= 6.0
    assert ends[-1] <= 15.0


@pytest.mark.parametrize("seed", range(5))
def test_a_step_down_has_to_leave_the_stretch_first(seed: int) -> None:
    assert 7.0 <= warm_after(series(compiling, seed)) <= 9.0  # 9: the latest half begins after the step


@pytest.mark.parametrize("seed", range(5))
def test_a_fall_is_waited_for_until_it_is_over(seed: int) -> None:
    answers = series(falling, seed)
    end = warm_after(answers)
    assert 1 + 5 * math.exp(-end / 5) < 1.2
    assert end < 60.0


@pytest.mark.parametrize("seed", range(5))
def test_a_growing_queue_is_never_steady(seed: int) -> None:
    assert warm_after(series(queueing, seed)) == 60.0


def test_misses_that_turn_into_hits_are_a_trend_though_the_median_stays() -> None:
    found = [judge(series(filling_cache, seed, rate=200.0, seconds=5.0), 0.0, 2.0, 5.0) for seed in range(11)]
    assert sum(judgement.steady for judgement in found) <= 2
    assert all(judgement.change < 0 for judgement in found)


def test_few_answers_tell_nothing() -> None:
    slow = [(float(at), 20_000.0) for at in range(0, 60, 20)]
    assert judge(slow, 0.0, 2.0, 60.0) == Judgement(None, 1, 30.0)
    assert judge([], 0.0, 0.0, 5.0).steady is None


def test_a_stall_is_not_steadiness() -> None:
    before = [each for each in series(even, 1) if each[0] < 7]
    assert judge(before, 0.0, 2.0, 7.0).steady is True
    assert judge(before, 0.0, 2.0, 10.0).steady is None


def test_answers_from_before_all_users_were_there_do_not_count() -> None:
    ramp = [(at, 1000.0 if at < 9 else value) for at, value in series(even, 3, seconds=12)]
    assert judge(ramp, 0.0, 0.0, 12.0).steady is False
    assert judge(ramp, 0.0, 9.0, 12.0).steady is True


def test_the_change_is_that_of_the_mean() -> None:
    answers = [(0.1 * index, 100.0 if index < 75 else 88.0) for index in range(100)]
    found = judge(answers, 0.0, 0.0, 10.0)
    assert found.change == pytest.approx(-0.12)
    assert (found.steady, found.seconds) == (False, 5.0)


def load_series(
    hits: Level, queue: Level, seed: int, seconds: float = 20.0
) -> tuple[list[tuple[float, float, int, int]], list[tuple[float, int]]]:
    """Answers of 3,000 prompt tokens with an even TTFT, hits(at, rng) of which were cached, and requests in flight."""
    rng = Random(1000 + seed)
    answers = [
        (at, latency, int(3000 * min(1.0, max(0.0, hits(at, rng)))), 3000)
        for at, latency in series(even, seed, seconds=seconds)
    ]
    return answers, [(0.1 * step, round(queue(0.1 * step, rng))) for step in range(round(10 * seconds))]


def stays(level: float) -> Level:
    return lambda at, rng: level * rng.uniform(0.8, 1.2)


def grows(level: float) -> Level:
    return lambda at, rng: level * (0.5 + at / 40) * rng.uniform(0.95, 1.05)


def judged(hits: Level, queue: Level, seed: int) -> Judgement:
    return judge_load(*load_series(hits, queue, seed), 0.0, 2.0, 20.0)


def test_a_load_is_steady_when_ttft_hit_rate_and_requests_in_flight_are() -> None:
    found = [judged(stays(0.8), stays(20), seed) for seed in range(40)]
    assert sum(judgement.steady for judgement in found) >= 26  # asked again in half a second, so this ends soon
    assert list(found[0].series) == ["TTFT", HIT_RATE, IN_FLIGHT]


@pytest.mark.parametrize(
    ("hits", "queue", "name"), [(grows(0.8), stays(20), HIT_RATE), (stays(0.8), grows(20), IN_FLIGHT)]
)
def test_a_load_is_not_steady_while_one_of_them_grows(hits: Level, queue: Level, name: str) -> None:
    found = [judged(hits, queue, seed) for seed in range(20)]
    assert not any(judgement.steady for judgement in found)
    assert all(judgement.series[name].steady is False and judgement.series[name].change > 0 for judgement in found)


def test_an_engine_that_does_not_report_hits_is_judged_without_them() -> None:
    answers, in_flight = load_series(grows(0.8), stays(20), 1)
    found = judge_load([(at, latency, None, 3000) for at, latency, *_ in answers], in_flight, 0.0, 2.0, 20.0)
    assert list(found.series) == ["TTFT", IN_FLIGHT]


def test_too_few_answers_tell_nothing_of_a_load_either() -> None:
    answers, in_flight = load_series(stays(0.8), stays(20), 1)
    assert judge_load(answers[:10], in_flight, 0.0, 2.0, 20.0).steady is None


@pytest.mark.parametrize(
    ("judgement", "fixed", "expected"),
    [
        (Judgement(True, 40, 4.0, 0.01, 0.1), False, "ended after 8 s: TTFT was steady."),
        (
            Judgement(False, 40, 30.0, -0.12, -3.0),
            False,
            "at its limit of 60 s; TTFT was still falling: its mean changed by -12% within the last 30 s.",
        ),
        (Judgement(False, 40, 30.0, 0.4, 5.0), False, "TTFT was still rising: its mean changed by +40%"),
        (
            Judgement(True, 17, 30.0, -0.31, -0.8),
            False,
            "TTFT was steady as far as 17 answers tell (the mean TTFT changed by -31%, which may be chance).",
        ),
        (Judgement(None, 3, 30.0), False, "3 answers in its last 30 s are too few to tell whether TTFT was steady."),
        (Judgement(False, 40, 30.0, 0.2, -3.0), False, "TTFT was still falling within the last 30 s."),
        (Judgement(None, 256, 3.0), False, "256 answers in its last 3 s came too much at once to tell"),
        (
            Judgement(True, 40, 4.0, 0.01, 0.1, dict.fromkeys(("TTFT", HIT_RATE, IN_FLIGHT), Stationarity(True))),
            False,
            "ended after 8 s: TTFT, hit rate and requests in flight were steady.",
        ),
        (
            Judgement(False, 40, 30.0, 0.0, 0.1, {"TTFT": Stationarity(True), HIT_RATE: Stationarity(False, 0.12, 30)}),
            False,
            "hit rate was still rising: it changed by +12% of the prompt tokens within the last 30 s.",
        ),
        (
            Judgement(False, 40, 30.0, 0.0, 0.1, {"TTFT": Stationarity(True), IN_FLIGHT: Stationarity(False, -0.2)}),
            False,
            "requests in flight were still falling: their mean changed by -20% within the last 30 s.",
        ),
        (
            Judgement(False, 40, 30.0, -0.12, -3.0, {"TTFT": Stationarity(False, -0.12)}),
            False,
            "TTFT was still falling: its mean changed by -12% within the last 30 s.",
        ),
        (Judgement(False, 40, 30.0, -0.12, -3.0), True, "took the 60 s that were asked for; TTFT was still falling"),
    ],
)
def test_the_end_is_told_in_a_sentence(judgement: Judgement, fixed: bool, expected: str) -> None:
    facts = ended(judgement, seconds=8.0, limit_s=60.0, fixed=fixed)
    assert expected in facts.sentence
    assert facts.steady is judgement.steady
    assert facts.mode == ("fixed" if fixed else "until_steady")
