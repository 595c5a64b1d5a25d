"""How races, searches and pairs are combined into a decision between engines. Pure functions.

Two figures can decide: the ratio of the capacities, from two searches, and the ratio of goodputs at one load, from
interleaved pairs. Each is tested at half of 5%, so together they prefer one of two equal engines in at most 5% of
decisions (Bonferroni; tests/statistics/test_decision.py). Capacity comes first, because it is what one pays for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import special
from tokenswarm.analysis.figures.statistics import CONFIDENCE

ERROR = 0.05
MARGIN = 0.05
"""A ratio that is certainly this close to 1 does not matter."""
DECIDED, SAME, OPEN = "decided", "equal", "undecided"
CAPACITY, GOODPUT = "capacity", "goodput"
_TESTS = 2
SHARES: Mapping[str, float] = {"race": 0.30, "capacity": 0.45, "pairs": 0.25}
"""Share of the budget by kind of stage, divided equally between the engines. Time left over goes to later stages."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A positive figure with the ends of its 95% interval; None if that end is unknown. `p`: two-sided, for a ratio of
    1, if a test gave one.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    def inverse(self) -> Interval:
        """The reciprocal ratio."""
        low, high = (None if not end else 1.0 / end for end in (self.high, self.low))
        return Interval(1.0 / self.value, low, high, self.p)

    def direction(self, error: float) -> int:
        """1 if the ratio is certainly above 1, -1 if it is certainly below, else 0, at that error."""
        side = (self.value > 1.0) - (self.value < 1.0)
        if self.p is not None:
            return side if self.p < error else 0
        widen = _z(error) / _z(1.0 - CONFIDENCE)
        if self.low is not None and self.low > 0.0 and self.value * (self.low / self.value) ** widen > 1.0:
            return 1
        if self.high is not None and self.value * (self.high / self.value) ** widen < 1.0:
            return -1
        return 0

    def is_within(self, margin: float) -> bool:
        """Whether the whole interval is that close to 1."""
        return (
            self.low is not None
            and self.high is not None
            and 1.0 / (1.0 + margin) <= self.low
            and self.high <= 1.0 + margin
        )


def _z(error: float) -> float:
    return float(special.ndtri(1.0 - error / 2.0))


def ratio_of(over: Interval, under: Interval, brackets: bool = False) -> Interval:
    """The ratio of two independent figures with its 95% interval.

    On logarithms, the distances to the ends are combined as variances (MOVER: Zou and Donner, Statistics in Medicine
    27, 2008; it needs no symmetric interval). `brackets`: one of the intervals is a bracket within which nothing is
    known, so the extremes are taken instead.
    """
    value = over.value / under.value
    ends: list[float | None] = []
    for of_over, of_under, sign in ((over.low, under.high, -1.0), (over.high, under.low, 1.0)):
        if not of_over or not of_under:
            ends.append(None)
        elif brackets:
            ends.append(of_over / of_under)
        else:
            half = math.hypot(math.log(of_over / over.value), math.log(of_under / under.value))
            ends.append(value * math.exp(sign * half))
    return Interval(value, *ends)


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """`state`: decided | equal | undecided.

    `first`: whether the first engine is chosen, if decided. `by`: the figure that decided. `contradicted`: the other
    figure certainly says the opposite.
    """

    state: str
    first: bool = False
    by: str = ""
    contradicted: bool = False


def choose(capacity: Interval | None, goodput: Interval | None, margin: float = MARGIN) -> EngineChoice:
    """Chooses between two engines, from the first's figures over the second's."""
    directions = {
        name: ratio.direction(ERROR / _TESTS) if ratio is not None else 0
        for name, ratio in ((CAPACITY, capacity), (GOODPUT, goodput))
    }
    for name, direction in directions.items():
        if direction:
            against = any(other == -direction for other in directions.values())
            if ratio_within(capacity if name == CAPACITY else goodput, margin):
                continue  # certainly different, but by too little to act on
            return EngineChoice(DECIDED, direction > 0, name, against)
    if ratio_within(goodput, margin) and not (
        capacity is not None and directions[CAPACITY] and not capacity.is_within(margin)
    ):
        return EngineChoice(SAME)
    return EngineChoice(OPEN)


def ratio_within(ratio: Interval | None, margin: float) -> bool:
    """Whether a ratio is known to be within the margin of 1."""
    return ratio is not None and ratio.is_within(margin)


@dataclass(frozen=True, slots=True)
class RaceResult:
    """What a race says about changing the settings.

    - winner: None if no candidate leads
    - default_left: the scenario's own settings were not distinguishable from the winner
    - ratio: the winner's figure over the default's, from fresh runs
    """

    winner: str | None
    default: str
    default_left: bool
    ratio: Interval | None = None


def settings_to_take(race: RaceResult) -> tuple[str, str]:
    """Whose settings go on, and why: the winner's if they are certainly better than the default's, else the default's,
    because a change needs a reason.
    """
    if race.winner is None:
        return race.default, "nobody led the race"
    if race.winner == race.default:
        return race.default, "the scenario's own settings led the race"
    if race.ratio is not None and race.ratio.direction(ERROR) > 0:
        return race.winner, "surely better than the scenario's own settings, on fresh seeds"
    if not race.default_left and race.ratio is None:
        return race.winner, "the race dropped the scenario's own settings as worse"
    if not race.default_left and race.ratio is not None and race.ratio.direction(ERROR) == 0:
        return race.winner, "the race dropped the scenario's own settings as worse; fresh seeds leave it open"
    return race.default, "the winner is not surely better than the scenario's own settings"


def load_of_the_pairs(capacities: Sequence[Interval | None], whole: bool, otherwise: float) -> tuple[float, str]:
    """The load at which the engines are compared: the lower of the capacities, which both can serve.

    `whole`: users, of which there is an integer number. `otherwise`: the scenario's load, if neither capacity is known.
    """
    known = [each.value for each in capacities if each is not None and each.value > 0.0]
    if not known:
        return otherwise, "the scenario's load, as no capacity is known"
    load = min(known)
    why = "the lower of the two capacities" if len(known) > 1 else "the one capacity that is known"
    return (float(max(1, math.floor(load))) if whole else load), why


def allowance(kind: str, left: Sequence[str], left_s: float | None) -> float | None:
    """The time limit of a stage, in seconds: its share of the remaining time among the stages that are `left`, itself
    included, by `SHARES`. None: no limit.
    """
    if left_s is None:
        return None
    counts = {each: left.count(each) for each in left}
    weights = {each: SHARES[each] / (2.0 if each != "pairs" else 1.0) for each in counts}
    return max(0.0, left_s) * weights[kind] / sum(weights[each] * count for each, count in counts.items())


_ROUNDS_OF_A_RACE = 3
"""Median number of runs per candidate in simulated races (docs/tune.md)."""


def candidates_that_fit(count: int, allowed_s: float | None, run_s: float, fresh_pairs: int) -> int:
    """How many of `count` candidates a race in that time can hold, with the fresh pairs after it; 0 or 1: none."""
    if allowed_s is None:
        return count
    runs = int(allowed_s / run_s) - 2 * fresh_pairs
    return min(count, max(0, runs // _ROUNDS_OF_A_RACE))
