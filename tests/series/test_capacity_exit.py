"""The exit code of a search that was asked for a load depends on the whole interval."""

from __future__ import annotations

import pytest

from tokenswarm.base.errors import Exit
from tokenswarm.commands.capacity import exit_of
from tokenswarm.contract.capacity_record import Capacity, CapacityFigure

ENDS = {
    "all of it is at the load or above": ((40.0, 44.0), 40.0, Exit.PASSED),
    "it holds the load": ((36.0, 44.0), 40.0, Exit.UNDETERMINED),
    "all of it is below": ((30.0, 39.0), 40.0, Exit.SLO_MISSED),
    "its lower end is not known": ((None, 44.0), 40.0, Exit.UNDETERMINED),
    "its upper end is not known, and it is enough": ((41.0, None), 40.0, Exit.PASSED),
    "nothing was asked for": ((30.0, 39.0), None, Exit.PASSED),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_exit_code_says_whether_the_load_can_be_served(name: str) -> None:
    (low, high), at_least, code = ENDS[name]
    record = Capacity(capacity=CapacityFigure("users", 38.0, [low, high], reason="precision"))
    assert exit_of(record, at_least) == code


def test_an_interrupted_search_is_interrupted_whatever_it_found() -> None:
    record = Capacity(capacity=CapacityFigure("users", 50.0, [45.0, 55.0], reason="interrupted"))
    assert exit_of(record, 40.0) == Exit.INTERRUPTED
