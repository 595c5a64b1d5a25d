"""A user's behavior, shared by Locust users, who sleep and wait, and users in virtual time, whose waits are events.
Pure: a story yields what it waits for, and is sent the result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple

from tokenswarm.base.presence import present
from tokenswarm.client.answer import Answer
from tokenswarm.generator.schedule import FAILURE_PAUSE_S
from tokenswarm.scenario.requests import Retry
from tokenswarm.workloads.base import Prompt


@dataclass(slots=True, eq=False)
class Pause:
    """A pause."""

    seconds: float


@dataclass(slots=True, eq=False)
class Ask:
    """A request for the answer to a prompt in a phase; `attempt` counts from 1."""

    prompt: Prompt
    phase: str
    scheduled_at: float | None
    attempt: int = 1


class UserRules(NamedTuple):
    """A scenario's rules for users. `cold`: nothing continues from one phase into the next. open_loop: arrivals decide
    when users act."""

    retry: Retry
    cold: bool
    open_loop: bool


def is_cut(phase: str, session_phase: str, rules: UserRules, *, session_sent: bool) -> bool:
    """Whether a session begun in `session_phase` is given up because its next prompt would be sent in another phase: if
    prompts are cold, or nothing of it was sent yet."""
    return phase != session_phase and (rules.cold or not session_sent)


def asking(first: Ask, phase_now: Callable[[], str], rules: UserRules) -> Generator[Pause | Ask, Answer | None, Answer]:
    """Send a prompt until it succeeds or no attempt is left; returns the last answer. After a failure, a closed loop
    pauses. No attempt is made after the measured phase or, if prompts are cold, in the next phase."""
    phase, tries = first.phase, 1
    answer = present((yield first))
    while (pause := rules.retry.pause_before(tries, answer.error, answer.retry_after_s)) is not None:
        yield Pause(pause)
        before, phase = phase, phase_now()
        if phase == "drain" or (rules.cold and phase != before):
            break
        tries += 1
        answer = present((yield Ask(first.prompt, phase, None, tries)))
    if answer.status == "failed" and not rules.open_loop:
        yield Pause(FAILURE_PAUSE_S)
    return answer


def thinking(pause_after_s: float | None, think: Callable[[], float]) -> Pause | None:
    """The pause between an answer and the next question: the prompt's recorded one, otherwise the user's think time."""
    seconds = think() if pause_after_s is None else pause_after_s
    return Pause(seconds) if seconds > 0 else None
