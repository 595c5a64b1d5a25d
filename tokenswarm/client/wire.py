"""The hot path: one gevent I/O watcher per connection, which keeps bytes and timestamps. Nothing is decoded here.

While an answer streams, `_readable` runs in the event loop once per arrival: no greenlet switch, one system call. On
Linux the kernel timestamps packets on arrival, so an answer's times are right even if this process was busy at that
moment. Timestamps are monotonic nanoseconds. Reads are kept as bytes and plain integers in flat lists: with
containers, the garbage collector would visit every token in flight again and again.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import re
import socket as patched_socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Protocol

import gevent
from gevent.hub import Waiter

from tokenswarm.base.endpoint import Endpoint
from tokenswarm.base.presence import present
from tokenswarm.client.http import ResponseReader
from tokenswarm.client.looptime import LoopTime
from tokenswarm.client.tunnel import open_tunnel

READ_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Larger answers fail, to protect the load generator's memory."""

_SO_TIMESTAMPNS = 35  # Linux, <asm-generic/socket.h>; the socket module does not name it
_unpack_timespec = struct.Struct("@qq").unpack
_ANCILLARY_BYTES = 64
_MAX_PLAUSIBLE_LAG_NS = 60_000_000_000
_CLOCKS_APART_NS = 100_000
"""By how much the kernel's clock and ours may disagree."""
_BUFFER = memoryview(bytearray(READ_BYTES))
"""Shared by all reads, since none is interrupted; one buffer per connection would fragment the heap."""
_BUFFERS = (_BUFFER,)
_DONE = b"[DONE]"
_ENDS = (b"\r\n\r\n", _DONE + b"\n\n\r\n")
"""How a chunked answer ends (`0`, perhaps trailers, a blank line), and how the chunk with [DONE] ends. Searching
every read for [DONE] would cost more; see `look_again`."""
_DONE_EVENT = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\][ \t]*[\r\n]")
"""Text in a JSON string has no line ends, so a match is the event, never something that a model wrote."""
_LEAST_BYTES = 32
"""A shorter read may be the rest of a [DONE] or of a body's end that was split."""
_END_GRACE_S = 0.002
"""How long to wait, after [DONE], for the end of the body. Usually both arrive together, and the connection can be
reused at once."""
_READ, _WRITE = 1, 2
SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


class LoopTimer(Protocol):
    """The type of a timer of gevent's event loop, which is untyped."""

    def start(self, callback: Callable[[], object]) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Connection:
    """A connected, non-blocking socket, plain or TLS, and the watcher that reads from it.

    One `exchange` at a time. All methods but `open` run without blocking the loop.
    """

    __slots__ = (
        "_cheap_end",
        "_fed",
        "_grace",
        "_incoming",
        "_loop",
        "_loop_time",
        "_outgoing",
        "_reads_seen",
        "_recvmsg_into",
        "_tls",
        "_waiter",
        "_watcher",
        "bodies_at_done",
        "bytes_in",
        "closed",
        "earliest",
        "failure",
        "idle_since",
        "lag_ns",
        "own_stamps",
        "reader",
        "reads",
        "sending_ns",
        "socket",
        "stamps",
    )

    def __init__(self, sock: _socket.socket, loop_time: LoopTime) -> None:
        self.socket = sock
        self._loop_time = loop_time
        self._loop = gevent.get_hub().loop
        self._watcher = self._loop.io(sock.fileno(), _READ)
        self._recvmsg_into = sock.recvmsg_into
        self._tls: ssl.SSLObject | None = None
        self._incoming: ssl.MemoryBIO | None = None
        self._outgoing: ssl.MemoryBIO | None = None
        self._waiter: Waiter | None = None
        self._grace: LoopTimer | None = None
        self.closed = False
        self.idle_since = 0.0
        self.sending_ns = 0
        """How long the request may have been held here for lack of CPU, over all its pieces."""
        self._forget()

    def _forget(self) -> None:
        self.reads: list[bytes] = []
        self.stamps: list[int] = []
        """When the last byte of each read arrived."""
        self.earliest: list[int] = []
        """Earliest possible arrival of the read's first byte (see LoopTime)."""
        self.lag_ns = -1
        """Longest time that received bytes waited to be read; -1 without kernel timestamps."""
        self.own_stamps: set[int] = set()
        """Reads without a reliable kernel timestamp: their bytes may have arrived earlier."""
        self.reader = ResponseReader()
        self._fed = self._reads_seen = 0
        self.bytes_in = 0
        self._cheap_end = False
        self.failure: tuple[str, str] | None = None
        self.bodies_at_done: int | None = None
        """How many pieces the body had when [DONE] was seen; None before."""

    # ---- set-up

    @classmethod
    def open(cls, endpoint: Endpoint, tls_context: ssl.SSLContext | None, loop_time: LoopTime) -> Connection:
        """Connect (blocking only the calling greenlet). Raises OSError or ssl.SSLError."""
        last_error: OSError | None = None
        proxy = endpoint.form.proxy
        host, port = (endpoint.host, endpoint.port) if proxy is None else (proxy.host, proxy.port)
        for family, kind, protocol, _, address in patched_socket.getaddrinfo(host, port, type=_socket.SOCK_STREAM):
            sock = _socket.socket(family, kind, protocol)
            try:
                cls._connect(sock, address)
                connection = cls(sock, loop_time)
                if endpoint.tls:
                    if proxy is not None:
                        open_tunnel(sock, endpoint, proxy, _wait)
                    connection._handshake(endpoint, tls_context or endpoint.form.tls_context())
                return connection
            except OSError as error:
                sock.close()
                last_error = error
            except BaseException:  # a timeout or the end of the run: close the socket
                sock.close()
                raise
        raise last_error or OSError(f"no address found for {host}")

    @staticmethod
    def _connect(sock: _socket.socket, address: SocketAddress) -> None:
        sock.setblocking(False)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # without it, the time of reading is used as the time of arrival
            sock.setsockopt(_socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        error = sock.connect_ex(address)
        if error:
            if error not in (errno.EINPROGRESS, errno.EWOULDBLOCK):
                raise OSError(error, os.strerror(error))
            _wait(sock, _WRITE)
            error = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))

    def _handshake(self, endpoint: Endpoint, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=endpoint.host)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush_tls()
                _wait(self.socket, _READ)
                data = self.socket.recv(READ_BYTES)
                if not data:
                    raise ssl.SSLError("the server closed the connection during the TLS handshake") from None
                self._incoming.write(data)
        self._flush_tls()

    def _flush_tls(self) -> None:
        data = present(self._outgoing).read()
        if data:
            self._send_all(data, time.monotonic_ns())

    # ---- one exchange

    def usable(self) -> bool:
        """Whether this idle connection is still open and has no unexpected data."""
        if self.closed:
            return False
        try:
            self.socket.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def begin(self) -> None:
        """Start reading an answer. One exchange at a time; call `rest` between two."""
        self.sending_ns = 0
        self._watcher.start(self._readable if self._tls is None else self._readable_tls)

    def rest(self) -> None:
        """Free the last exchange's bytes now, without waiting for the garbage collector."""
        self.reader.release()
        self._forget()

    def send(self, data: bytes, ready_ns: int) -> None:
        """Write the whole request, or until the exchange is over. `ready_ns`: when the request was ready to be sent.
        Raises OSError."""
        if self._tls is not None:
            self._tls.write(data)
            data = present(self._outgoing).read()
        self._send_all(data, ready_ns)

    def _send_all(self, data: bytes, could_ns: int) -> None:
        """`could_ns`: since when the next piece could have been sent. After waiting for room in the kernel's buffer,
        that is the previous poll at the latest."""
        view = memoryview(data)
        while view and self.failure is None:
            if self.reader.complete:
                self.reader.keep_alive = False  # already refused: the server would take the rest for another request
                return
            try:
                sent = self.socket.send(view)
            except BlockingIOError:
                full_ns = time.monotonic_ns()
                self.sending_ns += max(0, full_ns - could_ns)
                self._wait_for_room()
                could_ns = max(full_ns, self._loop_time.earliest_ns)
                continue
            sent_ns = time.monotonic_ns()
            self.sending_ns += max(0, sent_ns - could_ns)
            could_ns = sent_ns
            view = view[sent:]

    def _wait_for_room(self) -> None:
        """Sleep until more can be sent, or the exchange is over."""
        watcher = self._loop.io(self.socket.fileno(), _WRITE)
        self._waiter = waiter = Waiter()
        watcher.start(waiter.switch, None)
        try:
            waiter.get()
        finally:
            self._waiter = None
            watcher.stop()
            watcher.close()

    def wait(self) -> None:
        """Let the calling greenlet sleep until the answer has ended or `give_up` was called.

        [DONE] ends an answer, also where the server leaves its body open; see `lingering`.
        """
        if self.failure is None and not self.reader.complete:
            self._waiter = Waiter()
            try:
                self._waiter.get()
            finally:
                self._waiter = None

    def give_up(self, kind: str, detail: str) -> None:
        """End the exchange from outside (a timeout, the end of the run). The connection is of no further use."""
        if self.failure is None and not self.catch_up().complete and self.failure is None:
            self._end((kind, detail))

    def catch_up(self) -> ResponseReader:
        """The HTTP reader, brought up to date with every byte received so far. What has turned out to be over ends."""
        self._feed()
        if self.failure is None and self.reader.broken:
            self._end(("malformed_http", self.reader.broken))
        elif self.reader.complete and self._waiter is not None:
            self._end(None)
        return self.reader

    @property
    def lingering(self) -> bool:
        """Whether the answer is over but its body is not: the connection is of use only once that has ended, too."""
        return self.bodies_at_done is not None and self.failure is None and not self.reader.complete

    @property
    def reusable(self) -> bool:
        """Whether the exchange left the connection as it should be: at an end, and nothing behind [DONE]."""
        if self.failure is not None or not self.reader.complete or not self.reader.keep_alive:
            return False
        return self.bodies_at_done is None or not any(
            piece.strip() for _, piece in self.reader.bodies[self.bodies_at_done :]
        )

    def close(self) -> None:
        self.reader.release()
        self._end_grace()
        if not self.closed:
            self.closed = True
            self._watcher.stop()
            self._watcher.close()
            self.socket.close()

    # ---- the hot path

    def _readable(self) -> None:
        try:
            size, ancillary, _, _ = self._recvmsg_into(_BUFFERS, _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        data = bytes(_BUFFER[:size])
        # In this order: if the process is held in between, the timestamp is late, never before its cause.
        self._keep(data, ancillary, time.time_ns(), time.monotonic_ns())
        self.bytes_in += len(data)
        if (
            self._cheap_end
            and len(data) >= _LEAST_BYTES
            and not data.endswith(_ENDS)
            and self.bytes_in < MAX_BODY_BYTES
        ):
            return
        self._look(data)

    def _keep(self, data: bytes, ancillary: list[tuple[int, int, bytes]], realtime_ns: int, monotonic_ns: int) -> None:
        """Keep a read with the moment at which its last byte arrived."""
        stamps, lag = self.stamps, -1
        if ancillary:
            seconds, nanoseconds = _unpack_timespec(ancillary[0][2])  # the only kind that was asked for
            lag = realtime_ns - seconds * 1_000_000_000 - nanoseconds
        if 0 <= lag < _MAX_PLAUSIBLE_LAG_NS:
            monotonic_ns -= lag
            if lag > self.lag_ns:
                self.lag_ns = lag
            apart_ns = monotonic_ns + lag - realtime_ns - self._loop_time.wall_behind_ns
            if not -_CLOCKS_APART_NS < apart_ns < _CLOCKS_APART_NS:
                self.own_stamps.add(len(stamps))  # held between the two readings, or the wall clock was stepped
        else:  # no timestamp (the segment came before they were switched on), or the wall clock was stepped
            self.own_stamps.add(len(stamps))
        if stamps and monotonic_ns < stamps[-1]:  # bytes of a connection arrive in order
            if stamps[-1] - monotonic_ns > _CLOCKS_APART_NS:
                self.own_stamps.add(len(stamps))
            monotonic_ns = stamps[-1]
        self.reads.append(data)
        stamps.append(monotonic_ns)
        self.earliest.append(self._loop_time.earliest_ns)
        self._loop_time.reads += 1

    def _readable_tls(self) -> None:
        try:
            size, ancillary, _, _ = self._recvmsg_into(_BUFFERS, _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        data = bytes(_BUFFER[:size])
        realtime_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
        plain = b""
        if data:
            present(self._incoming).write(data)
            plain, closed = self._decrypt()
            if not plain and not closed:
                return
        self._keep(plain, ancillary, realtime_ns, monotonic_ns)
        self.bytes_in += len(plain)
        self._look(plain)

    def _decrypt(self) -> tuple[bytes, bool]:
        parts, tls = [], present(self._tls)
        try:
            while part := tls.read(READ_BYTES):
                parts.append(part)
        except ssl.SSLWantReadError:
            return b"".join(parts), False
        except ssl.SSLError:
            pass
        return b"".join(parts), True

    # ---- the end of an answer

    def _look(self, data: bytes) -> None:
        """The rare cases: headers, a body with a length, a possible end, or the close of the connection."""
        self._feed()
        reader = self.reader
        if not data:
            reader.eof()
            if not reader.complete and not reader.broken:
                self._end(
                    (
                        "reset_before_headers" if reader.headers_index is None else "reset_mid_stream",
                        "the server closed the connection before the answer was complete",
                    )
                )
                return
        if reader.complete:
            self._end(None)
        elif reader.broken:
            self._end(("malformed_http", reader.broken))
        elif self.bytes_in >= MAX_BODY_BYTES:
            self._end(("too_large", f"the answer is larger than {MAX_BODY_BYTES >> 20} MiB"))
        else:
            self._cheap_end = reader.chunked and reader.headers_index is not None and not reader.coding
            if len(data) < _LEAST_BYTES or _DONE in data or reader.coding:
                self._look_for_done()

    def look_again(self) -> None:
        """Look for an end in an unusual place, such as before other bytes, if nothing has arrived since the last
        such look."""
        reads = len(self.reads)
        if reads == self._reads_seen and self._cheap_end and not self.catch_up().complete and self.failure is None:
            self._look_for_done()
        self._reads_seen = 0 if reads == self._reads_seen else reads  # the next look only takes note

    def _look_for_done(self) -> None:
        """If the body contains [DONE], wait only a moment longer for its end."""
        bodies = self.reader.bodies
        if self.bodies_at_done is not None or self.reader.complete:
            return
        recent = bodies[-_LEAST_BYTES:]
        before = b"" if len(recent) == len(bodies) else b"."  # else it may begin in the middle of a line
        if bodies and _DONE_EVENT.search(before + b"".join(piece for _, piece in recent)):
            self.bodies_at_done = len(bodies)
            self._grace = self._loop.timer(_END_GRACE_S)
            self._grace.start(self._wake)

    def _end_grace(self) -> None:
        if self._grace is not None:
            self._grace.stop()
            self._grace.close()
            self._grace = None

    def _feed(self) -> None:
        reads, reader = self.reads, self.reader
        for index in range(self._fed, len(reads)):
            reader.feed(index, reads[index])
        self._fed = len(reads)

    def _lost(self, error: OSError) -> None:
        self._feed()
        kind = "reset_before_headers" if self.reader.headers_index is None else "reset_mid_stream"
        self._end((kind, str(error)))

    def _end(self, failure: tuple[str, str] | None) -> None:
        self._watcher.stop()
        self.failure = failure
        self._wake()

    def _wake(self) -> None:
        self._end_grace()
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            # Not switched to directly: first let the loop read what else has arrived.
            self._loop_time.schedule_wakeup(waiter)


def _wait(sock: _socket.socket, events: int) -> None:
    hub = gevent.get_hub()
    watcher = hub.loop.io(sock.fileno(), events)
    try:
        hub.wait(watcher)
    finally:
        watcher.close()
