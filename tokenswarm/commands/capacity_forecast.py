"""Estimates what a capacity search would take, before anything runs: plays the search's own rule against hypothetical
engines whose capacities are spread around the first load."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tokenswarm.contract.capacity_record import UNITS
from tokenswarm.series.capacity_runs import AROUND_S, BRACKET, FEW, LONGEST_S, SHORTEST_S, Budget

if TYPE_CHECKING:
    from tokenswarm.contract.capacity_record import Capacity
    from tokenswarm.run.run_plan import RunPlan

_TIMES = (0.4, 0.9, 2.5, 6.0, 13.0)
"""Hypothetical capacities, as multiples of the first load."""
_STEEPNESS = 15.0
"""How attainment falls with load: the slope of its log odds over the logarithm of the load."""
_ANSWER_S = 3.0
"""Assumed duration of a request, in seconds."""
_MEASURE_STEPS = 60
_BLOCKS = 40


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a search took against one hypothetical engine."""

    runs: int
    requests: float
    seconds: float


def forecast(record: Capacity, think_s: float, times: float) -> Forecast:
    """Play the search against a hypothetical engine whose capacity is `times` the first load."""
    from tokenswarm.analysis.search.attainment import Blocks
    from tokenswarm.analysis.search.capacity_search import next_step
    from tokenswarm.analysis.search.load_levels import USERS, LoadEvidence, SearchSettings

    settings = SearchSettings(record.start, record.capacity.unit, record.target, record.precision)
    evidence: list[LoadEvidence] = []
    requests = seconds = 0.0
    for _ in range(_MEASURE_STEPS):
        step = next_step(settings, evidence)
        if step.load is None:
            break
        rate = step.load / (think_s + _ANSWER_S) if record.capacity.unit == USERS else step.load
        wanted = min(max(step.requests / rate, SHORTEST_S), LONGEST_S)
        length = min(wanted, max(SHORTEST_S, FEW / rate)) if step.why == BRACKET else wanted
        share = 1.0 / (1.0 + (1.0 - record.target) / record.target * (step.load / record.start / times) ** _STEEPNESS)
        sent = max(1, round(rate * length / _BLOCKS))
        good = tuple(round(sent * share * (place + 1)) - round(sent * share * place) for place in range(_BLOCKS))
        evidence.append(LoadEvidence(step.load, Blocks((sent,) * _BLOCKS, good, (0,) * _BLOCKS)))
        requests, seconds = requests + rate * (length + AROUND_S / 2.0), seconds + length + AROUND_S
    return Forecast(len(evidence), requests, seconds)


def forecast_lines(plan: RunPlan, record: Capacity, budget: Budget) -> Iterator[str]:
    """The plan and its estimate, as lines."""
    from tokenswarm.analysis.render.capacity_words import limits_words, load_words
    from tokenswarm.analysis.wording import duration

    scenario = plan.scenario
    think_s = (scenario.user.think_time_s.mean or 0.0) if scenario.user.think_time_s is not None else 0.0
    unit = UNITS[record.capacity.unit]
    yield (
        f"capacity of {record.engine_called} for {record.scenario}: the highest number of {unit} at which "
        f"{limits_words(record.slo, record.target)} hold, to {record.precision:.0%}, beginning at "
        f"{load_words(record.start)} {unit}"
    )
    for tier in record.tiers:
        yield f"  tier {tier.name}: {limits_words(tier.slo, tier.target)}"
    played = [forecast(record, think_s, times) for times in _TIMES]
    runs, requests, seconds = ([getattr(each, name) for each in played] for name in ("runs", "requests", "seconds"))
    bounds = [
        words
        for words in (
            None if budget.seconds is None else duration(budget.seconds),
            None if budget.requests is None else f"{budget.requests:,} requests",
            None if budget.usd is None else f"${budget.usd:.2f}",
        )
        if words is not None
    ]
    yield (
        f"about {median(runs):.0f} runs ({min(runs)} to {max(runs)}), {_rounded(median(requests))} requests "
        f"({_rounded(min(requests))} to {_rounded(max(requests))}), {duration(median(seconds))} "
        f"({duration(min(seconds))} to {duration(max(seconds))})"
        + (f", cut to the budget of {' and '.join(bounds)}" if bounds else "")
    )
    yield (
        f"  for capacities of {_TIMES[0]:g} to {_TIMES[-1]:g} times {load_words(record.start)} {unit}, where "
        f"attainment falls gradually; a request is taken to last {_ANSWER_S:g} s. Where requests depend on each "
        "other it takes more."
    )
    yield from _money(
        plan, median(requests), median(seconds) if budget.seconds is None else min(budget.seconds, median(seconds))
    )


def _money(plan: RunPlan, requests: float, seconds: float) -> Iterator[str]:
    endpoint, scenario = plan.scenario.endpoint, plan.scenario
    if plan.gpu_hour_usd is not None:
        gpus = plan.gpus_named or 1
        yield f"GPU time: about ${plan.gpu_hour_usd * gpus * seconds / 3600.0:.2f} for {gpus} GPU"
    if endpoint.output_usd_per_million is not None:
        most = requests * scenario.output.max_tokens * endpoint.output_usd_per_million / 1e6
        yield f"answers: at most about ${most:.2f} (output.max_tokens each); prompts come on top"
    if plan.gpu_hour_usd is None and not endpoint.priced:
        yield "money: no price is known (GPU_HOURLY_COST, --gpu-hourly-cost, or prices in [endpoint])"


def _rounded(value: float) -> str:
    """Rounded to two significant digits, since it is an estimate."""
    return f"{float(f'{value:.2g}'):,.0f}"
