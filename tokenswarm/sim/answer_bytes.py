"""The bytes of answers: JSON bodies, server-sent events, HTTP heads and chunks. Pure.

A stream's events differ from token to token only in the text, so a stream's fixed bytes are made once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from tokenswarm.sim.styles import Style

CHUNK_END = b"0\r\n\r\n"
DONE = b"[DONE]"
SIMULATED_HEADER = b"X-Simulated: true\r\n"

_REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 413: b"Content Too Large", 422: b"Unprocessable Content", 429: b"Too Many Requests",
    500: b"Internal Server Error", 503: b"Service Unavailable",
}  # fmt: skip


def head(status: int, content_type: bytes, length: int | None, extra: Iterable[bytes] = ()) -> bytes:
    """Status line and headers. length None: a chunked body; -1: a body that lasts until the connection closes."""
    if length is None:
        framing = b"Transfer-Encoding: chunked\r\n"
    elif length < 0:
        framing = b"Connection: close\r\n"
    else:
        framing = b"Content-Length: %d\r\n" % length
    lines = b"".join(line + b"\r\n" for line in extra)
    reason = _REASONS.get(status, b"Status")
    return b"HTTP/1.1 %d %s\r\nServer: tokenswarm-simulator\r\n%sContent-Type: %s\r\n%s%s\r\n" % (
        status, reason, SIMULATED_HEADER, content_type, framing, lines,
    )  # fmt: skip


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(payload: bytes) -> bytes:
    """One server-sent event."""
    return b"data: %b\n\n" % payload


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Token counts of an answer; cached and reasoning are None where the engine does not report them."""

    prompt: int
    completion: int
    cached: int | None
    reasoning: int | None

    def to_json(self) -> bytes:
        """The `usage` object."""
        usage: dict[str, object] = {
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt + self.completion,
            "completion_tokens": self.completion,
            "prompt_tokens_details": None if self.cached is None else {"cached_tokens": self.cached},
        }
        if self.reasoning is not None:
            usage["reasoning_tokens"] = self.reasoning
        return msgspec.json.encode(usage)


class StreamTemplate:
    """The payloads (JSON of one event) of one stream. Text arguments are pieces of a JSON string, already escaped."""

    def __init__(self, style: Style, envelope: Envelope) -> None:
        chat, response_id, created, model = (envelope.chat, envelope.response_id, envelope.created, envelope.model)
        self._style = style
        kind = b"chat.completion.chunk" if chat else b"text_completion"
        encode = msgspec.json.encode
        self._lead = b'{"id":%b,"object":"%b","created":%d,"model":%b,"choices":[' % (
            encode(response_id), kind, created, encode(model),
        )  # fmt: skip
        if chat:
            self.content_prefix = self._lead + b'{"index":0,"delta":{"content":"'
            self.reasoning_prefix = self._lead + b'{"index":0,"delta":{"%b":"' % style.reasoning_field.encode()
            close = b'"},"logprobs":null,'
            if envelope.call:
                self.content_prefix = (
                    self._lead + b'{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"'
                )
                self.call_prefix = self._lead + b'{"index":0,"delta":{"tool_calls":[{"index":0,%b,"arguments":"' % (
                    _call_lead(envelope)
                )
                close = b'"}}]},"logprobs":null,'
        else:
            self.content_prefix = self.reasoning_prefix = self._lead + b'{"index":0,"text":"'
            close = b'","logprobs":null,'
        end = b"%b}]%b}" % (style.choice_extra, style.chunk_extra)
        self._close = close
        self._end = end
        self.suffix = b'%b"finish_reason":null%b' % (close, end)
        self._chat = chat

    def role(self) -> bytes:
        """The first event of a chat stream: a role and no text."""
        delta = b'{"role":"assistant","content":""%b}' % self._style.first_delta
        return b'%b{"index":0,"delta":%b,"logprobs":null,"finish_reason":null%b' % (self._lead, delta, self._end)

    def token(self, piece: bytes, reasoning: bool, finish_reason: str | None = None, names_call: bool = False) -> bytes:
        """An event with text, and with a finish_reason where the style puts it on the last text. `names_call`: it is
        the first one of a call."""
        prefix = self.call_prefix if names_call else self.reasoning_prefix if reasoning else self.content_prefix
        if finish_reason is None:
            return prefix + piece + self.suffix
        return b'%b%b%b"finish_reason":"%b"%b' % (prefix, piece, self._close, finish_reason.encode(), self._end)

    def finish(self, finish_reason: str) -> bytes:
        """An event with a finish_reason and no text."""
        if not self._chat:
            return self.token(b"", False, finish_reason)
        delta = b'"delta":{"content":null%b}' % self._style.first_delta
        return b'%b{"index":0,%b,"logprobs":null,"finish_reason":"%b"%b' % (
            self._lead, delta, finish_reason.encode(), self._end,
        )  # fmt: skip

    def usage(self, usage: TokenCounts) -> bytes:
        """The event with no choices that carries the usage."""
        return b'%b],"usage":%b}' % (self._lead, usage.to_json())


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands around the text of an answer. `created`: unix s; `call`: the tool whose arguments the text is."""

    chat: bool
    response_id: str
    created: int
    model: str
    call: str = ""


def _call_lead(envelope: Envelope) -> bytes:
    """How a call begins: JSON members up to its arguments."""
    return b'"id":%b,"type":"function","function":{"name":%b' % (
        msgspec.json.encode(f"call-{envelope.response_id}"),
        msgspec.json.encode(envelope.call),
    )


def plain_body(
    style: Style,
    envelope: Envelope,
    reasoning: bytes,
    content: bytes,
    finish_reason: str | None,
    usage: TokenCounts | None,
) -> bytes:
    """The JSON body of an answer that is not streamed. reasoning and content are pieces of a JSON string."""
    encode, chat = msgspec.json.encode, envelope.chat
    finish = encode(finish_reason)
    if chat:
        thought = b'"%b"' % reasoning if reasoning else b"null"
        text, calls = b'"%b"' % content if content or not reasoning else b"null", b"null"
        if envelope.call:
            text, calls = b"null", b'[{%b,"arguments":"%b"}}]' % (_call_lead(envelope), content)
        choice = b'{"index":0,"message":{"role":"assistant","content":%b,"%b":%b,"tool_calls":%b},' % (
            text, style.reasoning_field.encode(), thought, calls,
        )  # fmt: skip
    else:
        choice = b'{"index":0,"text":"%b%b",' % (reasoning, content)
    return b'{"id":%b,"object":"%b","created":%d,"model":%b,"choices":[%b"logprobs":null,"finish_reason":%b%b}]%b}' % (
        encode(envelope.response_id), b"chat.completion" if chat else b"text_completion", envelope.created,
        encode(envelope.model), choice, finish, style.choice_extra,
        b'' if usage is None else b',"usage":' + usage.to_json(),
    )  # fmt: skip
