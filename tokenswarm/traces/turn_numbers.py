"""Numbers the turns of sessions whose file does not."""

from __future__ import annotations

from collections import Counter


class TurnCounter:
    """Numbers the requests of each session in file order."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def next_of(self, session: str | None) -> int | None:
        """The 1-based turn of the session's next request; None for a request without a session."""
        if session is None:
            return None
        self._seen[session] += 1
        return self._seen[session]
