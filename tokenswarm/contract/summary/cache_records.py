"""The engine's prefix cache, compared with an ideal one."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import field

from tokenswarm.contract.summary.figure import Figure, Number, Record


class CacheStep(Record):
    """What one stage (`taker`: workload, blocks, memory or engine) takes from the ideal hit rate, as shares."""

    taker: str = ""
    title: str = ""
    share: Number = 0.0
    lost: Number = 0.0


class CurvePoint(Record):
    """Share of the prompt tokens, 0 to 1, that a cache of so many tokens finds."""

    tokens: int = 0
    rate: Number = 0.0


class Yardstick(Record):
    """What a prefix cache could have found. Where `recorded` is false there is `why`, and nothing else."""

    recorded: bool = False
    why: str | None = None
    requests: int = 0
    requests_known: int = 0
    requests_lost: int = 0
    damaged_lines: int = 0
    limited: str | None = None
    block_size: int | None = None
    kv_capacity_tokens: int | None = None
    ideal: Figure = field(default_factory=Figure)
    ideal_range: list[Number] = field(default_factory=list)
    ideal_computed: Figure = field(default_factory=Figure)
    ideal_prompts: Figure = field(default_factory=Figure)
    blocks: Figure = field(default_factory=Figure)
    blocks_range: list[Number] | None = None
    capacity: Figure = field(default_factory=Figure)
    engine: Figure = field(default_factory=Figure)
    engine_source: str | None = None
    token_error: Figure = field(default_factory=Figure)
    steps: list[CacheStep] = field(default_factory=list)
    blame: str | None = None
    sentence: str | None = None
    reason: str | None = None
    fits: str | None = None
    curve: list[CurvePoint] = field(default_factory=list)
    """Hits by cache size, for blocks of `curve_block` tokens and eviction of the least recently used."""
    curve_block: int | None = None

    def left_out(self) -> Collection[str]:
        return {"why"} if self.recorded else self.may_be_left_out - {"why"}

    @property
    def words(self) -> str:
        """The findings, in sentences."""
        return " ".join(part for part in (self.sentence, self.reason, self.fits, self.limited) if part)


Yardstick.may_be_left_out = frozenset(Yardstick.__struct_fields__) - {"recorded"}


class Cache(Record):
    """The engine's prefix cache beside the yardstick. `source` of the hit rate: usage or counters."""

    hit_rate: Figure = field(default_factory=Figure)
    source: str | None = None
    usage_hit_rate: Number | None = None
    counters_hit_rate: Number | None = None
    efficiency: Figure = field(default_factory=Figure)
    yardstick: Yardstick = field(default_factory=Yardstick)
