"""Waits until an engine is idle, so that requests left in its queue by one run do not count in the next."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.spec.metrics_text import canonical

_INSIDE = ("running", "waiting")
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Emptiness:
    """`inside`: requests in the engine at the last check (None: not reported); `waited_s`: seconds waited."""

    inside: int | None
    waited_s: float = 0.0


def requests_inside(engine: Engine) -> int | None:
    """Requests running or waiting in the engine now; None if it does not report them."""
    if engine.description is None or not (text := engine.metrics_text()):
        return None
    metrics = {name: metric for name, metric in engine.description.metrics.items() if name in _INSIDE}
    values = [value for value in canonical(text, metrics).values() if value is not None]
    return round(sum(values)) if values else None


def wait_until_empty(
    engine: Engine,
    limit_s: float,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Emptiness:
    """Wait until nothing runs or waits in the engine, at most `limit_s` seconds."""
    began = now()
    while True:
        inside, waited_s = requests_inside(engine), now() - began
        if not inside or waited_s >= limit_s:
            return Emptiness(inside, waited_s)
        sleep(_LOOK_EVERY_S)
