"""Laws of arrival: each module here brings one, as a function `gaps(rng, cv)`.

It yields gaps between arrivals at a mean rate of one a second, without end; `cv` is load.burstiness_cv. Others come as
entry points of the group `tokenswarm.scenario.arrivals`, or from a Python file with such a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from types import ModuleType

from tokenswarm.base.extensions import ExtensionGroup

Law = Callable[[Random, float], Iterator[float]]

TIMES = "times"
"""The arrivals are a list of times, by no law."""


def _laws_in(module: ModuleType) -> dict[str, Law]:
    return {module.__name__.rpartition(".")[2]: module.gaps} if callable(getattr(module, "gaps", None)) else {}


ARRIVALS = ExtensionGroup("tokenswarm.scenario.arrivals", "law of arrivals", _laws_in)
