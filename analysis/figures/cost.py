"""What tokens cost: the price of the GPUs over what they gave. Pure arithmetic (docs/metrics.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tokenswarm.analysis.figures.statistics import Estimate

PER_MILLION = 1e6
_SECONDS_PER_HOUR = 3600.0


def cost_figures(price: object, gpus: object, rates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """$ per million output tokens, prompt tokens, tokens of either kind, and answered requests.

    Each puts the whole price on what it names: what of it a prompt costs and what an answer, nobody can tell.

    `price` is $ per GPU and hour, `gpus` their number; None where no price was given. `rates` are a summary's, per
    second. The interval is that of the rate: the GPUs cost the same whatever they give.
    """
    if not _positive(price) or not _positive(gpus):
        return None
    per_second = float(price) * float(gpus) / _SECONDS_PER_HOUR
    units = {"per_million_output_tokens": "output_tok_s", "per_million_input_tokens": "input_tok_s",
             "per_million_tokens": "total_tok_s", "per_million_requests": "requests_s"}
    figures = {name: _inverse(per_second, rates.get(rate) or {}).figure("$") for name, rate in units.items()}
    return {"gpu_hour_usd": float(price), "gpus": int(gpus), **figures}


def _inverse(per_second: float, rate: Mapping[str, Any]) -> Estimate:
    value = rate.get("value")
    if not value:
        return Estimate(None, n=int(rate.get("n") or 0), why=str(rate.get("why") or "nothing was given"))
    low, high = rate.get("ci95") or (None, None)
    bound = [None if not end else PER_MILLION * per_second / end for end in (high, low)]
    return Estimate(PER_MILLION * per_second / value, *bound, n=int(rate.get("n") or 0))


def _positive(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) and number > 0
