"""Whether an engine enforces a constraint is asked before the load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.run.helpers import ANSWERS, QUIET_MACHINE
from tokenswarm.base.errors import UserError
from tokenswarm.base.signals import Interrupts
from tokenswarm.client.answer import Answer
from tokenswarm.contract.manifest import PreflightRecord
from tokenswarm.engines import Engine
from tokenswarm.engines.spec.engine_spec import load_description
from tokenswarm.run.checked_engine import EngineTools, checked_engine
from tokenswarm.run.constraint_fields import with_fields
from tokenswarm.run.enforcement import enforcement
from tokenswarm.run.first_request import LoadToCheck
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import resolve
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


def test_an_engine_that_does_not_enforce_is_told_what_its_server_needs_for_it(tmp_path: Path) -> None:
    engine = Engine("http://127.0.0.1:1", load_description("trtllm"))
    unenforced = PreflightRecord(**{**ANSWERS, "enforced": False, "enforced_words": "Once upon a time"})
    tools = EngineTools(lambda *_: engine, lambda _: unenforced, lambda _: None)
    plan = resolve(LoadOptions(scenario="structured", host="http://127.0.0.1:1"), QUIET_MACHINE)
    with Interrupts() as interrupts, checked_engine(plan, tmp_path, Console(quiet=True), interrupts, tools) as up:
        words = up.preflight.enforced_words
    assert words.startswith("Once upon a time (trtllm-serve enforces constraints only with guided_decoding_backend")
