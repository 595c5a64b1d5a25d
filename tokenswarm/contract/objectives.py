"""What one request must keep to count for goodput, as docs/metrics.md has it: for live figures, one row at a time.

`tokenswarm.analysis.figures.slo` applies the same definitions to whole tables; a test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PERCENTILE_KEY = re.compile(r"([a-z0-9_]+)_p\d+_ms")

LATENCIES = ("ttft_ms", "ttfo_ms", "tpot_ms", "e2e_ms")
"""The latencies of a request that are shown live."""


def request_bounds(slo: Mapping[str, object]) -> dict[str, float]:
    """Per latency the largest bound of its percentiles, in ms, from a scenario's [slo] (not the tables of classes)."""
    bounds: dict[str, float] = {}
    for key, limit in slo.items():
        if isinstance(limit, int | float) and (match := _PERCENTILE_KEY.fullmatch(key)):
            name = f"{match[1]}_ms"
            bounds[name] = max(float(limit), bounds.get(name, 0.0))
    return bounds


def latencies_of(row: Mapping[str, object]) -> dict[str, float]:
    """The latencies of one row (by column name) that were measured, in ms: LATENCIES and, in an open loop, those
    from when it was due."""
    found = {name: row[name] for name in ("ttft_ms", "ttfo_ms", "e2e_ms") if row[name] is not None}
    tokens = row["completion_tokens"]
    if tokens is not None and tokens >= 2 and row["last_token_ms"] is not None and "ttft_ms" in found:
        found["tpot_ms"] = (row["last_token_ms"] - found["ttft_ms"]) / (tokens - 1)
    if row["lateness_ms"] is not None:
        for name in ("ttft_ms", "e2e_ms"):
            if name in found:
                found[f"scheduled_{name}"] = found[name] + row["lateness_ms"]
    return found


def meets(row: Mapping[str, object], found: Mapping[str, float], bounds: Mapping[str, float]) -> bool | None:
    """Whether a request met every bound; None where a latency that was not measured leaves it open.

    A failure meets nothing. TPOT does not apply to an answer of one token; an answer that never came out of reasoning
    missed its TTFO.
    """
    if row["status"] != "ok":
        return False
    unknown = False
    for name, bound in bounds.items():
        value = found.get(name)
        if value is not None:
            if value > bound:
                return False
        elif name == "ttfo_ms" and "ttft_ms" in found:
            return False
        elif not (name == "tpot_ms" and row["completion_tokens"] is not None and row["completion_tokens"] <= 1):
            unknown = True
    return None if unknown else True
