"""Shared content is replaced over time, the same on every worker; cold prompts ignore time."""

from __future__ import annotations

import itertools

import pytest

from tokenswarm.workloads.turnover import generation, order_of_replacement


def text_of(prompt):
    return "".join(message["content"] for message in prompt.messages)


def first(workload, at_s, number=3, phase="measure"):
    return next(iter(workload.session_at(phase, number, at_s)))


@pytest.mark.parametrize("items", [1, 2, 7, 24])
def test_one_item_is_replaced_at_a_time_at_even_intervals_and_each_in_its_turn(items):
    shelves = [[generation(place, items, 60.0, at_s) for place in range(items)] for at_s in range(3 * items + 1)]
    assert shelves[0] == [0] * items
    for before, after in itertools.pairwise(shelves):
        assert sum(after) == sum(before) + 1
        assert max(after) - min(after) <= 1
    assert shelves[-1] == [3] * items


def test_without_a_rate_nothing_is_ever_replaced():
    assert generation(0, 1, 0.0, 1e9) == 0
    assert generation(0, 1, 60.0, -5.0) == 0


def test_the_order_is_one_of_all_items_and_the_seed_s_own():
    assert sorted(order_of_replacement(1, 24)) == list(range(24))
    assert order_of_replacement(1, 24) == order_of_replacement(1, 24) != order_of_replacement(2, 24)


def test_a_document_is_replaced_by_another_of_the_same_popularity(make):
    workload = make("rag", "rag.documents=6 rag.new_documents_per_minute=6")
    shelves = [{first(workload, at_s, number).document for number in range(200)} for at_s in (0.0, 9.9, 10.1, 60.1)]
    assert shelves[0] == shelves[1] == {f"doc-{rank:03d}" for rank in range(1, 7)}
    assert len(shelves[2] - shelves[1]) == 1
    assert shelves[3] == {f"doc-{rank:03d}.1" for rank in range(1, 7)}
    old, new = (text_of(first(workload, at_s)) for at_s in (0.0, 60.1))
    assert old[:18] == new[:18] and old[300:600] != new[300:600]
    other = make("rag", "rag.documents=6 rag.new_documents_per_minute=6")
    assert text_of(first(other, 60.1)) == new


@pytest.mark.parametrize("name", ["chat", "batch", "reasoning"])
def test_a_system_prompt_is_replaced_from_its_first_characters_on(make, name):
    workload = make(name, f"{name}.new_system_prompts_per_minute=6")
    texts = [text_of(first(workload, at_s)) for at_s in (0.0, 9.9, 10.1, 20.1)]
    assert texts[0] == texts[1] and len({text[:16] for text in texts}) == 3
    assert text_of(first(make(name, f"{name}.new_system_prompts_per_minute=6"), 10.1)) == texts[2]
    session = workload.session_at("measure", 3, 9.9)
    assert len({text_of(prompt)[:16] for prompt in session}) == 1  # who has begun goes on with the old one


@pytest.mark.parametrize("name", ["rag", "chat", "chat-7k", "batch", "reasoning"])
def test_cold_prompts_do_not_change_with_time(make, name):
    key = "rag.new_documents_per_minute" if name == "rag" else f"{name.partition('-')[0]}.new_system_prompts_per_minute"
    workload = make(name, f"prompts.state=cold {key}=600")
    assert text_of(first(workload, 0.0)) == text_of(first(workload, 1000.0))


@pytest.mark.parametrize("name", ["rag", "chat", "batch", "reasoning"])
def test_the_scenarios_that_come_with_it_never_rest(make, name):
    workload = make(name)
    assert {text_of(first(workload, 0.0, number)) for number in range(20)} != {
        text_of(first(workload, 120.0, number)) for number in range(20)
    }
