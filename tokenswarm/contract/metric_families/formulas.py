"""Formulas used by metrics of several families: pure functions of sums over a part of a run."""

from __future__ import annotations

from collections.abc import Callable

from tokenswarm.contract.metric import Sums


def share_of(above: str, *below: str) -> Callable[[Sums], float | None]:
    """A function of sums: `above` divided by the sum of `below`; None if `above` is missing or that sum is 0."""

    def of_sums(sums: Sums) -> float | None:
        whole = sum(sums[name] for name in below)
        return sums[above] / whole if above in sums and whole > 0 else None

    return of_sums


def per_second(*names: str) -> Callable[[Sums], float | None]:
    """A function of sums: the total of `names` divided by the duration in seconds; None if one is missing."""

    def of_sums(sums: Sums) -> float | None:
        known = all(name in sums for name in names)
        return sum(sums[name] for name in names) / sums["seconds"] if known and sums["seconds"] > 0 else None

    return of_sums


def hit_rate(sums: Sums) -> float | None:
    """Share of the prompt tokens that were cached, as reported in the answers. An engine that reports hits but never a
    0 omits its misses, so an answer without a report counts as a miss.
    """
    prompt_tokens = sums["prompt_tokens_with_cache_info"] if sums["explicit_zero_hits"] else sums["prompts_of_ok"]
    return sums["cached_tokens"] / prompt_tokens if sums["prompt_tokens_with_cache_info"] and prompt_tokens else None


def computed_tok_s(sums: Sums) -> float | None:
    """Prompt and output tokens per second, without the prompt tokens found in the engine's cache."""
    share, prompt, output = hit_rate(sums), per_second("window_prompt")(sums), per_second("window_output")(sums)
    return None if share is None or prompt is None or output is None else output + prompt * (1.0 - share)
