"""The API key goes to the endpoint and nowhere else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit
from tokenswarm.base.masking import masked, usable_key

from .conftest import SECRET
from .support import Finished, load, started


def _holding(folder: Path, secret: str) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


@pytest.mark.parametrize("name", ["first", "locust"])
def test_key_is_in_no_file_of_a_run_and_not_on_the_terminal(series: dict[str, Finished], name: str) -> None:
    run = series[name]
    assert run.manifest["counts"]["ok"] > 0, "the simulator asks for the key, so it was sent"
    assert _holding(run.path, SECRET) == []
    assert SECRET not in run.out + run.err


def test_key_is_on_no_command_line(series: dict[str, Finished]) -> None:
    assert series["seen"].left == []


class _Echo(BaseHTTPRequestHandler):
    """Serves the preflight, then fails each request with a message that repeats the Authorization header."""

    protocol_version = "HTTP/1.1"
    answered = 0

    def do_GET(self) -> None:
        self._send(200, json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).answered += 1
        if type(self).answered > 3:
            message = f"{'x' * self.answered} not allowed: {self.headers['Authorization']}"
            self._send(400, json.dumps({"error": {"message": message}}))
        elif body.get("stream"):
            choice = {"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}
            event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            self._send(200, f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n", "text/event-stream")
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
            self._send(
                200,
                json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}),
            )

    def _send(self, status: int, text: str, kind: str = "application/json") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing on the tests' terminal."""


@pytest.fixture
def echoing_server() -> Iterator[str]:
    _Echo.answered = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_key_that_a_server_echoes_is_masked(echoing_server: str, results: Path) -> None:
    with started(
        load(results, "--engine", "external", "--host", echoing_server, "--users", "2"), results, API_KEY=SECRET
    ) as process:
        run = process.finish()
    assert run.code == Exit.REQUESTS_FAILED
    details = [row["error_detail"] for row in run.table()]
    assert details and all("Bearer ***" in detail for detail in details)
    assert {row["error"] for row in run.table()} == {"rejected"}
    assert _holding(run.path, SECRET) == []
    assert SECRET not in run.out + run.err


def test_cut_text_does_not_keep_a_part_of_the_key() -> None:
    for kept in range(4, len(SECRET)):
        assert masked("told: " + SECRET[:kept], SECRET) == "told: ***"
    assert masked(f"a {SECRET} b {SECRET}", SECRET) == "a *** b ***"
    assert masked("nothing here", SECRET) == "nothing here"
    assert masked("text", None) == "text"


def test_key_without_its_line_end_is_used() -> None:
    assert usable_key("abcdefgh\n") == "abcdefgh"
    assert usable_key("  ") is None
    assert usable_key(None) is None
