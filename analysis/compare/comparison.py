"""Two groups of runs against each other: figure by figure, then a verdict in a sentence. Works on summaries."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenswarm.analysis.compare.ab_test import Difference, Reading, difference, holm
from tokenswarm.analysis.wording import number, percent, unit_of

from tokenswarm.contract.metric import HIGHER, Latency, percentile_digits
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.summary_record import Summary

_HEADLINE_PERCENTILE = 95


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of a summary that two groups are compared in: how it is had, and which direction is better."""

    key: str
    title: str
    figure_of: Callable[[Summary], Figure | None]
    better: str
    ratio: bool = True
    headline: bool = False
    """Whether the verdict rests on it: chosen before anybody looks, so that one of many figures cannot decide by
    chance."""
    regression: bool = False
    """Whether a baseline gates it."""
    set_by_arrivals: bool = False
    """Whether an open loop's arrivals set it."""
    repeats: str | None = None
    """The key of the figure that it equals in many runs."""


def compared() -> list[Compared]:
    """Every figure that is compared, from the registry of metrics: latencies in their percentiles, then the rest."""
    percentiles = [_percentile(latency, q) for latency in METRICS.latencies() if latency.compared
                   for q in latency.percentiles]
    return percentiles + [Compared(rate.name, rate.title, rate.figure_of, rate.better, rate.ratio, rate.headline,
                                   rate.regression, rate.set_by_arrivals)
                          for rate in METRICS.rates() if rate.compared]


def _percentile(latency: Latency, q: float) -> Compared:
    def figure_of(summary: Summary) -> Figure | None:
        return summary.percentile(latency.key, f"p{percentile_digits(q)}")

    chosen = q == _HEADLINE_PERCENTILE
    other = METRICS.latency(f"{latency.repeats}_ms") if latency.repeats else None
    return Compared(latency.percentile_key(q), f"{latency.title} p{q:g}", figure_of, latency.better, latency.ratio,
                    latency.headline and chosen, latency.regression and chosen, latency.set_by_arrivals,
                    other.percentile_key(q) if other else None)


_LEAST_POINTS = 0.001
"""Shares that differ by less than a tenth of a percentage point are equal to anybody who acts on them."""

BETTER, WORSE, EQUAL, UNKNOWN = "better", "worse", "no difference", "not known"


@dataclass(frozen=True, slots=True)
class Result:
    """One figure of both groups. `state` is B's, against A: better, worse, no difference, or not known (and `why`)."""

    metric: Compared
    unit: str
    state: str
    difference: Difference | None = None
    why: str = ""

    def sentence_part(self) -> str:
        """`TTFT p95 0.62 times (0.58 to 0.66)`, or a difference in points."""
        difference = self.difference
        if difference.ratio:
            return f"{self.metric.title} {difference.change:.3g} times ({difference.low:.3g} to {difference.high:.3g})"
        points = (100 * difference.change, 100 * difference.low, 100 * difference.high)
        return "{} {:+.2f} points ({:+.2f} to {:+.2f})".format(self.metric.title, *points)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the headline figures say together. `winner` is "a", "b", or None for no difference, mixed or not known."""

    winner: str | None
    sentence: str
    repeated: bool


def compare(a: Sequence[Summary], b: Sequence[Summary]) -> list[Result]:
    """Every figure of `compared` that a run of either group has: B against A."""
    results = list(_results(a, b))
    by_key = {result.metric.key: result for result in results}
    return [result for result in results if not _repeats_another(result, by_key)]


def _repeats_another(result: Result, by_key: Mapping[str, Result]) -> bool:
    """Without reasoning TTFO is TTFT. The same figure twice is no more evidence."""
    other = by_key.get(result.metric.repeats) if result.metric.repeats else None
    if other is None:
        return False
    return result.difference == other.difference if result.difference is not None else result.why == other.why


def _results(a: Sequence[Summary], b: Sequence[Summary]) -> Iterator[Result]:
    for metric in compared():
        figures = [[metric.figure_of(summary) or Figure() for summary in group] for group in (a, b)]
        known = [[figure for figure in group if figure.value is not None] for group in figures]
        if not any(known):
            continue
        if all(figure.value == 0 for group in known for figure in group) and metric.ratio:
            continue
        unit = next(figure for group in known for figure in group).unit
        lacking = [len(group) - len(measured) for group, measured in zip(figures, known, strict=True)]
        if any(lacking):
            side = "AB"[0 if lacking[0] else 1]
            why = next((figure.why for group in figures for figure in group if figure.value is None and figure.why),
                       "not measured")
            yield Result(metric, unit, UNKNOWN, why=f"not known of {max(lacking)} runs of {side}: {why}")
            continue
        result = difference(*([_reading(figure) for figure in group] for group in known), ratio=metric.ratio)
        if result is None:
            yield Result(metric, unit, UNKNOWN, why="too little is known of chance in these runs")
        else:
            yield Result(metric, unit, _state(metric, result), result)


def _reading(figure: Figure) -> Reading:
    return Reading(float(figure.value), *figure.ends)


def _state(metric: Compared, difference: Difference) -> str:
    if not difference.significant or (not difference.ratio and abs(difference.change) < _LEAST_POINTS):
        return EQUAL
    rises = difference.change > (1.0 if difference.ratio else 0.0)
    return BETTER if rises == (metric.better == HIGHER) else WORSE


def judge(results: Sequence[Result], label_a: str, label_b: str, open_loop: bool = False) -> Verdict:
    """The verdict over the headline figures, at 5% for all of them together (Holm).

    In an open loop the arrivals set the throughput, so that it decides nothing there.
    """
    headline = {metric.key: metric.title for metric in compared()
                if metric.headline and not (open_loop and metric.set_by_arrivals)}
    chosen = list(headline)
    decisive = [result for result in results if result.metric.key in chosen and result.difference is not None]
    missing = [key for key in chosen if key not in {result.metric.key for result in decisive}]
    if not decisive:
        return Verdict(None, "No verdict: none of the figures that it would rest on is known of both sides.", False)
    kept = holm([result.difference.p for result in decisive])
    sure = [result for result, keep in zip(decisive, kept, strict=True) if keep]
    repeated = all(result.difference.repeated for result in decisive)
    good, bad = ([result for result in sure if result.state == state] for state in (BETTER, WORSE))
    if good and bad:
        sentence = (f"Mixed: {label_b} is better in {_parts(good)}, {label_a} in {_names(bad)} "
                    f"({label_b} has {_parts(bad)}).")
        winner = None
    elif good or bad:
        winner = "b" if good else "a"
        best, rest = (label_b, label_a) if good else (label_a, label_b)
        equal = [result for result in decisive if result not in sure]
        sentence = f"{best} is better than {rest}: {label_b} has {_parts(good or bad)} of {label_a}'s"
        sentence += f"; no difference in {_names(equal)}." if equal else "."
    else:
        winner = None
        sentence = (f"No difference between {label_a} and {label_b} was found in {_names(decisive)}: "
                    f"{label_b} has {_parts(decisive)} of {label_a}'s.")
    if missing:
        sentence += f" Not known: {', '.join(headline[key] for key in missing)}."
    return Verdict(winner, sentence, repeated)


def _parts(results: Sequence[Result]) -> str:
    return ", ".join(result.sentence_part() for result in results)


def _names(results: Sequence[Result]) -> str:
    return ", ".join(result.metric.title for result in results)


def shown(value: float, unit: str) -> str:
    """A value with its unit, as tables show it."""
    return percent(value) if unit == "share" else f"{number(value)} {unit_of(unit)}".strip()


def as_dict(result: Result) -> dict[str, Any]:
    """A result as comparison.json has it."""
    base = {"key": result.metric.key, "title": result.metric.title, "unit": result.unit,
            "better": result.metric.better, "state": result.state, "headline": result.metric.headline}
    difference = result.difference
    if difference is None:
        return base | {"why": result.why}
    least, most = (0.0, 1.0) if result.unit == "share" else (-math.inf, math.inf)  # t knows no bounds
    sides = {name: {"value": side.value, "ci95": [max(least, side.low), min(most, side.high)], "runs": list(side.runs)}
             for name, side in (("a", difference.a), ("b", difference.b))}
    kind = "ratio" if difference.ratio else "difference"
    return base | sides | {kind: {"value": difference.change, "ci95": [difference.low, difference.high]},
                           "p": difference.p, "run_to_run_covered": difference.repeated}
