"""[endpoint] of a scenario: in which form requests are put to the endpoint that is loaded."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tokenswarm.scenario.values import Section


class EndpointSettings(Section):
    """What servers that call themselves OpenAI-compatible take and refuse differently."""

    length_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="name of the field for the longest answer: max_tokens or "
        "max_completion_tokens"
    )
    send_stream_options: bool = Field(
        default=True, strict=True, description="ask for usage in a stream (`stream_options`); without it tokens may be "
        "counted from events, which is less exact"
    )
    send_temperature: bool = Field(default=True, strict=True, description="send output.temperature")
    fold_system: bool = Field(
        default=False, strict=True, description="put the system message before the first user message, for a model "
        "without a system role"
    )
