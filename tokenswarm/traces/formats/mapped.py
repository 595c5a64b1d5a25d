"""Rows with user-defined field names for the prompt, the time, and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.numbers import json_value
from tokenswarm.base.sentences import unknown
from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, ReadRow, Row
from tokenswarm.traces.request import Message, TraceRequest
from tokenswarm.traces.turn_numbers import TurnCounter

ROLES = (
    "messages",
    "prompt",
    "system",
    "expected",
    "input_tokens",
    "output_tokens",
    "hash_ids",
    "block_tokens",
    "session",
    "time_s",
    "time_ms",
    "delay_s",
    "delay_ms",
    "weight",
    "tools",
    "response_format",
    "temperature",
    "top_p",
)
"""The roles of fields. block_tokens is a number, not a field name: the tokens per ID in hash_ids."""
_BODY = ("tools", "response_format", "temperature", "top_p")
_PER_S = 1000.0


def mapped(mapping: Mapping[str, str], container: Container) -> Format:
    """The format of rows with these field names; a dotted name refers to a nested field. Raises UserError (USAGE) for
    an invalid mapping.
    """
    for role in mapping:
        if role not in ROLES:
            raise UserError(Exit.USAGE, unknown("role of a field", role, ROLES))
    prompts = [role for role in ("messages", "prompt") if role in mapping]
    if len(prompts) == 2:
        raise UserError(Exit.USAGE, "messages and prompt are both mapped: a row has one of them")
    if not prompts and "input_tokens" not in mapping:
        raise UserError(
            Exit.USAGE,
            "the mapping says neither where the prompt is (prompt= or messages=) nor how long it was (input_tokens=)",
        )
    for seconds, milliseconds in (("time_s", "time_ms"), ("delay_s", "delay_ms")):
        if seconds in mapping and milliseconds in mapping:
            raise UserError(Exit.USAGE, f"{seconds} and {milliseconds} are both mapped: a row has one of them")
    if ("hash_ids" in mapping) != ("block_tokens" in mapping) or not mapping.get("block_tokens", "1").isdecimal():
        raise UserError(
            Exit.USAGE,
            "hash_ids needs block_tokens, the number of tokens that an id stands for, and the other way round",
        )
    seen = {"block_tokens"}
    return Format(
        "mapped",
        "rows of the fields that you named",
        container,
        lambda row: True,
        lambda: _reader(mapping, seen),
        "the user's own mapping",
        lambda: [name for role, name in mapping.items() if role not in seen],
    )


def _reader(mapping: Mapping[str, str], seen: set[str]) -> ReadRow:
    """`seen`: collects the roles for which a row has a value."""
    turns = TurnCounter()
    block_tokens = int(mapping["block_tokens"]) if "block_tokens" in mapping else None

    def read(row: Row) -> Iterator[TraceRequest]:
        named = {
            role: value
            for role, path in mapping.items()
            if role != "block_tokens" and (value := _at(row, path)) not in (None, "")
        }
        seen.update(named)
        input_tokens = fields.tokens(named, "input_tokens")
        ids = fields.hash_ids({"hash_ids": _json(named.get("hash_ids"))})
        if block_tokens is not None:
            fields.check_blocks(ids, input_tokens, block_tokens)
        session = fields.text(named, "session")
        expected = named.get("expected")
        yield TraceRequest(
            time_s=_seconds(named, "time"),
            delay_s=_seconds(named, "delay"),
            input_tokens=input_tokens,
            output_tokens=fields.tokens(named, "output_tokens"),
            messages=_messages(named, mapping),
            hash_ids=ids,
            block_tokens=block_tokens if ids is not None else None,
            session=session,
            turn=turns.next_of(session),
            expected=expected if isinstance(expected, str) else None,
            weight=fields.number(named, "weight"),
            body={name: _json(named[name]) for name in _BODY if name in named},
        )

    return read


def _at(row: Row, path: str) -> object:
    """The value of a field, with dots for nested fields; None if it is missing."""
    if path in row:
        return row[path]
    value: object = row
    for name in path.split("."):
        if isinstance(value, str):
            value = _json(value)
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _messages(named: Row, mapping: Mapping[str, str]) -> list[Message] | None:
    if "messages" in mapping:
        messages = fields.messages(_json(named.get("messages")))
    elif "prompt" in mapping:
        if not isinstance(named.get("prompt"), str):
            raise ValueError(f"it has no text in {mapping['prompt']}")
        messages = [{"role": "user", "content": named["prompt"]}]
    else:
        return None
    system = named.get("system")
    return [{"role": "system", "content": system}, *messages] if isinstance(system, str) else messages


def _seconds(named: Row, what: str) -> float | None:
    return fields.seconds(named, f"{what}_s") if f"{what}_s" in named else fields.seconds(named, f"{what}_ms", _PER_S)


def _json(value: object) -> object:
    """Parse a text if it is JSON: CSV files and logs store lists and objects as text."""
    if not isinstance(value, str):
        return value
    try:
        return json_value(value)
    except ValueError:
        return value
