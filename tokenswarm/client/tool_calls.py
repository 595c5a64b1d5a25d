"""Assembles tool calls from the pieces in a stream's deltas. Pure."""

from __future__ import annotations

from tokenswarm.base.tool_call import ToolCall


class CallsSoFar:
    """The calls of one answer. A piece belongs to the call with its index; without one, a name begins the next call."""

    __slots__ = ("_calls", "_last", "pieces")

    def __init__(self) -> None:
        self._calls: dict[int, ToolCall] = {}
        self._last = -1
        self.pieces = 0
        """Pieces added so far."""

    def add(self, index: object, call_id: object, name: str | None, arguments: str | None) -> None:
        """Add a piece; fields that are None add nothing."""
        self.pieces += 1
        if isinstance(index, int) and not isinstance(index, bool):
            self._last = index
        elif name or self._last < 0:
            self._last = len(self._calls)
        known = self._calls.get(self._last, ToolCall("", ""))
        # Some servers repeat the whole name in each piece.
        named = known.name if not name or name == known.name else known.name + name
        self._calls[self._last] = ToolCall(
            named, known.arguments + (arguments or ""), call_id if isinstance(call_id, str) and call_id else known.id
        )

    def whole(self) -> tuple[ToolCall, ...]:
        """The calls, in the order of their indices."""
        return tuple(call for _, call in sorted(self._calls.items()))
