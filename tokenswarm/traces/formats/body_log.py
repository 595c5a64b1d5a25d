"""A log of request bodies with their times, such as evalscope's workload traces."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, Row
from tokenswarm.traces.formats.openai_batch import request_of_body
from tokenswarm.traces.request import TraceRequest


def _read(row: Row) -> Iterator[TraceRequest]:
    request = request_of_body(fields.table(row, "body"))
    request.time_s = fields.seconds(row, "timestamp")
    length = fields.tokens(row, "completion_tokens")
    if length is not None:
        request.output_tokens = length
    yield request


FORMAT = Format(
    "body_log",
    "log of request bodies",
    Container.JSON,
    lambda row: "body" in row and "timestamp" in row and "custom_id" not in row,
    lambda: _read,
    "modelscope/evalscope, workload_trace",
)
