"""The figures of several workloads, side by side: a row a figure, a cell a workload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.traffic.profile import HitRates, Lengths, TrafficProfile

from tokenswarm.base.numbers import significant


class Row(NamedTuple):
    """A figure by its title, and its value in each workload."""

    title: str
    cells: list[str]


Named = tuple[str, TrafficProfile]
_CACHES = (100_000, 1_000_000)
"""Sizes of a KV cache, in tokens, at which hits are shown: about one GPU with a large and with a small model."""


def profile_rows(profiles: Sequence[Named]) -> list[Row]:
    """The table of figures: a row a figure, a cell a workload; what nobody knows is a dash."""
    each = [profile for _, profile in profiles]
    rows: list[tuple[str, list[str]]] = [("requests", [f"{one.requests:,}" for one in each])]
    for title, known in (
        ("prompt, tokens", [one.input_tokens for one in each]),
        ("answer, tokens", [one.output_tokens for one in each]),
        ("turns in a session", [one.sessions.turns if one.sessions else None for one in each]),
        ("pause before a turn, s", [one.sessions.delay_s if one.sessions else None for one in each]),
    ):
        rows.append((f"{title}: mean, p50, p99", [_lengths(lengths) for lengths in known]))
    arrivals = [one.arrivals for one in each]
    rows += [
        ("arrivals, requests/s", [significant(one.rate) if one else text.MISSING for one in arrivals]),
        (
            "CV of the gaps between arrivals (Poisson: 1)",
            [f"{one.cv:.2f}" if one and one.cv is not None else text.MISSING for one in arrivals],
        ),
        ("largest minute, requests", [f"{one.largest_minute.requests:,}" if one else text.MISSING for one in arrivals]),
        (
            "fixed context, share of the prompt tokens",
            [text.percent(one.shared.fixed) if one.shared else text.MISSING for one in each],
        ),
        (
            "hits in a cache without limits",
            [
                f"{text.percent(one.hit_rate.unbounded)} in blocks of {one.hit_rate.block_tokens}"
                if one.hit_rate
                else text.MISSING
                for one in each
            ],
        ),
        (
            "KV cache for half of these hits, tokens",
            [f"{one.hit_rate.half_at:,}" if one.hit_rate and one.hit_rate.half_at else text.MISSING for one in each],
        ),
        (
            "KV cache for nine tenths, tokens",
            [
                f"{one.hit_rate.ninety_at:,}" if one.hit_rate and one.hit_rate.ninety_at else text.MISSING
                for one in each
            ],
        ),
    ]
    for tokens in _CACHES:
        rows.append(
            (
                f"hits in a KV cache of {tokens:,} tokens",
                [text.percent(_rate_at(one.hit_rate, tokens)) if one.hit_rate else text.MISSING for one in each],
            )
        )
    return [Row(title, cells) for title, cells in rows if set(cells) != {text.MISSING}]


def _lengths(lengths: Lengths | None) -> str:
    if lengths is None:
        return text.MISSING
    return ", ".join(
        f"{value:,.1f}" if value < 100 else f"{value:,.0f}" for value in (lengths.mean, lengths.p50, lengths.p99)
    )


def _rate_at(rates: HitRates, tokens: int) -> float:
    """What an LRU cache of that size finds; the curve ends where nothing more can be found."""
    return next((point.rate for point in reversed(rates.lru) if point.tokens <= tokens), 0.0)
