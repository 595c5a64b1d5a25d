"""Compares two capacities: their ratio with its interval, and the dominated points of both frontiers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokenswarm.analysis.capacity.frontier import dominates

from tokenswarm.contract.capacity_record import Capacity


@dataclass(frozen=True, slots=True)
class CapacityRatio:
    """B over A. `low`, `high`: the 95% interval, None if a capacity has no such end. `state` of B: better | worse |
    undecided. `why`: why there is no value.
    """

    value: float | None
    low: float | None
    high: float | None
    state: str = "undecided"
    why: str = ""


def ratio_of(a: Capacity, b: Capacity) -> CapacityRatio:
    """The ratio of two capacities from independent searches.

    The distances from each estimate to the ends of its interval, on logarithms, are combined as squares (MOVER: Zou and
    Donner, Statistics in Medicine 27, 2008), which needs no symmetric interval. If either capacity is a bracket without
    a curve, the ratio is a bracket too, and its ends are the extremes that the two brackets allow.
    """
    (low_a, high_a), (low_b, high_b) = a.capacity.ci95, b.capacity.ci95
    low = None if not low_b or not high_a else low_b / high_a
    high = None if high_b is None or not low_a else high_b / low_a
    first, other = a.capacity.estimate, b.capacity.estimate
    if not first or not other:
        return CapacityRatio(None, low, high, _state(low, high), "a capacity is not known, only bounded")
    value = other / first
    if low is not None and high is not None and a.capacity.curve and b.capacity.curve:
        below = math.hypot(math.log(other / _end(low_b)), math.log(_end(high_a) / first))
        above = math.hypot(math.log(_end(high_b) / other), math.log(first / _end(low_a)))
        low, high = value * math.exp(-below), value * math.exp(above)
    return CapacityRatio(value, low, high, _state(low, high))


def _end(value: float | None) -> float:
    assert value is not None
    return max(value, 1e-9)


def _state(low: float | None, high: float | None) -> str:
    if low is not None and low > 1.0:
        return "better"
    return "worse" if high is not None and high < 1.0 else "undecided"


def overlaid(a: Capacity, b: Capacity) -> None:
    """Mark the dominated points among all levels of both."""
    levels = [*a.levels, *b.levels]
    for level in levels:
        level.dominated = any(dominates(other, level) for other in levels)


def differences(a: Capacity, b: Capacity) -> list[str]:
    """Sentences on why two capacities answer different questions; empty if they are comparable."""
    questions = (
        ("kind of load", a.capacity.unit, b.capacity.unit),
        ("scenario", a.scenario, b.scenario),
        ("limits", a.slo, b.slo),
        ("target", a.target, b.target),
    )
    return [f"The {name} differs: {first} and {other}." for name, first, other in questions if first != other]
