"""One recorded request, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Message = dict[str, object]


@dataclass(slots=True)
class TraceRequest:
    """What a line of a trace or data set says of one request. None, or empty: it does not say.

    time_s: when it was sent, seconds on the file's own clock. input_tokens, output_tokens: lengths as recorded.
    hash_ids: of the prompt's blocks of `block_tokens` tokens each, from its beginning on; equal ids in one `scope` are
    equal text. messages: the whole prompt as chat messages. session: whose turns follow each other; turn: from 1 on.
    delay_s: pause between the answer before it in its session and this request. expected: the answer on record.
    root: the session in which a replay sends it, where that is another one: a sub-agent's. started_by: the session of
    the agent that started this sub-agent, after the request of that session before it in the file; awaited: whether
    that agent's next request waits for its end.
    weight: how often it comes, relative to others.
    body: further keys of the request's body.
    """

    time_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    hash_ids: list[int] | None = None
    block_tokens: int | None = None
    scope: str = ""
    messages: Sequence[Message] | None = None
    session: str | None = None
    turn: int | None = None
    root: str | None = None
    started_by: str | None = None
    awaited: bool = True
    delay_s: float | None = None
    expected: str | None = None
    weight: float | None = None
    body: dict[str, object] = field(default_factory=dict)

    @property
    def max_tokens(self) -> int | None:
        """What to ask for as the longest answer. One of no token was no answer: one token is the least."""
        return None if self.output_tokens is None else max(1, self.output_tokens)


BYTES_PER_TOKEN = 4
"""Of text whose tokens nobody counted: the field's usual estimate for English."""


def estimated_tokens(messages: Sequence[Message]) -> int:
    """About how long a prompt is, by its bytes."""
    return text_bytes(messages) // BYTES_PER_TOKEN


def text_bytes(messages: Sequence[Message]) -> int:
    """The bytes of their text. Messages that are not in memory know it as their own `text_bytes`."""
    known = getattr(messages, "text_bytes", None)
    if known is not None:
        return int(known)
    return sum(len(_text(message.get("content")).encode("utf-8", "replace")) for message in messages)


def _text(content: object) -> str:
    if isinstance(content, list):  # parts, some of which may be no text
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
