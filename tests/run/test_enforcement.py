"""Whether an engine enforces a constraint is asked before the load."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tokenswarm.base.errors import UserError
from tokenswarm.client.answer import Answer
from tokenswarm.engines.spec.engine_spec import load_description
from tokenswarm.run.constraint_fields import with_fields
from tokenswarm.run.enforcement import enforcement
from tokenswarm.run.first_request import LoadToCheck
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads.base import Prompt
from tokenswarm.workloads.corpus import load_corpus


def load(name: str = "structured") -> LoadToCheck:
    return LoadToCheck("http://127.0.0.1:1", "m", load_scenario(name, {}), load_corpus())


def test_free_text_is_not_enforced_and_the_words_are_kept() -> None:
    result = enforcement(load(), lambda *_: Answer(text="The sea is\n calm"))
    assert (result.enforced, result.words) == (False, "json_schema: The sea is calm")


def test_an_answer_that_begins_as_json_is_enforced() -> None:
    assert enforcement(load(), lambda *_: Answer(text=' {"kind": "da')).enforced is True


def test_an_answer_without_text_tells_nothing_and_says_so() -> None:
    result = enforcement(load(), lambda *_: Answer(reasoning="hm"))
    assert result.enforced is None and "only reasoning" in result.notes[0]


def test_a_refused_constraint_ends_before_the_load_with_the_engines_words() -> None:
    refusal = Answer(status="failed", error="rejected", http_status=400, error_detail="no grammar backend")
    words = r"refuses the constraint of scenario structured, json_schema \(400\): no grammar backend"
    with pytest.raises(UserError, match=words):
        enforcement(load(), lambda *_: refusal)


def test_a_scenario_without_a_constraint_asks_nothing() -> None:
    assert enforcement(load("rag"), lambda *_: pytest.fail("nothing to ask")).enforced is None


def test_the_load_is_spoilt_by_the_one_kind_that_is_not_enforced() -> None:
    scenario = with_fields(load_scenario("structured", {}), load_description("vllm"))

    def ask(_: LoadToCheck, prompt: Prompt) -> Answer:
        begins = {"check json_schema": "{", "check regex": "19", "check choice": "Yesterday", "check grammar": "select"}
        return Answer(text=begins[prompt.conversation])

    result = enforcement(replace(load(), scenario=scenario), ask)
    assert (result.enforced, result.words) == (False, "choice: Yesterday")
