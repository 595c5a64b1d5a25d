"""One capacity against another: their ratio with its interval, and which points of either frontier are dominated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokenswarm.analysis.capacity.frontier import dominates

from tokenswarm.contract.capacity_record import Capacity


@dataclass(frozen=True, slots=True)
class CapacityRatio:
    """B over A. `low`, `high`: the 95% interval, None where a capacity has no such end; `state`: better | worse |
    undecided, of B; `why`: why there is no value."""

    value: float | None
    low: float | None
    high: float | None
    state: str = "undecided"
    why: str = ""


def ratio_of(a: Capacity, b: Capacity) -> CapacityRatio:
    """The ratio of two capacities that were searched apart.

    Their logarithms are independent; the distances from each estimate to the ends of its interval are added as squares
    (MOVER: Zou and Donner, Statistics in Medicine 27, 2008), which needs no symmetry. Where one of them is a bracket
    without a curve, so is the ratio: its ends are those of the brackets, and they are not added as squares.
    """
    (low_a, high_a), (low_b, high_b) = a.capacity.ci95, b.capacity.ci95
    low = None if not low_b or not high_a else low_b / high_a
    high = None if high_b is None or not low_a else high_b / low_a
    one, other = a.capacity.estimate, b.capacity.estimate
    if not one or not other:
        return CapacityRatio(None, low, high, _state(low, high), "a capacity is not known, only bounded")
    value = other / one
    if low is not None and high is not None and a.capacity.curve and b.capacity.curve:
        below = math.hypot(math.log(other / _end(low_b)), math.log(_end(high_a) / one))
        above = math.hypot(math.log(_end(high_b) / other), math.log(one / _end(low_a)))
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
    """Mark the points that are dominated among all levels of both."""
    levels = [*a.levels, *b.levels]
    for level in levels:
        level.dominated = any(dominates(other, level) for other in levels)


def differences(a: Capacity, b: Capacity) -> list[str]:
    """What makes two capacities answers to different questions, in sentences. Raises nothing."""
    questions = (
        ("kind of load", a.capacity.unit, b.capacity.unit),
        ("scenario", a.scenario, b.scenario),
        ("limits", a.slo, b.slo),
        ("target", a.target, b.target),
    )
    return [f"The {name} differs: {one} and {other}." for name, one, other in questions if one != other]
