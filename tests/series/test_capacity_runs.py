"""The runs of a capacity search: one salt, a new seed each, and no measurement is lost."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.capacity_record import Capacity, CapacityFigure, CapacityRun, read_capacity
from tokenswarm.contract.manifest import CountsRecord, Manifest, write_manifest
from tokenswarm.contract.search_progress import SearchProgress, read_progress
from tokenswarm.engines.emptiness import Emptiness
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.shared_engine import SharedEngine
from tokenswarm.series.capacity_runs import Budget, CapacityPlan, CapacityRule, search_capacity


@dataclass
class Step:
    why: str
    load: float | None = None
    requests: int = 0


class Bench:
    """Runs that take no time; `asked` is what each was told."""

    def __init__(self, tmp_path: Path, steps: list[Step], outcomes: dict[int, RunOutcome] | None = None) -> None:
        self.folder, self.steps, self.outcomes = tmp_path, steps, outcomes or {}
        self.asked: list[dict[str, str]] = []
        self.seen: list[SearchProgress] = []
        self.clock = 0.0
        self.record = Capacity(capacity=CapacityFigure("users"))

    def run(self, options: LoadOptions, _: Console, __: object) -> RunOutcome:
        self.asked.append(dict(options.overrides))
        self.seen.append(read_progress(self.folder))
        self.clock += 60.0
        outcome = self.outcomes.get(len(self.asked), RunOutcome(Path(), "complete"))
        outcome.folder = self.folder / f"run-{len(self.asked)}"
        outcome.folder.mkdir()
        write_manifest(outcome.folder, Manifest(counts=CountsRecord(sent=450)))
        return outcome

    def search(self, budget: Budget | None = None, engine: SharedEngine | None = None) -> Capacity:
        rest = iter(self.steps)
        rule = CapacityRule(lambda: next(rest), lambda _, run: 400, self._judge)
        plan = CapacityPlan(
            LoadOptions(), self.folder, 7, 30.0, budget or Budget(), engine, run=self.run, now=lambda: self.clock
        )
        return search_capacity(plan, rule, self.record, Console(file=io.StringIO()))

    @staticmethod
    def _judge(record: Capacity, reason: str) -> Capacity:
        record.capacity.reason = reason
        return record


STEPS = [Step("bracket", 16, 400), Step("bracket", 32, 400), Step("precision")]


def test_levels_share_the_salt_and_have_seeds_of_their_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, STEPS)
    record = bench.search()
    assert [each["prompts.seed"] for each in bench.asked] == ["7", "8"]
    assert len({each["prompts.salt"] for each in bench.asked}) == 1
    assert [each.get("load.reset_cache") for each in bench.asked] == [None, "false"]
    assert (record.capacity.reason, [each.load for each in record.runs]) == ("precision", [16, 32])


def test_a_run_is_as_long_as_its_requests_take(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path, [Step("bracket", 16, 400), Step("longer", 16, 800), Step("bisect", 32, 1600), Step("precision")]
    )
    bench.search()
    assert [float(each["load.duration_s"]) for each in bench.asked] == [30.0, 60.0, 120.0]


def test_a_run_that_the_budget_does_not_hold_is_cut_or_not_begun(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [Step("bracket", 16, 400), Step("longer", 16, 1600), Step("precision")])
    record = bench.search(Budget(60.0 + 30.0 + 50.0))
    assert [float(each["load.duration_s"]) for each in bench.asked] == [30.0, 50.0]
    assert (record.capacity.reason, len(record.runs)) == ("precision", 2)
    (tmp_path / "b").mkdir()
    record = Bench(tmp_path / "b", STEPS).search(Budget(80.0))
    assert (record.capacity.reason, len(record.runs)) == ("budget", 1)


def test_bracketing_takes_no_longer_than_a_first_run_where_that_tells_enough(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [Step("bracket", 16, 400), Step("bracket", 8, 4000), Step("precision")])
    bench.search()
    assert [float(each["load.duration_s"]) for each in bench.asked] == [30.0, 30.0]


def test_a_search_that_goes_on_knows_how_long_its_runs_take(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [Step("longer", 16, 800), Step("precision")])
    bench.record.runs.append(CapacityRun(16, "earlier", 7, 20.0, measured=400))
    bench.search()
    assert float(bench.asked[0]["load.duration_s"]) == 40.0


def test_requests_and_dollars_are_bounded_too(tmp_path: Path) -> None:
    record = Bench(tmp_path, STEPS).search(Budget(requests=450))
    assert (record.capacity.reason, len(record.runs), record.runs[0].requests) == ("budget", 1, 450)


def test_an_interrupted_search_keeps_what_was_found(tmp_path: Path) -> None:
    Bench(tmp_path, STEPS, {1: RunOutcome(Path(), "interrupted")}).search()
    kept = read_capacity(tmp_path)
    assert (kept.capacity.reason, [each.run for each in kept.runs]) == ("interrupted", ["run-1"])


def test_an_engine_that_dies_is_a_result_and_a_wrong_flag_is_none(tmp_path: Path) -> None:
    died = RunOutcome(Path(), "failed", UserError(Exit.ENGINE, "gone"))
    assert [each.died for each in Bench(tmp_path, STEPS, {2: died}).search().runs] == [False, True]
    with pytest.raises(UserError):
        (tmp_path / "b").mkdir()
        Bench(tmp_path / "b", STEPS, {1: RunOutcome(Path(), "failed", UserError(Exit.USAGE, "no"))}).search()


def test_whoever_looks_while_a_run_is_made_sees_its_load_the_bracket_and_what_is_left(tmp_path: Path) -> None:
    bench = Bench(tmp_path, STEPS)
    bench.record.capacity.sure_pass = 16.0
    bench.search(Budget(seconds=3600.0, requests=2000))
    second = bench.seen[1]
    assert second.state == "running" and second.now is not None and second.bracket is not None
    assert (second.now.why, second.now.number, second.now.load, second.now.seconds) == ("bracket", 2, 32, 15.0)
    assert (second.bracket.sure_pass, second.bracket.sure_fail) == (16.0, None)
    assert (second.runs, second.spent.requests, second.left.seconds, second.left.requests) == (1, 450, 3540.0, 1550)
    last = read_progress(tmp_path)
    assert (last.state, last.reason, last.now, last.runs) == ("ended", "precision", None, 2)


def test_progress_says_how_a_search_ended_early(tmp_path: Path) -> None:
    Bench(tmp_path, STEPS, {1: RunOutcome(Path(), "interrupted")}).search()
    assert read_progress(tmp_path).state == "interrupted"
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError):
        wrong = RunOutcome(Path(), "failed", UserError(Exit.USAGE, "no such flag"))
        Bench(tmp_path / "b", STEPS, {1: wrong}).search()
    failed = read_progress(tmp_path / "b")
    assert (failed.state, failed.reason, failed.now) == ("failed", "no such flag", None)


def test_every_run_waits_until_the_engine_is_empty_and_a_backlog_that_stays_is_noted(tmp_path: Path) -> None:
    bench, inside = Bench(tmp_path, STEPS), [0, 3]

    class Engine(SharedEngine):
        def wait_until_empty(self, limit_s: float) -> Emptiness:
            assert limit_s > 0.0 and len(bench.asked) == 2 - len(inside), "before the run"
            return Emptiness(inside.pop(0), limit_s)

    record = bench.search(engine=Engine())
    assert [run.inside_before for run in record.runs] == [0, 3] and inside == []
    assert len(record.notes) == 1 and "3 requests of the run before were still in the engine" in record.notes[0]
