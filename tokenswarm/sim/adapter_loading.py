"""What LoRA adapters cost: time before a request's first step while its adapter is loaded. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """`names`: the adapters that are served. `slots`: how many are held ready. `load_s`: first use of one, from disk;
    `swap_s`: use of one that others have pushed out, from the host's memory."""

    names: Sequence[str] = ()
    slots: int = 8
    load_s: float = 0.15
    swap_s: float = 0.004


class AdapterSlots:
    """The slots; the adapter that was not used for longest gives way (as in S-LoRA, Sheng et al., MLSys 2024, weights
    are kept in the host's memory and fetched as requests want them)."""

    def __init__(self, settings: AdapterSettings) -> None:
        self._settings = settings
        self._ready: OrderedDict[str, float] = OrderedDict()
        self._seen: set[str] = set()

    def wait_s(self, adapter: str, now_s: float) -> float:
        """How long a request that comes now waits for its adapter ("": the base model)."""
        if not adapter:
            return 0.0
        if adapter in self._ready:
            self._ready.move_to_end(adapter)
        else:
            settings = self._settings
            self._ready[adapter] = now_s + (settings.swap_s if adapter in self._seen else settings.load_s)
            self._seen.add(adapter)
            if len(self._ready) > settings.slots:
                self._ready.popitem(last=False)
        return max(0.0, self._ready[adapter] - now_s)
