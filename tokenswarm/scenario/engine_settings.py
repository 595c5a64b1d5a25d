"""The settings of an inference engine under canonical names, as in a scenario's [engine] table.

Each engine's description maps these names to its own flags. A setting that is None is left to the engine.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Count = Annotated[int, Field(strict=True, ge=1)]
_Flag = Annotated[bool, Field(strict=True)]
_Text = Annotated[str, Field(min_length=1)]
NO_PARSER = "none"
"""Value of reasoning_parser for an engine that returns the model's output unparsed."""


class SpeculationSettings(BaseModel):
    """Speculative decoding: a cheap method drafts tokens, and the model verifies them in one step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["ngram", "eagle", "eagle3", "mtp"] = Field(description="what drafts the tokens")
    tokens: _Count = Field(default=3, description="tokens drafted in each step")
    draft_model: _Text | None = Field(default=None, description="path or name of the draft model (eagle, eagle3)")


class EngineSettings(BaseModel):
    """Canonical engine settings, and a free table for each engine's own settings, under its name.

    `canonical()` returns the settings that are set; `own("vllm")` returns the table [engine.vllm].
    """

    # Extra keys are the engines' own tables, so the type below accepts only tables.
    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, dict[str, object]] = Field(init=False)

    context_length: _Count | None = Field(default=None, description="longest prompt plus answer, tokens")
    memory_fraction: Annotated[float, Field(strict=True, gt=0, le=1)] | None = Field(
        default=None, description="share of the GPU's memory that the engine may take (weights and KV cache)"
    )
    max_num_seqs: _Count | None = Field(
        default=None, description="maximum number of requests computed at the same time"
    )
    prefill_budget: _Count | None = Field(
        default=None, description="maximum number of prompt tokens computed in one step"
    )
    tensor_parallel: _Count | None = Field(default=None, description="number of GPUs that share each layer")
    data_parallel: _Count | None = Field(default=None, description="number of parallel copies of the model")
    expert_parallel: _Count | None = Field(
        default=None, description="number of GPUs that experts are spread over (MoE models)"
    )
    quantization: _Text | None = Field(default=None, description="weight format, such as fp8 or awq")
    kv_cache_dtype: Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"] | None = Field(
        default=None, description="number format of the KV cache"
    )
    prefix_cache: _Flag | None = Field(default=None, description="reuse the KV cache of shared prompt prefixes")
    chunked_prefill: _Flag | None = Field(
        default=None, description="split long prompts so that decoding continues meanwhile"
    )
    reasoning_parser: _Text | None = Field(
        default=None, description="parser that separates reasoning from the answer, such as deepseek_r1"
    )
    speculation: SpeculationSettings | None = Field(default=None, description="speculative decoding")
    lora: dict[str, object] | None = Field(default=None, description="adapters to load: filled in from [lora]")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = Field(
        default=None, description="number format of weights and activations"
    )
    load_format: _Text | None = Field(default=None, description="how weights are loaded; dummy = random weights")
    seed: Annotated[int, Field(strict=True, ge=0)] | None = Field(default=None, description="the engine's random seed")
    trust_remote_code: _Flag | None = Field(default=None, description="run Python code that ships with the model")

    def canonical(self) -> dict[str, object]:
        """The canonical settings that are set (nested `speculation` as a dict without its unset keys)."""
        return self.model_dump(mode="json", include=set(type(self).model_fields), exclude_none=True)

    def own(self, engine: str) -> dict[str, object]:
        """A copy of the table of `engine`'s own settings; empty if there is none."""
        return dict(self.engine_specific_settings().get(engine, {}))

    def engine_specific_settings(self) -> dict[str, dict[str, object]]:
        """All engines' own tables, by engine name."""
        return dict(self.__pydantic_extra__ or {})
