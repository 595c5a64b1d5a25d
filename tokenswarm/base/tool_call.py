"""A call of a tool, as a model asks for it."""

from __future__ import annotations

from typing import NamedTuple


class ToolCall(NamedTuple):
    """The name of a tool, its arguments as the JSON text that the engine wrote, and the engine's name of this call."""

    name: str
    arguments: str
    id: str = ""

    def as_part(self) -> dict[str, object]:
        """As an assistant's message holds it in `tool_calls`."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}
