"""A capacity as a page, as Markdown and as junit.xml; and the comparison of two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.render.assets import chart_page, environment
from tokenswarm.analysis.render.capacity_words import (
    answer_sentence,
    capacity_sentence,
    ending_sentence,
    limits_words,
    load_words,
)
from tokenswarm.analysis.render.charts_capacity import capacity_charts
from tokenswarm.analysis.render.junit import junit_of
from tokenswarm.analysis.render.markdown import escape
from tokenswarm.analysis.verdict.gates import FAILED, PASSED, SKIPPED, Case

from tokenswarm.contract.capacity_record import COST, ENERGY, OUTPUT, TTFT, UNITS, USER_SPEED, Capacity, CapacityLevel
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.tables import DASHBOARD_HTML

_COLUMNS = {
    OUTPUT: "Output tok/s per GPU",
    USER_SPEED: "Tok/s per user",
    TTFT: "TTFT p95, ms",
    COST: "$ per M tokens",
    ENERGY: "J per token",
}
_STYLE = {"pass": "met", "fail": "missed", "undecided": "undetermined", "limited": "undetermined"}


def render_capacity(record: Capacity) -> str:
    """capacity.html: one file, offline, with the same protection as the dashboard."""
    charts = capacity_charts([(record.engine_called, record)]) if record.levels else []
    return (
        environment()
        .get_template("capacity.html.j2")
        .render(
            record=record,
            unit=UNITS[record.capacity.unit],
            answer=answer_sentence(record),
            ending=ending_sentence(record),
            limits=limits_words(record.slo, record.target),
            columns=_shown(record),
            rows=list(level_rows(record)),
            tiers=list(_tiers(record)),
            charts=charts,
            facts=_facts(record),
            **chart_page([chart.spec() for chart in charts]),
        )
    )


def _shown(record: Capacity) -> dict[str, str]:
    """The columns of figures that at least one level has."""
    return {
        name: title
        for name, title in _COLUMNS.items()
        if any(level.figures.get(name, Figure()).value is not None for level in record.levels)
    }


def level_rows(record: Capacity, base: str = "") -> Iterator[dict[str, Any]]:
    """The table of levels as text cells, lowest load first. `base`: path from the page to the series, ending in a
    slash.
    """
    for level in sorted(record.levels, key=lambda each: each.load):
        yield {
            "load": load_words(level.load, record.capacity.unit),
            "state": level.state,
            "why": level.why,
            "style": _STYLE.get(level.state, ""),
            "share": _share(level),
            "interval": f"{text.percent(level.ci95[0])} – {text.percent(level.ci95[1])}" if level.requests else "",
            "requests": f"{level.requests:,}",
            "marks": _marks(record, level),
            "cells": [_cell(level.figures.get(name)) for name in _shown(record)],
            "runs": [{"name": run, "href": f"{base}{run}/{DASHBOARD_HTML}"} for run in level.run],
        }


def _share(level: CapacityLevel) -> str:
    return text.MISSING if level.attainment is None else text.percent(level.attainment)


def _cell(figure: Figure | None) -> dict[str, str]:
    if figure is None or figure.value is None:
        return {"value": text.MISSING, "below": (figure.why or "").split(",")[0] if figure is not None else ""}
    return {"value": text.number(figure.value), "below": text.interval(figure)}


def _marks(record: Capacity, level: CapacityLevel) -> list[str]:
    marks = ["SLO edge"] if level.load == record.capacity.sure_pass else []
    marks += ["knee"] if level.load == record.knee else []
    return [*marks, *(["dominated"] if level.dominated else [])]


def _tiers(record: Capacity) -> Iterator[dict[str, str]]:
    for tier in record.tiers:
        figure = tier.capacity
        as_record = Capacity(capacity=figure, slo=tier.slo, target=tier.target)
        yield {
            "name": tier.name,
            "limits": limits_words(tier.slo, tier.target),
            "answer": answer_sentence(as_record),
            "ending": ending_sentence(as_record),
        }


def _facts(record: Capacity) -> str:
    """One line on what the search took."""
    seconds, requests = sum(run.wall_s for run in record.runs), sum(run.requests for run in record.runs)
    usd = sum(run.usd for run in record.runs)
    cost = f", ${usd:.2f}" if usd else ""
    return f"{len(record.runs)} runs, {requests:,} requests, {text.duration(seconds)}{cost}{_no_energy(record)}"


def _no_energy(record: Capacity) -> str:
    """Why the table has no energy figures; empty for a simulator, and for a record older than energy figures."""
    figures = [level.figures[ENERGY] for level in record.levels if ENERGY in level.figures]
    if record.simulated or not figures or any(figure.value is not None for figure in figures):
        return ""
    return f"; energy not known: {figures[0].why}"


def capacity_markdown(record: Capacity) -> str:
    """capacity.md: for a pull request or a ticket."""
    out = [f"## Capacity of {escape(record.engine_called)} for {escape(record.scenario)}", ""]
    out += ["**SIMULATED**: no real engine was measured.", ""] if record.simulated else []
    out += [
        f"**{escape(answer_sentence(record))}** Limits: {escape(limits_words(record.slo, record.target))}. "
        f"{escape(ending_sentence(record))} ({_facts(record)}.)",
        "",
    ]
    out += ["- " + escape("{name} ({limits}): {answer}".format(**tier)) for tier in _tiers(record)]
    heads = [UNITS[record.capacity.unit], "state", "in time", *_shown(record).values()]
    out += [""] * bool(record.tiers) + ["| " + " | ".join(heads) + " |", "|---|---" + "|---:" * (len(heads) - 2) + "|"]
    for row in level_rows(record):
        state = row["state"] + (f" ({', '.join(row['marks'])})" if row["marks"] else "")
        cells = [
            row["load"].split(" ")[0],
            state,
            f"{row['share']} ({row['interval']})",
            *(f"{cell['value']} ({cell['below']})" if cell["below"] else cell["value"] for cell in row["cells"]),
        ]
        out.append("| " + " | ".join(map(escape, cells)) + " |")
    return "\n".join(out) + "\n"


def capacity_junit(record: Capacity) -> str:
    """junit.xml: whether the engine carries the requested load (`at_least`), and whether the search ended with a
    bracket.
    """
    words = capacity_sentence(record)
    figure = record.capacity
    whole = figure.sure_pass is not None and figure.sure_fail is not None
    cases = [Case("capacity has a bracket", PASSED if whole else SKIPPED, words)]
    if record.at_least is not None:
        name = f"capacity is at least {load_words(record.at_least)} {UNITS[figure.unit]}"
        cases.insert(
            0, Case(name, {True: PASSED, False: FAILED, None: SKIPPED}[carries(record, record.at_least)], words)
        )
    seconds = sum(run.wall_s for run in record.runs)
    return junit_of(record.scenario or "scenario", cases, seconds)


def carries(record: Capacity, at_least: float) -> bool | None:
    """True if the whole interval is at or above a load, False if all of it is below, None if the load is inside."""
    low, high = record.capacity.ci95
    if low is not None and low >= at_least:
        return True
    return False if high is not None and high < at_least else None


def render_capacities(
    names: Sequence[str], records: Sequence[Capacity], sentences: Sequence[str], bases: Sequence[str]
) -> str:
    """The page that compares two capacities. `bases`: paths from the page to each series."""
    charts = capacity_charts(list(zip(names, records, strict=True)))
    sides = [
        {
            "name": name,
            "answer": answer_sentence(record),
            "limits": limits_words(record.slo, record.target),
            "ending": ending_sentence(record),
            "facts": _facts(record),
            "columns": _shown(record),
            "rows": list(level_rows(record, base)),
            "unit": UNITS[record.capacity.unit],
        }
        for name, record, base in zip(names, records, bases, strict=True)
    ]
    return (
        environment()
        .get_template("capacities.html.j2")
        .render(
            sides=sides,
            sentences=sentences,
            charts=charts,
            simulated=any(record.simulated for record in records),
            **chart_page([chart.spec() for chart in charts]),
        )
    )


def capacities_markdown(names: Sequence[str], records: Sequence[Capacity], sentences: Sequence[str]) -> str:
    """The same for a pull request or a ticket."""
    out = [f"## Capacity: {escape(names[1])} against {escape(names[0])}", ""]
    out += ["**SIMULATED**: no real engine was measured.", ""] if any(each.simulated for each in records) else []
    out += [f"{escape(sentence)}\n" for sentence in sentences]
    out += ["| | capacity | 95% interval | surely passes | surely fails |", "|---|---:|---:|---:|---:|"]
    for name, record in zip(names, records, strict=True):
        figure = record.capacity
        ends = " to ".join(load_words(end) for end in figure.ci95)
        cells = (
            name,
            load_words(figure.estimate, figure.unit),
            ends,
            load_words(figure.sure_pass),
            load_words(figure.sure_fail),
        )
        out.append("| " + " | ".join(map(escape, cells)) + " |")
    return "\n".join(out) + "\n"
