"""Asserts that an optional value is present."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value, which earlier code guarantees to be present. Raises AssertionError if it is None: a bug."""
    assert value is not None, "this should be there by now"
    return value
