"""From evidence to one of four states: every branch, and what never decides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tokenswarm.analysis.verdict.claim_evidence import (
    by_interval,
    by_trials,
    judge,
    region_words,
    settle,
    spread_ratio,
    together,
    trend,
)

from tokenswarm.contract.claims_record import (
    CONTRADICTED,
    NOT_TESTABLE,
    SUPPORTED,
    UNDECIDED,
    ClaimEvidence,
    ClaimRecord,
)
from tokenswarm.contract.summary.figure import Figure

REGION = (1.16, 1.42)


def seen(low: float | None, high: float | None, **more: object) -> ClaimEvidence:
    return ClaimEvidence(engine="vllm", figure=Figure(1.3, "", 5, [low, high]), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("region", "low", "high", "state"),
    [
        (REGION, 1.20, 1.35, SUPPORTED),
        (REGION, 1.16, 1.42, SUPPORTED),
        (REGION, 1.00, 1.10, CONTRADICTED),
        (REGION, 1.50, 1.60, CONTRADICTED),
        (REGION, 1.10, 1.30, UNDECIDED),
        (REGION, 1.30, 1.50, UNDECIDED),
        (REGION, 1.00, 2.00, UNDECIDED),
        ((1.2, None), 1.25, 9.0, SUPPORTED),
        ((1.2, None), 1.0, 1.1, CONTRADICTED),
        ((1.2, None), 1.1, 1.3, UNDECIDED),
        ((None, 0.9), 0.1, 0.8, SUPPORTED),
        ((None, 0.9), 0.95, 1.2, CONTRADICTED),
        ((None, 0.9), 0.8, 1.0, UNDECIDED),
        ((1.2, None), 1.25, None, SUPPORTED),
        ((1.2, None), None, 1.1, CONTRADICTED),
        ((1.2, None), None, 1.3, UNDECIDED),
        ((None, 0.9), None, 0.8, SUPPORTED),
        (REGION, 1.2, None, UNDECIDED),
    ],
)
def test_the_interval_decides(
    region: tuple[float | None, float | None], low: float | None, high: float | None, state: str
) -> None:
    assert by_interval(region, low, high) == state


def test_always_is_contradicted_by_one_counterexample_and_supported_by_enough_trials() -> None:
    assert by_trials(100, 1)[0] == CONTRADICTED
    assert by_trials(19, 0)[0] == UNDECIDED
    state, why = by_trials(20, 0)
    assert state == SUPPORTED and "86.1%" in why


@pytest.mark.parametrize(
    ("kind", "evidence", "state"),
    [
        ("speed", seen(1.2, 1.3), SUPPORTED),
        ("speed", seen(1.2, 1.3, on_cpu=True), NOT_TESTABLE),
        ("speed", seen(0.2, 0.3, on_cpu=True), NOT_TESTABLE),
        ("speed", seen(0.2, 0.3, simulated=True), NOT_TESTABLE),
        ("behaviour", seen(1.2, 1.3, on_cpu=True), SUPPORTED),
        ("behaviour", seen(0.2, 0.3, on_cpu=True), CONTRADICTED),
        ("behaviour", seen(0.2, 0.3, simulated=True), NOT_TESTABLE),
        ("speed", seen(None, None), UNDECIDED),
        ("speed", ClaimEvidence(figure=Figure(1.3, "", 1)), UNDECIDED),
        ("speed", ClaimEvidence(why="it did not start"), UNDECIDED),
        ("speed", ClaimEvidence(), UNDECIDED),
        ("behaviour", ClaimEvidence(holds=True), SUPPORTED),
        ("behaviour", ClaimEvidence(holds=False), CONTRADICTED),
        ("behaviour", ClaimEvidence(holds=True, simulated=True), NOT_TESTABLE),
        ("behaviour", ClaimEvidence(holds=True, trials=24), SUPPORTED),
        ("behaviour", ClaimEvidence(holds=False, trials=24, failures=2), CONTRADICTED),
        ("behaviour", ClaimEvidence(holds=True, trials=3), UNDECIDED),
    ],
)
def test_a_cpu_or_a_simulator_decides_nothing_about_speed(kind: str, evidence: ClaimEvidence, state: str) -> None:
    assert judge(kind, REGION, evidence)[0] == state


def states(*each: str) -> list[ClaimEvidence]:
    return [
        ClaimEvidence(engine=f"engine {number}", state=state, state_why="so it is") for number, state in enumerate(each)
    ]


@pytest.mark.parametrize(
    ("each", "wanted", "state"),
    [
        ((), 1, NOT_TESTABLE),
        ((SUPPORTED,), 1, SUPPORTED),
        ((SUPPORTED,), 2, UNDECIDED),
        ((SUPPORTED, SUPPORTED), 2, SUPPORTED),
        ((SUPPORTED, CONTRADICTED), 2, CONTRADICTED),
        ((UNDECIDED, CONTRADICTED), 2, CONTRADICTED),
        ((SUPPORTED, UNDECIDED), 2, UNDECIDED),
        ((NOT_TESTABLE, SUPPORTED), 2, UNDECIDED),
        ((NOT_TESTABLE,), 1, NOT_TESTABLE),
    ],
)
def test_one_engine_can_contradict_a_claim_and_all_are_needed_to_support_it(
    each: tuple[str, ...], wanted: int, state: str
) -> None:
    assert together(states(*each), wanted)[0] == state


def test_what_is_missing_is_named_and_decides() -> None:
    record = settle(ClaimRecord(kind="speed", missing=["1 x H100"]), 1)
    assert (record.state, record.why) == (NOT_TESTABLE, "missing: 1 x H100")
    record = settle(ClaimRecord(kind="speed", region=[1.16, 1.42], evidence=[seen(1.2, 1.3)]), 1)
    assert record.state == SUPPORTED and "lies in the claimed 1.16 to 1.42" in record.why


def test_a_region_is_worded_by_the_bounds_that_it_has() -> None:
    assert region_words((1.16, None)) == "at least 1.16"
    assert region_words((None, 0.9)) == "at most 0.9" and region_words((None, None)) == ""


def test_a_ratio_of_spreads_holds_the_true_one_in_19_of_20_series() -> None:
    rng = np.random.default_rng(18)
    held = 0
    for _ in range(1000):
        a, b = np.exp(rng.normal(5.0, 0.02, 10)), np.exp(rng.normal(5.0, 0.05, 10))
        ratio = spread_ratio(list(a), list(b))
        held += ratio is not None and ratio[1] <= 2.5 <= ratio[2]
    assert 0.925 <= held / 1000 <= 0.975


def test_no_spread_is_no_ratio() -> None:
    assert spread_ratio([1.0], [1.0, 2.0]) is None
    assert spread_ratio([1.0, 1.0], [1.0, 2.0]) is None
    assert spread_ratio([0.0, 1.0], [1.0, 2.0]) is None


def test_a_trend_is_the_ratio_of_two_ratios_with_both_intervals() -> None:
    value, low, high = trend((1.0, 0.9, 1.1), (1.2, 1.1, 1.3))
    assert value == pytest.approx(1.2)
    assert math.log(value / low) == pytest.approx(math.hypot(math.log(1.2 / 1.1), math.log(1.1)))
    assert low < 1.2 < high
