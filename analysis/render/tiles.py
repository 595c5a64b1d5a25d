"""The dashboard's tiles and its table of objectives: how each figure compares with its limit, in the same words."""

from __future__ import annotations

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.render.figures import rate_figures
from tokenswarm.analysis.wording import bound_words, gate_words, shown_state, spare_words

from tokenswarm.contract.metric import Place
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import SloGate

_RANDOM_MODEL = "tiny-llama"
"""Part of the name of the random-weight model that tokenswarm makes for engines on a CPU."""


def mark(gate: SloGate) -> dict[str, str]:
    """Colour (`state`, a class of the style sheet) and word of an objective."""
    return {"state": shown_state(gate), "words": gate_words(gate)}


def interval_words(figure: Figure) -> str:
    """`95%: 63.7 – 125`; if the interval has one end, why the other is missing; or why there is no interval."""
    between = text.interval(figure)
    if not between:
        return ""
    low, high = figure.ends
    if low is None and high is None:
        return f"95%: {figure.why}"
    missing = (
        ""
        if low is not None and high is not None
        else f" (too few for {'an upper' if high is None else 'a lower'} end)"
    )
    return f"95%: {between}{missing}"


def cards(summary: Summary) -> list[dict[str, object]]:
    """The most important figures, each with its interval and its objective."""
    by_key = {gate.key: gate for gate in summary.slo}
    chosen: list[dict[str, object]] = []
    for latency in METRICS.latencies_at(Place.CARD):
        median, tail = (summary.percentile(latency.key, p) for p in ("p50", "p95"))
        shown, figure = ("p95", tail) if tail.value is not None else ("p50", median)
        same = latency.repeats and tail.value == summary.percentile(f"{latency.repeats}_ms", "p95").value
        if median.value is not None and not same:
            label, gate = latency.at(Place.CARD), by_key.get(f"{latency.name}_{shown}_ms")
            chosen.append(_card(f"{label.title} {shown}", figure, label.note, gate))
    for rate, figure in rate_figures(summary, Place.CARD):
        label, gate = rate.at(Place.CARD), by_key.get(rate.slo_key) if rate.slo else None
        note = means_nothing(summary) if rate.name == "valid_output" else ""
        chosen.append(_card(label.title or rate.title, figure, note or label.note, gate, bool(note)))
    return chosen


def _card(
    title: str, figure: Figure, note: str | None, gate: SloGate | None, note_always: bool = False
) -> dict[str, object]:
    card: dict[str, object] = {
        "title": title,
        "value": text.number(figure.value, figure.unit),
        "unit": text.unit_of(figure.unit),
        "interval": interval_words(figure),
        "note": note if note_always or gate is None else None,
        "limit": bound_words(gate) if gate else None,
        "state": None,
        "words": None,
    }
    return card if gate is None else {**card, **mark(gate)}


def means_nothing(summary: Summary) -> str:
    """Why the share of valid answers means nothing in this run; empty if it does."""
    if summary.simulated:
        return "means nothing here: the simulator makes up its answers"
    if summary.constraints or summary.tasks:  # then the engine enforces valid answers, whatever the weights
        return ""
    random = summary.run.effective.get("load_format") == "dummy" or _RANDOM_MODEL in (summary.run.model or "")
    return "means nothing here: the model has random weights" if random else ""


def objective_rows(summary: Summary) -> list[dict[str, str]]:
    """Rows of the SLO table."""
    return [
        {
            "title": gate.title,
            "limit": bound_words(gate) or text.MISSING,
            "value": text.quantity(gate.figure),
            "interval": text.interval(gate.figure) or gate.figure.why or "",
            "spare": spare_words(gate),
        }
        | mark(gate)
        for gate in summary.slo
    ]


def objectives_by_level(summary: Summary) -> list[dict[str, object]]:
    """The SLO table of a run with several load levels: one row per objective, one cell per level."""
    by_key: dict[str, list[SloGate]] = {}
    for gate in summary.slo:
        by_key.setdefault(gate.key.partition(".")[2], []).append(gate)
    return [
        {
            "title": gates[0].title.partition(": ")[2],
            "limit": bound_words(gates[0]) or text.MISSING,
            "cells": [
                {
                    "value": text.quantity(gate.figure),
                    "spare": spare_words(gate),
                    "why": (gate.figure.why or "").split(",")[0],
                }
                | mark(gate)
                for gate in gates
            ],
        }
        for gates in by_key.values()
    ]


def one_sided(summary: Summary) -> bool:
    """Whether a latency has a one-sided interval."""
    return any(
        figure.value is not None and figure.ci95 and None in figure.ends
        for figures in summary.latency.values()
        for figure in figures.values()
    )
