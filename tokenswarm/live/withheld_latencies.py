"""Withholds live latencies whose timing is too uncertain, by the rule of the report, so that the report need not
retract what was shown."""

from __future__ import annotations

from tokenswarm.contract.limits import share_of_a_token, timing_limit_ms, timing_words
from tokenswarm.contract.metrics import METRICS
from tokenswarm.live.aggregate import TOKENS, UNCERTAINTY, LiveAggregate


def error_bound_ms(tally: LiveAggregate, read_lag_ms: float | None) -> float | None:
    """The error bound of these requests in ms: p99 of their own bounds. Without any (answers that were not streamed):
    how long received bytes waited to be read."""
    known = tally.latencies.get(UNCERTAINTY)
    return read_lag_ms if known is None else known.quantiles([0.99])[0]


def untimed(tally: LiveAggregate, read_lag_ms: float | None) -> dict[str, str]:
    """The live latencies of these requests whose error may be too large, with the reason by key."""
    bound_ms = error_bound_ms(tally, read_lag_ms)
    if bound_ms is None:
        return {}
    tokens = tally.latencies.get(TOKENS)
    share = share_of_a_token(tokens.quantiles([0.5])[0] if tokens is not None else None)
    late = {}
    for latency in METRICS.latencies():
        seen = tally.latencies.get(latency.key)
        if latency.live and seen is not None and (median := seen.quantiles([0.5])[0]) is not None:
            part = share if latency.scale == "token" else 1.0
            error_ms, limit_ms = bound_ms * part, timing_limit_ms(median, part)
            if error_ms > limit_ms:
                late[latency.key] = timing_words(error_ms, limit_ms)
    return late
