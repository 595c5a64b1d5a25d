"""Required values are checked, and a missing one is reported as our own bug."""

from __future__ import annotations

import pytest

from tokenswarm.base.presence import present


@pytest.mark.parametrize("value", [0, "", False, [], "x"])
def test_what_is_there_is_given_as_it_is_empty_or_not(value: object) -> None:
    assert present(value) is value


def test_what_is_absent_is_a_fault() -> None:
    with pytest.raises(AssertionError):
        present(None)
