"""Two groups of runs compared figure by figure, then a verdict in one sentence. Works on summaries."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tokenswarm.analysis.compare.ab_test import USUAL_RULES, Difference, Reading, Rules, difference, holm
from tokenswarm.analysis.wording import number, percent, points, unit_of

from tokenswarm.contract.metric import HIGHER, Latency, percentile_digits
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.summary_record import Summary

_HEADLINE_PERCENTILE = 95


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure that two groups are compared by: how to read it from a summary, and which direction is better."""

    key: str
    title: str
    figure_of: Callable[[Summary], Figure | None]
    better: str
    ratio: bool = True
    headline: bool = False
    """Whether the verdict rests on it: chosen in advance, so that one of many figures cannot decide by chance."""
    regression: bool = False
    """Whether a baseline has a gate for it."""
    set_by_arrivals: bool = False
    """Whether an open loop's arrivals set it."""
    repeats: str | None = None
    """The key of the figure that it equals in many runs."""


def compared() -> list[Compared]:
    """Every figure that is compared, from the registry of metrics: latencies by percentile, then the rest."""
    percentiles = [
        _percentile(latency, q) for latency in METRICS.latencies() if latency.compared for q in latency.percentiles
    ]
    return percentiles + [
        Compared(
            rate.name,
            rate.title,
            rate.figure_of,
            rate.better,
            rate.ratio,
            rate.headline,
            rate.regression,
            rate.set_by_arrivals,
        )
        for rate in METRICS.rates()
        if rate.compared
    ]


def _percentile(latency: Latency, q: float) -> Compared:
    def figure_of(summary: Summary) -> Figure | None:
        return summary.percentile(latency.key, f"p{percentile_digits(q)}")

    chosen = q == _HEADLINE_PERCENTILE
    other = METRICS.latency(f"{latency.repeats}_ms") if latency.repeats else None
    return Compared(
        latency.percentile_key(q),
        f"{latency.title} p{q:g}",
        figure_of,
        latency.better,
        latency.ratio,
        latency.headline and chosen,
        latency.regression and chosen,
        latency.set_by_arrivals,
        other.percentile_key(q) if other else None,
    )


_IS_PLURAL = re.compile(r"(\w+ )?(tokens|Tokens|Answers|Tasks)\b")
_LEAST_POINTS = 0.001
"""Shares that certainly differ, but by less than a tenth of a percentage point, count as equal."""

SINGLE_RUNS = "with a single run of each, the spread between repeats is unknown"

BETTER, WORSE, EQUAL, UNDECIDED, UNKNOWN = "better", "worse", "equal", "undecided", "not known"


def _ratio_words(difference: Difference, of: str = "") -> str:
    """`0.620 times (0.580 to 0.660)`; with `whose`, `0.620 times A's (...)`."""
    whose = f" {of}'s" if of else ""
    return f"{number(difference.change)} times{whose} ({number(difference.low)} to {number(difference.high)})"


@dataclass(frozen=True, slots=True)
class Result:
    """One figure of both groups. `state` of B against A: better, worse, equal (within the margin), undecided, or not
    known (see `why`).
    """

    metric: Compared
    unit: str
    state: str
    difference: Difference | None = None
    why: str = ""
    rules: Rules = USUAL_RULES
    corrected: bool = False
    """Whether it is undecided only because of the number of figures: alone it would count as different."""

    @property
    def known(self) -> Difference:
        """The difference. Raises ValueError if it is not known."""
        if self.difference is None:
            raise ValueError(f"{self.metric.title}: {self.why}")
        return self.difference

    def sentence_part(self) -> str:
        """`TTFT p95 0.62 times (0.58 to 0.66)`, or a difference in points."""
        difference = self.difference
        if difference is None:
            return self.metric.title
        if difference.ratio:
            return f"{self.metric.title} {_ratio_words(difference)}"
        change, low, high = map(points, (difference.change, difference.low, difference.high))
        return f"{self.metric.title} {change} points ({low} to {high})"

    def compared_words(self, label_a: str, label_b: str) -> str:
        """`B's TTFT p95 is 2.26 times A's (1.96 to 2.60)`; of shares `B's error rate is 1.2 points above A's (...)`."""
        difference = self.difference
        if difference is None:
            return f"{self.metric.title} is not known"
        verb = "are" if _IS_PLURAL.match(self.metric.title) else "is"
        subject = f"{label_b}'s {self.metric.title} {verb}"
        if difference.ratio:
            return f"{subject} {_ratio_words(difference, label_a)}"
        way = "above" if difference.change >= 0 else "below"
        return (
            f"{subject} {number(100 * abs(difference.change))} points {way} {label_a}'s "
            f"({points(difference.low)} to {points(difference.high)})"
        )

    def repeats_words(self) -> str:
        """`about 12 pairs would tell`, for an undecided result; empty if unknown."""
        difference = self.difference
        if difference is None or difference.spread is None:
            return ""
        needed, unit = self.repeats_needed, "pairs" if difference.paired else "runs of each side"
        have = min(len(difference.a.runs), len(difference.b.runs))
        if needed is None:
            return f"more than 1,000 {unit} would tell" if difference.spread > 0 else ""
        more = max(needed - have, 1)
        return f"about {more} more {unit if more > 1 else unit.replace('s', '', 1)} would tell"

    @property
    def repeats_needed(self) -> int | None:
        """Pairs, or runs of each side, that would decide; None if unknown."""
        return self.difference.repeats_needed(self.rules.margin, self.rules.points) if self.difference else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the headline figures say together. `winner` is "a", "b", or None for equal, undecided, mixed or not
    known.
    """

    winner: str | None
    sentence: str
    repeated: bool
    settled: bool = False
    """Whether each headline figure is known, and either different or equal."""


def compare(a: Sequence[Summary], b: Sequence[Summary], rules: Rules = USUAL_RULES) -> list[Result]:
    """Every figure of `compared` that a run of either group has: B against A.

    Runs that form pairs (`in_pairs`) are tested as pairs. The many figures outside the headline are corrected together:
    at most one in twenty comparisons of equal sides shows a difference among them (Holm). If `rules` say that the
    series may end after each pair, A's runs must be in the order in which they were made.
    """
    pairs = in_pairs(a, b)
    results = list(_results(*(pairs or (a, b)), paired=pairs is not None, rules=rules))
    by_key = {result.metric.key: result for result in results}
    return _corrected([result for result in results if not _repeats_another(result, by_key)])


def in_pairs(a: Sequence[Summary], b: Sequence[Summary]) -> tuple[list[Summary], list[Summary]] | None:
    """The runs of both sides that form pairs by seed, in A's order; a run without a partner is dropped.

    None if they do not form pairs: a side uses a seed twice, or most runs have no partner.
    """
    seeds = [[summary.run.seed for summary in group] for group in (a, b)]
    if any(None in side or len(set(side)) < len(side) for side in seeds):
        return None
    both = [seed for seed in seeds[0] if seed in seeds[1]]
    if len(both) < 2 or 2 * len(both) <= max(map(len, seeds)):
        return None
    return [a[seeds[0].index(seed)] for seed in both], [b[seeds[1].index(seed)] for seed in both]


def _corrected(results: list[Result]) -> list[Result]:
    further = [
        result
        for result in results
        if result.state in (BETTER, WORSE, UNDECIDED, EQUAL)
        and result.difference is not None
        and not result.metric.headline
    ]
    kept = {
        id(result): keep
        for result, keep in zip(
            further, holm([result.difference.p for result in further if result.difference]), strict=True
        )
    }
    return [
        replace(result, state=UNDECIDED, corrected=True)
        if result.state in (BETTER, WORSE) and not kept.get(id(result), True)
        else result
        for result in results
    ]


def _repeats_another(result: Result, by_key: Mapping[str, Result]) -> bool:
    """Whether TTFO equals TTFT (no reasoning): the same figure twice is no additional evidence."""
    other = by_key.get(result.metric.repeats) if result.metric.repeats else None
    if other is None:
        return False
    return result.difference == other.difference if result.difference is not None else result.why == other.why


def _results(a: Sequence[Summary], b: Sequence[Summary], *, paired: bool, rules: Rules) -> Iterator[Result]:
    look, spread = rules.look(min(len(a), len(b))), rules.run_spread
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
            why = next(
                (figure.why for group in figures for figure in group if figure.value is None and figure.why),
                "not measured",
            )
            yield Result(metric, unit, UNKNOWN, why=f"not known of {max(lacking)} runs of {side}: {why}")
            continue
        result = difference(
            *([_reading(figure) for figure in group] for group in known),
            ratio=metric.ratio,
            paired=paired,
            run_spread=spread if metric.ratio else None,
            look=look,
        )
        if result is None:
            yield Result(metric, unit, UNKNOWN, why="too few runs, or too few requests, for an interval")
        elif len(a) == len(b) == 1 and (spread is None or not metric.ratio):
            yield Result(metric, unit, UNDECIDED, result, SINGLE_RUNS)
        else:
            yield Result(metric, unit, state_of(metric, result, rules), result, rules=rules)


def _reading(figure: Figure) -> Reading:
    return Reading(float(figure.value or 0.0), *figure.ends)


def state_of(metric: Compared, difference: Difference, rules: Rules) -> str:
    """EQUAL, UNDECIDED, BETTER or WORSE: B against A in one figure."""
    if difference.is_equal(rules.margin, rules.points):
        return EQUAL
    if not difference.significant:
        return UNDECIDED
    if not difference.ratio and abs(difference.change) < _LEAST_POINTS:
        return EQUAL
    rises = difference.change > (1.0 if difference.ratio else 0.0)
    return BETTER if rises == (metric.better == HIGHER) else WORSE


def judge(
    results: Sequence[Result], label_a: str, label_b: str, open_loop: bool = False, rules: Rules = USUAL_RULES
) -> Verdict:
    """The verdict over the headline figures, at 5% for all of them together (Holm).

    In an open loop throughput is not used, because the arrivals set it.
    """
    margin = rules.margin_words
    headline = {
        metric.key: metric.title
        for metric in compared()
        if metric.headline and not (open_loop and metric.set_by_arrivals)
    }
    chosen = list(headline)
    decisive = [result for result in results if result.metric.key in chosen and result.difference is not None]
    missing = [key for key in chosen if key not in {result.metric.key for result in decisive}]
    if not decisive:
        return Verdict(None, "No verdict: none of the figures that it would rest on is known of both sides.", False)
    kept = holm([result.difference.p for result in decisive if result.difference])
    sure = [result for result, keep in zip(decisive, kept, strict=True) if keep and result.state in (BETTER, WORSE)]
    repeated = all(result.difference.repeated for result in decisive if result.difference)
    good, bad = ([result for result in sure if result.state == state] for state in (BETTER, WORSE))
    equal = [result for result in decisive if result.state == EQUAL]
    open_ones = [result for result in decisive if result not in sure and result not in equal]
    winner = None if bool(good) == bool(bad) else "b" if good else "a"
    if winner:
        head = f"{label_b if good else label_a} is better"
    elif good:
        head = f"Mixed: {label_b} is better in {_names(good)}, {label_a} in {_names(bad)}"
    elif open_ones:
        head = f"Undecided between {label_a} and {label_b}"
    else:
        head = f"{label_a} and {label_b} are equal within {margin}"
    phrases = [result.compared_words(label_a, label_b) for result in (sure or open_ones or equal)]
    sentence = f"{head}: {'; '.join(phrases)}."
    if equal and (sure or open_ones):
        sentence += f" Equal within {margin}: {_names(equal)}."
    if open_ones:
        sentence += _undecided_words(open_ones, bool(sure))
    if missing:
        sentence += f" Not known: {', '.join(headline[key] for key in missing)}."
    return Verdict(winner, sentence, repeated, settled=not open_ones and not missing)


def _undecided_words(results: Sequence[Result], name_them: bool) -> str:
    """What is undecided, why, and how many more repeats would decide it."""
    single = results[0].why == SINGLE_RUNS
    why = f" {SINGLE_RUNS[0].upper()}{SINGLE_RUNS[1:]}: repeat both." if single else ""
    more = [f"{result.metric.title}: {result.repeats_words()}" for result in results if result.repeats_words()]
    named = f" Undecided: {_names(results)}." if name_them else ""
    return named + (f" {'; '.join(more)}." if more and not single else "") + why


def _names(results: Sequence[Result]) -> str:
    return ", ".join(result.metric.title for result in results)


def shown(value: float, unit: str) -> str:
    """A value with its unit, as tables show it."""
    return percent(value) if unit == "share" else f"{number(value)} {unit_of(unit)}".strip()


def as_dict(result: Result) -> dict[str, object]:
    """A result as comparison.json records it."""
    base = {
        "key": result.metric.key,
        "title": result.metric.title,
        "unit": result.unit,
        "better": result.metric.better,
        "state": result.state,
        "headline": result.metric.headline,
    }
    difference = result.difference
    if difference is None:
        return base | {"why": result.why}
    least, most = (0.0, 1.0) if result.unit == "share" else (-math.inf, math.inf)  # t ignores the bounds
    sides = {
        name: {"value": side.value, "ci95": [max(least, side.low), min(most, side.high)], "runs": list(side.runs)}
        for name, side in (("a", difference.a), ("b", difference.b))
    }
    kind = "ratio" if difference.ratio else "difference"
    return (
        base
        | sides
        | {
            kind: {"value": difference.change, "ci95": [difference.low, difference.high]},
            "p": difference.p,
            "wilcoxon_p": difference.wilcoxon_p,
            "run_to_run_covered": difference.repeated,
            "paired": difference.paired,
            "repeats_needed": result.repeats_needed if result.state == UNDECIDED else None,
        }
    )
