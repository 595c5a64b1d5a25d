"""Hardware profiles: how long one step of an engine takes. Pure; the numbers are data in `profiles/*.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import is_read_once
from tokenswarm.base.sentences import unknown
from tokenswarm.base.toml_text import NotToml, decode

_PROFILES = Path(__file__).with_name("profiles")


@dataclass(frozen=True, slots=True)
class SpeculationModel:
    """Speculative decoding: `tokens` are drafted for each step of a sequence; each is accepted with probability
    `acceptance`, up to the first that is not. `draft_cost`: what drafting one costs, as a share of reading the
    weights."""

    tokens: int
    acceptance: float
    draft_cost: float

    @property
    def mean_tokens(self) -> float:
        """Tokens of a step on average: (1 - a^(n+1)) / (1 - a) (Leviathan et al., ICML 2023, equation 1)."""
        if self.acceptance == 1:
            return self.tokens + 1.0
        return (1 - self.acceptance ** (self.tokens + 1)) / (1 - self.acceptance)


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """One engine on one piece of hardware.

    `kind` is `flat` (fixed TTFT and gap, any number of requests at once) or `roofline` (a batch step takes
    as long as the slower of memory traffic and arithmetic). Bytes, FLOP, tokens and seconds throughout.
    """

    name: str
    title: str
    kind: Literal["flat", "roofline"]
    context_length: int
    kv_tokens: int
    ttft_s: float = 0.0
    gap_s: float = 0.0
    memory_bandwidth: float = 1.0
    compute: float = 1.0
    bandwidth_efficiency: float = 1.0
    compute_efficiency: float = 1.0
    weight_bytes: float = 0.0
    parameters: float = 0.0
    kv_bytes_per_token: float = 0.0
    memory_bytes: float = 0.0
    activation_bytes: float = 0.0
    attention_flops_per_pair: float = 0.0
    step_overhead_s: float = 0.0
    request_overhead_s: float = 0.0
    emit_s: float = 0.0
    max_num_seqs: int = 256
    max_batched_tokens: int = 8192

    def step_s(
        self,
        prefill: Sequence[tuple[int, int]],
        decode_contexts: int,
        decodes: int,
        speculation: SpeculationModel | None = None,
    ) -> float:
        """Seconds of one batch step (roofline model; Williams, Waterman and Patterson, CACM 52(4), 2009).

        prefill: one (tokens already in the KV cache, tokens computed now) for each prompt chunk of the step.
        decode_contexts: tokens of context summed over the sequences that decode. decodes: their number.

        Memory: the weights are read once a step, and each sequence's KV cache is read once.
        Arithmetic: 2 FLOP a parameter and token, plus attention over each (query, context) pair.
        With speculation each sequence that decodes has its drafted tokens verified in the same pass, and the draft
        model ran once for each before (Leviathan, Kalman and Matias, ICML 2023, section 3.2).
        """
        width = 1 if speculation is None else speculation.tokens + 1
        tokens = decodes * width
        kv_read, pairs = decode_contexts, decode_contexts * width
        for start, length in prefill:
            tokens += length
            kv_read += start + length
            pairs += length * start + length * (length + 1) // 2
        memory_s = (self.weight_bytes + self.kv_bytes_per_token * kv_read) / (
            self.memory_bandwidth * self.bandwidth_efficiency
        )
        compute_s = (2 * self.parameters * tokens + self.attention_flops_per_pair * pairs) / (
            self.compute * self.compute_efficiency
        )
        drafting_s = 0.0
        if speculation is not None and decodes:
            drafting_s = (
                speculation.tokens
                * speculation.draft_cost
                * self.weight_bytes
                / (self.memory_bandwidth * self.bandwidth_efficiency)
            )
        return max(memory_s, compute_s) + drafting_s + self.step_overhead_s

    def kv_capacity(self, memory_fraction: float, *, static: bool) -> int:
        """Tokens that the KV cache holds where the engine may use so much of the GPUs' memory.

        vLLM (`static` False): what the fraction leaves when weights and the peak of the activations are off (its
        determine_available_memory). SGLang: the fraction is that of weights and KV cache alone, and activations live in
        the rest (its docs, hyperparameter tuning: mem-fraction-static).
        """
        free = self.memory_bytes * memory_fraction - self.weight_bytes - (0.0 if static else self.activation_bytes)
        return int(free / self.kv_bytes_per_token)


def profile_names() -> list[str]:
    """The profiles that come with tokenswarm."""
    return sorted(path.stem for path in _PROFILES.glob("*.toml"))


def load_profile(name: str, **overrides: float | None) -> EngineProfile:
    """The profile `name`, or the one in the TOML file at the path `name`; overrides that are not None win.

    Raises UserError(Exit.USAGE) for an unknown name, an unknown key, a missing one or a value of the wrong type.
    """
    path = Path(name) if name.endswith(".toml") else _PROFILES / f"{name}.toml"
    if is_read_once(path):
        raise UserError(Exit.USAGE, f"{path}: a profile is a file, not a pipe or a device")
    try:
        data = decode(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = unknown("simulator profile", name, profile_names())
        raise UserError(Exit.USAGE, f"{what}; the path of a .toml file works too") from None
    except (OSError, UnicodeDecodeError, NotToml) as error:
        raise UserError(Exit.USAGE, f"{path}: not a readable profile: {error}") from None
    _check(path, data)
    profile = EngineProfile(name=path.stem, **data)  # type: ignore[arg-type]  # checked by now
    return replace(profile, **{key: value for key, value in overrides.items() if value is not None})  # type: ignore[arg-type]


def _check(path: Path, data: dict[str, object]) -> None:
    kinds = {field.name: str(field.type) for field in fields(EngineProfile) if field.name != "name"}
    for key, value in data.items():
        if key not in kinds:
            raise UserError(Exit.USAGE, f"{path}: unknown key {key!r}; allowed: {', '.join(sorted(kinds))}")
        if kinds[key] == "int" and (not isinstance(value, int) or value < 1):
            raise UserError(Exit.USAGE, f"{path}: {key} must be a whole number of at least 1, not {value!r}")
        if kinds[key] == "float" and (not isinstance(value, int | float) or value < 0):
            raise UserError(Exit.USAGE, f"{path}: {key} must be a number of at least 0, not {value!r}")
    for key in ("title", "kind", "context_length", "kv_tokens"):
        if key not in data:
            raise UserError(Exit.USAGE, f"{path}: the key {key!r} is missing")
    if data["kind"] not in ("flat", "roofline"):
        raise UserError(Exit.USAGE, f"{path}: kind must be flat or roofline, not {data['kind']!r}")
    divisors = ("memory_bandwidth", "compute", "bandwidth_efficiency", "compute_efficiency")
    for key in divisors:
        if data.get(key, 1) == 0:
            raise UserError(Exit.USAGE, f"{path}: {key} must be above 0")
