"""Every flag that a scenario or a setting leads to is accepted by the engine's real argument parser."""

from __future__ import annotations

import pytest

from tests.real_engines.parsing import BOGUS, SCENARIOS, ParserProcess


@pytest.fixture(scope="module")
def answers(parser_process: ParserProcess) -> dict[str, str | None]:
    """What was asked -> refusal."""
    return parser_process.refusals()


def test_the_parser_refuses_a_flag_that_does_not_exist(answers: dict[str, str | None]) -> None:
    assert "there-is-no-such-flag" in (answers[BOGUS] or "")


def test_each_scenario_and_each_setting_is_accepted(answers: dict[str, str | None]) -> None:
    assert {asked: said for asked, said in answers.items() if said is not None and asked != BOGUS} == {}
    assert {f"{name} {device}" for name in SCENARIOS for device in ("cuda", "cpu")} <= answers.keys()
