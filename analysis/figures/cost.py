"""What tokens cost: the price of the GPUs over the tokens they produced. Pure arithmetic (docs/metrics.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tokenswarm.analysis.figures.statistics import Estimate

from tokenswarm.contract.summary.figure import Figure, Number
from tokenswarm.contract.summary.request_records import Cost

PER_MILLION = 1e6
_SECONDS_PER_HOUR = 3600.0


def cost_figures(price: Number | None, gpus: Number | None, rates: Mapping[str, Figure]) -> Cost | None:
    """$ per million output tokens, prompt tokens, tokens of either kind, and answered requests.

    Each figure divides the whole price by one quantity, because the price cannot be split between prompts and answers.
    `price` is $ per GPU and hour, `gpus` their number; None if no price was given. `rates` are a summary's, per second.
    The interval is that of the rate, because the price does not vary.
    """
    if price is None or gpus is None or not _positive(price) or not _positive(gpus):
        return None
    per_second = float(price) * float(gpus) / _SECONDS_PER_HOUR
    output, prompts, both, requests = (
        _inverse(per_second, rates.get(rate) or Figure()).figure("$")
        for rate in ("output_tok_s", "input_tok_s", "total_tok_s", "requests_s")
    )
    return Cost(float(price), int(gpus), output, prompts, both, requests)


def _inverse(per_second: float, rate: Figure) -> Estimate:
    if not rate.value:
        return Estimate(None, n=rate.n, why=rate.why or "nothing was given")
    low, high = (None if not end else PER_MILLION * per_second / end for end in reversed(rate.ends))
    return Estimate(PER_MILLION * per_second / rate.value, low, high, n=rate.n)


def _positive(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) and number > 0
