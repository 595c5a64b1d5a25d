"""Bins of time: wide enough for their percentiles, few enough for the page, and aligned to the measure window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenswarm.analysis.figures.timeline import MAX_BINS, TimeBins, make_timeline, mean_by_bin, percentiles_by_bin
from tokenswarm.analysis.figures.window import find_window
from tokenswarm.analysis.read.run_folder import read_run

from tests.analysis.make_run import START, manifest, row, write_run


def timeline_of(tmp_path: Path, seconds: float, rate: float) -> TimeBins:
    rows = [row(sent_at=START + at, e2e_ms=100.0, last_token_ms=100.0) for at in np.arange(0, seconds, 1 / rate)]
    run = read_run(write_run(tmp_path, rows, manifest(seconds=seconds)))
    return make_timeline(run, find_window(run))


@pytest.mark.parametrize(("seconds", "rate"), [(30, 5), (30, 40), (1800, 2), (28_800, 0.2)])
def test_bins_are_wide_enough_for_a_p95_and_not_too_many(tmp_path: Path, seconds: float, rate: float) -> None:
    timeline = timeline_of(tmp_path, seconds, rate)
    assert timeline.width_s * rate >= 20
    assert 6 <= timeline.bins <= MAX_BINS + 1


def test_a_bin_begins_where_the_measure_window_begins(tmp_path: Path) -> None:
    rows = [row(sent_at=START + at) for at in np.arange(-4.3, 30, 0.1)]
    run = read_run(write_run(tmp_path, rows, manifest(seconds=30)))
    timeline = make_timeline(run, find_window(run))
    assert 0.0 in timeline.edges_s
    assert timeline.edges_s[0] <= -4.3
    assert timeline.axis(START) == 0.0


@pytest.mark.parametrize(("seconds", "unit"), [(60, "s"), (1200, "min"), (20_000, "h")])
def test_time_axis_speaks_in_units_that_fit(tmp_path: Path, seconds: float, unit: str) -> None:
    assert timeline_of(tmp_path, seconds, 0.1).unit == unit


def test_run_without_rows_has_no_timeline(tmp_path: Path) -> None:
    assert make_timeline(read_run(write_run(tmp_path, [])), None) is None


def test_percentile_of_a_bin_is_left_out_where_too_few_support_it() -> None:
    rng = np.random.default_rng(2)
    bins = np.repeat([0, 1, 2, -1], [25, 19, 120, 50])
    values = rng.lognormal(4, 1, len(bins))
    values[3] = np.nan
    found = percentiles_by_bin(bins, 4, values, (50, 95, 99))
    for q, has in (
        (50, [True, True, True, False]),
        (95, [True, False, True, False]),
        (99, [False, False, True, False]),
    ):
        assert (~np.isnan(found[q])).tolist() == has
        assert found[q][2] == pytest.approx(np.percentile(values[bins == 2], q))


def test_mean_of_an_empty_bin_is_not_zero() -> None:
    found = mean_by_bin(np.array([0, 0, 2, -1]), 3, np.array([1.0, 3.0, 5.0, 99.0]))
    assert found[0] == 2.0 and np.isnan(found[1]) and found[2] == 5.0
