"""Whether an engine enforces a constraint is asked before the load."""

from __future__ import annotations

import pytest

from tokenswarm.base.errors import UserError
from tokenswarm.client.answer import Answer
from tokenswarm.run.enforcement import enforcement
from tokenswarm.run.first_request import LoadToCheck
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads.corpus import load_corpus


def load(name: str = "structured") -> LoadToCheck:
    return LoadToCheck("http://127.0.0.1:1", "m", load_scenario(name, {}), load_corpus())


def test_free_text_is_not_enforced_and_the_words_are_kept() -> None:
    result = enforcement(load(), lambda *_: Answer(text="The sea is\n calm"))
    assert (result.enforced, result.words) == (False, "The sea is calm")


def test_an_answer_that_begins_as_json_is_enforced() -> None:
    assert enforcement(load(), lambda *_: Answer(text=' {"kind": "da')).enforced is True


def test_an_answer_without_text_tells_nothing_and_says_so() -> None:
    result = enforcement(load(), lambda *_: Answer(reasoning="hm"))
    assert result.enforced is None and "only reasoning" in result.notes[0]


def test_a_refused_constraint_ends_before_the_load_with_the_engines_words() -> None:
    refusal = Answer(status="failed", error="rejected", http_status=400, error_detail="no grammar backend")
    with pytest.raises(UserError, match=r"refuses the constraint of scenario structured \(400\): no grammar backend"):
        enforcement(load(), lambda *_: refusal)


def test_a_scenario_without_a_constraint_asks_nothing() -> None:
    assert enforcement(load("rag"), lambda *_: pytest.fail("nothing to ask")).enforced is None
