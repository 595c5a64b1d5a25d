"""Turns of sessions whose file does not number them."""

from __future__ import annotations

from collections import Counter


class TurnCounter:
    """Numbers the requests of each session in the order of the file."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def next_of(self, session: str | None) -> int | None:
        """The turn of the session's next request, from 1 on; None for a request that belongs to no session."""
        if session is None:
            return None
        self._seen[session] += 1
        return self._seen[session]
