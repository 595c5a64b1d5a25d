"""Service level objectives: parsing, evaluation against figures, and what a single request must meet.

The language is a scenario's [slo] table (`tokenswarm.contract.objectives` reads its keys). `<latency>_p95_ms` bounds a
percentile of a latency and, for goodput, each single request; other keys bound a rate or share. A table inside it,
`[slo.RagReader]`, holds the objectives of one Locust user class: additional gates, which goodput ignores. A user class
with its own scenario is judged by that scenario's [slo], goodput included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from msgspec.structs import replace
from tokenswarm.analysis.figures.certification import certify
from tokenswarm.analysis.figures.flow import Flow
from tokenswarm.analysis.figures.quantities import by_row, error_rate, is_ok, latency_of, valid_output
from tokenswarm.analysis.figures.statistics import RATE_BLOCKS, Estimate, block_rate, percentiles, share_of
from tokenswarm.analysis.figures.task_figures import task_figures
from tokenswarm.analysis.figures.window import Window, ended_at

from tokenswarm.contract.manifest import NOT_CHECKED, Manifest
from tokenswarm.contract.metric import Latency, Rate, not_known
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import Objective, RequestBounds, parse_objectives
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.request_records import Errors, Goodput
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import Certification, SloGate


def class_tables(table: object) -> dict[str, Mapping[str, object]]:
    """The tables inside an [slo] table: objectives of single user classes, by class."""
    entries = table if isinstance(table, Mapping) else {}
    return {str(name): inner for name, inner in entries.items() if isinstance(inner, Mapping)}


def objectives_of_classes(manifest: Manifest) -> dict[str, dict[str, object]]:
    """The [slo] lines for single user classes, by class: from their own scenarios and from the run's tables, which take
    precedence.
    """
    leading = manifest.scenario.table("slo")
    own = {name: scenario.table("slo") for name, scenario in manifest.classes.items()}
    lines: dict[str, dict[str, object]] = {
        name: {key: limit for key, limit in table.items() if not isinstance(limit, Mapping)}
        | dict(class_tables(table).get(name, {}))
        for name, table in own.items()
    }
    for name, inner in class_tables(leading).items():
        lines[name] = lines.get(name, {}) | dict(inner)
    return {name: table for name, table in lines.items() if table}


def of_class(gate: SloGate, name: str) -> SloGate:
    """A result of `evaluate` as that of a user class."""
    return replace(gate, key=f"{name}.{gate.key}", title=f"{name}: {gate.title}", user_class=name)


def conforming(rows: pd.DataFrame, bounds: RequestBounds) -> tuple[np.ndarray, np.ndarray]:
    """Which rows met all bounds of their class, and which are undetermined, as two boolean arrays.

    A failure meets nothing. TPOT does not apply to an answer of one token. An answer that never got out of reasoning
    missed every bound on TTFO. Any other latency that was not measured (TTFT of an answer that was not streamed) leaves
    a success undetermined, unless it already missed another bound.
    """
    names = rows["user_class"].to_numpy(dtype=object) if bounds.classes else np.empty(0)
    if not set(names) & bounds.classes.keys():
        return _conforming(rows, bounds.default)
    met, unknown = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    of_default = np.ones(len(rows), dtype=bool)
    for name, own in bounds.classes.items():
        mine = names == name
        of_default &= ~mine
        met[mine], unknown[mine] = _conforming(rows[mine], own)
    met[of_default], unknown[of_default] = _conforming(rows[of_default], bounds.default)
    return met, unknown


def _conforming(rows: pd.DataFrame, bounds: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """`conforming` for requests with the same bounds."""
    ok = is_ok(rows)
    met, unknown = ok.copy(), np.zeros(len(rows), dtype=bool)
    for key, bound in bounds.items():
        latency = METRICS[key.removesuffix("_ms")]
        assert isinstance(latency, Latency), "only latencies bound a request"
        value = latency_of(latency, rows)
        absent = np.isnan(value)
        not_applicable, missed = _of_the_absent(latency, rows, absent)
        missed |= value > bound
        met &= ~missed
        unknown |= absent & ~not_applicable & ~missed
    unknown &= met
    return met & ~unknown, unknown


_QUICK_ABSENT: Mapping[str, Callable[[pd.DataFrame], np.ndarray]] = {
    "tpot_ms": lambda rows: np.where(rows["completion_tokens"].to_numpy() <= 1, 1.0, np.nan),
    "ttfo_ms": lambda rows: np.where(rows["ttft_ms"].notna().to_numpy(), 0.0, np.nan),
}
"""Vectorised, as in `quantities`: 1 = the bound does not apply, 0 = missed, NaN = not known."""


def _of_the_absent(latency: Latency, rows: pd.DataFrame, absent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Among rows without a value, those that the bound does not apply to, and those that missed it, by
    `Latency.absent`.
    """
    quick = _QUICK_ABSENT.get(latency.key)
    if quick is not None:
        applies = np.where(absent, quick(rows), np.nan)
        return applies == 1.0, applies == 0.0
    if latency.absent is not_known:
        return np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    applies = np.full(len(rows), np.nan)
    applies[absent] = by_row(latency.absent, latency.columns, rows[absent])
    return applies == 1.0, applies == 0.0


def good_flow(rows: pd.DataFrame, bounds: RequestBounds) -> Flow:
    """Answers that met all bounds of their class, each at its end, like `completed_flow`."""
    good = rows[conforming(rows, bounds)[0]]
    end = ended_at(good)
    return Flow(end, end, np.ones(len(good)))


def goodput_figures(
    rows: pd.DataFrame, bounds: RequestBounds, window: Window | None, everything: pd.DataFrame | None = None
) -> Goodput:
    """Goodput (answers/s that ended inside the window and met every bound) and attainment.

    Attainment is the share of all requests sent in the measure phase (`rows`) that met every bound. `everything`:
    requests of every phase, for goodput.
    """
    classes = rows["user_class"].unique()
    met, unknown = conforming(rows, bounds)
    good, undetermined, sent = int(met.sum()), int(unknown.sum()), len(rows)
    attainment = share_of(met, why="no request was sent")
    unbounded = [str(name) for name in classes if bounds.classes and not bounds.of(name)]
    if unbounded:
        attainment = Estimate(None, n=sent, why=f"{' and '.join(sorted(unbounded))} has no objective on a latency")
    if sent and undetermined and not good:
        attainment = Estimate(None, n=sent, why="a bounded latency was not measured (was the answer streamed?)")
    if window is None or window.seconds <= 0 or attainment.value is None:
        goodput = Estimate(None, n=sent, why=attainment.why or "the measure window is not known")
    else:
        edges = np.linspace(window.start, window.end, RATE_BLOCKS + 1)
        ended = good_flow(rows if everything is None else everything, bounds).between(edges)
        goodput = block_rate(ended, window.seconds / RATE_BLOCKS, sent)
    return Goodput(goodput.figure("req/s"), attainment.figure("share"), good, undetermined, sent, bounds.flat(classes))


def parsed_objectives(table: Mapping[str, object], manifest: Manifest) -> tuple[list[Objective], list[tuple[str, str]]]:
    """As `parse_objectives`; an objective on valid answers is undetermined if some checks timed out."""
    objectives, refused = parse_objectives(table)
    unchecked = [why for why in (manifest.counts.odd or {}) if why.startswith(NOT_CHECKED)] if manifest.counts else []
    if not unchecked:
        return objectives, refused
    of_checks = [each for each in objectives if getattr(each.parsed.metric, "name", "") == "valid_output"]
    return (
        [each for each in objectives if each not in of_checks],
        [*refused, *((each.key, f"some answers were {unchecked[0]}") for each in of_checks)],
    )


def evaluate(
    objectives: list[Objective],
    refused: list[tuple[str, str]],
    rows: pd.DataFrame,
    goodput: Goodput,
    rates: Mapping[str, Figure],
    window: Window | None = None,
) -> list[SloGate]:
    """One result per line of [slo]: met, missed, or undetermined with the reason."""
    ok = is_ok(rows)
    known = Summary(
        rates=dict(rates),
        goodput=goodput,
        errors=Errors(error_rate(rows).figure("share")),
        valid_output=valid_output(rows).figure("share"),
        tasks=task_figures(rows, window),
    )
    gates = []
    for objective in objectives:
        metric, q = objective.parsed.metric, objective.percentile
        figure = certification = None
        if isinstance(metric, Latency) and q is not None:
            values = latency_of(metric, rows)[ok]
            figure = percentiles(values, (q,))[q].figure("ms")
            certification = certify(values, q, objective.limit, sessions_of(rows[ok]))
        elif isinstance(metric, Rate):
            figure = metric.figure_of(known)
        figure = figure or Estimate(None, why="it is not measured").figure(metric.unit)
        gates.append(judge(objective, figure, certification))
    return gates + [SloGate(key, key, figure=Estimate(None, why=why).figure("")) for key, why in refused]


def sessions_of(rows: pd.DataFrame) -> np.ndarray | None:
    """The number of each row's session, or None if some rows lack it."""
    numbers = pd.factorize(rows["conversation"])[0] if "conversation" in rows else np.full(1, -1)
    return None if len(numbers) and numbers.min() < 0 else numbers


def judge(objective: Objective, figure: Figure, certification: Certification | None = None) -> SloGate:
    """Compare one figure with its limit."""
    value, limit = figure.value, objective.limit
    gate = SloGate(
        objective.key,
        objective.parsed.title,
        objective.op,
        limit,
        objective.unit,
        figure=figure,
        certification=certification,
    )
    if value is None:
        return gate
    at_most = objective.op == "<="
    met = value <= limit if at_most else value >= limit
    low, high = figure.ends
    edge = (high if at_most else low) if met else (low if at_most else high)
    beyond = edge is not None and ((edge <= limit if at_most else edge >= limit) is met)
    margin = ((limit - value) if at_most else (value - limit)) / limit if limit else None
    certified = met and certification is not None and certification.certified
    return replace(gate, state="met" if met else "missed", certain=bool(beyond or certified), margin=margin)
