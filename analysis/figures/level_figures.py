"""The figures of each load level of a run, and what remains of the run's own figures if it had several levels."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures import quantities as metrics
from tokenswarm.analysis.figures import slo
from tokenswarm.analysis.figures.cost import cost_figures
from tokenswarm.analysis.figures.rates import every_rate
from tokenswarm.analysis.figures.run_levels import LoadLevel
from tokenswarm.analysis.figures.task_figures import task_figures
from tokenswarm.analysis.figures.timing import TimingError
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.manifest import CostRecord, Reason
from tokenswarm.contract.objectives import RequestBounds
from tokenswarm.contract.summary.engine_records import ServerMeans, ServerTtft
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.request_records import Errors
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.time_records import KeepingUp
from tokenswarm.contract.summary.verdict_records import SloGate


def level_figures(
    run: Run, level: LoadLevel, bounds: RequestBounds, measured_from: float, keeping: KeepingUp
) -> LevelFigures:
    """One level's figures. `measured_from`: start of the run's measure window, unix seconds."""
    rows, window, record = level.rows, level.window, level.record
    rates = every_rate(run.requests, rows, window, bounds)
    cost = run.manifest.cost or CostRecord()
    return LevelFigures(
        number=record.number,
        began=record.began,
        users=record.users,
        users_end=record.users_end,
        rate=record.rate,
        rate_end=record.rate_end,
        at_s=round(window.start - measured_from, 6),
        seconds=round(window.seconds, 6),
        counts=metrics.outcome_counts(rows),
        latency=metrics.latency_figures(rows),
        gaps=metrics.gap_figures(rows),
        rates=rates,
        per_user_tok_s=metrics.per_user_rate(rows),
        goodput=slo.goodput_figures(rows, bounds, window),
        errors=Errors(metrics.error_rate(rows).figure("share")),
        valid_output=metrics.valid_output(rows).figure("share"),
        tasks=task_figures(rows, window),
        cache=metrics.cache_figures(run, rows, window),
        server=metrics.server_view(run, rows, window),
        cost=cost_figures(cost.gpu_hour_usd, cost.gpus, rates),
        keeping_up=keeping,
    )


def of_level(gate: SloGate, level: LevelFigures) -> SloGate:
    """A gate as that of a level."""
    return replace(
        gate, key=f"level{level.number}.{gate.key}", title=f"{text.level_name(level)}: {gate.title}", level=level.number
    )


def level_reasons(levels: list[LevelFigures]) -> list[Reason]:
    """What makes a run worse than its totals show: a level in which no request succeeded."""
    return [
        Reason(
            "level_successes",
            "NO_SUCCESS",
            value=0,
            limit=None,
            unit="",
            sentence=f"{text.level_name(level)}: none of its {level.counts.sent:,} requests succeeded.",
        )
        for level in levels
        if level.counts.sent and not level.counts.ok
    ]


def spoilt_at_level(error: TimingError, level: LevelFigures, because: str) -> Reason:
    """A reason against the run: a latency of a level whose error is too large. `because`: the cause, and what helps."""
    return Reason(
        "level_timing",
        "INVALID",
        value=error.error_ms,
        limit=error.limit_ms,
        unit="ms",
        sentence=(
            f"{text.level_name(level)}: {error.title} may be off by {error.error_ms:.1f} ms "
            f"(limit {error.limit_ms:.1f} ms): the load generator read answers late. {because}"
        ),
    )


def overloaded_at_level(level: LevelFigures) -> Reason:
    """A reason against the run: an engine that did not keep up with the arrivals of a level."""
    kept = level.keeping_up
    return Reason(
        "level_overloaded",
        "OVERLOADED",
        value=kept.completed_s,
        limit=kept.offered_s,
        unit="req/s",
        sentence=f"{text.level_name(level)}: {kept.sentence}",
    )


def level_notes(levels: list[LoadLevel], figures: list[LevelFigures]) -> list[str]:
    """The notes of each level, with its name."""
    return [
        f"{text.level_name(each)}: {note}"
        for level, each in zip(levels, figures, strict=True)
        for note in (
            [] if each.keeping_up.overloaded else [*metrics.wave_notes(level.rows), *lost_time(each.keeping_up)]
        )
    ]


def lost_time(keeping: KeepingUp) -> list[str]:
    """What Little's law says about a closed loop that loses time between requests."""
    law = keeping.littles_law
    return [law.sentence] if law is not None and law.sentence else []


def withheld(summary: Summary, levels: list[LevelFigures]) -> Summary:
    """The summary of a run with several levels: a figure that depends on the load has no value, and says why.

    Kept are counts, kinds of errors, tokens, checked answers, and what a cache could have found.
    """
    why = f"the run had {len(levels)} load levels, so one figure would be about none of them: see levels"

    def none(figure: Figure) -> Figure:
        return Figure(unit=figure.unit, n=figure.n, why=why)

    def nones(figures: dict[str, Figure]) -> dict[str, Figure]:
        return {name: none(figure) for name, figure in figures.items()}

    goodput, server = summary.goodput, summary.server
    return replace(
        summary,
        levels=levels,
        latency={key: nones(figures) for key, figures in summary.latency.items()},
        gaps=nones(summary.gaps),
        rates=nones(summary.rates),
        per_user_tok_s=nones(summary.per_user_tok_s),
        goodput=replace(goodput, goodput_rps=none(goodput.goodput_rps), attainment=none(goodput.attainment)),
        errors=replace(summary.errors, rate=none(summary.errors.rate)),
        cost=None,
        server=ServerMeans(none(server.server_ttft_mean_ms), none(server.client_ttft_mean_ms)),
        server_ttft=ServerTtft(),
        server_latency={},
        drift={},
        user_classes={},
    )


def at_level(summary: Summary, level: LevelFigures) -> Summary:
    """The summary of one level as if it had been a run, so that levels can be compared like runs."""
    return replace(
        summary,
        levels=[],
        latency=level.latency,
        gaps=level.gaps,
        rates=level.rates,
        per_user_tok_s=level.per_user_tok_s,
        goodput=level.goodput,
        errors=replace(summary.errors, rate=level.errors.rate),
        cost=level.cost,
        server=level.server,
        counts=replace(summary.counts, measured=level.counts),
    )


def same_loads(first: Summary, second: Summary) -> bool:
    """Whether two runs went through the same load levels in the same order."""
    loads = [
        [(level.users, level.users_end, level.rate, level.rate_end) for level in each.levels]
        for each in (first, second)
    ]
    return loads[0] == loads[1]


def rising(levels: list[LevelFigures]) -> bool:
    """Whether each level asked for more than the previous one."""
    loads = [level.load for level in levels]
    return None not in loads and bool(np.all(np.diff(np.array(loads, dtype=float)) > 0))
