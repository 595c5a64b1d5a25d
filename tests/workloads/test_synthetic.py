"""Sessions from figures alone."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from tokenswarm.base.errors import UserError
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads import create
from tokenswarm.workloads.base import Prompt, content_text
from tokenswarm.workloads.corpus import load_corpus

SMALL = {
    "prompts.chars_per_token": "4",
    "synthetic.beginning_tokens": "100",
    "synthetic.first_tokens": "50",
    "synthetic.later_tokens": "20",
    "synthetic.answer_tokens": "30",
    "synthetic.turns": "3",
}


def _sessions(count: int, **values: str) -> list[list[Prompt]]:
    scenario = load_scenario("synthetic", {**SMALL, **{f"synthetic.{name}": value for name, value in values.items()}})
    workload = create(scenario, load_corpus(), 1, "salt")
    return [list(workload.session("measure", number)) for number in range(count)]


def _tokens(prompt: Prompt) -> float:
    return sum(len(content_text(message)) for message in prompt.messages) / 4


def test_lengths_are_those_asked_for() -> None:
    [prompts] = _sessions(1, with_beginning="1.0")
    assert [prompt.turn for prompt in prompts] == [1, 2, 3]
    assert [prompt.max_tokens for prompt in prompts] == [30, 30, 30]
    means = [sum(map(_tokens, prompts)) / 40 for prompts in zip(*_sessions(40, with_beginning="1.0"), strict=True)]
    assert means == pytest.approx([150, 200, 250], rel=0.05)  # an excerpt ends with a whole word


def test_a_later_prompt_begins_with_the_one_before_it() -> None:
    [prompts] = _sessions(1)
    for before, after in pairwise(prompts):
        assert after.messages[: len(before.messages)] == before.messages
        assert after.shared_prefix_chars == 4 * _tokens(before)


def test_sessions_share_their_beginning_and_nothing_more() -> None:
    firsts = [prompts[0] for prompts in _sessions(200, beginnings="5")]
    systems = Counter(prompt.messages[0]["content"] for prompt in firsts if prompt.document)
    assert len(systems) == 5 and all(text != firsts[0].messages[1]["content"] for text in systems)
    own = [prompt.messages[1]["content"][:20] for prompt in firsts]
    assert len(set(own)) == len(own)
    alone = [prompt for prompt in firsts if not prompt.document]
    assert len({prompt.messages[0]["content"][:8] for prompt in alone}) == len(alone) > 10
    assert all(prompt.shared_prefix_chars == 0 for prompt in alone)


def test_popular_beginnings_have_their_share_and_length() -> None:
    firsts = [
        prompts[0]
        for prompts in _sessions(
            600, popular="[{share = 0.5, tokens = 400.0}, {share = 0.2, tokens = 20.0}]", with_beginning="0.8"
        )
    ]
    shares = Counter(prompt.document for prompt in firsts)
    assert shares["beginning-00001"] / 600 == pytest.approx(0.5, abs=0.06)
    assert shares["beginning-00002"] / 600 == pytest.approx(0.2, abs=0.05)
    assert shares[""] / 600 == pytest.approx(0.2, abs=0.05)
    longest = next(prompt for prompt in firsts if prompt.document == "beginning-00001")
    assert len(content_text(longest.messages[0])) / 4 == pytest.approx(400, abs=2)


def test_shares_that_add_up_to_more_than_all_are_refused() -> None:
    with pytest.raises(UserError, match="add up to more"):
        _sessions(1, popular="[{share = 0.9, tokens = 400.0}]", with_beginning="0.5")


def test_the_same_seed_gives_the_same_prompts() -> None:
    assert [[prompt.messages for prompt in prompts] for prompts in _sessions(5)] == [
        [prompt.messages for prompt in prompts] for prompts in _sessions(5)
    ]
