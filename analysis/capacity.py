"""From run folders to what is known of a capacity, and from that to capacity.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.quantities import latency_of
from tokenswarm.analysis.figures.slo import conforming
from tokenswarm.analysis.figures.window import find_window
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.search.attainment import Blocks, blocks_of
from tokenswarm.analysis.search.capacity_search import DIED, LIMITED, REFUSED, Evidence, SearchSettings, judge

from tokenswarm.contract.capacity import Capacity, CapacityFigure, CapacityLevel, CapacityRun
from tokenswarm.contract.metric import Latency
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import RequestBounds, bounds_of_run
from tokenswarm.contract.tables import LIMIT_KINDS


def margins(rows: pd.DataFrame, bounds: RequestBounds) -> np.ndarray:
    """Each request's worst latency as a share of its limit; infinite where it failed, NaN where it is not known."""
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


def evidence_of(folder: Path, load: float, target: float, died: bool = False) -> Evidence:
    """What a run folder says of a load. Raises UserError where it cannot be read."""
    run = read_run(folder)
    window, measured = find_window(run), run.measured
    # What was still under way at the end of the drain did not meet its limits: without it an overloaded level would
    # look better than it is. Of a run that somebody ended it is not known.
    rows = measured if run.manifest.status == "complete" else measured[(measured["status"] != "cancelled").to_numpy()]
    if window is None or not len(rows):
        nothing = (0,) * 20
        return Evidence(load, Blocks(nothing, nothing, nothing), DIED if died else LIMITED)
    blocks = blocks_of(rows["sent_at"].to_numpy(), margins(rows, bounds_of_run(run.manifest)),
                       (window.start, window.end), target)
    flaw = None
    if died:
        flaw = DIED
    elif rows["error"].isin(LIMIT_KINDS).any():
        flaw = REFUSED
    elif run.manifest.validity is not None and run.manifest.validity.verdict == "INVALID":
        flaw = LIMITED
    return Evidence(load, blocks, flaw)


def with_answer(record: Capacity, settings: SearchSettings, evidence: Sequence[Evidence], reason: str) -> Capacity:
    """The record with what the evidence, in the order of its runs, comes to."""
    known = judge(settings, evidence)
    record.capacity = CapacityFigure(settings.unit, known.estimate, [known.low, known.high], known.sure_pass,
                                     known.sure_fail, known.limit, reason, known.cliff, known.non_monotone)
    record.levels = [CapacityLevel(level.load, level.state, level.attainment.share,
                                   [level.attainment.low, level.attainment.high], level.requests,
                                   sum(record.runs[place].measured_s for place in level.runs),
                                   [record.runs[place].run for place in level.runs]) for level in known.levels]
    return record


def evidence_of_runs(runs: Sequence[CapacityRun], folder: Path, target: float) -> list[Evidence]:
    """The evidence of a search that goes on."""
    return [evidence_of(folder / each.run, each.load, target, each.died) for each in runs]
