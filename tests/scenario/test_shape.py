"""Users over time in a shaped closed loop."""

from __future__ import annotations

import math

import pytest

from tokenswarm.base.errors import UserError
from tokenswarm.scenario.load_settings import Load
from tokenswarm.scenario.loading import load_scenario


def test_steps_divide_the_measured_phase_evenly():
    load = Load(users_steps=(4, 8, 2), duration_s=30.0)
    assert [load.users_at(at) for at in (-math.inf, 0, 9.9, 10.0, 19.9, 20.0, 29.9, 31.0)] == [4, 4, 4, 8, 8, 2, 2, 2]


def test_users_grow_evenly_to_their_end():
    load = Load(users=10, users_end=30, duration_s=20.0)
    assert [load.users_at(at) for at in (-1.0, 0.0, 5.0, 10.0, 20.0, 99.0)] == [10, 10, 15, 20, 30, 30]


def test_a_constant_load_has_no_shape():
    assert not Load().shaped and Load(users_steps=(1, 2)).shaped


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"load.rate_end": "9"}, "rate_end needs rate"),
        ({"load.rate": "3", "load.users_end": "9"}, "makes the loop open"),
        ({"load.rate_steps": "[]"}, "at least one number"),
        ({"load.users_end": "9", "load.users_steps": "[1, 2]"}, "goes with no users_steps"),
    ],
)
def test_contradicting_shapes_are_refused_with_a_sentence(settings, word):
    with pytest.raises(UserError, match=word):
        load_scenario("rag", settings)
