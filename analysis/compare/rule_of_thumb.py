"""What the field's rule of thumb says, from traits measured in the rows. It is shown beside a verdict, never
instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

SHARED_PREFIX_SHARE = 0.30
"""Share of fixed context in the prompt from which a radix cache is said to pay off."""
MANY_CONCURRENT = 100
"""Requests in flight from which vLLM's scheduler is said to be ahead."""
_DEEPSEEK = re.compile(r"deepseek", re.IGNORECASE)
VLLM, SGLANG = "vLLM", "SGLang"


@dataclass(frozen=True, slots=True)
class Fleet:
    """What only the user knows: whether the hardware is mixed, and whether models change often."""

    mixed_hardware: bool = False
    frequent_model_changes: bool = False


@dataclass(frozen=True, slots=True)
class Traits:
    """What the rule asks about a workload. None = not measured; only the user knows the last two."""

    shared_prefix_share: float | None
    concurrency: float | None
    model: str
    mixed_hardware: bool = False
    frequent_model_changes: bool = False


@dataclass(frozen=True, slots=True)
class Advice:
    """The engine that the rule names (None = nearly equal, or its parts contradict each other), and why."""

    engine: str | None
    sentence: str
    reasons: tuple[tuple[str, str], ...]
    """(engine, trait in words), one for each part of the rule that applies."""


@dataclass(frozen=True, slots=True)
class Totals:
    """One run's contribution to the traits: characters and seconds."""

    shared_chars: float
    prompt_chars: float
    busy_s: float
    """Sum of its requests' E2E times."""
    seconds: float
    """Length of its measure window."""


def totals(rows: pd.DataFrame, seconds: float | None) -> Totals:
    """Totals of a run's measured rows."""
    known = rows["shared_prefix_chars"].notna() & rows["prompt_chars"].notna()
    shared, chars = (float(rows.loc[known, name].sum()) for name in ("shared_prefix_chars", "prompt_chars"))
    return Totals(shared, chars, float(rows["e2e_ms"].sum()) / 1000.0 if seconds else 0.0, seconds or 0.0)


def traits(runs: Sequence[Totals], model: str, fleet: Fleet | None = None) -> Traits:
    """Traits of a workload from its runs.

    Fixed context: characters that other requests share by design / all characters of the prompts. Concurrency: mean
    number of requests in flight, which is the sum of all E2E times / the seconds measured (Little's law).
    """
    fleet = fleet or Fleet()
    chars, seconds = sum(run.prompt_chars for run in runs), sum(run.seconds for run in runs)
    return Traits(
        sum(run.shared_chars for run in runs) / chars if chars else None,
        sum(run.busy_s for run in runs) / seconds if seconds else None,
        model,
        fleet.mixed_hardware,
        fleet.frequent_model_changes,
    )


def advise(traits: Traits) -> Advice:
    """The rule of thumb applied to these traits."""
    reasons = []
    share = traits.shared_prefix_share
    if share is not None and share >= SHARED_PREFIX_SHARE:
        reasons.append((SGLANG, f"{share:.0%} of the prompts is fixed context (30% or more)"))
    if _DEEPSEEK.search(traits.model):
        reasons.append((SGLANG, "the model is of the DeepSeek family"))
    if traits.concurrency is not None and traits.concurrency >= MANY_CONCURRENT:
        reasons.append((VLLM, f"{traits.concurrency:.0f} requests are in flight on average (100 or more)"))
    if traits.mixed_hardware:
        reasons.append((VLLM, "the hardware is mixed"))
    if traits.frequent_model_changes:
        reasons.append((VLLM, "models change often"))
    engines = {engine for engine, _ in reasons}
    why = "; ".join(f"{engine} because {trait}" for engine, trait in reasons)
    if not reasons:
        known = [] if share is None else [f"{share:.0%} of the prompts is fixed context"]
        if traits.concurrency is not None:
            known.append(f"{traits.concurrency:.0f} requests are in flight on average")
        measured = ", ".join(known) or "no trait is known"
        return Advice(None, f"The rule of thumb calls the engines near equal here ({measured}).", ())
    if len(engines) > 1:
        return Advice(None, f"The rule of thumb contradicts itself here: {why}.", tuple(reasons))
    return Advice(engines.pop(), f"The rule of thumb says {why}.", tuple(reasons))


def advise_before_a_run(shared_prefix_share: float | None) -> str | None:
    """What the rule says about a workload that no engine has served yet; None if its fixed context is unknown."""
    if shared_prefix_share is None:
        return None
    sentence = advise(Traits(shared_prefix_share, None, "")).sentence
    return f"{sentence} It also asks how many requests are in flight, which only a run tells."


def agreement(advice: Advice, winner: str | None) -> str:
    """A sentence on whether the measurement (`winner`: the better engine, or None) agrees with the rule."""
    if advice.engine is None:
        return "" if winner is None else f"The measurement does decide: {winner}."
    if winner is None:
        return "The measurement does not confirm it: neither engine was better. Trust the measurement."
    if winner == advice.engine:
        return "The measurement agrees."
    return f"The measurement disagrees: {winner} was better for this workload. Trust the measurement."
