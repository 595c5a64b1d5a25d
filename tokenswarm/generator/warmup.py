"""Decides when the warm-up is done: a pure rule over its answers and requests in flight.

An engine is warm when its time to first token no longer changes: kernels are compiled, graphs captured, connections
open, the queue as long as this load makes it. Looked at is the latest half of the warm-up (so the more there was to
settle, the longer the proof), cut into an earlier and a later part of equal length. It is steady when both parts hold
LEAST_ANSWERS or more and either their means and their medians differ by no more than TOLERANCE (means too: while misses
turn into hits, the median stays where it is until it jumps), or the difference could as well be chance: the
Mann-Whitney statistic of the two parts stays within CHANCE_Z standard deviations. Ranks do not mind outliers, nor
latencies of two kinds (cache hits and misses).

Where a steady state is to be measured (`judge_load`), the hit rate and the requests in flight have to be steady as
well, and none of the three may show a trend over blocks (`stationarity`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean, median

import msgspec

from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import SeriesRecord, WarmupRecord
from tokenswarm.contract.phases import Pace
from tokenswarm.generator import stationarity
from tokenswarm.generator.stationarity import Stationarity, rank_z
from tokenswarm.scenario.load_settings import Load

LEAST_ANSWERS = 8
"""With fewer answers in either part, nothing can be said."""
TOLERANCE = 0.05
"""Relative change of mean and median that is no trend worth waiting for."""
CHANCE_Z = 1.0
"""Standard deviations within which chance alone stays two times in three. Strict, since the question is asked again and
again: a weak trend would pass one of many tests that let nineteen of twenty pass, while a steady engine waits for the
next answer only."""
_WORTH_SAYING = 0.1
"""Change of the mean from which one that may be chance is told: so few answers do not show that there is none."""
JUDGE_S = 0.5
"""Seconds between checks of the warm-up."""
SAMPLE_S = 0.1
"""Seconds between samples of the requests in flight."""
HIT_RATE, IN_FLIGHT = "hit rate", "requests in flight"
WarmupAnswer = tuple[float, float, int | None, int | None, float]
"""(unix time of its end, TTFT in ms, cached prompt tokens, prompt tokens, E2E in ms) of an answer of the warm-up."""
_MOST_LOOKED_AT = 200
"""Answers of a part that are compared; of more, every second, third, ... This runs beside a load generator."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`steady` is None where there were too few answers to tell. `change` is by how much the mean of the later part is
    above (+) or below (-) that of the earlier one, as a share, `z` the Mann-Whitney statistic; `answers` were looked
    at, of the last `seconds`. `series`: of each series that was judged, by name; empty where TTFT alone was."""

    steady: bool | None
    answers: int
    seconds: float
    change: float | None = None
    z: float | None = None
    series: Mapping[str, Stationarity] = field(default_factory=dict)


def bounds(load: Load, start: float, full_since: float) -> tuple[float, float]:
    """(moment of the first look, latest end) of a warm-up from `start` on; `full_since`: when all users are there.

    However long the users took to come, there is a stretch with all of them to judge.
    """
    least = load.warmup_least_s
    limit = start + least if load.warmup_s is not None else max(start + load.warmup_most_s, full_since + least)
    return start + least, limit


def judge(
    latencies: Iterable[tuple[float, float] | WarmupAnswer], began: float, full_since: float, now: float
) -> Judgement:
    """Judge the warm-up from (moment of the answer, its latency, ...) of each answer so far, in any order.

    Times are in seconds on one clock, latencies in any unit. `began`: the warm-up's start; `full_since`: since when all
    users are there, before which latency rises with them.
    """
    first = max(full_since, began + (now - began) / 2)
    middle = (first + now) / 2
    earlier: list[float] = []
    later: list[float] = []
    for at, latency, *_ in latencies:
        if first <= at <= now:
            (earlier if at < middle else later).append(latency)
    answers, seconds = len(earlier) + len(later), max(0.0, now - first)
    if min(len(earlier), len(later)) < LEAST_ANSWERS:
        return Judgement(None, answers, seconds)
    change = _change(fmean(earlier), fmean(later))
    z = rank_z(_thinned(earlier), _thinned(later))
    alike = max(abs(change), abs(_change(median(earlier), median(later)))) <= TOLERANCE
    return Judgement(alike or abs(z) < CHANCE_Z, answers, seconds, change, z)


def judge_load(
    answers: Iterable[WarmupAnswer],
    in_flight: Iterable[tuple[float, int]],
    began: float,
    full_since: float,
    now: float,
    what: str = "TTFT",
) -> Judgement:
    """Judge TTFT as `judge` does, and beside it the trends of TTFT, hit rate and requests in flight.

    in_flight: (moment, requests in flight), sampled evenly. An engine that does not tell how many prompt tokens were
    cached is judged without its hit rate. `what` names the latency.
    """
    answers = sorted(answers)
    judged = judge(answers, began, full_since, now)
    if judged.steady is None:
        return judged
    first = now - judged.seconds
    lately = [answer for answer in answers if first <= answer[0] <= now]
    series = {what: stationarity.judge_values([(latency, 1.0) for _, latency, *_ in lately])}
    if not judged.steady:
        series[what] = replace(series[what], steady=False)
    cached_shares = [
        (float(cached), float(prompt)) for _, _, cached, prompt, *_ in lately if cached is not None and prompt
    ]
    if len(cached_shares) >= 2 * LEAST_ANSWERS:
        series[HIT_RATE] = stationarity.judge_values(cached_shares, is_share=True)
    series[IN_FLIGHT] = stationarity.judge_values([(float(n), 1.0) for at, n in in_flight if first <= at <= now])
    steady = all(each.steady is not False for each in series.values())
    return replace(judged, steady=steady, series=series)


def latency_name(streamed: bool) -> str:
    """The name of the warm-up's latency."""
    return "TTFT" if streamed else "the time of an answer"


def pace(load: Load, judgement: Judgement, answers: Iterable[WarmupAnswer], record: WarmupRecord) -> Pace:
    """What sessions of the measured phase are planned by, after a warm-up that was judged so and ended so: by as many
    of its last answers. Of few digits: the record gets them, and the other run of a pair is given just these."""
    lately = [answer[4] / 1e3 for answer in sorted(answers)[-judgement.answers :]]
    answer_s = load.answer_s
    if answer_s is None and lately:
        answer_s = float(f"{fmean(lately):.3g}")
    if answer_s is not None:
        record.answer_s = answer_s
    return Pace(round(present(record.seconds), 1) if load.warmup_s is None else load.warmup_s, answer_s)


def _change(before: float, after: float) -> float:
    return after / before - 1 if before > 0 else 0.0


def _thinned(values: list[float]) -> list[float]:
    return values[:: -(-len(values) // _MOST_LOOKED_AT)]


def ended(judgement: Judgement, *, seconds: float, limit_s: float, fixed: bool, what: str = "TTFT") -> WarmupRecord:
    """How a warm-up ended: the judgement, `mode` (fixed | until_steady), `seconds` that it took, its limit, and a
    sentence for people. `what` names the latency.
    """
    change, z = (value if value is None else round(value, 4) for value in (judgement.change, judgement.z))
    return WarmupRecord(
        mode="fixed" if fixed else "until_steady",
        seconds=round(seconds, 3),
        limit_s=limit_s,
        steady=judgement.steady,
        answers=judgement.answers,
        change=change,
        z=z,
        looked_at_s=round(judgement.seconds, 3),
        series={
            name: SeriesRecord(each.steady, round(each.change, 4), each.trend)
            for name, each in judgement.series.items()
        }
        or msgspec.UNSET,
        sentence=_sentence(judgement, seconds, limit_s, fixed, what),
    )


def _sentence(judgement: Judgement, seconds: float, limit_s: float, fixed: bool, what: str) -> str:
    if limit_s == 0:
        return "There was no warm-up."
    *most, last = judgement.series or (what,)
    all_of_it = f"{', '.join(most)} and {last} were steady" if most else f"{last} was steady"
    if judgement.change is not None and abs(judgement.change) > _WORTH_SAYING:
        all_of_it += (
            f" as far as {judgement.answers} answers tell (the mean {what} changed by "
            f"{judgement.change:+.0%}, which may be chance)"
        )
    if judgement.steady and not fixed:
        return f"The warm-up ended after {seconds:.0f} s: {all_of_it}."
    end = (
        f"The warm-up took the {limit_s:g} s that were asked for"
        if fixed
        else f"The warm-up ended at its limit of {limit_s:g} s"
    )
    if judgement.steady:
        return f"{end}; {all_of_it}."
    if judgement.steady is None:
        answers = "1 answer" if judgement.answers == 1 else f"{judgement.answers} answers"
        why = "are too few" if judgement.answers < 2 * LEAST_ANSWERS else "came too much at once"
        return f"{end}; {answers} in its last {judgement.seconds:.0f} s {why} to tell whether {what} was steady."
    name, change, direction = _unsteady(judgement, what)
    verb = "were" if name == IN_FLIGHT else "was"
    mean = (
        ""
        if change * direction <= 0
        else f": it changed by {change:+.0%} of the prompt tokens"
        if name == HIT_RATE
        else f": {'their' if verb == 'were' else 'its'} mean changed by {change:+.0%}"
    )
    return (
        f"{end}; {name} {verb} still {'falling' if direction < 0 else 'rising'}{mean} within the last "
        f"{judgement.seconds:.0f} s."
    )


def _unsteady(judgement: Judgement, what: str) -> tuple[str, float, float]:
    """The first series that is not steady: (name, change of its mean, sign of its trend)."""
    for name, series in judgement.series.items():
        if series.steady is False and (name != what or series.trend):
            return name, present(series.change), series.trend or present(series.change)
        if series.steady is False:
            break
    return what, present(judgement.change), present(judgement.z)
