"""A load that rises in steps, played in virtual time and judged as any run is: each level has a verdict of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import START, manifest, write_run
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import Exit
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.run import run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads.corpus import load_corpus

pytestmark = pytest.mark.slow  # whole runs, if in virtual time

LEVEL_S = 30.0


def judged(folder: Path, settings: str, steps: int, slo: dict[str, Any]) -> Summary:
    """The summary of a run of `steps` levels against an engine that answers about eight requests/s."""
    seconds = LEVEL_S * steps
    scenario = load_scenario(
        "rag",
        parse_set(
            f"load.duration_s={seconds:g} load.warmup_s=5 output.max_tokens=32 output.ignore_eos=true {settings}"
        ),
    )
    played = run(scenario, simulated("--max-num-seqs", "4", "--profile", "h100-8b"), load_corpus(), seed=1)
    name, shift = manifest()["run_id"], START - played.timeline.measure_start
    rows = [
        {
            **each,
            "run_id": name,
            "sent_at": each["sent_at"] + shift,
            "scheduled_at": None if each["scheduled_at"] is None else each["scheduled_at"] + shift,
            "ttft_uncertainty_ms": 0.0,
        }
        for each in played.rows
    ]
    load = scenario.load
    facts = {
        "mode": "open" if scenario.open_loop else "closed",
        "rate": load.rate,
        "rate_steps": load.rate_steps,
        "users": load.users,
        "users_steps": load.users_steps,
        "duration_s": seconds,
        "workers": 1,
    }
    told = manifest(
        seconds=seconds,
        load={key: value for key, value in facts.items() if value is not None},
        scenario={"name": "rag", "workload": "rag", "values": {"slo": slo}},
    )
    flight = [
        sum(each["sent_at"] <= START + at < each["sent_at"] + (each["e2e_ms"] or 0.0) / 1e3 for each in rows)
        for at in range(int(seconds))
    ]
    host = [
        {"at": START + at, "source": "worker 0", "cpu_share": 0.1, "loop_lag_ms": 0.1, "in_flight": number}
        for at, number in enumerate(flight)
    ]
    return summarise(read_run(write_run(folder, rows, told, host=host)))


def test_a_level_beyond_capacity_is_overloaded_and_the_ones_below_keep_their_figures(tmp_path: Path) -> None:
    found = judged(tmp_path, "load.rate_steps=[4,30]", 2, {"ttft_p95_ms": 60_000})
    below, beyond = found.levels
    assert (below.keeping_up.overloaded, beyond.keeping_up.overloaded) == (False, True)
    assert below.percentile("ttft_ms", "p95").value is not None
    assert beyond.percentile("ttft_ms", "p95").value is None and beyond.rates["output_tok_s"].value > 0
    assert [(gate.level, gate.state) for gate in found.slo] == [(1, "met"), (2, "undetermined")]
    assert (found.outcome.name, found.outcome.code) == ("OVERLOADED", Exit.OVERLOADED)
    assert any("Level 2 (30 req/s): The engine did not keep up" in reason.sentence for reason in found.reasons)


@pytest.mark.parametrize(("limit_ms", "outcome"), [(60_000, "PASSED"), (0.001, "SLO_MISSED")])
def test_levels_below_capacity_are_judged_by_their_gates(limit_ms: float, outcome: str, tmp_path: Path) -> None:
    found = judged(tmp_path, "load.rate_steps=[4,5]", 2, {"ttft_p50_ms": limit_ms})
    assert [level.keeping_up.overloaded for level in found.levels] == [False, False]
    assert found.outcome.name == outcome and len(found.slo) == 2


def test_littles_law_holds_in_each_level_of_a_closed_loop(tmp_path: Path) -> None:
    found = judged(tmp_path, "load.users_steps=[2,6] user.think_time_s=0", 2, {})
    laws = [level.keeping_up.littles_law for level in found.levels]
    assert [law is not None and law.holds for law in laws] == [True, True]
    assert laws[0].in_flight < laws[1].in_flight
