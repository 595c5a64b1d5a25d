"""Limits for the load generator, and the traffic light in live displays. `analysis/verdict/validity.py` applies the
same limits to the whole measured phase of a finished run.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenswarm.contract.limits import CPU_SHARE_LIMIT, LATE_FLOOR_MS, RELATIVE_LIMIT, timing_limit_ms

_NEAR = 0.8
"""The light is amber from this share of a limit."""


@dataclass(frozen=True, slots=True)
class GeneratorHealth:
    """`colour`: green, amber, red, or grey if nothing is known yet. `reasons` are sentences."""

    colour: str
    reasons: tuple[str, ...] = ()


def generator_health(
    *, cpu_share: float | None, error_bound_ms: float | None, lateness_ms: float | None, median_latency_ms: float | None
) -> GeneratorHealth:
    """Judge the last few seconds. None means unknown; for lateness also that it has no meaning in a closed loop."""
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
