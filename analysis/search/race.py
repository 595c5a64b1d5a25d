"""A race: many candidates, measured in rounds until one is left or the rest cannot be told apart. Pure functions.

Every survivor is measured once per round on that round's work, so effects of the work cancel. The layout is two-way
(candidate + round), on logarithms, with a residual pooled over all survivors. A separate paired t-test per candidate
would have only rounds - 1 degrees of freedom, too few to drop anyone early.

Candidates that are certainly worse than the leader are dropped: one-sided t-tests, corrected over the candidates (Holm,
Scandinavian Journal of Statistics 6, 1979). The error of 5% holds for each look. Looks are so strongly dependent that
over whole simulated races the best candidate was dropped in at most 5% (tests/statistics/test_race.py, docs/tune.md).
Rank alone never drops a candidate. The race also ends when no remaining candidate can be better than the leader by more
than `RaceRules.margin`, at the same error.

The reported figure of the winner comes from fresh runs, because the race's own figures flatter the winner.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from tokenswarm.analysis.figures.statistics import CONFIDENCE, t_quantile

FLOOR = 0.01
"""Figures below this share of a round's best are set to it, because 0 has no logarithm."""
FEWEST_ROUNDS = 2
"""With fewer rounds there is no residual."""

ONE_LEFT, AS_GOOD, ROUNDS_OVER, NONE_LEFT = "one_left", "within_margin", "rounds", "none"
NOTHING = "nothing_reached"
"""Why a race ends; the last one: every figure of every survivor is 0, so no candidate leads."""


@dataclass(frozen=True, slots=True)
class RaceRules:
    """`error`: the probability, at each look, that the best candidate is dropped.

    `margin`: a share too small to act on. `most_rounds`: maximum number of runs of one candidate.
    """

    error: float = 0.05
    margin: float = 0.03
    most_rounds: int = 8


@dataclass(frozen=True, slots=True)
class Standing:
    """One survivor against the leader.

    - ratio: of its figure to the leader's, below 1 if worse, with a 95% interval that is valid for one comparison
      chosen beforehand
    - p: of being as good (one-sided)
    - most: an upper bound of the ratio at this look, valid for all survivors together
    """

    candidate: str
    ratio: float
    low: float
    high: float
    p: float
    most: float


@dataclass(frozen=True, slots=True)
class RoundResult:
    """The state after a round: survivors from best to worst, and the candidates that were certainly worse.

    `over`: why the race ends, if it does. `spread`: the residual's standard deviation, as a share.
    """

    leader: str | None
    survivors: tuple[Standing, ...]
    dropped: tuple[Standing, ...]
    over: str | None
    spread: float | None = None
    df: int = 0


def look(values: Mapping[str, Sequence[float]], rules: RaceRules) -> RoundResult:
    """The state of a race. `values`: each survivor's figure in every round, in the same order; higher is better.

    Raises ValueError if the survivors have different numbers of rounds.
    """
    if not values:
        return RoundResult(None, (), (), NONE_LEFT)
    if len({len(figures) for figures in values.values()}) > 1:
        raise ValueError("every survivor has one figure of each round")
    if any(values.values()) and not any(map(any, values.values())):
        return RoundResult(None, tuple(_unknown(name, 1.0) for name in values), (), NOTHING)
    names = list(values)
    logs = log_figures(np.array([values[name] for name in names], dtype=float))
    count, rounds = logs.shape
    means = logs.mean(axis=1) if rounds else np.zeros(count)
    order = sorted(range(count), key=lambda each: -means[each])
    leader = order[0]
    if count == 1 or rounds < FEWEST_ROUNDS:
        unknown = tuple(_unknown(names[each], math.exp(means[each] - means[leader])) for each in order)
        return RoundResult(names[leader], unknown, (), ONE_LEFT if count == 1 else _rounds_over(rounds, rules))
    residual = logs - means[:, None] - logs.mean(axis=0)[None, :] + logs.mean()
    df = (count - 1) * (rounds - 1)
    spread = math.sqrt(float((residual**2).sum()) / df)
    layout = _Layout(names, means, leader, spread * math.sqrt(2.0 / rounds), df, rules.error)
    places = {each: layout.place(each) for each in order}
    worse = _surely_worse({each: place.p for each, place in places.items() if each != leader}, layout.error)
    left = [each for each in order if each not in worse]
    over = None
    if len(left) == 1:
        over = ONE_LEFT
    elif all(places[each].most <= 1.0 + rules.margin for each in left[1:]):
        over = AS_GOOD
    return RoundResult(
        names[leader],
        tuple(places[each] for each in left),
        tuple(places[each] for each in order if each in worse),
        over or _rounds_over(rounds, rules),
        spread,
        df,
    )


def _unknown(name: str, ratio: float) -> Standing:
    return Standing(name, ratio, 0.0, math.inf, 1.0, math.inf)


def log_figures(figures: np.ndarray) -> np.ndarray:
    """Logarithms of (candidates, rounds) figures, which are at least FLOOR of their round's best.

    A round in which no candidate achieved anything carries no information: all are equal in it.
    """
    best = figures.max(axis=0, initial=0.0)
    return np.log(np.maximum(figures, np.where(best > 0.0, FLOOR * best, 1.0)))


@dataclass(frozen=True, slots=True)
class _Layout:
    names: Sequence[str]
    means: np.ndarray
    leader: int
    error_of_difference: float
    df: int
    error: float

    def place(self, each: int) -> Standing:
        apart = float(self.means[each] - self.means[self.leader])
        if each == self.leader:
            return Standing(self.names[each], 1.0, 1.0, 1.0, 1.0, 1.0)
        half = t_quantile(0.5 + CONFIDENCE / 2.0, self.df) * self.error_of_difference
        reach = t_quantile(1.0 - self.error / (len(self.names) - 1), self.df) * self.error_of_difference
        if self.error_of_difference > 0.0:
            p = float(stats.t.cdf(apart / self.error_of_difference, self.df))
        else:  # nothing varies: a candidate that is behind is certainly behind
            p = 0.0 if apart < 0.0 else 1.0
        return Standing(
            self.names[each],
            math.exp(apart),
            math.exp(apart - half),
            math.exp(apart + half),
            p,
            math.exp(apart + reach),
        )


def _surely_worse(p_values: Mapping[int, float], error: float) -> set[int]:
    """Holm's step-down procedure over the candidates behind the leader."""
    worse: set[int] = set()
    for each in sorted(p_values, key=p_values.__getitem__):
        if p_values[each] >= error / (len(p_values) - len(worse)):
            break
        worse.add(each)
    return worse


def _rounds_over(rounds: int, rules: RaceRules) -> str | None:
    return ROUNDS_OVER if rounds >= rules.most_rounds else None


class Race:
    """A race in progress: the remaining candidates, and what happened to the others. It is given each round's
    figures.
    """

    def __init__(self, candidates: Sequence[str], rules: RaceRules | None = None) -> None:
        self.rules = rules or RaceRules()
        self.survivors = list(candidates)
        self.figures: dict[str, list[float]] = {each: [] for each in candidates}
        """Each candidate's figure in each round that it took part in."""
        self.drops: dict[str, Drop] = {}
        self.withdrawn: list[str] = []
        """Candidates that could not be measured."""
        self.last = RoundResult(None, tuple(_unknown(each, 1.0) for each in candidates), (), None)

    @property
    def rounds(self) -> int:
        """Number of completed rounds."""
        return max((len(figures) for figures in self.figures.values()), default=0)

    @property
    def over(self) -> str | None:
        """Why the race has ended; None while it goes on."""
        return self.last.over

    @property
    def winner(self) -> str | None:
        """The leader, if there is one."""
        return self.last.leader

    @property
    def undecided(self) -> list[str]:
        """Survivors that cannot be told apart from the winner."""
        return [place.candidate for place in self.last.survivors if place.candidate != self.winner]

    def record_round(self, figures: Mapping[str, float | None]) -> RoundResult:
        """Record the figures of all survivors of a round; None for one that could not be measured, which is out."""
        for each in list(self.survivors):
            figure = figures[each]
            if figure is None:
                self.survivors.remove(each)
                self.withdrawn.append(each)
            else:
                self.figures[each].append(figure)
        state = look({each: self.figures[each] for each in self.survivors}, self.rules)
        for place in state.dropped:
            self.survivors.remove(place.candidate)
            self.drops[place.candidate] = Drop(self.rounds, place)
        self.last = state
        return state


@dataclass(frozen=True, slots=True)
class Drop:
    """A candidate that was certainly worse: the round after which it was dropped, and its standing then."""

    after_round: int
    place: Standing
