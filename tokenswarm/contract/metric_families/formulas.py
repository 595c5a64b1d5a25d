"""Formulas that metrics of several families are made of: pure functions of sums over a stretch of a run."""

from __future__ import annotations

from collections.abc import Callable

from tokenswarm.contract.metric import Sums


def share_of(above: str, *below: str) -> Callable[[Sums], float | None]:
    """The function of sums that divides one by the sum of others; None where one is not known or all below are 0."""

    def of_sums(sums: Sums) -> float | None:
        whole = sum(sums[name] for name in below)
        return sums[above] / whole if above in sums and whole > 0 else None

    return of_sums


def per_second(*names: str) -> Callable[[Sums], float | None]:
    """The function of sums that divides the sum of these by the stretch's seconds."""

    def of_sums(sums: Sums) -> float | None:
        known = all(name in sums for name in names)
        return sum(sums[name] for name in names) / sums["seconds"] if known and sums["seconds"] > 0 else None

    return of_sums


def hit_rate(sums: Sums) -> float | None:
    """Share of the prompt tokens that were cached, as the answers tell it.

    An engine that tells hits and never a 0 leaves out its misses, so an answer that tells nothing is one.
    """
    prompt_tokens = sums["prompt_tokens_with_cache_info"] if sums["explicit_zero_hits"] else sums["prompts_of_ok"]
    return sums["cached_tokens"] / prompt_tokens if sums["prompt_tokens_with_cache_info"] and prompt_tokens else None


def computed_tok_s(sums: Sums) -> float | None:
    """Prompt and output tokens a second without the prompt tokens that the engine found in its cache."""
    share, prompt, output = hit_rate(sums), per_second("window_prompt")(sums), per_second("window_output")(sums)
    return None if share is None or prompt is None or output is None else output + prompt * (1.0 - share)
