"""The profile of a workload for a terminal of 80 columns, by rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.render.profile_rows import Named, profile_rows
from tokenswarm.analysis.traffic.workload_profile import (
    ArrivalFigures,
    HitRates,
    Lengths,
    SharedFigures,
    TrafficProfile,
)

from tokenswarm.base.numbers import significant

_BARS = "▁▂▃▄▅▆▇█"
_POISSON_LOW, _POISSON_HIGH = 0.8, 1.25
"""Coefficients of variation of the gaps between which arrivals are called Poisson (exactly 1)."""
_TITLES = {
    "input_tokens": "prompts",
    "output_tokens": "answers",
    "arrivals": "arrivals",
    "sessions": "sessions",
    "hit_rate": "hits",
}
"""Titles of unknown figures, by field; `shared` is unknown for the same reason as `hit_rate`."""


def profile_table(profile: TrafficProfile, name: str) -> RenderableType:
    """What `tokenswarm profile` prints."""
    parts: list[RenderableType] = [Text.assemble((name, "bold"), f"  {profile.requests:,} requests"), _lengths(profile)]
    lines = Table.grid(padding=(0, 2))
    if profile.estimated:
        lines.add_row(Text("lengths", style="bold"), "what was not recorded is estimated at four bytes of text a token")
    if profile.arrivals:
        _add(lines, "arrivals", _arrivals(profile.arrivals))
    if profile.shared and profile.hit_rate:
        _add(lines, "shared", _shared(profile.shared))
        _add(lines, "hits", _hits(profile.hit_rate))
    if profile.rule_of_thumb:
        _add(lines, "rule", [profile.rule_of_thumb])
    for field, why in profile.why.items():
        if field in _TITLES:
            _add(lines, _TITLES[field], [f"not known: {why}"])
    parts.append(lines)
    if profile.hit_rate and profile.hit_rate.unbounded:
        parts.append(_curve(profile.hit_rate))
    return Group(*parts)


def profiles_table(profiles: Sequence[Named]) -> RenderableType:
    """Several workloads side by side."""
    table = Table("", *(escape(name) for name, _ in profiles), box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in profile_rows(profiles):
        table.add_row(row.title, *row.cells)
    return table


def _add(lines: Table, title: str, sentences: list[str]) -> None:
    for at, words in enumerate(sentences):
        lines.add_row(Text("" if at else title, style="bold"), words)


def _lengths(profile: TrafficProfile) -> Table:
    table = Table("", "mean", "p50", "p90", "p99", "max", "total", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    rows: list[tuple[str, Lengths | None, str]] = [
        ("prompt, tokens", profile.input_tokens, "tokens"),
        ("answer, tokens", profile.output_tokens, "tokens"),
    ]
    if profile.sessions:
        rows += [
            ("turns in a session", profile.sessions.turns, "turns"),
            ("pause before a turn, s", profile.sessions.delay_s, "s"),
        ]
    for title, lengths, unit in rows:
        if lengths is not None:
            shown = [lengths.mean, lengths.p50, lengths.p90, lengths.p99, lengths.max]
            cells = [f"{value:,.1f}" if unit != "tokens" else f"{value:,.0f}" for value in shown]
            table.add_row(title, *cells, text.count(round(lengths.total)) if unit == "tokens" else "")
    return table


def _arrivals(arrivals: ArrivalFigures) -> list[str]:
    largest = arrivals.largest_minute
    lines = [
        f"{significant(arrivals.rate)} requests/s over {text.duration(arrivals.duration_s)}",
        f"largest minute: {largest.requests:,} requests, from {text.duration(largest.start_s)} on",
    ]
    if arrivals.cv is not None:
        kind = (
            "like Poisson arrivals"
            if _POISSON_LOW <= arrivals.cv <= _POISSON_HIGH
            else "burstier than Poisson arrivals"
            if arrivals.cv > 1
            else "more even than Poisson arrivals"
        )
        lines.append(f"gaps between them: CV {arrivals.cv:.2f}, {kind}")
    top = max(arrivals.over_time, default=0.0)
    if top:
        bars = (
            _BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] if value else " " for value in arrivals.over_time
        )
        lines += ["".join(bars), f"requests/s over time, at most {significant(top)}"]
    if arrivals.out_of_order:
        lines.append(f"{text.times(arrivals.out_of_order)} a request stands before an earlier one; they are sorted")
    return lines


def _shared(shared: SharedFigures) -> list[str]:
    lines = [
        f"{text.percent(shared.fixed)} of the prompt tokens are fixed context: {shared.fixed_share:.0%} of the "
        f"{'requests' if shared.own_session is None else 'sessions'}, or more, begin so"
    ]
    if shared.own_session is not None:
        lines.append(f"{text.percent(shared.own_session)} were in an earlier turn of their session")
    return lines


def _hits(hits: HitRates) -> list[str]:
    lines = [
        f"a cache without limits finds {_with_error(point.rate, point.error)} in blocks of {point.size}"
        for point in hits.blocks
    ]
    if hits.sampled is not None:
        lines.append(text.sampled_hits(hits.sampled))
    if hits.half_at is not None and hits.ninety_at is not None:
        lines.append(
            f"half of it takes a KV cache of {hits.half_at:,} tokens, nine tenths {hits.ninety_at:,} "
            f"(least recently used, blocks of {hits.block_tokens})"
        )
    return lines


def _with_error(rate: float, error: float | None) -> str:
    return text.percent(rate) if error is None else f"{text.percent(rate)} (± {100 * error:.2g} points)"


def _curve(hits: HitRates) -> Table:
    table = Table("KV cache, tokens", "hit rate", "", box=box.SIMPLE_HEAD)
    table.columns[0].justify = table.columns[1].justify = "right"
    longest = 36 if hits.sampled is None else 24
    shown = [point for point in hits.lru if point.rate > 0.002 * hits.unbounded] or hits.lru[-1:]
    for point in shown:
        table.add_row(
            f"{point.tokens:,}",
            _with_error(point.rate, point.error),
            "█" * round(longest * point.rate / hits.unbounded),
        )
    return table
