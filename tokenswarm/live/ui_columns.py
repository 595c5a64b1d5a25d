"""Which live figures the web UI shows, and how: from the registry of metrics, as plain JSON.

`LiveStats.snapshot` has the values under the same keys.
"""

from __future__ import annotations

from tokenswarm.contract.metric import Latency, Metric, Place
from tokenswarm.contract.metrics import METRICS

_COUNTED = frozenset({"tok/s"})
"""Units shown without decimals."""


def layout() -> dict[str, object]:
    """`columns` of the table of user classes, `tiles` (each {key, title, unit, form, slo}), and the keys of the figures
    that are `charted`. `form`: number, count (no decimals) or percent; `slo`: the key of [slo] that bounds a latency;
    `repeats`: the key of a figure that this one may always equal; it is then left out.
    """
    return {"columns": _entries(Place.TAB), "tiles": _entries(Place.TILE), "charted": charted()}


def charted() -> list[str]:
    """The keys of the figures whose timeline is kept."""
    return [str(entry["key"]) for entry in _entries(Place.CHART)]


def _entries(place: Place) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = []
    for latency in METRICS.latencies_at(place):
        if latency.live:
            entries += _percentiles(latency, place)
    return entries + [_entry(rate, rate.name, rate.at(place).title) for rate in METRICS.rates_at(place) if rate.live]


def _percentiles(latency: Latency, place: Place) -> list[dict[str, object]]:
    """In the table, only the first column of a latency has its name."""
    title = latency.at(place).title
    entries = []
    for position, q in enumerate(latency.shown_percentiles(place)):
        key = latency.percentile_key(q)
        full = place is not Place.TAB or position == 0
        entry = _entry(latency, key, f"{title} p{q:g}" if full else f"p{q:g}", key if latency.slo else None)
        entry["latency"] = latency.key
        other = METRICS.latency(f"{latency.repeats}_ms")
        entries.append(entry | ({} if other is None else {"repeats": other.percentile_key(q)}))
    return entries


def _entry(metric: Metric, key: str, title: str | None, slo: str | None = None) -> dict[str, object]:
    form = "percent" if metric.unit == "share" else "count" if metric.unit in _COUNTED else "number"
    return {"key": key, "title": title, "unit": "" if metric.unit == "share" else metric.unit, "form": form, "slo": slo}
