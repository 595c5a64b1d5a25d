"""Turns run folders into evidence about a load, and evidence into the records of capacity.json."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.quantities import latency_of
from tokenswarm.analysis.figures.slo import conforming
from tokenswarm.analysis.figures.window import find_window
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.search.attainment import NOTHING, blocks_of
from tokenswarm.analysis.search.capacity_search import Knowledge
from tokenswarm.analysis.search.load_levels import (
    CUT,
    DIED,
    LIMITED,
    OVERLOADED,
    REFUSED,
    Level,
    LoadEvidence,
    SearchSettings,
)

from tokenswarm.contract.capacity_record import CapacityFigure, CapacityLevel, CapacityRun
from tokenswarm.contract.metric import Latency
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import RequestBounds, bounds_of_run
from tokenswarm.contract.tables import LIMIT_KINDS

TIMING = "timing_error"
"""The validity rule that withholds a figure. What counts here is whether the timing error changed a verdict."""
_STAMPED = ("ttft_ms", "ttfo_ms", "e2e_ms", "last_token_ms")
_LEAST_UNSURE = 10.0
"""Requests that late timestamps may have made bad: at most the allowed bad ones divided by this."""


def margins(rows: pd.DataFrame, bounds: RequestBounds) -> np.ndarray:
    """Each request's worst latency as a share of its limit; infinite if it failed, NaN if unknown."""
    worst = np.zeros(len(rows))
    names = rows["user_class"].to_numpy(dtype=object)
    for name in dict.fromkeys(names):
        mine = np.array([each is name or each == name for each in names], dtype=bool)
        for key, bound in bounds.of(name).items():
            latency = METRICS[key.removesuffix("_ms")]
            assert isinstance(latency, Latency)
            worst[mine] = np.fmax(worst[mine], latency_of(latency, rows[mine]) / max(bound, 1e-9))
    met, unknown = conforming(rows, bounds)
    failed = (rows["status"] != "ok").to_numpy()
    worst = np.where(met, np.minimum(worst, 1.0), np.maximum(worst, np.nextafter(1.0, 2.0)))
    return np.where(unknown, np.nan, np.where(failed, np.inf, worst))


def evidence_of(
    run: Run, load: float, target: float, died: bool = False, bounds: RequestBounds | None = None
) -> LoadEvidence:
    """What a run says about a load. `bounds`: None for those of the run's own [slo]."""
    window, measured = find_window(run), run.measured
    if run.manifest.status == "interrupted" and not died:
        return LoadEvidence(load, NOTHING, CUT, "it was interrupted")
    # Requests still in flight at the end of the drain missed their limits; without them an overloaded level would
    # look better than it is. If the engine died, this is not known.
    rows = measured if run.manifest.status == "complete" else measured[(measured["status"] != "cancelled").to_numpy()]
    if window is None or not len(rows):
        return LoadEvidence(load, NOTHING, DIED if died else LIMITED, "nothing was measured")
    bounds = bounds or bounds_of_run(run.manifest)
    margin = margins(rows, bounds)
    blocks = blocks_of(rows["sent_at"].to_numpy(), margin, (window.start, window.end), target)
    flaw, why = (DIED, "the engine ended") if died else _flaw(run, rows, (bounds, margin), target)
    return LoadEvidence(load, blocks, flaw, why)


def _flaw(
    run: Run, rows: pd.DataFrame, judged: tuple[RequestBounds, np.ndarray], target: float
) -> tuple[str | None, str]:
    """Why the run is no evidence (LIMITED, REFUSED), or that its engine was OVERLOADED; and a sentence about it."""
    if rows["error"].isin(LIMIT_KINDS).any():
        return REFUSED, "the endpoint's own rate limit refused requests (429)"
    validity = run.manifest.validity
    if validity is None or validity.verdict not in ("INVALID", "OVERLOADED"):
        return None, ""
    reasons = [reason for reason in validity.reasons if reason.verdict == validity.verdict]
    if validity.verdict == "OVERLOADED":
        return OVERLOADED, reasons[0].sentence if reasons else ""
    unsure = unsure_share(rows, *judged) if any(reason.rule == TIMING for reason in reasons) else 0.0
    grave = [reason for reason in reasons if reason.rule != TIMING]
    if grave or unsure > (1.0 - target) / _LEAST_UNSURE:
        return LIMITED, (grave or reasons)[0].sentence
    return None, ""


def unsure_share(rows: pd.DataFrame, bounds: RequestBounds, margin: np.ndarray) -> float:
    """Share of requests that are bad as stamped, but good if their stamps are as late as they may be. A slow load
    generator can only make latencies longer.
    """
    late_ms = np.nan_to_num(rows["ttft_uncertainty_ms"].to_numpy(dtype=float))
    earlier = rows.assign(**{name: rows[name].to_numpy(dtype=float) - late_ms for name in _STAMPED})
    turned = (margin > 1.0) & (margins(earlier, bounds) <= 1.0)
    return float(turned.mean()) if len(rows) else 0.0


def figure_of(settings: SearchSettings, known: Knowledge, reason: str) -> CapacityFigure:
    """The capacity as capacity.json records it."""
    limit_why = next((level.why for level in known.levels if level.load == known.limit), "")
    return CapacityFigure(
        settings.unit,
        known.estimate,
        [known.low, known.high],
        known.sure_pass,
        known.sure_fail,
        known.limit,
        limit_why,
        reason,
        known.cliff,
        known.non_monotone,
        known.trusted,
    )


def level_of(level: Level, runs: Sequence[CapacityRun]) -> CapacityLevel:
    return CapacityLevel(
        level.load,
        level.state,
        level.attainment.share,
        [level.attainment.low, level.attainment.high],
        level.requests,
        sum(runs[place].measured_s for place in level.runs),
        [runs[place].run for place in level.runs],
        level.why or (level.flaw or ""),
    )
