"""The stages of a decision: their order, their time, an engine that fails, Ctrl-C and going on."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.decision_record import DONE, FAILED, SKIPPED, STOPPED, Decision, SideRecord, StageRecord
from tokenswarm.contract.search_progress import SearchProgress, read_progress
from tokenswarm.series.decision_stages import DecideTools, decide, planned_stages


class Bench:
    """A decision whose stages only take time."""

    def __init__(self, folder: Path, happens: Callable[[str], str] = lambda stage: "done") -> None:
        self.folder, self.happens = folder, happens
        self.log: list[str] = []
        self.time = 0.0
        sides = [SideRecord("one", "One"), SideRecord("two", "Two")]
        self.decision = Decision(sides=sides, stages=planned_stages(sides), budget_s=1000.0)

    def play(self) -> Decision:
        tools = DecideTools(
            self._side,
            self._side,
            self._pairs,
            lambda decision: self.log.append("judge"),
            lambda decision: self.log.append("keep"),
            self._allowance,
            lambda: self.log.append("close"),
            lambda: self.time,
            self.folder,
        )
        return decide(self.decision, tools, Console(file=io.StringIO(), width=200))

    def _allowance(self, kind: str, left: Sequence[str], left_s: float | None) -> float | None:
        return None if left_s is None else left_s / len(left)

    def _side(self, side: SideRecord, stage: StageRecord) -> str:
        self.log.append(f"{stage.kind} {side.engine}")
        self.time += 100.0
        return self.happens(f"{stage.kind} {side.engine}")

    def _pairs(self, decision: Decision, stage: StageRecord, report_progress: Callable[[str], None]) -> str:
        self.log.append("pairs")
        self.time += 40.0
        report_progress("one run so far")
        return self.happens("pairs")

    @property
    def stages(self) -> list[str]:
        return [each for each in self.log if each not in ("judge", "keep", "close")]


ALL = ["race one", "capacity one", "race two", "capacity two", "pairs"]


def raising(where: str, error: BaseException) -> Callable[[str], str]:
    def happens(stage: str) -> str:
        if stage == where:
            raise error
        return "done"

    return happens


def test_each_engine_is_raced_and_searched_and_then_both_are_paired(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    decision = bench.play()
    assert bench.stages == ALL and [each.state for each in decision.stages] == [DONE] * 5
    assert [each.allowed_s for each in decision.stages] == [200.0, 225.0, 800 / 3, 350.0, 600.0]
    assert bench.log[-3:] == ["close", "judge", "keep"] and bench.log.count("keep") == 6, "after each stage"


def test_whoever_looks_during_a_stage_sees_it_under_way_with_its_folder(tmp_path: Path) -> None:
    seen: list[SearchProgress] = []
    Bench(tmp_path, lambda stage: seen.append(read_progress(tmp_path)) or "done").play()
    third = seen[2]
    assert [each.state for each in third.stages] == ["done", "done", "running", "pending", "pending"]
    assert (third.stages[2].folder, third.left.seconds, third.spent.seconds) == ("race-2-two", 800.0, 200.0)
    assert read_progress(tmp_path).state == "ended"


def test_progress_is_told_during_the_pairs_too(tmp_path: Path) -> None:
    looks: list[SearchProgress] = []
    Bench(tmp_path, lambda stage: looks.append(read_progress(tmp_path)) if stage == "pairs" else "done").play()
    [during] = looks
    assert during.sentence == "one run so far" and during.now is not None and during.now.why == "pairs"
    assert (during.stages[-1].state, during.stages[-1].spent_s) == ("running", 40.0)
    assert (during.spent.seconds, during.left.seconds) == (440.0, 560.0)
    assert read_progress(tmp_path).spent.seconds == 440.0, "counted once"


def test_an_engine_that_cannot_be_measured_ends_its_own_stages_and_the_pairs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, raising("race one", UserError(Exit.ENGINE, "out of memory")))
    decision = bench.play()
    assert bench.stages == ["race one", "race two", "capacity two"]
    assert [each.state for each in decision.stages] == [FAILED, SKIPPED, DONE, DONE, SKIPPED]
    assert decision.sides[0].failure == "out of memory" and decision.sides[1].failure is None


@pytest.mark.parametrize("way", ["signal", "said"])
def test_ctrl_c_keeps_what_there_is_and_it_goes_on_with_the_stage_that_was_under_way(tmp_path: Path, way: str) -> None:
    happens = (
        raising("race two", KeyboardInterrupt())
        if way == "signal"
        else lambda stage: "interrupted" if stage == "race two" else "done"
    )
    bench = Bench(tmp_path, happens)
    decision = bench.play()
    assert decision.reason == "interrupted" and bench.log[-1] == "keep"
    assert [each.state for each in decision.stages][:3] == [DONE, DONE, STOPPED]
    again = Bench(tmp_path)
    again.decision = decision
    assert again.play().reason == "all stages were made"
    assert again.stages == ALL[2:]


def test_a_mistake_in_what_was_asked_is_no_engines_fault(tmp_path: Path) -> None:
    bench = Bench(tmp_path, raising("race one", UserError(Exit.USAGE, "no such setting")))
    with pytest.raises(UserError, match="no such setting"):
        bench.play()
    assert "close" in bench.log


def test_one_engine_has_no_pairs() -> None:
    assert [each.kind for each in planned_stages([SideRecord("one")])] == ["race", "capacity"]
