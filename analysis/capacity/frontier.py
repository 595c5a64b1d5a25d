"""The figures of a capacity's levels for charts: throughput against per-user speed, latency and cost by load.

The runs of a level are pooled: percentiles over all of their requests (never a mean of percentiles), rates weighted by
their measured time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.cost import cost_figures
from tokenswarm.analysis.figures.quantities import is_ok, latency_of
from tokenswarm.analysis.figures.statistics import Estimate, percentiles
from tokenswarm.analysis.read.run_folder import Run, read_run

from tokenswarm.contract.capacity_record import (
    COST,
    E2E,
    ENERGY,
    OUTPUT,
    TTFT,
    USER_SPEED,
    Capacity,
    CapacityLevel,
)
from tokenswarm.contract.metric import Latency
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.summary_file import read_summary
from tokenswarm.contract.summary.summary_record import Summary

_SIDEWAYS = ("limited",)
"""States of levels that say nothing about the engine."""


def add_frontier(record: Capacity, folder: Path) -> None:
    """Put figures into each level of the record, and mark the dominated levels and the knee. Raises UserError if a run
    cannot be read.
    """
    for level in record.levels:
        level.figures = {} if level.state in _SIDEWAYS else _figures(record, [folder / run for run in level.run])
    for level in record.levels:
        level.dominated = any(dominates(other, level) for other in record.levels)
    record.knee = knee(record.levels)


def dominates(level: CapacityLevel, other: CapacityLevel) -> bool:
    """Whether `level` is certainly better on one axis of the frontier and not certainly worse on the other. A level
    that certainly fails its limits never dominates one that does not.
    """
    axes = [(level.figures.get(name), other.figures.get(name)) for name in (USER_SPEED, OUTPUT)]
    if level is other or (level.state == "fail" and other.state != "fail"):
        return False
    if any(mine is None or his is None or not mine.ci95 or not his.ci95 for mine, his in axes):
        return False
    better = [_surely_above(mine, his) for mine, his in axes]
    worse = [_surely_above(his, mine) for mine, his in axes]
    return any(better) and not any(worse)


def _surely_above(figure: Figure | None, other: Figure | None) -> bool:
    low, high = (figure or Figure()).ends[0], (other or Figure()).ends[1]
    return low is not None and high is not None and low > high


def knee(levels: Sequence[CapacityLevel]) -> float | None:
    """The load with the highest power, throughput over response time (Kleinrock, ICC 1979): beyond it, latency grows
    faster than throughput.

    None if the highest is at either end of the measured loads, since the knee may lie beyond.
    """
    power = []
    for level in levels:
        output, e2e = (level.figures.get(name, Figure()).value for name in (OUTPUT, E2E))
        if output and e2e:
            power.append((output / e2e, level.load))
    best = max(power, default=None)
    if best is None or best[1] in (power[0][1], power[-1][1]):
        return None
    return best[1]


def _figures(record: Capacity, folders: Sequence[Path]) -> dict[str, Figure]:
    runs, summaries = [read_run(folder) for folder in folders], [read_summary(folder) for folder in folders]
    sound = [
        (run, summary)
        for run, summary in zip(runs, summaries, strict=True)
        if run.manifest.validity is None or run.manifest.validity.verdict in ("VALID", "OVERLOADED")
    ]
    runs, summaries = [run for run, _ in sound] or runs, [summary for _, summary in sound] or summaries
    rows = pd.concat([run.measured for run in runs], ignore_index=True)
    output = _pooled_rate(summaries)
    gpus = record.gpus or 1
    per_gpu = [None if value is None else value / gpus for value in (output.value, *output.ends)]
    shown = {
        OUTPUT: Estimate(per_gpu[0], per_gpu[1], per_gpu[2], output.n, output.why).figure("tok/s"),
        TTFT: _percentile(runs, rows, "ttft_ms", 95.0, _withheld(summaries, "ttft_ms", "p95")),
        E2E: _percentile(runs, rows, "e2e_ms", 50.0, _withheld(summaries, "e2e_ms", "p50")),
        USER_SPEED: _inverse(_percentile(runs, rows, "tpot_ms", 50.0, _withheld(summaries, "tpot_ms", "p50"))),
        ENERGY: _pooled_energy(summaries),
    }
    cost = cost_figures(record.gpu_hour_usd, gpus, {"output_tok_s": output})
    return shown | ({COST: cost.per_million_output_tokens} if cost is not None else {})


def _pooled_rate(summaries: Sequence[Summary]) -> Figure:
    """Output tokens/s over the measured time of all runs, with the interval of a weighted mean of independent rates."""
    rates = [
        (summary.rates.get("output_tok_s") or Figure(), float(summary.run.window.seconds or 0.0))
        for summary in summaries
    ]
    known = [(figure, seconds) for figure, seconds in rates if figure.value is not None and seconds > 0]
    if not known:
        return Figure(unit="tok/s", why=next((figure.why for figure, _ in rates if figure.why), "not measured"))
    total = sum(seconds for _, seconds in known)
    value = sum(float(figure.value or 0.0) * seconds for figure, seconds in known) / total
    ends = _pooled_ends(value, [(figure.ends, seconds / total) for figure, seconds in known])
    return Figure(value, "tok/s", sum(figure.n for figure, _ in known), ends)


def _pooled_energy(summaries: Sequence[Summary]) -> Figure:
    """Joules of all runs over their output tokens. The interval is that of a weighted mean of independent figures."""
    known = []
    for summary in summaries:
        energy = summary.energy
        joules, each = energy.joules.value, energy.per_output_token
        if joules is not None and each.value:
            known.append((each, float(joules) / float(each.value)))
    if not known:
        whys = (summary.energy.why or summary.energy.per_output_token.why for summary in summaries)
        return Figure(unit="J", why=next((why for why in whys if why), "not measured"))
    total = sum(tokens for _, tokens in known)
    value = sum(float(each.value or 0.0) * tokens for each, tokens in known) / total
    return Figure(value, "J", len(known), _pooled_ends(value, [(each.ends, tokens / total) for each, tokens in known]))


def _pooled_ends(
    value: float, parts: Sequence[tuple[tuple[float | None, float | None], float]]
) -> list[float | None] | None:
    """The interval of a weighted mean of independent figures, from their intervals and weights."""
    if any(low is None or high is None for (low, high), _ in parts):
        return None
    half = math.sqrt(sum(((float(high or 0) - float(low or 0)) / 2.0 * weight) ** 2 for (low, high), weight in parts))
    return [max(0.0, value - half), value + half]


def _withheld(summaries: Sequence[Summary], key: str, name: str) -> str | None:
    """Why a run of the level does not report this latency; None if all do."""
    figures = [summary.percentile(key, name) for summary in summaries]
    return next((figure.why or "not measured" for figure in figures if figure.value is None), None)


def _percentile(runs: Sequence[Run], rows: pd.DataFrame, key: str, q: float, why: str | None) -> Figure:
    latency = METRICS[key.removesuffix("_ms")]
    assert isinstance(latency, Latency)
    if why is not None:
        return Figure(unit="ms", why=why)
    values = np.where(is_ok(rows), latency_of(latency, rows), np.nan)
    return percentiles(values, (q,))[q].figure("ms")


def _inverse(figure: Figure) -> Figure:
    """Tokens per second from milliseconds per token."""
    if not figure.value:
        return Figure(unit="tok/s", n=figure.n, why=figure.why)
    low, high = (None if end is None or end <= 0 else 1e3 / end for end in reversed(figure.ends))
    return Figure(1e3 / figure.value, "tok/s", figure.n, None if low is None and high is None else [low, high])
