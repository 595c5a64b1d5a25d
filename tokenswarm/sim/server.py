"""The HTTP edge: one protocol object a connection, keep-alive, one answer at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

import httptools

from tokenswarm.sim import answer_bytes

MAX_BODY_BYTES = 64_000_000
_LINGER_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Incoming:
    """One HTTP request. Header names are lower case. Stamps: first and last bytes read, time.monotonic_ns()."""

    method: str = ""
    path: str = ""
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: list[bytes] = field(default_factory=list)
    size: int = 0
    first_ns: int = 0
    last_ns: int = 0
    keep_alive: bool = True


class Application(Protocol):
    """What a connection needs of the application behind it. A reply is the application's own: it is only kept here."""

    connections: set[ServerConnection]

    def handle(self, connection: ServerConnection, incoming: Incoming) -> None:
        """A whole request is there."""

    def dropped(self, reply: Any) -> None:
        """The client went away before this reply was written."""


def write_at_once(listening: Any) -> None:
    """Have the kernel send what connections of this socket write when they write it: BBR, the default of some machines,
    paces packets, and would hold a token back for milliseconds of which no model of an engine knows."""
    if hasattr(socket, "TCP_CONGESTION"):
        with contextlib.suppress(OSError):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")


class ServerConnection(asyncio.Protocol):
    """A client's connection. `write` sends at once; what the socket does not take is left to the transport."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._parser = httptools.HttpRequestParser(self)
        self._incoming = Incoming()
        self._queue: deque[Incoming] = deque()
        self._url = b""
        self._read_ns = 0
        self._keep_alive = True
        self.closed = False
        self.backlogged = False
        self.reply: object = None
        self._busy = False

    # --- from the loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's: a client has connected."""
        self._transport: Any = transport
        self._fd = transport.get_extra_info("socket").fileno()
        self._app.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's: the connection is gone."""
        self._lost()
        self._parser = None  # type: ignore[assignment]  # it holds this object in its turn

    def data_received(self, data: bytes) -> None:
        """asyncio's: bytes of a request."""
        self._read_ns = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, b"no upgrade here")
        except httptools.HttpParserError:
            self._refuse(400, b"not HTTP")

    def _refuse(self, status: int, message: bytes) -> None:
        if not self.closed:
            self._keep_alive = False
            self.write(answer_bytes.head(status, b"text/plain", len(message), [b"Connection: close"]) + message)
            self.close()

    # --- from the parser ---

    def on_message_begin(self) -> None:
        """httptools': the first byte of a request."""
        self._incoming.first_ns = self._read_ns

    def on_url(self, url: bytes) -> None:
        """httptools': a part of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools': one header."""
        self._incoming.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """httptools': the headers are complete."""
        if self._incoming.headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """httptools': a part of the body."""
        self._incoming.size += len(body)
        if self._incoming.size > MAX_BODY_BYTES:
            self._refuse(413, b"the body is too long")
        else:
            self._incoming.body.append(body)

    def on_message_complete(self) -> None:
        """httptools': a whole request is there."""
        incoming, self._incoming = self._incoming, Incoming()
        incoming.method = self._parser.get_method().decode("latin-1")
        incoming.path, _, incoming.query = self._url.decode("latin-1").partition("?")
        incoming.last_ns = self._read_ns
        incoming.keep_alive = self._parser.should_keep_alive()
        self._url = b""
        if self._busy:
            self._queue.append(incoming)
        elif not self.closed:
            self._serve(incoming)

    def _serve(self, incoming: Incoming) -> None:
        self._busy = True
        self._keep_alive = incoming.keep_alive
        self._app.handle(self, incoming)

    # --- from the answers ---

    def respond(self, status: int, content_type: bytes, body: bytes, extra: list[bytes] | None = None) -> None:
        """A whole answer that needs no engine."""
        self.write(answer_bytes.head(status, content_type, len(body), extra or []) + body)
        self.answered()

    def answered(self) -> None:
        """The answer is written: take the next request, or close if the client asked for that."""
        self.reply = None
        self._busy = False
        if not self._keep_alive:
            self.close()
        elif self._queue and not self.closed:
            self._serve(self._queue.popleft())

    def write(self, data: bytes) -> None:
        """Writes now, past the transport's buffer, so that a stamp taken just before is the time of the write."""
        if self.closed:
            return
        sent = 0
        if self.backlogged and self._transport.get_write_buffer_size() == 0:
            self.backlogged = False
        if not self.backlogged:
            try:
                sent = os.write(self._fd, data)
            except BlockingIOError:
                pass
            except OSError:
                self._transport.abort()
                self._lost()
                return
            if sent == len(data):
                return
        self.backlogged = True
        self._transport.write(data[sent:])

    def close(self) -> None:
        """An orderly end (FIN), behind what is still to be written."""
        if not self.closed:
            self._transport.close()
            self._lost()

    def reset(self) -> None:
        """An abrupt end (RST): SO_LINGER with a time of 0 makes close(2) send one."""
        if self.closed:
            return
        # an option belongs to the socket, not to the descriptor: a duplicate reaches it past the transport
        with socket.socket(fileno=os.dup(self._fd)) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self._transport.abort()
        self._lost()

    def _lost(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._app.connections.discard(self)
        reply, self.reply = self.reply, None
        if reply is not None:
            self._app.dropped(reply)
