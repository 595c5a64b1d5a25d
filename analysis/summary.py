"""A run's figures: summary.json (described in docs/results.md)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from msgspec.structs import replace
from tokenswarm.analysis.cache import yardstick as cache
from tokenswarm.analysis.figures import quantities as metrics
from tokenswarm.analysis.figures import server_view, slo
from tokenswarm.analysis.figures.adapter_figures import adapters_of
from tokenswarm.analysis.figures.constrained_answers import constraint_uses
from tokenswarm.analysis.figures.control_arm import control_arm
from tokenswarm.analysis.figures.cost import cost_figures
from tokenswarm.analysis.figures.drift_series import drift_figures
from tokenswarm.analysis.figures.energy import energy_of, without
from tokenswarm.analysis.figures.finish_reasons import cut_notes, finish_reasons
from tokenswarm.analysis.figures.gpu_states import gpu_states
from tokenswarm.analysis.figures.interference import interference_of
from tokenswarm.analysis.figures.keeping_up import littles_law, overload_of
from tokenswarm.analysis.figures.level_figures import (
    level_figures,
    level_notes,
    level_reasons,
    lost_time,
    of_level,
    overloaded_at_level,
    spoilt_at_level,
    withheld,
)
from tokenswarm.analysis.figures.mix_shares import mix_note, mix_shares
from tokenswarm.analysis.figures.outages import outage_figures
from tokenswarm.analysis.figures.rates import every_rate
from tokenswarm.analysis.figures.run_levels import LoadLevel, load_levels
from tokenswarm.analysis.figures.speculation import speculation_of
from tokenswarm.analysis.figures.statistics import Estimate, share
from tokenswarm.analysis.figures.steady_part import LOAD_CHANGED, steady_part
from tokenswarm.analysis.figures.task_figures import task_figures
from tokenswarm.analysis.figures.timing import TimingError, timing_errors
from tokenswarm.analysis.figures.window import Window, find_window
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.traffic.fidelity import fidelity_of
from tokenswarm.analysis.verdict import validity
from tokenswarm.analysis.verdict.facts import Facts, error_bound_ms, gather, worker_samples
from tokenswarm.analysis.verdict.gates import judged
from tokenswarm.analysis.verdict.overloaded import reasons_of, withhold_latency, without_held_arrivals
from tokenswarm.analysis.verdict.spoilt import implausible, reason_of, with_goodput, withhold, withhold_steady_part

from tokenswarm.contract.limits import timing_words
from tokenswarm.contract.manifest import (
    CacheResetRecord,
    CostRecord,
    EndedEarlyRecord,
    GitRecord,
    HostRecord,
    Reason,
    WarmupRecord,
)
from tokenswarm.contract.objectives import Objective, RequestBounds, bounds_of_run, request_bounds
from tokenswarm.contract.summary.engine_records import Energy
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.header_records import EngineHeader, Header, ScenarioHeader, WindowHeader
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.request_records import ClassFigures, Counts, ErrorKind, Errors, Goodput, MixShare
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.time_records import KeepingUp, SteadyPart
from tokenswarm.contract.summary.verdict_records import Generator, SloGate
from tokenswarm.contract.tables import ERROR_KINDS


def summarise(run: Run) -> Summary:
    """Every figure of the dashboard and the terminal, with units and 95% intervals."""
    window, rows = find_window(run), run.measured
    facts = gather(run, window)
    levels = load_levels(run, window)
    kept = [_keeping_up(run, level, facts.open_loop) for level in levels]
    keeping = kept[0] if len(levels) == 1 else KeepingUp()
    verdict, reasons, checks = validity.judge(
        without_held_arrivals(facts, any(each.overloaded for each in kept)),
        [*validity.recorded_reasons(run), *reasons_of(keeping)],
    )
    objectives, refused = slo.parsed_objectives(run.manifest.scenario.table("slo"), run.manifest)
    bounds, shares = bounds_of_run(run.manifest), mix_shares(run.manifest, rows)
    rates, goodput = _rates(run, rows, window, bounds)
    ends = finish_reasons(rows)
    cost = run.manifest.cost or CostRecord()
    summary = Summary(
        run_id=run_id(run),
        verdict=verdict,
        reasons=reasons,
        simulated=run.manifest.simulated,
        notes=[*_notes(run, rows, keeping, len(levels), shares), *cut_notes(ends)],
        run=header(run, window),
        latency=metrics.latency_figures(rows),
        gaps=metrics.gap_figures(rows),
        rates=rates,
        per_user_tok_s=metrics.per_user_rate(rows),
        goodput=goodput,
        slo=[*slo.evaluate(objectives, refused, rows, goodput, rates, window), *class_gates(run, rows, window)],
        errors=errors(rows),
        valid_output=metrics.valid_output(rows).figure("share"),
        finish_reasons=ends,
        tokens=metrics.token_facts(rows),
        cache=cache.cache_figures(run, rows, window),
        server=metrics.server_view(run, rows, window),
        server_ttft=server_view.server_ttft(run),
        server_latency=server_view.server_figures(run),
        speculation=speculation_of(run.manifest, run.engine_metrics, window),
        keeping_up=keeping,
        steady_part=SteadyPart(LOAD_CHANGED),
        drift=drift_figures(run, window),
        outages=outage_figures(run, window),
        cost=cost_figures(cost.gpu_hour_usd, cost.gpus, rates),
        energy=_energy(run, window, len(levels)),
        counts=counts(run, rows),
        generator=replace(generator(run, facts, window), checks=checks),
        user_classes=by_user_class(run, bounds, window, rates, shares),
    )
    if len(levels) < 2:
        _of_one_load(summary, run, window)
    late = () if len(levels) > 1 else facts.timing  # with several levels, each has its own errors and limits
    disagreements = implausible(run, window, summary, len(levels) < 2 and not keeping.overloaded)
    further = [reason_of(each, facts.judged_metrics) for each in disagreements]
    if len(levels) > 1 and window is not None:
        summary = by_level(run, summary, levels, kept, (objectives, refused))
        further += _of_levels(run, summary, levels, facts)
    _withhold_late(summary, late)
    for each in disagreements:
        why = f"implausible, see {each.rule}"
        withhold(summary, with_goodput(each.metrics, bounds), f"{why}: {each.sentence}")
        withhold_steady_part(summary, each.metrics, why)
    summary.verdict, summary.reasons = validity.ranked([*summary.reasons, *further])
    if keeping.overloaded:
        withhold_latency(summary)
    summary.outcome = judged(summary)
    summary.replay = fidelity_of(run, summary.cache.yardstick)
    return summary


def _rates(
    run: Run, rows: pd.DataFrame, window: Window | None, bounds: RequestBounds
) -> tuple[dict[str, Figure], Goodput]:
    """All rates, and goodput; without intervals if the sending times are unknown."""
    rates = every_rate(run.requests, rows, window, bounds)
    goodput = slo.goodput_figures(rows, bounds, window, run.requests)
    if run.has_start_times:
        return rates, goodput
    return {name: replace(figure, ci95=None) for name, figure in rates.items()}, replace(
        goodput, goodput_rps=replace(goodput.goodput_rps, ci95=None)
    )


def _energy(run: Run, window: Window | None, levels: int) -> Energy:
    """The energy of the engine's GPUs; only for a run with a single load."""
    if levels > 1:
        return without(f"the run had {levels} load levels, so one figure would be about none of them")
    degrees = [run.manifest.engine.effective.get(name) for name in ("tensor_parallel", "data_parallel")]
    used = math.prod(degree for degree in degrees if isinstance(degree, int) and degree > 0)
    return energy_of(run.host_metrics, run.requests, window, used)


def _of_one_load(summary: Summary, run: Run, window: Window | None) -> None:
    """Add what only applies to a constant load. If the load changed, figures change with it, and nothing is a
    transient.
    """
    rows = run.measured
    summary.control_arm = control_arm(rows, run.manifest.scenario.workload)
    summary.constraints = constraint_uses(run.requests, rows, run.manifest.scenario)
    summary.interference = interference_of(run.manifest, run.requests, rows, window)
    summary.adapters = adapters_of(run.manifest, run.requests, rows)
    summary.tasks = task_figures(rows, window)
    summary.steady_part = steady_part(run.requests, rows, window)


def _notes(run: Run, rows: pd.DataFrame, keeping: KeepingUp, levels: int, shares: dict[str, MixShare]) -> list[str]:
    """Notes for the reader; `levels`: the number of load levels."""
    return [
        *run.notes,
        *recorded_notes(run),
        *beginning_notes(run),
        *(metrics.wave_notes(rows) if levels < 2 else []),
        *lost_time(keeping),
        *mix_note(shares),
    ]


def _keeping_up(run: Run, level: LoadLevel, open_loop: bool) -> KeepingUp:
    """With one load: overload of an open loop, Little's law of a closed one. Nothing for a ramp, where the number in
    flight grows in any case.
    """
    window = level.window
    if level.record.rate_end is not None or level.record.users_end is not None:
        return KeepingUp()
    if open_loop:
        return overload_of(run.requests, window, level.record.rate)
    return KeepingUp(littles_law=littles_law(run.requests, worker_samples(run, window), window))


def _withhold_late(summary: Summary, timing: Iterable[TimingError], level: LevelFigures | None = None) -> None:
    """Remove the latencies whose timing is too uncertain."""
    for error in timing:
        if error.is_spoilt:
            why = timing_words(error.error_ms, error.limit_ms)
            withhold(summary, [error.name], why, level)
            if level is None:
                withhold_steady_part(summary, [error.name], why)


def by_level(
    run: Run,
    summary: Summary,
    levels: list[LoadLevel],
    kept: list[KeepingUp],
    lines: tuple[list[Objective], list[tuple[str, str]]],
) -> Summary:
    """The summary of a run with several load levels: figures, gates and notes per level, none over all of them.

    `kept`: whether engine and load kept up in each level. `lines`: the [slo] table as `parse_objectives` returns it.
    """
    (objectives, refused), began = lines, levels[0].window.start
    figures = [
        level_figures(run, level, bounds_of_run(run.manifest), began, keeping)
        for level, keeping in zip(levels, kept, strict=True)
    ]
    summary = withheld(summary, figures)
    summary.slo = [
        of_level(gate, each)
        for level, each in zip(levels, figures, strict=True)
        for gate in (
            *slo.evaluate(objectives, refused, level.rows, each.goodput, each.rates, level.window),
            *class_gates(run, level.rows, level.window),
        )
    ]
    summary.notes = [*summary.notes, *level_notes(levels, figures)]
    return summary


def _of_levels(run: Run, summary: Summary, levels: list[LoadLevel], facts: Facts) -> list[Reason]:
    """What makes a run worse than its totals show: a level without a success, or with spoilt latencies, which are
    removed.
    """
    reasons = level_reasons(summary.levels) if summary.counts.measured.ok else []  # else the whole run is told of
    because = validity.late_because(facts)
    for level, figures in zip(levels, summary.levels, strict=True):
        bound_ms = error_bound_ms(level.rows, worker_samples(run, level.window))
        timing = [each for each in timing_errors(level.rows, bound_ms) if each.is_spoilt]
        _withhold_late(summary, timing, figures)
        reasons += [spoilt_at_level(each, figures, because) for each in timing if each.name in facts.judged_metrics]
        if figures.keeping_up.overloaded:
            reasons.append(overloaded_at_level(figures))
            withhold_latency(summary, figures)
    return reasons


def class_gates(run: Run, rows: pd.DataFrame, window: Window | None) -> list[SloGate]:
    """The gates of single user classes, evaluated on their own requests: from their scenarios, and from tables like
    [slo.RagReader] in the run's.

    Goodput uses the class's own scenario if it has one, else these objectives.
    """
    gates = []
    by_class = bounds_of_run(run.manifest).classes
    for name, table in slo.objectives_of_classes(run.manifest).items():
        objectives, refused = slo.parsed_objectives(table, run.manifest)
        bounds = RequestBounds(by_class.get(name) or request_bounds(objectives))
        everything = run.requests[(run.requests["user_class"] == name).to_numpy()]
        part = rows[(rows["user_class"] == name).to_numpy()]
        goodput = slo.goodput_figures(part, bounds, window, everything)
        rates = every_rate(everything, part, window, bounds)
        for gate in slo.evaluate(objectives, refused, part, goodput, rates, window):
            if not len(part) and len(rows):  # other classes have rows, so the load ran: no class has this name
                figure = Estimate(None, why=f"no {name} sent a request").figure(gate.unit)
                gate = replace(gate, figure=figure, state="missed", certain=False, margin=None)
            gates.append(slo.of_class(gate, name))
    return gates


def recorded_notes(run: Run) -> list[str]:
    """Notes written by the run itself: settings that the engine could not apply, an engine on a CPU."""
    return [note for note in run.manifest.notes if note]


def beginning_notes(run: Run) -> list[str]:
    """Notes on the start of the measure phase: an engine not known to be warm, or a cache that was not emptied as
    requested.
    """
    notes = []
    manifest = run.manifest
    warmup, reset = manifest.warmup or WarmupRecord(), manifest.cache_reset or CacheResetRecord()
    wanted_steady = warmup.mode == "until_steady"
    if warmup.limit_s and (warmup.steady is False or (warmup.steady is None and wanted_steady)):
        notes.append(str(warmup.sentence or "TTFT was not steady when the warm-up ended."))
    noted = any("prefix cache was not emptied" in note for note in recorded_notes(run))
    if reset.done is False and manifest.scenario.table("load").get("reset_cache") is not False and not noted:
        notes.append(f"The prefix cache was not emptied before the run: {reset.detail or 'no reason is known'}")
    return notes


def run_id(run: Run) -> str:
    """The run's identity: from the manifest, else the folder's name."""
    return str(run.manifest.run_id or run.folder.resolve().name)


def header(run: Run, window: Window | None) -> Header:
    """What was measured, on what, when, and under which load."""
    manifest = run.manifest
    engine, scenario = manifest.engine, manifest.scenario
    return Header(
        status=manifest.status,
        label=manifest.label,
        measured_by=None if manifest.imported is None else manifest.imported.tool,
        going=run.going,
        ended_early=manifest.ended_early or EndedEarlyRecord(),
        engine=EngineHeader(
            engine.name,
            engine.title,
            engine.version,
            engine.base_url,
            engine.runtime,
            engine.cold_start_s,
            engine.image_digest,
        ),
        effective=engine.effective,
        model=manifest.model,
        scenario=ScenarioHeader(scenario.name, scenario.title, scenario.description, scenario.workload),
        overrides=scenario.overrides,
        load=manifest.load,
        started_at=manifest.started_at,
        ended_at=manifest.ended_at,
        window=WindowHeader(window.start, window.end, window.seconds, window.source) if window else WindowHeader(),
        seed=manifest.seed,
        salt=manifest.salt,
        chars_per_token=manifest.preflight.chars_per_token if manifest.preflight else None,
        host=manifest.host or HostRecord(),
        gpus=manifest.gpus,
        gpu_states=gpu_states(run.host_metrics, window),
        versions=manifest.versions,
        git=manifest.git or GitRecord(),
    )


_OF_AN_ERROR = ["error", "error_detail", "http_status", "request_id"]


def errors(rows: pd.DataFrame) -> Errors:
    """Error rate, and the failures by kind with an example of each, most frequent first."""
    failed = rows.loc[metrics.has_status(rows, "failed"), _OF_AN_ERROR]
    kinds = failed["error"].astype("object").where(failed["error"].notna(), "unknown").astype("str")
    out = []
    for kind, count in kinds.value_counts().items():
        of_kind = failed[(kinds == kind).to_numpy()]
        details = of_kind["error_detail"].dropna()
        codes = sorted({int(code) for code in of_kind["http_status"].dropna().unique()})
        out.append(
            ErrorKind(
                kind=str(kind),
                count=int(count),
                share=share(int(count), len(rows)).figure("share"),
                meaning=ERROR_KINDS.get(str(kind), "not a kind that this version knows"),
                http_status=codes,
                example=str(details.iloc[0]) if len(details) else None,
                request_id=str(of_kind["request_id"].iloc[0]),
            )
        )
    return Errors(metrics.error_rate(rows).figure("share"), out)


def counts(run: Run, rows: pd.DataFrame) -> Counts:
    """Requests of the measure phase by outcome, and of the whole file."""
    return Counts(
        measured=metrics.outcome_counts(rows),
        all_phases=metrics.outcome_counts(run.requests),
        rows_in_file=len(run.requests),
        sent_by_generator=run.manifest.counts.sent if run.manifest.counts else None,
        damaged_lines=run.damaged_lines,
    )


def generator(run: Run, facts: Facts, window: Window | None) -> Generator:
    """The load generator's own health inside the window."""
    workers = worker_samples(run, window)
    in_flight = None if facts.in_flight_max is None else int(facts.in_flight_max)
    return Generator(
        workers=int(workers["source"].nunique()) or None,
        cpu_share_max=_measured(facts.cpu_share, "share", "CPU was not sampled"),
        cpu_us_per_token=_measured(_cpu_us_per_token(workers), "us", "CPU or tokens were not sampled"),
        timing_error_bound_ms=_measured(facts.error_bound_ms, "ms", "timing errors were not recorded"),
        loop_lag_max_ms=_measured(_max(workers["loop_lag_ms"]), "ms", "loop lag was not sampled"),
        read_lag_p99_max_ms=_measured(_max(workers["read_lag_p99_ms"]), "ms", "read lag was not sampled"),
        lateness_p99_ms=_measured(facts.lateness_p99_ms, "ms", "closed loop: arrivals have no schedule"),
        rss_max_mb=_measured(_max(workers["rss_mb"]), "MiB", "memory was not sampled"),
        in_flight_max=_measured(in_flight, "requests", "requests in flight were not sampled"),
    )


def _measured(value: float | None, unit: str, why: str) -> Figure:
    return Estimate(value, why=why).figure(unit)


def _max(values: pd.Series) -> float | None:
    return float(values.max()) if values.notna().any() else None


def _cpu_us_per_token(workers: pd.DataFrame) -> float | None:
    """CPU time of all workers per event with text that they received, over the intervals in which both are known."""
    cpu_s = tokens = 0.0
    for _, samples in workers.groupby("source", observed=True):
        ordered = samples.sort_values("at")
        seconds = np.diff(ordered["at"].to_numpy())
        used = ordered["cpu_share"].to_numpy()[1:] * seconds
        got = ordered["tokens"].to_numpy()[1:]
        both = ~np.isnan(used) & ~np.isnan(got)
        cpu_s, tokens = cpu_s + used[both].sum(), tokens + got[both].sum()
    return 1e6 * cpu_s / tokens if tokens else None


def by_user_class(
    run: Run, bounds: RequestBounds, window: Window | None, rates: dict[str, Figure], shares: dict[str, MixShare]
) -> dict[str, ClassFigures]:
    """The main figures of each Locust user class, by name. `rates`: those of all classes together; `shares`: of a
    mix.
    """
    out = {}
    rows = run.measured
    names = rows["user_class"].dropna().unique()
    for name in sorted(map(str, names)):
        alone = len(names) == 1
        part = rows if alone else rows[(rows["user_class"] == name).to_numpy()]
        everything = run.requests if alone else run.requests[(run.requests["user_class"] == name).to_numpy()]
        goodput = slo.goodput_figures(part, bounds, window, everything)
        out[name] = ClassFigures(
            counts=metrics.outcome_counts(part),
            latency=metrics.latency_figures(part),
            error_rate=metrics.error_rate(part).figure("share"),
            goodput_rps=goodput.goodput_rps,
            attainment=goodput.attainment,
            valid_output=metrics.valid_output(part).figure("share"),
            rates=rates if alone else every_rate(everything, part, window, bounds),
            bounds=goodput.bounds,
            share=shares.get(name),
        )
    return out
