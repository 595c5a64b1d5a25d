"""Which model plain Locust asks for where nobody named one: the first that the endpoint lists, in whichever shape."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tokenswarm.base.endpoint import Endpoint
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.generator.plain_locust import _first_model


class _Listing(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Listing)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield Endpoint(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("listed", "model"),
    [
        ({"data": [{"id": "qwen"}, {"id": "llama"}]}, "qwen"),
        ({"data": [{"id": "openai/*"}, {"id": "gpt"}]}, "gpt"),
        ([{"name": "bare"}], "bare"),
        ({"models": ["plain"]}, "plain"),
    ],
)
def test_the_first_model_of_a_list_in_any_shape_is_asked_for(endpoint: Endpoint, listed: object, model: str) -> None:
    _Listing.body = json.dumps(listed).encode()
    assert _first_model(endpoint) == model


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"data": []}', b'{"data": [{"id": "a/*"}]}', b"[" * 99_999])
def test_an_endpoint_that_lists_none_is_refused_in_a_sentence(endpoint: Endpoint, body: bytes) -> None:
    _Listing.body = body
    with pytest.raises(UserError, match="lists no model; is the engine up") as refused:
        _first_model(endpoint)
    assert refused.value.code == Exit.ENDPOINT
