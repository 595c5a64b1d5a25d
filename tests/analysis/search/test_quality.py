"""Answers under other number formats: certainly worse, equally good, undecided, or nothing to lose."""

from __future__ import annotations

import numpy as np
import pytest
from tokenswarm.analysis.search.quality import AS_GOOD, CANNOT_TELL, OPEN, WORSE, quality


def answers(right: int, of: int, first: int = 0) -> dict[int, bool]:
    return {task: task - first < right for task in range(first, first + of)}


@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        (answers(300, 400), answers(250, 400), WORSE),
        (answers(300, 400), answers(299, 400), AS_GOOD),
        (answers(300, 400), answers(320, 400), AS_GOOD),
        (answers(30, 40), answers(29, 40), OPEN),
        (answers(4, 400), answers(4, 400), CANNOT_TELL),
        (answers(20, 20), answers(20, 20), CANNOT_TELL),
        (answers(300, 400), answers(300, 400, first=395), CANNOT_TELL),
    ],
)
def test_the_state_follows_from_the_tasks_that_both_answered(before: dict, after: dict, state: str) -> None:
    judged = quality(before, after)
    assert judged.state == state and bool(judged.why) == (state == CANNOT_TELL)


def test_the_interval_holds_the_change_of_tasks_that_answer_by_chance() -> None:
    rng, held, called_worse = np.random.default_rng(1), 0, 0
    for _ in range(400):
        chances = rng.uniform(0.3, 1.0, 200)
        before, after = (dict(enumerate((rng.random(200) < chances - less).tolist())) for less in (0.0, 0.1))
        judged = quality(before, after)
        held += judged.low <= -0.1 <= judged.high
        again = dict(enumerate((rng.random(200) < chances).tolist()))
        called_worse += quality(before, again).state == WORSE
    assert held / 400 >= 0.92 and called_worse / 400 <= 0.05


def test_answers_that_a_grammar_makes_valid_do_not_hide_that_the_model_solves_nothing() -> None:
    # As on a real engine with random weights: two in three answers fit the schema that the engine holds them to.
    asked = {("structured", number): number % 3 != 0 for number in range(150)}
    asked |= {("reasoning", number): False for number in range(200)}
    judged = quality(asked, asked, lambda task: task[0])
    assert judged.state == CANNOT_TELL
    assert judged.why.startswith("the model solves 0% of the tasks of reasoning with its own format")
    known = dict.fromkeys(asked, True)
    assert quality(known, known, lambda task: task[0]).state == AS_GOOD
