"""The one sentence at the top of the page."""

from __future__ import annotations

import pytest
from tokenswarm.analysis.render.answer_sentence import answer
from tokenswarm.analysis.render.level_table import level_rows

from tokenswarm.contract.manifest import LoadRecord
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.header_records import Header
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import SloGate

CLOSED, OPEN = LoadRecord(mode="closed", users=16), LoadRecord(mode="open", rate=4.0)


def gate(title: str, state: str, certain: bool = True, margin: float = 0.5, level: int | None = None) -> SloGate:
    return SloGate(title, title, "<=", 100.0, "ms", state, certain, margin, Figure(50.0, "ms"), level=level)


def run(*gates: SloGate, load: LoadRecord = CLOSED, verdict: str = "VALID", **more: object) -> Summary:
    return Summary(verdict=verdict, run=Header(load=load), slo=list(gates), **more)


@pytest.mark.parametrize(
    ("summary", "sentence"),
    [
        (
            run(gate("TTFT p95", "met"), gate("TPOT p95", "met", margin=0.2)),
            "Meets all SLOs at 16 users; nearest to its limit: TPOT p95, 20% to spare.",
        ),
        (
            run(gate("TTFT p95", "met"), load=OPEN),
            "Meets all SLOs at 4 requests/s; nearest to its limit: TTFT p95, 50% to spare.",
        ),
        (
            run(gate("TTFT p95", "met"), gate("TPOT p95", "met", False, 0.05)),
            "Meets all 2 objectives at 16 users, but TPOT p95 is not certain; "
            "nearest to its limit: TPOT p95, 5.0% to spare.",
        ),
        (
            run(gate("TTFT p95", "met"), gate("TPOT p95", "missed", margin=-0.2)),
            "Misses TPOT p95 at 16 users: 50.0 ms against a limit of 100 ms.",
        ),
        (
            run(gate("TTFT p95", "missed", False, -0.1), gate("TPOT p95", "missed", False, -0.2)),
            "Misses TPOT p95 at 16 users: 50.0 ms against a limit of 100 ms; misses TTFT p95 too; this is not certain.",
        ),
        (
            run(gate("TTFT p95", "met"), gate("TPOT p95", "undetermined")),
            "Misses no objective at 16 users, but TPOT p95 is undetermined.",
        ),
        (
            run(latency={"ttft_ms": {"p95": Figure(120.0, "ms")}}),
            "No objective was set, so nothing is met or missed. At 16 users: TTFT p95 120 ms.",
        ),
        (run(gate("TTFT p95", "met"), verdict="INVALID"), ""),
    ],
)
def test_a_run_answers_in_one_sentence(summary: Summary, sentence: str) -> None:
    assert answer(summary) == sentence


def test_the_gates_of_a_level_have_the_colour_of_the_least_certain_one() -> None:
    levels = [LevelFigures(number=1, users=8.0)]
    for gates, words, state in (
        ([gate("a", "met", level=1), gate("b", "met", False, level=1)], "2 met (1 not certain)", "undetermined"),
        ([gate("a", "met", level=1)], "1 met", "met"),
        ([gate("a", "met", False, level=1), gate("b", "missed", level=1)], "1 met (1 not certain), 1 missed", "missed"),
    ):
        [row] = level_rows(run(*gates, levels=levels))
        assert (row.gates, row.state) == (words, state)


def test_a_run_of_several_levels_names_those_that_met_and_the_first_that_missed() -> None:
    levels = [LevelFigures(number=n, users=users) for n, users in ((1, 8.0), (2, 16.0), (3, 32.0))]
    gates = [
        gate("Level 1: TTFT p95", "met", level=1),
        gate("Level 2: TTFT p95", "met", level=2),
        gate("Level 3: TTFT p95", "missed", level=3),
    ]
    assert (
        answer(run(*gates, levels=levels))
        == "Meets all SLOs at 8 users and 16 users; the first to miss is 32 users: TTFT p95."
    )
    assert answer(run(*gates[:2], levels=levels[:2])) == "Meets all SLOs at each of its 2 levels."
