"""What a user does to get an answer: the tries and pauses, wherever it is played."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tokenswarm.client.answer import Answer
from tokenswarm.generator.schedule import FAILURE_PAUSE_S
from tokenswarm.generator.story import Ask, Pause, UserRules, asking, is_cut, thinking
from tokenswarm.scenario.requests import Retry
from tokenswarm.workloads.base import Prompt

PROMPT = Prompt([{"role": "user", "content": "?"}], "measure-000001", 1, 0)
TWICE = Retry(attempts=3, pause_s=2.0)


def failed(kind: str = "overloaded", retry_after_s: float | None = None) -> Answer:
    answer = Answer(retry_after_s=retry_after_s)
    answer.fail(kind)
    return answer


def played(
    answers: list[Answer], *, phases: str = "measure", retry: Retry = TWICE, cold: bool = False, open_loop: bool = False
) -> tuple[list[tuple[str, float | None, int] | float], Answer]:
    """(what it waited for: tries as (phase, due, number), pauses as seconds; the last answer)."""
    later: Iterator[str] = iter(phases.split())
    story = asking(Ask(PROMPT, "measure", 7.0), lambda: next(later), UserRules(retry, cold, open_loop))
    waits, given, wait = [], iter(answers), next(story)
    while True:
        waits.append(wait.seconds if isinstance(wait, Pause) else (wait.phase, wait.scheduled_at, wait.attempt))
        try:
            wait = story.send(None if isinstance(wait, Pause) else next(given))
        except StopIteration as end:
            return waits, end.value


def test_an_answer_is_asked_for_once() -> None:
    good = Answer()
    assert played([good]) == ([("measure", 7.0, 1)], good)


def test_failures_of_the_kind_are_tried_again_after_a_pause_and_a_try_is_no_arrival() -> None:
    good = Answer()
    waits, answer = played([failed(), failed(retry_after_s=5.0), good], phases="measure measure")
    assert waits == [("measure", 7.0, 1), 2.0, ("measure", None, 2), 5.0, ("measure", None, 3)]
    assert answer is good


@pytest.mark.parametrize(("open_loop", "pauses"), [(False, [FAILURE_PAUSE_S]), (True, [])])
def test_a_closed_loop_pauses_after_the_last_failure(open_loop: bool, pauses: list[float]) -> None:
    waits, answer = played([failed("rejected")], open_loop=open_loop)
    assert waits == [("measure", 7.0, 1), *pauses] and answer.error == "rejected"


def test_nothing_is_tried_when_the_measured_phase_is_over() -> None:
    waits, _ = played([failed()], phases="drain", open_loop=True)
    assert waits == [("measure", 7.0, 1), 2.0]


@pytest.mark.parametrize(("cold", "tries"), [(False, 2), (True, 1)])
def test_a_try_goes_on_into_the_next_phase_unless_prompts_are_cold(cold: bool, tries: int) -> None:
    waits, _ = played([failed(), Answer()], phases="later", cold=cold, open_loop=True)
    assert [wait for wait in waits if isinstance(wait, tuple)][1:] == [("later", None, 2)][: tries - 1]


@pytest.mark.parametrize(
    ("phase", "cold", "sent", "cut"),
    [
        ("measure", False, True, False),
        ("measure", False, False, True),
        ("measure", True, True, True),
        ("warmup", True, False, False),
    ],
)
def test_a_session_goes_on_if_some_of_it_was_sent_and_prompts_are_not_cold(
    phase: str, cold: bool, sent: bool, cut: bool
) -> None:
    assert is_cut(phase, "warmup", UserRules(TWICE, cold, open_loop=False), session_sent=sent) is cut


def test_a_pause_on_record_goes_before_the_users_own_and_none_is_no_pause() -> None:
    assert [pause and pause.seconds for pause in (thinking(3.0, lambda: 1.0), thinking(None, lambda: 1.0))] == [
        3.0,
        1.0,
    ]
    assert thinking(0.0, lambda: 1.0) is None and thinking(None, lambda: 0.0) is None
