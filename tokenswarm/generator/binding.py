"""Which turn of which session an arrival of the open loop sends, decided in advance. Pure: no clock.

Two runs can only be compared arrival by arrival if arrival n is the same work in both, however fast their engines are.
So it is bound: to the first turn of the next session, or to a later turn of a session that has a place there. A session
gets its first place when it begins, and each further place a pause after the one before: arrival times and the seed
alone decide, never an answer.

Where the turn is not ready at its place (the answer before it is still on its way), the arrival is not delayed, for an
open loop does not wait for the engine: it goes to a turn whose place has passed, or else to the next first turn. The
turn that was missed takes the next arrival that would have begun a session, once it is ready. So the order of the work
is disturbed around that arrival only.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Generic, TypeVar

from tokenswarm.scenario.distribution import Distribution

Waiter = TypeVar("Waiter")

FIRST_TOKEN_S, TOKEN_S = 1.0, 0.05
"""What an answer is given before its session's next place, besides the time to think: a second to begin, and 20
tokens/s, about as fast as a person reads. An engine that serves people well is ready by then: few places are missed."""


def pauses(seed: int, conversation: str, think_time_s: Distribution, answer_tokens: float) -> Callable[[], float]:
    """Seconds from one place of a session to its next, drawn one after another; the same for each run with the seed."""
    rng: Random | None = None

    def draw() -> float:
        nonlocal rng
        rng = rng or Random(f"pause/{seed}/{conversation}")
        return FIRST_TOKEN_S + TOKEN_S * answer_tokens + max(0.0, think_time_s.sample(rng))

    return draw


def mean_pause_s(think_time_s: Distribution, answer_tokens: float) -> float:
    """About how long such a pause is."""
    return FIRST_TOKEN_S + TOKEN_S * answer_tokens + max(0.0, think_time_s.typical())


class BoundSession:
    """One session as the dispatcher sees it. `phase` is the one that it was begun in; `turns` how many it is planned to
    have, None where nobody knows; pause_s(): seconds from one of its places to the next, drawn anew for each."""

    __slots__ = ("_borrowed", "_missed", "_pause_s", "_planned", "number", "over", "phase", "sent", "turns")

    def __init__(self, phase: str = "", turns: int | None = 1, pause_s: Callable[[], float] = float) -> None:
        self.phase, self.turns, self._pause_s = phase, turns, pause_s
        self.number = -1
        """Sessions of a phase are numbered in the order in which they first ask for an arrival."""
        self.sent = 0
        """Arrivals that it has been given."""
        self.over = False
        self._planned = 1
        self._missed: deque[float] = deque()
        """Places that passed while its turn was not ready: unix times."""
        self._borrowed = 0
        """Turns that were sent before their place, because nobody else was there to send."""

    @property
    def planned(self) -> bool:
        """Whether its next turn has a place, one that has passed or one to come."""
        return self.turns is not None and self.sent < self.turns

    def __lt__(self, other: BoundSession) -> bool:
        return self.number < other.number


class _Plan:
    """Which session has its first turn next, in one phase, and who is there for it."""

    def __init__(self) -> None:
        self.numbered: dict[int, BoundSession] = {}
        """Sessions that asked for an arrival and whose first place is to come."""
        self.named = 0
        """Sessions that have a number."""
        self.next = 0
        """Number of the session whose first turn has the next free place."""
        self.unnamed: dict[int, float] = {}
        """First places of sessions that nobody had begun then: unix times."""
        self.waiting: list[tuple[int, Any]] = []
        """Users at a first turn: a heap."""
        self.waiters: dict[int, tuple[Any, BoundSession]] = {}


class Binding(Generic[Waiter]):
    """Who gets the next arrival. A waiter is whatever stands for a user that waits."""

    def __init__(self) -> None:
        self._plans: dict[str, _Plan] = {}
        self._ready: dict[BoundSession, Waiter] = {}
        """Sessions whose next turn is ready."""
        self._overdue: list[tuple[float, int, BoundSession]] = []
        """Of those, the ones whose place has passed: a heap, entries of others are stale."""
        self._unplanned: deque[BoundSession] = deque()
        """Of those, the ones without a place, since nobody knew how long they are: the next arrivals are theirs."""
        self._places: list[tuple[float, BoundSession]] = []
        """Places of later turns: a heap."""
        self._owed = 0
        """Places that have passed and whose turns are still to be sent."""
        self.moved = 0
        """Places at which the turn was not ready."""

    def wait(self, session: BoundSession, waiter: Waiter) -> None:
        """A user is ready to send the next turn of a session."""
        if session.sent == 0:
            plan = self._name(session)
            plan.waiters[session.number] = (waiter, session)
            heapq.heappush(plan.waiting, session.number)
            return
        self._ready[session] = waiter
        if not session.planned:
            self._unplanned.append(session)
        elif session._missed:
            self._is_overdue(session, session._missed[0])

    def leave(self, session: BoundSession) -> None:
        """Its user waits no more."""
        self._ready.pop(session, None)
        if session.sent == 0:
            self._plan(session.phase).waiters.pop(session.number, None)
        self.end(session)

    def end(self, session: BoundSession) -> None:
        """The session goes on no more, whatever was planned: the places that it had left begin others."""
        if not session.over:
            session.over = True
            self._owed -= len(session._missed)

    def next_for(self, due: float, phase: str = "") -> Waiter | None:
        """Who sends the arrival that is due then, in that phase; None if no user waits at all."""
        while self._unplanned:
            if (session := self._unplanned.popleft()) in self._ready:
                return self._hand_out(session, due)
        if not self._pass_place(due):
            first = self._first_place(self._plan(phase), due)
            if first is not None:
                return first
        while self._overdue:
            _, _, session = heapq.heappop(self._overdue)
            if session in self._ready and session._missed:
                return self._hand_out(session, due)
        for plan in (self._plan(phase), *self._plans.values()):
            while plan.waiting:
                number = heapq.heappop(plan.waiting)
                if number in plan.waiters:
                    return self._begin(plan, number, due)
        return self._before_its_place(due)

    def took(self, session: BoundSession, due: float) -> None:
        """The session sends an arrival that was due then: one handed out here, or one that had waited elsewhere."""
        self._name(session)
        session.sent += 1
        if session.sent == 1:
            return
        if session._missed:
            session._missed.popleft()
            self._owed -= 1
        elif session.turns is not None and session.sent <= session.turns:  # counted already: it had a place
            session._borrowed += 1

    # ---- the plan: what is independent of the answers

    def _plan(self, phase: str) -> _Plan:
        plan = self._plans.get(phase)
        if plan is None:
            plan = self._plans[phase] = _Plan()
        return plan

    def _name(self, session: BoundSession) -> _Plan:
        plan = self._plan(session.phase)
        if session.number < 0:
            session.number, plan.named = plan.named, plan.named + 1
            if session.number in plan.unnamed:
                self._plan_next(session, plan.unnamed.pop(session.number))
            else:
                plan.numbered[session.number] = session
        return plan

    def _first_place(self, plan: _Plan, due: float) -> Waiter | None:
        """The arrival is the first place of the next session; the user who stands there, if nothing else was sent for
        want of another's turn."""
        while True:
            number, session = plan.next, plan.numbered.pop(plan.next, None)
            plan.next += 1
            if session is None:
                plan.unnamed[number] = due
                return None
            self._plan_next(session, due)
            if session.sent == 0 and number in plan.waiters:
                return self._begin(plan, number, due)
            if self._owed:  # it was sent early, in place of a turn that was not ready: this arrival is that one's
                return None
            # It was sent early in place of a turn that will never come: the next one moves up.

    def _plan_next(self, session: BoundSession, place: float) -> None:
        if session.turns is not None and session._planned < session.turns:
            session._planned += 1
            heapq.heappush(self._places, (place + session._pause_s(), session))

    def _pass_place(self, due: float) -> bool:
        """Whether the arrival that is due now is a place of a session that has begun: the one whose time came first."""
        while self._places and self._places[0][0] <= due:
            _, session = heapq.heappop(self._places)
            if session.over:
                continue
            self._plan_next(session, due)
            if session._borrowed:
                session._borrowed -= 1
                continue
            session._missed.append(due)
            self._owed += 1
            if session in self._ready:
                self._is_overdue(session, due)
            else:
                self.moved += 1
            return True
        return False

    # ---- who sends

    def _is_overdue(self, session: BoundSession, place: float) -> None:
        heapq.heappush(self._overdue, (place, session.number, session))

    def _begin(self, plan: _Plan, number: int, due: float) -> Waiter:
        waiter, session = plan.waiters.pop(number)
        self.took(session, due)
        return waiter

    def _hand_out(self, session: BoundSession, due: float) -> Waiter:
        waiter = self._ready.pop(session)
        self.took(session, due)
        return waiter

    def _before_its_place(self, due: float) -> Waiter | None:
        """Every user is at a session that waits for its place: the one whose place comes first need not wait."""
        waiting = [entry for entry in self._places if entry[1] in self._ready]
        if waiting:
            return self._hand_out(min(waiting)[1], due)
        return None
