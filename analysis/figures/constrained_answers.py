"""Constraints on answers: what happened to the requests under each, and what its first use costs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tokenswarm.analysis.figures.control_arm import CONTROL, WORKLOAD
from tokenswarm.analysis.figures.quantities import is_ok
from tokenswarm.analysis.figures.statistics import Estimate, percentiles, share_of

from tokenswarm.contract.manifest import ScenarioRecord
from tokenswarm.contract.summary.request_records import ConstraintUse
from tokenswarm.contract.tables import CUT_BY_LENGTH

REFUSED = "rejected"
"""The kind of failure of a constraint that the engine refuses."""
_MS = 1000.0


def constraint_uses(requests: pd.DataFrame, measured: pd.DataFrame, scenario: ScenarioRecord) -> list[ConstraintUse]:
    """Each constraint of a `structured` run, by its name in the column `document`; empty for any other run.

    `requests`: of all phases, because a constraint's first use is usually in the warm-up.
    """
    if scenario.workload != WORKLOAD:
        return []
    unique = scenario.table(WORKLOAD).get("unique") is True
    names = requests["document"].dropna().astype("str")
    return [
        _use(
            name,
            requests[(requests["document"] == name).to_numpy()],
            measured[(measured["document"] == name).to_numpy()],
            unique,
        )
        for name in dict.fromkeys(names)
        if not name.startswith(CONTROL)
    ]


def _use(name: str, requests: pd.DataFrame, measured: pd.DataFrame, unique: bool) -> ConstraintUse:
    ok, refused = is_ok(measured), (requests["error"] == REFUSED).to_numpy()
    checked = measured[ok & measured["valid_output"].notna().to_numpy()]
    cut = (checked["finish_reason"].astype("object") == CUT_BY_LENGTH).to_numpy()
    valid = (checked["valid_output"] == 1.0).to_numpy()
    first, later = first_use(requests, measured, unique)
    details = requests.loc[refused, "error_detail"].dropna()
    return ConstraintUse(
        name=name,
        requests=len(measured),
        valid=share_of(valid[~cut], why="no answer was checked").figure("share"),
        cut=int(cut.sum()),
        refused=int(refused.sum()),
        refusal=str(details.iloc[0]) if len(details) else None,
        first_ttft_ms=first.figure("ms"),
        later_ttft_ms=later.figure("ms"),
    )


def first_use(requests: pd.DataFrame, measured: pd.DataFrame, unique: bool) -> tuple[Estimate, Estimate]:
    """(TTFT of the first use of a constraint, TTFT of later uses), medians in ms.

    All requests sent before the first one got its first token are first uses, because they wait for the same
    compilation. If each constraint is used once (`unique`), every request is a first use.
    """
    if unique:
        values = measured["ttft_ms"].to_numpy(dtype=float)
        return percentiles(values, (50,))[50], Estimate(None, why="every constraint was new")
    known = requests[is_ok(requests) & requests["ttft_ms"].notna().to_numpy()].sort_values("sent_at")
    if not len(known):
        none = Estimate(None, why="no answer was streamed")
        return none, none
    begin = known.iloc[0]
    until = begin["sent_at"] + begin["ttft_ms"] / _MS
    waited = known["ttft_ms"][(known["sent_at"] < until).to_numpy()].to_numpy(dtype=float)
    after = measured[(measured["sent_at"] >= until).to_numpy()]["ttft_ms"].to_numpy(dtype=float)
    return Estimate(float(np.median(waited)), n=len(waited)), percentiles(after, (50,))[50]
