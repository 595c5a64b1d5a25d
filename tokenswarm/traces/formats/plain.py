"""Plain rows of messages or prompts, as JSON or CSV, with the field names that load tools accept."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.base.numbers import json_value
from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, ReadRow, Row
from tokenswarm.traces.request import Message, TraceRequest
from tokenswarm.traces.turn_numbers import TurnCounter

MESSAGES = ("messages", "chat_messages")
PROMPTS = ("prompt", "instruction", "question", "input", "text", "texts", "content", "context")
SYSTEMS = ("system_prompt", "system", "prefix")
LENGTHS = ("output_tokens", "output_tokens_count", "max_tokens", "max_completion_tokens", "output_length")
EXPECTED = ("expected", "answer", "output", "completion", "response", "reference")
_INPUTS = ("input_tokens", "prompt_tokens", "prompt_tokens_count")
_SESSIONS = ("session_id", "conversation_id")
_BODY = (
    *("tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "chat_template_kwargs"),
    *("temperature", "top_p", "top_k", "min_p", "seed", "stop", "stop_token_ids", "min_tokens", "ignore_eos"),
    *("frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs"),
    *("structured_outputs", "regex", "ebnf", "json_schema", "n", "best_of"),
)
"""Body fields that are allowed beside the prompt; others go into `extra` or `extra_body`."""
_EXTRAS = ("extra", "extra_body")
_OTHER_MEDIA = ("image", "images", "audio", "audios", "video", "videos")
_IN_MS = frozenset({"delay", "output_length"})
"""aiperf's field names: with them times are in ms, otherwise in seconds."""
_MS_PER_S = 1000.0
_LATEST_S = 1e11
"""A time later than this is in ms, whatever the other fields are."""
_OF_OTHERS = frozenset({"chat_id", "custom_id", "hash_ids", "body", "payload", "input_length", "text_input", "role"})


def _named(row: Row, names: tuple[str, ...], what: str) -> str | None:
    """The one of these names that the row has. Raises ValueError if it has two."""
    present = [name for name in names if row.get(name) not in (None, "")]
    if len(present) > 1:
        raise ValueError(f"it has {' and '.join(present)}: nothing says which one is the {what}")
    return present[0] if present else None


def _matches(row: Row) -> bool:
    replayed = {"timestamp", "delay", "session_id", "output_length"} & row.keys() and "messages" in row
    return not _OF_OTHERS & row.keys() and not replayed and any(name in row for name in (*MESSAGES, *PROMPTS))


def _messages(row: Row) -> list[Message]:
    field = _named(row, MESSAGES, "prompt")
    if field is not None:
        value = row[field]
        if isinstance(value, str):
            try:
                value = json_value(value)
            except ValueError:
                raise ValueError(f"{field} is not a list of messages") from None
        return fields.messages(value)
    name = _named(row, PROMPTS, "prompt")
    if name == "texts" and isinstance(row[name], list) and all(isinstance(each, str) for each in row[name]):
        return [{"role": "user", "content": [{"type": "text", "text": each} for each in row[name]]}]
    if name is None or not isinstance(row[name], str):
        raise ValueError(f"it has no prompt that is a text (looked for: {', '.join((*MESSAGES, *PROMPTS))})")
    return [{"role": "user", "content": row[name]}]


def time_s(row: Row) -> float | None:
    """The row's time, in seconds on the file's own clock."""
    if _IN_MS & row.keys():
        return fields.seconds(row, "timestamp", _MS_PER_S)
    time = row.get("timestamp")
    late = isinstance(time, int | float) and not isinstance(time, bool) and abs(time) >= _LATEST_S
    return fields.seconds(row, "timestamp", _MS_PER_S if late else 1.0)


def body_of(row: Row) -> dict[str, object]:
    """The row's fields for the request body."""
    body = {name: _value(row[name]) for name in _BODY if row.get(name) not in (None, "", [])}
    for name in _EXTRAS:
        body |= fields.table(row, name)
    return body


def _weight(row: Row) -> float | None:
    weight = fields.number(row, "weight")
    if weight is not None and weight < 0:
        raise ValueError("weight is below 0")
    return weight


def _value(cell: object) -> object:
    """A value of the body: CSV stores numbers and objects as text."""
    if not isinstance(cell, str):
        return cell
    try:
        return json_value(cell)
    except ValueError:
        return cell


def _reader() -> ReadRow:
    turns = TurnCounter()

    def read(row: Row) -> Iterator[TraceRequest]:
        media = next((name for name in _OTHER_MEDIA if row.get(name)), None)
        if media is not None:
            raise ValueError(f"it has {media} beside its text: put them into the content of messages")
        messages = _messages(row)
        system = _named(row, SYSTEMS, "system prompt")
        if system is not None and isinstance(row[system], str):
            messages = [{"role": "system", "content": row[system]}, *messages]
        length, input_length = _named(row, LENGTHS, "answer's length"), _named(row, _INPUTS, "prompt's length")
        expected, session_name = _named(row, EXPECTED, "expected answer"), _named(row, _SESSIONS, "session")
        session = fields.text(row, session_name) if session_name else None
        yield TraceRequest(
            time_s=time_s(row),
            delay_s=fields.seconds(row, "delay", _MS_PER_S),
            messages=messages,
            session=session,
            input_tokens=fields.tokens(row, input_length) if input_length else None,
            output_tokens=fields.tokens(row, length) if length else None,
            turn=turns.next_of(session),
            expected=row[expected] if expected and isinstance(row[expected], str) else None,
            weight=_weight(row),
            body=body_of(row),
        )

    return read


FORMATS = tuple(
    Format(
        f"plain_{container.value.lower()}",
        f"plain {container.value} of prompts",
        container,
        _matches,
        _reader,
        "field names that load tools take",
    )
    for container in Container
)
