"""Servers for client tests: byte-level ones in this process's event loop, and the simulator as a process."""

from __future__ import annotations

import os
import signal
import socket as plain_socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import gevent
from gevent.server import StreamServer

from tokenswarm.client.answer import Answer
from tokenswarm.client.client import LLMClient, Timeouts

from .events import ROLE, delta, finish, stream, usage

PATIENT = Timeouts(connect_s=10, first_token_s=10, gap_s=10, total_s=10)
"""Limits that only a hang reaches."""

STREAM_BODY = stream(ROLE, delta(content="Hel"), delta(content="lo"), finish(), usage(3, 2))
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM = STREAM_HEAD + chunk(STREAM_BODY) + END
"""A whole streamed answer of two tokens."""


def plain(body: bytes, status: bytes = b"200 OK", extra: bytes = b"") -> bytes:
    """A whole answer with a length."""
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), extra, body)


def reset(sock: plain_socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(plain_socket.SOL_SOCKET, plain_socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Peer:
    """One connection as a byte-level server sees it. `number` counts connections from 0."""

    def __init__(self, sock: plain_socket.socket, number: int, server: ByteServer) -> None:
        self.socket, self.number, self._server = sock, number, server
        self._rest = b""

    def request(self) -> bytes | None:
        """Read one request (head and body); None if the client has gone."""
        data = self._rest
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(
            next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).partition(b":")[2]
        )
        while len(body) < length:
            more = self.socket.recv(65536)
            if not more:
                return None
            body += more
        self._rest = body[length:]
        self._server.requests.append((self.number, head, body[:length]))
        return head

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_apart(self, *pieces: bytes, pause_s: float = 0.02) -> None:
        """Send pieces so far apart that they are read one by one."""
        for piece in pieces:
            self.socket.sendall(piece)
            gevent.sleep(pause_s)


class ByteServer:
    """Runs `script(peer)` for each connection, in this process's event loop. `requests` holds all that came."""

    def __init__(self, script: Callable[[Peer], None], host: str = "127.0.0.1", ssl_context: object = None) -> None:
        self._script = script
        self.connections = 0
        self.requests: list[tuple[int, bytes, bytes]] = []
        tls = {"ssl_context": ssl_context} if ssl_context else {}
        self._server = StreamServer((host, 0), self._serve, **tls)
        self._server.start()
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if ssl_context else 'http'}://{shown}:{self._server.server_port}"

    def _serve(self, sock: plain_socket.socket, _address: object) -> None:
        number = self.connections
        self.connections += 1
        try:
            self._script(Peer(sock, number, self))
        except OSError:
            pass  # the client closed: its right
        finally:
            sock.close()

    def close(self) -> None:
        self._server.stop(timeout=1)


def answering(data: bytes) -> Callable[[Peer], None]:
    """A script that answers each request of a connection with the same bytes."""

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(data)

    return script


class Simulator:
    """The engine simulator as a process of its own, with a truth log of every token."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.truth_log = folder / "truth.csv"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tokenswarm.sim", "--truth-log", str(self.truth_log), "--truth-tokens", *options],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        line = self._process.stdout.readline()
        self.url = line.split()[-1] if line else ""
        if not self.url:
            raise RuntimeError(f"the simulator ended with {self._process.wait()}")

    def close(self) -> None:
        """End it; the truth log is whole afterwards."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdout.close()


def ask(
    client: LLMClient,
    request_id: str = "r-1",
    *,
    stream: bool = True,
    max_tokens: int = 8,
    fault: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> Answer:
    """One chat request with a short prompt."""
    body: dict[str, object] = {
        "model": "sim-8b",
        "stream": stream,
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "messages": [{"role": "user", "content": f"Tell me about {request_id}."}],
        **more,
    }
    if stream and "stream_options" not in more:
        body["stream_options"] = {"include_usage": True}
    extra = dict(headers or {}) | ({"X-Sim-Fault": fault} if fault else {})
    return client.complete(body, request_id, headers=extra)
