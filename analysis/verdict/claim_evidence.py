"""What evidence says about a claim: from an interval or from trials to one of four states. Pure functions.

A claim is a region that contains a figure if the claim holds (with an open end for "at least"). The 95% interval of the
measurement decides: inside the region the claim is supported, outside it contradicted, across its edge undecided. A
sentence that says "always" is contradicted by one counterexample, and supported by enough trials without any.

A CPU or a simulator says nothing about an engine's speed on a GPU, and a simulator nothing about an engine at all: such
evidence neither supports nor contradicts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats
from tokenswarm.analysis.figures.statistics import CONFIDENCE
from tokenswarm.analysis.wording import limit, number, percent

from tokenswarm.contract.claims_record import (
    CONTRADICTED,
    NOT_TESTABLE,
    SUPPORTED,
    UNDECIDED,
    ClaimEvidence,
    ClaimRecord,
)

SPEED = "speed"
ENOUGH_TRIALS = 20
"""Trials without a counterexample that support an "always"."""

Judgement = tuple[str, str]
"""A state, and the reason as the end of a sentence."""


def by_interval(region: Sequence[float | None], low: float | None, high: float | None) -> str:
    """SUPPORTED if [low, high] lies inside the region, CONTRADICTED if outside, else UNDECIDED. An unknown end may lie
    anywhere.
    """
    least, most = region
    if (least is not None and high is not None and high < least) or (
        most is not None and low is not None and low > most
    ):
        return CONTRADICTED
    above = least is None or (low is not None and low >= least)
    below = most is None or (high is not None and high <= most)
    return SUPPORTED if above and below else UNDECIDED


def by_trials(trials: int, failures: int, enough: int = ENOUGH_TRIALS) -> Judgement:
    """The state of a sentence that says "always"."""
    if failures:
        return CONTRADICTED, f"{failures} of {trials} trials are counterexamples"
    if trials < enough:
        return UNDECIDED, f"no counterexample in {trials} trials; {enough} would be enough"
    least = (1.0 - CONFIDENCE) ** (1.0 / trials)
    return SUPPORTED, f"no counterexample in {trials} trials (with 95% confidence at least {percent(least)} hold)"


def judge(kind: str, region: Sequence[float | None], evidence: ClaimEvidence) -> Judgement:
    """The state of one piece of evidence, and why."""
    if evidence.why:
        return UNDECIDED, evidence.why
    if evidence.simulated:
        return NOT_TESTABLE, "a simulator says nothing about an engine"
    if kind == SPEED and evidence.on_cpu:
        return NOT_TESTABLE, "a CPU says nothing about the speed on a GPU"
    if evidence.figure.value is not None:
        low, high = evidence.figure.ends
        if low is None and high is None:
            return UNDECIDED, "the figure has no interval: repeat it"
        state = by_interval(region, low, high)
        return state, _interval_words(state, region, evidence)
    if evidence.holds is None:
        return UNDECIDED, evidence.words or "it could not be determined"
    if evidence.trials > 1:
        return by_trials(evidence.trials, evidence.failures)
    return (SUPPORTED if evidence.holds else CONTRADICTED), evidence.words


def region_words(region: Sequence[float | None]) -> str:
    """`1.16 to 1.42`, `at least 1.2`, `at most 0.9`."""
    least, most = region
    if least is not None and most is not None:
        return f"{limit(least)} to {limit(most)}"
    if least is not None:
        return f"at least {limit(least)}"
    return "" if most is None else f"at most {limit(most)}"


def _interval_words(state: str, region: Sequence[float | None], evidence: ClaimEvidence) -> str:
    low, high = evidence.figure.ends
    place = {SUPPORTED: "lies in", CONTRADICTED: "lies outside of", UNDECIDED: "reaches across the edge of"}[state]
    return f"{number(low)} to {number(high)} {place} the claimed {region_words(region)}"


def together(evidence: Sequence[ClaimEvidence], wanted: int) -> Judgement:
    """The state of a claim about `wanted` engines, of which these were tested: one contradiction is enough, support
    needs all.
    """
    if not evidence:
        return NOT_TESTABLE, "nothing was measured"
    names = {
        state: [each.engine for each in evidence if each.state == state]
        for state in (CONTRADICTED, SUPPORTED, UNDECIDED, NOT_TESTABLE)
    }
    reasons = (
        "; ".join(f"{each.engine}: {each.state_why}" for each in evidence)
        if len(evidence) > 1
        else evidence[0].state_why
    )
    if names[CONTRADICTED]:
        return CONTRADICTED, reasons
    if names[UNDECIDED]:
        return UNDECIDED, reasons
    if len(names[SUPPORTED]) >= wanted:
        return SUPPORTED, reasons
    if names[SUPPORTED]:
        return UNDECIDED, f"supported of {', '.join(names[SUPPORTED])} alone; {reasons}"
    return NOT_TESTABLE, reasons


def settle(record: ClaimRecord, wanted: int) -> ClaimRecord:
    """The record with the state of each piece of evidence and of the whole."""
    for each in record.evidence:
        each.state, each.state_why = judge(record.kind, record.region, each)
    if record.missing:
        record.state, record.why = NOT_TESTABLE, f"missing: {'; '.join(record.missing)}"
        return record
    record.state, record.why = together(record.evidence, wanted)
    return record


def spread_ratio(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float] | None:
    """Ratio of the standard deviations of the logarithms, b over a, with its 95% interval (F distribution of normal
    samples).

    None for fewer than two values, or if a side does not vary.
    """
    if min(len(a), len(b)) < 2 or min(*a, *b) <= 0:
        return None
    spreads = [float(np.log(np.array(side)).std(ddof=1)) for side in (a, b)]
    if min(spreads) == 0.0:
        return None
    ratio = (spreads[1] / spreads[0]) ** 2
    low, high = (
        stats.f.ppf(share, len(b) - 1, len(a) - 1) for share in (0.5 + CONFIDENCE / 2.0, 0.5 - CONFIDENCE / 2.0)
    )
    return ratio**0.5, float(ratio / low) ** 0.5, float(ratio / high) ** 0.5


def trend(first: tuple[float, float, float], last: tuple[float, float, float]) -> tuple[float, float, float]:
    """How much a ratio grew from one point to another, with its 95% interval.

    The ratio of two independent ratios, each (value, low, high); half widths of the logarithms are added in quadrature.
    """
    change = math.log(last[0]) - math.log(first[0])
    down = math.hypot(math.log(last[0] / last[1]), math.log(first[2] / first[0]))
    up = math.hypot(math.log(last[2] / last[0]), math.log(first[0] / first[1]))
    return math.exp(change), math.exp(change - down), math.exp(change + up)
