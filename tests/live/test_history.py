"""What the tab LLM makes of samples and snapshots."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tokenswarm.generator.plugin import three_digits
from tokenswarm.live.history import ENGINE_FIGURES, History
from tokenswarm.live.ui_columns import charted
from tokenswarm.ui.engine_view import engine_view

AT = 1_795_000_000.0


def sample(at: float, **values: float | None) -> tuple[float, dict[str, float | None]]:
    plain = {
        "running": 4.0,
        "waiting": 0.0,
        "kv_usage": 0.5,
        "prefix_query_tokens": None,
        "prefix_hit_tokens": None,
        "generation_tokens": None,
        "preemptions": None,
    }
    return AT + at, plain | values


def test_counters_are_shown_as_their_change_over_the_last_ten_seconds() -> None:
    samples = [
        sample(
            second,
            prefix_query_tokens=1000.0 * second,
            prefix_hit_tokens=600.0 * second if second < 10 else 6000.0 + 900.0 * (second - 10),
            generation_tokens=50.0 * second,
        )
        for second in range(21)
    ]
    view = engine_view(samples, AT + 20.5)
    assert (view["running"], view["kv_usage"]) == (4.0, 0.5)
    assert view["hit_rate"] == pytest.approx(0.9)
    assert view["generation_tok_s"] == pytest.approx(50.0)


def test_an_engine_that_was_restarted_has_no_rate_until_it_counts_again() -> None:
    view = engine_view(
        [
            sample(0, prefix_query_tokens=9e6, prefix_hit_tokens=8e6, generation_tokens=1e6),
            sample(1, prefix_query_tokens=10.0, prefix_hit_tokens=0.0, generation_tokens=5.0),
        ],
        AT + 1,
    )
    assert view["hit_rate"] is None and view["generation_tok_s"] is None


@pytest.mark.parametrize("samples", [[], [sample(0)], [(AT + 19, dict.fromkeys(sample(0)[1]))]])
def test_an_engine_that_told_nothing_lately_has_no_figures(samples: list) -> None:
    assert engine_view(samples, AT + 20) is None


def snapshot(second: int) -> dict:
    total = dict.fromkeys(charted(), float(second)) | {"failed": 0, "hit_rate": None}
    return {
        "at": AT + second,
        "phase": "measure",
        "in_flight": 1,
        "last": {"seconds": 10.0, "total": total},
        "engine": dict.fromkeys(ENGINE_FIGURES, 1.0),
    }


def test_the_time_line_of_a_day_is_as_long_as_that_of_an_hour_and_still_even(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenswarm.live.history.MOST_POINTS", 90)  # a day of 10 s each, and as many points
    history = History("run-1")
    for second in range(8_640):
        history.add(snapshot(second))
    times = [point["at"] - AT for point in history.points]
    assert 45 <= len(times) <= 90
    gaps = {after - before for before, after in pairwise(times)}
    assert len(gaps) == 1, "every that many seconds, from the beginning to the end"
    assert times[0] < 300 and times[-1] > 8_340


@pytest.mark.parametrize(
    ("exact", "shown"), [(147.46, 147.0), (3432.1, 3430.0), (0.1234, 0.123), (58_760, 58_800.0), (0.0, 0.0)]
)
def test_locust_counts_response_times_with_three_digits(exact: float, shown: float) -> None:
    assert three_digits(exact) == shown
