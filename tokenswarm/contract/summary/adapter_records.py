"""Requests by LoRA adapter."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import field

from tokenswarm.contract.summary.figure import Figure, Record


class AdapterGroup(Record):
    """Adapters of neighbouring popularity, by rank (1: the most popular): `ranks` such as `1` or `5 to 8`."""

    ranks: str = ""
    adapters: int = 0
    ok: int = 0
    failed: int = 0
    share: Figure = field(default_factory=Figure)
    ttft_p50_ms: Figure = field(default_factory=Figure)
    ttft_p95_ms: Figure = field(default_factory=Figure)
    tpot_p50_ms: Figure = field(default_factory=Figure)


class Adapters(Record):
    """Of a run with adapters: `groups` over the measured requests, and the median TTFT of each adapter's first request
    in the run, whatever its phase, beside that of the measured later ones."""

    adapters: int = 0
    used: int = 0
    groups: list[AdapterGroup] = field(default_factory=list)
    first_use_ttft_ms: Figure = field(default_factory=Figure)
    later_ttft_ms: Figure = field(default_factory=Figure)

    def figures(self, ttft: bool, tpot: bool) -> Iterator[Figure]:
        """The group's figures for these latencies."""
        if ttft:
            yield from (self.first_use_ttft_ms, self.later_ttft_ms)
        for group in self.groups:
            yield from (
                *((group.ttft_p50_ms, group.ttft_p95_ms) if ttft else ()),
                *((group.tpot_p50_ms,) if tpot else ()),
            )
