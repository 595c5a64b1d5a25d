"""The engine's own histograms beside the client's figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenswarm.analysis.figures.server_view import histogram_percentile, server_figures, server_ttft
from tokenswarm.analysis.read.run_folder import read_run

from tests.analysis.make_run import START, row, write_table
from tokenswarm.contract.tables import REQUEST_COLUMNS

BOUNDS = [0.05, 0.1, 0.2, 0.4]


def run_with(folder: Path, latency: Any, rows: list[dict[str, Any]] | None = None) -> Any:
    """A run folder whose manifest holds this `server_latency`."""
    write_table(folder / "requests.csv", REQUEST_COLUMNS, rows or [])
    (folder / "run.json").write_text(json.dumps({"format": 1, "server_latency": latency}))
    return read_run(folder)


def latency(counts: list[int], total_s: float = 1.0, **more: Any) -> dict[str, Any]:
    """A `server_latency` of ten seconds from START with a TTFT histogram."""
    histogram = {"bounds_s": BOUNDS, "counts": counts, "sum_s": total_s, "count": sum(counts)}
    return {"start_at": START, "end_at": START + 10, "histograms": {"ttft": histogram}, "why": None} | more


@pytest.mark.parametrize("q", [1, 50, 90, 99, 100])
def test_the_true_percentile_lies_in_the_bucket_and_so_does_the_value(q: float) -> None:
    values = np.random.default_rng(5).lognormal(-2, 0.7, 5000).clip(max=0.39)
    counts = np.histogram(values, [0, *BOUNDS, 1e9])[0].tolist()
    value, low, high = histogram_percentile(BOUNDS, counts, q)
    assert low <= np.percentile(values, q, method="inverted_cdf") <= high
    assert low <= value <= high


def test_inside_a_bucket_observations_are_taken_to_be_spread_evenly() -> None:
    assert histogram_percentile(BOUNDS, [0, 0, 10, 0, 0], 50) == (pytest.approx(0.15), 0.1, 0.2)
    assert histogram_percentile(BOUNDS, [5, 5, 0, 0, 0], 50) == (pytest.approx(0.05), 0.0, 0.05)


def test_beyond_the_last_bucket_there_is_no_value() -> None:
    assert histogram_percentile(BOUNDS, [1, 0, 0, 0, 99], 95) == (None, 0.4, float("inf"))


def test_figures_name_their_bucket_and_the_mean_is_exact(tmp_path: Path) -> None:
    found = server_ttft(run_with(tmp_path, latency([0, 0, 150, 50, 0], 37.0)))
    assert found.p50.value == pytest.approx(166.67, abs=0.01)
    assert found.p50.bucket == [100, 200]
    assert (found.p95.value, found.p95.bucket) == (pytest.approx(360), [200, 400])
    assert (found.mean.value, found.mean.n) == (185, 200)
    assert (found.start_unix_s, found.end_unix_s) == (START, START + 10)


def test_a_coarse_or_open_bucket_gives_its_ends_and_no_value(tmp_path: Path) -> None:
    found = server_ttft(run_with(tmp_path, latency([60, 0, 0, 0, 40])))
    assert found.p50.value is None
    assert (found.p50.bucket, found.p95.bucket) == ([0, 50], [400, None])
    assert "between 0 and 50 ms" in found.p50.why and "above 400 ms" in found.p95.why


def test_a_percentile_needs_as_many_observations_as_any_other(tmp_path: Path) -> None:
    found = server_ttft(run_with(tmp_path, latency([0, 0, 30, 0, 0])))
    assert found.p95.value is not None
    assert found.p99.why == "needs 100 observations, has 30"


def test_the_client_is_shown_for_the_same_first_tokens(tmp_path: Path) -> None:
    rows = [
        row(sent_at=START - 0.05, ttft_ms=100.0, phase="warmup"),  # its first token came after the first reading
        row(sent_at=START + 1, ttft_ms=200.0, status="failed", error="reset_mid_stream"),  # the engine counted it too
        row(sent_at=START + 9.95, ttft_ms=300.0),  # its first token came after the last reading
        row(sent_at=START + 2, ttft_ms=None, status="cancelled"),
    ]
    client = server_ttft(run_with(tmp_path, latency([0, 1, 1, 0, 0]), rows)).client
    assert (client.mean.value, client.mean.n) == (150, 2)


def test_why_there_is_no_figure_is_told(tmp_path: Path) -> None:
    reason = "the engine's counters started over in between: it was restarted"
    found = server_figures(run_with(tmp_path, latency([], histograms={}, why=reason)))
    assert {figures.p50.why for figures in found.values()} == {reason}
    assert server_figures(run_with(tmp_path, None))["ttft"].mean.value is None


@pytest.mark.parametrize(
    "broken",
    [
        7,
        {"bounds_s": [1, 2], "counts": [1]},
        {"bounds_s": ["a"], "counts": [1, 2]},
        {"bounds_s": [2, 1], "counts": [1, 1, 1], "sum_s": 1},
        {"bounds_s": [1], "counts": [-1, 5], "sum_s": 1},
        {"bounds_s": [], "counts": []},
    ],
)
def test_what_is_no_histogram_gives_no_figure(tmp_path: Path, broken: Any) -> None:
    found = server_ttft(run_with(tmp_path, latency([], histograms={"ttft": broken})))
    assert found.mean.value is None and found.client is None


def test_a_histogram_that_counted_nothing_says_so(tmp_path: Path) -> None:
    assert "counted none" in server_ttft(run_with(tmp_path, latency([0] * 5))).p50.why
