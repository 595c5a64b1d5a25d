"""What one figure of a comparison is called: equal, undecided, better, worse; and the sentence about it."""

from __future__ import annotations

import pytest
from tokenswarm.analysis.compare.ab_test import USUAL_RULES, Reading, difference
from tokenswarm.analysis.compare.comparison import EQUAL, UNDECIDED, WORSE, Result, compared, state_of


def of(key: str):
    return next(metric for metric in compared() if metric.key == key)


@pytest.mark.parametrize(
    ("a", "b", "state"),
    [
        ([0.1, 0.5, 0.9, 0.5], [0.9, 0.1, 0.5, 0.5], UNDECIDED),  # equal means by chance, of which nothing is known
        ([0.5, 0.5001, 0.4999, 0.5], [0.5003, 0.5002, 0.5, 0.5001], EQUAL),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], EQUAL),
        ([0.01, 0.011, 0.009, 0.01], [0.2, 0.21, 0.19, 0.2], WORSE),
    ],
)
def test_shares_are_equal_only_where_their_interval_says_so(a: list[float], b: list[float], state: str) -> None:
    metric = of("error_rate")
    found_apart = difference([Reading(v) for v in a], [Reading(v) for v in b], ratio=False)
    assert found_apart is not None
    assert state_of(metric, found_apart, USUAL_RULES) == state


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("output_tok_s", "B's Output tokens are"),
        ("ttft_p95_ms", "B's TTFT p95 is"),
        ("usd_per_million_output_tokens", "B's Cost of 1M output tokens is"),
        ("tasks_s", "B's Tasks completed are"),
    ],
)
def test_the_sentence_of_a_difference_is_grammatical(key: str, words: str) -> None:
    apart = difference([Reading(1.0), Reading(1.1)], [Reading(2.0), Reading(2.1)], ratio=True)
    assert apart is not None
    assert Result(of(key), "ms", WORSE, apart).compared_words("A", "B").startswith(words)
