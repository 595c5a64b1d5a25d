"""The profile of a workload: figures from its columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from tokenswarm.analysis.cache.hit_curve import HitCurve, Uses, hit_curve, uses_of_blocks
from tokenswarm.analysis.cache.sampled_curve import BlockSample, sampled_curve
from tokenswarm.analysis.traffic.columns import Traffic, with_all_blocks
from tokenswarm.analysis.traffic.prompt_blocks import coarser, reordered_blocks

BLOCK_SIZES = (1, 16, 64, 128)
"""Block sizes of engines, in tokens: SGLang's page, vLLM's block on GPUs, and larger ones (128: vLLM on CPUs)."""
FIXED_SHARE = 0.05
"""Share of all requests that must have a prefix in common for it to count as fixed context."""
RATE_BINS = 60
_FIRST_SIZE = 1_000
_MINUTE_S = 60.0


class Lengths(msgspec.Struct):
    """A distribution of lengths, in tokens, or of turns. `known`: how many requests record theirs."""

    known: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float
    total: float


class Minute(msgspec.Struct):
    """The busiest minute: its start, seconds from the first arrival, and its requests."""

    start_s: float
    requests: int


class ArrivalFigures(msgspec.Struct):
    """Arrivals.

    - rate: mean requests/s
    - cv: coefficient of variation of the gaps between them (1: Poisson)
    - dispersion: variance / mean of the arrivals per second (1: Poisson)
    - over_time: requests/s in equal parts of the time
    """

    duration_s: float
    rate: float
    cv: float | None
    dispersion: float | None
    largest_minute: Minute
    over_time: list[float]
    out_of_order: int


class SessionFigures(msgspec.Struct):
    """Sessions. turns: requests per session. delay_s: pauses between an answer and the next request."""

    sessions: int
    turns: Lengths
    delay_s: Lengths | None


class SharedFigures(msgspec.Struct):
    """What prompts share, as shares (0..1) of all prompt tokens.

    fixed: in prefixes that at least `fixed_share` of the sessions have (of the requests, if there are no sessions).
    own_session: found in an earlier request of the same session.
    """

    fixed: float
    fixed_share: float
    own_session: float | None


class CachePoint(msgspec.Struct):
    """What an LRU cache of `tokens` tokens finds, as a share of the prompt tokens. error: half of a 95% interval; None
    if exact.
    """

    tokens: int
    rate: float
    error: float | None = None


class BlockPoint(msgspec.Struct):
    """What an unlimited cache finds with blocks of `size` tokens; `error` as in CachePoint."""

    size: int
    rate: float
    error: float | None = None


class HitRates(msgspec.Struct):
    """Hits of a prefix cache, as shares of the prompt tokens.

    - lru: with blocks of `block_tokens`, by cache size
    - half_at, ninety_at: tokens of a cache that finds 50% and 90% of what an unlimited one finds
    - sampled: share of the blocks that were looked at, if there are too many; None: all
    """

    unbounded: float
    block_tokens: int
    blocks: list[BlockPoint]
    lru: list[CachePoint]
    half_at: int | None
    ninety_at: int | None
    sampled: float | None = None


class TrafficProfile(msgspec.Struct):
    """A workload. None: not in the file; `why` has the reason by the field's name.

    estimated: some lengths were estimated, at four bytes per token. rule_of_thumb: what the field's rule says about it,
    as far as that is known without an engine.
    """

    requests: int
    estimated: bool
    input_tokens: Lengths | None
    output_tokens: Lengths | None
    arrivals: ArrivalFigures | None
    sessions: SessionFigures | None
    shared: SharedFigures | None
    hit_rate: HitRates | None
    why: dict[str, str]
    rule_of_thumb: str | None = None


@dataclass(frozen=True, slots=True)
class Sharing:
    """What prompts share; None if unknown."""

    shared: SharedFigures | None
    hit_rate: HitRates | None


def profile(traffic: Traffic, sharing: Sharing | None = None) -> TrafficProfile:
    """All figures of a workload. `sharing`: what its prompts share, if known from something other than blocks."""
    sharing = sharing or _sharing_of(traffic)
    result = TrafficProfile(
        requests=len(traffic),
        estimated=traffic.estimated,
        input_tokens=_lengths(traffic.input_tokens),
        output_tokens=_lengths(traffic.output_tokens),
        arrivals=_arrivals(traffic.time_s),
        sessions=_sessions(traffic),
        shared=sharing.shared,
        hit_rate=sharing.hit_rate,
        why={},
    )
    result.why = {name: why for name, why in _reasons(traffic).items() if getattr(result, name) is None}
    return result


def _reasons(traffic: Traffic) -> dict[str, str]:
    sharing = "it is not known which prompts begin alike: there is neither text nor block ids"
    if len(traffic.block_sizes) > 1:
        sharing = f"its blocks are of several sizes ({', '.join(map(str, traffic.block_sizes))} tokens)"
    elif traffic.blocks is None and traffic.block_sizes:
        sharing = "some prompts have block ids and others text: they cannot be put together"
    return {
        "input_tokens": "no prompt's length is recorded",
        "output_tokens": "no answer's length is recorded",
        "arrivals": "the requests have no times, or not all of them",
        "sessions": "no sessions are recorded",
        "shared": sharing,
        "hit_rate": sharing,
    }


def _lengths(values: np.ndarray) -> Lengths | None:
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    p50, p90, p99 = np.percentile(known, [50, 90, 99]).tolist()
    return Lengths(len(known), float(known.mean()), p50, p90, p99, float(known.max()), float(known.sum()))


def _arrivals(recorded_s: np.ndarray) -> ArrivalFigures | None:
    if not len(recorded_s) or np.isnan(recorded_s).any():
        return None
    times = np.sort(recorded_s) - recorded_s.min()
    duration = float(times[-1])
    gaps = np.diff(times)
    seconds = np.bincount(times.astype(np.int64)) if 1 <= duration < 1e8 else None
    until = np.searchsorted(times, times + _MINUTE_S, side="left")
    largest = int(np.argmax(until - np.arange(len(times))))
    edges = np.linspace(0.0, duration, RATE_BINS + 1) if duration else None
    return ArrivalFigures(
        duration_s=duration,
        rate=len(gaps) / duration if duration else 0.0,
        cv=float(gaps.std() / gaps.mean()) if duration and len(gaps) > 1 else None,
        # The last second is rarely complete.
        dispersion=float(seconds[:-1].var() / seconds[:-1].mean())
        if seconds is not None and seconds[:-1].any()
        else None,
        largest_minute=Minute(float(times[largest]), int(until[largest] - largest)),
        over_time=(np.histogram(times, edges)[0] / (duration / RATE_BINS)).tolist() if edges is not None else [],
        out_of_order=int((np.diff(recorded_s) < 0).sum()),
    )


def _sessions(traffic: Traffic) -> SessionFigures | None:
    known = traffic.session[traffic.session >= 0]
    if not len(known):
        return None
    turns = np.bincount(known).astype(float)
    lengths = _lengths(turns)
    return None if lengths is None else SessionFigures(len(turns), lengths, _lengths(traffic.delay_s))


def _sharing_of(traffic: Traffic) -> Sharing:
    """If there are too many blocks to keep: the fixed share from the file's first requests, hits from a sample of
    all.
    """
    if traffic.sample is None:
        return _sharing(traffic)
    return Sharing(_sharing(with_all_blocks(traffic), sizes=False).shared, _sampled_rates(traffic, traffic.sample))


def _order(traffic: Traffic) -> np.ndarray | None:
    """The requests in time order; None if the file is already in that order."""
    return np.argsort(traffic.time_s, kind="stable") if not np.isnan(traffic.time_s).any() else None


def _sampled_rates(traffic: Traffic, sample: BlockSample) -> HitRates:
    size, order = sample.block_tokens, _order(traffic)
    order = np.arange(len(traffic)) if order is None else order
    known = traffic.input_tokens
    whole = np.where(np.isnan(known), sample.counts * size, known).astype(np.int64)
    sizes = sorted({size, *(each for each in BLOCK_SIZES if each % size == 0)})
    curves = {each: sampled_curve(sample, whole, order, each // size) for each in sizes}
    drawn = curves[base := _base_size(size)]
    half_at, ninety_at = (
        None if at is None or at < drawn.least_tokens else at for at in map(drawn.curve.size_for, (0.5, 0.9))
    )
    return HitRates(
        drawn.curve.unbounded,
        base,
        [BlockPoint(each, made.curve.unbounded, made.unbounded_error) for each, made in curves.items()],
        [
            CachePoint(point.tokens, point.rate, drawn.error(point.tokens))
            for point in _points(drawn.curve)
            if point.tokens >= drawn.least_tokens
        ],
        half_at,
        ninety_at,
        sample.share,
    )


def _sharing(traffic: Traffic, *, sizes: bool = True) -> Sharing:
    """`sizes`: for several block sizes, not only the recorded one."""
    if traffic.blocks is None:
        return Sharing(None, None)
    order = _order(traffic)
    blocks = traffic.blocks if order is None else reordered_blocks(traffic.blocks, order)
    session = traffic.session if order is None else traffic.session[order]
    whole = traffic.input_tokens if order is None else traffic.input_tokens[order]
    whole = np.where(np.isnan(whole), np.diff(blocks.starts) * blocks.block_tokens, whole).astype(np.int64)
    base = _base_size(blocks.block_tokens)
    wanted = (
        {blocks.block_tokens, *(size for size in BLOCK_SIZES if size % blocks.block_tokens == 0)} if sizes else {base}
    )
    points, curve, uses, sized = [], None, None, blocks
    for size in sorted(wanted):  # each divides the next
        sized = coarser(sized, size)
        sized_uses = uses_of_blocks(sized.ids, sized.starts, whole, size)
        sized_curve = hit_curve(sized_uses, size)
        points.append(BlockPoint(size, sized_curve.unbounded))
        if size == base:
            curve, uses = sized_curve, sized_uses
    assert curve is not None and uses is not None
    shared = own_shares(uses, session)
    return Sharing(
        shared, HitRates(curve.unbounded, base, points, _points(curve), curve.size_for(0.5), curve.size_for(0.9))
    )


def own_shares(uses: Uses, session: np.ndarray) -> SharedFigures:
    """What requests share with their own session and with all requests; `session` as in `Traffic`, by request of
    `uses`.
    """
    return SharedFigures(_fixed(uses, session), FIXED_SHARE, _own_session(uses, session))


def sharing_of_curves(curves: Mapping[int, HitCurve], base: int, shared: SharedFigures) -> Sharing:
    """Sharing from curves by block size; `base`: the one that is drawn."""
    curve = curves[base]
    return Sharing(
        shared,
        HitRates(
            curve.unbounded,
            base,
            [BlockPoint(size, each.unbounded) for size, each in curves.items()],
            _points(curve),
            curve.size_for(0.5),
            curve.size_for(0.9),
        ),
    )


def _base_size(recorded: int) -> int:
    """The block size of the drawn curve: vLLM's 16 if text allows any, else the recorded one."""
    return 16 if recorded == 1 else recorded


def _fixed(uses: Uses, session: np.ndarray) -> float:
    """Share of the prompt tokens in runs that FIXED_SHARE of the sessions, and at least two of them, begin with.

    A request without a session counts as a session of its own.
    """
    by, of_use = _sessions_of(uses, session)
    pairs = np.unique(uses.run * by + of_use) // by
    times = np.bincount(pairs, minlength=int(uses.run.max(initial=0)) + 1)[uses.run]
    sessions = len(np.unique(of_use))
    return _share(uses, times >= max(2, FIXED_SHARE * sessions))


def _own_session(uses: Uses, session: np.ndarray) -> float | None:
    """Share of the prompt tokens in runs that the same session had used before."""
    if (session < 0).all():
        return None
    by, of_use = _sessions_of(uses, session)
    _, first = np.unique(uses.run * by + of_use, return_index=True)
    again = np.ones(len(of_use), dtype=bool)
    again[first] = False
    return _share(uses, again)


def _sessions_of(uses: Uses, session: np.ndarray) -> tuple[int, np.ndarray]:
    """(a number above all session numbers, the session of each use)."""
    alone = int(session.max(initial=-1)) + 1
    numbers = np.where(session >= 0, session, alone + np.arange(len(session)))
    return alone + len(session) + 1, numbers[uses.request]


def _share(uses: Uses, which: np.ndarray) -> float:
    return float(uses.tokens[which].sum() / uses.prompt_tokens) if uses.prompt_tokens else 0.0


def _points(curve: HitCurve) -> list[CachePoint]:
    """1, 2, 5, 10, ... thousand tokens, up to the size that finds everything."""
    points: list[CachePoint] = []
    size, steps = float(_FIRST_SIZE), (2.0, 2.5, 2.0)
    while True:
        points.append(CachePoint(int(size), curve.rate(size)))
        if points[-1].rate >= curve.unbounded or size > 1e15:
            return points
        size *= steps[(len(points) - 1) % 3]
