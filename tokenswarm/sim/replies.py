"""Answers on their way: a reply writes each token of a job the moment the engine model yields it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from tokenswarm.sim import answer_bytes
from tokenswarm.sim.answers import PlannedAnswer
from tokenswarm.sim.api import CompletionRequest
from tokenswarm.sim.jobs import Job
from tokenswarm.sim.server import ServerConnection
from tokenswarm.sim.styles import Style
from tokenswarm.sim.truth import Truth

EVENT_STREAM = b"text/event-stream; charset=utf-8"
JSON = b"application/json"


class Owner(Protocol):
    """What a reply needs of the application."""

    style: Style
    report_cached: bool
    role_at_once: bool

    def ended(self, reply: Reply, outcome: str) -> None:
        """The answer is over: written whole, or ended by a fault."""


class Reply:
    """What a plain and a streamed answer share: whose they are, and their usage."""

    def __init__(
        self,
        owner: Owner,
        connection: ServerConnection,
        request: CompletionRequest,
        answer: PlannedAnswer,
        job: Job,
        truth: Truth,
    ) -> None:
        self.owner = owner
        self.connection = connection
        self.request = request
        self.answer = answer
        self.job = job
        self.truth = truth
        self.created = int(time.time())
        self.response_id = ("chatcmpl-" if request.chat else "cmpl-") + truth.request_id
        self.first_model_s: float | None = None
        self.last_model_s = 0.0

    def envelope(self) -> answer_bytes.Envelope:
        """What stands around the text."""
        return answer_bytes.Envelope(
            self.request.chat, self.response_id, self.created, self.request.model, self.answer.call
        )

    def usage(self) -> answer_bytes.TokenCounts:
        """Token counts of the whole answer."""
        style = self.owner.style
        return answer_bytes.TokenCounts(
            prompt=self.request.prompt_tokens,
            completion=len(self.answer.pieces),
            cached=self.job.cached_tokens if self.owner.report_cached else None,
            reasoning=self.answer.thinking_tokens if style.usage_reasoning else None,
        )

    def stamp(self, model_ns: int, tokens: int) -> None:
        """Notes the time: called immediately before the bytes of an event with text are written."""
        truth = self.truth
        truth.tokens += tokens
        truth.models_ns.append(model_ns)
        truth.writes_ns.append(time.monotonic_ns())

    def written(self) -> None:
        """Notes when the first event with text had been written: called after each.

        The event loop (uvloop) keeps what is written and sends it when all that is due has run, which takes as long
        as the machine lets it: only what is called in the round after the next is certain to come behind that.
        """
        if self.truth.first_written_ns is None:
            self._note_written(rounds=2)

    def _note_written(self, rounds: int) -> None:
        self.truth.first_written_ns = time.monotonic_ns()
        if rounds:
            asyncio.get_running_loop().call_soon(self._note_written, rounds - 1)

    def begin(self) -> None:
        """The request was accepted."""

    def token(self, model_ns: int) -> None:
        """The engine model yields the next token, wanted at model_ns on the machine's monotonic clock."""
        raise NotImplementedError

    def tokens(self, model_ns: int, count: int) -> None:
        """The engine model yields several at once."""
        for _ in range(count):
            self.token(model_ns)

    def head_lines(self) -> list[bytes]:
        """Headers of every answer."""
        return [b"X-Request-Id: " + self.truth.request_id.encode("latin-1", "replace")]


class PlainReply(Reply):
    """An answer in one piece, written when its last token is there."""

    _index = 0

    def token(self, model_ns: int) -> None:
        """See Reply."""
        self._index += 1
        if self._index == len(self.answer.pieces):
            body = self.body(self.answer.finish_reason, self.usage())
            head = answer_bytes.head(200, JSON, len(body), self.head_lines())
            self.stamp(model_ns, self._index)
            self.connection.write(head + body)
            self.written()
            self.owner.ended(self, "ok")

    def body(
        self, finish_reason: str | None, usage: answer_bytes.TokenCounts | None, content: bytes | None = None
    ) -> bytes:
        """The JSON of the answer; `content` replaces the answer's own text."""
        pieces, reasoning = self.answer.pieces, self.answer.reasoning_tokens
        if content is None:
            content = b"".join(pieces[reasoning:])
        thought = b"".join(pieces[:reasoning])
        return answer_bytes.plain_body(self.owner.style, self.envelope(), thought, content, finish_reason, usage)


class StreamReply(Reply):
    """Server-sent events, one a token, one write each. `token` is the simulator's hot path."""

    def __init__(
        self,
        owner: Owner,
        connection: ServerConnection,
        request: CompletionRequest,
        answer: PlannedAnswer,
        job: Job,
        truth: Truth,
    ) -> None:
        super().__init__(owner, connection, request, answer, job, truth)
        self.template = answer_bytes.StreamTemplate(owner.style, self.envelope())
        self.index = 0
        self._to_name = bool(answer.call)
        """Whether the event that names the call is still to come."""
        self._last = len(answer.pieces) - 1
        self._suffix = self.template.suffix + b"\n\n\r\n"
        # chunk size, `data: ` and the fixed start of the JSON, by length of the piece
        self._leads: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})

    def begin(self) -> None:
        """See Reply: headers and the role go out at once, unless the role shall wait for the first token."""
        data = answer_bytes.head(200, EVENT_STREAM, None, self.head_lines())
        if self.request.chat and self.owner.role_at_once:
            data += answer_bytes.chunk(answer_bytes.event(self.template.role()))
        self.connection.write(data)

    def token(self, model_ns: int) -> None:
        """See Reply."""
        index = self.index
        if index == self._last or (index == 0 and (self._to_name or not self.owner.role_at_once)):
            self._edge_token(model_ns)
            return
        self.index = index + 1
        piece = self.answer.pieces[index]
        reasoning = index < self.answer.reasoning_tokens
        leads = self._leads[reasoning]
        lead = leads.get(len(piece))
        if lead is None:
            lead = leads[len(piece)] = self._lead(len(piece), reasoning)
        data = b"".join((lead, piece, self._suffix))
        truth = self.truth
        truth.tokens += 1
        truth.models_ns.append(model_ns)
        truth.writes_ns.append(time.monotonic_ns())
        self.connection.write(data)
        if index == 0:
            self.written()

    def tokens(self, model_ns: int, count: int) -> None:
        """See Reply: they go out in one event, or in two where the answer begins among them."""
        answer, end = self.answer, min(self.index + count, self._last + 1)
        while self.index < end:
            begin = self.index
            stop = answer.reasoning_tokens if begin < answer.reasoning_tokens < end else end
            self.index = stop
            data = b""
            if begin == 0 and self.request.chat and not self.owner.role_at_once:
                data = answer_bytes.chunk(answer_bytes.event(self.template.role()))
            data += answer_bytes.chunk(
                answer_bytes.event(self.token_payload(stop - 1, b"".join(answer.pieces[begin:stop])))
            )
            self.stamp(model_ns, stop - begin)
            self.connection.write(data)
            self.written()
        if end == self._last + 1:
            tail = b"".join(answer_bytes.chunk(answer_bytes.event(payload)) for payload in self.tail_payloads())
            self.connection.write(tail + answer_bytes.CHUNK_END)
            self.owner.ended(self, "ok")

    def _lead(self, piece_bytes: int, reasoning: bool) -> bytes:
        prefix = self.template.reasoning_prefix if reasoning else self.template.content_prefix
        size = len(b"data: ") + len(prefix) + piece_bytes + len(self.template.suffix) + len(b"\n\n")
        return b"%x\r\ndata: %b" % (size, prefix)

    def _edge_token(self, model_ns: int) -> None:
        """The first token where the role comes with it, and the last one with all that follows it."""
        index = self.index
        self.index = index + 1
        data = b""
        if index == 0 and self.request.chat and not self.owner.role_at_once:
            data = answer_bytes.chunk(answer_bytes.event(self.template.role()))
        data += answer_bytes.chunk(answer_bytes.event(self.token_payload(index)))
        self.stamp(model_ns, 1)
        self.connection.write(data)
        self.written()
        if index == self._last:
            tail = b"".join(answer_bytes.chunk(answer_bytes.event(payload)) for payload in self.tail_payloads())
            self.connection.write(tail + answer_bytes.CHUNK_END)
            self.owner.ended(self, "ok")

    def token_payload(self, index: int, piece: bytes | None = None) -> bytes:
        """The JSON of the event of token `index`; `piece` replaces its text."""
        finish = self.answer.finish_reason if index == self._last and self.owner.style.finish_on_last_token else None
        text = self.answer.pieces[index] if piece is None else piece
        names_call, self._to_name = self._to_name, False
        return self.template.token(text, index < self.answer.reasoning_tokens, finish, names_call)

    def tail_payloads(self) -> list[bytes]:
        """What follows the last text: a finish event where the style has one, usage if it was asked for, [DONE]."""
        payloads = []
        if not self.owner.style.finish_on_last_token:
            payloads.append(self.template.finish(self.answer.finish_reason))
        if self.request.include_usage:
            payloads.append(self.template.usage(self.usage()))
        return [*payloads, answer_bytes.DONE]
