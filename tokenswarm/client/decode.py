"""Turns timestamped bytes into an answer: pure, between the hot path and the row. `Decoder` can be fed while a stream
is still running (the watchdog does so, rarely, to see whether a token has arrived). The result does not depend on when
it is fed or how the bytes were split.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tokenswarm.base.numbers import without_halves
from tokenswarm.base.presence import present
from tokenswarm.client.answer import Answer
from tokenswarm.client.events import Event, NoEvent, merged, read_event
from tokenswarm.client.http import ResponseReader
from tokenswarm.client.refusals import error_kind, error_text
from tokenswarm.client.responses import as_chat_body
from tokenswarm.client.stream import (
    FAILED_FINISH,
    StreamDecoder,
    gave_up,
    split_thinking,
    without_markup,
)
from tokenswarm.client.tool_calls import CallsSoFar

_NS_PER_MS = 1e6
_ENDLESS_S = 1e9
"""Longer pauses in Retry-After are ignored, and so are NaN and infinity."""
_SHOWN_BYTES = 500
"""How much of an unexpected body to show."""
_STATUS_ERRORS = {
    401: "unauthorized",
    402: "quota_exceeded",
    403: "unauthorized",
    404: "not_found",
    429: "rate_limited",
    503: "overloaded",
}
_MAYBE_QUOTA = (400, 403, 429)
"""Statuses, besides 402, that can mean a used-up quota if the body says so."""


_NO_BODY = (204, 205)


def is_answer(status: int | None) -> bool:
    """Whether an HTTP status comes with an answer. Some gateways answer every POST with 201 or the like."""
    return status is not None and 200 <= status < 300 and status not in _NO_BODY


def status_error(status: int) -> str:
    """The error kind of an HTTP status that is not an answer's."""
    if status in _STATUS_ERRORS:
        return _STATUS_ERRORS[status]
    if 400 <= status < 500:
        return "rejected"
    return "server_error" if 500 <= status < 600 else "unexpected_status"


class Decoder:
    """Turns the body pieces of one HTTP answer into tokens with times, step by step.

    `stamps` maps the index of a read to its time of arrival in ns; it grows with the reads.
    """

    def __init__(self, reader: ResponseReader, stamps: list[int], streamed: bool) -> None:
        self._reader = reader
        self._stamps = stamps
        self._fed = 0
        self.streamed = streamed
        self.stream = StreamDecoder()

    def advance(self, limit: int | None = None) -> bool:
        """Decode at most `limit` more body pieces; True when there are none left."""
        bodies = self._reader.bodies
        if not self._is_stream():
            return True
        stop = len(bodies) if limit is None else min(len(bodies), self._fed + limit)
        feed, stamps = self.stream.feed, self._stamps
        for index, piece in bodies[self._fed : stop]:
            feed(stamps[index], piece)
        self._fed = stop
        return stop == len(bodies)

    def last_token_ns(self) -> int | None:
        """Arrival time of the latest token decoded so far, in ns."""
        return self.stream.token_stamps[-1] if self.stream.token_stamps else None

    def _is_stream(self) -> bool:
        return self.streamed and is_answer(self._reader.status)

    def conclude(self, answer: Answer, sent_ns: int, failure: tuple[str, str] | None, end_ns: int) -> Answer:
        """Fill `answer` with everything the bytes say, after the last of them has arrived. `failure` is the error that
        the connection saw; `end_ns` is when the last byte arrived.
        """
        reader = self._reader
        answer.http_status = reader.status
        answer.response_bytes = sum(len(piece) for _, piece in reader.bodies)
        if reader.headers_index is not None:
            answer.headers_ms = (self._stamps[reader.headers_index] - sent_ns) / _NS_PER_MS
            answer.simulated = reader.headers.get("x-simulated", "").lower() == "true"
            if reader.coding and not reader.broken:
                answer.oddities += (f"the answer is compressed ({reader.coding})",)
        if reader.status is not None and not is_answer(reader.status):
            self._refused(answer)
        elif self._is_stream():
            self._streamed(answer, sent_ns, failure, end_ns)
        elif failure is None:
            self._plain(answer, sent_ns, end_ns)
        said_done = self._is_stream() and self.stream.done
        if failure is not None and not said_done:  # after [DONE] errors of the connection do not matter
            answer.fail(*failure)
        return answer

    def _refused(self, answer: Answer) -> None:
        body = b"".join(piece for _, piece in self._reader.bodies)
        status = present(answer.http_status)
        detail, kind = error_text(body), status_error(status)
        if status in _MAYBE_QUOTA and error_kind(body) == "quota_exceeded":
            kind = "quota_exceeded"
        if 300 <= status < 400 and (location := self._reader.headers.get("location")):
            answer.location = location[:_SHOWN_BYTES]
            detail = f"a redirect to {answer.location}, which is not followed{f': {detail}' if detail else ''}"
        answer.fail(kind, detail)
        with contextlib.suppress(ValueError):  # absent, or a date: not needed to the second
            asked_s = float(self._reader.headers.get("retry-after", ""))
            answer.retry_after_s = asked_s if 0 <= asked_s < _ENDLESS_S else None

    def _streamed(self, answer: Answer, sent_ns: int, failure: tuple[str, str] | None, end_ns: int) -> None:
        stream = self.stream
        if failure is None:
            stream.finish(end_ns)
        answer.finish_reason, answer.model = stream.finish_reason, stream.model
        answer.usage = stream.usage or answer.usage
        stream.token_stamps = without_markup(stream.content, stream.token_stamps)
        answer.chunks = len(stream.token_stamps)
        answer.oddities += (*stream.odd, *(("an event behind [DONE]",) if stream.late else ()))
        self._channels(answer, sent_ns)
        answer.calls = stream.calls.whole()
        if stream.token_stamps:
            first, last = stream.token_stamps[0], stream.token_stamps[-1]
            answer.ttft_ms = (first - sent_ns) / _NS_PER_MS
            answer.last_token_ms = answer.e2e_ms = (last - sent_ns) / _NS_PER_MS
            answer.token_gaps_ms = list(_gaps_ms(stream.token_stamps))
        elif stream.end_stamp is not None:  # finished without text: it ends with its finish_reason
            answer.e2e_ms = (stream.end_stamp - sent_ns) / _NS_PER_MS
        if stream.error is not None:
            answer.fail(*stream.error)
        elif failure is None or stream.done:
            self._unfinished(answer)

    def _unfinished(self, answer: Answer) -> None:
        """Fail an answer that ended without finish_reason and [DONE], or with [DONE] but without a token."""
        stream = self.stream
        if stream.finish_reason is not None:
            return
        begins = (
            f"; {'among it' if stream.token_stamps else 'it begins with'} {stream.strange.decode('utf-8', 'replace')}"
            if stream.strange
            else ""
        )
        if not stream.events:
            self._no_stream(answer)
        elif not stream.done:
            answer.fail("truncated", f"the stream ended without finish_reason and without [DONE]{begins}")
        elif not stream.token_stamps and not answer.usage.completion_tokens:
            answer.fail("truncated", f"the stream held [DONE], but no token and no finish_reason{begins}")

    def _no_stream(self, answer: Answer) -> None:
        """A complete body without a single event: an error in plain JSON, or something else entirely."""
        body = b"".join(piece for _, piece in self._reader.bodies)
        if not body.strip():
            return answer.fail("truncated", "the answer has no body")
        event = self._document(answer, body)
        if event is not None and event.tells_error():
            return answer.fail(error_kind(body), error_text(body))
        return answer.fail(
            "malformed_event",
            "a stream was asked for, but one JSON document came: " + body[:_SHOWN_BYTES].decode("utf-8", "replace"),
        )

    def _document(self, answer: Answer, body: bytes) -> Event | None:
        """Parse a body that should be one JSON document. Fails the answer and returns None if it is not."""
        try:
            event, odd = read_event(as_chat_body(body) or body)
        except NoEvent as error:
            answer.fail("malformed_event", str(error))
            return None
        answer.oddities += tuple(odd)
        answer.model = event.model if isinstance(event.model, str) else ""
        return event

    def _channels(self, answer: Answer, sent_ns: int) -> None:
        """Separate reasoning from the answer, by the engine's fields or the model's own tags."""
        stream = self.stream
        thoughts, answer.text, answer_stamp = split_thinking(stream.content)
        answer.reasoning = "".join(piece for _, piece in stream.reasoning) + thoughts
        answer.reasoning_chunks = len(stream.reasoning)
        if thoughts:
            answer.reasoning_chunks += sum(answer_stamp is None or at < answer_stamp for at in stream.token_stamps)
        if answer_stamp is not None:
            answer.ttfo_ms = (answer_stamp - sent_ns) / _NS_PER_MS

    def _plain(self, answer: Answer, sent_ns: int, end_ns: int) -> None:
        body = b"".join(piece for _, piece in self._reader.bodies)
        event = self._document(answer, body)
        if event is None:
            return
        if event.tells_error() or not event.choices:
            return answer.fail(error_kind(body) if event.tells_error() else "malformed_event", error_text(body))
        choice = event.choices[0]
        answer.e2e_ms = (end_ns - sent_ns) / _NS_PER_MS
        answer.finish_reason = choice.finish_reason
        message = choice.message
        if message is not None:
            texts = [(end_ns, without_halves(text)) for text in message.texts()]
            thoughts, answer.text, _ = split_thinking(texts)
            answer.reasoning = without_halves(message.thought) + thoughts
            calls = CallsSoFar()
            message.gather(calls)
            answer.calls = calls.whole()
        else:
            answer.text = without_halves(choice.text or "")
        for usage in event.counts():
            answer.usage = merged(answer.usage, usage)
        if choice.finish_reason in FAILED_FINISH:
            answer.fail("engine_error", gave_up(choice.finish_reason))


def _gaps_ms(stamps: list[int]) -> Iterator[float]:
    previous = stamps[0]
    for stamp in stamps[1:]:
        yield (stamp - previous) / _NS_PER_MS
        previous = stamp
