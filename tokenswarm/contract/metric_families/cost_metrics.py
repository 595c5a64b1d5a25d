"""Cost of tokens and requests, in money and energy."""

from __future__ import annotations

from tokenswarm.contract.metric import LOWER, NOWHERE, Label, Place, Rate
from tokenswarm.contract.summary.engine_records import Energy
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary


def _energy(summary: Summary | LevelFigures) -> Energy:
    """Energy of the GPUs; empty for a load level."""
    return getattr(summary, "energy", None) or Energy()


COSTS = (
    Rate(
        name="usd_per_million_output_tokens",
        title="Cost of 1M output tokens",
        unit="$",
        better=LOWER,
        meaning="the whole price over what came",
        formula="price per hour / output tokens per hour x 1,000,000",
        notes="see Cost below",
        source="the given price",
        slo=False,
        live=False,
        usually=NOWHERE,
        stored=lambda summary: summary.cost.per_million_output_tokens if summary.cost else None,
        places={Place.TABLE: Label(rank=13), Place.TERMINAL: Label(rank=10)},
    ),
    Rate(
        name="usd_per_million_input_tokens",
        title="Cost of 1M prompt tokens",
        unit="$",
        better=LOWER,
        meaning="the whole price over what came",
        formula="price per hour / prompt tokens per hour x 1,000,000",
        source="the given price",
        slo=False,
        live=False,
        compared=False,
        usually=NOWHERE,
        stored=lambda summary: summary.cost.per_million_input_tokens if summary.cost else None,
        places={Place.TABLE: Label(rank=14), Place.TERMINAL: Label(rank=11)},
    ),
    Rate(
        name="usd_per_million_tokens",
        title="Cost of 1M tokens (prompt + output)",
        unit="$",
        better=LOWER,
        meaning="the whole price over what came",
        formula="price per hour / tokens of both kinds per hour x 1,000,000",
        source="the given price",
        slo=False,
        live=False,
        compared=False,
        usually=NOWHERE,
        stored=lambda summary: summary.cost.per_million_tokens if summary.cost else None,
        places={Place.TABLE: Label(rank=15), Place.TERMINAL: Label(rank=12)},
    ),
    Rate(
        name="usd_per_million_requests",
        title="Cost of 1M requests",
        unit="$",
        better=LOWER,
        meaning="the whole price over what came",
        formula="price per hour / answers per hour x 1,000,000",
        source="the given price",
        slo=False,
        live=False,
        usually=NOWHERE,
        stored=lambda summary: summary.cost.per_million_requests if summary.cost else None,
        places={Place.TABLE: Label(rank=16), Place.TERMINAL: Label(rank=13)},
    ),
    Rate(
        name="joules_per_output_token",
        title="Energy of an output token",
        unit="J",
        better=LOWER,
        meaning="of the engine's GPUs, all of it",
        formula="energy of the GPUs in the window / output tokens in it",
        notes="see Energy below",
        source="NVML's energy counter, or its power",
        slo=False,
        live=False,
        usually=NOWHERE,
        stored=lambda summary: _energy(summary).per_output_token,
        places={Place.TABLE: Label(rank=17), Place.TERMINAL: Label(rank=14)},
    ),
    Rate(
        name="joules_per_request",
        title="Energy of a request",
        unit="J",
        better=LOWER,
        meaning="of the engine's GPUs, all of it",
        formula="energy of the GPUs in the window / answers in it",
        source="NVML's energy counter, or its power",
        slo=False,
        live=False,
        usually=NOWHERE,
        stored=lambda summary: _energy(summary).per_request,
        places={Place.TABLE: Label(rank=18), Place.TERMINAL: Label(rank=15)},
    ),
)
"""In display order."""
