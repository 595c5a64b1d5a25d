"""Chat: history grows, turns branch, limits hold; and one context asked four questions."""

from __future__ import annotations

import itertools
from statistics import fmean

import pytest


def talk(workload, number=0, answer=lambda turn: f"Answer {turn}."):
    session = workload.session("measure", number)
    found = []
    for prompt in session:
        found.append(prompt)
        session.record_answer(answer(prompt.turn))
    return found


def contents(prompt):
    return [message["content"] for message in prompt.messages]


def chars(prompt):
    return sum(len(text) for text in contents(prompt))


PLAIN = "chat.turns=5 chat.branch_probability=0"


def test_each_turn_carries_all_that_was_said_before(make):
    found = talk(make("chat", PLAIN))
    assert [len(prompt.messages) for prompt in found] == [2, 4, 6, 8, 10]
    for earlier, later in itertools.pairwise(found):
        assert contents(later)[: len(earlier.messages)] == contents(earlier)
        assert contents(later)[-2] == f"Answer {earlier.turn}."
        assert later.shared_prefix_chars == chars(earlier)


@pytest.mark.parametrize("empty", ["", " \n"])
def test_a_question_without_an_answer_is_forgotten_and_no_empty_turn_is_sent(make, empty):
    found = talk(make("chat", PLAIN), answer=lambda turn: empty if turn in (1, 3) else f"Answer {turn}.")
    assert [[message["role"] for message in prompt.messages] for prompt in found] == [
        ["system", "user"],
        ["system", "user"],
        ["system", *["user", "assistant"], "user"],
        ["system", *["user", "assistant"], "user"],
        ["system", *["user", "assistant"] * 2, "user"],
    ]
    assert all(text.strip() for prompt in found for text in contents(prompt))
    assert contents(found[3])[:3] == contents(found[2])[:3]
    assert [prompt.shared_prefix_chars for prompt in found] == [
        sum(map(len, contents(prompt)[:-1])) if number in (0, 1, 3) else chars(found[number - 1])
        for number, prompt in enumerate(found)
    ]


def test_all_conversations_share_the_system_prompt_of_the_length_asked(make):
    workload = make("chat", PLAIN)
    systems = {contents(talk(workload, number)[0])[0] for number in range(10)}
    assert len(systems) == 1
    assert len(systems.pop()) == pytest.approx(200 * 4, abs=120)
    assert talk(workload)[0].shared_prefix_chars == len(contents(talk(workload)[0])[0])


def test_scripted_answers_make_prompts_independent_of_the_engine(make):
    workload = make("chat", PLAIN + " chat.assistant_turns=corpus")
    one, two = talk(workload), talk(workload, answer=lambda turn: "other words " * turn)
    assert [p.messages for p in one] == [p.messages for p in two]
    assert "other words" not in str([p.messages for p in two])


def test_users_say_the_same_with_real_and_with_scripted_answers(make):
    def said(prompts):
        return [[m["content"] for m in p.messages if m["role"] == "user"] for p in prompts]

    overrides = "chat.branch_probability=0.3 chat.history_limit_tokens=100000"
    for number in range(10):
        real = talk(make("chat", overrides), number)
        assert said(real) == said(talk(make("chat", overrides + " chat.assistant_turns=corpus"), number))


def test_a_branch_regenerates_or_edits_and_never_grows(make):
    workload = make("chat", "chat.turns=6 chat.branch_probability=1")
    kinds = set()
    for number in range(20):
        found = talk(workload, number)
        assert len(found) == 6
        for earlier, later in itertools.pairwise(found):
            assert len(later.messages) <= len(earlier.messages)
            if later.messages == earlier.messages:
                kinds.add("regenerated")
                assert later.shared_prefix_chars == chars(earlier)
            else:
                kinds.add("edited")
                cut = len(later.messages) - 1
                assert contents(later)[:cut] == contents(earlier)[:cut]
                assert later.shared_prefix_chars == sum(len(text) for text in contents(earlier)[:cut])
    assert kinds == {"regenerated", "edited"}


def test_an_edit_can_reach_back_to_any_earlier_message(make):
    workload = make("chat", "chat.turns=8 chat.branch_probability=0.5 chat.history_limit_tokens=100000")
    back = set()
    for number in range(60):
        found = talk(workload, number)
        back |= {len(a.messages) - len(b.messages) for a, b in itertools.pairwise(found)}
    assert {-2, 0, 2, 4} <= back


def test_branches_are_about_as_frequent_as_asked(make):
    workload = make("chat", "chat.turns=6 chat.branch_probability=0.2 chat.history_limit_tokens=100000")
    grown = [
        len(b.messages) > len(a.messages)
        for number in range(300)
        for found in [talk(workload, number)]
        for a, b in itertools.pairwise(found)
    ]
    assert fmean(grown) == pytest.approx(0.8, abs=0.04)


def test_a_conversation_ends_before_its_prompt_exceeds_the_limit(make):
    workload = make("chat", "chat.turns=50 chat.branch_probability=0 chat.history_limit_tokens=1000")
    for number in range(20):
        found = talk(workload, number, answer=lambda turn: "word " * 100)
        assert 1 < len(found) < 50
        assert all(chars(prompt) <= 4000 for prompt in found)


def test_messages_and_answers_have_the_lengths_asked(make):
    workload = make("chat", "chat.turns=1")
    found = [talk(workload, number)[0] for number in range(400)]
    tokens = [len(contents(prompt)[-1]) / 4 for prompt in found]
    assert fmean(tokens) == pytest.approx(60, rel=0.25)
    assert max(tokens) <= 640
    limits = [prompt.max_tokens for prompt in found]
    assert fmean(limits) == pytest.approx(150, rel=0.1) and min(limits) >= 16 and max(limits) <= 512


def test_without_answer_tokens_the_output_section_decides(make):
    assert talk(make("chat", "chat.answer_tokens=none"))[0].max_tokens is None


def test_four_questions_are_fresh_cached_cached_and_small(make):
    workload = make("chat-7k")
    fresh, cached, again, small = talk(workload)
    assert [p.document for p in (fresh, cached, again, small)] == ["fresh", "cached", "cached", "small"]
    system, asked = contents(fresh)
    assert len(asked) == pytest.approx(7000 * 4, rel=0.02)
    assert fresh.shared_prefix_chars == len(system)
    for prompt in (cached, again):
        assert len(prompt.messages) == 2  # unrelated questions: no history
        assert prompt.shared_prefix_chars > 7000 * 4 * 0.98
        assert "".join(contents(prompt))[: prompt.shared_prefix_chars] == (system + asked)[: prompt.shared_prefix_chars]
    assert len({contents(p)[-1] for p in (fresh, cached, again)}) == 3
    assert chars(small) < 400 and contents(small)[0] == system


def test_every_session_has_a_context_of_its_own_from_its_first_words_on(make):
    workload = make("chat-7k", "chat.context_tokens=200")
    assert len({contents(talk(workload, number)[0])[1][:30] for number in range(100)}) == 100
