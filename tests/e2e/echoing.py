"""A server that quotes each prompt wherever it can: in refusals, in broken streams, as finish_reason."""

from __future__ import annotations

import html
import itertools
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PLAIN_AT_FIRST = 12
"""Requests that are answered well: those of the check before a load."""


class Echo(BaseHTTPRequestHandler):
    """Answers in turn in each of its ways."""

    protocol_version = "HTTP/1.1"
    numbers = itertools.count()

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def _whole(self, status: int, text: str, kind: str = "application/json") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._whole(200, json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text, number = body["messages"][-1]["content"], next(self.numbers)
        way = number % 8 if number >= PLAIN_AT_FIRST else 0
        if way == 1:
            self._whole(400, json.dumps({"error": {"message": f"bad prompt: {text}", "type": text, "code": text}}))
        elif way == 2:
            self._whole(500, f"<html>{html.escape(text)}</html>", "text/html")
        elif way == 3:
            self._whole(422, json.dumps({"detail": [{"loc": ["body"], "msg": "no", "input": body}]}))
        elif way == 4:
            self._whole(429, urllib.parse.quote(text), "text/plain")
        else:
            self._stream(text, way)

    def _stream(self, text: str, way: int) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

        def event(**fields: Any) -> None:
            self.wfile.write(b"data: " + json.dumps({"id": "x", "model": "m"} | fields).encode() + b"\n\n")

        for word in text.split()[:20]:
            event(choices=[{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}])
        if way == 5:
            event(error={"message": f"died at {text}", "type": "e"})
        elif way == 6:
            self.wfile.write(b"data: {broken " + text.encode() + b"\n\n")
        else:
            event(choices=[{"index": 0, "delta": {}, "finish_reason": text if way == 7 else "stop"}])
            event(choices=[], usage={"prompt_tokens": 20, "completion_tokens": 20, "total_tokens": 40})
            self.wfile.write(b"data: [DONE]\n\n")


@contextmanager
def echoing() -> Iterator[str]:
    """The server's base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
