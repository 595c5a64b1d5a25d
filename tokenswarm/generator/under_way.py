"""Places of the sessions under way when a phase of an open loop begins, as in steady state. Pure."""

from __future__ import annotations

from random import Random
from statistics import fmean

from tokenswarm.base.presence import present
from tokenswarm.generator.binding import Places, mean_pause_s, pauses
from tokenswarm.scenario.distribution import Distribution
from tokenswarm.workloads.ages import Joined
from tokenswarm.workloads.base import Workload

MEASURE = "measure"
_TRIED = 16
_SAMPLE = 64
"""Number of sessions sampled for their lengths."""


def mean_turns(workload: Workload) -> float:
    """Mean number of requests per session; if unknown in advance, from some sessions without answers."""
    turns = _lengths(workload, MEASURE)
    if turns is None:
        turns = [Joined(workload, number, 0.0, workload.answer_tokens).length() for number in range(_TRIED)]
    return max(1.0, fmean(turns))


def _lengths(workload: Workload, phase: str) -> list[int] | None:
    """Numbers of requests of some sessions; None if unknown in advance."""
    first = workload.session(phase, 0)
    if type(first).turns is not None:  # sessions of that kind have a fixed number
        return [present(type(first).turns)]
    turns = [first.turns, *(workload.session(phase, number).turns for number in range(1, _SAMPLE))]
    lengths = [each for each in turns if each is not None]
    return lengths if len(lengths) == len(turns) else None


def places_under_way(
    workload: Workload, phase: str, think_time_s: Distribution, rate: float, start: float, user_class: str = ""
) -> list[Places]:
    """Places from `start` (unix time) on of the sessions that wait for one then, if `rate` requests/s have gone on for
    long: none where sessions have one turn, or nobody knows how many.

    Of the sessions that begin, rate / mean turns a second, each waits (turns - 1) pauses: so many are under way
    (Little, Operations Research 9(3), 1961). One of n turns is met in proportion to its n - 1 pauses, in any of them
    alike, and at any time within it (Cox, Renewal Theory, 1962, section 5.4). Nothing of it depends on what was sent.
    """
    turns = _lengths(workload, phase)
    if turns is None or max(turns) < 2:
        return []
    rng = Random(f"under way/{workload.seed}/{phase}" + (f"/{user_class}" if user_class else ""))
    pause_s = mean_pause_s(think_time_s, workload.answer_tokens)
    count = round(rate / fmean(turns) * (fmean(turns) - 1) * pause_s)
    lengths = rng.choices(turns, weights=[length - 1 for length in turns], k=count)
    places = []
    for number, length in enumerate(lengths):
        draw = pauses(workload.seed, f"{phase}-under-way-{number}", think_time_s, workload.answer_tokens)
        places.append(Places(start + rng.random() * draw(), rng.randrange(1, length), draw, user_class=user_class))
    return places
