"""How long users think: drawn by session, so that it is the same in each run with a seed. Pure."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tokenswarm.scenario.distribution import Distribution
from tokenswarm.workloads.base import Session


def think_times(seed: int, conversation: str, law: Distribution) -> Callable[[], float]:
    """Seconds after each answer of a session until its user goes on, drawn one after another."""
    rng: Random | None = None

    def draw() -> float:
        nonlocal rng
        rng = rng or Random(f"think/{seed}/{conversation}")
        return max(0.0, law.sample(rng))

    return draw


def planned_s(session: Session, turns: int, seed: int, law: Distribution, answer_s: float) -> float:
    """How long a session is planned to take, if each answer takes so long."""
    draw = think_times(seed, session.conversation, law)
    return sum((draw() for _ in range(turns)), turns * answer_s)
