"""The figures of several workloads side by side: one row per figure, one cell per workload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.traffic.workload_profile import HitRates, Lengths, TrafficProfile

from tokenswarm.base.numbers import significant


class Row(NamedTuple):
    """A figure's title, and its value in each workload."""

    title: str
    cells: list[str]


Named = tuple[str, TrafficProfile]
_CACHES = (100_000, 1_000_000)
"""KV cache sizes, in tokens, for which hits are shown: about one GPU with a large and with a small model."""


def profile_rows(profiles: Sequence[Named]) -> list[Row]:
    """The table of figures: one row per figure, one cell per workload; unknown values are a dash."""
    each = [profile for _, profile in profiles]
    rows: list[tuple[str, list[str]]] = [("requests", [f"{own.requests:,}" for own in each])]
    for title, known in (
        ("prompt, tokens", [own.input_tokens for own in each]),
        ("answer, tokens", [own.output_tokens for own in each]),
        ("turns in a session", [own.sessions.turns if own.sessions else None for own in each]),
        ("pause before a turn, s", [own.sessions.delay_s if own.sessions else None for own in each]),
    ):
        rows.append((f"{title}: mean · p50 · p99", [_lengths(lengths) for lengths in known]))
    arrivals = [own.arrivals for own in each]
    rows += [
        ("arrivals, requests/s", [significant(own.rate) if own else text.MISSING for own in arrivals]),
        (
            "CV of the gaps between arrivals (Poisson: 1)",
            [f"{own.cv:.2f}" if own and own.cv is not None else text.MISSING for own in arrivals],
        ),
        ("largest minute, requests", [f"{own.largest_minute.requests:,}" if own else text.MISSING for own in arrivals]),
        (
            "fixed context, share of the prompt tokens",
            [text.percent(own.shared.fixed) if own.shared else text.MISSING for own in each],
        ),
        (
            "hits in a cache without limits",
            [
                f"{text.percent(own.hit_rate.unbounded)} in blocks of {own.hit_rate.block_tokens}"
                if own.hit_rate
                else text.MISSING
                for own in each
            ],
        ),
        (
            "KV cache for half of these hits, tokens",
            [f"{own.hit_rate.half_at:,}" if own.hit_rate and own.hit_rate.half_at else text.MISSING for own in each],
        ),
        (
            "KV cache for nine tenths, tokens",
            [
                f"{own.hit_rate.ninety_at:,}" if own.hit_rate and own.hit_rate.ninety_at else text.MISSING
                for own in each
            ],
        ),
    ]
    for tokens in _CACHES:
        rows.append(
            (
                f"hits in a KV cache of {tokens:,} tokens",
                [text.percent(_rate_at(own.hit_rate, tokens)) if own.hit_rate else text.MISSING for own in each],
            )
        )
    return [Row(title, cells) for title, cells in rows if set(cells) != {text.MISSING}]


def _lengths(lengths: Lengths | None) -> str:
    if lengths is None:
        return text.MISSING
    return " · ".join(
        f"{value:,.1f}" if value < 100 else f"{value:,.0f}" for value in (lengths.mean, lengths.p50, lengths.p99)
    )


def _rate_at(rates: HitRates, tokens: int) -> float:
    """The hit rate of an LRU cache of that size; the curve ends where nothing more can be found."""
    return next((point.rate for point in reversed(rates.lru) if point.tokens <= tokens), 0.0)
