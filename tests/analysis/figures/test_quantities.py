"""Every metric against a case small enough to work out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tokenswarm.analysis.figures import quantities as metrics
from tokenswarm.analysis.figures.flow import in_flight, output_flow
from tokenswarm.analysis.figures.window import find_window
from tokenswarm.analysis.read.run_folder import Run, read_run

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.contract.summary.request_records import Outcomes
from tokenswarm.contract.tables import GENERATOR_KINDS


def folder_of(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> Run:
    return read_run(write_run(tmp_path, list(rows), **more))


def rates(run: Run) -> dict[str, Any]:
    return metrics.rate_figures(run.requests, run.measured, find_window(run))


def test_tpot_divides_by_the_tokens_after_the_first(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path,
        row(ttft_ms=100.0, last_token_ms=1090.0, completion_tokens=100, request_id="a"),
        row(ttft_ms=100.0, last_token_ms=100.0, completion_tokens=1, request_id="one token"),
        row(ttft_ms=None, last_token_ms=None, completion_tokens=50, request_id="not streamed"),
    )
    assert metrics.tpot_ms(run.requests)[0] == pytest.approx(10.0)
    assert np.isnan(metrics.tpot_ms(run.requests)[1:]).all()


def test_only_successes_of_the_measure_phase_enter_latency(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path,
        row(ttft_ms=10.0),
        row(ttft_ms=20.0),
        row(ttft_ms=30.0),
        row(ttft_ms=9000.0, phase="warmup"),
        row(ttft_ms=9000.0, phase="drain"),
        row(ttft_ms=9000.0, status="failed", error="truncated"),
        row(ttft_ms=9000.0, status="cancelled"),
    )
    figure = metrics.latency_figures(run.measured)["ttft_ms"]["p50"]
    assert (figure.value, figure.n) == (20.0, 3)


def test_scheduled_latency_adds_the_wait_before_sending(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path,
        row(scheduled_at=START - 0.25, sent_at=START, lateness_ms=250.0),
        row(scheduled_at=START - 0.25, sent_at=START, lateness_ms=None),
        row(scheduled_at=None),
    )
    found = metrics.latencies(run.requests)
    assert found["scheduled_ttft_ms"][:2] == pytest.approx([350.0, 350.0], abs=1e-3)
    assert found["scheduled_e2e_ms"][:2] == pytest.approx([1340.0, 1340.0], abs=1e-3)
    assert np.isnan(found["scheduled_ttft_ms"][2])


def test_closed_loop_has_no_scheduled_figures(tmp_path: Path) -> None:
    assert "scheduled_ttft_ms" not in metrics.latency_figures(folder_of(tmp_path, row(), row()).requests)


def test_output_rate_counts_tokens_that_arrived_inside_the_window(tmp_path: Path) -> None:
    stream = {
        "ttft_ms": 1000.0,
        "last_token_ms": 3000.0,
        "e2e_ms": 3000.0,
        "completion_tokens": 100,
        "prompt_tokens": 0,
    }
    run = folder_of(
        tmp_path,
        row(sent_at=START - 2.0, phase="warmup", **stream),  # tokens from -1 s to +1 s: half inside
        row(sent_at=START + 2.0, **stream),  # from 3 s to 5 s: all inside
        row(sent_at=START + 8.5, **stream),  # from 9.5 s to 11.5 s: a quarter inside
        row(sent_at=START + 9.5, **stream),  # after the window
        facts=manifest(seconds=10.0),
    )
    assert rates(run)["output_tok_s"].value == pytest.approx((50 + 100 + 25) / 10.0)


def test_tokens_of_an_answer_that_was_not_streamed_arrive_at_its_end(tmp_path: Path) -> None:
    plain = {"ttft_ms": None, "last_token_ms": None, "completion_tokens": 7, "prompt_tokens": 0}
    run = folder_of(
        tmp_path,
        row(sent_at=START + 1.0, e2e_ms=500.0, **plain),
        row(sent_at=START + 9.0, e2e_ms=1500.0, **plain),  # ends after the window
        row(sent_at=START - 1.0, e2e_ms=1500.0, phase="warmup", **plain),  # ends inside
        facts=manifest(seconds=10.0),
    )
    assert rates(run)["output_tok_s"].value == pytest.approx(14 / 10.0)


def test_total_rate_adds_prompts_when_their_first_token_comes(tmp_path: Path) -> None:
    one = {"ttft_ms": 100.0, "last_token_ms": 1100.0, "completion_tokens": 10, "prompt_tokens": 1000}
    run = folder_of(
        tmp_path, row(sent_at=START + 1.0, **one), row(sent_at=START + 9.95, **one), facts=manifest(seconds=10.0)
    )
    assert rates(run)["total_tok_s"].value == pytest.approx((1000 + 10) / 10.0)


def test_cancelled_streams_still_delivered_their_tokens(tmp_path: Path) -> None:
    cut = row(sent_at=START + 1.0, status="cancelled", e2e_ms=None, completion_tokens=20)
    assert rates(folder_of(tmp_path, cut, facts=manifest(seconds=10.0)))["output_tok_s"].value == pytest.approx(2.0)


def test_request_rate_counts_answers_completed_in_the_window(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path,
        row(sent_at=START - 0.5, phase="warmup", e2e_ms=1000.0),
        row(sent_at=START + 5.0),
        row(sent_at=START + 6.0, status="failed", error="truncated"),
        row(sent_at=START + 9.5, e2e_ms=1000.0),
        facts=manifest(seconds=10.0),
    )
    assert rates(run)["requests_s"].value == pytest.approx(0.2)
    assert rates(run)["sent_s"].value == pytest.approx(0.3)


def test_flow_agrees_with_counting_token_by_token() -> None:
    rng = np.random.default_rng(3)
    n = 200
    first = rng.uniform(10, 500, n)
    frame = pd.DataFrame(
        {
            "sent_at": START + rng.uniform(0, 30, n),
            "ttft_ms": first,
            "last_token_ms": first + rng.uniform(0, 4000, n),
            "e2e_ms": np.nan,
            "completion_tokens": rng.integers(2, 400, n).astype(float),
        }
    )
    edges = START + np.arange(0, 40, 1.0)
    counted = np.zeros(len(edges) - 1)
    for _, r in frame.iterrows():
        parts = 4000
        times = r.sent_at + np.interp((np.arange(parts) + 0.5) / parts, [0, 1], [r.ttft_ms, r.last_token_ms]) / 1e3
        counted += np.histogram(times, edges)[0] * r.completion_tokens / parts
    assert output_flow(frame).between(edges) == pytest.approx(counted, abs=2.0)
    assert output_flow(frame).between(edges[[0, -1]])[0] == pytest.approx(frame.completion_tokens.sum(), rel=1e-9)


def test_in_flight_is_the_mean_over_each_interval(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path,
        row(sent_at=START, last_token_ms=None, e2e_ms=1500.0),
        row(sent_at=START + 1.0, last_token_ms=1000.0, e2e_ms=None),
    )
    edges = START + np.array([0.0, 1.0, 2.0, 3.0])
    assert in_flight(run.requests, edges) == pytest.approx([1.0, 1.5, 0.0], abs=1e-6)


def test_error_rate_leaves_out_cancelled_requests(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path,
        row(),
        row(),
        row(),
        row(status="failed", error="truncated"),
        row(status="cancelled"),
    )
    assert metrics.error_rate(run.requests).value == 0.25
    assert metrics.outcome_counts(run.requests) == Outcomes(sent=5, ok=3, failed=1, cancelled=1)


@pytest.mark.parametrize("kind", GENERATOR_KINDS)
def test_error_rate_leaves_out_what_failed_by_the_load_generator(tmp_path: Path, kind: str) -> None:
    run = folder_of(tmp_path, row(), row(status="failed", error="truncated"), row(status="failed", error=kind))
    assert metrics.error_rate(run.requests).value == 0.5


def test_hit_rate_is_taken_from_usage_and_weighs_by_tokens(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path,
        row(prompt_tokens=1000, cached_tokens=900),
        row(prompt_tokens=100, cached_tokens=0),
        row(prompt_tokens=5000, cached_tokens=None),
    )
    cache = metrics.cache_figures(run, run.requests, find_window(run))
    assert cache.hit_rate.value == pytest.approx(900 / 1100)
    assert cache.source == "usage"


def engine_rows(*counters: tuple[float, float, float]) -> list[dict[str, float]]:
    return [{"at": START + at, "prefix_query_tokens": q, "prefix_hit_tokens": h} for at, q, h in counters]


def test_hit_rate_falls_back_to_the_engines_counters_inside_the_window(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path,
        row(cached_tokens=None),
        facts=manifest(seconds=10.0),
        engine=engine_rows((-5, 0, 0), (1, 1000, 0), (5, 2000, 600), (9, 3000, 1200), (12, 9000, 9000)),
    )
    cache = metrics.cache_figures(run, run.requests, find_window(run))
    assert cache.hit_rate.value == pytest.approx(0.6)
    assert cache.source == "counters"


def test_counter_that_restarts_counts_on_from_zero(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path, row(), facts=manifest(seconds=10.0), engine=engine_rows((1, 500, 0), (2, 700, 0), (3, 100, 0))
    )
    assert metrics.counter_growth(run, find_window(run), "prefix_query_tokens") == 300.0


def test_unreported_cache_has_a_reason_instead_of_a_number(tmp_path: Path) -> None:
    run = folder_of(tmp_path, row(cached_tokens=None))
    figure = metrics.cache_figures(run, run.requests, find_window(run)).hit_rate
    assert figure.value is None and "usage" in figure.why


def test_token_source_mix_is_told(tmp_path: Path) -> None:
    run = folder_of(tmp_path, row(), row(token_source="chunks"), row())
    assert metrics.token_facts(run.requests).source == {"usage": 2, "chunks": 1}


def test_valid_output_counts_checked_successes_only(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path,
        row(valid_output=True),
        row(valid_output=False),
        row(valid_output=None),
        row(status="failed", error="truncated", valid_output=False),
    )
    assert metrics.valid_output(run.requests).value == 0.5


def test_gaps_are_summaries_of_streams_and_say_so(tmp_path: Path) -> None:
    rows = [row(icl_p50_ms=float(i), icl_p99_ms=2.0 * i, icl_max_ms=3.0 * i) for i in range(1, 101)]
    found = metrics.gap_figures(folder_of(tmp_path, *rows).requests)
    assert found["icl_p50_ms"].value == 50.5
    assert found["icl_p99_ms"].value == pytest.approx(np.percentile(2.0 * np.arange(1, 101), 99))
    assert found["icl_max_ms"].value == 300.0


def test_one_users_rate_is_a_thousand_over_tpot(tmp_path: Path) -> None:
    run = folder_of(tmp_path, row(), row())
    assert metrics.per_user_rate(run.requests)["p50"].value == pytest.approx(100.0)


def test_window_of_a_killed_run_ends_with_its_last_sign_of_life(tmp_path: Path) -> None:
    run = folder_of(
        tmp_path,
        row(sent_at=START + 3.0, last_token_ms=1000.0, e2e_ms=1000.0),
        facts=manifest(seconds=60, status="running"),
    )
    assert find_window(run).seconds == pytest.approx(4.0)


def test_window_without_manifest_comes_from_the_measured_rows(tmp_path: Path) -> None:
    rows = [row(sent_at=START - 3, phase="warmup"), row(sent_at=START), row(sent_at=START + 7.0)]
    window = find_window(folder_of(tmp_path, *rows, facts={}))
    assert (window.seconds, window.source) == (pytest.approx(7.0), "rows")


def test_a_drifting_latency_is_told_and_a_level_one_is_not() -> None:
    def run_of(ttft_ms: np.ndarray) -> pd.DataFrame:
        cells = dict.fromkeys(("ttfo_ms", "last_token_ms", "completion_tokens", "lateness_ms", "scheduled_at"), np.nan)
        return pd.DataFrame(
            {"status": "ok", "ttft_ms": ttft_ms, "e2e_ms": ttft_ms, "sent_at": START, **cells},
            index=range(len(ttft_ms)),
        )

    noise = np.random.default_rng(0).lognormal(4, 0.3, 500)
    assert metrics.wave_notes(run_of(noise)) == []
    (drifted,) = metrics.wave_notes(run_of(noise * np.linspace(1, 3, 500)))
    assert drifted.startswith("TTFT came in waves")
    unstreamed = run_of(noise * np.linspace(1, 3, 500)).assign(ttft_ms=np.nan)
    assert metrics.wave_notes(unstreamed)[0].startswith("E2E")
