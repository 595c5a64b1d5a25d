"""How a series changed over a long run: steady, drifting or stepped."""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.figures.drift import DRIFTING, STEADY, STEPPED, TOO_SHORT, blocks, judge, theil_sen
from tokenswarm.analysis.figures.drift_series import drift_figures, sentence
from tokenswarm.analysis.figures.window import find_window
from tokenswarm.analysis.read.run_folder import read_run

from tests.analysis.make_run import START, manifest, row, write_run

AT = np.arange(48) * 60.0


def noise(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1.0, len(AT))


@pytest.mark.parametrize(
    ("values", "state"),
    [
        (100 + noise(), STEADY),
        (100 + noise() + AT / AT[-1] * 30, DRIFTING),
        (100 + noise() - AT / AT[-1] * 30, DRIFTING),
        (100 + noise() + 30 * (np.arange(48) >= 20), STEPPED),
        (np.full(48, 80.0), STEADY),
        (100 + noise()[:12], TOO_SHORT),
    ],
)
def test_a_trend_a_step_and_neither_are_told_apart(values, state) -> None:
    assert judge(AT[: len(values)], values, series=7).state == state


def test_a_trend_has_its_slope_an_hour_with_an_interval() -> None:
    found = judge(AT, 100 + noise() + AT / 3600 * 40)
    assert found.low < 40 < found.high
    assert found.per_hour == pytest.approx(40, abs=4)


def test_a_step_has_its_moment_and_both_levels() -> None:
    found = judge(AT, 100 + noise() + 30 * (np.arange(48) >= 20))
    assert found.at_s == pytest.approx(19.5 * 60, abs=60)
    assert (found.before, found.after) == (pytest.approx(100, abs=1), pytest.approx(130, abs=1))


def test_a_certain_change_that_matters_to_nobody_is_steady() -> None:
    assert judge(AT, 100 + noise() / 1000 + AT / AT[-1], least_change=0.05).state == STEADY


def test_theil_sen_is_not_moved_by_a_few_wild_blocks() -> None:
    values = 2.0 * AT
    values[[3, 30]] = 1e9
    assert theil_sen(AT, values[None, :])[0] == pytest.approx(2.0)


def test_blocks_leave_out_what_was_not_measured() -> None:
    at, values = blocks(np.arange(100.0), np.where(np.arange(100) % 2, np.nan, 7.0))
    assert len(at) == 10
    assert set(values) == {7.0}
    assert [len(part) for part in blocks(np.array([]), np.array([]))] == [0, 0]


def test_a_leak_of_the_load_generator_is_found_in_a_run(tmp_path) -> None:
    end = START + 1200
    phases = [{"name": "measure", "start": START, "end": end}]
    rows = [row(request_id=f"r{i}", sent_at=START + i, ttft_ms=100.0 + i % 7) for i in range(1200)]
    host = [
        {"at": START + second, "source": "worker 0", "cpu_share": 0.2, "rss_mb": 80.0 + second / 20 + second % 3}
        for second in range(0, 1200, 2)
    ]
    run = read_run(write_run(tmp_path / "run", rows, manifest() | {"phases": phases}, host=host))
    found = drift_figures(run, find_window(run))
    assert found["ttft_p95"].state == STEADY
    leak = found["generator_memory"]
    assert leak.state == DRIFTING
    assert leak.per_hour == pytest.approx(180, rel=0.1)
    assert sentence(leak).startswith("drifting: +60.1 MiB within 20 min (+"), "nobody has seen an hour"
    leak.seconds = 7200.0
    assert sentence(leak).startswith("drifting: +180 MiB an hour (+")
