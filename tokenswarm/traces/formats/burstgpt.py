"""BurstGPT's CSV: lengths and times in seconds; requests without response tokens failed and are left out."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, ReadRow, Row
from tokenswarm.traces.request import TraceRequest
from tokenswarm.traces.turn_numbers import TurnCounter

PROMPT, ANSWER = "Request tokens", "Response tokens"


def _reader() -> ReadRow:
    turns = TurnCounter()

    def read(row: Row) -> Iterator[TraceRequest]:
        answer = fields.tokens(row, ANSWER)
        if answer == 0:
            return
        session = fields.text(row, "Session ID")
        yield TraceRequest(
            time_s=fields.seconds(row, "Timestamp"),
            input_tokens=fields.tokens(row, PROMPT),
            output_tokens=answer,
            session=session,
            turn=turns.next_of(session),
        )

    return read


FORMAT = Format(
    "burstgpt",
    "BurstGPT",
    Container.CSV,
    lambda row: PROMPT in row and ANSWER in row,
    _reader,
    "HPMLL/BurstGPT, README.md",
)
