"""The CSV of Azure's LLM inference traces of 2023 and 2024: dates and lengths."""

from __future__ import annotations

from collections.abc import Iterator

from tokenswarm.traces import fields
from tokenswarm.traces.format import Container, Format, Row
from tokenswarm.traces.request import TraceRequest

PROMPT, ANSWER = "ContextTokens", "GeneratedTokens"


def _read(row: Row) -> Iterator[TraceRequest]:
    yield TraceRequest(
        time_s=fields.seconds(row, "TIMESTAMP"),
        input_tokens=fields.tokens(row, PROMPT),
        output_tokens=fields.tokens(row, ANSWER),
    )


FORMAT = Format(
    "azure",
    "Azure LLM inference",
    Container.CSV,
    lambda row: PROMPT in row and ANSWER in row,
    lambda: _read,
    "Azure/AzurePublicDataset, AzureLLMInferenceDataset2024.md",
)
