"""Which session comes next, for the users of one process. Pure: the caller says what time it is.

Numbers depend on nothing that the engine does. In a closed loop session k of user u is always the same one, however
many sessions others have had by then; in an open loop arrival n begins session n (`binding` says which ones begin any).
So two runs with one seed do the same work and can be compared in pairs. Each phase counts from 0 again: what happened
in the warm-up does not matter to the sessions of the measured phase.

What is replaced over time (documents, system prompts) a session finds as it is at its own planned moment, which is as
much a matter of the seed. In an open loop that is its arrival's. In a closed loop a user's sessions are planned one
after another, as if each answer took as long as one of the warm-up did (`Pace`) and with the users' own times to think:
so each user keeps about to its plan, and what is replaced goes at the rate that the scenario says. A session whose
length nobody knows finds what is there when it begins, as those of the warm-up do.

The sessions with which a run begins are under way already (see `workloads.ages`), unless its prompts are cold.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from tokenswarm.base.assumptions import TOKEN_S
from tokenswarm.base.presence import present
from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.binding import Arrival, mean_pause_s
from tokenswarm.generator.think_times import planned_s
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.ages import under_way
from tokenswarm.workloads.base import Session, Workload

_FURTHER_USERS = 1_000_000_000
"""Where the numbers of users begin that were not planned: of a run whose users somebody changed by hand."""

_TURNS_LEFT = 3.0
"""About as many turns, at most, are left of the session that a user is in the middle of."""
_UNPLANNED = math.inf
"""Planned begin of the next session of a user whose last one had a length that nobody knew."""


class NoMoreSessions(Exception):
    """Every session of a workload that has so many in all was begun."""


class Share(NamedTuple):
    """Which process of how many: it begins every such session, where each is begun once."""

    index: int = 0  # type: ignore[assignment]  # a tuple has a method of that name, which nobody needs here
    processes: int = 1


@dataclass(slots=True)
class UserProgress:
    """What the streams of a run share, for the users of a mix have sessions of several classes."""

    begun: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Sessions by phase and user, of whatever class."""
    planned_s: dict[int, float] = field(default_factory=dict)
    """By user: when its next session of the measured phase is planned to begin, seconds into the phase."""


class SessionStream:
    """The sessions of one workload, as the users of one process begin them. `leading`: the scenario whose [load]
    directs the run; `own`: the one that the workload and its users come from. `of_all_classes`: one for all streams of
    a mix."""

    def __init__(
        self,
        workload: Workload,
        leading: Scenario,
        own: Scenario,
        share: Share | None = None,
        of_all_classes: UserProgress | None = None,
    ) -> None:
        self._workload, self._own = workload, own
        self._share, self._once = share or Share(), 0
        self._load = leading.load
        self._begun: Counter[tuple[str, int]] = Counter()
        self._all = of_all_classes or UserProgress()
        self._under_way = (
            0
            if self._load.rate is None
            else self._load.rate * mean_pause_s(own.user.think_time_s, workload.answer_tokens)
        )
        """Arrivals of an open loop until sessions that begin with the run go on: up to then each belongs to a session
        at some turn, as later ones do."""

    def next(self, phase: str, user: int, timeline: Timeline, now: float, arrival: Arrival | None) -> Session:
        """The session that a user begins at that moment, of that phase; in an open loop with that arrival.

        Raises NoMoreSessions.
        """
        if self.finite and phase == "measure":
            return self._next_once(phase, timeline, now)
        if arrival is not None:
            joins = phase == "warmup" and arrival.number < self._under_way
            return self._begin(phase, arrival.number, _shared_s(phase, timeline, arrival.due), joins)
        begun = self._all.begun
        joins = not begun[phase, user] and (phase == "warmup" or not begun["warmup", user])
        number = session_number(user, self._begun[phase, user], self._load.most_users)
        self._begun[phase, user] += 1
        begun[phase, user] += 1
        if phase == "measure" and timeline.pace is not None and not self._own.phases_apart:
            return self._begin_as_planned(user, number, timeline, now, joins)
        return self._begin(phase, number, now - timeline.start, joins)

    def _begin(self, phase: str, number: int, at_s: float, joins: bool) -> Session:
        if joins and not self._own.phases_apart:
            return under_way(self._workload, number, at_s, self._own.output.max_tokens)
        return self._workload.session_at(phase, number, at_s)

    def _begin_as_planned(self, user: int, number: int, timeline: Timeline, now: float, joins: bool) -> Session:
        """A session of a closed loop's measured phase, with what is there when it is planned to begin."""
        warmup_s, planned, law = present(timeline.pace).warmup_s, self._all.planned_s, self._own.user.think_time_s
        answer_s, elapsed_s = self._answer_s(timeline), now - timeline.measure_start
        begin_s = planned.get(user)
        if (
            begin_s is None and self._all.begun["warmup", user]
        ):  # it is in the middle of a session when the phase begins
            share = Random(f"first/{self._workload.seed}/{user}").random()
            begin_s = share * _TURNS_LEFT * (law.typical() + answer_s)
        elif begin_s is None:  # who comes later does so at a whole second
            begin_s = float(round(elapsed_s))
        elif begin_s == _UNPLANNED:
            begin_s = elapsed_s
        session = self._begin("measure", number, warmup_s + begin_s, joins)
        planned[user] = (
            _UNPLANNED
            if session.turns is None
            else begin_s + planned_s(session, session.turns, self._workload.seed, law, answer_s)
        )
        return session

    def _answer_s(self, timeline: Timeline) -> float:
        answer_s = present(timeline.pace).answer_s
        return TOKEN_S * self._workload.answer_tokens if answer_s is None else answer_s

    @property
    def finite(self) -> bool:
        """Whether the measured phase has so many sessions, each once."""
        return self._workload.sessions_in_all is not None

    @property
    def exhausted(self) -> bool:
        """Whether all of this process's were begun."""
        return self.finite and self._number_once() >= present(self._workload.sessions_in_all)

    def _number_once(self) -> int:
        return self._once * self._share.processes + self._share.index

    def _next_once(self, phase: str, timeline: Timeline, now: float) -> Session:
        """In the order of the workload, whichever user is free."""
        if self.exhausted:
            raise NoMoreSessions
        number = self._number_once()
        self._once += 1
        return self._workload.session_at(phase, number, now - timeline.start)


def _shared_s(phase: str, timeline: Timeline, due: float) -> float:
    """Seconds since the run's start of an arrival, by the plan: what is shared then."""
    if phase == "measure" and timeline.pace is not None:
        return timeline.pace.warmup_s + due - timeline.measure_start
    return due - timeline.start


def session_number(user: int, place: int, planned_users: int) -> int:
    """The number of session `place` (from 0) of user `user` (from 0); never the same for two of them.

    Planned users take turns, so that numbers are dense. They do so at a prime distance: a workload that deals its kinds
    out by number gives each user all of them.
    """
    distance = prime_from(planned_users)
    group, within = divmod(user, distance)
    return group * _FURTHER_USERS + place * distance + within


def prime_from(least: int) -> int:
    """The smallest prime that is at least so large."""
    number = max(2, least)
    while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
        number += 1
    return number
