"""capacity.json: read as it was written, and refused where it is newer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.capacity_record import (
    CAPACITY_FORMAT,
    Capacity,
    CapacityFigure,
    CapacityLevel,
    CapacityRun,
    read_capacity,
    write_capacity,
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = Capacity(
        capacity=CapacityFigure("users", 42, [40, None], 38, None, 64, "limited"),
        levels=[CapacityLevel(38, "pass", 0.99, [0.96, 1.0], 900, 30.0, ["a", "b"])],
        runs=[CapacityRun(38, "a", 1, 15.0)],
        slo={"ttft_ms": 500.0},
        salt="s",
    )
    write_capacity(tmp_path, record)
    assert read_capacity(tmp_path) == record


def test_a_newer_one_is_refused(tmp_path: Path) -> None:
    write_capacity(tmp_path, Capacity(format=CAPACITY_FORMAT + 1))
    with pytest.raises(UserError) as refused:
        read_capacity(tmp_path)
    assert refused.value.code is Exit.RUN_FOLDER
