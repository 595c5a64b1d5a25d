"""Defines a metric, one record with all that the rest of tokenswarm needs to know about it, and the registry of
metrics.

The entries stand in `tokenswarm/contract/metric_families/`, and `tokenswarm.contract.metrics` has them all. Nothing
here knows numpy, pandas, gevent or a run: formulae are pure functions of one row or of sums over rows, so that the live
side and the analysis share them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.tables import REQUEST_COLUMNS, names

Row = Mapping[str, Any]
"""One row of requests.csv by column name; None = not measured."""
Sums = Mapping[str, float]
"""Amounts over a stretch of a run: those of STANDARD_SUMS, a metric's own (`Rate.sums`), and `seconds`, its length."""

LOWER: Final = "lower"
HIGHER: Final = "higher"
Better = Literal["lower", "higher"]

STANDARD_SUMS: Mapping[str, str] = {
    "ok": "requests that succeeded",
    "failed": "requests that failed",
    "cancelled": "requests that were under way when the run ended",
    "good": "requests that met every objective that bounds a request; absent where the scenario has no such",
    "undetermined": "requests for which this is not known",
    "prompt_tokens": "prompt tokens",
    "prompts_of_ok": "prompt tokens of successes",
    "cached_tokens": "of them, found in the prefix cache, as the answers tell it",
    "prompt_tokens_with_cache_info": "prompt tokens of successes that say how many were cached",
    "explicit_zero_hits": "successes that say 0 were cached",
    "completion_tokens": "output tokens",
    "window_output": "output tokens that arrived inside the window, whatever the phase of their request",
    "window_prompt": "prompt tokens whose first output token came inside the window",
    "window_done": "answers that ended well inside the window",
    "window_good": "of them, those that met every objective that bounds a request; absent as `good` is",
}
"""What every metric may be made of. Of requests that were sent in the measure phase, unless it says otherwise."""

WINDOW_SUMS = ("window_output", "window_prompt", "window_done", "window_good")
"""Standard sums counted by when something arrived, not by when it was sent."""

TABLE_PERCENTILES = (50, 95, 99)
"""What the columns of a table of latencies show; every latency has them."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Place(StrEnum):
    """Where a metric is shown under a title, or in an order, of its own."""

    GATE = "gate"
    TABLE = "table"
    """The dashboard's tables of latencies, and of rates and shares."""
    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    CARD = "card"
    CURVES = "curves"
    """Distributions that a comparison draws."""
    PROMETHEUS = "prometheus"
    TAB = "tab"
    """Columns of the tab LLM of the web UI."""
    TILE = "tile"
    CHART = "chart"
    """The time line behind that tab's charts."""
    TIME = "time"
    """The dashboard's charts over time, beside that of the main latency."""
    DRIFT = "drift"
    """Series checked for drift in a long run."""
    CLASSES = "classes"
    """Columns of the dashboard's table of user classes."""


NOWHERE: frozenset[Place] = frozenset()
NOT_IN_TAB = frozenset({Place.TABLE, Place.TERMINAL})
TABLES = NOT_IN_TAB | {Place.TAB}
"""Where entries stand as they are, beyond the places for which they have words: `Metric.usually`."""

_USUAL_PERCENTILES: Mapping[Place, tuple[float, ...]] = {
    Place.TIME: TABLE_PERCENTILES,
    Place.DRIFT: (95,),
    Place.CLASSES: (95,),
}
"""Percentiles shown in places with little space."""


@dataclass(frozen=True, slots=True)
class Label:
    """How a metric is shown in one place; None means the metric's own value. `rank`: its order there (None: in the
    order of the registry, after those that have one). `percentiles`: which of them are shown there."""

    title: str | None = None
    note: str | None = None
    rank: float | None = None
    percentiles: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The common part of a latency and a rate."""

    name: str
    title: str
    unit: str
    """ms, tok/s, req/s, task/s, share (0..1), $ or "" (a number of its own)."""
    better: Better
    meaning: str
    """A few words beside the figure."""
    formula: str
    source: str = ""
    """Where the formula comes from, or what in the run it is taken from."""
    notes: str = ""
    """Additional notes for docs/metrics.md."""
    columns: tuple[str, ...] = ()
    """Columns of requests.csv that it needs; its functions of a row see no other."""
    slo: bool = True
    """Whether a scenario's [slo] may bound it."""
    live: bool = True
    """Whether it is shown while a run goes on."""
    compared: bool = True
    """Whether comparisons of two groups of runs include it."""
    headline: bool = False
    """Whether a comparison's verdict depends on it (on the p95 of a latency)."""
    regression: bool = False
    """Whether a baseline gates it (the p95 of a latency)."""
    set_by_arrivals: bool = False
    """Whether arrivals determine it in an open loop, so that it says nothing about the engine there."""
    ratio: bool = True
    """Whether a difference is shown as a ratio; otherwise in points."""
    places: Mapping[Place, Label] = field(default_factory=dict)
    usually: frozenset[Place] = frozenset(
        {Place.TABLE, Place.TERMINAL, Place.MARKDOWN, Place.TAB, Place.TIME, Place.DRIFT, Place.CLASSES}
    )
    """Places where it stands beyond those named in `places`."""

    def at(self, place: Place) -> Label:
        """How it stands in a place, with this metric's own words where the place has none."""
        label = self.places.get(place, Label())
        return Label(
            self.title if label.title is None else label.title,
            self.meaning if label.note is None else label.note,
            label.rank,
            label.percentiles,
        )

    def stands_in(self, place: Place) -> bool:
        return place in self.places or place in self.usually


def not_known(row: Row) -> bool | None:
    """What most latencies mean where they were not measured: nothing can be told."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Metric):
    """A duration of each request, in ms, of which percentiles are taken over the successes of the measure phase."""

    of_row: Callable[[Row], float | None]
    """The value of one request; None = not measured, or none that there could be."""
    absent: Callable[[Row], bool | None] = not_known
    """What a success without a value means for a bound: True = it does not apply, False = missed, None = not known."""
    percentiles: tuple[float, ...] = TABLE_PERCENTILES
    """TABLE_PERCENTILES, and more where summary.json, comparisons and live figures should have more."""
    unit: str = "ms"
    better: Better = LOWER
    scale: Literal["answer", "token"] = "answer"
    """Whether it is about as long as an answer or as a token: which histogram buckets suit it."""
    always_shown: bool = False
    """Whether summary.json includes it even if it was not measured."""
    repeats: str | None = None
    """A latency that it equals in many runs; it is then shown only once."""

    @property
    def key(self) -> str:
        """Its name in summary.json and as a column: `ttft_ms`."""
        return f"{self.name}_ms"

    def percentile_key(self, q: float) -> str:
        """The name of one of its percentiles: `ttft_p95_ms`; of 99.9 `ttft_p999_ms`."""
        return f"{self.name}_p{percentile_digits(q)}_ms"

    def shown_percentiles(self, place: Place) -> tuple[float, ...]:
        chosen = self.at(place).percentiles
        usual = _USUAL_PERCENTILES.get(place, self.percentiles)
        return usual if chosen is None else chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate(Metric):
    """A rate or share of a whole stretch of a run: one number, without percentiles."""

    of_sums: Callable[[Sums], float | None] | None = None
    """Its value from the sums over a stretch; None = cannot be told. Without it, it is none that is shown live."""
    sums: Mapping[str, Callable[[Row], float | None]] = field(default_factory=dict)
    """Sums of its own beyond STANDARD_SUMS: what each request of the measure phase adds (None = nothing)."""
    stored: Callable[[Summary | LevelFigures], Figure | None] | None = None
    """Where a summary, or one of its load levels, has its figure; by itself in `rates`, by its name."""
    of_objectives: bool = False
    """Whether it tells something only where an objective bounds single requests."""
    gauge: bool = True
    """Whether Prometheus gets its value; else it is to be had there from counters."""

    def figure_of(self, summary: Summary | LevelFigures) -> Figure | None:
        """Its figure in a summary, or of one of its load levels; None where there is none."""
        return summary.rates.get(self.name) if self.stored is None else self.stored(summary)

    @property
    def slo_key(self) -> str:
        """Its key in [slo]: its name where it is bounded above, else with `_min`."""
        return self.name if self.better == LOWER else f"{self.name}_min"


def percentile_digits(q: float) -> str:
    """How a percentile is written in a name: 95 -> 95, 99.9 -> 999."""
    return f"{q:g}".replace(".", "")


class Registry:
    """Metrics by name, in display order."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics: dict[str, Metric] = {}
        self.live_latencies: tuple[tuple[str, Callable[[Row], float | None]], ...] = ()
        """(key, function of a row) of each latency that is shown live; kept ready, since each answer asks for it."""
        self.own_sums: tuple[tuple[str, Callable[[Row], float | None]], ...] = ()
        """(name, function of a row) of each sum that a live rate has of its own."""
        for metric in metrics:
            self.register(metric)

    def register(self, metric: Metric) -> Metric:
        """Add a metric.

        Raises ValueError where its name or that of a sum of its own is taken or cannot be one, where it needs a column
        that requests.csv does not have, or where a latency lacks a percentile that tables show.
        """
        if not _NAME.fullmatch(metric.name):
            raise ValueError(f"a metric's name is {metric.name!r}, but should be of small letters, digits and _")
        taken = {*self._metrics, *STANDARD_SUMS, "seconds", *(name for rate in self.rates() for name in rate.sums)}
        for name in (metric.name, *(metric.sums if isinstance(metric, Rate) else ())):
            if name in taken:
                raise ValueError(f"{name!r} is known already: a metric and a sum need a name of their own")
        unknown = set(metric.columns) - set(names(REQUEST_COLUMNS))
        if unknown:
            raise ValueError(f"{metric.name!r} needs columns that requests.csv does not have: {sorted(unknown)}")
        if isinstance(metric, Latency) and not set(TABLE_PERCENTILES) <= set(metric.percentiles):
            raise ValueError(f"the percentiles of {metric.name!r} should include {TABLE_PERCENTILES}")
        self._metrics[metric.name] = metric
        self._made_ready()
        return metric

    def remove(self, name: str) -> None:
        """Remove a metric. Raises KeyError for an unknown name."""
        del self._metrics[name]
        self._made_ready()

    @contextmanager
    def registered(self, metric: Metric) -> Iterator[Metric]:
        """The registry with this metric, for as long as the block lasts."""
        self.register(metric)
        try:
            yield metric
        finally:
            self.remove(metric.name)

    def _made_ready(self) -> None:
        self.live_latencies = tuple((each.key, each.of_row) for each in self.latencies() if each.live)
        self.own_sums = tuple(item for each in self.rates() if each.live for item in each.sums.items())

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._metrics.values())

    def __getitem__(self, name: str) -> Metric:
        return self._metrics[name]

    def __contains__(self, name: str) -> bool:
        return name in self._metrics

    def latencies(self) -> list[Latency]:
        return [each for each in self._metrics.values() if isinstance(each, Latency)]

    def rates(self) -> list[Rate]:
        return [each for each in self._metrics.values() if isinstance(each, Rate)]

    def latency(self, key: str) -> Latency | None:
        """The latency of that key (`ttft_ms`)."""
        metric = self._metrics.get(key.removesuffix("_ms")) if key.endswith("_ms") else None
        return metric if isinstance(metric, Latency) else None

    def latencies_at(self, place: Place) -> list[Latency]:
        """The latencies that stand in a place, in their order there."""
        return [each for each in self._ranked(place) if isinstance(each, Latency)]

    def rates_at(self, place: Place) -> list[Rate]:
        """The rates and shares that stand in a place, in their order there."""
        return [each for each in self._ranked(place) if isinstance(each, Rate)]

    def _ranked(self, place: Place) -> list[Metric]:
        def rank(metric: Metric) -> float:
            chosen = metric.at(place).rank
            return float("inf") if chosen is None else chosen

        return sorted((each for each in self if each.stands_in(place)), key=rank)
