"""Simulators in processes of their own, and raw access to what they send."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.request import Request, urlopen

_TIMEOUT_S = 20


@dataclass
class Simulator:
    """A running simulator and raw access to it."""

    process: subprocess.Popen
    url: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def get(self, path: str) -> bytes:
        """The body of a GET that succeeds."""
        with urlopen(self.url + path, timeout=_TIMEOUT_S) as answer:
            return answer.read()

    def post(self, path: str, body: object, **headers: str) -> dict:
        """The JSON answer of a POST that succeeds."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(self.url + path, data=json.dumps(body).encode(), headers=named)
        with urlopen(request, timeout=_TIMEOUT_S) as answer:
            return json.load(answer)

    def send(self, path: str, body: object, method: str = "POST", **headers: str) -> socket.socket:
        """A connection on which one request was written."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {path} HTTP/1.1\r\nHost: sim\r\nContent-Length: {len(data)}\r\n{lines}\r\n"
        client = socket.create_connection(self.address, timeout=_TIMEOUT_S)
        client.sendall(head.encode() + data)
        return client

    def metric(self, name: str) -> float:
        """Value of one sample of /metrics."""
        for line in self.get("/metrics").decode().splitlines():
            if line.startswith(name + "{"):
                return float(line.rsplit(" ", 1)[1])
        raise KeyError(name)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_TIMEOUT_S)


def start_simulator(*flags: str) -> Simulator:
    """Starts one on a free port and waits until it listens."""
    command = [sys.executable, "-m", "tokenswarm.sim", "--port", "0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("listening on http://"), process.communicate()
    return Simulator(process, line.split()[-1])


@contextlib.contextmanager
def running(*flags: str) -> Iterator[Simulator]:
    """A simulator that ends with the block."""
    simulator = start_simulator(*flags)
    try:
        yield simulator
    finally:
        if simulator.process.poll() is None:
            simulator.stop()
        simulator.process.stdout.close()
        simulator.process.stderr.close()


def chat(content: str = "hello", **fields: object) -> dict:
    """A chat request body."""
    return {"model": "sim-8b", "messages": [{"role": "user", "content": content}], **fields}


def streamed(content: str = "hello", **fields: object) -> dict:
    """A streamed chat request body with usage."""
    return chat(content, stream=True, stream_options={"include_usage": True}, **fields)


def read_all(client: socket.socket) -> bytes:
    """All bytes until the other side closes; raises ConnectionResetError if it resets."""
    with client:
        parts = []
        while data := client.recv(1 << 20):
            parts.append(data)
        return b"".join(parts)


def read_until(client: socket.socket, mark: bytes) -> bytes:
    """All bytes up to and with the first read that brings `mark`."""
    data = bytearray()
    looked_at = 0
    while data.find(mark, looked_at) < 0:
        looked_at = max(0, len(data) - len(mark))
        more = client.recv(1 << 20)
        if not more:
            raise EOFError(bytes(data))
        data += more
    return bytes(data)


def unchunk(raw: bytes) -> tuple[bytes, bytes, bool]:
    """(head, body, the body's end was there) of a chunked answer."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            return head, body, True
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return head, body, False


def events(body: bytes) -> list:
    """The payloads of well-behaved server-sent events: JSON values, and `[DONE]` as it is."""
    payloads = [part.removeprefix(b"data: ") for part in body.split(b"\n\n") if part]
    return ["[DONE]" if payload == b"[DONE]" else json.loads(payload) for payload in payloads]


def ask_events(simulator: Simulator, body: dict, path: str = "/v1/chat/completions", **headers: str) -> list:
    """The events of one streamed answer."""
    raw = read_until(simulator.send(path, body, **headers), b"\r\n0\r\n\r\n")
    _, content, complete = unchunk(raw)
    assert complete
    return events(content)
