"""Sends requests under gevent: keeps connections alive, enforces timeouts, and returns every outcome as an `Answer`.
`LLMClient.complete` blocks only the calling greenlet and raises no error of the network or the engine.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import gevent
import msgspec
from gevent import GreenletExit
from greenlet import greenlet

from tokenswarm.base.endpoint import CHAT, COMPLETIONS, RESPONSES, Endpoint
from tokenswarm.client.answer import Answer
from tokenswarm.client.decode import Decoder
from tokenswarm.client.http import request_head
from tokenswarm.client.looptime import LoopTime
from tokenswarm.client.stream import StreamDecoder
from tokenswarm.client.wire import Connection

MAX_IDLE_S = 4.0
"""Idle connections are not reused after this time: servers close theirs without warning, uvicorn after 5 s."""
_WATCH_INTERVAL_S = 0.05
_LOOKS_PER_LOOK_AGAIN = 4
"""How often to look for a [DONE] in an unusual place: it is noticed after 0.4 s at most."""
_DECODE_SLICE = 200
"""Body pieces to decode before other greenlets get a turn (about 1 ms)."""
_OWN_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
"""Too many open files, no port left to connect from, no memory for a socket."""
_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `gap_s` is the longest time between two tokens; `total_s` the longest whole request."""

    connect_s: float = 10.0
    first_token_s: float = 120.0
    gap_s: float = 60.0
    total_s: float = 600.0


_TOGETHER_NS, _MOST_READS = 20_000, 4


def both_clocks() -> tuple[float, int, int]:
    """The current time in unix seconds and in monotonic ns, and the largest possible gap between the two readings in
    ns. If the process was held between them, both are read again."""
    for _ in range(_MOST_READS):
        before_ns = time.monotonic_ns()
        wall = time.time()
        apart_ns = time.monotonic_ns() - before_ns
        if apart_ns < _TOGETHER_NS:
            break
    return wall, before_ns, apart_ns


SENT_AGAIN = "it was sent again on a new connection, for the server had closed the one that was kept open"
_STALE_S = 0.2
"""If a server closes a connection this soon after a request, it had closed before the request arrived."""


def _was_stale(answer: Answer, came: int, sent_ns: int) -> bool:
    """Whether a request was sent on a kept-alive connection that the server was just closing: the connection ended at
    once without a byte of an answer, or with the 408 that some servers send to idle connections. Other HTTP clients
    retry this too and do not count it as a failure."""
    closed = (answer.error == "reset_before_headers" and not came) or answer.http_status == 408
    return closed and time.monotonic_ns() - sent_ns < _STALE_S * _NS_PER_S


OTHER_MODEL = "it names another model than the one that was asked for"


def is_other_model(requested: object, answered: str) -> bool:
    """Whether an answer names a different model than the request did, for example because a gateway fell back to
    another one. Names that differ only in the folder or organization before them, a version or tag behind them, or case
    are the same."""
    if not isinstance(requested, str) or not requested or not answered:
        return False
    names = [name.lower().rstrip("/").rpartition("/")[2].partition(":")[0] for name in (requested, answered)]
    return not (names[0].startswith(names[1]) or names[1].startswith(names[0]))


def _with_model(answer: Answer, body: Mapping[str, object]) -> Answer:
    if answer.model and answer.model != body.get("model") and is_other_model(body.get("model"), answer.model):
        answer.oddities += (OTHER_MODEL,)
    return answer


def is_own_limit(error: OSError) -> bool:
    """Whether an error comes from a limit of this machine or process, not from the network or the server."""
    if isinstance(error, socket.gaierror):  # name lookups need files and sockets too
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as own:
            return own.errno in _OWN_LIMITS
        return False
    return error.errno in _OWN_LIMITS


class _Cancelled(BaseException):
    """Thrown into a greenlet that is waiting for a connection when the run ends."""


class _Exchange:
    """One request in flight, with what the watchdog needs to know about it."""

    __slots__ = ("check_ns", "connection", "decoder", "sent_ns", "streamed")

    def __init__(self, connection: Connection, sent_ns: int, streamed: bool, first_check_ns: int) -> None:
        self.connection = connection
        self.sent_ns = sent_ns
        self.streamed = streamed
        self.decoder = Decoder(connection.reader, connection.stamps, streamed)
        self.check_ns = first_check_ns

    def uncertainty_ns(self) -> int:
        """The largest possible error of the time to first token, in ns. If the process gets no CPU between taking the
        send time and sending, the request leaves late; this applies to every piece of a long request. And the first
        token may have arrived before its timestamp: the kernel timestamps a read's last byte, which is exact only for
        the last event in it. A token followed by others in the same read arrived at some time between the previous poll
        and the timestamp.
        """
        connection = self.connection
        sending_ns = connection.sending_ns
        stamp = self.decoder.stream.token_stamps[0]
        index = connection.stamps.index(stamp)
        if index not in connection.own_stamps and self._ends_with_first_token(index):
            return sending_ns
        return sending_ns + max(0, stamp - max(connection.earliest[index], self.sent_ns))

    def _ends_with_first_token(self, index: int) -> bool:
        """Whether the event with the first token is the only event with text in a read, and its last."""
        pieces = [piece for read, piece in self.connection.reader.bodies if read == index]
        if len(pieces) == 1 and pieces[0].startswith(b"data:") and pieces[0].endswith(b"\n\n"):
            return pieces[0].count(b"data:") == 1  # usual: the token is in this piece, as its time is this read's
        alone = StreamDecoder()
        for number, piece in enumerate(pieces):
            alone.feed(number, piece)
        return alone.token_stamps == [len(pieces) - 1] and pieces[-1].count(b"data:") == 1


class LLMClient:
    """Sends requests to one OpenAI-compatible endpoint, given as a base URL or as an `Endpoint`.

    The API key goes into the Authorization header and nowhere else.
    """

    def __init__(
        self,
        endpoint: str | Endpoint,
        timeouts: Timeouts,
        api_key: str | None = None,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self.endpoint = Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self.timeouts = timeouts
        self._tls_context = tls_context or (self.endpoint.form.tls_context() if self.endpoint.tls else None)
        headers = {
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            **self.endpoint.form.let_in(api_key),
        }
        self._heads = {path: request_head(self.endpoint, path, headers) for path in (CHAT, COMPLETIONS, RESPONSES)}
        self._idle: deque[Connection] = deque()
        self._lingering: deque[Connection] = deque()
        """Connections whose answer has ended but whose HTTP body has not (yet)."""
        self._in_flight: dict[_Exchange, None] = {}
        self._connecting: dict[greenlet, None] = {}
        self._cancelled = False
        self._cut_off: dict[greenlet, Answer] = {}
        self._encode = msgspec.json.Encoder().encode
        self.loop_time = LoopTime()
        self._watchdog = gevent.spawn(self._watch)

    @property
    def in_flight(self) -> int:
        """Requests that were sent, or are waiting for a connection, and have no outcome yet."""
        return len(self._in_flight) + len(self._connecting)

    def complete(
        self, body: Mapping[str, object], request_id: str, path: str = CHAT, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request and wait for the outcome. `body["stream"]` says whether the answer is to be streamed."""
        payload = self._encode(body)
        extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        request = b"%bX-Request-Id: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
            self._heads[path],
            request_id.encode("latin-1", "replace"),
            extra.encode("latin-1"),
            len(payload),
            payload,
        )
        answer, streamed = Answer(), bool(body.get("stream"))
        connection = self._reusable()
        answer.sent_at, sent_ns, apart_ns = both_clocks()
        if connection is not None:
            came = self._exchange(connection, request, streamed, answer, sent_ns, sent_ns)
            if self._cancelled or not _was_stale(answer, came, sent_ns):
                return _with_model(answer, body)
            answer = Answer(sent_at=answer.sent_at, oddities=(SENT_AGAIN,))
        connection = self._connect(answer, sent_ns)
        if connection is None:
            return answer
        self._exchange(connection, request, streamed, answer, sent_ns, time.monotonic_ns() - apart_ns)
        return _with_model(answer, body)

    def cut_off(self) -> Answer | None:
        """What was known about the request that this greenlet was waiting for when it was killed, or None."""
        return self._cut_off.pop(gevent.getcurrent(), None)

    def cancel_all(self) -> int:
        """End everything in flight as `cancelled`; no further request is sent. Returns how many there were."""
        self._cancelled = True
        exchanges, connecting = list(self._in_flight), list(self._connecting)
        for exchange in exchanges:
            exchange.connection.give_up("cancelled", "")
        for attempt in connecting:
            gevent.get_hub().loop.run_callback(self._stop_connecting, attempt)
        return len(exchanges) + len(connecting)

    def _stop_connecting(self, attempt: greenlet) -> None:
        if attempt in self._connecting:  # otherwise it has just ended by itself
            attempt.throw(_Cancelled())

    def close(self) -> None:
        """Close idle connections and stop watching."""
        self._watchdog.kill(block=False)
        self.loop_time.close()
        while self._idle or self._lingering:
            (self._idle or self._lingering).pop().close()

    # ---- connections

    def _reusable(self) -> Connection | None:
        now = time.monotonic()
        if self._lingering:
            self._sort_out(now)
        while self._idle:
            connection = self._idle.pop()  # the youngest: old ones may be about to be closed
            if now - connection.idle_since < MAX_IDLE_S and connection.usable():
                return connection
            connection.close()
        return None

    def _connect(self, answer: Answer, sent_ns: int) -> Connection | None:
        self._connecting[gevent.getcurrent()] = None
        timeout = gevent.Timeout(self.timeouts.connect_s)
        try:
            with timeout:
                connection = Connection.open(self.endpoint, self._tls_context, self.loop_time)
        except _Cancelled:
            answer.status = "cancelled"
        except gevent.Timeout as error:
            if error is not timeout:
                raise  # not ours
            answer.fail("connect_timeout", f"no connection to {self.endpoint.url} in {self.timeouts.connect_s:g} s")
        except ssl.SSLError as error:
            answer.fail("tls_failed", str(error))
        except ConnectionRefusedError as error:
            answer.fail("connect_refused", f"{self.endpoint.url}: {error.strerror}")
        except OSError as error:
            kind = "generator_limit" if is_own_limit(error) else "connect_failed"
            answer.fail(kind, f"{self.endpoint.url}: {error}")
        else:
            answer.connect_ms = (time.monotonic_ns() - sent_ns) / _NS_PER_MS
            return connection
        finally:
            del self._connecting[gevent.getcurrent()]
        return None

    def _release(self, connection: Connection) -> None:
        if connection.lingering:
            connection.idle_since = time.monotonic()
            self._lingering.append(connection)
        elif connection.reusable:
            connection.rest()
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    def _sort_out(self, now: float) -> None:
        """Reuse the lingering connections whose body has ended, and close those that have waited too long."""
        for connection in [self._lingering.popleft() for _ in range(len(self._lingering))]:
            if not connection.lingering:
                self._release(connection)
            elif now - connection.idle_since < MAX_IDLE_S:
                self._lingering.append(connection)
            else:
                connection.close()

    # ---- one exchange

    def _exchange(
        self, connection: Connection, request: bytes, streamed: bool, answer: Answer, sent_ns: int, ready_ns: int
    ) -> int:
        """Fill in the answer; returns how many bytes of it came."""
        connection.begin()
        limits = self.timeouts
        first_check_ns = sent_ns + int(min(limits.first_token_s, limits.gap_s, limits.total_s) * _NS_PER_S)
        exchange = _Exchange(connection, sent_ns, streamed, first_check_ns)
        self._in_flight[exchange] = None
        try:
            if self._cancelled:
                connection.give_up("cancelled", "")
            try:
                connection.send(request, ready_ns)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the server may have answered before it closed: the watcher reads that answer first
            except OSError as error:
                connection.give_up("generator_limit" if is_own_limit(error) else "reset_before_headers", str(error))
            connection.wait()
            self._conclude(exchange, answer)
            return connection.bytes_in
        except GreenletExit:  # the user was killed; keep what was received until then
            connection.give_up("cancelled", "")
            self._conclude(exchange, answer)
            self._cut_off[gevent.getcurrent()] = answer
            raise
        except BaseException:
            connection.give_up("cancelled", "")
            raise
        finally:
            del self._in_flight[exchange]
            self._release(connection)

    def _conclude(self, exchange: _Exchange, answer: Answer) -> None:
        connection, decoder = exchange.connection, exchange.decoder
        connection.catch_up()
        answer.read_lag_max_ms = connection.lag_ns / _NS_PER_MS if connection.lag_ns >= 0 else None
        while not decoder.advance(_DECODE_SLICE):
            self.loop_time.yield_to_poll()
        failure = connection.failure
        end_ns = connection.stamps[-1] if connection.stamps else exchange.sent_ns
        if failure is not None and failure[0] == "cancelled" and not decoder.stream.done:
            decoder.conclude(answer, exchange.sent_ns, failure, end_ns)
            answer.status, answer.error, answer.error_detail = "cancelled", None, ""
        else:
            decoder.conclude(answer, exchange.sent_ns, failure, end_ns)
        if decoder.stream.late:
            connection.reader.keep_alive = False
        if answer.ttft_ms is not None:
            answer.ttft_uncertainty_ms = exchange.uncertainty_ns() / _NS_PER_MS

    # ---- timeouts

    def _watch(self) -> None:
        """Check the deadlines of requests in flight. Decodes an answer only when its deadline has come."""
        for look in itertools.count():
            gevent.sleep(_WATCH_INTERVAL_S)
            if look % _LOOKS_PER_LOOK_AGAIN == 0:
                for exchange in self._in_flight:
                    exchange.connection.look_again()
            now = time.monotonic_ns()
            for exchange in [exchange for exchange in self._in_flight if exchange.check_ns <= now]:
                self._check(exchange, now)

    def _check(self, exchange: _Exchange, now: int) -> None:
        timeouts, sent_ns = self.timeouts, exchange.sent_ns
        connection = exchange.connection
        total_ns = sent_ns + int(timeouts.total_s * _NS_PER_S)
        if now >= total_ns:
            return connection.give_up("timeout_total", f"not finished after {timeouts.total_s:g} s")
        if not exchange.streamed:
            exchange.check_ns = total_ns
            return None
        connection.catch_up()
        exchange.decoder.advance()
        last_token_ns = exchange.decoder.last_token_ns()
        if last_token_ns is None:
            if now >= sent_ns + int(timeouts.first_token_s * _NS_PER_S):
                return connection.give_up("timeout_first_token", f"no token after {timeouts.first_token_s:g} s")
            # the first token may arrive right now, and the gap after it is limited too
            exchange.check_ns = min(
                sent_ns + int(timeouts.first_token_s * _NS_PER_S), now + int(timeouts.gap_s * _NS_PER_S)
            )
        elif now >= last_token_ns + int(timeouts.gap_s * _NS_PER_S):
            return connection.give_up("timeout_gap", f"no further token for {timeouts.gap_s:g} s")
        else:
            exchange.check_ns = last_token_ns + int(timeouts.gap_s * _NS_PER_S)
        exchange.check_ns = min(exchange.check_ns, total_ns)
        return None
