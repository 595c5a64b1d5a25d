"""Decides the phase and arrival of a user's next request."""

from __future__ import annotations

from typing import Protocol

from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.binding import Arrival, BoundSession


class Paced(Protocol):
    """The part of a load process that decides when something is sent."""

    timeline: Timeline

    def phase(self) -> str: ...

    def next_arrival(self, session: BoundSession | None = None, user_class: str = "") -> Arrival | None: ...


def next_turn(
    process: Paced, session: BoundSession | None = None, arrival: Arrival | None = None, user_class: str = ""
) -> tuple[str, Arrival | None] | None:
    """The phase of what a user of that class sends next, in an open loop with its arrival: `arrival`, where it has one
    already, or the one that its session waits for (None: one that begins a session). None when nothing is sent any
    more."""
    while True:
        if arrival is None:
            arrival = process.next_arrival(session, user_class)
        phase = process.phase()
        if phase == "drain":
            return None
        if arrival is None or process.timeline.phase_at(arrival.due) == phase:
            return phase, arrival
        arrival = None  # due in the warm-up: the measured phase has a schedule of its own
