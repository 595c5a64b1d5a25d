"""The offset of a worker's clock from the master's, measured by exchanged messages."""

from __future__ import annotations

from random import Random

import pytest

from tokenswarm.generator.distributed import ClockOffset


def asked(offset_s: float, ways_s: list[tuple[float, float]]) -> ClockOffset:
    """A clock after one question for each (way there, way back), to a worker that is so far ahead."""
    clock = ClockOffset()
    for number, (there, back) in enumerate(ways_s):
        at = 100.0 + number
        clock.record_answer(at, at + there + offset_s, at + there + back)
    return clock


@pytest.mark.parametrize("offset_s", [-3600.0, -0.02, 0.02, 5.0])
def test_the_offset_is_that_of_the_quickest_answer(offset_s: float) -> None:
    clock = asked(offset_s, [(0.2, 0.01), (0.001, 0.001), (0.05, 0.3)])
    assert clock.offset_s == pytest.approx(offset_s)
    assert clock.round_trip_s == pytest.approx(0.002)
    assert clock.correction_s == pytest.approx(offset_s)


def test_it_is_never_further_off_than_half_the_quickest_round_trip() -> None:
    rng = Random(1)
    for _ in range(200):
        offset_s = rng.uniform(-10.0, 10.0)
        clock = asked(offset_s, [(rng.expovariate(50.0), rng.expovariate(50.0)) for _ in range(8)])
        assert abs(clock.offset_s - offset_s) <= clock.round_trip_s / 2 + 1e-9


def test_within_the_error_of_measuring_nothing_is_corrected() -> None:
    assert asked(0.004, [(0.01, 0.02)]).correction_s == 0.0
    assert ClockOffset().correction_s == 0.0
