"""Input files of OpenAI's batch API: one complete request body per line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, Row
from tokenswarm.traces.request import TraceRequest


def request_of_body(body: Mapping[str, object]) -> TraceRequest:
    """The request of a chat or completions body. Raises ValueError if it has neither messages nor a prompt."""
    if body.get("messages") is not None:
        messages = fields.messages(body["messages"])
    elif isinstance(body.get("prompt"), str):
        messages = [{"role": "user", "content": body["prompt"]}]
    else:
        raise ValueError("the body has neither messages nor a prompt that is a text")
    return TraceRequest(messages=messages, output_tokens=fields.answer_tokens(body), body=dict(body))


def _read(row: Row) -> Iterator[TraceRequest]:
    yield request_of_body(fields.table(row, "body"))


FORMAT = Format(
    "openai_batch",
    "OpenAI batch input",
    Container.JSON,
    lambda row: "custom_id" in row and "body" in row,
    lambda: _read,
    "OpenAI's batch API",
)
