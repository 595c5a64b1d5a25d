"""The `[slo]` table of a scenario: its keys are objectives from the registry, its values their limits."""

from __future__ import annotations

from collections.abc import Mapping

from tokenswarm.base.numbers import LARGEST, is_sane
from tokenswarm.base.sentences import unknown
from tokenswarm.contract.objectives import parse_slo_key, slo_latencies, slo_rates


def slo_table(table: Mapping[str, object]) -> dict[str, float | dict[str, float]]:
    """The gates of `[slo]`: limits by objective, and such a table for each user class with its own. Raises ValueError
    with the key and what is allowed.
    """
    return {
        key: _of_class(key, value) if isinstance(value, dict) else _bound(key, value)
        for key, value in table.items()
        if value is not None
    }


def _of_class(name: str, table: Mapping[str, object]) -> dict[str, float]:
    """The gates of one Locust user class, such as [slo.RagReader]."""
    if not name.isidentifier():
        raise ValueError(f"[slo.{name}] should be named after a Locust user class, such as [slo.RagReader]")
    return {key: _bound(key, value) for key, value in table.items() if value is not None}


def _bound(key: str, value: object) -> float:
    parsed = parse_slo_key(key)
    if parsed is None:
        examples = [
            *(rate.slo_key for rate in slo_rates()),
            *(latency.percentile_key(q) for latency in slo_latencies() for q in latency.percentiles),
        ]
        raise ValueError(f"{unknown('key', key, examples).split(' (known')[0]} (known: {_allowed()})")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_sane(value) or value < 0:
        raise ValueError(f"{key} is {value!r}, but should be a number of at least 0 (and at most {LARGEST:g})")
    if parsed.unit == "share" and value > 1:
        raise ValueError(f"{key} is {value!r}, but is a share and should be at most 1")
    return float(value)


def _allowed() -> str:
    latencies = "|".join(latency.name for latency in slo_latencies())
    return f"{', '.join(rate.slo_key for rate in slo_rates())} or <{latencies}>_p<1..99, or 999 for 99.9>_ms"
