"""Replies that misbehave: each kind of `faults.KINDS`, byte by byte."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from tokenswarm.sim import answer_bytes
from tokenswarm.sim.api import error_payload
from tokenswarm.sim.faults import Fault
from tokenswarm.sim.replies import EVENT_STREAM, JSON, PlainReply, Reply, StreamReply

_PACKET_GAP_S = 0.002
"""Time between two packets that must not be merged on their way."""

_UTF8_TEXT = "né漢🙂".encode()
_UTF8_CUT = 2
"""Bytes of the last character (four in all) that stay in the first packet."""

_COMMENT = b": ping\n\nid: 7\nevent: message\nretry: 3000\n"
_NOT_HTTP = b"HTP/banana two hundred\r\nthis is: not\x00http\r\n\r\n"


class _Faulty(Reply):
    """Silence and abrupt ends: shared by streamed and plain replies."""

    fault: Fault
    _held: list[int] | None = None
    _over = False

    def tokens(self, model_ns: int, count: int) -> None:
        """See Reply: a fault strikes between two tokens, so they go out one by one."""
        for _ in range(count):
            self.token(model_ns)

    def _hold(self, seconds: float | None, then: Callable[[], None] | None = None) -> None:
        """Keeps tokens back: for some seconds, or for ever."""
        self._held = []
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self._release, then)

    def _release(self, then: Callable[[], None] | None) -> None:
        held, self._held = self._held or [], None
        if self._over or self.connection.closed:
            return
        if then is not None:
            then()
        for model_ns in held:
            if not self._over:
                self.token(model_ns)

    def _end(self, close: Callable[[], None] | None = None) -> None:
        """The fault has been committed: nothing more is written."""
        self._over = True
        if close is not None:
            self.connection.reply = None  # the server closes, not the client: no disconnection to report
            close()
        self.owner.ended(self, "fault")

    def _strike_first(self) -> bool:
        """Faults that need no token; True if the reply is over."""
        kind, connection = self.fault.kind, self.connection
        if kind == "reset_before_headers":
            self._end(connection.reset)
        elif kind == "close_before_headers":
            self._end(connection.close)
        elif kind == "invalid_http":
            connection.write(_NOT_HTTP)
            self._end(connection.close)
        return self._over


class FaultyStream(_Faulty, StreamReply):
    """A streamed answer with a fault in it."""

    def __init__(self, *parts: Any, fault: Fault) -> None:
        super().__init__(*parts)
        self.fault = fault
        self._chunked = fault.kind != "close_delimited"
        self._merge = int(fault.value("tokens")) if fault.kind == "merge_tokens" else 1
        self._batch = int(fault.value("events")) if fault.kind == "coalesce" else 1
        self._merged: list[bytes] = []
        self._batched: list[bytes] = []
        self._packets: deque[tuple[bytes, int | None]] = deque()
        self._pumping = False

    def begin(self) -> None:
        """See Reply."""
        if self._strike_first():
            return
        if self.fault.kind == "no_headers":
            self._hold(self.fault.value("seconds"), self._open)
            return
        self._open()
        if self.fault.kind == "no_first_token":
            self._hold(self.fault.value("seconds"))
        elif self._at(0):
            self._strike()

    def _open(self) -> None:
        lines = self.head_lines()
        self.connection.write(answer_bytes.head(200, EVENT_STREAM, None if self._chunked else -1, lines))
        if self.request.chat:
            self._send([self.template.role()], None)

    def _at(self, tokens: int) -> bool:
        """Whether a fault that waits for a number of tokens strikes after this many."""
        try:
            return self.fault.kind != "merge_tokens" and self.fault.value("tokens") == tokens
        except KeyError:
            return False

    def token(self, model_ns: int) -> None:
        """See Reply."""
        if self._held is not None:
            self._held.append(model_ns)
            return
        if self._over:
            return
        index = self.index
        self.index += 1
        last = index == self._last
        if self._merge > 1:
            self._merged.append(self.answer.pieces[index])
            # an event carries one channel only
            border = index + 1 == self.answer.reasoning_tokens
            if len(self._merged) < self._merge and not last and not border:
                return
            payload = self.token_payload(index, b"".join(self._merged))
            tokens = len(self._merged)
            self._merged.clear()
        else:
            payload, tokens = self.token_payload(index, self._piece(index)), 1
        if self.fault.kind == "no_finish_reason":
            payload = self.template.token(self.answer.pieces[index], index < self.answer.reasoning_tokens)
        if self.fault.kind == "malformed_json" and index == self.fault.value("tokens"):
            payload = payload[: len(payload) * 2 // 3]
        self.truth.tokens += tokens
        if last and self.fault.kind.startswith("endless"):
            self._send([self.template.token(self.answer.pieces[index], False)], model_ns)
            self._endless()
            return
        self._send([payload], model_ns)
        if last:
            self._finish()
        elif self._at(index + 1):
            self._strike()

    def _piece(self, index: int) -> bytes | None:
        if self.fault.kind == "split_utf8":
            return _UTF8_TEXT
        if self.fault.kind == "huge_event" and index == min(1, self._last):
            return b"huge " * int(self.fault.value("megabytes") * 1_000_000 / 5)
        return None

    def _strike(self) -> None:
        kind, connection = self.fault.kind, self.connection
        if kind == "stall":
            self._hold(self.fault.value("seconds"))
        elif kind == "reset_mid_stream":
            self._end(connection.reset)
        elif kind == "close_mid_stream":
            connection.write(b'ffff\r\ndata: {"id":')
            self._end(connection.close)
        elif kind == "bad_chunk":
            connection.write(b"not-hex\r\ndata: {}\n\n\r\n")
            self._end(connection.close)
        elif kind == "truncate":
            connection.write(answer_bytes.CHUNK_END)
            self._end()
        elif kind == "error_event":
            self._send([error_payload(500, "simulated failure of the engine"), answer_bytes.DONE], None)
            connection.write(answer_bytes.CHUNK_END)
            self._end()

    def _finish(self) -> None:
        """The tail as this fault has it, then the end of the body."""
        kind = self.fault.kind
        payloads = self.tail_payloads()
        if kind == "no_usage":
            payloads = [payload for payload in payloads if b'"choices":[],"usage"' not in payload]
        elif kind == "no_done":
            payloads = payloads[:-1]
        elif kind == "no_finish_reason" and not self.owner.style.finish_on_last_token:
            payloads = payloads[1:]
        self._send(payloads, None, flush=True)
        if self._chunked:
            self._queue(answer_bytes.CHUNK_END, None)
        if not self._packets:
            self._done()

    def _done(self) -> None:
        self._over = True
        if not self._chunked:
            self.connection.close()
        self.owner.ended(self, "ok")

    def _frame(self, payload: bytes) -> bytes:
        kind = self.fault.kind
        if kind == "crlf":
            return b"data: %b\r\n\r\n" % payload
        if kind == "comments":
            return _COMMENT + answer_bytes.event(payload)
        if kind == "no_space":
            return b"data:%b\n\n" % payload
        if kind == "multi_line":
            # the first comma stands between two members: a line break is allowed there
            return answer_bytes.event(payload.replace(b',"', b',\ndata: "', 1))
        return answer_bytes.event(payload)

    def _send(self, payloads: list[bytes], model_ns: int | None, flush: bool = False) -> None:
        """Frames events and writes them; model_ns where one has text."""
        for payload in payloads:
            data = self._frame(payload)
            self._batched.append(answer_bytes.chunk(data) if self._chunked else data)
        if len(self._batched) < self._batch and not flush:
            if model_ns is not None:
                self._late_stamps().append(model_ns)
            return
        data = b"".join(self._batched)
        self._batched.clear()
        for earlier_ns in self._late_stamps():
            self.stamp(earlier_ns, 0)
        self._late_stamps().clear()
        self._queue(data, model_ns)

    def _late_stamps(self) -> list[int]:
        """Model times of tokens whose events wait for others: they are written, and stamped, with them."""
        if not hasattr(self, "_waiting_ns"):
            self._waiting_ns: list[int] = []
        return self._waiting_ns

    def _queue(self, data: bytes, model_ns: int | None) -> None:
        """Writes one packet, or cuts it into several with some time between them."""
        pieces = self._cut(data)
        if len(pieces) == 1 and not self._packets:
            self._write(pieces[0], model_ns)
            return
        # a client can read the token when the last part is there
        self._packets.extend((piece, model_ns if piece is pieces[-1] else None) for piece in pieces)
        if not self._pumping:
            self._pumping = True
            self._pump()

    def _cut(self, data: bytes) -> list[bytes]:
        if self.fault.kind == "dribble":
            size = max(1, int(self.fault.value("bytes")))
            return [data[start : start + size] for start in range(0, len(data), size)]
        if self.fault.kind == "split_utf8" and (at := data.find(_UTF8_TEXT)) >= 0:
            middle = at + len(_UTF8_TEXT) - _UTF8_CUT
            return [data[:middle], data[middle:]]
        return [data]

    def _pump(self) -> None:
        if self.connection.closed:
            return
        self._write(*self._packets.popleft())
        if self._packets:
            asyncio.get_running_loop().call_later(_PACKET_GAP_S, self._pump)
            return
        self._pumping = False
        if self.index > self._last and not self._over:
            self._done()

    def _write(self, data: bytes, model_ns: int | None) -> None:
        if model_ns is not None:
            self.stamp(model_ns, 0)
        self.connection.write(data)

    def _endless(self) -> None:
        if self.connection.closed:
            return
        # a client that reads slowly must not fill the simulator's memory
        if not self.connection.backlogged:
            data = b": ping\n\n"
            if self.fault.kind == "endless_tokens":
                data = answer_bytes.event(self.template.token(b" and", False))
            self.connection.write(answer_bytes.chunk(data))
        asyncio.get_running_loop().call_later(max(self.fault.value("seconds"), 0.0005), self._endless)


class FaultyPlain(_Faulty, PlainReply):
    """An answer in one piece with a fault in it. Faults that only a stream can have leave it as it is."""

    def __init__(self, *parts: Any, fault: Fault) -> None:
        super().__init__(*parts)
        self.fault = fault

    def begin(self) -> None:
        """See Reply."""
        if self._strike_first():
            return
        if self.fault.kind in ("no_headers", "no_first_token"):
            self._hold(self.fault.value("seconds"))

    def token(self, model_ns: int) -> None:
        """See Reply."""
        if self._held is not None:
            self._held.append(model_ns)
            return
        if self._index + 1 < len(self.answer.pieces) or self._over:
            self._index += 1
            return
        kind, connection = self.fault.kind, self.connection
        body = self._faulty_body()
        head = answer_bytes.head(200, JSON, -1 if kind == "close_delimited" else len(body), self.head_lines())
        self.stamp(model_ns, len(self.answer.pieces))
        if kind in ("reset_mid_stream", "close_mid_stream", "stall"):
            connection.write(head + body[: len(body) // 2])
            if kind == "stall":
                self._over = True
            else:
                self._end(connection.reset if kind == "reset_mid_stream" else connection.close)
            return
        connection.write(head + body)
        if kind == "close_delimited":
            connection.close()
        self._over = True
        self.owner.ended(self, "ok")

    def _faulty_body(self) -> bytes:
        kind = self.fault.kind
        if kind == "error_event":
            return error_payload(500, "simulated failure of the engine")
        finish = None if kind in ("truncate", "no_finish_reason") else self.answer.finish_reason
        content = None
        if kind == "huge_event":
            content = b"huge " * int(self.fault.value("megabytes") * 1_000_000 / 5)
        elif kind == "split_utf8":
            content = _UTF8_TEXT
        body = self.body(finish, None if kind == "no_usage" else self.usage(), content)
        return body[: len(body) * 2 // 3] if kind == "malformed_json" else body
