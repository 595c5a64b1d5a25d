"""Bytes to HTTP: one request's head and body as bytes, and an answer's bytes back into status, headers and body."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import httptools

from tokenswarm.base.masking import shown_url
from tokenswarm.client.coding import Decompressor, Undecodable

MAX_HEADER_BYTES = 256 * 1024
"""An answer whose head is longer than this is not HTTP from an inference engine."""


class Endpoint:
    """A parsed base URL: `http://host:port/prefix` (the API's `/v1` is appended unless the prefix ends with it).

    Raises ValueError, with a sentence, when the URL is not one.
    """

    __slots__ = ("host", "host_header", "port", "prefix", "tls", "url")

    def __init__(self, url: str) -> None:
        shown = shown_url(url)
        try:
            parts = urlsplit(url if "//" in url else "http://" + url)
        except ValueError:  # it shows the host, which may hold a password
            raise ValueError(f"'{shown}' is not an endpoint") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"'{shown}' is not an endpoint; expected something like http://127.0.0.1:8000")
        if parts.username or parts.password:
            raise ValueError("an endpoint must not hold a user name or password; give the key as API_KEY")
        self.tls = parts.scheme == "https"
        self.host = parts.hostname
        try:
            self.port = (443 if self.tls else 80) if parts.port is None else parts.port
            if not self.port:
                raise ValueError
        except ValueError:
            raise ValueError(f"'{shown}' has no usable port; expected something like http://127.0.0.1:8000") from None
        path = parts.path.rstrip("/")
        if not all("!" <= character <= "~" for character in self.host + path):
            raise ValueError(f"'{shown}' holds a blank or a character that is not ASCII; write it percent-encoded")
        self.prefix = path if path.endswith("/v1") else path + "/v1"
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.host_header = name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"
        self.url = f"{parts.scheme}://{self.host_header}{path}"

    @property
    def api_url(self) -> str:
        """Where the API is: the base URL with its `/v1`."""
        return f"{'https' if self.tls else 'http'}://{self.host_header}{self.prefix}"


def request_head(endpoint: Endpoint, path: str, headers: Mapping[str, str]) -> bytes:
    """The constant part of a POST head; append `Content-Length`, per-request headers and the blank line."""
    lines = [f"POST {endpoint.prefix}{path} HTTP/1.1", f"Host: {endpoint.host_header}",
             "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header may not hold a line break")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


class ResponseReader:
    """Takes an HTTP/1.1 answer in pieces, in any split, and keeps the body with the index of the read it came in.

    Never raises: `broken` says what was wrong. `complete` is True once the message has ended by its own framing;
    a body without framing ends with `eof()`.
    """

    __slots__ = ("_body_index", "_decompressor", "_head_bytes", "_parser", "bodies", "broken", "chunked", "coding",
                 "complete", "headers", "headers_index", "keep_alive", "status", "until_close")

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body_index = 0
        self._head_bytes = 0
        self._decompressor: Decompressor | None = None
        self.coding = ""
        """How the body is compressed; "" where it is not."""
        self.bodies: list[tuple[int, bytes]] = []
        """(index of the read, bytes of the body, decompressed)."""
        self.headers: dict[str, str] = {}
        self.headers_index: int | None = None
        self.status: int | None = None
        self.complete = False
        self.chunked = False
        self.until_close = False
        self.keep_alive = False
        """Whether another request may follow on this connection; known once `complete`."""
        self.broken: str | None = None

    def feed(self, index: int, data: bytes) -> None:
        """Add the bytes of read number `index`."""
        if self.complete and data.strip(b"\r\n"):
            self.keep_alive = False  # bytes that nobody asked for: the next answer could not be told from them
        if self.broken or self.complete:
            return
        self._body_index = index
        self._head_bytes += len(data) if self.headers_index is None else 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break("the server switched to another protocol")
        except httptools.HttpParserError as error:
            self._break(str(error) or type(error).__name__)
        if self.headers_index is None and self._head_bytes > MAX_HEADER_BYTES:
            self._break(f"no end of the headers within {MAX_HEADER_BYTES} bytes")

    def _break(self, reason: str) -> None:
        if self.complete:
            self.keep_alive = False
        elif not self.broken:
            self.broken = reason

    def release(self) -> None:
        """End of use: the parser and its reader refer to each other, and would wait for the garbage collector."""
        self._parser = None
        self.bodies = []

    def eof(self) -> None:
        """The server closed the connection."""
        if self.headers_index is not None and self.until_close and not self.broken:
            self.complete = True

    # httptools callbacks; it goes on behind the end of the message, where nothing is ours

    def on_message_begin(self) -> None:
        if self.complete:
            self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status is None:  # a trailer is no header
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
            return self._decompressor.feed(body)
        except Undecodable as error:
            self._break(str(error))
            return b""

    def on_message_complete(self) -> None:
        if self.status is not None and not self.complete:
            self.complete = True
            self.keep_alive = not self.until_close and self._parser.should_keep_alive()
