"""What a simulated engine is made of, and the engine model that comes of it. Pure: no server, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenswarm.sim.adapter_loading import AdapterSettings
from tokenswarm.sim.answers import AnswerSettings
from tokenswarm.sim.block_cache import BlockCache
from tokenswarm.sim.flat import FlatEngine
from tokenswarm.sim.hardware import EngineProfile
from tokenswarm.sim.jobs import EngineLimits, EngineModel
from tokenswarm.sim.radix_cache import RadixCache
from tokenswarm.sim.scheduler import BatchEngine
from tokenswarm.sim.styles import Style

_CACHES = {"block": BlockCache, "radix": RadixCache}


@dataclass(frozen=True, slots=True)
class Config:
    """What the engine was started with. `time_scale`: model seconds a second. `api_key`: empty for none."""

    model: str
    style: Style
    profile: EngineProfile
    limits: EngineLimits
    answers: AnswerSettings
    seed: int = 0
    api_key: str = ""
    time_scale: float = 1.0
    report_cached: bool = True
    role_at_once: bool = True
    adapters: AdapterSettings = field(default_factory=AdapterSettings)
    compile_s_per_kb: float = 0.0
    """What a constraint's first use costs, for each 1,000 characters of it."""
    largest_constraint: int | None = None
    """Characters of the longest constraint that is not refused; None: none is."""

    @property
    def context_length(self) -> int:
        """Longest prompt and answer together, in tokens: what the model allows and what the KV cache can hold."""
        usable = self.limits.kv_tokens // self.limits.block_size * self.limits.block_size
        return min(self.profile.context_length, usable)


def engine_of(config: Config) -> EngineModel:
    """A new engine model with an empty cache."""
    profile, limits = config.profile, config.limits
    if profile.kind == "flat":
        return FlatEngine(profile.ttft_s, profile.gap_s)
    cache = _CACHES[config.style.cache](limits.kv_tokens, limits.block_size, limits.prefix_cache)
    return BatchEngine(profile, limits, cache, config.style.policy)
