"""Random quantities as a scenario writes them: a plain number, or a table with a `kind`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from tokenswarm.base.presence import present

Kind = Literal["constant", "uniform", "exponential", "lognormal", "choice"]

_NEEDED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "constant": frozenset({"value"}),
        "uniform": frozenset({"low", "high"}),
        "exponential": frozenset({"mean"}),
        "lognormal": frozenset({"mean", "cv"}),
        "choice": frozenset({"values"}),
    }
)
_OPTIONAL: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "constant": frozenset(),
        "uniform": frozenset(),
        "exponential": frozenset({"min", "max"}),
        "lognormal": frozenset({"min", "max"}),
        "choice": frozenset({"weights"}),
    }
)

_Number = Annotated[float, Field(strict=True, ge=0, le=1e9, allow_inf_nan=False)]


class Distribution(BaseModel):
    """A non-negative random quantity. The unit is that of the key which holds it (seconds, tokens, turns, ...).

    kinds: constant (value), uniform (low, high), exponential (mean), lognormal (mean, cv), choice (values, weights).
    `mean` of a lognormal is the mean of the quantity itself, not of its logarithm, and `cv` its standard deviation
    divided by its mean. `min` and `max` cut a drawn value to a range; they move the mean accordingly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    value: _Number | None = None
    low: _Number | None = None
    high: _Number | None = None
    mean: Annotated[float, Field(strict=True, gt=0, le=1e9, allow_inf_nan=False)] | None = None
    cv: _Number | None = None
    values: tuple[_Number, ...] | None = None
    weights: tuple[_Number, ...] | None = None
    min: _Number | None = None
    max: _Number | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, data: object) -> object:
        if isinstance(data, bool) or not isinstance(data, (int, float, dict, cls)):
            raise ValueError("should be a number or a table such as { kind = 'uniform', low = 1, high = 3 }")
        return {"kind": "constant", "value": data} if isinstance(data, (int, float)) else data

    @model_validator(mode="after")
    def _check_keys(self) -> Distribution:
        keys = {name for name in type(self).model_fields if name != "kind" and getattr(self, name) is not None}
        needed = _NEEDED[self.kind]
        if needed - keys:
            raise ValueError(f"kind '{self.kind}' needs {' and '.join(sorted(needed - keys))}")
        foreign = keys - needed - _OPTIONAL[self.kind]
        if foreign:
            allowed = ", ".join(sorted(needed | _OPTIONAL[self.kind]))
            raise ValueError(f"kind '{self.kind}' takes {allowed}, not {' or '.join(sorted(foreign))}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low:g}) should not be above high ({self.high:g})")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) should not be above max ({self.max:g})")
        if self.values is not None:
            self._check_choice(self.values)
        return self

    def _check_choice(self, values: tuple[float, ...]) -> None:
        if not values:
            raise ValueError("values should hold at least one number")
        if self.weights is not None and (len(self.weights) != len(values) or sum(self.weights) <= 0):
            raise ValueError(f"weights should be {len(values)} numbers, one for each value, and not all zero")

    @model_serializer
    def _as_written(self) -> object:
        if self.kind == "constant":
            return self.value
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
            if value is not None
        }

    def sample(self, rng: Random) -> float:
        """One value drawn with `rng`, in the unit of the key."""
        if self.kind == "constant":
            return present(self.value)
        if self.kind == "uniform":
            return rng.uniform(present(self.low), present(self.high))
        if self.kind == "choice":
            return rng.choices(present(self.values), self.weights)[0]
        if self.kind == "exponential":
            drawn = rng.expovariate(1.0 / present(self.mean))
        else:
            # Moments of the lognormal law: mean = exp(mu + sigma^2/2), cv^2 = exp(sigma^2) - 1.
            variance = math.log1p(present(self.cv) * present(self.cv))
            drawn = rng.lognormvariate(math.log(present(self.mean)) - variance / 2, math.sqrt(variance))
        if self.min is not None and drawn < self.min:
            return self.min
        return self.max if self.max is not None and drawn > self.max else drawn

    def sample_int(self, rng: Random, at_least: int = 1) -> int:
        """One value drawn with `rng`, rounded, and at least `at_least`."""
        return max(at_least, round(self.sample(rng)))

    def typical(self) -> float:
        """The mean before clipping to `min` and `max`, for rough size checks."""
        if self.kind == "constant":
            return present(self.value)
        if self.kind == "uniform":
            return (present(self.low) + present(self.high)) / 2
        if self.kind == "choice":
            weights = self.weights or (1.0,) * len(present(self.values))
            return sum(v * w for v, w in zip(present(self.values), weights, strict=True)) / sum(weights)
        return present(self.mean)


def constant(value: float) -> Distribution:
    """Always the value."""
    return Distribution(kind="constant", value=value)
