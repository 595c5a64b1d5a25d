"""The analysis' vectorised calculations equal the registry's functions of one row, and of sums."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenswarm.analysis.figures.quantities import by_row, latency_of
from tokenswarm.analysis.figures.rates import block_sums
from tokenswarm.analysis.figures.slo import conforming
from tokenswarm.analysis.figures.window import find_window
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import SLO, START, make_run, row, write_run
from tests.live.test_live_stats import SECONDS, merged, rows_of
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import RequestBounds, bounds_of, latencies_of, meets


@pytest.fixture(scope="module")
def odd_rows() -> list[dict[str, Any]]:
    """Every way in which a row can lack something, with every outcome."""
    choices = {
        "ttft_ms": (None, 100.0),
        "ttfo_ms": (None, 300.0),
        "last_token_ms": (None, 900.0),
        "e2e_ms": (None, 910.0),
        "completion_tokens": (None, 1, 2, 50),
        "lateness_ms": (None, 7.0),
        "status": ("ok", "failed"),
    }
    return [
        row(
            error=None,
            scheduled_at=None if cells[5] is None else START - 0.007,
            sent_at=START,
            **dict(zip(choices, cells, strict=True)),
        )
        for cells in itertools.product(*choices.values())
    ]


@pytest.mark.parametrize("latency", METRICS.latencies(), ids=lambda latency: latency.name)
def test_a_column_is_the_function_of_a_row(tmp_path: Path, odd_rows: list[dict[str, Any]], latency: Any) -> None:
    table = read_run(write_run(tmp_path, odd_rows)).requests
    expected = [np.nan if (value := latency.of_row(each)) is None else value for each in odd_rows]
    np.testing.assert_allclose(latency_of(latency, table), expected)
    np.testing.assert_allclose(by_row(latency.of_row, latency.columns, table), expected)


@pytest.mark.parametrize(
    "bounds",
    [
        {"ttft_ms": 99.0},
        {"ttft_ms": 100.0},
        {"ttfo_ms": 400.0},
        {"tpot_ms": 20.0, "e2e_ms": 1e6},
        {"tpot_ms": 1e6},
        {"scheduled_ttft_ms": 105.0},
        {"scheduled_e2e_ms": 1e6, "ttfo_ms": 1e6},
        {},
    ],
    ids=str,
)
def test_a_request_conforms_live_as_it_does_in_the_report(
    tmp_path: Path, odd_rows: list[dict[str, Any]], bounds: dict[str, float]
) -> None:
    met, unknown = conforming(read_run(write_run(tmp_path, odd_rows)).requests, RequestBounds(bounds))
    live = [meets(each, latencies_of(each), bounds) for each in odd_rows]
    assert list(zip(met, unknown, strict=True)) == [(each is True, each is None) for each in live]


@pytest.mark.parametrize("workload", ["rag", "reasoning"])
def test_sums_over_blocks_are_the_live_sums_and_give_the_figures(tmp_path: Path, workload: str) -> None:
    folder = make_run(tmp_path / "run", workload, seconds=SECONDS, rate=20, failures=0.05)
    run = read_run(folder)
    bounds = bounds_of(SLO[workload])
    blocks = block_sums(run.requests, run.measured, find_window(run), RequestBounds(bounds))
    sums = {name: float(amounts.sum()) for name, amounts in blocks.items()}

    stats = merged(rows_of(folder), workload, workers=2)
    name = run.requests["user_class"].iloc[0]
    assert sums == pytest.approx(stats.measured(name).sums(SECONDS, True, **stats.of_window(name)))

    summary = summarise(run)
    rates = [rate for rate in METRICS.rates() if rate.of_sums is not None]
    assert len(rates) >= 8
    for rate in rates:
        assert rate.of_sums(sums) == pytest.approx(rate.figure_of(summary).value), rate.name
