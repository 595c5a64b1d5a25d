"""Answers under constraints on a real engine with random weights: each kind in the field that its description names."""

from __future__ import annotations

import pytest

from tests.real_engines.real import Server
from tokenswarm.workloads.structured import constraint_of

TRIES = 4
"""Random weights may fill an answer up to its longest length, which tells nothing."""


@pytest.mark.parametrize("tier", ["regex", "choice", "grammar"])
def test_an_answer_fits_the_constraint_that_is_asked_for_in_the_described_field(server: Server, tier: str) -> None:
    constraint = constraint_of(tier, "0a1b")
    whole = []
    for seed in range(TRIES):
        status, document = server.ask(
            server.body(
                "What is the weather like at sea?",
                stream=False,
                stream_options=None,
                ignore_eos=False,
                max_tokens=400,
                temperature=1.0,
                seed=seed,
                **constraint.body(server.engine.description.constraints),
            )
        )
        assert status == 200, document
        if document["choices"][0]["finish_reason"] != "length":
            whole.append(document["choices"][0]["message"]["content"])
    assert whole
    check = constraint.check()
    assert [text for text in whole if not check(text)] == []
