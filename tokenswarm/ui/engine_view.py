"""The engine's own figures for the live display, from successive samples of its /metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tokenswarm.live.live_stats import RECENT_S

_GAUGES = ("running", "waiting", "kv_usage")
_MOST_AGE_S = 5.0

Sample = tuple[float, Mapping[str, float | None]]
"""(unix time, values by canonical name; None = unknown)."""


def engine_view(samples: Sequence[Sample], now: float) -> dict[str, object] | None:
    """Gauges as they are, counters as their change over the last RECENT_S; None if there are no recent samples.

    `hit_rate`: share of the prompt tokens looked up in the prefix cache that were found there.
    """
    known = [(at, values) for at, values in samples if any(value is not None for value in values.values())]
    if not known or now - known[-1][0] > _MOST_AGE_S:
        return None
    at, last = known[-1]
    began, first = next(((moment, values) for moment, values in known if moment >= at - RECENT_S), known[-1])
    view: dict[str, object] = {name: last.get(name) for name in _GAUGES}

    def change(name: str) -> float | None:
        before, after = first.get(name), last.get(name)
        # A counter that decreased means that the engine was restarted.
        return None if before is None or after is None or after < before else after - before

    queried, hit, generated = (
        change(name) for name in ("prefix_query_tokens", "prefix_hit_tokens", "generation_tokens")
    )
    view["hit_rate"] = hit / queried if queried and hit is not None else None
    view["generation_tok_s"] = generated / (at - began) if generated is not None and at > began else None
    view["preemptions"] = change("preemptions")
    return view
