"""What a scrape gets: every metric of the list, every series from the start, the run's figures, nothing hostile."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.analysis import make_run
from tokenswarm.contract.manifest import manifest_of
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import ERROR_KINDS
from tokenswarm.live.aggregate import Delta
from tokenswarm.live.live_stats import LiveStats
from tokenswarm.live.prometheus import Moment, exported, families, run_labels

RUN = {"run_id": "r1", "engine": "sim", "model": "m", "scenario": "chat", "simulated": "true"}
HEALTH = {
    "source": "worker 0",
    "cpu_share": 0.25,
    "loop_lag_ms": 3.0,
    "read_lag_p99_ms": 0.5,
    "lateness_max_ms": 8.0,
    "rss_mb": 64.0,
}
BOUNDS = {"ttft_ms": 400.0}


def stats(*rows: dict[str, Any], health: dict[str, Any] | None = None, unbounded: Collection[str] = ()) -> LiveStats:
    """Live figures after these rows, in a window that contains them."""
    line = Timeline(make_run.START - 5, make_run.START, make_run.START + 60, make_run.START + 70)
    live = LiveStats(line, bounded=lambda name: name not in unbounded, open_loop=True)
    part = Delta()
    for row in rows:
        part.add({"error": None, "lateness_ms": None, **row}, BOUNDS, line)
    part.health = {**HEALTH, "at": time.time()} if health is None else health
    live.merge(part)
    return live


def moment(**other: Any) -> Moment:
    plain = {
        "run": RUN,
        "phase": "measure",
        "measured_s": 12.5,
        "in_flight": {"RagReader": 3},
        "users": 4,
        "user_classes": ["RagReader"],
    }
    return Moment(**{**plain, **other})


def scraped(live: LiveStats, now: Moment | None = None) -> dict[tuple[str, frozenset], float]:
    """What Prometheus' own parser makes of a page: (name, labels) -> value."""

    class Registry:
        def collect(self) -> Any:
            return families(live, now or moment())

    text = generate_latest(Registry()).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset]:
    return f"tokenswarm_{name}", frozenset(labels.items())


def test_a_page_holds_every_metric_of_the_list_with_its_labels_and_no_other() -> None:
    page = scraped(stats(make_run.row()))
    found: dict[str, set[str]] = {}
    for name, labels in page:
        plain = re.sub(r"_(bucket|sum|count)$", "", name) if "_seconds_" in name else name
        found.setdefault(plain, set()).update({label for label, _ in labels} - {"le"})
    assert found == {described.name: set(described.labels) for described in exported()}


def test_every_series_is_there_at_zero_before_anything_happened() -> None:
    page = scraped(stats(), moment(user_classes=["A", "B"]))
    for user_class in "AB":
        for phase in ("warmup", "measure"):
            by = {"user_class": user_class, "phase": phase}
            for kind in ERROR_KINDS:
                assert page[key("request_errors_total", kind=kind, **by)] == 0
            for status in ("ok", "failed", "cancelled"):
                assert page[key("requests_total", status=status, **by)] == 0
            assert page[key("ttft_seconds_bucket", le="+Inf", **by)] == 0
    assert key("timing_error_bound_seconds") not in page or page[key("timing_error_bound_seconds")] >= 0


def test_figures_are_the_runs_in_base_units() -> None:
    live = stats(
        make_run.row(ttft_ms=100.0, e2e_ms=1090.0, last_token_ms=1090.0, completion_tokens=100),
        make_run.row(ttft_ms=500.0, e2e_ms=900.0, last_token_ms=900.0, completion_tokens=5),
        make_run.row(
            status="failed",
            error="overloaded",
            ttft_ms=None,
            e2e_ms=None,
            last_token_ms=None,
            completion_tokens=None,
            cached_tokens=None,
        ),
        make_run.row(phase="warmup", ttft_ms=7000.0, sent_at=make_run.START - 4),
    )
    page, by = scraped(live), {"user_class": "RagReader", "phase": "measure"}
    assert page[key("requests_total", status="ok", **by)] == 2
    assert page[key("requests_total", status="failed", **by)] == 1
    assert page[key("request_errors_total", kind="overloaded", **by)] == 1
    assert page[key("good_requests_total", **by)] == 1
    assert page[key("output_tokens_total", **by)] == 105
    assert (page[key("cached_tokens_total", **by)], page[key("cache_known_prompt_tokens_total", **by)]) == (1000, 2000)
    assert page[key("window_answers_total", user_class="RagReader")] == 2
    assert page[key("ttft_seconds_count", **by)] == 2
    assert page[key("ttft_seconds_sum", **by)] == pytest.approx(0.6)
    assert page[key("tpot_seconds_sum", **by)] == pytest.approx(0.99 / 99 + 0.4 / 4)
    at_most = {le: page[key("ttft_seconds_bucket", le=le, **by)] for le in ("0.075", "0.15", "0.4", "0.75", "600.0")}
    assert at_most == {"0.075": 0, "0.15": 1, "0.4": 1, "0.75": 2, "600.0": 2}
    assert page[key("ttft_seconds_count", user_class="RagReader", phase="warmup")] == 1
    assert page[key("requests_in_flight", user_class="RagReader")] == 3
    assert (page[key("users")], page[key("measured_seconds")]) == (4, 12.5)
    assert page[key("phase", phase="measure")] == 1 and page[key("phase", phase="drain")] == 0
    assert page[key("worker_cpu_ratio", worker="worker 0")] == 0.25
    assert page[key("worker_loop_lag_seconds", worker="worker 0")] == pytest.approx(0.003)
    assert page[key("worker_resident_memory_bytes", worker="worker 0")] == 64 * 1024**2


def test_buckets_only_rise_and_end_at_the_count() -> None:
    live = stats(*(make_run.row(ttft_ms=1.07**power, e2e_ms=1.07**power) for power in range(-60, 220)))
    page = scraped(live)
    for name in ("ttft", "e2e"):
        by = {"user_class": "RagReader", "phase": "measure"}
        buckets = sorted(
            (float(labels["le"].replace("+Inf", "inf")), value)
            for labels, value in (
                (dict(labels), value)
                for (found, labels), value in page.items()
                if found == f"tokenswarm_{name}_seconds_bucket"
            )
            if by.items() <= labels.items()
        )
        counts = [value for _, value in buckets]
        assert counts == sorted(counts) and counts[-1] == page[key(f"{name}_seconds_count", **by)] == 280
        for bound, count in buckets[:-1]:
            exact = sum(1.07**power <= bound * 1e3 for power in range(-60, 220))
            assert abs(count - exact) <= 1, bound


def test_text_of_others_comes_out_as_it_went_in_but_never_breaks_a_line() -> None:
    hostile = 'a"b\\c\nd{e="f"} 1\ud800' + "x" * 500
    manifest = {"run_id": "r", "engine": {"name": "sim"}, "model": hostile, "scenario": {"name": "chat"}}
    page = scraped(stats(), moment(run=run_labels(manifest_of(manifest), "true"), user_classes=['C"\n'], in_flight={}))
    [labels] = [dict(labels) for name, labels in page if name == "tokenswarm_run_info"]
    assert labels["model"] == ('a"b\\c d{e="f"} 1 ' + "x" * 500)[:200]
    assert {dict(labels).get("user_class") for name, labels in page if name == "tokenswarm_requests_total"} == {'C" '}


def test_without_objectives_that_bound_a_request_no_goodput_is_claimed() -> None:
    def claimed(live: LiveStats) -> set[str]:
        now = moment(user_classes=["RagReader", "Chatter"])
        return {
            dict(labels)["user_class"]
            for name, labels in scraped(live, now)
            if name == "tokenswarm_good_requests_total"
        }

    assert claimed(stats()) == {"RagReader", "Chatter"}
    assert claimed(stats(unbounded=["Chatter"])) == {"RagReader"}
    assert claimed(stats(unbounded=["Chatter", "RagReader"])) == set()


def test_a_worker_that_fell_silent_is_no_longer_counted() -> None:
    page = scraped(stats(health={**HEALTH, "at": time.time() - 60}))
    assert page[key("workers")] == 0
    assert not any(name == "tokenswarm_worker_cpu_ratio" for name, _ in page)


@pytest.mark.parametrize(("cpu_share", "value"), [(0.2, 1), (0.8, 2), (0.97, 3)])
def test_validity_is_the_lights_colour(cpu_share: float, value: int) -> None:
    assert (
        scraped(stats(health={**HEALTH, "at": time.time(), "cpu_share": cpu_share, "lateness_max_ms": None}))[
            key("validity")
        ]
        == value
    )
