"""Joules of a run: exact if they are known, absent with the reason if they would not be the engine's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from tokenswarm.analysis.figures.energy import COUNTER, POWER, energy_of
from tokenswarm.analysis.figures.statistics import SINGLE_POINT
from tokenswarm.analysis.figures.window import Window

WINDOW = Window(1000.0, 1100.0, "manifest")
TOKENS, REQUESTS, WATTS = 100, 200, 350.0


def rows() -> pd.DataFrame:
    """Answers of 100 tokens, two a second, each at once."""
    sent = np.linspace(1000.25, 1099.75, REQUESTS)
    return pd.DataFrame(
        {
            "sent_at": sent,
            "ttft_ms": 1.0,
            "last_token_ms": 1.0,
            "e2e_ms": 1.0,
            "headers_ms": 1.0,
            "completion_tokens": float(TOKENS),
            "status": "ok",
        }
    )


def readings(
    gpu: int = 0, watts: float = WATTS, since: float = 990.0, until: float = 1111.0, **columns: Any
) -> pd.DataFrame:
    """A reading a second, as NVML gives them: energy that a counter sums, and the power of that moment."""
    at = np.arange(since, until)
    table = {
        "at": at,
        "source": f"gpu {gpu}",
        "gpu_energy_j": 5e6 + watts * (at - since),
        "gpu_power_w": watts,
        "gpu_own_processes": 1.0,
        "gpu_other_processes": 0.0,
    }
    return pd.DataFrame(table | columns)


def test_the_counter_gives_joules_over_tokens_and_answers() -> None:
    energy = energy_of(readings(), rows(), WINDOW, 1)
    assert energy.why == "" and energy.joules.value == pytest.approx(WATTS * 100)
    assert energy.per_output_token.value == pytest.approx(WATTS * 100 / (TOKENS * REQUESTS))
    assert energy.per_request.value == pytest.approx(WATTS * 100 / REQUESTS)
    assert energy.per_output_token.ci95 is None and energy.per_output_token.why == SINGLE_POINT  # all blocks are alike
    [gpu] = energy.gpus
    assert (gpu.source, gpu.by, gpu.mean_w) == ("gpu 0", COUNTER, pytest.approx(WATTS))


def test_power_is_integrated_where_there_is_no_counter() -> None:
    at = np.arange(990.0, 1111.0)
    energy = energy_of(readings(gpu_energy_j=np.nan, gpu_power_w=300.0 + 100.0 * (at >= 1050.5)), rows(), WINDOW, 1)
    assert energy.gpus[0].by == POWER
    assert energy.joules.value == pytest.approx(300 * 50.5 + 400 * 49.5, rel=1e-3)


def test_an_uneven_run_has_a_wider_interval_that_holds_its_ratio() -> None:
    at = np.arange(990.0, 1111.0)
    even = energy_of(readings(gpu_energy_j=5e6 + np.cumsum(340.0 + at % 20)), rows(), WINDOW, 1).per_output_token
    uneven = energy_of(readings(gpu_energy_j=5e6 + np.cumsum(np.where(at % 20 < 10, 600.0, 100.0))), rows(), WINDOW, 1)
    widths = [high - low for low, high in ((figure.ends) for figure in (even, uneven.per_output_token))]  # type: ignore[operator]
    assert widths[1] > 5 * widths[0]


def test_the_gpus_of_the_engine_add_up_and_a_neighbours_does_not_count() -> None:
    host = pd.concat([readings(0), readings(1), readings(2, watts=700.0, gpu_own_processes=0.0)])
    energy = energy_of(host, rows(), WINDOW, 2)
    assert energy.joules.value == pytest.approx(2 * WATTS * 100) and len(energy.gpus) == 2


def test_a_container_has_the_gpus_that_are_watched_where_they_are_as_many_as_it_uses() -> None:
    unknown = {"gpu_own_processes": np.nan, "gpu_other_processes": np.nan}
    both = pd.concat([readings(0, **unknown), readings(1, **unknown)])
    assert energy_of(both, rows(), WINDOW, 2).joules.value == pytest.approx(2 * WATTS * 100)
    assert "GPUS=0,1" in energy_of(both, rows(), WINDOW, 1).why


def without_columns(*names: str) -> pd.DataFrame:
    return readings().drop(columns=list(names))


@pytest.mark.parametrize(
    ("host", "why"),
    [
        (pd.DataFrame(), "no GPU of the engine is visible"),
        (readings().assign(source="worker 0"), "no GPU of the engine is visible"),
        (readings(gpu_energy_j=np.nan, gpu_power_w=np.nan), "neither energy nor power"),
        (readings(until=1060.0), "do not cover"),
        (readings(since=1040.0), "do not cover"),
        (readings()[lambda table: ~table["at"].between(1040, 1050)], "gap of 12.0 s"),
        (readings(gpu_energy_j=np.where(np.arange(990, 1111) < 1050, 5e6, 0.0)), "went back"),
        (readings(gpu_other_processes=1.0), "shared"),
        (readings(gpu_own_processes=0.0), "no process of the engine"),
    ],
)
def test_what_is_not_the_engines_energy_is_no_figure_and_never_0(host: pd.DataFrame, why: str) -> None:
    energy = energy_of(host, rows(), WINDOW, 1)
    assert why in energy.why
    assert energy.joules.value is energy.per_output_token.value is energy.per_request.value is None
    assert why in (energy.per_output_token.why or "")


def test_without_a_window_or_an_answer_there_is_no_ratio() -> None:
    assert "window" in energy_of(readings(), rows(), None, 1).why
    nothing = energy_of(readings(), rows().iloc[:0], WINDOW, 1)
    assert nothing.joules.value and nothing.per_output_token.value is None and nothing.per_output_token.why


def test_an_older_run_has_power_alone() -> None:
    host = without_columns("gpu_energy_j", "gpu_own_processes", "gpu_other_processes")
    assert energy_of(host, rows(), WINDOW, 1).gpus[0].by == POWER
