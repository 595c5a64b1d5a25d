"""Structured output: schemas that the simulator's answers fit, a control arm in between, and whether it is enforced."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tokenswarm.sim.answers import AnswerSettings, Ask, plan
from tokenswarm.sim.text import Prose
from tokenswarm.workloads.answer_checks import fits_schema
from tokenswarm.workloads.base import Prompt
from tokenswarm.workloads.structured import constraint, schema_of

PROSE = Prose(0)


def answered(prompt: Prompt, ignoring: bool = False) -> str:
    body = prompt.body or {}
    planned = plan(Ask(tuple(message["content"] for message in prompt.messages), Random(str(prompt)).getrandbits(32),
                       2000, response_format=body.get("response_format")), PROSE,
                   AnswerSettings(reasoning="never", ignore_response_format=ignoring))
    return planned.data.replace(b"\0", b"").decode()


def prompts(workload, count=120):
    return [next(iter(workload.session("measure", number))) for number in range(count)]


def test_tiers_take_turns_and_one_request_in_four_has_no_constraint(make) -> None:
    asked = prompts(make("structured"), 600)
    free = [prompt for prompt in asked if prompt.body is None]
    assert 0.19 < len(free) / len(asked) < 0.31
    assert all(prompt.document.startswith("control-") and prompt.check is None for prompt in free)
    tiers = Counter(prompt.document.removeprefix("control-") for prompt in asked)
    assert tiers == {"flat": 200, "nested": 200, "large": 200}


def test_answers_under_a_schema_are_valid_and_free_ones_are_not(make) -> None:
    for prompt in prompts(make("structured")):
        if prompt.check is not None:
            assert prompt.check(answered(prompt)), prompt.document
            assert not prompt.check(answered(prompt, ignoring=True))


@pytest.mark.parametrize("tier", ["flat", "nested", "large"])
def test_an_answer_that_lacks_a_field_is_not_valid(tier) -> None:
    assert not fits_schema(schema_of(tier))("{}")


def test_unique_schemas_differ_each_time_and_still_fit(make) -> None:
    asked = [prompt for prompt in prompts(make("structured", "structured.unique=true"), 60) if prompt.body]
    assert len({str(prompt.body) for prompt in asked}) == len(asked)
    assert all(prompt.check(answered(prompt)) for prompt in asked)
    assert len({prompt.messages[0]["content"] for prompt in asked}) == 3, "the prompts stay cacheable"


def test_the_check_tells_an_engine_that_enforces_from_one_that_ignores(make) -> None:
    prompt = make("structured").argued_against()
    assert prompt.check(answered(prompt)[:8])
    assert not prompt.check(answered(prompt, ignoring=True)[:8])
    assert make("batch").argued_against() is None


def test_a_schema_is_asked_for_in_the_field_that_engines_take() -> None:
    wanted = constraint("flat", {"type": "object"})["response_format"]
    assert (wanted["type"], wanted["json_schema"]["schema"]) == ("json_schema", {"type": "object"})
