"""What a run folder says about a load."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tokenswarm.analysis.capacity.evidence import margins, unsure_share

from tokenswarm.contract.objectives import RequestBounds
from tokenswarm.contract.tables import REQUEST_COLUMNS, names


def table(**columns: list[object]) -> pd.DataFrame:
    size = len(columns["status"])
    return pd.DataFrame({**{name: [np.nan] * size for name in names(REQUEST_COLUMNS)}, **columns})


def test_a_margin_is_the_worst_latency_as_a_share_of_its_limit() -> None:
    rows = table(status=["ok", "ok", "failed"], ttft_ms=[250.0, 600.0, np.nan], user_class=["A", "A", "A"])
    given = margins(rows, RequestBounds({"ttft_ms": 500.0}))
    assert given[0] == 0.5 and given[1] == 1.2 and np.isinf(given[2])


def test_a_class_has_its_own_limits() -> None:
    rows = table(status=["ok", "ok"], ttft_ms=[250.0, 250.0], user_class=["A", "B"])
    given = margins(rows, RequestBounds({"ttft_ms": 500.0}, {"B": {"ttft_ms": 200.0}}))
    assert given[0] == 0.5 and given[1] == 1.25


def test_a_latency_that_is_not_known_leaves_the_request_out() -> None:
    rows = table(status=["ok"], ttft_ms=[np.nan], user_class=["A"])
    assert np.isnan(margins(rows, RequestBounds({"ttft_ms": 500.0})))[0]


def test_late_stamps_turn_only_those_requests_that_are_near_their_limit() -> None:
    bounds = RequestBounds({"ttft_ms": 500.0})
    rows = table(
        status=["ok"] * 4,
        ttft_ms=[40.0, 510.0, 510.0, 2000.0],
        user_class=["A"] * 4,
        ttft_uncertainty_ms=[30.0, 30.0, 2.0, 30.0],
    )
    assert unsure_share(rows, bounds, margins(rows, bounds)) == 0.25
