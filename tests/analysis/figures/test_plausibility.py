"""Two known things must agree: each contradiction is found, and near misses are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tokenswarm.analysis.figures.plausibility import RULES, Answers, EngineCounts, contradictions


def answers(n: int = 30, **cells: Any) -> Answers:
    plain = {
        "chunks": 100,
        "completion_tokens": 100,
        "by_usage": True,
        "seconds": 2.0,
        "prompt_tokens": 1000,
        "cached_tokens": 500,
        "prompt_chars": 4000,
    }
    return Answers(
        **{
            name: np.full(n, value, dtype=bool if name == "by_usage" else float)
            for name, value in (plain | cells).items()
        }
    )


def counted(**facts: Any) -> EngineCounts:
    return EngineCounts(**({"requests": 100, "in_flight": 4.0} | facts))


def rules(of: Answers | None = None, by: EngineCounts | None = None) -> list[str]:
    return [each.rule for each in contradictions(of or answers(), by or counted())]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({}, []),
        ({"completion_tokens": 1}, ["usage_output"]),  # usage that counts each chunk alone
        ({"completion_tokens": 60}, []),
        ({"completion_tokens": 100, "chunks": 1}, []),  # a gateway that sends the whole answer in one event
        ({"completion_tokens": 10, "by_usage": False}, []),
        ({"completion_tokens": 1e12}, ["usage_speed"]),
        ({"completion_tokens": 2000, "seconds": 0.5}, []),
        ({"prompt_tokens": 0, "cached_tokens": np.nan}, ["usage_prompt"]),
        ({"prompt_tokens": 1e12}, ["usage_prompt"]),
        ({"prompt_tokens": 150, "cached_tokens": 0}, ["usage_prompt"]),
        ({"prompt_tokens": 4000}, []),  # a character a token
        ({"prompt_tokens": 30, "prompt_chars": 8, "cached_tokens": 0}, []),  # the chat template
        ({"prompt_tokens": np.nan}, []),
        ({"cached_tokens": 1001}, ["usage_cached"]),
        ({"cached_tokens": 1000}, []),
    ],
)
def test_what_answers_say_of_themselves(cells: dict[str, Any], expected: list[str]) -> None:
    assert rules(answers(**cells)) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"engine_first_tokens": 79, "our_first_tokens": 18}, ["others_served"]),
        ({"engine_first_tokens": 103, "our_first_tokens": 100}, []),
        ({"engine_first_tokens": 125, "our_first_tokens": 100, "unseen": 12}, []),
        ({"engine_first_tokens": 50, "our_first_tokens": 100}, ["engine_sees_less"]),
        ({"engine_tokens": 5000, "our_tokens": 10000}, ["engine_output"]),
        ({"engine_tokens": 9000, "our_tokens": 10000}, []),
        ({"engine_tokens": 30000, "our_tokens": 10000}, ["engine_output"]),  # events of several tokens, without usage
        ({"engine_tokens": 12000, "our_tokens": 10000}, []),
        ({"engine_tokens": 30000, "our_tokens": 10000, "unseen": 200}, []),
        (
            {"engine_tokens": 30000, "our_tokens": 10000, "engine_first_tokens": 300, "our_first_tokens": 100},
            ["others_served"],
        ),
        ({"engine_tokens": 5000, "our_tokens": 10000, "in_flight": 60.0}, []),
        ({"usage_hit_rate": 0.8, "counters_hit_rate": 0.3}, ["hit_rates"]),
        ({"usage_hit_rate": 0.8, "counters_hit_rate": 0.7}, []),
        ({"ideal_hit_rate_most": 0.3, "measured_hit_rate": 0.5}, ["above_ideal"]),
        ({"ideal_hit_rate_most": 0.3, "measured_hit_rate": 0.31}, []),
        (
            {
                "requests": 5,
                "usage_hit_rate": 0.8,
                "counters_hit_rate": 0.3,
                "engine_tokens": 1,
                "our_tokens": 1000,
                "ideal_hit_rate_most": 0.3,
                "measured_hit_rate": 0.5,
            },
            [],
        ),
    ],
)
def test_what_the_engine_counts_against_what_we_saw(facts: dict[str, Any], expected: list[str]) -> None:
    assert rules(by=counted(**facts)) == expected


@pytest.mark.parametrize(("same", "spoilt"), [(15, False), (16, True), (30, True)])
def test_times_of_which_most_are_one_were_not_measured(same: int, spoilt: bool) -> None:
    times = np.where(np.arange(30) < same, 100.0, 100.0 + np.arange(30) / 1000.0)
    found = contradictions(replace(answers(), ttft_ms=times), counted())
    assert [(each.rule, each.metrics) for each in found] == (
        [("same_latency", {"ttft", "ttfo", "scheduled_ttft"})] if spoilt else []
    )


@pytest.mark.parametrize("times", [np.full(19, 100.0), np.full(30, np.nan)])
def test_of_too_few_answers_or_of_unknown_times_nothing_is_said(times: np.ndarray) -> None:
    assert contradictions(replace(answers(), ttft_ms=times), counted()) == []


def test_each_contradiction_names_the_figures_that_it_spoils_and_both_numbers() -> None:
    found = contradictions(
        answers(completion_tokens=1, prompt_tokens=0, cached_tokens=7),
        counted(engine_first_tokens=79, our_first_tokens=18, usage_hit_rate=0.9, counters_hit_rate=0.2),
    )
    assert [each.rule for each in found] == [
        "usage_output",
        "usage_prompt",
        "usage_cached",
        "others_served",
        "hit_rates",
    ]
    assert all(each.metrics and each.rule in RULES and each.sentence.endswith(".") for each in found)
    others = next(each for each in found if each.rule == "others_served")
    assert others.whole_run and "79" in others.sentence and "18" in others.sentence


@pytest.mark.parametrize(("strange", "expected"), [(1, []), (3, ["usage_output"])])
def test_usage_of_other_answers_is_found_where_its_sum_is_right(strange: int, expected: list[str]) -> None:
    tokens = np.full(30, 120.0)
    tokens[:strange] = 5.0
    assert rules(replace(answers(), completion_tokens=tokens)) == expected


@pytest.mark.parametrize(("empty", "expected"), [(0, []), (1, [False]), (3, [False]), (4, [True]), (30, [True])])
def test_answers_that_hold_nothing_are_no_answers(empty: int, expected: list[bool]) -> None:
    without = np.arange(30) < empty
    tokens = np.where(without, 0.0, 100.0)
    found = contradictions(replace(answers(), chunks=tokens, completion_tokens=tokens), counted())
    assert [each.whole_run for each in found if each.rule == "without_text"] == expected
    assert all(f"{empty} of 30 answers hold no text" in each.sentence for each in found)


def test_tokens_that_cannot_be_shown_are_still_an_answer() -> None:
    assert rules(answers(chunks=0, completion_tokens=5)) == []


@pytest.mark.parametrize(
    ("stream_ms", "tokens", "expected"),
    [
        (0.5, 100.0, ["at_once"]),
        (0.0, 100.0, ["at_once"]),
        (20.0, 100.0, []),
        (0.1, 4.0, []),
        (np.nan, 100.0, []),
    ],
)
def test_tokens_that_come_all_at_once_tell_no_time_between_them(
    stream_ms: float, tokens: float, expected: list[str]
) -> None:
    found = contradictions(
        replace(answers(completion_tokens=tokens, chunks=tokens), stream_ms=np.full(30, stream_ms)), counted()
    )
    assert [each.rule for each in found] == expected
    assert all("tpot" in each.metrics and "ttft" not in each.metrics for each in found)


@pytest.mark.parametrize(("stopped", "expected"), [(3, []), (4, ["ended_early"])])
def test_an_ignored_ignore_eos_is_told(stopped: int, expected: list[str]) -> None:
    assert rules(replace(answers(), ended_itself=np.arange(30) < stopped)) == expected
