"""The simulated engine in virtual time: requests in, answers out, without bytes in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from tokenswarm.base.presence import present
from tokenswarm.base.tool_call import ToolCall
from tokenswarm.client.answer import Answer, Usage
from tokenswarm.client.decode import status_error
from tokenswarm.sim import api
from tokenswarm.sim.adapter_loading import AdapterSlots
from tokenswarm.sim.answers import PlannedAnswer, plan
from tokenswarm.sim.command_line import config_of, parser
from tokenswarm.sim.config import Config, engine_of
from tokenswarm.sim.grammars import Compiler
from tokenswarm.sim.jobs import Job
from tokenswarm.sim.text import Prose

_MS_PER_S = 1e3
_PROSE: dict[int, Prose] = {}
"""Texts by seed, shared by all runs."""


def prose_of(seed: int) -> Prose:
    """The text from which answers are made."""
    if seed not in _PROSE:
        _PROSE[seed] = Prose(seed)
    return _PROSE[seed]


def simulated(*flags: str) -> Config:
    """The engine that `python -m tokenswarm.sim` would run with these flags. Raises UserError."""
    return config_of(parser().parse_args(flags))


@dataclass(slots=True, eq=False)
class Exchange:
    """One request in progress. `done(answer)` is called when it has ended."""

    job: Job
    planned: PlannedAnswer
    streamed: bool
    sent_s: float
    done: Callable[[Answer], None]
    time_scale: float = 1.0
    over: bool = False

    @property
    def times_s(self) -> list[float]:
        """Times at which its events left so far, in seconds."""
        times = self.job.times or []
        return times if self.time_scale == 1.0 else [at_s / self.time_scale for at_s in times]

    @property
    def first_s(self) -> float | None:
        """Time of its first event."""
        return self.job.times[0] / self.time_scale if self.job.times else None

    @property
    def last_s(self) -> float:
        """Time of its latest event."""
        return present(self.job.times)[-1] / self.time_scale


class VirtualEngine:
    """Answers like the simulator's HTTP server, with the model's own times. The model's clock runs `time_scale` times
    as fast as the run's."""

    def __init__(self, config: Config) -> None:
        if config.answers.think_tags:
            raise ValueError("reasoning as tags in the content is told apart by the client, which is not here")
        self.config = config
        self.model = engine_of(config)
        self._prose = prose_of(config.seed)
        self._compiler = Compiler(config.compile_s_per_kb)
        self._adapters = AdapterSlots(config.adapters)
        self._sent = 0
        self.live: dict[Exchange, None] = {}

    def send(self, body: Mapping[str, object], now: float, done: Callable[[Answer], None]) -> Exchange | Answer:
        """Accept a request, or return an answer that rejects it."""
        config = self.config
        try:
            request = api.understand(
                dict(body), "messages" in body, config.model, config.context_length, config.seed, config.adapters.names
            )
            api.refuse_large(request, config.largest_constraint)
        except api.ApiError as error:
            refused = Answer(http_status=error.status, sent_at=now, e2e_ms=None, simulated=True)
            refused.fail(status_error(error.status), str(error))
            return refused
        planned = plan(request.ask, self._prose, config.answers)
        self._sent += 1
        model_s = now * config.time_scale
        job = Job(
            f"sim-{self._sent:08d}",
            request.prompt + planned.data,
            request.prompt_tokens,
            len(planned.pieces),
            compile_s=max(
                self._compiler.wait_s(request.ask.constraint, model_s), self._adapters.wait_s(request.adapter, model_s)
            ),
        )
        exchange = job.reply = Exchange(job, planned, request.stream, now, done, config.time_scale)
        job.times = []
        self.live[exchange] = None
        self.model.submit(job, model_s)
        return exchange

    def cancel(self, exchange: Exchange) -> None:
        """Cancel a request whose client is gone."""
        if not exchange.over:
            exchange.over = True
            self.live.pop(exchange, None)
            exchange.job.reply = None
            self.model.cancel(exchange.job)

    def compute(self, until_s: float) -> list[Exchange]:
        """Compute up to until_s, or to the first step in which answers end; returns those."""
        ended = self.model.compute(until_s * self.config.time_scale)
        return [job.reply for job in ended if job.reply is not None]

    def end(self, exchange: Exchange) -> None:
        """Finish a request whose last token has left."""
        if not exchange.over:
            exchange.over = True
            self.live.pop(exchange, None)
            exchange.job.reply = None
            exchange.done(self._answer(exchange))

    def _answer(self, exchange: Exchange) -> Answer:
        """The answer that the streaming client would have made of the events."""
        planned, job, sent_s = exchange.planned, exchange.job, exchange.sent_s
        times = exchange.times_s
        thinking = planned.reasoning_tokens
        last_ms = (times[-1] - sent_s) * _MS_PER_S
        answer = Answer(
            http_status=200,
            finish_reason=planned.finish_reason,
            sent_at=sent_s,
            simulated=True,
            e2e_ms=last_ms,
            text=_text(planned.pieces[thinking:]),
            reasoning=_text(planned.pieces[:thinking]) if thinking else "",
            usage=Usage(
                job.prompt_tokens,
                job.cached_tokens if self.config.report_cached else None,
                len(planned.pieces),
                planned.thinking_tokens if self.config.style.usage_reasoning else None,
            ),
        )
        if planned.call:
            answer.calls = (ToolCall(planned.call, answer.text, f"call-{job.request_id}"),)
            answer.text = planned.call + answer.text
        if not exchange.streamed:
            return answer
        answer.headers_ms = 0.0
        answer.ttft_ms = (times[0] - sent_s) * _MS_PER_S
        answer.ttft_uncertainty_ms = 0.0
        answer.last_token_ms = last_ms
        answer.chunks = len(times)
        answer.token_gaps_ms = [(later - earlier) * _MS_PER_S for earlier, later in pairwise(times)]
        if not thinking:
            answer.ttfo_ms = answer.ttft_ms
            return answer
        seen = 0
        for at_s, count in zip(times, job.counts or [1] * len(times), strict=True):
            answer.reasoning_chunks += seen < thinking
            if seen >= thinking and answer.ttfo_ms is None:
                answer.ttfo_ms = (at_s - sent_s) * _MS_PER_S
            seen += count
        return answer


def _text(pieces: list[bytes]) -> str:
    text = b"".join(pieces)
    return json.loads(b'"' + text + b'"') if b"\\" in text else text.decode()
