"""Opens a tunnel through an HTTP proxy to a TLS server."""

from __future__ import annotations

import _socket
from collections.abc import Callable

from tokenswarm.base.endpoint import Endpoint, Proxy

_MOST_HEAD_BYTES = 64 * 1024
_READ, _WRITE = 1, 2
_SHOWN_CHARS = 100


def open_tunnel(
    sock: _socket.socket, endpoint: Endpoint, proxy: Proxy, wait: Callable[[_socket.socket, int], None]
) -> None:
    """Ask the proxy at the other end of a non-blocking socket to connect to the endpoint. wait(socket, 1 to read or 2
    to write) sleeps until that can be done. Raises OSError if the proxy refuses."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    lines = [f"CONNECT {host}:{endpoint.port} HTTP/1.1", f"Host: {host}:{endpoint.port}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    request = memoryview(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    while request:
        try:
            request = request[sock.send(request) :]
        except BlockingIOError:
            wait(sock, _WRITE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):  # byte by byte: what follows belongs to the server
        try:
            byte = sock.recv(1)
        except BlockingIOError:
            wait(sock, _READ)
            continue
        if not byte or len(head) > _MOST_HEAD_BYTES:
            raise OSError(f"the proxy {proxy.url} closed the connection without an answer")
        head += byte
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    if len(words) < 2 or not words[1].startswith("2"):
        raise OSError(f"the proxy {proxy.url} refused the connection: {' '.join(words[1:])[:_SHOWN_CHARS]}")
