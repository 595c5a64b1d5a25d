"""load.max_requests and load.max_usd: what a process may still send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.client.answer import Answer, Usage
from tokenswarm.generator.budget import REQUESTS, USD, BudgetShare, usd
from tokenswarm.generator.session_stream import Share
from tokenswarm.scenario.endpoint_settings import EndpointSettings
from tokenswarm.scenario.load_settings import Load
from tokenswarm.workloads.base import Prompt

PRICES = EndpointSettings(input_usd_per_million=1.0, cached_usd_per_million=0.1, output_usd_per_million=4.0)
PROMPT = Prompt([{"role": "user", "content": "x" * 2000}], "c", 1, 0)


@given(st.integers(1, 50), st.integers(1, 9))
def test_the_shares_of_all_processes_are_the_limit_exactly(most: int, processes: int) -> None:
    sent = 0
    for index in range(processes):
        budget = BudgetShare(Load(max_requests=most), Share(index, processes))
        while budget.reserve(PRICES, PROMPT, 10) is not None:
            sent += 1
        assert budget.reached == REQUESTS and budget.over
    assert sent == most


def test_without_a_limit_there_is_no_end() -> None:
    budget = BudgetShare(Load(), Share())
    assert all(budget.reserve(PRICES, PROMPT, 10) is not None for _ in range(100)) and not budget.over


@given(
    st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 100), st.booleans()), max_size=60), st.floats(0.001, 0.02)
)
def test_what_is_spent_and_set_aside_never_exceeds_the_budget(asked: list[tuple[int, int, bool]], most: float) -> None:
    """A prompt of 2000 characters has at most 1000 tokens, and an answer at most max_tokens."""
    budget, open_ = BudgetShare(Load(max_usd=most), Share()), []
    for prompt_tokens, output, now in asked:
        reserved = budget.reserve(PRICES, PROMPT, 100)
        if reserved is None:
            assert budget.reached == USD
            break
        open_.append((reserved, Answer(usage=Usage(prompt_tokens, 0, output))))
        if now:
            budget.settle(PRICES, *open_.pop(0))
    for reserved, answer in open_:
        budget.settle(PRICES, reserved, answer)
    assert budget.spent_usd <= most * (1 + 1e-9)
    assert budget.over == (budget.reached is not None)


def test_money_is_over_when_nothing_is_in_flight_any_more() -> None:
    budget = BudgetShare(Load(max_usd=0.002), Share())
    reserved = budget.reserve(PRICES, PROMPT, 100)
    assert reserved is not None and budget.reserve(PRICES, PROMPT, 100) is None and not budget.over
    budget.settle(PRICES, reserved, None)
    assert budget.over and budget.spent_usd == reserved, "nobody counted what was cancelled"


@pytest.mark.parametrize("error", ["rate_limited", "connect_refused", "rejected", "quota_exceeded"])
def test_what_no_endpoint_takes_money_for_costs_nothing(error: str) -> None:
    budget = BudgetShare(Load(max_usd=1.0), Share())
    budget.settle(PRICES, budget.reserve(PRICES, PROMPT, 100), Answer(status="failed", error=error))
    assert budget.spent_usd == 0


def test_cached_tokens_have_a_price_of_their_own() -> None:
    assert usd(PRICES, 1_000_000, 400_000, 500_000) == pytest.approx(0.6 + 0.04 + 2.0)
    assert usd(EndpointSettings(input_usd_per_million=1.0), 1_000_000, 400_000, 5) == 1.0
