"""The two sides of a comparison, from the command line."""

from __future__ import annotations

import argparse

import pytest

from tokenswarm.cli import _parser
from tokenswarm.commands.compare import ASSISTANT_TURNS, _sides, with_scripted_answers
from tokenswarm.run.options import LoadOptions
from tokenswarm.scenario.loading import load_scenario

A, B = ["--a-host", "http://a:1"], ["--b-host", "http://b:1"]


def engines(*typed: str) -> tuple[str, str]:
    options: argparse.Namespace = _parser().parse_args(["compare", "--scenario", "rag", *typed])
    a, b = _sides(options, [])
    return a.engine, b.engine


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], ("vllm", "sglang")),
        ([*A, *B], ("external", "external")),
        (A, ("external", "sglang")),
        (
            [*A, *B, "--engines", "vllm,sglang"],
            ("vllm", "sglang"),
        ),  # whoever says which they are is believed, and checked
        ([*A, *B, "--engines", "vllm"], ("vllm", "vllm")),
    ],
)
def test_engines_that_were_named_are_never_replaced(typed: list[str], expected: tuple[str, str]) -> None:
    assert engines(*typed) == expected


@pytest.mark.parametrize(
    ("scenario", "typed", "expected"),
    [
        ("chat", {}, {ASSISTANT_TURNS: "corpus"}),
        ("chat", {ASSISTANT_TURNS: "engine"}, {ASSISTANT_TURNS: "engine"}),
        ("rag", {}, {}),
        ("rag:1 chat:2", {}, {f"chat.{ASSISTANT_TURNS}": "corpus"}),
        ("rag:1 chat:2", {f"chat.{ASSISTANT_TURNS}": "engine"}, {f"chat.{ASSISTANT_TURNS}": "engine"}),
    ],
)
def test_chat_histories_hold_texts_of_the_corpus_unless_somebody_asks_for_the_engines_own_answers(
    scenario: str, typed: dict[str, str], expected: dict[str, str]
) -> None:
    side = with_scripted_answers(LoadOptions(scenario=scenario, overrides=typed))
    assert side.overrides == expected
    loaded = load_scenario(scenario, side.overrides)
    chats = [each for each in (loaded, *loaded.classes().values()) if each.workload == "chat" and each.mix is None]
    turns = {each.workload_settings.assistant_turns for each in chats}
    assert turns == ({next(iter(expected.values()))} if expected else set())
