"""Charts on the shared time axis: what the engine reports about itself, and the load generator's health."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.flow import in_flight
from tokenswarm.analysis.figures.timeline import TimeBins, counts_by_bin, mean_by_bin
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.render.chart import BAD, GOOD, PALETTE, Chart, axis, line, numbers, plain
from tokenswarm.analysis.render.time_axis import limit_line, time_layout

from tokenswarm.base.foreign import listed

_SAMPLES = 400
"""Maximum points of a sampled line; longer runs show the mean of each bin."""


def engine_charts(run: Run, timeline: TimeBins, window: Window | None) -> list[Chart]:
    """The engine's KV cache, hit rate and preemptions, if its metrics were read."""
    table = run.engine_metrics.sort_values("at")
    shares = [_sampled(table, "kv_usage", "KV cache in use", "c:orange", timeline, 100.0)]
    of_answers = run.requests["cached_tokens"].notna().any()  # then the hit rate has its own chart
    if not of_answers:
        shares.append(_hit_rate(table, timeline))
    evicted = [_preemptions(table, timeline)]
    percent, requests = axis("%", range=[0, 102]), axis("requests")
    hits = "Hit rate: prompt tokens found in the cache, of those looked up in each interval."
    charts = [
        _chart(
            "engine-cache",
            "KV cache" if of_answers else "KV cache and prefix hits",
            shares,
            time_layout(timeline, window, percent),
            "Share of its tokens in use." if of_answers else hits,
        ),
        _chart(
            "engine-preemptions",
            "Preemptions",
            evicted,
            time_layout(timeline, window, requests),
            "Evicted from the batch.",
        ),
    ]
    return [chart for chart in charts if chart]


def flight_chart(run: Run, timeline: TimeBins, window: Window | None) -> Chart:
    """Requests in flight as the load generator sees them, and the engine's running and waiting requests."""
    fine, table = timeline.finer(), run.engine_metrics.sort_values("at")
    sent = line(numbers(fine.centres(), 6), numbers(in_flight(run.requests, fine.edges_unix)), "in flight", "c:blue")
    inside = [
        trace
        for trace in (
            _sampled(table, "running", "running", GOOD, timeline),
            _sampled(table, "waiting", "waiting", BAD, timeline),
        )
        if trace
    ]
    note = "Sent and not yet answered, as the load generator sees it"
    note += "; running and waiting, as the engine reports." if inside else "."
    return Chart(
        "flight-time",
        "Requests in flight",
        [sent, *inside],
        time_layout(timeline, window, axis("requests")),
        note,
        230,
        "time",
    )


def generator_charts(run: Run, timeline: TimeBins, window: Window | None, cpu_limit: float) -> list[Chart]:
    """CPU of each worker, and delays of the load generator."""
    table = run.host_metrics.sort_values("at")
    workers = table[table["source"].astype("str").str.startswith("worker").to_numpy(dtype=bool)]
    # With several workers, the most delayed one: a line must not jump between them.
    worst = workers.groupby(workers["at"].round()).max(numeric_only=True)
    lags = [
        _sampled(worst, "loop_lag_ms", "event loop, worst", "c:orange", timeline),
        _sampled(worst, "read_lag_p99_ms", "bytes unread, p99", "c:blue", timeline),
    ]
    busy = _by_source(table, "worker", "cpu_share", timeline, 100.0)
    core = axis("% of one core", range=[0, 105])
    measures_itself = f"Above {cpu_limit:.0%} of a core a worker measures itself."
    cpu = _chart("generator-cpu", "Load generator CPU", busy, time_layout(timeline, window, core), measures_itself)
    if cpu:
        shapes = [*listed(cpu.layout["shapes"]), limit_line(100.0 * cpu_limit)]
        cpu = replace(cpu, layout={**cpu.layout, "shapes": shapes})
    charts = [
        cpu,
        _chart(
            "generator-lag", "Load generator lag", lags, time_layout(timeline, window, axis("ms")), "Its own delays."
        ),
    ]
    return [chart for chart in charts if chart]


def gpu_charts(run: Run, timeline: TimeBins, window: Window | None) -> list[Chart]:
    """Utilisation, memory and power of each GPU, if sampled."""
    table = run.host_metrics.sort_values("at")
    busy = "Share of time in which a kernel ran; it does not say how full the GPU was."
    charts = [
        _chart(name, title, _by_source(table, "gpu", column, timeline, scale), time_layout(timeline, window, y), note)
        for name, title, column, scale, y, note in (
            ("gpu-util", "GPU utilisation", "gpu_util", 100.0, axis("%", range=[0, 105]), busy),
            ("gpu-memory", "GPU memory", "gpu_memory_mb", 1 / 1024, axis("GiB"), "In use on the whole GPU."),
            ("gpu-power", "GPU power", "gpu_power_w", 1.0, axis("W"), "As the driver reports it."),
        )
    ]
    return [chart for chart in charts if chart]


def process_charts(run: Run, timeline: TimeBins, window: Window | None) -> list[Chart]:
    """CPU and memory of an engine that runs as processes on this machine, if sampled."""
    table = run.host_metrics.sort_values("at")
    charts = [
        _chart(
            name, title, _by_source(table, "engine", column, timeline, scale), time_layout(timeline, window, y), note
        )
        for name, title, column, scale, y, note in (
            ("engine-cpu", "Engine CPU", "cpu_share", 100.0, axis("% of one core"), "All of its processes together."),
            ("engine-memory", "Engine memory", "rss_mb", 1.0, axis("MiB"), "Resident, of all its processes."),
        )
    ]
    return [chart for chart in charts if chart]


def _chart(
    name: str, title: str, traces: list[dict[str, object] | None], layout: dict[str, object], note: str
) -> Chart | None:
    drawn = [trace for trace in traces if trace]
    return Chart(name, title, drawn, layout, note, 230, "time") if drawn else None


def _by_source(
    table: pd.DataFrame, kind: str, column: str, timeline: TimeBins, scale: float
) -> list[dict[str, object] | None]:
    """One line per source of a kind, `worker` or `gpu`."""
    source = table["source"].astype("str")
    names = sorted(source[source.str.startswith(kind).to_numpy(dtype=bool)].unique())
    return [
        _sampled(table[(source == name).to_numpy()], column, plain(name), PALETTE[i % len(PALETTE)], timeline, scale)
        for i, name in enumerate(names)
    ]


def _preemptions(table: pd.DataFrame, timeline: TimeBins) -> dict[str, object] | None:
    evicted = _growth(table, "preemptions", timeline)
    if evicted is None or not np.nansum(evicted) > 0:
        return None
    x = numbers(timeline.centres(), 6)
    return {"type": "bar", "x": x, "y": numbers(evicted), "name": "preemptions", "marker": {"color": BAD}}


def _sampled(
    table: pd.DataFrame, column: str, name: str, color: str, timeline: TimeBins, scale: float = 1.0
) -> dict[str, object] | None:
    known = table[table[column].notna()]
    if known.empty:
        return None
    if len(known) > _SAMPLES:
        bins = timeline.bin_of(known["at"].to_numpy())
        x, y = timeline.centres(), mean_by_bin(bins, timeline.bins, known[column].to_numpy())
    else:
        x, y = timeline.axis(known["at"].to_numpy()), known[column].to_numpy()
    return line(numbers(x, 6), numbers(y * scale), name, color)


def _growth(table: pd.DataFrame, column: str, timeline: TimeBins) -> np.ndarray | None:
    """Growth of a counter in each bin; NaN if it was not read. A restart counts from zero."""
    known = table[table[column].notna()]
    if len(known) < 2:
        return None
    values = known[column].to_numpy()
    steps = np.diff(values)
    steps = np.where(steps < 0, values[1:], steps)
    bins = timeline.bin_of(known["at"].to_numpy()[1:])
    keep = bins >= 0
    sums = np.bincount(bins[keep], weights=steps[keep], minlength=timeline.bins)
    return np.where(counts_by_bin(bins, timeline.bins) > 0, sums, np.nan)


def _hit_rate(table: pd.DataFrame, timeline: TimeBins) -> dict[str, object] | None:
    hit, queried = (_growth(table, name, timeline) for name in ("prefix_hit_tokens", "prefix_query_tokens"))
    if hit is None or queried is None or not np.nansum(queried):
        return None
    rate = np.divide(hit, queried, out=np.full(len(hit), np.nan), where=np.nan_to_num(queried) > 0)
    return line(numbers(timeline.centres(), 6), numbers(100.0 * rate), "prefix hit rate", "c:blue", connectgaps=True)
