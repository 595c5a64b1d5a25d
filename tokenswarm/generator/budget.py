"""Limits what one load-generating process may send: its share of `load.max_requests` and `load.max_usd`. Pure.

The highest possible cost of a request is reserved before it is sent, and settled by the usage of its answer. So
reserved and spent money together never exceed the share.
"""

from __future__ import annotations

from tokenswarm.client.answer import Answer
from tokenswarm.generator.session_stream import Share
from tokenswarm.scenario.endpoint_settings import EndpointSettings
from tokenswarm.scenario.load_settings import Load
from tokenswarm.workloads.base import Prompt, chars_of

LEAST_CHARS_PER_TOKEN = 2.0
"""The smallest token that any tokenizer makes, so that a reservation covers the cost of a prompt."""
_MILLION = 1e6
_NOT_ASKED = frozenset(
    {
        "connect_refused",
        "connect_timeout",
        "connect_failed",
        "tls_failed",
        "generator_limit",
        "client_error",
        "unauthorized",
        "not_found",
        "rejected",
        "rate_limited",
        "quota_exceeded",
    }
)
"""Error kinds that no endpoint charges for."""
REQUESTS, USD = "load.max_requests", "load.max_usd"


def usd(prices: EndpointSettings, prompt_tokens: float, cached_tokens: float, output_tokens: float) -> float:
    """The cost of tokens at these prices in USD per million. Prompt tokens include cached ones."""
    full = prices.input_usd_per_million or 0.0
    cached = full if prices.cached_usd_per_million is None else prices.cached_usd_per_million
    cached_tokens = min(cached_tokens, prompt_tokens)
    return (
        (prompt_tokens - cached_tokens) * full
        + cached_tokens * cached
        + output_tokens * (prices.output_usd_per_million or 0.0)
    ) / _MILLION


def _most_tokens(prompt: Prompt) -> float:
    if prompt.token_ids is not None:
        return len(prompt.token_ids)
    return chars_of(prompt.messages) / LEAST_CHARS_PER_TOKEN


class BudgetShare:
    """A process's share of the run's limits; `share` says which of how many processes it is."""

    def __init__(self, load: Load, share: Share) -> None:
        most = load.max_requests
        self._requests_left = None if most is None else (most - share.index + share.processes - 1) // share.processes
        self._usd_left = None if load.max_usd is None else load.max_usd / share.processes
        self._reserved = 0.0
        self._open = 0
        self.spent_usd = 0.0
        self.reached: str | None = None
        """The limit that was reached, REQUESTS or USD; None while more may be sent."""
        if self._requests_left == 0:
            self.reached = REQUESTS

    @property
    def over(self) -> bool:
        """Whether the limit is reached and nothing more will be sent."""
        return self.reached == REQUESTS or (self.reached == USD and not self._open)

    def reserve(self, prices: EndpointSettings, prompt: Prompt, max_tokens: int) -> float | None:
        """USD reserved for a request about to be sent; None if it may not be sent."""
        cost = usd(prices, _most_tokens(prompt), 0, max_tokens) if prices.priced else 0.0
        if self._requests_left is not None and self._requests_left <= 0:
            self.reached = REQUESTS
        elif self._usd_left is not None and self.spent_usd + self._reserved + cost > self._usd_left:
            self.reached = USD
        if self.reached is not None:
            return None
        if self._requests_left is not None:
            self._requests_left -= 1
            if not self._requests_left:
                self.reached = REQUESTS  # by this one: whoever asks next is told
        self._reserved += cost
        self._open += 1
        return cost

    def settle(self, prices: EndpointSettings, reserved: float, answer: Answer | None) -> None:
        """Settle a request that has ended; `answer` is None if it was cancelled before its outcome was known. Without
        token counts, the reserved amount counts as spent."""
        self._reserved = max(0.0, self._reserved - reserved)
        self._open -= 1
        if answer is not None and answer.error in _NOT_ASKED:
            return
        usage = None if answer is None else answer.usage
        if answer is None or usage is None or usage.prompt_tokens is None:
            self.spent_usd += reserved
        else:
            self.spent_usd += usd(prices, usage.prompt_tokens, usage.cached_tokens or 0, answer.completion_tokens or 0)
