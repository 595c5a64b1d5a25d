"""What overload of the engine does to a run: the reason, and the withheld figures."""

from __future__ import annotations

from dataclasses import replace

from tokenswarm.analysis.verdict.facts import Facts
from tokenswarm.analysis.verdict.outcome import OVERLOADED
from tokenswarm.analysis.verdict.spoilt import withhold, withhold_steady_part

from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import Reason
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.time_records import KeepingUp

RULE = "overloaded"
WHY, _AT_LEVEL = "the engine was overloaded", "overloaded"
_OF_LATENCIES = ("goodput_rps", "attainment", "per_user_tok_s", "per_user_tok_s_low")
"""Figures that are counted by limits of latencies, or are 1 over one."""


def reasons_of(keeping: KeepingUp) -> list[Reason]:
    """One reason, if the engine did not keep up."""
    if not keeping.overloaded:
        return []
    return [Reason(RULE, OVERLOADED, keeping.completed_s, keeping.offered_s, "req/s", present(keeping.sentence))]


def without_held_arrivals(facts: Facts, overloaded: bool) -> Facts:
    """The facts without the lateness of arrivals that load.max_in_flight delayed because the engine did not keep up.

    That is the engine's doing, and the run is called OVERLOADED for it.
    """
    if not overloaded or not (facts.held_back or facts.unsent):
        return facts
    return replace(facts, lateness_p99_ms=None, unsent=None)


def withhold_latency(summary: Summary, level: LevelFigures | None = None) -> None:
    """Remove every latency, and counts based on latency limits: they depend on how long the run was.

    Throughput stays. With `level`, only of that level.
    """
    withhold(
        summary,
        [*(latency.name for latency in METRICS.latencies()), *_OF_LATENCIES],
        WHY if level is None else _AT_LEVEL,
        level,
    )
    if level is not None:
        return
    withhold_steady_part(summary, [latency.name for latency in METRICS.latencies()], WHY)
    summary.steady_part.latency = {}
    for each in summary.user_classes.values():
        each.goodput_rps, each.attainment = (
            Figure(unit=figure.unit, n=figure.n, why=WHY) for figure in (each.goodput_rps, each.attainment)
        )
