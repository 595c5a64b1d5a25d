"""Rows of whole conversations with only the user's side: aiperf's `turns`, and guidellm's fields that end in _0, _1,
... Those tools put the engine's answers between the turns. Here a fixed text says that the answer was not recorded, so
that every engine gets the same prompts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, ReadRow, Row
from tokenswarm.traces.formats import plain
from tokenswarm.traces.request import Message, TraceRequest

NO_ANSWER: Message = {"role": "assistant", "content": "(not on record)"}
_NUMBERED = re.compile(r"(?P<name>[a-z_]+?)_(?P<turn>[0-9]{1,4})")


def _turns(row: Row) -> list[Mapping[str, object]]:
    """The row's turns, as plain rows."""
    turns = row.get("turns")
    if turns is not None:
        if not isinstance(turns, list) or not turns or not all(isinstance(each, Mapping) for each in turns):
            raise ValueError("its turns are not a list of objects")
        return turns
    by_turn: dict[int, dict[str, object]] = {}
    for key, value in row.items():
        if (numbered := _NUMBERED.fullmatch(key)) is not None:
            by_turn.setdefault(int(numbered["turn"]), {})[numbered["name"]] = value
    if sorted(by_turn) != list(range(len(by_turn))):
        raise ValueError("its turns are not numbered 0, 1, 2 and so on")
    return [by_turn[turn] for turn in range(len(by_turn))]


def _reader() -> ReadRow:
    read_plain = plain.FORMATS[0].reader
    seen = 0

    def read(row: Row) -> Iterator[TraceRequest]:
        nonlocal seen
        seen += 1
        session = fields.text(row, "session_id") or f"conversation-{seen}"
        read_turn, history, at_s = read_plain(), list[Message](), plain.time_s(row)
        for number, turn in enumerate(_turns(row), start=1):
            (request,) = read_turn(turn)
            history += [*([NO_ANSWER] if history else []), *(request.messages or [])]
            request.messages, request.session, request.turn = list(history), session, number
            if number == 1 and at_s is not None:
                request.time_s = at_s
            yield request

    return read


def _matches(row: Row) -> bool:
    turns = row.get("turns")
    listed = isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict)
    return listed or any(f"{name}_0" in row for name in plain.PROMPTS)


FORMAT = Format(
    "turn_rows",
    "rows of several turns",
    Container.JSON,
    _matches,
    _reader,
    "aiperf's multi_turn rows; guidellm's columns with numbers",
)
