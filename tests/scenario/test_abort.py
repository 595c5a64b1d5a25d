"""When a soak is ended early, and when it is not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.abort import Abort, AbortRules, AbortSettings, EndedRequests
from tokenswarm.scenario.loading import load_scenario

GB = 1e9


def run(settings: AbortSettings, seconds: Iterable[tuple[int, int, int]]) -> tuple[int, Abort] | None:
    """Play (ok, failed, away) of each second; the second in which the run is ended, and why."""
    rules, total = AbortRules(settings), [0, 0, 0]
    for at, counts in enumerate(seconds):
        total = [before + more for before, more in zip(total, counts, strict=True)]
        if (abort := rules.look(EndedRequests(float(at), *total))) is not None:
            return at, abort
    return None


def test_half_of_the_requests_failing_for_a_minute_ends_the_run() -> None:
    at, abort = run(AbortSettings(), [(4, 0, 0)] * 100 + [(1, 3, 0)] * 100)
    # 75% fail from second 100 on: after 41 s more than half of a minute's requests have failed.
    assert (at, abort.rule, abort.code) == (140, "error_rate", Exit.TOO_MANY_ERRORS)
    assert "123 of 240 requests failed within 60 s (51%; abort.error_rate is 50%)" in abort.sentence


@pytest.mark.parametrize(
    "seconds",
    [
        [(1, 1, 0)] * 300,  # half is not more than half
        [(100, 0, 0)] * 100 + [(0, 100, 0)] * 29 + [(100, 0, 0)] * 100,  # over before it is half of a minute
        [(1, 0, 0)] + [(0, 0, 0)] * 100 + [(0, 19, 0)] + [(0, 0, 0)] * 100,  # 19 requests are too few
        [(0, 0, 0)] * 1000,
    ],
)
def test_less_than_that_does_not(seconds: list[tuple[int, int, int]]) -> None:
    assert run(AbortSettings(silence_s=1e6), seconds) is None


def test_nothing_is_judged_before_a_whole_window_was_seen() -> None:
    at, abort = run(AbortSettings(), [(0, 5, 0)] * 100)
    assert (at, abort.rule) == (60, "error_rate")


def test_a_restart_that_takes_minutes_is_survived() -> None:
    away = [(0, 50, 50)] * 240
    assert run(AbortSettings(), [(10, 0, 0)] * 100 + away + [(10, 0, 0)] * 100 + away + [(10, 0, 0)] * 100) is None


def test_an_engine_that_stays_away_is_gone() -> None:
    at, abort = run(AbortSettings(silence_s=120.0), [(10, 0, 0)] * 100 + [(0, 5, 5)] * 500)
    assert (at, abort.rule, abort.code) == (219, "engine_gone", Exit.ENGINE_GONE)
    assert "no request succeeded for 120 s" in abort.sentence


def test_silence_in_which_nothing_fails_is_a_long_answer_or_a_pause() -> None:
    assert run(AbortSettings(silence_s=60.0), [(1, 0, 0)] + [(0, 0, 0)] * 600 + [(1, 0, 0)]) is None


def test_an_engine_that_hangs_is_an_error_rate_and_then_gone() -> None:
    seconds = [(10, 0, 0)] * 100 + [(0, 1, 0)] * 500  # each request times out
    assert run(AbortSettings(error_rate=1.0, silence_s=200.0), seconds)[1].rule == "engine_gone"
    assert run(AbortSettings(), seconds)[1].rule == "error_rate"


def test_a_window_of_hours_needs_no_more_room_than_one_of_a_minute() -> None:
    rules = AbortRules(AbortSettings(window_s=7200.0))
    for at in range(20_000):
        assert rules.look(EndedRequests(float(at), at, 0, 0)) is None
    assert len(rules._window) <= 122


@pytest.mark.parametrize(
    ("free", "total", "ends"),
    [
        (0.4 * GB, 100 * GB, True),
        (0.6 * GB, 100 * GB, False),
        (0.6 * GB, 10_000 * GB, False),  # 2% of a large disk is far more than any run needs
        (0.1 * GB, 2 * GB, False),
        (0.03 * GB, 2 * GB, True),  # and all of a small one is little
    ],
)
def test_a_disk_that_is_nearly_full_ends_the_run(free: float, total: float, ends: bool) -> None:
    abort = AbortRules(AbortSettings()).look_at_disk(free, total)
    assert (abort is not None) is ends
    if ends:
        assert (abort.rule, abort.code) == ("disk_full", Exit.DISK_NEARLY_FULL)


def test_kinds_of_failure_are_counted_as_away_or_not() -> None:
    counted = EndedRequests.of(
        1.0, {"ok": 5, "failed": 7, "cancelled": 1}, {"connect_refused": 3, "server_error": 3, "reset_mid_stream": 1}
    )
    assert (counted.ok, counted.failed, counted.away) == (5, 7, 4)


def test_the_rules_are_a_scenario_s() -> None:
    scenario = load_scenario("rag", {"abort.error_rate": "0.1", "abort.silence_s": "5m"})
    assert (scenario.abort.error_rate, scenario.abort.silence_s) == (0.1, 300.0)
    assert type(scenario).from_values(scenario.values()).abort == scenario.abort
    for key, value in (("abort.error_rate", "2"), ("abort.silence", "60"), ("abort.window_s", "0")):
        with pytest.raises(UserError, match=r"abort"):
            load_scenario("rag", {key: value})
