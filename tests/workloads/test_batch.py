"""Batch: unique documents, one instruction, one checked word."""

from __future__ import annotations

from statistics import fmean

import pytest

from tokenswarm.scenario.loading import load_scenario


def only(workload, number):
    (prompt,) = workload.session("measure", number)
    return prompt


def test_documents_are_unique_from_their_first_words_on(make):
    workload = make("batch")
    assert len({only(workload, number).messages[1]["content"][:25] for number in range(2000)}) == 2000


def test_the_instruction_lists_five_categories_and_is_all_that_is_shared(make):
    prompt = only(make("batch"), 0)
    assert prompt.messages[0]["content"].endswith("\nCategories: syntax, data, execution, tools, other")
    assert prompt.shared_prefix_chars == len(prompt.messages[0]["content"])


def test_documents_have_the_lengths_asked(make):
    workload = make("batch")
    tokens = [len(only(workload, number).messages[1]["content"]) / 4 for number in range(500)]
    assert fmean(tokens) == pytest.approx(250, rel=0.1)


def test_the_scenario_asks_for_at_most_ten_tokens_at_temperature_zero():
    output = load_scenario("batch").output
    assert output.max_tokens == 10 and output.temperature == 0.0


@pytest.mark.parametrize("answer", ["data", "Data", " tools.\n", '"syntax"', "**other**", "`execution`!"])
def test_one_word_of_the_categories_is_valid(make, answer):
    assert only(make("batch"), 0).check(answer)


@pytest.mark.parametrize("answer", ["", "datum", "data tools", "The category is data", "category: data", "dat", "."])
def test_anything_else_is_not(make, answer):
    assert not only(make("batch"), 0).check(answer)
