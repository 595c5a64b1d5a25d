"""Events that carry several tokens: TPOT counts tokens, gaps count events, and both are the model's own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tokenswarm.analysis.figures.quantities import tpot_ms

from tests.virtual.mixed_arrivals import CORPUS
from tokenswarm.base.config_text import parse_set
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.run import run
from tokenswarm.virtual.simulated_engine import simulated

SETTINGS = (
    "load.users=1 load.duration_s=20 load.warmup_s=1 load.drain_s=20 output.ignore_eos=true output.max_tokens=121"
)


def played(*flags: str):
    rows = list(run(load_scenario("rag", parse_set(SETTINGS)), simulated(*flags), CORPUS).measured())
    assert rows and all(row["completion_tokens"] == 121 for row in rows)
    return rows


def test_tokens_merged_by_the_server_leave_tpot_as_it_was_and_make_gaps_longer() -> None:
    one, eight = played(), played("--stream-interval", "8")
    tpot = [np.median([tpot_of(row) for row in rows]) for rows in (one, eight)]
    assert tpot[0] == pytest.approx(tpot[1], rel=0.02)
    assert {row["chunks"] for row in eight} == {16} and {row["token_source"] for row in eight} == {"usage"}
    gaps = [np.median([row["icl_p50_ms"] for row in rows]) for rows in (one, eight)]
    assert gaps[1] == pytest.approx(8 * gaps[0], rel=0.05)


def test_speculation_gives_the_tokens_of_a_step_and_tpot_is_the_step_over_them() -> None:
    row = played("--speculative-tokens", "3", "--acceptance-rate", "1")[0]
    assert row["chunks"] == 31, "the first token, then four a step"
    assert tpot_of(row) == pytest.approx(row["icl_p50_ms"] / 4, rel=0.02)


def tpot_of(row: dict) -> float:
    return float(tpot_ms(pd.DataFrame([row]))[0])
