"""The runs of a search for capacity: one salt, another seed each, and nothing that was found is lost."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.capacity import Capacity, CapacityFigure, read_capacity
from tokenswarm.contract.manifest import Manifest, write_manifest
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.series.capacity import CapacityPlan, CapacityRule, search_capacity


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
        self.clock = 0.0

    def run(self, options: LoadOptions, _: Console, __: object) -> RunOutcome:
        self.asked.append(dict(options.overrides))
        self.clock += 60.0
        outcome = self.outcomes.get(len(self.asked), RunOutcome(Path(), "complete"))
        outcome.folder = self.folder / f"run-{len(self.asked)}"
        outcome.folder.mkdir()
        write_manifest(outcome.folder, Manifest())
        return outcome

    def search(self, budget_s: float | None = None) -> Capacity:
        rest = iter(self.steps)
        rule = CapacityRule(lambda: next(rest), lambda _, run: 400, self._judge)
        plan = CapacityPlan(LoadOptions(), self.folder, 7, 30.0, budget_s, self.run, lambda: self.clock)
        record = Capacity(capacity=CapacityFigure("users"))
        return search_capacity(plan, rule, record, Console(file=io.StringIO()))

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
    bench = Bench(tmp_path, [Step("bracket", 16, 400), Step("longer", 16, 800), Step("precision")])
    bench.search()
    assert [float(each["load.duration_s"]) for each in bench.asked] == [30.0, 60.0]


def test_no_run_is_begun_that_would_end_after_the_budget(tmp_path: Path) -> None:
    bench = Bench(tmp_path, STEPS)
    record = bench.search(budget_s=80.0)
    assert (record.capacity.reason, len(record.runs)) == ("budget", 1)


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
