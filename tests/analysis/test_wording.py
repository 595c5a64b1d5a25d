"""Numbers, bounds and times are worded the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.figures.statistics import TOO_FEW, percentiles
from tokenswarm.analysis.render.tiles import interval_words
from tokenswarm.analysis.render.tune_page import tune_markdown
from tokenswarm.analysis.wording import bound_words, moment, number, points

from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.verdict_records import SloGate
from tokenswarm.contract.tune_record import CandidateRecord, Ratio, Tune


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.99, "0.990"),
        (0.01, "0.0100"),
        (0.9996, "1.00"),
        (9.999, "10.0"),
        (12.345, "12.3"),
        (99.96, "100"),
        (123.4, "123"),
        (2936.7, "2,937"),
        (33, "33"),
        (-0.5, "-0.500"),
        (None, "–"),
    ],
)
def test_a_number_has_three_digits_also_where_the_last_is_0(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_differences_of_shares_are_points_with_their_sign() -> None:
    assert [points(each) for each in (0.0022, -0.217, 0.0)] == ["+0.220", "-21.7", "0"]


def test_a_bound_has_the_sign_of_print_and_a_time_its_zone() -> None:
    assert bound_words(SloGate(op="<=", limit=400.0, unit="ms")) == "≤ 400 ms"
    assert bound_words(SloGate(op=">=", limit=0.95, unit="share")) == "≥ 95%"
    assert moment("2026-11-18T10:39:55Z") == "2026-11-18 10:39:55 UTC" and moment(None) == ""


def test_a_tile_says_why_there_is_no_interval_or_no_end_of_it() -> None:
    rng = np.random.default_rng(1)
    few = percentiles(rng.exponential(size=30), [95.0])[95.0].figure("ms")
    waves = percentiles(np.repeat(rng.exponential(size=3), 10), [95.0])[95.0].figure("ms")
    assert few.ci95 and interval_words(few).endswith("(too few for an upper end)")
    assert waves.value is not None and not waves.ci95 and waves.why == TOO_FEW
    assert interval_words(waves) == "95%: no interval: too few independent requests"
    alike = percentiles(np.full(200, 3.0), [50.0])[50.0].figure("ms")
    assert interval_words(alike) == "95%: no interval: all its values are equal"
    assert interval_words(Figure(3.0, "ms", 200, [2.0, 4.0])) == "95%: 2.00 – 4.00"


def test_a_candidate_that_reached_nothing_has_no_ratio_to_the_leader() -> None:
    """The race counts nothing as a hundredth, which nobody measured."""
    race = Tune(
        winner="b",
        candidates=[
            CandidateRecord(name="a", figures=[0.0, 0.0], ratio=Ratio(0.01, [0.009, 0.011])),
            CandidateRecord(name="b", figures=[5.0, 5.1], state="winner"),
            CandidateRecord(name="c", figures=[4.0, 4.1], ratio=Ratio(0.8, [0.7, 0.9])),
        ],
    )
    words = tune_markdown(race)
    assert "0.0100" not in words and "0.800 times (0.700 to 0.900)" in words
