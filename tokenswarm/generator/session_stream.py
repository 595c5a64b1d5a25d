"""Which session comes next, for the users of one process. Pure: the caller says what time it is.

Numbers depend on nothing that the engine does. In a closed loop session k of user u is always the same one, however
many sessions others have had by then; in an open loop arrival n begins session n (`binding` says which ones begin any).
So two runs with one seed do the same work and can be compared in pairs. Each phase counts from 0 again: what happened
in the warm-up does not matter to the sessions of the measured phase.

The sessions with which a run begins are under way already (see `workloads.ages`), unless its prompts are cold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

from tokenswarm.base.presence import present
from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.binding import Arrival, mean_pause_s
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.ages import under_way
from tokenswarm.workloads.base import Session, Workload

_FURTHER_USERS = 1_000_000_000
"""Where the numbers of users begin that were not planned: of a run whose users somebody changed by hand."""


class NoMoreSessions(Exception):
    """Every session of a workload that has so many in all was begun."""


class Share(NamedTuple):
    """Which process of how many: it begins every such session, where each is begun once."""

    index: int = 0  # type: ignore[assignment]  # a tuple has a method of that name, which nobody needs here
    processes: int = 1


class SessionStream:
    """The sessions of one workload, as the users of one process begin them. `leading`: the scenario whose [load]
    directs the run; `own`: the one that the workload and its users come from. `of_all_classes`: what the streams of a
    mix share, whose users have sessions of several classes."""

    def __init__(
        self,
        workload: Workload,
        leading: Scenario,
        own: Scenario,
        share: Share | None = None,
        of_all_classes: Counter[Hashable] | None = None,
    ) -> None:
        self._workload, self._own = workload, own
        self._share, self._once = share or Share(), 0
        self._load = leading.load
        self._begun: Counter[Hashable] = Counter()
        self._all = Counter() if of_all_classes is None else of_all_classes
        """Sessions by phase and user, of whatever class."""
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
            number, at_s = arrival.number, arrival.due - timeline.start
            joins = phase == "warmup" and number < self._under_way
        else:
            place = self._begun[phase, user]
            joins = not self._all[phase, user] and (phase == "warmup" or not self._all["warmup", user])
            self._begun[phase, user] += 1
            self._all[phase, user] += 1
            number = session_number(user, place, self._load.most_users)
            at_s = now - timeline.start
        if joins and not self._own.phases_apart:
            return under_way(self._workload, number, at_s, self._own.output.max_tokens)
        return self._workload.session_at(phase, number, at_s)

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
