"""The dashboard: a run as one HTML file that opens offline and includes plotly.js."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures import outages
from tokenswarm.analysis.figures.quantities import is_ok
from tokenswarm.analysis.figures.run_levels import load_levels
from tokenswarm.analysis.figures.timeline import TimeBins, make_timeline
from tokenswarm.analysis.figures.window import Window, find_window
from tokenswarm.analysis.read.answers_file import kept_answers, visible
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.render import page, tiles
from tokenswarm.analysis.render.assets import chart_page, environment
from tokenswarm.analysis.render.chart import ChartSection
from tokenswarm.analysis.render.charts_cache import cache_section
from tokenswarm.analysis.render.charts_engine import (
    engine_charts,
    flight_chart,
    generator_charts,
    gpu_charts,
    process_charts,
)
from tokenswarm.analysis.render.charts_levels import levels_section
from tokenswarm.analysis.render.charts_replay import replay_section
from tokenswarm.analysis.render.charts_shape import shape_charts
from tokenswarm.analysis.render.charts_time import primary_latency, run_charts
from tokenswarm.analysis.render.interference_section import interference_rows, interference_section
from tokenswarm.analysis.render.level_table import headings
from tokenswarm.analysis.render.task_rows import task_counts, task_rows
from tokenswarm.analysis.wording import load_sentence

from tokenswarm.contract.limits import CPU_SHARE_LIMIT
from tokenswarm.contract.objectives import Objective, parse_objectives
from tokenswarm.contract.summary.summary_record import Summary

SLOWEST = 12
"""Number of rows in the table of the slowest requests."""


def render(run: Run, summary: Summary) -> str:
    """The page as text.

    Text from engines and scenarios is escaped. The page's content security policy only allows the scripts whose hashes
    it lists, and no fetching, so nothing that an engine sent can run, and the page works offline.
    """
    seen = look_at(run, summary)
    sections, health = [build(seen) for build in SECTIONS], health_section(seen)
    specs = [chart.spec() for section in [*sections, health] for chart in section.charts]
    return (
        environment()
        .get_template("dashboard.html.j2")
        .render(
            summary=summary,
            head=page.head(summary),
            command=page.command(run.manifest.argv),
            cards=tiles.cards(summary),
            latency=page.latency_rows(summary),
            steady=page.steady_rows(summary),
            steady_from_s=summary.steady_part.from_s,
            rates=page.rate_rows(summary),
            gaps=page.gap_rows(summary),
            server=page.server_rows(summary),
            drift=page.drift_rows(summary),
            outages=outages.listed_rows(summary.outages),
            outages_sentence=outages.sentence(summary.outages),
            objectives=[] if summary.levels else tiles.objective_rows(summary),
            levels=page.level_cells(summary),
            level_headings=headings(summary),
            level_objectives=tiles.objectives_by_level(summary) if summary.levels else [],
            classes=page.class_rows(summary),
            class_columns=page.class_columns(summary),
            interference=interference_rows(summary.interference),
            facts=page.fact_groups(summary),
            checks=page.check_rows(summary),
            kept_checks=page.kept_checks(summary),
            one_sided=tiles.one_sided(summary),
            valid_means_nothing=tiles.means_nothing(summary),
            measured_range=measured_range(seen),
            health=page.health_rows(summary),
            tasks=task_rows(summary.tasks),
            task_counts=task_counts(summary.tasks),
            visible=visible,
            answers=kept_answers(run.folder, run.manifest.scenario.table("output").get("keep_answers") or 0),
            slowest=slowest_rows(run),
            outcome=page.outcome_sentence(summary),
            sections=sections,
            health_section=health,
            manifest_json=run.manifest_text,
            load_sentence=load_sentence(summary.run.load, summary.levels),
            **chart_page(specs),
            text=text,
        )
    )


@dataclass(frozen=True)
class Seen:
    """The input of the sections. `rows`: requests of the measure phase. There is no `timeline` if there are no
    requests.
    """

    run: Run
    summary: Summary
    rows: pd.DataFrame
    window: Window | None
    timeline: TimeBins | None
    objectives: list[Objective]


def look_at(run: Run, summary: Summary) -> Seen:
    """A run prepared for drawing."""
    window = find_window(run)
    objectives, _ = parse_objectives(run.manifest.scenario.table("slo"))
    timeline = make_timeline(run, window) if run.has_start_times else None
    if timeline is not None:
        bands = tuple((level.window.start, level.window.end) for level in load_levels(run, window))
        names = tuple(text.level_words(level) for level in summary.levels)
        timeline = replace(
            timeline,
            outages=outages.spans(summary.outages),
            levels=tuple((*band, name) for band, name in zip(bands, names, strict=False)),
        )
    return Seen(run, summary, run.measured, window, timeline, objectives)


def measured_range(seen: Seen) -> list[float]:
    """Position of the measure window on the time axis; empty if unknown."""
    if seen.timeline is None or seen.window is None:
        return []
    return [float(edge) for edge in seen.timeline.axis(np.array([seen.window.start, seen.window.end]))]


def time_section(seen: Seen) -> ChartSection:
    """What users saw, on the shared time axis."""
    if seen.timeline is None:
        return ChartSection("time", "Over time")
    charts, flat = run_charts(seen.run, seen.timeline, seen.window, seen.objectives)
    words = f"Constant, and therefore not drawn: {', '.join(flat)}." if flat else ""
    return ChartSection("time", "Over time", [*charts, flight_chart(seen.run, seen.timeline, seen.window)], words)


def engine_section(seen: Seen) -> ChartSection:
    """The engine and its GPUs, on the same axis."""
    if seen.timeline is None:
        return ChartSection("engine", "Inside the engine")
    charts = [
        *engine_charts(seen.run, seen.timeline, seen.window),
        *gpu_charts(seen.run, seen.timeline, seen.window),
        *process_charts(seen.run, seen.timeline, seen.window),
    ]
    return ChartSection("engine", "Inside the engine", charts, nav="Engine")


def shape_section(seen: Seen) -> ChartSection:
    """Distributions, and what latencies depend on; nothing for a run with several levels."""
    if seen.summary.levels:
        return ChartSection("shape", "Distributions")
    return ChartSection("shape", "Distributions", shape_charts(seen.rows, seen.objectives))


def health_section(seen: Seen) -> ChartSection:
    """The load generator itself: below the tables, because it is not what was measured."""
    made = generator_charts(seen.run, seen.timeline, seen.window, CPU_SHARE_LIMIT) if seen.timeline else []
    return ChartSection("health", "The load generator itself", made)


SECTIONS: tuple[Callable[[Seen], ChartSection], ...] = (
    lambda seen: levels_section(seen.summary),
    lambda seen: replay_section(seen.run, seen.summary.replay),
    lambda seen: interference_section(seen.run, seen.summary.interference),
    time_section,
    engine_section,
    lambda seen: cache_section(seen.summary.cache),
    shape_section,
)
"""The groups of charts between figures and tables, in order; groups without charts are left out."""


def slowest_rows(run: Run) -> list[dict[str, str]]:
    """The successful requests with the longest TTFT (E2E if not streamed), as text cells."""
    rows = run.measured
    ok = rows[is_ok(rows)]
    column, _ = primary_latency(ok)
    window = find_window(run)
    zero = window.start if window else float(rows["sent_at"].min()) if len(rows) else 0.0
    out, timed = [], run.has_start_times
    for _, row in ok.nlargest(SLOWEST, column).iterrows():
        cached = row["cached_tokens"] / row["prompt_tokens"] if row["prompt_tokens"] else np.nan
        out.append(
            {
                "request": _text(row["request_id"]).removeprefix(f"{run.manifest.run_id}-"),
                "class": _text(row["user_class"]),
                "turn": _count(row["turn"]),
                "sent (s)": f"{row['sent_at'] - zero:.1f}" if timed else text.MISSING,
                "TTFT (ms)": _ms(row["ttft_ms"]),
                "TTFO (ms)": _ms(row["ttfo_ms"]),
                "E2E (ms)": _ms(row["e2e_ms"]),
                "prompt tokens": _count(row["prompt_tokens"]),
                "cached": text.MISSING if pd.isna(cached) else text.percent(float(cached)),
                "output tokens": _count(row["completion_tokens"]),
            }
        )
    columns = _telling_columns(out)
    return [{key: row[key] for key in columns} for row in out]


def _telling_columns(rows: list[dict[str, str]]) -> list[str]:
    """The columns that say something: not empty, and neither one class for all nor a TTFO that is the TTFT."""
    if not rows:
        return []
    columns = [key for key in rows[0] if any(row[key] != text.MISSING for row in rows)]
    if len({row["class"] for row in rows}) == 1:
        columns = [key for key in columns if key != "class"]
    if all(row["TTFO (ms)"] == row["TTFT (ms)"] for row in rows):
        columns = [key for key in columns if key != "TTFO (ms)"]
    return columns


def _text(value: object) -> str:
    return text.MISSING if pd.isna(value) else str(value)


def _count(value: float) -> str:
    return text.MISSING if pd.isna(value) else f"{int(value):,}"


def _ms(value: float) -> str:
    return text.MISSING if pd.isna(value) else text.number(float(value))
