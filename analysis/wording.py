"""Numbers and durations in words, the same in the terminal and on pages. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from tokenswarm.base.numbers import load_number
from tokenswarm.contract.manifest import LoadRecord
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.verdict_records import SloGate

NO_INTERVAL = "no interval"
MISSING = "–"
SIGNS = {"<=": "≤", ">=": "≥"}
"""How the directions of an objective are displayed."""


def number(value: float | None, unit: str = "") -> str:
    """Three significant digits; from 1,000 up all digits before the point; a share as a percentage."""
    if value is None:
        return MISSING
    if unit == "share":
        return percent(value)
    if not value or isinstance(value, int) or abs(value) >= 1_000:
        return f"{value:,.0f}"
    rounded = float(f"{value:.3g}")  # 9.999 is shown as 10.0, not as 10.00
    return f"{value:,.0f}" if abs(rounded) >= 100 else f"{rounded:#.3g}"


def limit(value: float | None, unit: str = "") -> str:
    """A bound as its author wrote it: 30 stays 30, 0.01 as a share is 1%."""
    if value is None:
        return MISSING
    return f"{100 * value:g}%" if unit == "share" else f"{value:,.10g} {unit}".strip()


def percent(value: float) -> str:
    """A share as a percentage that never rounds a flaw away: 99.98%, not 100%."""
    points = 100.0 * value
    if points in (0.0, 100.0) or points >= 200.0:
        return f"{points:,.0f}%"
    if points > 100.0:
        return f"{points:.1f}%"
    if points < 0.1 or points > 99.9:
        return f"{points:.2f}%" if 0.01 <= points <= 99.99 else ("<0.01%" if points < 50 else ">99.99%")
    return f"{points:.1f}%"


def count(n: int) -> str:
    """A short count for narrow places: 950, 12k, 3.4M."""
    if n < 10_000:
        return f"{n:,}"
    return f"{n / 1e3:.0f}k" if n < 1_000_000 else f"{n / 1e6:.1f}M"


def times(n: int) -> str:
    """once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(n, f"{n:,} times")


def unit_of(unit: str) -> str:
    """The unit to put after a number; empty for a share, which has its own sign."""
    return {"share": "", "us": "µs"}.get(unit, unit)


def quantity(figure: Figure | None) -> str:
    """A figure's value with its unit."""
    if figure is None or figure.value is None:
        return MISSING
    return f"{number(figure.value, figure.unit)} {unit_of(figure.unit)}".strip()


def interval(figure: Figure | None) -> str:
    """A figure's 95% interval without unit, `no interval` if it would be a single point, else an empty string."""
    if figure is None or figure.value is None:
        return ""
    if not figure.ci95:
        return NO_INTERVAL if (figure.why or "").startswith(NO_INTERVAL) else ""
    low, high = figure.ends
    if low is None:
        return f"≤ {number(high, figure.unit)}"
    if high is None:
        return f"≥ {number(low, figure.unit)}"
    return f"{number(low, figure.unit)} – {number(high, figure.unit)}"


def duration(seconds: float | None) -> str:
    """`45 s`, `3 min 20 s`, `8 h 5 min`."""
    if seconds is None:
        return MISSING
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 7200:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def bound_words(gate: SloGate) -> str:
    """`≤ 400 ms`; empty for an objective that cannot be parsed."""
    return "" if gate.limit is None else f"{SIGNS.get(gate.op or '', '')} {limit(gate.limit, gate.unit)}"


def gate_words(gate: SloGate) -> str:
    """The state of an objective in the same words everywhere: `met`, `met, not certain`, `missed`, `undetermined`."""
    return gate.state if gate.certain or gate.state == "undetermined" else f"{gate.state}, not certain"


def shown_state(gate: SloGate) -> str:
    """The state that sets an objective's colour: met but not certain is amber."""
    return "undetermined" if gate.state == "met" and not gate.certain else gate.state


def spare_words(gate: SloGate) -> str:
    """The distance of an objective from its limit: `892 ms to spare`, `112 ms over`; for a minimum rate, `1.2 req/s
    short`.
    """
    value = gate.figure.value
    if gate.state == "undetermined" or gate.limit is None or value is None:
        return ""
    apart = _apart(abs(value - gate.limit), gate.unit)
    return f"{apart} to spare" if gate.state == "met" else f"{apart} {'over' if gate.op == '<=' else 'short'}"


def verdict_words(gate: SloGate) -> str:
    """Both: `met, 892 ms to spare`; `missed, not certain, 112 ms over`."""
    return ", ".join(filter(None, (gate_words(gate), spare_words(gate))))


def points(difference: float) -> str:
    """A difference of two shares in percentage points, with its sign: `+0.220`, `-21.7`, `0`."""
    return f"{'+' if difference > 0 else ''}{number(100.0 * difference)}"


def moment(at: str | None) -> str:
    """A recorded time (`2026-11-18T10:39:55Z`) for display: `2026-11-18 10:39:55 UTC`."""
    return (at or "").replace("T", " ").replace("Z", " UTC")


def _apart(difference: float, unit: str) -> str:
    """The distance between two values of a unit; in percentage points for shares."""
    if unit == "share":
        return f"{number(100.0 * difference)} points"
    return f"{number(difference)} {unit_of(unit)}".strip()


def _levels(start: float, end: float | None, steps: object) -> str:
    """Rate or users: one number, `2 to 8` for a ramp, `2, 4, 8` for steps."""
    in_steps = isinstance(steps, list) and bool(steps)
    levels = steps if isinstance(steps, list) and steps else [start] if end is None else [start, end]
    return (", " if in_steps else " to ").join(
        load_number(level) if isinstance(level, int | float) else str(level) for level in levels
    )


def level_words(level: LevelFigures) -> str:
    """The load asked for in a level: `48 users`, `4 req/s`, `2 to 4 req/s`."""
    start, end, unit = (
        (level.users, level.users_end, "users") if level.rate is None else (level.rate, level.rate_end, "req/s")
    )
    if start is None:
        return "a load that is not known"
    if unit == "users" and start == 1 and end is None:
        return "1 user"
    return f"{_levels(start, end, None)} {unit}"


def level_name(level: LevelFigures) -> str:
    """`Level 2 (48 users)`."""
    return f"Level {level.number} ({level_words(level)})"


def load_sentence(load: LoadRecord, levels: Sequence[LevelFigures] = ()) -> str:
    """The load in words: `16 users, closed loop` or `20 requests/s, open loop`; `32 → 48 → 8 users, closed loop` if it
    was changed during the run.

    Cold prompts are mentioned.
    """
    parts = []
    if load.mode == "open" and load.rate is not None:
        parts.append(f"{_levels(load.rate, load.rate_end, load.rate_steps)} requests/s, open loop")
    elif any(level.began == "changed" for level in levels):
        parts.append(
            f"{' → '.join(f'{level.users:g}' for level in levels if level.users is not None)} users, closed loop"
        )
    elif load.users is not None:
        parts.append(f"{_levels(load.users, load.users_end, load.users_steps)} users, closed loop")
    elif load.mode:
        parts.append(f"{load.mode} loop")
    if load.workers is not None and load.workers > 1:
        parts.append(f"{load.workers} workers")
    if parts and load.prompts == "cold":
        parts.append("cold prompts")
    return ", ".join(parts) or "load not known"


def sampled_hits(share: float) -> str:
    """A note that a hit rate is an estimate from a sample."""
    return (
        f"there are too many blocks to look at each: hits are of one in {1 / share:,.0f}, drawn by content, "
        "with 95% errors"
    )
