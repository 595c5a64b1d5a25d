"""Has the warm-up done its work? A pure rule over the latencies of its answers.

An engine is warm when its time to first token no longer changes: kernels are compiled, graphs captured, connections
open, the queue as long as this load makes it. Looked at is the latest half of the warm-up (so the more there was to
settle, the longer the proof), cut into an earlier and a later part of equal length. It is steady when both parts hold
LEAST_ANSWERS or more and either their means and their medians differ by no more than TOLERANCE (means too: while
misses turn into hits, the median stays where it is until it jumps), or the difference could as well be chance: the
Mann-Whitney statistic of the two parts stays within CHANCE_Z standard deviations. Ranks do not mind outliers, nor
latencies of two kinds (cache hits and misses).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from tokenswarm.contract.manifest import WarmupRecord
from tokenswarm.scenario.load import Load

LEAST_ANSWERS = 8
"""Fewer in either part tell nothing."""
TOLERANCE = 0.05
"""Relative change of mean and median that is no trend worth waiting for."""
CHANCE_Z = 1.0
"""Standard deviations within which chance alone stays two times in three. Strict, since the question is asked again and
again: a weak trend would pass one of many tests that let nineteen of twenty pass, while a steady engine waits for the
next answer only."""
_MOST_LOOKED_AT = 200
"""Answers of a part that are compared; of more, every second, third, ... This runs beside a load generator."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`steady` is None where there were too few answers to tell. `change` is by how much the mean of the later part is
    above (+) or below (-) that of the earlier one, as a share, `z` the Mann-Whitney statistic; `answers` were looked
    at, of the last `seconds`."""

    steady: bool | None
    answers: int
    seconds: float
    change: float | None = None
    z: float | None = None


def bounds(load: Load, start: float, full_since: float) -> tuple[float, float]:
    """(moment of the first look, latest end) of a warm-up from `start` on; `full_since`: when all users are there.

    However long the users took to come, there is a stretch with all of them to judge.
    """
    least = load.warmup_least_s
    limit = start + least if load.warmup_s is not None else max(start + load.warmup_most_s, full_since + least)
    return start + least, limit


def judge(latencies: Iterable[tuple[float, float]], began: float, full_since: float, now: float) -> Judgement:
    """Judge the warm-up from (moment of the answer, its latency) of each answer so far, in any order.

    Times are in seconds on one clock, latencies in any unit. `began`: the warm-up's start; `full_since`: since when all
    users are there, before which latency rises with them.
    """
    first = max(full_since, began + (now - began) / 2)
    middle = (first + now) / 2
    earlier, later = [], []
    for at, latency in latencies:
        if first <= at <= now:
            (earlier if at < middle else later).append(latency)
    answers, seconds = len(earlier) + len(later), max(0.0, now - first)
    if min(len(earlier), len(later)) < LEAST_ANSWERS:
        return Judgement(None, answers, seconds)
    change = _change(fmean(earlier), fmean(later))
    z = rank_z(_thinned(earlier), _thinned(later))
    alike = max(abs(change), abs(_change(median(earlier), median(later)))) <= TOLERANCE
    return Judgement(alike or abs(z) < CHANCE_Z, answers, seconds, change, z)


def _change(before: float, after: float) -> float:
    return after / before - 1 if before > 0 else 0.0


def _thinned(values: list[float]) -> list[float]:
    return values[:: -(-len(values) // _MOST_LOOKED_AT)]


def rank_z(earlier: Sequence[float], later: Sequence[float]) -> float:
    """The Mann-Whitney U of `later` against `earlier` in standard deviations from "no difference"; above 0: later ones
    are larger. Normal approximation, ties count half (Mann & Whitney 1947)."""
    ordered = sorted(earlier)
    wins = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in later) / 2
    n, m = len(earlier), len(later)
    return (wins - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)


def ended(judgement: Judgement, *, seconds: float, limit_s: float, fixed: bool,
          what: str = "TTFT") -> WarmupRecord:
    """How a warm-up ended: the judgement, `mode` (fixed | until_steady), `seconds` that it took, its limit, and a
    sentence for people. `what` names the latency.
    """
    change, z = (value if value is None else round(value, 4) for value in (judgement.change, judgement.z))
    return WarmupRecord(
        mode="fixed" if fixed else "until_steady", seconds=round(seconds, 3), limit_s=limit_s, steady=judgement.steady,
        answers=judgement.answers, change=change, z=z, looked_at_s=round(judgement.seconds, 3),
        sentence=_sentence(judgement, seconds, limit_s, fixed, what))


def _sentence(judgement: Judgement, seconds: float, limit_s: float, fixed: bool, what: str) -> str:
    if limit_s == 0:
        return "There was no warm-up."
    if judgement.steady and not fixed:
        return f"The warm-up ended after {seconds:.0f} s: {what} was steady."
    end = f"The warm-up took the {limit_s:g} s that were asked for" if fixed else \
        f"The warm-up ended at its limit of {limit_s:g} s"
    if judgement.steady:
        return f"{end}; {what} was steady."
    if judgement.steady is None:
        answers = "1 answer" if judgement.answers == 1 else f"{judgement.answers} answers"
        why = "are too few" if judgement.answers < 2 * LEAST_ANSWERS else "came too much at once"
        return f"{end}; {answers} in its last {judgement.seconds:.0f} s {why} to tell whether {what} was steady."
    trend = "falling" if judgement.z < 0 else "rising"
    mean = f": its mean changed by {judgement.change:+.0%}" if judgement.change * judgement.z > 0 else ""
    return f"{end}; {what} was still {trend}{mean} within the last {judgement.seconds:.0f} s."
