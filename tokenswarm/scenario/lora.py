"""The [lora] table of a scenario: each request names one of many LoRA adapters of a model, drawn by popularity."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from tokenswarm.scenario.values import Count, Section

ENGINE_SETTING = "lora"
"""The engine setting that loads the adapters. It has this table's keys except those that affect only requests."""


class Lora(Section):
    """LoRA adapters. If `adapters` is set, each session draws one of them by Zipf's law, and its requests name it."""

    adapters: Count | None = Field(default=None, description="number of adapters; unset: none")
    name: Annotated[str, Field(min_length=1)] = Field(
        default="adapter-{n}", description="adapter names; {n}: the number, from 1, the most popular first"
    )
    path: str | None = Field(
        default=None, description="folder or hub name of each adapter, with {n}, for an engine that tokenswarm starts"
    )
    zipf: Annotated[float, Field(strict=True, ge=0, le=10)] = Field(
        default=1.0, description="popularity of adapter n is proportional to 1 / n^zipf; 0: all alike"
    )
    max_loaded: Count = Field(default=8, description="number of adapters that the engine keeps loaded at once")
    max_rank: Count = Field(default=16, description="largest rank of an adapter")
    model: str | None = Field(
        default=None,
        description="how a request's model field names an adapter, with {name} and {model} (the base model); unset: "
        "as in the engine's description, else {name}",
    )

    @field_validator("name", "path", "model")
    @classmethod
    def _placeholders(cls, text: str | None, info: ValidationInfo) -> str | None:
        known = ("{name}", "{model}") if info.field_name == "model" else ("{n}",)
        rest = text or ""
        for each in known:
            rest = rest.replace(each, "")
        if "{" in rest or "}" in rest:
            raise ValueError(f"has a placeholder that is not known here; known: {', '.join(known)}")
        return text

    def names(self) -> list[str]:
        """The adapters' names, most popular first."""
        return [self.name.replace("{n}", str(number)) for number in range(1, (self.adapters or 0) + 1)]

    def asked_model(self, rank: int, model: str) -> str:
        """A request's model field for the adapter of this rank (1: the most popular)."""
        name = self.name.replace("{n}", str(rank))
        return (self.model or "{name}").replace("{name}", name).replace("{model}", model)

    def engine_setting(self) -> dict[str, object]:
        """The engine setting that loads the adapters."""
        paths = (
            [self.path.replace("{n}", str(number + 1)) for number in range(self.adapters or 0)]
            if self.path is not None
            else None
        )
        return {
            "names": self.names(),
            "paths": paths,
            "max_loaded": min(self.max_loaded, self.adapters or 1),
            "max_rank": self.max_rank,
        }
