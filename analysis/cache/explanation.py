"""Why prompt tokens missed the prefix cache: turns shares into sentences. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tokenswarm.analysis import wording as text

NEARLY_ALL = 0.95
"""Share of what the workload allows from which the engine gets "nearly all"."""
MIN_LOSS = 0.02
"""Share of the prompt tokens below which no limiting factor is named."""
HARDLY_ANY = 0.05
"""Ideal hit rate below which a workload hardly repeats itself."""
MODEL_TOLERANCE = 0.02
"""Share of the prompt tokens by which an engine may exceed the models: their error."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Shares of the prompt tokens, 0..1; None = not known.

    - ideal: found by an unlimited cache; at_least and at_most bound it, because prompts are recorded in pieces
    - computed: found among prompts whose computation had finished when they were needed
    - prompts: found in other prompts, ignoring answers
    - blocks: found in whole blocks; blocks_range bounds it, because token counts are estimates
    - capacity: found in a cache of `capacity_tokens`
    - got: what the engine reports

    all_kept_tokens: the tokens of everything that was sent, if the KV cache holds them all.
    """

    ideal: float
    at_least: float
    at_most: float
    computed: float
    prompts: float
    blocks: float | None
    capacity: float | None
    got: float | None
    block_size: int | None = None
    capacity_tokens: int | None = None
    cache_is_off: bool = False
    blocks_range: tuple[float, float] | None = None
    all_kept_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class YardstickStep:
    """One step of the yardstick: the share allowed after it, and what causes the loss.

    `lost` is a share of the prompt tokens, never negative. `stage`: workload, blocks, memory or engine.
    """

    stage: str
    title: str
    share: float
    lost: float


def steps(allowed: Allowed) -> list[YardstickStep]:
    """The steps from all prompt tokens down to the engine's hit rate. Unknown shares, and blocks of one token, are left
    out.
    """
    block, capacity = allowed.block_size, allowed.capacity_tokens
    known = [("workload", "the workload allows", allowed.ideal)]
    if allowed.blocks is not None and block != 1:
        known.append(("blocks", f"blocks of {block:,} allow", allowed.blocks))
    if allowed.capacity is not None:
        known.append(("memory", f"a KV cache of {capacity:,} tokens allows", allowed.capacity))
    if allowed.got is not None:
        known.append(("engine", "the engine got", allowed.got))
    steps_down, before = [], 1.0
    for stage, title, share in known:
        steps_down.append(YardstickStep(stage, title, share, max(0.0, before - share)))
        before = min(before, share)
    return steps_down


def sentence(allowed: Allowed) -> str:
    """`The workload allows 87%, blocks of 16 allow 85%, a KV cache of 60,000 tokens allows 61%, the engine got 58%.`"""
    parts = ", ".join(f"{step.title} {text.percent(step.share)}{_between(step, allowed)}" for step in steps(allowed))
    return f"{parts[0].upper()}{parts[1:]}."


def _between(step: YardstickStep, allowed: Allowed) -> str:
    """`` (64.1% to 70.9%)`` if the range is wide enough to matter."""
    if step.stage != "blocks" or allowed.blocks_range is None:
        return ""
    low, high = allowed.blocks_range
    return f" ({text.percent(low)} to {text.percent(high)})" if high - low > MIN_LOSS else ""


def all_fits(allowed: Allowed) -> str | None:
    """A sentence if the KV cache holds everything sent, warm-up included: then nothing was ever evicted."""
    if allowed.all_kept_tokens is None or allowed.capacity_tokens is None or allowed.cache_is_off:
        return None
    return (
        f"Everything that was sent (about {allowed.all_kept_tokens:,} tokens) fits into the KV cache "
        f"({allowed.capacity_tokens:,}): nothing had to be evicted, so this run does not show how the engine "
        "chooses what to keep."
    )


def limiting_factor(allowed: Allowed) -> tuple[str | None, str]:
    """The limiting factor and one or two sentences on why. None if nothing is lost, or the cause is unknown."""
    got = allowed.got
    if got is None:
        return None, "The engine does not report its hits, so it is not known what it found of that."
    if allowed.cache_is_off:
        return "engine", "The engine's prefix cache is off."
    if got > allowed.at_most + MODEL_TOLERANCE:
        return None, (
            "The engine reports more than these prompts allow: it had cached some of them before the run (was "
            "its cache emptied?), it serves other clients too, or it counts differently."
        )
    if allowed.ideal < HARDLY_ANY:
        return "workload", "Its prompts hardly share beginnings: no engine and no setting would find much more."
    if got >= min(NEARLY_ALL * allowed.ideal, allowed.ideal - MIN_LOSS):
        return "workload", (
            "The engine gets nearly all that is possible: only other prompts, or a longer run in which "
            "they are repeated, would give more."
        )
    worst = max(steps(allowed)[1:], key=lambda step: step.lost)
    return worst.stage, _reasons(allowed, worst.lost)[worst.stage]


def _reasons(allowed: Allowed, lost: float) -> dict[str, str]:
    most = f"Most of what is lost ({text.percent(lost)} of the prompt tokens) is lost "
    early, answers = allowed.ideal - allowed.computed, allowed.ideal - allowed.prompts
    why = (
        "Likely reasons: prompts that arrive while the first of their kind is still being computed, answers that "
        "come back as different tokens, a different eviction policy."
    )
    if early > lost / 2:
        why = (
            f"{text.percent(early)} of the prompt tokens were asked for while the first of their kind was still "
            "being computed: with fewer at once, more would be found."
        )
    elif answers > lost / 2:
        why = (
            f"{text.percent(answers)} of the prompt tokens are answers that came back for the first time: an engine "
            "finds them only if their text is tokenized into the same tokens that it generated."
        )
    return {
        "blocks": f"{most}to the block size: what prompts share ends within a block of {allowed.block_size or 0:,} "
        "tokens. Smaller blocks, or longer shared beginnings, would help.",
        "memory": f"{most}to memory: what would be asked for again is evicted before. More KV cache (memory "
        "fraction, fp8 KV cache, more GPUs), fewer users at once or fewer documents would help.",
        "engine": f"{most}in the engine itself. {why}",
    }
