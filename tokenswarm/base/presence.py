"""What may be absent by its type, and is there where it is asked for."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value. For what the code before has made sure of: its absence is a fault of ours (AssertionError)."""
    assert value is not None, "this should be there by now"
    return value
