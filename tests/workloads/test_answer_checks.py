"""What makes an answer valid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tokenswarm.base import bounded_patterns
from tokenswarm.base.bounded_patterns import TooSlow
from tokenswarm.base.errors import UserError
from tokenswarm.client.answer import Answer
from tokenswarm.generator.rows import valid_output
from tokenswarm.scenario.requests import Output
from tokenswarm.traces.request import TraceRequest
from tokenswarm.workloads.answer_checks import Check, check_of, fits_schema, matches, why_not, with_check
from tokenswarm.workloads.base import Prompt
from tokenswarm.workloads.dataset import check_for
from tokenswarm.workloads.structured import constraint_of

SCHEMA = {
    "type": "object",
    "required": ["kind", "parts"],
    "additionalProperties": False,
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "parts": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/p"}},
    },
    "$defs": {"p": {"type": "integer"}},
}


@pytest.mark.parametrize(
    ("answer", "valid"),
    [
        ('{"kind": "a", "parts": [1]}', True),
        ('{"kind": "c", "parts": [1]}', False),
        ('{"kind": "a", "parts": []}', False),
        ('{"kind": "a", "parts": ["1"]}', False),
        ('{"kind": "a", "parts": [1]', False),
        ("I would rather not.", False),
        ('```json\n{"kind": "a", "parts": [1]}\n```', False),
        ("", False),
        ("[" * 100_000, False),
    ],
)
def test_json_that_does_not_fit_the_schema_is_not_valid(answer: str, valid: bool) -> None:
    check = check_of(Output(check="json_schema", check_schema=SCHEMA))
    assert check is not None
    assert check(answer) is valid


@pytest.mark.parametrize(("answer", "valid"), [("{}", True), ("3", True), ("NaN", False), ("{} and more", False)])
def test_json_is_one_whole_value(answer: str, valid: bool) -> None:
    check = check_of(Output(check="json"))
    assert check is not None
    assert check(answer) is valid


def test_a_pattern_must_match_the_whole_answer() -> None:
    check = check_of(Output(check="regex", check_pattern="[A-Z]{2}-[0-9]+"))
    assert check is not None
    assert [check(" AB-12\n"), check("AB-12 or so")] == [True, False]


def test_the_schema_that_is_asked_for_is_the_one_that_is_checked() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "integer"}}}
    check = check_of(Output(check="json_schema", extra={"response_format": wanted}))
    assert check is not None
    assert [check("3"), check('"3"')] == [True, False]


@pytest.mark.parametrize(
    "settings", [{"check": "regex"}, {"check": "json_schema"}, {"check": "regex", "check_pattern": "("}]
)
def test_a_check_without_what_it_checks_against_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="check"):
        Output(**settings)


def test_what_is_no_schema_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="not a JSON Schema"):
        fits_schema({"type": "objekt"})


def test_nothing_is_fetched_for_a_schema() -> None:
    with pytest.raises(UserError, match=r"refers to http://elsewhere/x, which is not part of it"):
        fits_schema({"properties": {"a": {"$ref": "#/$defs/b"}, "c": {"items": {"$ref": "http://elsewhere/x"}}}})


def test_an_answer_must_pass_the_workloads_own_check_too() -> None:
    prompt = Prompt([], "c", 1, 0, check=lambda answer: answer == "1")
    both = with_check(prompt, check_of(Output(check="json"))).check
    assert both is not None
    assert [both("1"), both("2")] == [True, False]


SLOW = r"(a|aa)+$"
"""Python's own `re` needs more time than there is for LONG; so does any that tries all ways."""
LONG = "a" * 80 + "b"


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (matches(SLOW), LONG),
        (fits_schema({"type": "string", "pattern": SLOW}), f'"{LONG}"'),
        (fits_schema({"patternProperties": {SLOW: {}}}), f'{{"{LONG}": 1}}'),
        (fits_schema({"patternProperties": {SLOW: {}}, "additionalProperties": False}), f'{{"{LONG}": 1}}'),
        (check_for(TraceRequest([], expected=SLOW), "regex"), LONG),
    ],
)
def test_a_pattern_that_takes_too_long_gives_up_and_is_not_tried_again(
    check: Check, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_patterns, "_BOUND_S", 0.02)
    bounded_patterns.bounded.cache_clear()
    with pytest.raises(TooSlow, match=r"the pattern '\(a\|aa\)\+\$' takes too long"):
        check(answer)
    monkeypatch.setattr(bounded_patterns, "_BOUND_S", 1e6)
    with pytest.raises(TooSlow):
        check(answer)
    bounded_patterns.bounded.cache_clear()


def test_the_row_says_nothing_of_validity_then_and_the_run_says_why() -> None:
    bounded_patterns.bounded.cache_clear()
    answer = Answer(status="ok", text=LONG)
    assert valid_output(Prompt([], "c", 1, 0, check=matches(SLOW)), answer) is None
    assert answer.oddities[0].startswith("not checked: the pattern '(a|aa)+$' takes too long")
    answer = Answer(status="ok", text=LONG)
    assert valid_output(Prompt([], "c", 1, 0, check=matches(SLOW), private=True), answer) is None
    assert answer.oddities == ("not checked: a pattern of the file takes too long",)


@given(
    answer=st.dictionaries(st.text("abx_1", max_size=4), st.integers() | st.text("ab", max_size=3), max_size=4),
    patterns=st.dictionaries(
        st.sampled_from(["^a", "b$", "x+", "[0-9]"]), st.sampled_from([{}, False, {"type": "string"}])
    ),
    extra=st.sampled_from([None, False, True, {"type": "integer"}]),
)
def test_bounded_patterns_of_schemas_say_what_the_library_says(answer: dict, patterns: dict, extra: object) -> None:
    schema: dict = {"type": "object", "properties": {"a": {"pattern": "^a*$"}}, "patternProperties": patterns}
    if extra is not None:
        schema["additionalProperties"] = extra
    assert fits_schema(schema)(json.dumps(answer)) is Draft202012Validator(schema).is_valid(answer)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ('{"kind": "a", "parts": [1]}', None),
        ('{"kind": "a", "parts": [1, "2"]}', "parts/1: '2' is not of type 'integer'"),
        ('{"kind": "a"}', "'parts' is a required property"),
        ('{"kind": "a\x07"}', "no JSON: Invalid control character at: line 1 column 12 (char 11)"),
        ("NaN", "no JSON: NaN is not JSON"),
        ("[" * 100_000, "no JSON: it is nested too deeply"),
    ],
)
def test_a_check_by_a_schema_says_what_is_wrong(answer: str, why: str | None) -> None:
    assert why_not(check_of(Output(check="json_schema", check_schema=SCHEMA)), answer) == why


def test_a_reason_is_short_however_long_the_answer() -> None:
    reason = why_not(fits_schema({"maxLength": 3}), f'"{"x" * 10_000}"')
    assert reason is not None and reason.endswith("is too long") and len(reason) < 320


NO_UTF8 = json.loads((Path(__file__).parent / "no_utf8.json").read_text("utf-8"))
"""Of real engines with random weights. A text of 24 characters, as the grammar counts, holds bytes that are none, such
as half a surrogate pair (ED A0 80); each of them is decoded as a character of its own."""


@pytest.mark.parametrize("seen", NO_UTF8, ids=lambda seen: seen["engine"])
def test_a_text_that_bytes_without_a_character_make_too_long_says_so(seen: dict[str, str]) -> None:
    reason = why_not(constraint_of(seen["tier"], "0a1b").check(), seen["answer"])
    assert reason is not None and reason.startswith(seen["place"])
    assert reason.endswith("is too long (the answer holds bytes that are no UTF-8: \ufffd)")


def test_a_second_check_is_named_by_its_own_words() -> None:
    prompt = with_check(Prompt([], "c", 1, 0, check=lambda answer: answer == "1"), check_of(Output(check="json")))
    assert why_not(prompt.check, "2") == "the scenario's own check does not pass"
    assert why_not(prompt.check, "1") is None
    assert why_not(with_check(replace(prompt, check=None), check_of(Output(check="json"))).check, "x") is not None


@pytest.mark.parametrize("depth", [50, 400, 900])
def test_a_schema_that_leads_to_itself_judges_an_answer_of_any_depth(depth: int) -> None:
    lists = {"type": "array", "items": {"$ref": "#/$defs/lists"}}
    check = fits_schema({"$ref": "#/$defs/lists", "$defs": {"lists": lists}})
    why = why_not(check, "[" * depth + "]" * depth)
    assert why == (None if depth == 50 else "too deeply nested to be held against the schema")
