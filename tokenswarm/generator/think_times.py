"""Think times, drawn per session, so that they are the same in each run with a seed. Pure."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tokenswarm.scenario.distribution import Distribution
from tokenswarm.workloads.base import Session


def think_times(seed: int, conversation: str, law: Distribution) -> Callable[[], float]:
    """Returns a function that draws the think times of a session, in seconds."""
    rng: Random | None = None

    def draw() -> float:
        nonlocal rng
        rng = rng or Random(f"think/{seed}/{conversation}")
        return max(0.0, law.sample(rng))

    return draw


def planned_s(session: Session, turns: int, seed: int, law: Distribution, answer_s: float) -> float:
    """Planned duration of a session in seconds, if each answer takes so long."""
    draw = think_times(seed, session.conversation, law)
    return sum((draw() for _ in range(turns)), turns * answer_s)
