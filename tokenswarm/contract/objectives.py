"""Defines the keys of a scenario's [slo], and the bounds that a request must meet to count for goodput
(docs/metrics.md).

The scenario, the live figures and the analysis read the keys here. Which request conforms is told here one row at a
time; `tokenswarm.analysis.figures.slo` applies the same definitions to whole tables, and a test holds the two against
each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tokenswarm.contract.manifest import Manifest
from tokenswarm.contract.metric import LOWER, Latency, Metric, Place, Rate, Row
from tokenswarm.contract.metrics import METRICS

_PERCENTILE_KEY = re.compile(r"(?P<name>[a-z0-9_]+)_p(?P<digits>[1-9]\d?(?:\.\d{1,3})?|9\d{2,4})_ms")


@dataclass(frozen=True, slots=True)
class SloKey:
    """A key of [slo]: which figure it bounds, and from which side (`op`: <= or >=). `percentile` is of latencies."""

    key: str
    metric: Metric
    op: str
    percentile: float | None = None

    @property
    def unit(self) -> str:
        return self.metric.unit

    @property
    def title(self) -> str:
        """How people write it: `TTFT p95`, `Error rate`."""
        name = self.metric.at(Place.GATE).title or self.metric.title
        return f"{name} p{self.percentile:g}" if self.percentile is not None else name


def parse_slo_key(key: str) -> SloKey | None:
    """Parse a key of [slo]; None if there is no such key.

    `<latency>_p<percentile>_ms` bounds a percentile: two digits are whole percent, three and more are decimals (`p999`
    = `p99.9`). A rate or share has its own name, with `_min` where more of it is better.
    """
    for rate in slo_rates():
        if key == rate.slo_key:
            return SloKey(key, rate, "<=" if rate.better == LOWER else ">=")
    match = _PERCENTILE_KEY.fullmatch(key)
    if match is None:
        return None
    latency = METRICS.latency(f"{match['name']}_ms")
    if latency is None or not latency.slo:
        return None
    digits = match["digits"]
    percentile = float(digits if len(digits) <= 2 or "." in digits else f"{digits[:2]}.{digits[2:]}")
    return SloKey(key, latency, "<=" if latency.better == LOWER else ">=", percentile)


def slo_rates() -> list[Rate]:
    """The rates and shares that [slo] may bound, in the order in which they are named."""

    def rank(rate: Rate) -> float:
        chosen = rate.at(Place.GATE).rank
        return math.inf if chosen is None else chosen

    return sorted((each for each in METRICS.rates() if each.slo), key=rank)


def slo_latencies() -> list[Latency]:
    """The latencies whose percentiles [slo] may bound."""
    return [each for each in METRICS.latencies() if each.slo]


@dataclass(frozen=True, slots=True)
class Objective:
    """One parsed line of [slo]."""

    parsed: SloKey
    limit: float

    @property
    def key(self) -> str:
        return self.parsed.key

    @property
    def op(self) -> str:
        return self.parsed.op

    @property
    def unit(self) -> str:
        return self.parsed.unit

    @property
    def metric(self) -> str | None:
        """The key of the latency that it bounds (`ttft_ms`); None of a rate or share."""
        return self.parsed.metric.key if isinstance(self.parsed.metric, Latency) else None

    @property
    def percentile(self) -> float | None:
        """Of a latency."""
        return self.parsed.percentile


def parse_objectives(table: object) -> tuple[list[Objective], list[tuple[str, str]]]:
    """The objectives of an [slo] table that hold for all requests, and (key, why) for each line that is none."""
    objectives: list[Objective] = []
    refused: list[tuple[str, str]] = []
    for key, limit in (table if isinstance(table, Mapping) else {}).items():
        if limit is None or isinstance(limit, Mapping):
            continue
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not math.isfinite(limit):
            refused.append((str(key), "its limit is not a number"))
        elif (parsed := parse_slo_key(str(key))) is not None:
            objectives.append(Objective(parsed, float(limit)))
        else:
            refused.append((str(key), "this objective is not known"))
    return objectives, refused


def request_bounds(objectives: Iterable[Objective]) -> dict[str, float]:
    """What a single request must keep to count for goodput: per latency, the largest bound of its percentiles, in ms.

    With p50 <= 200 and p99 <= 900 a request of 500 ms is part of meeting both, so it counts as good.
    """
    bounds: dict[str, float] = {}
    for objective in objectives:
        if objective.metric:
            bounds[objective.metric] = max(objective.limit, bounds.get(objective.metric, 0.0))
    return bounds


def bounds_of(slo: object) -> dict[str, float]:
    """`request_bounds` of an [slo] table, apart from its tables of classes."""
    return request_bounds(parse_objectives(slo)[0])


@dataclass(frozen=True, slots=True)
class RequestBounds:
    """What a single request must keep to count for goodput, by its user class: per latency the largest bound, in ms.
    `default`: of every class that has no scenario, and so no [slo], of its own."""

    default: Mapping[str, float] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, user_class: object) -> Mapping[str, float]:
        """The bounds for requests of one class."""
        return self.classes.get(user_class, self.default) if isinstance(user_class, str) else self.default

    def bounded(self, user_classes: Iterable[object]) -> bool:
        """Whether all of these classes have bounds: else good requests cannot be told over all of them. Of no class:
        whether there are bounds for any other."""
        return all(self.of(name) for name in set(user_classes) or {None})

    def flat(self, user_classes: Iterable[object]) -> dict[str, float]:
        """The bounds of these classes as one table: where they differ, by `<class>.<latency>`."""
        of_each = {name: dict(self.of(name)) for name in sorted(map(str, set(user_classes)))}
        if len({tuple(sorted(bounds.items())) for bounds in of_each.values()}) < 2:
            return next(iter(of_each.values()), dict(self.default))
        return {f"{name}.{key}": limit for name, bounds in of_each.items() for key, limit in bounds.items()}


def bounds_of_run(manifest: Manifest) -> RequestBounds:
    """What the requests of a run must keep: each class by its own scenario, every other by the leading one."""
    return RequestBounds(
        bounds_of(manifest.scenario.table("slo")),
        {name: bounds_of(own.table("slo")) for name, own in manifest.classes.items()},
    )


def latencies_of(row: Row) -> dict[str, float]:
    """The latencies of one row (by column name) that are shown live and were measured, in ms."""
    measured = {}
    for key, of_row in METRICS.live_latencies:
        value = of_row(row)
        if value is not None:
            measured[key] = value
    return measured


def meets(row: Mapping[str, object], measured: Mapping[str, float], bounds: Mapping[str, float]) -> bool | None:
    """Whether a request met every bound; None where a latency that was not measured leaves it open. `measured`: what
    `latencies_of` gave.

    A failed request meets no bound. What a latency that a success does not have means is the metric's own to say: TPOT
    does not apply to an answer of one token; an answer that never came out of reasoning missed its TTFO.
    """
    if row["status"] != "ok":
        return False
    unknown = False
    for key, bound in bounds.items():
        value = measured.get(key)
        if value is None:
            latency = METRICS.latency(key)
            value = latency.of_row(row) if latency is not None else None
            if value is None:
                applies = latency.absent(row) if latency is not None else None
                if applies is False:
                    return False
                unknown |= applies is None
                continue
        if value > bound:
            return False
    return None if unknown else True
