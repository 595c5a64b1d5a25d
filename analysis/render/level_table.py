"""The table of a run's load levels, shared by page, terminal and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.wording import shown_state

from tokenswarm.contract.metric import Place, Rate
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import SloGate

RATES = {"output_tok_s": "Out tok/s", "requests_s": "Done req/s", "goodput_rps": "Good req/s", "error_rate": "Errors"}
"""Rates and shares in a level's row, by name, with short headings."""
_STATES = ("missed", "undetermined", "met")


@dataclass(frozen=True)
class LevelRow:
    """One level: `name` is the load asked for; `figures` are in the order of `headings`."""

    number: int
    name: str
    when: str
    counts: str
    figures: Sequence[Figure]
    gates: str
    state: str
    """The state that sets the colour of its gates, as in `wording.shown_state`; "" if there are none."""
    worst: str
    """`1 missed`: the number of gates in the worst state."""


def headings(summary: Summary, short: bool = False) -> list[str]:
    """Titles of the figures, with their units; `short`: for narrow places."""
    if short:
        return [f"{latency.title} p95 ms" for latency in METRICS.latencies_at(Place.CURVES)] + [
            RATES[name] for name in _shown(summary)
        ]
    units = {name: METRICS[name].unit for name in _shown(summary)}
    return [f"{latency.title} p95 (ms)" for latency in METRICS.latencies_at(Place.CURVES)] + [
        METRICS[name].title + (f" ({unit})" if unit != "share" else "") for name, unit in units.items()
    ]


def level_rows(summary: Summary) -> list[LevelRow]:
    """One row per level, in order; empty for a run with a single load."""
    return [
        LevelRow(
            level.number,
            text.level_words(level),
            _when(level),
            _counts(level),
            [
                *(level.percentile(latency.key, "p95") for latency in METRICS.latencies_at(Place.CURVES)),
                *(rate_of(name, level) for name in _shown(summary)),
            ],
            *_gates([gate for gate in summary.slo if gate.level == level.number]),
        )
        for level in summary.levels
    ]


def _shown(summary: Summary) -> list[str]:
    """Goodput is left out without an objective that bounds a request, because every success would be good."""
    return [name for name in RATES if summary.goodput.bounds or not _of_objectives(name)]


def rate_of(name: str, level: LevelFigures) -> Figure:
    """A rate or share of a level, by the metric's name."""
    metric = METRICS[name]
    return (metric.figure_of(level) if isinstance(metric, Rate) else None) or Figure()


def _of_objectives(name: str) -> bool:
    metric = METRICS[name]
    return isinstance(metric, Rate) and metric.of_objectives


def _when(level: LevelFigures) -> str:
    since = f"from {text.duration(level.at_s)} on" if level.at_s else "from the start"
    return f"{text.duration(level.seconds)} {since}"


def _counts(level: LevelFigures) -> str:
    counts = level.counts
    parts = [
        f"{counts.sent:,} sent",
        *(f"{n:,} {name}" for name, n in (("failed", counts.failed), ("cancelled", counts.cancelled)) if n),
    ]
    return ", ".join(parts)


def _gates(gates: Sequence[SloGate]) -> tuple[str, str, str]:
    """`2 met (1 not certain), 1 missed`, the state that sets their colour, and how many gates are in the worst
    state.
    """
    by_state = {state: sum(gate.state == state for gate in gates) for state in _STATES}
    unsure = sum(shown_state(gate) != gate.state for gate in gates)
    parts = {state: f"{by_state[state]} {state}" for state in reversed(_STATES) if by_state[state]}
    worst = next((state for state in _STATES if by_state[state]), "")
    words = ", ".join(
        part + (f" ({unsure} not certain)" if unsure and state == "met" else "") for state, part in parts.items()
    )
    colour = next((state for state in _STATES if any(shown_state(gate) == state for gate in gates)), "")
    return words, colour, parts.get(worst, "")
