"""The quantities of one request, and of all of them, by the definitions of docs/metrics.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.flow import Flow, completed_flow, output_flow, prompt_flow
from tokenswarm.analysis.figures.statistics import RATE_BLOCKS, Estimate, block_rate, percentiles, share_of, too_short
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.metric import Latency, Row, percentile_digits
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.cache_records import Cache
from tokenswarm.contract.summary.engine_records import ServerMeans
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.request_records import Outcomes, Tokens
from tokenswarm.contract.tables import GENERATOR_KINDS

GAPS: dict[str, tuple[str, str]] = {
    "icl_p50_ms": ("Typical gap", "median over requests of a request's median gap between chunks"),
    "icl_p99_ms": ("Gap tail", "99th percentile over requests of a request's 99th percentile gap"),
    "icl_max_ms": ("Longest gap", "longest gap of all requests"),
}
"""Inter-chunk latency. Rows keep three numbers per stream, not the gaps, so there is no pooled distribution."""


_TOKEN_COLUMNS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")


def is_ok(rows: pd.DataFrame) -> np.ndarray:
    """Which rows are successes."""
    return has_status(rows, "ok")


def has_status(rows: pd.DataFrame, status: str) -> np.ndarray:
    """Which rows have this status. Asked dozens of times per report, so it uses the column's category codes if it has
    any.
    """
    values = rows["status"].array
    if not isinstance(values, pd.Categorical):
        return (rows["status"] == status).to_numpy()
    known = values.categories
    return values.codes == known.get_loc(status) if status in known else np.zeros(len(values), dtype=bool)


def tpot_ms(rows: pd.DataFrame) -> np.ndarray:
    """(last token - TTFT) / (completion tokens - 1) of each row; NaN for answers of fewer than two tokens."""
    tokens = rows["completion_tokens"].to_numpy()
    span = rows["last_token_ms"].to_numpy() - rows["ttft_ms"].to_numpy()
    return np.divide(span, tokens - 1, out=np.full(len(rows), np.nan), where=tokens >= 2)


def latencies(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Every latency of the registry for each row, in ms, by its key (`ttft_ms`); NaN = not measured."""
    return {latency.key: latency_of(latency, rows) for latency in METRICS.latencies()}


def latency_of(latency: Latency, rows: pd.DataFrame) -> np.ndarray:
    """One latency of each row: vectorised if possible, else by the metric's own function."""
    quick = _QUICK.get(latency.key)
    return quick(rows) if quick is not None else by_row(latency.of_row, latency.columns, rows)


def by_row(function: Callable[[Row], float | bool | None], columns: Iterable[str], rows: pd.DataFrame) -> np.ndarray:
    """A registered metric's function of one row, applied to each; None becomes NaN. The function sees only those
    columns.
    """
    chosen = list(columns)
    cells = [rows[name].astype("object").where(rows[name].notna(), None).tolist() for name in chosen]
    values = (function(dict(zip(chosen, row, strict=True))) for row in zip(*cells, strict=True))
    return np.array([np.nan if value is None else float(value) for value in values], dtype=float)


def lateness_ms(rows: pd.DataFrame) -> np.ndarray:
    """sent - scheduled of each row; NaN where the request had no schedule (closed loop)."""
    recorded = rows["lateness_ms"].to_numpy()
    scheduled = rows["scheduled_at"].to_numpy()
    derived = (rows["sent_at"].to_numpy() - scheduled) * 1000.0
    return np.where(np.isnan(scheduled), np.nan, np.where(np.isnan(recorded), derived, recorded))


_QUICK: dict[str, Callable[[pd.DataFrame], np.ndarray]] = {
    "ttft_ms": lambda rows: rows["ttft_ms"].to_numpy(),
    "ttfo_ms": lambda rows: rows["ttfo_ms"].to_numpy(),
    "tpot_ms": tpot_ms,
    "e2e_ms": lambda rows: rows["e2e_ms"].to_numpy(),
    "scheduled_ttft_ms": lambda rows: rows["ttft_ms"].to_numpy() + lateness_ms(rows),
    "scheduled_e2e_ms": lambda rows: rows["e2e_ms"].to_numpy() + lateness_ms(rows),
}
"""Vectorised versions, for runs of millions of rows; a test compares each with its metric's function of a row."""


def ok_latencies(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """`latencies` of the successful ones of `rows`."""
    ok = is_ok(rows)
    return {name: values[ok] for name, values in latencies(rows).items()}


def latency_figures(rows: pd.DataFrame) -> dict[str, dict[str, Figure]]:
    """The percentiles of every latency over the successful `rows`. Latencies that were not measured are absent, except
    those that are always shown.
    """
    out: dict[str, dict[str, Figure]] = {}
    values = ok_latencies(rows)
    for latency in METRICS.latencies():
        if not latency.always_shown and np.isnan(values[latency.key]).all():
            continue
        estimates = percentiles(values[latency.key], latency.percentiles)
        out[latency.key] = {f"p{percentile_digits(q)}": each.figure("ms") for q, each in estimates.items()}
    return out


def gap_figures(rows: pd.DataFrame) -> dict[str, Figure]:
    """The figures of GAPS over the successful ones of `rows`."""
    ok = rows.loc[is_ok(rows), list(GAPS)]
    longest = ok["icl_max_ms"].to_numpy()
    longest = longest[~np.isnan(longest)]
    top = Estimate(float(longest.max()), n=len(longest)) if len(longest) else Estimate(None)
    return {
        "icl_p50_ms": percentiles(ok["icl_p50_ms"].to_numpy(), (50,))[50].figure("ms"),
        "icl_p99_ms": percentiles(ok["icl_p99_ms"].to_numpy(), (99,))[99].figure("ms"),
        "icl_max_ms": top.figure("ms"),
    }


def wave_notes(rows: pd.DataFrame) -> list[str]:
    """A sentence if TTFT (if not streamed, E2E) shows that the run was too short for its own fluctuations.

    Its intervals are then too narrow, because they miss what a longer run would show.
    """
    ok = is_ok(rows)
    ttft = rows["ttft_ms"].to_numpy()[ok]
    name = "e2e" if np.isnan(ttft).all() else "ttft"
    values = ttft if name == "ttft" else rows["e2e_ms"].to_numpy()[ok]
    if not too_short(values):
        return []
    return [
        f"{METRICS[name].title} came in waves about as long as the measure phase, or drifted: the 95% "
        "intervals may be too narrow. Measure longer, or repeat the run."
    ]


def rate_figures(rows: pd.DataFrame, chosen: pd.DataFrame, window: Window | None) -> dict[str, Figure]:
    """Token and request rates over the window.

    `rows`: the requests of every phase, because a token that arrives inside the window counts whichever phase its
    request is from. `chosen`: the requests of the measure phase.
    """
    if window is None or window.seconds <= 0:
        why = "the measure window is not known"
        return {
            name: Estimate(None, why=why).figure(METRICS[name].unit)
            for name in ("output_tok_s", "input_tok_s", "total_tok_s", "requests_s", "sent_s")
        }
    edges = np.linspace(window.start, window.end, RATE_BLOCKS + 1)
    sent = chosen["sent_at"].to_numpy()
    requested = Flow(sent, sent, np.ones(len(sent)))
    output, prompt = output_flow(rows).between(edges), prompt_flow(rows).between(edges)
    done = completed_flow(rows).between(edges)
    block_s = window.seconds / RATE_BLOCKS
    tokens = rows["completion_tokens"].notna().any()
    prompts = rows["prompt_tokens"].notna().any()
    missing = Estimate(None, n=len(chosen), why="no token counts")
    return {
        "output_tok_s": (block_rate(output, block_s, len(chosen)) if tokens else missing).figure("tok/s"),
        "input_tok_s": (block_rate(prompt, block_s, len(chosen)) if prompts else missing).figure("tok/s"),
        "total_tok_s": (block_rate(output + prompt, block_s, len(chosen)) if prompts else missing).figure("tok/s"),
        "requests_s": block_rate(done, block_s, round(float(done.sum()))).figure("req/s"),
        "sent_s": block_rate(requested.between(edges), block_s, len(chosen)).figure("req/s"),
    }


def per_user_rate(rows: pd.DataFrame) -> dict[str, Figure]:
    """Tokens/s that one user sees while an answer streams: 1000 / TPOT. p5 is what the slowest 5% get."""
    speed = 1000.0 / np.where((tpot := tpot_ms(rows)[is_ok(rows)]) > 0, tpot, np.nan)
    estimates = percentiles(speed, (50, 5))
    return {"p50": estimates[50].figure("tok/s"), "p5": estimates[5].figure("tok/s")}


def outcome_counts(rows: pd.DataFrame) -> Outcomes:
    """`rows` by outcome."""
    return Outcomes(len(rows), *(int(has_status(rows, status).sum()) for status in ("ok", "failed", "cancelled")))


def is_generators_failure(rows: pd.DataFrame) -> np.ndarray:
    """Which rows failed because of the load generator, not the engine."""
    failed = has_status(rows, "failed")
    return failed & rows["error"].astype("object").isin(GENERATOR_KINDS).to_numpy() if failed.any() else failed


def is_failed(rows: pd.DataFrame) -> np.ndarray:
    """Which rows are failures of the engine, or of the way to it."""
    return has_status(rows, "failed") & ~is_generators_failure(rows)


def error_rate(rows: pd.DataFrame) -> Estimate:
    """failed / (ok + failed). Neither counts requests cancelled at the end of the run, nor failures of the load
    generator.
    """
    failed = is_failed(rows)
    return share_of(failed[failed | is_ok(rows)], why="no request ended")


def valid_output(rows: pd.DataFrame) -> Estimate:
    """Share of successful, checked answers that passed the scenario's check."""
    ok = is_ok(rows)
    checked = rows.loc[ok, "valid_output"].dropna().to_numpy()
    why = "the scenario has no check of its answers" if ok.any() else "no request succeeded"
    return share_of(checked == 1.0, why=why)


def token_facts(rows: pd.DataFrame) -> Tokens:
    """Sums and means of token counts over successful requests, and the source of the counts."""
    ok = rows.loc[is_ok(rows), [*_TOKEN_COLUMNS, "token_source"]]
    sums: dict[str, int | None] = {}
    means: dict[str, float | None] = {}
    for name in _TOKEN_COLUMNS:
        values = ok[name].dropna().to_numpy()
        sums[name] = int(values.sum()) if len(values) else None
        means[name] = float(values.mean()) if len(values) else None
    sources = ok["token_source"].dropna().astype("str").value_counts()
    return Tokens(sums, means, {str(key): int(n) for key, n in sources.items()})


def counter_growth(run: Run, window: Window | None, column: str) -> float | None:
    """How much an engine counter grew inside the window, or None if it was read less than twice there.

    Counters that restart from zero (the engine restarted) count from zero.
    """
    table = run.engine_metrics
    if window is None or table.empty:
        return None
    inside = table[(table["at"] >= window.start) & (table["at"] <= window.end)].sort_values("at")
    values = inside[column].dropna().to_numpy()
    if len(values) < 2:
        return None
    steps = np.diff(values)
    return float(np.where(steps < 0, values[1:], steps).sum())


def cache_figures(run: Run, rows: pd.DataFrame, window: Window | None) -> Cache:
    """Prefix-cache hit rate: cached prompt tokens / prompt tokens, without the yardstick.

    From each answer's usage if the engine reports cached tokens there, else from its counters.
    """
    ok = rows.loc[is_ok(rows), ["cached_tokens", "prompt_tokens"]]
    reported = ok[ok["cached_tokens"].notna() & ok["prompt_tokens"].notna()]
    prompt_tokens = reported["prompt_tokens"].sum()
    usage = float(reported["cached_tokens"].sum() / prompt_tokens) if prompt_tokens else None
    hit, looked_up = (counter_growth(run, window, name) for name in ("prefix_hit_tokens", "prefix_query_tokens"))
    counters = hit / looked_up if hit is not None and looked_up else None
    why = "the engine reports cached tokens neither in usage nor in its metrics"
    by_usage, by_counters = Estimate(usage, n=len(reported)), Estimate(counters, n=len(ok), why=why)
    source = "usage" if usage is not None else "counters" if counters is not None else None
    hit_rate = (by_usage if usage is not None else by_counters).figure("share")
    return Cache(hit_rate, source, usage_hit_rate=usage, counters_hit_rate=counters)


def server_view(run: Run, rows: pd.DataFrame, window: Window | None) -> ServerMeans:
    """Mean TTFT as the engine measured it, and the client's mean over the same window."""
    total, count = (counter_growth(run, window, name) for name in ("server_ttft_sum_s", "server_ttft_count"))
    server = Estimate(1000.0 * total / count, n=int(count)) if total is not None and count else Estimate(None)
    seen = rows.loc[is_ok(rows), "ttft_ms"].dropna()
    client = Estimate(float(seen.mean()), n=len(seen)) if len(seen) else Estimate(None)
    return ServerMeans(server.figure("ms"), client.figure("ms"))
