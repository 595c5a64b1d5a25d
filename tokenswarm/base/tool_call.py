"""A tool call, as a model requests it."""

from __future__ import annotations

from typing import NamedTuple


class ToolCall(NamedTuple):
    """The name of a tool, its arguments as the JSON text that the engine wrote, and the engine's name of this call."""

    name: str
    arguments: str
    id: str = ""

    def as_part(self) -> dict[str, object]:
        """The entry for `tool_calls` of an assistant message."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}
