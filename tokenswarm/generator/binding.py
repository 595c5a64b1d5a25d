"""Decides in advance which turn of which session each arrival of an open loop sends. Pure: no clock.

Two runs can be compared arrival by arrival only if arrival n is the same work in both, however fast their engines are.
So there is a plan that depends only on arrival times, the seed and the planned lengths of sessions. Arrival n begins
session n, unless it is the place of a later turn of a session that has begun. Each place of a session comes one pause
after the previous one. At the start of the measured phase, the plan has places for sessions under way, as many and as
old as in steady state. Users that leave the warm-up in the middle of a session take them, so the plan does not depend
on how the warm-up went.

If a turn is not ready at its place (the previous answer is still being received), the arrival is not delayed, since an
open loop does not wait for the engine. Instead another session without a place continues, or an unplanned session
begins. For each unplanned session, a planned one is left out later. So the order of the work changes only around these
arrivals, and the rest of the plan is unchanged.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Generic, NamedTuple, TypeVar

from tokenswarm.base.presence import present
from tokenswarm.generator.free_users import FreeUsers
from tokenswarm.scenario.distribution import Distribution
from tokenswarm.workloads.base import RecordedTime, Session

Waiter = TypeVar("Waiter")

FIRST_TOKEN_S, TOKEN_S = 1.0, 0.05
"""Time allowed for an answer before its session's next place, besides the think time: a second to begin, then 20
tokens/s, about as fast as a person reads. An engine that serves people well is ready by then, so few places are missed.
"""

PATIENCE_S = 20.0
"""A session without a place that has waited this long takes the place of a session that was to begin."""


class Arrival(NamedTuple):
    """When a request is due (unix time), and which arrival of its phase that is, from 0 over all workers."""

    due: float
    number: int


def pauses(seed: int, conversation: str, think_time_s: Distribution, answer_tokens: float) -> Callable[[], float]:
    """Returns a function that draws the seconds from one place of a session to its next. The same seed gives the same
    pauses."""
    rng: Random | None = None

    def draw() -> float:
        nonlocal rng
        rng = rng or Random(f"pause/{seed}/{conversation}")
        return FIRST_TOKEN_S + TOKEN_S * answer_tokens + max(0.0, think_time_s.sample(rng))

    return draw


def mean_pause_s(think_time_s: Distribution, answer_tokens: float) -> float:
    """The approximate mean of these pauses, in seconds."""
    return FIRST_TOKEN_S + TOKEN_S * answer_tokens + max(0.0, think_time_s.typical())


class BoundSession:
    """One session as the dispatcher sees it. `turns`: its planned number of turns, None if unknown. pause_s(): draws
    the seconds from one of its places to the next. `user_class`: its class in a mix. `later`: the recorded times of its
    further requests; if given, it takes no other arrivals. `number`: the arrival that began it."""

    __slots__ = ("_later", "_owed", "number", "over", "pause_s", "turns", "user_class")

    def __init__(
        self,
        turns: int | None = 1,
        pause_s: Callable[[], float] = float,
        later: Iterable[RecordedTime] | None = None,
        number: int = 0,
        user_class: str = "",
    ) -> None:
        self.turns, self.pause_s, self.user_class = (turns if later is None else 1), pause_s, user_class
        self._later, self.number = (None if later is None else iter(later)), number
        self.over = False
        self._owed = 0
        """Turns without a place: it passed before they were ready, or there never was one."""

    def next_recorded(self) -> RecordedTime | None:
        """When the next request is due by the recording; None if there is none."""
        return None if self._later is None else next(self._later, None)


def bound_session(session: Session, number: int, pause_s: Callable[[], float], user_class: str = "") -> BoundSession:
    """The binding of a session that began with arrival `number`."""
    later = None if session.schedule is None else session.schedule[1:]
    return BoundSession(session.turns, pause_s, later, number, user_class)


@dataclass(slots=True)
class Places:
    """The planned places for later turns of one session: the next at `next_s` (unix time), `left` in total. `owner` is
    None if any session without a place may take them."""

    next_s: float
    left: int
    pause_s: Callable[[], float]
    owner: BoundSession | None = None
    user_class: str = ""


class Binding(Generic[Waiter]):
    """Chooses the user for each arrival. A waiter is any object that stands for a waiting user. planned(number): the
    session that arrival `number` is to begin; only its turns and pause_s are used. user_class(number, of_place): in a
    mix, the class of arrival `number`, where `of_place` is the class of the session with a place there, or None if the
    plan begins one. It is called once per arrival, in order, before anything else about that arrival. of_user(number):
    without a mix, the class of the user who begins a session with that arrival."""

    def __init__(
        self,
        planned: Callable[[int], BoundSession] = lambda _: BoundSession(),
        user_class: Callable[[int, str | None], str] = lambda *_: "",
        of_user: Callable[[int], str] = lambda _: "",
    ) -> None:
        self._planned, self._user_class = planned, user_class
        self._free: FreeUsers[Waiter] = FreeUsers(of_user)
        """Users who are waiting to begin a session."""
        self._ready: dict[BoundSession, Waiter] = {}
        """Sessions whose next turn is ready."""
        self._class_of: dict[BoundSession, str] = {}
        """The class of the waiting user of each ready session."""
        self._unplanned: deque[BoundSession] = deque()
        """Ready sessions of unknown length, which get the next arrivals."""
        self._without: defaultdict[str, deque[tuple[BoundSession, float]]] = defaultdict(deque)
        """By class: ready sessions without a place, and since when they are ready. Entries of other sessions are stale.
        """
        self._plan: list[tuple[float, int, Places]] = []
        """Places of later turns: a heap."""
        self._entries = itertools.count()
        self._place_of: dict[BoundSession, tuple[float, int]] = {}
        """For sessions with a place in the plan: when it is due, and its entry number."""
        self._early: list[tuple[tuple[float, int], int, BoundSession]] = []
        """A heap of ready sessions by the time of their place, so that the next one is found without searching the
        plan. Entries of sessions that are no longer ready or have another place are stale."""
        self._begun: dict[BoundSession, None] = {}
        """In the order in which they began; a set would have a different order in each run."""
        self._extra: Counter[str] = Counter()
        """By class: unplanned sessions that were begun, minus planned ones left out for them."""
        self._not_planned: set[int] = set()
        """Arrivals that begin an unplanned session."""
        self._now = -math.inf
        self.moved = 0
        """Number of places at which the turn was not ready."""

    # ---- users

    def wait(self, session: BoundSession | None, waiter: Waiter, of_user: str = "") -> None:
        """A user of class `of_user` is ready to send the next turn of a session, or (None) to begin one."""
        if session is None or session.over:
            self._free.add(waiter, of_user)
            return
        self._ready[session], self._class_of[session] = waiter, of_user
        self._note_early(session)
        if session.turns is None:
            self._unplanned.append(session)
        elif session._owed:
            self._without[session.user_class].append((session, self._now))

    def leave(self, session: BoundSession | None, waiter: Waiter) -> None:
        """The user no longer waits."""
        self._free.remove(waiter)
        if session is not None:
            self._ready.pop(session, None)
            self.end(session)

    @property
    def anyone_free(self) -> bool:
        """Whether any user is waiting to begin a session."""
        return bool(self._free)

    def began(self, session: BoundSession, arrival: Arrival) -> None:
        """A session has begun with that arrival."""
        self._now = max(self._now, arrival.due)
        self._begun[session] = None
        if session.turns is None:
            return
        if arrival.number in self._not_planned:
            self._not_planned.remove(arrival.number)
            session._owed = session.turns - 1
        else:
            self._give_places(session, arrival.due, session)

    def took(self, session: BoundSession) -> None:
        """The next turn of a session takes an arrival from the dispatcher's queue."""
        session._owed -= 1

    def end(self, session: BoundSession) -> None:
        """The session is over, whatever was planned."""
        session.over = True
        self._begun.pop(session, None)
        if session not in self._ready:
            self._class_of.pop(session, None)

    # ---- phases

    def begin_phase(self, under_way: Iterable[Places], *, goes_on: bool) -> None:
        """Begin a phase with the places of sessions under way. `goes_on`: sessions of the previous phase take them;
        otherwise users waiting for a place begin a new session."""
        self._plan.clear()
        self._place_of.clear()
        self._early.clear()
        for places in under_way:
            self._enter(places)
        self._without.clear()
        self._not_planned.clear()
        self._extra.clear()
        for session in self._begun:
            if goes_on and session.turns is not None:
                session._owed = session.turns
                if session in self._ready:
                    self._without[session.user_class].append((session, self._now))
            elif not goes_on:
                session.over = True
        if not goes_on:
            self._begun.clear()
            for session, waiter in self._ready.items():
                self._free.add(waiter, self._class_of.pop(session))
            self._ready.clear()

    # ---- arrivals

    def next_for(self, arrival: Arrival) -> Waiter | None:
        """The waiter who sends an arrival; None if no user is waiting."""
        self._now = arrival.due
        while self._unplanned:
            if (session := self._unplanned.popleft()) in self._ready:
                return self._ready.pop(session)
        places = self._next_places(arrival.due)
        if places is None:
            return self._at_first_place(arrival, self._user_class(arrival.number, None))
        self._user_class(arrival.number, places.user_class)
        owner = places.owner
        if owner is not None and not owner.over:
            if owner in self._ready:
                return self._ready.pop(owner)
            owner._owed += 1
            self.moved += 1
        waiter = self._go_on_without(places.user_class)
        if waiter is None and self._free:
            self._not_planned.add(arrival.number)
            # The new session has no places, and the slow turn still needs one.
            self._extra[places.user_class] += owner is not None
            return self._free.take(arrival.number)
        return waiter if waiter is not None else self._before_its_place()

    def _at_first_place(self, arrival: Arrival, user_class: str) -> Waiter | None:
        """The plan begins a session here, or leaves it out in exchange for an unplanned one."""
        without = self._without[user_class]
        longest = self._now - without[0][1] if without else 0.0
        left_out = self._extra[user_class] > 0 or longest > PATIENCE_S or not self._free
        if left_out and (waiter := self._go_on_without(user_class)) is not None:
            self._extra[user_class] = max(0, self._extra[user_class] - 1)
            planned = self._planned(arrival.number)
            if planned.turns is not None:
                self._give_places(planned, arrival.due, None)
            return waiter
        return self._free.take(arrival.number) if self._free else self._before_its_place()

    def _go_on_without(self, user_class: str) -> Waiter | None:
        """The session without a place, of a class, that has been ready longest."""
        without = self._without[user_class]
        while without:
            session, _ = without.popleft()
            if session in self._ready and session._owed and not session.over:
                session._owed -= 1
                return self._ready.pop(session)
        return None

    def _before_its_place(self) -> Waiter | None:
        """All waiting users are in a session. A session of another class without a place continues, or else the session
        whose place comes first continues early."""
        for user_class in self._without:
            if (waiter := self._go_on_without(user_class)) is not None:
                return waiter
        self._drop_stale()
        if not self._early:
            return None
        _, _, owner = heapq.heappop(self._early)
        owner._owed -= 1
        return self._ready.pop(owner)

    # ---- the plan

    def _give_places(self, session: BoundSession, due: float, owner: BoundSession | None) -> None:
        turns = present(session.turns)
        if turns > 1:
            self._enter(Places(due + session.pause_s(), turns - 1, session.pause_s, owner, session.user_class))

    def _enter(self, places: Places) -> None:
        entry = next(self._entries)
        heapq.heappush(self._plan, (places.next_s, entry, places))
        if places.owner is not None:
            self._place_of[places.owner] = places.next_s, entry
            self._note_early(places.owner)

    def _note_early(self, session: BoundSession) -> None:
        """Remember a session that is ready before its place."""
        if session in self._ready and (place := self._place_of.get(session)) is not None:
            self._drop_stale()
            heapq.heappush(self._early, (place, next(self._entries), session))

    def _drop_stale(self) -> None:
        early = self._early
        while early and not (early[0][2] in self._ready and self._place_of.get(early[0][2]) == early[0][0]):
            heapq.heappop(early)

    def _next_places(self, due: float) -> Places | None:
        """The places of the session whose place is taken by the arrival that is due now; the earliest first."""
        while self._plan and self._plan[0][0] <= due:
            _, _, places = heapq.heappop(self._plan)
            places.left -= 1
            owner = places.owner
            if owner is not None:
                self._place_of.pop(owner, None)
            if places.left > 0:
                places.next_s = due + places.pause_s()
                self._enter(places)
            if owner is not None and owner._owed < 0:  # its turn was sent early
                owner._owed += 1
                continue
            return places
        return None
