"""Evenly spaced arrivals."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random


def gaps(rng: Random, cv: float) -> Iterator[float]:
    """Equal gaps."""
    while True:
        yield 1.0
