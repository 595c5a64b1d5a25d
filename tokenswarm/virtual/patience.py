"""Client timeouts in virtual time: for the first token and for the whole answer."""

from __future__ import annotations

from functools import partial

from tokenswarm.client.answer import Answer
from tokenswarm.scenario.requests import RequestLimits
from tokenswarm.virtual.simulated_engine import Exchange, VirtualEngine
from tokenswarm.virtual.virtual_time import Clock


class Patience:
    """Cancels requests that take too long, like the client."""

    def __init__(self, clock: Clock, engine: VirtualEngine, limits: RequestLimits) -> None:
        self._clock, self._engine, self._limits = clock, engine, limits

    def watch(self, exchange: Exchange) -> None:
        """Watch a request from the moment it is sent."""
        limits = self._limits
        if limits.first_token_s <= limits.total_s:
            self._clock.at(exchange.sent_s + limits.first_token_s, partial(self._first_token_is_due, exchange))
        else:
            self._clock.at(exchange.sent_s + limits.total_s, partial(self._give_up, exchange, "timeout_total"))

    def _first_token_is_due(self, exchange: Exchange) -> None:
        if (first_s := exchange.first_s) is None or first_s > self._clock.now:
            self._give_up(exchange, "timeout_first_token")
        elif not exchange.over:
            total_s = exchange.sent_s + self._limits.total_s
            self._clock.at(total_s, partial(self._give_up, exchange, "timeout_total"))

    def _give_up(self, exchange: Exchange, kind: str) -> None:
        if exchange.over:
            return
        self._engine.cancel(exchange)
        answer = Answer(http_status=200, sent_at=exchange.sent_s, simulated=True)
        answer.fail(kind)
        exchange.done(answer)
