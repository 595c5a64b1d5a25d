"""What makes an answer valid."""

from __future__ import annotations

import pytest

from tokenswarm.base.errors import UserError
from tokenswarm.scenario.requests import Output
from tokenswarm.workloads.answer_checks import check_of, fits_schema, with_check
from tokenswarm.workloads.base import Prompt

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
    with pytest.raises(UserError, match="no JSON Schema"):
        fits_schema({"type": "objekt"})


def test_nothing_is_fetched_for_a_schema() -> None:
    with pytest.raises(UserError, match=r"refers to http://elsewhere/x, which is not part of it"):
        fits_schema({"properties": {"a": {"$ref": "#/$defs/b"}, "c": {"items": {"$ref": "http://elsewhere/x"}}}})


def test_an_answer_must_pass_the_workloads_own_check_too() -> None:
    prompt = Prompt([], "c", 1, 0, check=lambda answer: answer == "1")
    both = with_check(prompt, check_of(Output(check="json"))).check
    assert both is not None
    assert [both("1"), both("2")] == [True, False]
