"""One total function decides how a run came out, for every combination of facts."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product

import pytest
from tokenswarm.analysis.verdict.outcome import OUTCOMES, VALID, RunFacts, decide

from tokenswarm.base.errors import Exit

FLAGS = [each.name for each in fields(RunFacts) if each.name != "cause"]
CAUSES = [None, 0, 3, 5, 13, 18, 20, 130, 999, -1]
PRECEDENCE = {
    "could_not_run": "COULD_NOT_RUN",
    "ended_early": "ENDED_EARLY",
    "incomplete": "INCOMPLETE",
    "no_success": "NO_SUCCESS",
    "invalid": "INVALID",
    "overloaded": "OVERLOADED",
    "unchecked": "UNCHECKED",
    "missed": "SLO_MISSED",
}


def every_combination() -> list[RunFacts]:
    return [
        RunFacts(**dict(zip(FLAGS, flags, strict=True)), cause=cause)
        for flags in product((False, True), repeat=len(FLAGS))
        for cause in CAUSES
    ]


def test_the_gravest_thing_known_names_the_outcome() -> None:
    for facts in every_combination():
        gravest = next((name for flag, name in PRECEDENCE.items() if getattr(facts, flag)), None)
        lenient = "UNDETERMINED" if facts.undetermined and facts.strict else "PASSED"
        assert decide(facts).outcome.name == (gravest or lenient), facts


def test_only_a_run_without_any_flaw_ends_with_zero() -> None:
    for facts in every_combination():
        flawless = not any(getattr(facts, flag) for flag in PRECEDENCE) and not (facts.undetermined and facts.strict)
        decision = decide(facts)
        assert (decision.code == Exit.PASSED) is flawless is (decision.outcome.name == "PASSED"), facts


def test_each_outcome_has_an_exit_code_that_no_other_has() -> None:
    codes: dict[Exit, set[str]] = {}
    for facts in every_combination():
        decision = decide(facts)
        codes.setdefault(decision.code, set()).add(decision.outcome.name)
    shared = {code: names for code, names in codes.items() if len(names) > 1}
    undetermined = shared.pop(Exit.UNDETERMINED)
    assert undetermined == {"UNCHECKED", "UNDETERMINED"}, "a run of another tool leaves open what it is worth"
    assert all(names == {"COULD_NOT_RUN", "ENDED_EARLY"} for names in shared.values()), shared  # by the same cause
    assert len({outcome.code for outcome in OUTCOMES}) == len(OUTCOMES) - 1


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (None, Exit.ENDED_EARLY),
        (20, Exit.TOO_MANY_ERRORS),
        (130, Exit.INTERRUPTED),
        (0, Exit.ENDED_EARLY),
        (3, Exit.ENDED_EARLY),
        (999, Exit.ENDED_EARLY),
    ],
)
def test_a_run_that_ended_early_ends_with_the_code_of_its_cause(cause: int | None, code: Exit) -> None:
    assert decide(RunFacts(ended_early=True, cause=cause)).code is code


def test_a_cause_alone_changes_nothing() -> None:
    for facts in every_combination():
        if not (facts.could_not_run or facts.ended_early):
            assert decide(facts) == decide(replace(facts, cause=None))


def test_figures_are_valid_only_where_nothing_but_gates_is_wrong() -> None:
    for facts in every_combination():
        sound = not any(getattr(facts, flag) for flag in list(PRECEDENCE)[:-1])
        assert (decide(facts).outcome.verdict == VALID) is sound
