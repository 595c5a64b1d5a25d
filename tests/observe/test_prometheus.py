"""A real Prometheus that scraped a run answers the dashboard's own queries with the numbers of summary.json."""

from __future__ import annotations

import math
import subprocess
import time
from typing import Any

import numpy as np
import pytest

from tests.observe.watched import CONFIG, Watched, fetch, program, queries
from tokenswarm.live.aggregate import RELATIVE_ERROR
from tokenswarm.live.prometheus import LATENCY_BUCKETS_S, TPOT_BUCKETS_S

WHOLE_RUN_S, SCRAPE_S = 240, 5
FLUSH_S = 1.0
"""How long after its end a request may reach the process that is scraped, by the intervals at which rows travel."""


def answers(watched: Watched, panel: str, interval_s: int = WHOLE_RUN_S) -> dict[str, list[dict[str, Any]]]:
    """Legend -> series of each query of a panel."""
    found = {legend: watched.ask(query) for title, legend, query in queries(interval_s) if title == panel}
    assert found, panel
    return found


def value(watched: Watched, panel: str, legend: str) -> float:
    """The one number that a panel of the run so far shows under a legend."""
    [series] = answers(watched, f"stat {panel}")[legend]
    return float(series["value"][1])


def measured(watched: Watched) -> list[dict[str, str]]:
    return [row for row in watched.rows if row["phase"] == "measure"]


def test_the_delivered_configuration_is_valid() -> None:
    done = subprocess.run([str(program("promtool")), "check", "config", str(CONFIG)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_is_one_that_prometheus_lints_clean(watched: Watched) -> None:
    assert watched.page
    done = subprocess.run([str(program("promtool")), "check", "metrics"], input=watched.page, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_counts_are_the_summarys_exactly(watched: Watched) -> None:
    counts = watched.summary["counts"]["measured"]
    assert counts["failed"] > 0 and counts["ok"] > 100
    [by_status] = answers(watched, "stat Requests").values()
    shown = {series["metric"]["status"]: float(series["value"][1]) for series in by_status}
    assert shown == {status: counts[status] for status in ("ok", "failed", "cancelled")}
    kinds = {
        series["metric"]["kind"]: float(series["value"][1])
        for series in watched.ask('sum by (kind) (tokenswarm_request_errors_total{phase="measure"}) > 0')
    }
    rows = [row["error"] for row in measured(watched) if row["error"]]
    assert kinds == {kind: rows.count(kind) for kind in set(rows)}
    assert value(watched, "Error rate", "error rate") == pytest.approx(watched.summary["errors"]["rate"]["value"])


def test_rates_over_the_window_are_the_summarys(watched: Watched) -> None:
    rates, goodput = watched.summary["rates"], watched.summary["goodput"]
    for panel, legend, expected in (
        ("Tokens", "output tok/s", rates["output_tok_s"]),
        ("Tokens", "total tok/s", rates["total_tok_s"]),
        ("Answers", "completed req/s", rates["requests_s"]),
        ("Goodput", "good req/s", goodput["goodput_rps"]),
        ("Goodput", "attainment", goodput["attainment"]),
        ("Prefix cache hit rate", "hit rate", watched.summary["cache"]["hit_rate"]),
    ):
        assert value(watched, panel, legend) == pytest.approx(expected["value"], rel=1e-3), (panel, legend)


@pytest.mark.parametrize(
    ("panel", "bounds"), [("TTFT", LATENCY_BUCKETS_S), ("TPOT", TPOT_BUCKETS_S), ("E2E", LATENCY_BUCKETS_S)]
)
def test_percentiles_lie_in_the_bucket_of_the_exact_ones(watched: Watched, panel: str, bounds: tuple) -> None:
    latency = watched.summary["latency"][f"{panel.lower()}_ms"]
    name = {"TTFT": "ttft_ms", "E2E": "e2e_ms"}.get(panel)
    rows = [row for row in measured(watched) if row["status"] == "ok"]
    values = np.array(
        [float(row[name]) if name else tpot_ms(row) for row in rows if name or int(row["completion_tokens"]) >= 2]
    )
    for q in (50, 95, 99):
        shown_ms = value(watched, panel, f"p{q}") * 1e3
        place = int(np.searchsorted(np.array(bounds) * 1e3, shown_ms * (1 - 1e-9)))
        low, high = ([0.0, *bounds][place] * 1e3, [*bounds, math.inf][place] * 1e3)
        # The exact percentile lies between two neighbours of the sorted values, Prometheus' rank is one of them.
        beside = [float(np.percentile(values, q, method=side)) for side in ("lower", "higher")]
        assert beside[0] <= latency[f"p{q}"]["value"] * (1 + 1e-6)
        assert low * (1 - RELATIVE_ERROR) <= beside[1] and beside[0] <= high * (1 + RELATIVE_ERROR), (q, low, high)


def tpot_ms(row: dict[str, str]) -> float:
    """docs/metrics.md."""
    return (float(row["last_token_ms"]) - float(row["ttft_ms"])) / (int(row["completion_tokens"]) - 1)


def test_a_live_rate_is_what_the_rows_say_of_the_time_between_its_scrapes(watched: Watched) -> None:
    """Prometheus divides what was added between the first and the last scrape in the interval by the time between them.
    A row reaches the process that is scraped within a second, hence the tolerance: two seconds' worth."""
    samples = watched.samples('tokenswarm_requests_total{phase="measure",status="ok"}')
    [window] = [phase for phase in watched.manifest["phases"] if phase["name"] == "measure"]
    inside = [moment for moment, _ in samples if window["start"] <= moment <= window["end"]]
    first, last = inside[0], inside[-1]
    interval_s = math.ceil(last - first) + 1
    [query] = [
        query
        for title, legend, query in queries(interval_s)
        if (title, legend) == ("timeseries Tokens per second", "output")
    ]
    [series] = watched.ask(query, at=last + 0.5)
    ended = [
        (float(row["sent_at"]) + float(row["e2e_ms"]) / 1e3, int(row["completion_tokens"]))
        for row in watched.rows
        if row["e2e_ms"] and row["completion_tokens"]
    ]

    def between(start: float, end: float) -> float:
        return sum(tokens for moment, tokens in ended if start < moment <= end)

    rate = float(series["value"][1])
    assert between(first, last - FLUSH_S) / (last - first) * 0.99 <= rate
    assert rate <= between(first - FLUSH_S, last) / (last - first) * 1.01


def test_every_query_of_the_dashboard_has_an_answer(watched: Watched) -> None:
    silent = [(title, query) for title, _, query in queries(WHOLE_RUN_S) if not watched.ask(query)]
    assert silent == []


def test_the_engine_under_load_was_found_by_what_the_load_generator_tells(watched: Watched) -> None:
    active = fetch(f"{watched.prometheus}/api/v1/targets?state=active")["data"]["activeTargets"]
    mine = [target for target in active if target["labels"]["instance"] == watched.engine]
    assert [(target["labels"]["job"], target["health"]) for target in mine] == [("engine", "up")]


def test_both_dialects_of_engines_fill_the_engines_panels(watched: Watched) -> None:
    for panel in (
        "Requests running and waiting",
        "KV cache in use",
        "Prefix cache hit rate",
        "Tokens generated per second",
        "TTFT inside the engine",
    ):
        for legend, series in answers(watched, f"timeseries {panel}").items():
            shown = {each["metric"]["instance"] for each in series}
            assert shown == {watched.engine, watched.idle_engine}, (panel, legend)


def test_the_engines_own_counter_has_every_token_that_came(watched: Watched) -> None:
    """Once it has been scraped after the run, which is up to 5 s later than the load generator was."""
    time.sleep(max(0.0, watched.at + SCRAPE_S + 1 - time.time()))
    generated = {
        each["metric"]["instance"]: float(each["value"][1])
        for each in watched.ask('{__name__=~"(vllm|sglang):generation_tokens_total"}', at=time.time())
    }
    tokens = sum(int(row["completion_tokens"] or 0) for row in watched.rows)
    assert generated[watched.engine] >= tokens > 0
    assert 0 < generated[watched.idle_engine] < 100


def test_in_flight_and_workers_were_seen_while_it_ran(watched: Watched) -> None:
    assert max(moment[1] for moment in watched.samples("tokenswarm_requests_in_flight")) > 0
    assert watched.samples("tokenswarm_requests_in_flight")[-1][1] == 0
    assert watched.value("max_over_time(tokenswarm_workers[240s])") == 2
    assert watched.value("max(max_over_time(tokenswarm_validity[240s]))") in (1, 2, 3)


def test_the_run_is_named(watched: Watched) -> None:
    [series] = watched.ask("tokenswarm_run_info")
    manifest = watched.manifest
    assert {name: series["metric"][name] for name in ("run_id", "engine", "model", "scenario", "simulated")} == {
        "run_id": watched.folder.name,
        "engine": manifest["engine"]["name"],
        "model": manifest["model"],
        "scenario": "chat",
        "simulated": "true",
    }
