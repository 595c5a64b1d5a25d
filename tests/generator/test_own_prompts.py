"""Prompts made by a user class itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from locust.exception import RescheduleTaskImmediately, StopUser

from tokenswarm.base.config_text import parse_set
from tokenswarm.client.answer import Answer
from tokenswarm.generator.plan import ClassPlan
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.users import LLMUser
from tokenswarm.workloads.base import Prompt


class Asker(LLMUser):
    """Any user."""


class FakeProcess:
    """As much of a load process as a user sees; `now` is the phase, `sent` what was asked."""

    def __init__(self, salt: str = "salt", state: str = "steady") -> None:
        plan = ClassPlan(load_scenario("rag", parse_set(f"prompts.state={state}")))
        self.plan = SimpleNamespace(seed=7, salt=salt, of=lambda _: plan)
        self.now, self.sent, self.open_loop, self.users = "warmup", [], False, 0

    def phase(self) -> str:
        return self.now

    def next_user(self, _: str = "") -> int:
        self.users += 1
        return self.users - 1

    def next_arrival(self, _: Any, user_class: str = "") -> None:
        return None

    def end_session(self, _: Any) -> None:
        pass

    def send(self, prompt: Prompt, phase: str, *_: Any) -> Answer:
        self.sent.append((phase, prompt))
        return Answer(status="ok", e2e_ms=1.0)


def user_of(process: FakeProcess) -> Asker:
    part = SimpleNamespace(process=process, gave_up=False)
    fire = SimpleNamespace(fire=lambda **_: None)
    return Asker(SimpleNamespace(tokenswarm=part, events=SimpleNamespace(request=fire)))


@pytest.mark.parametrize(("state", "different"), [("steady", 2), ("cold", 3)])
def test_the_shared_part_differs_by_run_and_in_cold_phases_from_its_first_characters(
    state: str, different: int
) -> None:
    process = FakeProcess(state=state)
    user = user_of(process)
    warm = user.prompt("Why?", system="The handbook.")
    process.now = "measure"
    measured = user.prompt("Why?", system="The handbook.")
    other_run = user_of(FakeProcess("another", state)).prompt("Why?", system="The handbook.")
    starts = [prompt.messages[0]["content"][:8] for prompt in (warm, measured, other_run)]
    assert len(set(starts)) == different
    assert [message["role"] for message in measured.messages] == ["system", "user"]
    assert measured.messages[0]["content"].endswith("The handbook.")
    assert measured.shared_prefix_chars == len(measured.messages[0]["content"])


def test_a_question_alone_is_one_message_and_an_empty_salt_leaves_it_as_it_is() -> None:
    prompt = user_of(FakeProcess(salt="")).prompt("Why?", max_tokens=7)
    assert (prompt.messages, prompt.max_tokens) == ([{"role": "user", "content": "Why?"}], 7)


TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "Because."},
    {"role": "user", "content": "Really?"},
]


@pytest.mark.parametrize(("state", "different"), [("steady", 2), ("cold", 3)])
def test_messages_of_ones_own_are_salted_at_their_very_start_and_else_left_as_they_are(
    state: str, different: int
) -> None:
    process = FakeProcess(state=state)
    user = user_of(process)
    warm = user.prompt(messages=TALK)
    process.now = "measure"
    measured, again = user.prompt(messages=TALK, max_tokens=9, body={"tools": []}), user.prompt(messages=TALK)
    other_run = user_of(FakeProcess("another", state)).prompt(messages=TALK)
    assert len({prompt.messages[0]["content"][:8] for prompt in (warm, measured, other_run)}) == different
    assert measured.messages == again.messages and measured.messages[1:] == TALK[1:]
    assert measured.messages[0]["content"].endswith("\n\nBe brief.") and TALK[0]["content"] == "Be brief."
    assert measured.shared_prefix_chars == len(measured.messages[0]["content"])
    assert (measured.max_tokens, measured.body) == (9, {"tools": []})
    assert measured.conversation != again.conversation


def test_messages_stand_between_a_system_prompt_and_a_question_and_content_may_be_a_list() -> None:
    user = user_of(FakeProcess(salt=""))
    assert user.prompt("Really?", system="Be brief.", messages=TALK[1:3]).messages == TALK
    parts = [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}]
    assert user.prompt(messages=parts).messages == parts
    salted = user_of(FakeProcess()).prompt(messages=parts)
    assert [part["text"] for part in salted.messages[0]["content"]][1:] == ["Why?"]
    assert salted.shared_prefix_chars == len(salted.messages[0]["content"][0]["text"])


def test_conversations_and_choices_are_a_user_s_own_and_the_same_again() -> None:
    def asked() -> list[tuple[str, float]]:
        process = FakeProcess()
        users = [user_of(process) for _ in range(2)]
        return [(user.prompt("Why?").conversation, user.random.random()) for user in users for _ in range(2)]

    assert asked() == asked()
    assert len(set(asked())) == 4


def test_no_prompt_is_made_after_the_measured_phase() -> None:
    process = FakeProcess()
    user = user_of(process)
    process.now = "drain"
    with pytest.raises(StopUser):
        user.prompt("Why?")


@pytest.mark.parametrize("state", ["steady", "cold"])
def test_a_prompt_of_the_warm_up_is_not_sent_in_the_measured_phase(state: str) -> None:
    process = FakeProcess(state=state)
    user = user_of(process)
    prompt = user.prompt("Why?")
    process.now = "measure"
    with pytest.raises(RescheduleTaskImmediately):
        user.ask(prompt)
    assert user.ask(user.prompt("Why?")).ok
    assert [phase for phase, _ in process.sent] == ["measure"]


def test_prompts_built_by_hand_go_on_in_the_measured_phase() -> None:
    process = FakeProcess()
    user = user_of(process)
    by_hand = Prompt([{"role": "user", "content": "Why?"}], "mine", 1, 0)
    with pytest.raises(RescheduleTaskImmediately):
        user.ask(by_hand)
    assert user.ask(by_hand).ok
    process.now = "measure"
    assert user.ask(by_hand).ok


def test_cold_prompts_built_by_hand_are_sent_at_the_second_attempt_at_the_latest() -> None:
    process = FakeProcess(state="cold")
    user = user_of(process)
    by_hand = Prompt([{"role": "user", "content": "Why?"}], "mine", 1, 0)
    for phase in ("warmup", "measure"):
        process.now = phase
        with pytest.raises(RescheduleTaskImmediately):
            user.ask(by_hand)
        assert user.ask(by_hand).ok
    assert [phase for phase, _ in process.sent] == ["warmup", "measure"]


@pytest.mark.parametrize("body", [[1], "x", {1: 2}])
def test_a_body_that_is_no_table_of_fields_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match="it should be a table of fields by name"):
        Prompt([], "a", 1, 0, body=body)
