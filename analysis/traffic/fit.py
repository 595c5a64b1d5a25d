"""A recorded workload as the parameters of a synthetic one: lengths, turns, pauses, arrivals, shared prefixes. Pure.

Distributions are those of a scenario (kind and parameters). Each has its distance from the data it was fitted to: the
largest difference between the two cumulative distributions (Kolmogorov-Smirnov statistic, 0..1).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from scipy import optimize, stats
from tokenswarm.analysis.cache.hit_curve import beginnings
from tokenswarm.analysis.traffic.columns import Traffic, reordered, with_all_blocks
from tokenswarm.analysis.traffic.prompt_blocks import TEXT_BLOCK, PromptBlocks, coarser

from tokenswarm.base.assumptions import TOKEN_S

NEAR = 0.05
"""A law whose distance from the data is at most this is used; else a list of the data's quantiles."""
_QUANTILES = 40
_MOST_BEGINNINGS = 10_000
_MOST_POPULAR, _POPULAR_SHARE = 20, 0.01
"""At most this many prefixes are listed individually, if they belong to at least this share of the sessions."""
_POISSON_CV = (0.95, 1.05)
_EVEN_CV = 0.05


class FittedLaw(msgspec.Struct):
    """A distribution as a scenario writes it. distance: from the data, 0..1. of: the number of values."""

    law: dict[str, object] | float
    distance: float
    of: int


class Arrivals(msgspec.Struct):
    """Requests/s, and the distribution of the gaps with its coefficient of variation."""

    rate: float
    law: str
    cv: float


class Popular(msgspec.Struct):
    """A prefix shared by many sessions: their share of all (0..1), and its length."""

    share: float
    tokens: float


class Beginnings(msgspec.Struct):
    """Shared prefixes of sessions: the most popular ones, and for the others their number, Zipf exponent (maximum
    likelihood over ranks) and mean length weighted by use.

    Also the share of the sessions that have any (0..1).
    """

    popular: list[Popular]
    others: int
    zipf_s: float
    tokens: FittedLaw
    share: float


class Fit(msgspec.Struct):
    """The parameters of a synthetic workload. None: not in the file.

    inferred: the file has no sessions, so they were inferred from common prefixes of prompts. longest_tokens: prompt
    and answer together.
    """

    arrivals: Arrivals | None
    beginnings: Beginnings | None
    turns: FittedLaw
    first_tokens: FittedLaw
    later_tokens: FittedLaw | None
    answer_tokens: FittedLaw | None
    pause_s: FittedLaw | None
    inferred: bool
    longest_tokens: int


@dataclass(frozen=True, slots=True)
class _Sessions:
    """For each request: its session, its turn from 1, and the previous request of its session (-1: none)."""

    session: np.ndarray
    turn: np.ndarray
    before: np.ndarray
    inferred: bool


def fit(traffic: Traffic) -> Fit:
    """The parameters of a workload. Raises ValueError, with a sentence, if no prompt's length is known."""
    traffic = _in_order(traffic)
    traffic = with_all_blocks(traffic)
    if traffic.blocks is not None and traffic.blocks.block_tokens < TEXT_BLOCK:
        # In blocks of single tokens all texts share a prefix: the name of a role.
        traffic = replace(traffic, blocks=coarser(traffic.blocks, TEXT_BLOCK))
    if np.isnan(traffic.input_tokens).all():
        raise ValueError("no prompt's length is recorded, so there is nothing to fit")
    sessions = _sessions(traffic)
    first = sessions.before < 0
    shared, shared_tokens = _beginnings(traffic.blocks, sessions, traffic.input_tokens)
    later = np.flatnonzero(~first)
    previous = sessions.before[later]
    answers = np.nan_to_num(traffic.output_tokens)
    grown = traffic.input_tokens[later] - traffic.input_tokens[previous] - answers[previous]
    totals = traffic.input_tokens + answers
    return Fit(
        arrivals=_arrivals(traffic.time_s),
        beginnings=shared,
        turns=fit_law(np.bincount(sessions.session).astype(float)) or FittedLaw(1.0, 0.0, 0),
        first_tokens=fit_law(np.maximum(1.0, traffic.input_tokens[first] - shared_tokens[first]))
        or FittedLaw(1.0, 0.0, 0),
        later_tokens=fit_law(np.maximum(1.0, grown)),
        answer_tokens=fit_law(np.maximum(1.0, traffic.output_tokens)),
        pause_s=_pauses(traffic, later, previous),
        inferred=sessions.inferred,
        longest_tokens=int(np.nanmax(totals)),
    )


def fit_law(values: np.ndarray) -> FittedLaw | None:
    """The closest of constant, lognormal and exponential, or else 40 quantiles of equal weight. NaN: not known; None if
    no value is known.
    """
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return None
    low, high, mean = float(known[0]), float(known[-1]), float(known.mean())
    if high - low <= 1e-6 * high:
        return FittedLaw(round(low, 6), 0.0, len(known))
    candidates: list[FittedLaw] = []
    positive = np.maximum(known, 1e-9)
    logs = np.log(positive)
    sigma = float(logs.std())
    if low > 0 and sigma > 0:
        by_logs = (float(np.exp(logs.mean() + sigma**2 / 2)), float(np.sqrt(np.expm1(sigma**2))))
        for of_mean, cv in (by_logs, (mean, float(known.std() / mean))):
            variance = np.log1p(cv**2)
            law = stats.lognorm(np.sqrt(variance), scale=of_mean * np.exp(-variance / 2))
            written: dict[str, object] = {
                "kind": "lognormal",
                "mean": _short(of_mean),
                "cv": _short(cv),
                "min": _short(low),
                "max": _short(high),
            }
            candidates.append(FittedLaw(written, _distance(known, law.cdf), len(known)))
    candidates.append(
        FittedLaw(
            {"kind": "exponential", "mean": _short(mean), "max": _short(high)},
            _distance(known, stats.expon(scale=mean).cdf),
            len(known),
        )
    )
    best = min(candidates, key=lambda each: each.distance)
    if best.distance <= NEAR:
        return best
    quantiles = np.quantile(known, (np.arange(_QUANTILES) + 0.5) / _QUANTILES, method="inverted_cdf")
    values_of, counts = np.unique([_short(each) for each in quantiles], return_counts=True)
    law_of_values: dict[str, object] = {"kind": "choice", "values": values_of.tolist()}
    if (counts != counts[0]).any():
        law_of_values["weights"] = counts.astype(float).tolist()
    steps = np.cumsum(counts) / counts.sum()
    distance = _distance(known, lambda at: np.concatenate(([0.0], steps))[np.searchsorted(values_of, at, side="right")])
    return FittedLaw(law_of_values, distance, len(known))


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _distance(known: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """The largest difference between the cumulative distributions of `known` (ascending) and of the law."""
    at, last = np.unique(known, return_index=True)
    share = np.append(last[1:], len(known)) / len(known)
    return float(np.abs(share - cdf(at)).max())


def _in_order(traffic: Traffic) -> Traffic:
    """In time order, if all times are known."""
    if np.isnan(traffic.time_s).any() or not (np.diff(traffic.time_s) < 0).any():
        return traffic
    return reordered(traffic, np.argsort(traffic.time_s, kind="stable"))


def _sessions(traffic: Traffic) -> _Sessions:
    known = traffic.session >= 0
    before = np.full(len(traffic), -1, dtype=np.int64)
    if known.any():
        last: dict[int, int] = {}
        for request, session in enumerate(traffic.session.tolist()):
            if session >= 0:
                before[request] = last.get(session, -1)
                last[session] = request
    elif traffic.blocks is not None:
        _infer(traffic.blocks, traffic.input_tokens, before)
    session, turn = np.empty(len(traffic), dtype=np.int64), np.empty(len(traffic), dtype=np.int64)
    sessions = 0
    for request, previous in enumerate(before.tolist()):
        if previous < 0:
            session[request], turn[request] = sessions, 1
            sessions += 1
        else:
            session[request], turn[request] = session[previous], turn[previous] + 1
    return _Sessions(session, turn, before, inferred=not known.any() and bool((before >= 0).any()))


def _infer(blocks: PromptBlocks, input_tokens: np.ndarray, before: np.ndarray) -> None:
    """Set in `before` the request that each one continues: the latest one that is shorter, whose whole blocks it begins
    with, and which no other request continues yet.

    A prompt of only one block has no successor.
    """
    nodes = beginnings(blocks.ids, blocks.starts)
    waiting: dict[int, list[int]] = {}
    for request in range(len(before)):
        own = nodes[blocks.starts[request] : blocks.starts[request + 1]].tolist()
        for node in reversed(own):
            candidates = waiting.get(node)
            if candidates and input_tokens[candidates[-1]] < input_tokens[request]:
                before[request] = candidates.pop()
                break
        whole = int(input_tokens[request] // blocks.block_tokens)  # the last block of a prompt is rarely whole
        if whole >= 2 and len(own) >= whole:
            waiting.setdefault(own[whole - 1], []).append(request)


def _beginnings(
    blocks: PromptBlocks | None, sessions: _Sessions, input_tokens: np.ndarray
) -> tuple[Beginnings | None, np.ndarray]:
    """(shared prefixes of sessions, None if there are none; the tokens of each request's shared prefix)."""
    lengths = np.zeros(len(input_tokens))
    if blocks is None:
        return None, lengths
    nodes = beginnings(blocks.ids, blocks.starts)
    firsts = np.flatnonzero(sessions.before < 0)
    rows = {request: nodes[blocks.starts[request] : blocks.starts[request + 1]] for request in firsts.tolist()}
    values, counts = np.unique(np.concatenate(list(rows.values())), return_counts=True)
    several = values[counts > 1]
    used: Counter[int] = Counter()
    length_of: dict[int, float] = {}
    for request, row in rows.items():
        common = np.isin(row, several)
        depth = len(row) if common.all() else int(np.argmin(common))
        if depth:
            node = int(row[depth - 1])
            used[node] += 1
            lengths[request] = min(depth * blocks.block_tokens, input_tokens[request] - 1)
            length_of[node] = max(length_of.get(node, 0.0), float(lengths[request]))
    if not used:
        return None, lengths
    ranked = used.most_common(_MOST_BEGINNINGS)
    popular = [
        Popular(_floor(count / len(firsts)), length_of[node])
        for node, count in ranked[:_MOST_POPULAR]
        if count >= _POPULAR_SHARE * len(firsts)
    ]
    others = ranked[len(popular) :]
    tokens = fit_law(np.array([length_of[node] for node, count in others for _ in range(count)], dtype=float))
    return Beginnings(
        popular,
        len(others),
        round(_zipf_exponent(np.array([count for _, count in others], float)), 3),
        tokens or FittedLaw(1.0, 0.0, 0),
        _floor(float((lengths[firsts] > 0).mean())),
    ), lengths


def _floor(share: float) -> float:
    """Rounded down to four digits, so that shares do not add up to more than their total."""
    return math.floor(share * 1e4) / 1e4


def _zipf_exponent(counts: np.ndarray) -> float:
    """The maximum-likelihood exponent s, 0 to 5, for these counts, descending by rank."""
    if len(counts) < 2:
        return 0.0
    logs = np.log(np.arange(1, len(counts) + 1))

    def minus_log_likelihood(s: float) -> float:
        return float(s * (counts @ logs) + counts.sum() * np.log(np.exp(-s * logs).sum()))

    return float(optimize.minimize_scalar(minus_log_likelihood, bounds=(0.0, 5.0), method="bounded").x)


def _arrivals(time_s: np.ndarray) -> Arrivals | None:
    if len(time_s) < 3 or np.isnan(time_s).any():
        return None
    gaps = np.diff(np.sort(time_s))
    if not gaps.sum():
        return None
    cv = float(gaps.std() / gaps.mean())
    law = "constant" if cv < _EVEN_CV else "poisson" if _POISSON_CV[0] <= cv <= _POISSON_CV[1] else "gamma"
    return Arrivals(_short(1 / gaps.mean()), law, round(min(cv, 20.0), 3))


def _pauses(traffic: Traffic, later: np.ndarray, previous: np.ndarray) -> FittedLaw | None:
    """Pauses between an answer and the next request of its session: as recorded, or from the requests' times."""
    recorded = traffic.delay_s[later]
    if not np.isnan(recorded).all():
        return fit_law(recorded)
    answers_s = np.nan_to_num(traffic.output_tokens[previous]) * TOKEN_S
    return fit_law(np.maximum(0.0, traffic.time_s[later] - traffic.time_s[previous] - answers_s))
