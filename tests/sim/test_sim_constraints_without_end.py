"""Constraints whose texts would have no end: refused, or cut, by the simulator, and given up by checks of answers."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tokenswarm.base.bounded_patterns import TooSlow
from tokenswarm.base.ebnf import Grammar, NoGrammar
from tokenswarm.sim.constrained import json_text
from tokenswarm.sim.patterns import NotSupported, matching


@pytest.mark.parametrize(
    "pattern", ["((a{1000}){1000}){1000}", "(){100000000}", "(|a){100000000}", "(" * 3000 + "a" + ")" * 3000]
)
def test_a_pattern_of_texts_without_end_is_refused(pattern: str) -> None:
    with pytest.raises(NotSupported):
        matching(pattern, random.Random(1))


def _nested(depth: int) -> dict[str, Any]:
    return {"type": "array", "items": _nested(depth - 1)} if depth else {"type": "integer"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10**9, "items": {"type": "array", "minItems": 10**9}},
        {"type": "string", "minLength": 10**12},
        _nested(30),
        {"$ref": "#/$defs/t", "$defs": {"t": {"properties": {name: {"$ref": "#/$defs/t"} for name in "abcdef"}}}},
    ],
    ids=["long", "text", "nested", "tree"],
)
def test_an_answer_to_a_schema_without_end_is_of_some_size(schema: dict[str, Any]) -> None:
    text = json_text(schema, random.Random(1))
    assert len(text) < 10_000_000
    json.loads(text)


def test_a_grammar_that_calls_itself_for_ever_makes_no_text() -> None:
    with pytest.raises(NoGrammar):
        Grammar("root ::= root root").text(random.Random(1))


def test_a_grammar_that_calls_itself_twice_gives_up_on_a_long_answer() -> None:
    grammar = Grammar('root ::= "a" | root root')
    assert not grammar.fits("b")
    with pytest.raises(TooSlow):
        grammar.fits("a" * 60 + "b")
