"""Distributions draw what they promise."""

from __future__ import annotations

from random import Random
from statistics import fmean, pstdev

import pytest
from pydantic import ValidationError

from tokenswarm.scenario.distribution import Distribution


def drawn(data, n=20_000):
    rng = Random(7)
    law = Distribution.model_validate(data)
    return [law.sample(rng) for _ in range(n)]


def test_a_number_is_always_that_number():
    assert set(drawn(3, 10)) == {3}
    assert Distribution.model_validate(3).model_dump() == 3


@pytest.mark.parametrize(
    ("data", "mean", "deviation"),
    [
        ({"kind": "uniform", "low": 2, "high": 6}, 4, 4 / 12**0.5),
        ({"kind": "exponential", "mean": 5}, 5, 5),
        ({"kind": "lognormal", "mean": 3000, "cv": 0.3}, 3000, 900),
        ({"kind": "choice", "values": [1, 2, 4], "weights": [1, 1, 2]}, 2.75, 1.299),
    ],
)
def test_mean_and_deviation_are_those_of_the_law(data, mean, deviation):
    values = drawn(data)
    assert fmean(values) == pytest.approx(mean, rel=0.02)
    assert pstdev(values) == pytest.approx(deviation, rel=0.04)
    assert Distribution.model_validate(data).typical() == pytest.approx(mean)


def test_min_and_max_bound_every_value():
    values = drawn({"kind": "lognormal", "mean": 10, "cv": 2, "min": 5, "max": 20})
    assert min(values) == 5 and max(values) == 20


def test_whole_numbers_are_rounded_and_never_under_the_least():
    rng = Random(1)
    law = Distribution.model_validate({"kind": "uniform", "low": 0, "high": 3})
    assert {law.sample_int(rng) for _ in range(200)} == {1, 2, 3}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kind": "normal", "mean": 3}, "kind"),
        ({"kind": "uniform", "low": 1}, "needs high"),
        ({"kind": "uniform", "low": 3, "high": 1}, "should not be above high"),
        ({"kind": "constant", "value": 1, "mean": 2}, "not mean"),
        ({"kind": "exponential", "mean": 3, "min": 5, "max": 4}, "should not be above max"),
        ({"kind": "choice", "values": []}, "at least one"),
        ({"kind": "choice", "values": [1, 2], "weights": [1]}, "2 numbers"),
        ({"kind": "exponential", "mean": float("nan")}, "finite"),
        (True, "should be a number or a table"),
        ("fast", "should be a number or a table"),
    ],
)
def test_what_makes_no_law_is_refused(data, words):
    with pytest.raises(ValidationError, match=words):
        Distribution.model_validate(data)


def test_a_table_is_dumped_as_it_was_written():
    data = {"kind": "choice", "values": [1.0, 2.0], "weights": [1.0, 3.0]}
    assert Distribution.model_validate(data).model_dump() == data
