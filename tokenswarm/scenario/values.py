"""Building blocks of scenario tables: bounded numbers, durations, and a common base class."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tokenswarm.base.config_text import parse_duration
from tokenswarm.base.numbers import LARGEST


def in_seconds(value: object) -> Any:
    """A duration such as "30s" in seconds; other values unchanged."""
    return parse_duration(value) if isinstance(value, str) else value


def seconds_of_distribution(value: object) -> object:
    """A distribution of seconds; durations such as "2s" are converted to numbers."""
    if isinstance(value, dict):
        return {key: item if key == "kind" else in_seconds(item) for key, item in value.items()}
    return in_seconds(value)


LONGEST_S = 10 * 365 * 86400.0
"""Ten years. A longer duration is a mistake, and much longer ones overflow clocks."""
Count = Annotated[int, Field(strict=True, ge=1, le=10**9)]
Positive = Annotated[float, Field(strict=True, gt=0, le=LARGEST, allow_inf_nan=False)]
Seconds = Annotated[float, Field(strict=True, ge=0, le=LONGEST_S, allow_inf_nan=False), BeforeValidator(in_seconds)]
Usd = Annotated[float, Field(strict=True, ge=0, le=1e6, allow_inf_nan=False)]
PositiveSeconds = Annotated[
    float, Field(strict=True, gt=0, le=LONGEST_S, allow_inf_nan=False), BeforeValidator(in_seconds)
]


class Section(BaseModel):
    """A table of a scenario: unknown keys are refused, and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Rate = Annotated[float, Field(strict=True, ge=0, le=1e6, allow_inf_nan=False)]
"""Events per minute."""
