"""Decodes a body: server-sent events, deltas, channels, usage, the end or the error. Pure, and not on the hot path. The
decoder takes pieces of any size with their arrival times; an event's time is that of its last byte. It never raises on
what an engine sends: faults become error kinds.
"""

from __future__ import annotations

from tokenswarm.base.numbers import without_halves
from tokenswarm.client.answer import Answer, Usage
from tokenswarm.client.events import Choice, NoEvent, merged, read_event
from tokenswarm.client.refusals import error_kind, error_text
from tokenswarm.client.responses import as_chat_event
from tokenswarm.client.tool_calls import CallsSoFar

_THINK_OPEN, _THINK_CLOSE = "<think>", "</think>"
FAILED_FINISH = ("abort", "error")
"""finish_reason values by which an engine says that it gave up on the request."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NO_DATA = (b":", b"id", b"retry")
_SHOWN_BYTES = 120


_Pattern = tuple[bytes, bytes, list[tuple[int, str]]]
"""The bytes before and after an event's text, and the channel that the text belongs to."""
_MAX_LESSONS = 16
"""After this many events, stop looking for a pattern: the engine's events differ in more than their text."""


def _plain_text(inside: bytes) -> str:
    """The text of a JSON string without its quotes; "" if it is empty or holds anything that needs decoding."""
    try:
        text = inside.decode()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() and '"' not in text and "\\" not in text else ""


def gave_up(finish_reason: str) -> str:
    """The sentence for a finish_reason of FAILED_FINISH."""
    return f"the engine aborted the request: finish_reason {finish_reason}"


class StreamDecoder:
    """Decodes an event stream. `stamp` is any comparable time; it comes back unchanged in the lists below.

    After feeding: `token_stamps` has one entry for each event with text in any channel, `content` and
    `reasoning` are (stamp, text) pieces, `error` is (kind, detail) or None, `done` says `[DONE]` was seen, `events`
    that there was any event at all.
    """

    __slots__ = (
        "_data",
        "_half",
        "_lessons",
        "_line",
        "_named_error",
        "_pattern",
        "_skip_lf",
        "calls",
        "content",
        "done",
        "end_stamp",
        "error",
        "events",
        "finish_reason",
        "late",
        "model",
        "odd",
        "reasoning",
        "strange",
        "token_stamps",
        "usage",
    )

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._half = ""
        self._named_error = False
        self._skip_lf = False
        self._pattern: _Pattern | None = None
        self._lessons = _MAX_LESSONS
        self.token_stamps: list[int] = []
        self.content: list[tuple[int, str]] = []
        self.reasoning: list[tuple[int, str]] = []
        self.calls = CallsSoFar()
        """Tool calls; their text is in `content` too."""
        self.finish_reason: str | None = None
        self.end_stamp: int | None = None
        self.usage: Usage | None = None
        self.done = False
        self.late = False
        """Whether an event came after [DONE]."""
        self.events = False
        self.model = ""
        """The answering model, from the first event that names it."""
        self.odd: dict[str, None] = {}
        """Oddities of the events, each once."""
        self.strange = b""
        """The beginning of the first unknown event or line."""
        self.error: tuple[str, str] | None = None

    def feed(self, stamp: int, piece: bytes) -> None:
        """Add a piece of the body that arrived at `stamp`."""
        if self._pattern is not None:
            before, after, channel = self._pattern
            if piece.startswith(before) and piece.endswith(after):
                text = _plain_text(piece[len(before) : -len(after)])
                if text:
                    channel.append((stamp, text))
                    self.token_stamps.append(stamp)
                    return
        # The usual case by far: exactly one event with one data line in one piece.
        if (
            not self._line
            and not self._data
            and not self._skip_lf
            and not self._named_error
            and piece.startswith(b"data: ")
            and piece.endswith(b"\n\n")
            and piece.find(b"\n") == len(piece) - 2
            and b"\r" not in piece
        ):
            known, called = (len(self.content), len(self.reasoning)), self.calls.pieces
            self._event(stamp, piece[6:-2])
            if self.done:
                self._pattern = None
            elif self._lessons and not self.odd and self.calls.pieces == called:
                self._learn(piece, self.content[known[0] :], self.reasoning[known[1] :])
            return
        self._pattern = None  # the next piece may start in the middle of an event
        self._feed_lines(stamp, piece)

    def _learn(self, piece: bytes, content: list[tuple[int, str]], reasoning: list[tuple[int, str]]) -> None:
        """Learn from one event and the texts it added what the next events look like if they differ only in their text.
        An engine writes one event per token and changes only the text in it. If the quoted text occurs exactly once in
        an event without escapes, then any other text in its place, without quotes, escapes or control characters, gives
        the equivalent JSON document. So that event need not be parsed.
        """
        if len(content) + len(reasoning) != 1 or b"\\" in piece:
            return
        self._lessons -= 1
        quoted = b'"%b"' % (content or reasoning)[0][1].encode()
        start = piece.find(quoted)
        only_text = self.usage is None and self.finish_reason is None
        if only_text and start >= 0 and piece.find(quoted, start + 1) < 0:
            channel = self.content if content else self.reasoning
            self._pattern = (piece[: start + 1], piece[start + len(quoted) - 1 :], channel)

    def finish(self, stamp: int) -> None:
        """The body has ended: take an event that lacks only its closing blank line."""
        if self._line:
            self._take_line(stamp, bytes(self._line))
            self._line = bytearray()
        error = self.error
        self._take_line(stamp, b"")
        if error is None and self.error is not None and self.error[0] == "malformed_event":
            self.error = ("truncated", "the stream ended in the middle of an event")

    def _feed_lines(self, stamp: int, piece: bytes) -> None:
        """Lines end with LF, CRLF or CR, wherever the pieces are split."""
        if self._skip_lf and piece:
            self._skip_lf = False
            if piece.startswith(b"\n"):
                piece = piece[1:]
        if b"\r" in piece:
            self._skip_lf = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = piece.split(b"\n")
        self._line += lines[0]
        if len(lines) == 1:
            return
        lines[0] = bytes(self._line)
        self._line = bytearray(lines.pop())
        for line in lines:
            self._take_line(stamp, line)

    def _take_line(self, stamp: int, line: bytes) -> None:
        if not line:
            named_error, self._named_error = self._named_error, False
            if self._data:
                payload = b"\n".join(self._data)
                self._data.clear()
                if named_error and not self.done:
                    self._fail(error_kind(payload), error_text(payload))
                else:
                    self._event(stamp, payload)
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line.startswith(b"event:"):
            self._named_error = line[6:].strip() == b"error"
        elif line.startswith(_BYTE_ORDER_MARK + b"data:"):
            self._take_line(stamp, line[len(_BYTE_ORDER_MARK) :])
        elif line.startswith(b"error:") and line[6:].strip() and not self.done:  # as llama.cpp once told of failures
            self.events = True
            self._fail(error_kind(line[6:].strip()), error_text(line[6:].strip()))
        elif not line.startswith(_NO_DATA) and self.events and not self.done and not self.strange:
            self.strange = line[:_SHOWN_BYTES]  # such as an error in plain JSON
        # comments (":...") and other fields (id:, retry:) carry no tokens

    def _fail(self, kind: str, detail: str) -> None:
        if self.error is None:
            self.error = (kind, detail)

    def _event(self, stamp: int, payload: bytes) -> None:
        self.events = True
        if payload == b"[DONE]" or payload.strip() == b"[DONE]":
            self.done = True
            return
        if self.done or not payload.strip():
            self.late = self.late or (self.done and bool(payload.strip()))
            return
        payload = as_chat_event(payload) or payload
        try:
            event, odd = read_event(payload)
        except NoEvent as error:
            if payload.strip(b' "').upper() == b"[DONE]":
                self.done = True
                self.odd["[DONE] is written otherwise"] = None
            else:
                self._fail("malformed_event", str(error))
            return
        if odd:
            self.odd.update(dict.fromkeys(odd))
        if event.tells_error():
            self._fail(error_kind(payload), error_text(payload))
            return
        if not self.model and isinstance(event.model, str):
            self.model = event.model
        for usage in event.counts():
            self.usage = merged(self.usage, usage)
        if event.choices:
            self._choice(stamp, event.choices[0])
        elif event.choices is None and self.usage is None and not self.strange:
            self.strange = payload[:_SHOWN_BYTES]

    def _choice(self, stamp: int, choice: Choice) -> None:
        delta = choice.delta
        has_text = False
        if delta is not None:
            thought = delta.thought
            if thought:
                self.reasoning.append((stamp, self._whole(thought) if self.odd else thought))
                has_text = True
            for text in delta.texts():
                self.content.append((stamp, self._whole(text) if self.odd else text))
                has_text = True
            delta.gather(self.calls)
        elif choice.text:
            self.content.append((stamp, self._whole(choice.text) if self.odd else choice.text))
            has_text = True
        if has_text:
            self.token_stamps.append(stamp)
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
            self.end_stamp = stamp
            if choice.finish_reason in FAILED_FINISH:
                self._fail("engine_error", gave_up(choice.finish_reason))

    def _whole(self, text: str) -> str:
        """The text without lone surrogates. One at the end of the text waits for its other half in the next event."""
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return without_halves(text)


def without_markup(content: list[tuple[int, str]], stamps: list[int]) -> list[int]:
    """The timestamps of events with text, without those whose text is only (a piece of) a think tag. A reasoning parser
    removes the tags and sends no event for them. So tags do not count as tokens here either, and the same text has the
    same TTFT, gaps and events with and without a parser. `content`: (stamp, text) as it came in the answer channel.
    """
    text = "".join(piece for _, piece in content)
    close = text.find(_THINK_CLOSE)
    lead = len(text) - len(text.lstrip())
    tags = [(0, lead + len(_THINK_OPEN))] if text.startswith(_THINK_OPEN, lead) else []
    if close >= 0:
        tags.append((close, close + len(_THINK_CLOSE)))
    left, position = list(stamps), 0
    for stamp, piece in content if tags else ():
        begin, position = position, position + len(piece)
        if any(start <= begin and position <= end for start, end in tags) and stamp in left:
            left.remove(stamp)
    return left


def unclosed_as_reasoning(answer: Answer) -> None:
    """For a model that is known to reason: treat an answer without a closing tag as reasoning, as a parser does. The
    chat template may have opened the tag in the prompt, and the token limit may have ended the answer before the
    closing tag."""
    if answer.ok and answer.text and not answer.reasoning and not answer.reasoning_chunks:
        answer.reasoning, answer.text = answer.text, ""
        answer.ttfo_ms, answer.reasoning_chunks = None, answer.chunks or 0


def split_thinking(content: list[tuple[int, str]]) -> tuple[str, str, int | None]:
    """Raw `<think>` tags inside the answer channel: (reasoning, answer, stamp of the first answer text).

    The opening tag may be missing, since chat templates often put it into the prompt. Without tags, everything is
    answer.
    """
    text = "".join(piece for _, piece in content)
    close = text.find(_THINK_CLOSE)
    opened = text.lstrip().startswith(_THINK_OPEN)
    if close < 0:
        if opened:
            return text.lstrip()[len(_THINK_OPEN) :], "", None
        return "", text, content[0][0] if content else None
    start = close + len(_THINK_CLOSE)
    reasoning = text[:close].lstrip()
    reasoning = reasoning[len(_THINK_OPEN) :] if opened else reasoning
    position = 0
    for stamp, piece in content:
        position += len(piece)
        if position > start:
            return reasoning, text[start:], stamp
    return reasoning, "", None
