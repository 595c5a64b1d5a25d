"""What each setting did: main effects over the candidates of a race, with intervals.

The observations are the candidates' mean logarithms, corrected for the rounds (two-way least squares over all
measurements). What main effects cannot explain, interactions and noise, is the residual.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from tokenswarm.analysis.figures.statistics import CONFIDENCE, t_quantile
from tokenswarm.analysis.search.race import FLOOR, log_figures


@dataclass(frozen=True, slots=True)
class Effect:
    """The objective under `value` of a setting over that under `against`, with the other settings equal.

    `low` and `high`: 95% interval; None, with `why`, if there is none.
    """

    setting: str
    value: str
    against: str
    ratio: float | None
    low: float | None = None
    high: float | None = None
    why: str | None = None


def main_effects(settings: Mapping[str, Mapping[str, str]], figures: Mapping[str, Sequence[float]]) -> list[Effect]:
    """Every setting with several values against its first one, from the candidates that achieved something.

    `settings`: of each candidate, all with the same names. `figures`: of each candidate by round; fewer if it left the
    race.
    """
    tried = [name for name in settings if figures.get(name)]
    nothing = _reached_nothing({name: figures[name] for name in tried})
    names = [name for name in tried if name not in nothing]
    if len(names) < 2:
        return []
    levels = {key: list(dict.fromkeys(settings[name][key] for name in names)) for key in settings[names[0]]}
    terms = [(key, value) for key, values in levels.items() for value in values[1:]]
    design = np.array([[1.0, *(float(settings[name][key] == value) for key, value in terms)] for name in names])
    observed = _candidate_means([figures[name] for name in names])
    fit, _, rank, _ = np.linalg.lstsq(design, observed, rcond=None)
    inverse = np.linalg.pinv(design.T @ design)
    df = len(names) - int(rank)
    residual = observed - design @ fit
    variance = float(residual @ residual) / df if df > 0 else None
    effects = []
    for place, (key, value) in enumerate(terms, start=1):
        against = levels[key][0]
        if not _estimable(design, place):
            effects.append(Effect(key, value, against, None, why="these candidates do not tell it from other settings"))
        elif variance is None:
            effects.append(
                Effect(key, value, against, math.exp(fit[place]), why="there are as many effects as candidates")
            )
        else:
            half = t_quantile(0.5 + CONFIDENCE / 2.0, df) * math.sqrt(variance * inverse[place, place])
            effects.append(
                Effect(
                    key, value, against, math.exp(fit[place]), math.exp(fit[place] - half), math.exp(fit[place] + half)
                )
            )
    return effects + [
        Effect(key, value, levels[key][0], None, why="with it next to nothing was reached")
        for key in levels
        for value in dict.fromkeys(settings[name][key] for name in nothing)
        if value not in levels[key]
    ]


def _reached_nothing(figures: Mapping[str, Sequence[float]]) -> list[str]:
    """Candidates with a figure below FLOOR of their round's best: it is replaced by that floor, so it is not a size to
    calculate with.
    """
    best = [max(of_round) for of_round in zip_longest(*figures.values(), fillvalue=0.0)]
    return [
        name for name, mine in figures.items() if any(own < FLOOR * most for own, most in zip(mine, best, strict=False))
    ]


def _estimable(design: np.ndarray, place: int) -> bool:
    """Whether a column is not a linear combination of the others."""
    others = np.delete(design, place, axis=1)
    return int(np.linalg.matrix_rank(design)) > int(np.linalg.matrix_rank(others))


def _candidate_means(figures: Sequence[Sequence[float]]) -> np.ndarray:
    """Least squares of candidate + round over a table whose rows may be incomplete."""
    rounds = max(map(len, figures))
    table = np.full((len(figures), rounds), np.nan)
    for number, row in enumerate(figures):
        table[number, : len(row)] = row
    logs = np.where(np.isnan(table), np.nan, log_figures(np.nan_to_num(table)))
    where = np.argwhere(~np.isnan(logs))
    design = np.zeros((len(where), len(figures) + rounds - 1))
    for number, (candidate, of_round) in enumerate(where):
        design[number, candidate] = 1.0
        if of_round:
            design[number, len(figures) + of_round - 1] = 1.0
    fit = np.linalg.lstsq(design, logs[~np.isnan(logs)], rcond=None)[0]
    return fit[: len(figures)]
