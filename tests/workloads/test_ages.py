"""Sessions that are under way when a run begins: long ones more often, at an even age."""

from __future__ import annotations

import itertools
from collections import Counter
from statistics import fmean

import pytest

from tokenswarm.workloads.ages import CANDIDATES, under_way
from tokenswarm.workloads.base import BEFORE

CHAT = "chat.branch_probability=0 chat.history_limit_tokens=100000 chat.message_tokens=20 chat.answer_tokens=20"


def joined(workload, number):
    session = under_way(workload, number, 0.0, answer_tokens=32)
    found = []
    for prompt in session:
        found.append(prompt)
        session.record_answer(f"Real answer {prompt.turn}.")
    return found


def test_a_long_session_is_found_under_way_more_often_than_it_is_begun_and_at_an_even_age(make):
    workload = make("chat", CHAT + " chat.turns={kind='choice',values=[2,6]}")
    lengths, begun_at = Counter(), Counter()
    for number in range(600):
        prompts = joined(workload, number)
        lengths[prompts[-1].turn] += 1
        if prompts[-1].turn == 6:
            begun_at[prompts[0].turn] += 1
    assert set(lengths) == {2, 6}
    # 6 / (2 + 6), less the little that so few candidates cost; as they begin it would be a half.
    assert lengths[6] / 600 == pytest.approx(0.73, abs=0.05)
    assert set(begun_at) == {1, 2, 3, 4, 5, 6}
    assert fmean(begun_at.elements()) == pytest.approx(3.5, abs=0.35)


def test_turns_that_were_never_sent_have_answers_of_the_corpus_and_later_ones_the_engine_s(make):
    workload = make("chat", CHAT + " chat.turns=5")
    late = next(prompts for number in itertools.count() if (prompts := joined(workload, number))[0].turn == 4)
    assert [prompt.turn for prompt in late] == [4, 5]
    answers = [m["content"] for m in late[1].messages if m["role"] == "assistant"]
    assert len(answers) == 4
    assert answers[3] == "Real answer 4."
    for answer in answers[:3]:
        assert len(answer) == pytest.approx(80, abs=40) and answer in workload.corpus.text


def test_it_is_the_same_again_and_belongs_to_no_phase(make):
    workload = make("rag")
    one, two = joined(workload, 3), joined(workload, 3)
    assert [p.messages for p in one] == [p.messages for p in two]
    assert under_way(workload, 3, 0.0, 32).phase == BEFORE
    number = int(one[0].conversation.removeprefix("before-"))
    assert number // CANDIDATES == 3


def test_sessions_of_one_turn_are_ordinary_ones(make):
    assert {prompts[0].turn for number in range(10) for prompts in [joined(make("batch"), number)]} == {1}
