"""When a load generator is not to be trusted: the limits, and the light that live displays show.

The verdict on a finished run is `analysis/verdict/validity.py`'s, by the same limits over the whole measured phase.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenswarm.contract.limits import CPU_SHARE_LIMIT, LATE_FLOOR_MS, RELATIVE_LIMIT, timing_limit_ms

_NEAR = 0.8
"""Amber from this share of a limit on."""


@dataclass(frozen=True, slots=True)
class GeneratorHealth:
    """`colour`: green, amber, red, or grey where nothing is known yet. `reasons` are sentences."""

    colour: str
    reasons: tuple[str, ...] = ()


def generator_health(
    *, cpu_share: float | None, error_bound_ms: float | None, lateness_ms: float | None, median_latency_ms: float | None
) -> GeneratorHealth:
    """Judge the last seconds. None = not known, or (lateness) without meaning in a closed loop."""
    relative = RELATIVE_LIMIT * (median_latency_ms or 0.0)
    rules = (
        (
            cpu_share,
            CPU_SHARE_LIMIT,
            "{:.0%}",
            "the busiest worker uses {} of a core (limit {}): use more WORKERS or less load",
        ),
        (
            error_bound_ms,
            timing_limit_ms(median_latency_ms or 0.0),
            "{:.1f} ms",
            "latencies may be off by {} (limit {}): use more WORKERS, less load, or a quieter machine",
        ),
        (
            lateness_ms,
            max(LATE_FLOOR_MS, relative),
            "{:.1f} ms",
            "requests leave {} late (limit {}): use more WORKERS or less RATE",
        ),
    )
    worst, reasons = 0.0, []
    for value, limit, form, sentence in rules:
        if value is not None:
            worst = max(worst, value / limit)
            if value > _NEAR * limit:
                reasons.append(sentence.format(form.format(value), form.format(limit)))
    if cpu_share is None and error_bound_ms is None:
        return GeneratorHealth("grey", ("nothing is known about the load generator yet",))
    return GeneratorHealth("red" if worst > 1 else "amber" if worst > _NEAR else "green", tuple(reasons))
