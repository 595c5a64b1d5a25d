"""Gamma arrivals: bursty, or more regular than Poisson arrivals."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random


def gaps(rng: Random, cv: float) -> Iterator[float]:
    """Independent gamma gaps with coefficient of variation `cv` (shape 1/cv^2, scale cv^2): 1 is Poisson, above 1 is
    bursty, below 1 is more regular."""
    shape, scale = 1 / (cv * cv), cv * cv
    while True:
        yield rng.gammavariate(shape, scale)
