"""Aggregates requests in constant memory: each load-generating process counts its own and sends the counts to the
process that directs the run, which adds them up.

Latencies are kept as counts in the logarithmic bins of a DDSketch (Masson, Rim, Lee 2019), so percentiles are within
RELATIVE_ERROR of the true order statistic, however many processes and seconds were added up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import Any

from ddsketch import DDSketch
from ddsketch.mapping import LogarithmicMapping

from tokenswarm.contract.metric import STANDARD_SUMS, Row
from tokenswarm.contract.metric_families.formulas import hit_rate
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import latencies_of, meets
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import STATUSES

RELATIVE_ERROR = 0.01
_BINS = LogarithmicMapping(RELATIVE_ERROR)
_LEAST = 1e-3
"""A microsecond, in ms; smaller values go into its bin."""
_value_of = cache(_BINS.value)  # there are only a few hundred bins
UNCERTAINTY, TOKENS = "ttft_uncertainty_ms", "tokens"
"""Kept like latencies: the error bound of each request, and the output tokens of answers with at least two."""


@dataclass(slots=True)
class LatencySketch:
    """Counts of durations (ms) by bin, and their sum."""

    bins: Counter[int] = field(default_factory=Counter)
    total: float = 0.0

    @property
    def count(self) -> int:
        return self.bins.total()

    def add(self, value: float) -> None:
        self.bins[_BINS.key(max(value, _LEAST))] += 1
        self.total += value

    def merge(self, other: LatencySketch) -> None:
        self.bins.update(other.bins)
        self.total += other.total

    def quantiles(self, shares: Iterable[float]) -> list[float | None]:
        """The values at these shares (0 to 1), each within RELATIVE_ERROR of an order statistic; None if there are no
        values."""
        sketch = DDSketch(RELATIVE_ERROR)
        for key, count in self.bins.items():
            sketch.add(_BINS.value(key), count)
        return [sketch.get_quantile_value(share) for share in shares]

    def at_most(self, bounds: Iterable[float]) -> list[int]:
        """How many values are at or below each of these ascending bounds. Values within RELATIVE_ERROR of a bound may
        count on either side."""
        rising = list(bounds)
        between = [0] * (len(rising) + 1)
        for key, count in self.bins.items():
            between[bisect_left(rising, _value_of(key))] += count
        return list(accumulate(between[:-1]))


@dataclass(slots=True)
class LiveAggregate:
    """Requests of one user class and phase. `counts`: the sums in STANDARD_SUMS and those of live metrics, by name;
    `errors`: counts by kind; `latencies`: sketches by key.
    """

    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies: dict[str, LatencySketch] = field(default_factory=dict)

    def merge(self, other: LiveAggregate) -> None:
        self.counts.update(other.counts)
        self.errors.update(other.errors)
        for name, distribution in other.latencies.items():
            self._sketch(name).merge(distribution)

    def add(self, row: Row, bounds: Mapping[str, float], timeline: Timeline) -> None:
        """Add one row of requests.csv (by column name)."""
        counts, measured = self.counts, latencies_of(row)
        counts[row["status"]] += 1
        if row["error"]:
            self.errors[row["error"]] += 1
        if row["status"] == "ok":
            for name, value in measured.items():
                self._sketch(name).add(value)
            if (row["completion_tokens"] or 0) >= 2:
                self._sketch(TOKENS).add(row["completion_tokens"])
        if row[UNCERTAINTY] is not None:
            self._sketch(UNCERTAINTY).add(row[UNCERTAINTY])
        met = meets(row, measured, bounds)
        counts["good"] += met is True
        counts["undetermined"] += met is None
        prompt, cached, output = row["prompt_tokens"], row["cached_tokens"], row["completion_tokens"]
        counts["prompt_tokens"] += prompt or 0
        counts["completion_tokens"] += output or 0
        if prompt is not None and row["status"] == "ok":
            counts["prompts_of_ok"] += prompt
            if cached is not None:
                counts["cached_tokens"] += cached
                counts["prompt_tokens_with_cache_info"] += prompt
                counts["explicit_zero_hits"] += cached == 0
        for name, of_row in METRICS.own_sums:
            counts[name] += of_row(row) or 0  # type: ignore[assignment]  # counts may be floats too
        self._add_to_window(row, timeline, met is True)

    def _sketch(self, name: str) -> LatencySketch:
        sketch = self.latencies.get(name)
        if sketch is None:  # not setdefault, which would make a new sketch for every request
            sketch = self.latencies[name] = LatencySketch()
        return sketch

    def _add_to_window(self, row: Row, timeline: Timeline, good: bool) -> None:
        """Add tokens and answers that arrived in the window; docs/metrics.md says how tokens are spread over time."""
        sent, first, e2e = row["sent_at"], row["ttft_ms"], row["e2e_ms"]
        last = e2e if row["last_token_ms"] is None else row["last_token_ms"]
        begin, end = timeline.measure_start, timeline.measure_end
        if last is not None and row["completion_tokens"]:
            at_once = first is None or row["completion_tokens"] <= 1
            start_s, end_s = sent + (last if at_once else first) / 1e3, sent + last / 1e3
            share = (
                max(0.0, min(end_s, end) - max(start_s, begin)) / (end_s - start_s)
                if end_s > start_s
                else float(begin <= end_s < end)
            )
            self.counts["window_output"] += share * row["completion_tokens"]
        arrived = e2e if first is None else first
        if arrived is not None and row["prompt_tokens"] and begin <= sent + arrived / 1e3 < end:
            self.counts["window_prompt"] += row["prompt_tokens"]
        if row["status"] == "ok" and e2e is not None and begin <= sent + e2e / 1e3 < end:
            self.counts["window_done"] += 1
            self.counts["window_good"] += good

    def sums(self, seconds: float, bounded: bool, **instead: float) -> dict[str, float]:
        """The input of metrics (`contract.metric.Sums`): these counts over a period of `seconds`, with those in
        `instead` replaced. `bounded`: whether the scenario defines a good request."""
        names = (*STANDARD_SUMS, *(name for name, _ in METRICS.own_sums))
        sums = {name: self.counts[name] for name in names} | instead | {"seconds": seconds}
        if not bounded:
            del sums["good"], sums["window_good"]
        return sums

    @property
    def hit_rate(self) -> float | None:
        """Share of prompt tokens that were cached, by the usage in the answers (`formulas.hit_rate`)."""
        return hit_rate(self.counts)

    @property
    def requests(self) -> int:
        return sum(self.counts[status] for status in STATUSES)


Key = tuple[str, str]
"""(phase, user class)."""


@dataclass(slots=True)
class Delta:
    """Everything since the last report. `warmup`: (unix time of its end, TTFT in ms, cached prompt tokens, prompt
    tokens, E2E in ms) of each successful answer of the warm-up. For answers that were not streamed, TTFT is the E2E
    latency. `health`: this process's latest row of host_metrics.csv."""

    tallies: dict[Key, LiveAggregate] = field(default_factory=dict)
    warmup: list[tuple[float, float, int | None, int | None, float]] = field(default_factory=list)
    health: dict[str, Any] | None = None

    def add(self, row: Row, bounds: Mapping[str, float], timeline: Timeline) -> None:
        """Take in one row of requests.csv (by column name)."""
        key = (row["phase"], row["user_class"])
        if key not in self.tallies:
            self.tallies[key] = LiveAggregate()
        self.tallies[key].add(row, bounds, timeline)
        if row["phase"] == "warmup" and row["status"] == "ok" and row["e2e_ms"] is not None:
            ttft_ms = row["e2e_ms"] if row["ttft_ms"] is None else row["ttft_ms"]
            self.warmup.append(
                (
                    row["sent_at"] + row["e2e_ms"] / 1e3,
                    ttft_ms,
                    row["cached_tokens"],
                    row["prompt_tokens"],
                    row["e2e_ms"],
                )
            )

    def packed(self) -> dict[str, object]:
        """As plain values for a message. The size is bounded by the number of bins, classes and error kinds (and, in
        the warm-up, by the answers of half a second)."""
        return {
            "tallies": [
                [
                    *key,
                    dict(tally.counts),
                    dict(tally.errors),
                    {name: [list(d.bins), list(d.bins.values()), d.total] for name, d in tally.latencies.items()},
                ]
                for key, tally in self.tallies.items()
            ],
            "warmup": self.warmup,
            "health": self.health,
        }

    @classmethod
    def unpacked(cls, data: Mapping[str, Any]) -> Delta:
        """The inverse of `packed`."""
        tallies = {
            (phase, user_class): LiveAggregate(
                Counter(counts),
                Counter(errors),
                {
                    name: LatencySketch(Counter(dict(zip(keys, values, strict=True))), total)
                    for name, (keys, values, total) in latencies.items()
                },
            )
            for phase, user_class, counts, errors, latencies in data["tallies"]
        }
        return cls(tallies, [tuple(pair) for pair in data["warmup"]], data["health"])
