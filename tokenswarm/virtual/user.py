"""A user in virtual time: what it waits for, and what it has in flight."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from tokenswarm.generator.binding import Arrival, BoundSession
from tokenswarm.generator.rows import Origin
from tokenswarm.generator.story import Ask, Pause
from tokenswarm.virtual.simulated_engine import Exchange
from tokenswarm.workloads.base import Prompt, Session

Story = Generator["Wait", object, None]
"""A user's story; it yields what it waits for, and is sent the result."""


@dataclass(slots=True, eq=False)
class NextArrival:
    """Wait for the arrival of a session's next turn, or (None) for one that begins a session."""

    session: BoundSession | None


@dataclass(slots=True, eq=False)
class Together:
    """Wait for the end of these sessions, which helpers of the user play."""

    sessions: tuple[Session, ...]


@dataclass(slots=True, eq=False)
class Beside:
    """Wait for the end of the helpers that were not awaited."""


Wait = Pause | Ask | NextArrival | Together | Beside
"""What a user waits for."""


class NothingToSend(Exception):
    """There is nothing more to send."""


class VirtualUser:
    """One user: its number, its story, and what it has in flight."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.story: Story | None = None
        self.session_phase = self.session_origin = ""
        self.session_sent = self.session_open = False
        self.bound: BoundSession | None = None
        self.arrival: Arrival | None = None
        self.request: tuple[Exchange, Origin, Prompt] | None = None
        self.gone = False
        self.helpers: list[VirtualUser] = []
        """Helpers that play the sub-agents of its session."""
        self.beside = 0
        """Number of helpers that were not awaited and are still running."""
        self.waits_for_them = False
        self.over: Callable[[], None] | None = None
        """For a helper: called when its story has ended."""
