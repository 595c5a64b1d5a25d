"""The load in words, as it stands in the heading of a run."""

from __future__ import annotations

from tokenswarm.analysis.wording import load_sentence

from tokenswarm.contract.manifest import LoadRecord


def test_cold_prompts_are_named_and_steady_ones_are_what_one_expects() -> None:
    load = {"mode": "closed", "users": 16}
    assert load_sentence(LoadRecord(**load, prompts="cold")) == "16 users, closed loop, cold prompts"
    assert load_sentence(LoadRecord(**load, prompts="steady")) == "16 users, closed loop"
    assert load_sentence(LoadRecord(**load)) == "16 users, closed loop"
