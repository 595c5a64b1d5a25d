"""Requests that waited for an answer until the run ended: their latencies are only known to be longer.

A percentile of the received answers is that of all requests only if few waited longer. If far more waited far longer,
the engine left them hanging, and the answers flatter it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.plausibility import FIRST_TOKENS, Contradiction
from tokenswarm.analysis.figures.quantities import has_status, is_ok
from tokenswarm.analysis.figures.window import Window, ended_at

FAR_LONGER = 2.0
"""Multiple of a percentile. Hardly any answer merely in flight at the end of the run has waited this long."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """A point in an answer that requests may wait for in vain."""

    rule: str
    column: str
    metrics: frozenset[str]
    words: str


_MOMENTS = (
    _Moment("never_begun", "ttft_ms", FIRST_TOKENS, "no first token"),
    _Moment("never_ended", "e2e_ms", frozenset({"e2e", "scheduled_e2e"}), "no whole answer"),
)


def unanswered(
    everything: pd.DataFrame, window: Window | None, judged: Collection[tuple[str, float]]
) -> list[Contradiction]:
    """What the requests cancelled at the end of the run do to the percentiles that the run is judged by.

    `everything`: requests of all phases, because users may hang since the warm-up. `judged`: names of metrics, each
    with a percentile (0..100).
    """
    if window is None or not len(everything):
        return []
    ended = max(window.end, float(np.nanmax(ended_at(everything))))
    begun = (everything["sent_at"] < window.end).to_numpy()
    cut = everything[begun & has_status(everything, "cancelled")]
    ok = everything[(everything["phase"] == "measure").to_numpy() & is_ok(everything)]
    reasons = []
    for moment in _MOMENTS:
        waiting = cut[cut[moment.column].isna()]
        waited_ms = 1e3 * (ended - waiting["sent_at"].to_numpy())
        percentiles = {percentile for name, percentile in judged if name in moment.metrics}
        reasons += _far_longer(moment, waited_ms, ok[moment.column].dropna().to_numpy(), percentiles)
    return reasons


def _far_longer(
    moment: _Moment, waited_ms: np.ndarray, known_ms: np.ndarray, percentiles: Collection[float]
) -> list[Contradiction]:
    """At most one contradiction: for the highest percentile that cannot be that of all requests."""
    for percentile in sorted(percentiles, reverse=True):
        least = FAR_LONGER * float(np.percentile(known_ms, percentile)) if len(known_ms) else 0.0
        longer = waited_ms[waited_ms > least]
        most = (1.0 - percentile / 100.0) * (len(known_ms) + len(longer))
        if not len(longer) or len(longer) <= most:
            continue
        sentence = (
            f"{len(longer):,} requests still had {moment.words} when the run ended, after {longer.min() / 1e3:,.3g} s "
            f"or longer, and {len(known_ms):,} had: the p{percentile:g} of those is not that of all. Find out why the "
            "engine leaves requests waiting (its log, its health); if answers take that long, run longer or raise "
            "load.drain_s."
        )
        return [Contradiction(moment.rule, moment.metrics, sentence, float(len(longer)), most)]
    return []
