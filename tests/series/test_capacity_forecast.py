"""What a search would take, stated before anything runs."""

from __future__ import annotations

from tokenswarm.commands.capacity_forecast import forecast
from tokenswarm.contract.capacity_record import Capacity, CapacityFigure


def test_a_capacity_further_away_takes_more_runs() -> None:
    record = Capacity(capacity=CapacityFigure("users"), start=32)
    near, far = forecast(record, 1.5, 1.4), forecast(record, 1.5, 40.0)
    assert 3 < near.runs < far.runs < 20 and near.requests < far.requests


def test_a_higher_target_takes_more_requests() -> None:
    few, many = (
        forecast(Capacity(capacity=CapacityFigure("requests_s"), start=8, target=target), 0.0, 2.0)
        for target in (0.95, 0.99)
    )
    assert many.requests > 2 * few.requests
