"""What compiling a constraint costs: time before a request's first step, on the constraint's first use. Pure."""

from __future__ import annotations

from collections import OrderedDict

REMEMBERED = 512
"""Constraints that stay compiled; the one that was not used for longest goes first."""


class Compiler:
    """Constraints by their text. `s_per_kb`: model seconds for each 1,000 characters of it."""

    def __init__(self, s_per_kb: float) -> None:
        self._s_per_kb = s_per_kb
        self._ready: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, constraint: str, now_s: float) -> float:
        """How long a request that comes now waits for its constraint ("": it has none): the first one for the whole of
        the compilation, those that come meanwhile for the rest of it."""
        if not constraint or not self._s_per_kb:
            return 0.0
        ready_s = self._ready.get(constraint)
        if ready_s is None:
            ready_s = self._ready[constraint] = now_s + self._s_per_kb * len(constraint) / 1000
            if len(self._ready) > REMEMBERED:
                self._ready.popitem(last=False)
        else:
            self._ready.move_to_end(constraint)
        return max(0.0, ready_s - now_s)
