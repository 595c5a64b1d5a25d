"""Structured output: schemas that the simulator's answers fit, a control arm in between, and whether it is enforced."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from tokenswarm import workloads
from tokenswarm.base.errors import UserError
from tokenswarm.engines.spec.engine_spec import load_description
from tokenswarm.run.constraint_fields import with_fields
from tokenswarm.scenario.endpoint_settings import CONSTRAINT_TEXTS
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.sim.answers import AnswerSettings, plan
from tokenswarm.sim.api import understand
from tokenswarm.sim.text import Prose
from tokenswarm.workloads.base import Prompt
from tokenswarm.workloads.constraints import CHOICE, GRAMMAR, KINDS, OPENAI_FIELDS, REGEX, Constraint
from tokenswarm.workloads.corpus import load_corpus
from tokenswarm.workloads.structured import constraint_of

from .conftest import SALT

PROSE = Prose(0)


TIERS = ("flat", "nested", "large", "regex", "choice", "grammar")


def answered(prompt: Prompt, ignoring: bool = False) -> str:
    body = {
        "messages": prompt.messages,
        "seed": Random(str(prompt)).getrandbits(31),
        "max_tokens": 2000,
        **(prompt.body or {}),
    }
    planned = plan(
        understand(body, True, "sim", 8192, 0).ask,
        PROSE,
        AnswerSettings(reasoning="never", ignore_response_format=ignoring),
    )
    return planned.data.replace(b"\0", b"").decode()


def structured(engine: str = "sim"):
    """The workload with the fields of an engine that is described."""
    scenario = with_fields(load_scenario("structured", {}), load_description(engine))
    return workloads.create(scenario, load_corpus(), 1, SALT)


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
    assert not constraint_of(tier).check()("{}")


def test_unique_schemas_differ_each_time_and_still_fit(make) -> None:
    asked = [prompt for prompt in prompts(make("structured", "structured.unique=true"), 60) if prompt.body]
    assert len({str(prompt.body) for prompt in asked}) == len(asked)
    assert all(prompt.check(answered(prompt)) for prompt in asked)
    assert len({prompt.messages[0]["content"] for prompt in asked}) == 3, "the prompts stay cacheable"


LACKING = {"lmdeploy": {"grammar"}, "llamacpp": {"regex"}}
"""The kinds that an engine has no field for."""
ENGINES = ("sim", "vllm", "sglang", "trtllm", "lmdeploy", "llamacpp")


@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine_gets_every_kind_that_it_takes_in_its_own_fields_and_answers_fit(engine) -> None:
    asked = [prompt for prompt in prompts(structured(engine), 60) if prompt.body]
    assert {prompt.document for prompt in asked} == set(TIERS) - LACKING.get(engine, set())
    for prompt in asked:
        assert prompt.check(answered(prompt)), (prompt.document, answered(prompt))


@pytest.mark.parametrize(
    ("engine", "fields"),
    [
        (
            "vllm",
            {
                "regex": {"structured_outputs": {"regex": "a|b"}},
                "choice": {"structured_outputs": {"choice": ["a", "b"]}},
                "grammar": {"structured_outputs": {"grammar": 'root ::= "a"'}},
            },
        ),
        ("sglang", {"regex": {"regex": "a|b"}, "choice": {"regex": "a|b"}, "grammar": {"ebnf": 'root ::= "a"'}}),
        (
            "trtllm",
            {
                "regex": {"response_format": {"type": "regex", "regex": "a|b"}},
                "choice": {"response_format": {"type": "regex", "regex": "a|b"}},
                "grammar": {"response_format": {"type": "ebnf", "ebnf": 'root ::= "a"'}},
            },
        ),
        (
            "lmdeploy",
            {
                "regex": {"response_format": {"type": "regex_schema", "regex_schema": "a|b"}},
                "choice": {"response_format": {"type": "regex_schema", "regex_schema": "a|b"}},
            },
        ),
        ("llamacpp", {"choice": {"grammar": 'root ::= "a" | "b"'}, "grammar": {"grammar": 'root ::= "a"'}}),
    ],
)
def test_a_constraint_is_filled_into_the_engine_s_template(engine, fields) -> None:
    described = load_description(engine).constraints
    for kind, value in ((REGEX, "a|b"), (CHOICE, ("a", "b")), (GRAMMAR, 'root ::= "a"')):
        if kind in fields:
            assert Constraint(kind, "x", value).body(described) == fields[kind]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_that_is_described_says_how_it_takes_each_kind_that_it_has_a_field_for(engine) -> None:
    assert set(load_description(engine).constraints) == set(KINDS) - LACKING.get(engine, set())


def test_the_check_tells_an_engine_that_enforces_from_one_that_ignores(make) -> None:
    asked = structured().argued_against()
    assert {prompt.conversation for prompt in asked} == {f"check {kind}" for kind in KINDS}
    for prompt in asked:
        for length in (1, 8, 32):
            assert prompt.check(answered(prompt)[:length]), (prompt.conversation, answered(prompt)[:length])
            assert not prompt.check(answered(prompt, ignoring=True)[:length])
    assert make("batch").argued_against() == ()


def test_kinds_for_which_an_endpoint_has_no_field_are_left_out_and_said_so(make) -> None:
    workload = make("structured")
    assert {prompt.document for prompt in prompts(workload) if prompt.body} == {"flat", "nested", "large"}
    assert workload.notes() == [
        "Answers by regex and choice and grammar are not asked for: it is not known how this "
        "endpoint takes them ([endpoint.constraints])."
    ]
    with pytest.raises(UserError, match=r"not known how this endpoint takes regex: say so in \[endpoint.constraints\]"):
        make("structured", 'structured.tiers=["regex"]')


def test_a_schema_is_new_to_the_engine_in_each_run(make) -> None:
    one, two = (
        {str(prompt.body) for prompt in prompts(make("structured", salt=salt)) if prompt.body} for salt in ("a", "b")
    )
    assert len(one) == len(two) == 3 and not one & two


def test_a_schema_is_asked_for_in_the_field_of_the_openai_api_where_nothing_else_is_known() -> None:
    wanted = constraint_of("flat").body(OPENAI_FIELDS)["response_format"]
    assert (wanted["type"], wanted["json_schema"]["schema"]["type"]) == ("json_schema", "object")


@pytest.mark.parametrize("tier", TIERS)
def test_what_makes_a_constraint_unique_lets_the_same_answers_fit(tier) -> None:
    plain, unique = constraint_of(tier), constraint_of(tier, "0a1b")
    assert plain.value != unique.value
    prompt = Prompt([], "x", 1, 0, body=plain.body(load_description("sim").constraints), check=unique.check())
    for number in range(10):
        assert prompt.check(answered(replace(prompt, messages=[{"role": "user", "content": f"{number}"}])))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("output.ignore_eos=true", "ignore_eos lets no answer end by itself"),
        ('output.extra={response_format={type="json_object"}}', "would constrain the control arm too"),
        ('endpoint.constraints={regex={messages="{pattern}"}}', "may not hold 'messages'"),
        ('endpoint.constraints={regex={rule=[{of="{patern}"}]}}', "regex holds {patern}, which has no meaning here"),
        ('endpoint.constraints={regex={rule="^{pattern}$"}}', "{pattern} within a longer text"),
    ],
)
def test_settings_under_which_answers_could_not_be_held_against_their_constraint_are_refused(make, setting, words):
    with pytest.raises(UserError, match=words):
        make("structured", setting)


def test_every_text_that_a_template_may_hold_is_filled_in() -> None:
    for kind, value in ((REGEX, "a|b"), (CHOICE, ("a", '"')), (GRAMMAR, "root"), ("json_schema", {"type": "object"})):
        filled = Constraint(kind, "x", value).body({kind: {"all": list(CONSTRAINT_TEXTS)}})["all"]
        assert not set(map(str, filled)) & set(CONSTRAINT_TEXTS)
    assert Constraint(CHOICE, "x", ("a", '"')).body({CHOICE: {"g": "{choices_grammar}"}}) == {
        "g": r'root ::= "a" | "\""'
    }
