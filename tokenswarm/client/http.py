"""HTTP/1.1: builds the head of a request, and parses an answer's bytes into status, headers and body."""

from __future__ import annotations

from collections.abc import Mapping

import httptools

from tokenswarm.base.endpoint import Endpoint
from tokenswarm.base.presence import present
from tokenswarm.client.coding import Decompressor, Undecodable

MAX_HEADER_BYTES = 256 * 1024
"""Longest head of an answer; no inference engine sends a longer one."""


_LENIENT = dict.fromkeys(
    (
        "lenient_headers",
        "lenient_chunked_length",
        "lenient_transfer_encoding",
        "lenient_version",
        "lenient_optional_cr_before_lf",
        "lenient_optional_lf_after_cr",
        "lenient_spaces_after_chunk_size",
    ),
    True,
)
"""Deviations that other clients accept too: folded headers, Content-Length together with chunks, lines that end with LF
alone, blanks in chunk sizes. Accepting them is dangerous for proxies, which pass answers on; this is not one."""
_HTTP_2 = b"\x00\x00"
"""The first frame of HTTP/2 has type 4 in its fourth byte."""


def request_head(endpoint: Endpoint, path: str, headers: Mapping[str, str]) -> bytes:
    """The constant part of the head of a POST to that path of the API; append `Content-Length`, per-request headers and
    the blank line."""
    proxy = None if endpoint.tls else endpoint.form.proxy  # the proxy needs the whole URL
    target = endpoint.url_of(path) if proxy else endpoint.target(path)
    lines = [f"POST {target} HTTP/1.1", f"Host: {endpoint.host_header}", "Content-Type: application/json"]
    if proxy and proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header may not hold a line break")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


class ResponseReader:
    """Takes an HTTP/1.1 answer in pieces, in any split, and keeps the body with the index of the read it came in.

    Never raises: `broken` says what was wrong. `complete` is True once the message has ended by its own framing;
    a body without framing ends with `eof()`.
    """

    __slots__ = (
        "_body_index",
        "_decompressor",
        "_head_bytes",
        "_parser",
        "bodies",
        "broken",
        "chunked",
        "coding",
        "complete",
        "headers",
        "headers_index",
        "keep_alive",
        "status",
        "until_close",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_LENIENT)
        self._body_index = 0
        self._head_bytes = 0
        self._decompressor: Decompressor | None = None
        self.coding = ""
        """Content coding of the body; "" if it is not compressed."""
        self.bodies: list[tuple[int, bytes]] = []
        """(index of the read, bytes of the body, decompressed)."""
        self.headers: dict[str, str] = {}
        self.headers_index: int | None = None
        self.status: int | None = None
        self.complete = False
        self.chunked = False
        self.until_close = False
        self.keep_alive = False
        """Whether the connection can be reused; known once `complete`."""
        self.broken: str | None = None

    def feed(self, index: int, data: bytes) -> None:
        """Add the bytes of read number `index`."""
        if self.complete and data.strip(b"\r\n"):
            self.keep_alive = False  # unrequested bytes: the next answer could not be told apart from them
        if self.broken or self.complete:
            return
        self._body_index = index
        self._head_bytes += len(data) if self.headers_index is None else 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break("the server switched to another protocol")
        except httptools.HttpParserError as error:
            http_2 = self.headers_index is None and data.startswith(_HTTP_2) and data[3:4] == b"\x04"
            self._break(
                "the server speaks HTTP/2 alone here (perhaps this is its port for gRPC)"
                if http_2
                else str(error) or type(error).__name__
            )
        if self.headers_index is None and self._head_bytes > MAX_HEADER_BYTES:
            self._break(f"no end of the headers within {MAX_HEADER_BYTES} bytes")

    def _break(self, reason: str) -> None:
        if self.complete:
            self.keep_alive = False
        elif not self.broken:
            self.broken = reason

    def release(self) -> None:
        """Break the reference cycle between parser and reader, so that neither waits for the garbage collector."""
        self._parser = None  # type: ignore[assignment]
        self.bodies = []

    def eof(self) -> None:
        """The server closed the connection."""
        if self.headers_index is not None and self.until_close and not self.broken:
            self.complete = True

    # httptools callbacks; it also calls them for bytes after the end of the message, which are ignored

    def on_message_begin(self) -> None:
        if self.complete:
            self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status is None:  # ignore trailers
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:  # an interim answer: the real one follows
            self.headers.clear()
            return
        self.status = status
        self.headers_index = self._body_index
        self.chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self.until_close = not self.chunked and "content-length" not in self.headers and status not in (204, 304)

        self.coding = self.headers.get("content-encoding", "").strip().lower().replace("identity", "")
        if self.coding:
            try:
                self._decompressor = Decompressor(self.coding)
            except Undecodable as error:
                self._break(str(error))

    def on_body(self, body: bytes) -> None:
        if self._decompressor is not None:
            body = self._decompressed(body)
        if body and not self.complete:
            self.bodies.append((self._body_index, body))

    def _decompressed(self, body: bytes) -> bytes:
        try:
            return present(self._decompressor).feed(body)
        except Undecodable as error:
            self._break(str(error))
            return b""

    def on_message_complete(self) -> None:
        if self.status is not None and not self.complete:
            self.complete = True
            self.keep_alive = not self.until_close and self._parser.should_keep_alive()
