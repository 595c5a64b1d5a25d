"""What the engine reports about itself: its prefix cache, speculative decoding and its own TTFT."""

from __future__ import annotations

from tokenswarm.contract.metric import HIGHER, LOWER, NOWHERE, TABLES, Label, Place, Rate
from tokenswarm.contract.metric_families.formulas import hit_rate
from tokenswarm.contract.summary.engine_records import Speculation
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary


def _speculation(summary: Summary | LevelFigures) -> Speculation:
    """Figures of speculative decoding; empty for a run without it and for a load level."""
    return getattr(summary, "speculation", None) or Speculation()


OF_ENGINES = (
    Rate(
        name="hit_rate",
        title="Prefix cache hit rate",
        unit="share",
        better=HIGHER,
        ratio=False,
        meaning="of the prompt tokens",
        formula="cached prompt tokens / prompt tokens",
        notes="from each answer's usage if the engine reports it (if it reports hits and never a 0, an answer without "
        "the field is a miss: older vLLM and SGLang omit it then), else from the engine's own counters over the "
        "window; `source` says which",
        source="the engine's `usage`, or its counters",
        columns=("status", "prompt_tokens", "cached_tokens"),
        of_sums=hit_rate,
        gauge=False,
        slo=False,
        stored=lambda summary: summary.cache.hit_rate,
        usually=TABLES,
        places={
            Place.CARD: Label("Prefix cache hits"),
            Place.TABLE: Label(rank=9),
            Place.TERMINAL: Label(rank=7),
            Place.TIME: Label(note="prompt tokens found in the cache, as the answers tell it"),
            Place.MARKDOWN: Label(rank=4),
            Place.TAB: Label("Hit rate", rank=5),
        },
    ),
    Rate(
        name="cache_efficiency",
        title="Cache efficiency",
        unit="share",
        better=HIGHER,
        ratio=False,
        meaning="of what the prompts allow",
        formula="hit rate / ideal hit rate",
        notes="over the same requests",
        source="docs/cache.md",
        slo=False,
        live=False,
        compared=False,
        stored=lambda summary: summary.cache.efficiency,
        usually=NOWHERE,
        places={Place.TERMINAL: Label("  of what the prompts allow", rank=8)},
    ),
    Rate(
        name="acceptance_length",
        title="Tokens of a speculative step",
        unit="tokens",
        better=HIGHER,
        meaning="accepted and the model's own",
        formula="1 + accepted tokens / drafts over the window",
        notes="from the engine's counters; if it has only gauges, their mean (`speculation.source`)",
        source="the engine's /metrics",
        slo=False,
        live=False,
        usually=NOWHERE,
        stored=lambda summary: _speculation(summary).length,
        places={Place.TABLE: Label(rank=9.1), Place.TERMINAL: Label(rank=8.1)},
    ),
    Rate(
        name="acceptance_rate",
        title="Drafted tokens accepted",
        unit="share",
        better=HIGHER,
        ratio=False,
        meaning="of those drafted",
        formula="accepted tokens / drafted tokens over the window",
        source="the engine's /metrics",
        slo=False,
        live=False,
        usually=NOWHERE,
        stored=lambda summary: _speculation(summary).rate,
        places={Place.TABLE: Label(rank=9.2), Place.TERMINAL: Label(rank=8.2)},
    ),
    Rate(
        name="server_ttft_mean",
        title="Engine's own mean TTFT",
        unit="ms",
        better=LOWER,
        meaning="as the engine measured it",
        formula="growth of the sum / growth of the count of its TTFT histogram",
        source="the engine's /metrics",
        slo=False,
        live=False,
        compared=False,
        stored=lambda summary: summary.server.server_ttft_mean_ms,
        usually=NOWHERE,
        places={Place.TABLE: Label(rank=10)},
    ),
)
"""In display order."""
