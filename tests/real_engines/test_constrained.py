"""Answers under constraints on a real engine with random weights: each kind in the field that its description names."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.real_engines.real import Server, mended
from tokenswarm.workloads.answer_checks import why_not
from tokenswarm.workloads.constraints import JSON_SCHEMA, Constraint
from tokenswarm.workloads.structured import constraint_of

TRIES = 4
LONGEST = 1700
"""More tokens than any answer can have that fits: the texts of JSON have 24 characters at most, of four bytes each, and
a byte may be a token. So none is cut."""
# No text in it that could hold what is no JSON (see `mended`): what an engine makes of this must fit as it is.
WITHOUT_TEXTS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["syntax", "data", "tools"]},
        "confirmed": {"type": "boolean"},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "minItems": 1, "maxItems": 3},
    },
    "required": ["kind", "confirmed", "parts"],
    "additionalProperties": False,
    "$defs": {
        "part": {
            "type": "object",
            "properties": {"place": {"enum": [1, 2, 3]}, "of": {"enum": ["a", "b", None]}},
            "required": ["place", "of"],
            "additionalProperties": False,
        }
    },
}


def whole_answer(server: Server, constraint: Constraint, seed: int) -> str:
    status, document = server.ask(
        server.body(
            "What is the weather like at sea?",
            stream=False,
            stream_options=None,
            ignore_eos=False,
            max_tokens=LONGEST,
            temperature=1.0,
            seed=seed,
            **constraint.body(server.engine.description.constraints),
        )
    )
    assert status == 200, document
    choice = document["choices"][0]
    assert choice["finish_reason"] == "stop", choice
    return choice["message"]["content"]


def answers(server: Server, constraint: Constraint) -> list[str]:
    with ThreadPoolExecutor(TRIES) as pool:
        return list(pool.map(partial(whole_answer, server, constraint), range(TRIES)))


@pytest.mark.parametrize("tier", ["regex", "choice", "grammar"])
def test_an_answer_fits_the_constraint_that_is_asked_for_in_the_described_field(server: Server, tier: str) -> None:
    constraint = constraint_of(tier, "0a1b")
    check = constraint.check()
    assert [text for text in answers(server, constraint) if not check(text)] == []


def test_an_answer_by_a_json_schema_without_texts_fits_it(server: Server) -> None:
    constraint = Constraint(JSON_SCHEMA, "parts", WITHOUT_TEXTS)
    check = constraint.check()
    assert [why_not(check, text) for text in answers(server, constraint)] == [None] * TRIES


@pytest.mark.parametrize("tier", ["flat", "nested", "large"])
def test_an_answer_by_a_json_schema_fits_it_but_for_characters_that_the_engine_should_not_write(
    server: Server, tier: str
) -> None:
    constraint = constraint_of(tier, "0a1b")
    check = constraint.check()
    assert [why_not(check, mended(text)) for text in answers(server, constraint)] == [None] * TRIES
