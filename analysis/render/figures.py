"""Selects the figures of a summary for a place, by the registry of metrics."""

from __future__ import annotations

from collections.abc import Mapping

from tokenswarm.contract.metric import Place, Rate
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.summary_record import Summary


def rate_figures(summary: Summary, place: Place) -> list[tuple[Rate, Figure]]:
    """The measured rates and shares for a place, in its order.

    Goodput and attainment are left out without an objective that bounds a request, because every success would be good.
    """
    bounded = bool(summary.goodput.bounds)
    figures = [(rate, rate.figure_of(summary)) for rate in METRICS.rates_at(place) if bounded or not rate.of_objectives]
    return [(rate, figure) for rate, figure in figures if figure is not None and figure.value is not None]


def shown_latencies(by_key: Mapping[str, Mapping[str, Figure]]) -> dict[str, Mapping[str, Figure]]:
    """The measured latencies, by key, except those whose figures all equal another's: without reasoning TTFO is
    TTFT.
    """

    def repeats(key: str) -> bool:
        latency = METRICS.latency(key)
        return (
            latency is not None and latency.repeats is not None and by_key[key] == by_key.get(f"{latency.repeats}_ms")
        )

    return {key: figures for key, figures in by_key.items() if figures["p50"].n and not repeats(key)}


def latency_title(key: str) -> str:
    """The title of the latency with that key; the key itself if it is not registered here."""
    latency = METRICS.latency(key)
    return key if latency is None else latency.title
