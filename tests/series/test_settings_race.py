"""Running a race: rounds of common work, few starts, failures, the budget, Ctrl-C and resuming."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.run.helpers import ANSWERS, FakeEngine
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.manifest import Manifest, PreflightRecord, WarmupRecord, write_manifest
from tokenswarm.contract.search_progress import SearchProgress, read_progress
from tokenswarm.engines import load_description
from tokenswarm.run.checked_engine import EngineTools
from tokenswarm.run.life import LoadTools
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import resolve
from tokenswarm.run.shared_engine import SharedEngine
from tokenswarm.series.pairs import SeriesTools
from tokenswarm.series.settings_race import MeasuredObjective, Trial, TuneRun, TuneTools
from tokenswarm.series.space import DEFAULT, Candidate
from tokenswarm.series.tune_state import TuneState, read_state

CANDIDATES = [Candidate(DEFAULT, {}), Candidate("a", {"max_num_seqs": 3}), Candidate("b", {"max_num_seqs": 4})]


class ThreeRounds:
    """A race that ends after three rounds, led by `a`; only what fails leaves it."""

    def __init__(self) -> None:
        self.survivors = [each.name for each in CANDIDATES]
        self.rounds: list[Mapping[str, float | None]] = []

    @property
    def over(self) -> str | None:
        return "rounds" if len(self.rounds) == 3 else None

    @property
    def winner(self) -> str | None:
        return "a" if "a" in self.survivors else None

    def record_round(self, figures: Mapping[str, float | None]) -> None:
        self.rounds.append(dict(figures))
        self.survivors = [each for each in self.survivors if figures[each] is not None]


class Engine(FakeEngine):
    """An engine that notes when it is stopped."""

    def __init__(self, log: list[str], name: str) -> None:
        super().__init__(log)
        self.own_name, self.description = name, load_description("sim")

    def reset_prefix_cache(self, wait_s: float) -> bool:
        return True

    def stop(self) -> None:
        self.log.append(f"stop {self.own_name}")


class Bench:
    """A race without engines and load."""

    def __init__(
        self,
        tmp_path: Path,
        fails: Callable[[int, int | None], BaseException | None] = lambda *_: None,
        figure: Callable[[int], MeasuredObjective] = lambda number: MeasuredObjective(float(number)),
        budget_s: float | None = None,
    ) -> None:
        self.tmp, self.fails, self.figure, self.budget_s = tmp_path, fails, figure, budget_s
        self.log: list[str] = []
        self.runs: list[tuple[int | None, str, str | None]] = []
        self.seen: list[SearchProgress] = []
        self.race = ThreeRounds()
        self.time = 0.0

    def play(self, earlier: TuneState | None = None, pairs: int = 2) -> TuneState:
        engine = EngineTools(bring_up=self._bring_up, preflight=lambda load: PreflightRecord(**ANSWERS))
        series = SeriesTools(engine=engine, run=self._run, now=lambda: self.time)
        tools = TuneTools(lambda run: self.figure(int(run.name)), self.budget_s, pairs, series)
        console = Console(file=io.StringIO(), width=200)
        (self.tmp / "series").mkdir(exist_ok=True)
        return TuneRun(LoadOptions(), CANDIDATES, self.race, console, tools).play(self.tmp / "series", earlier)

    def _bring_up(self, plan: Any, folder: Path, _: Console) -> Engine:
        self.log.append(f"start {plan.scenario.engine.max_num_seqs}")
        return Engine(self.log, str(plan.scenario.engine.max_num_seqs))

    def _run(self, options: LoadOptions, console: Console, tools: LoadTools) -> RunOutcome:
        self.time += 10.0
        plan = resolve(options)
        sequences = plan.scenario.engine.max_num_seqs
        problem = self.fails(len(self.runs) + 1, sequences)
        if problem is not None:
            raise problem
        self.seen.append(read_progress(self.tmp / "series"))
        self.runs.append((sequences, options.overrides["prompts.seed"], options.overrides.get("load.warmup_s")))
        folder = self.tmp / f"{1000 + len(list(self.tmp.iterdir()))}"
        folder.mkdir()
        tools.engine.release(tools.engine.bring_up(plan, folder, console))
        write_manifest(folder, Manifest(warmup=WarmupRecord(seconds=7.0)))
        return RunOutcome(folder, "complete")


def test_a_round_is_one_run_of_each_on_one_seed_and_the_engine_of_the_last_begins_the_next(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    state = bench.play(pairs=0)
    default = bench.runs[0][0]
    assert [run[0] for run in bench.runs] == [default, 3, 4, 4, 3, default, default, 3, 4]
    seeds = [run[1] for run in bench.runs]
    assert seeds[:3] == [seeds[0]] * 3 and len(set(seeds)) == 3
    assert [run[2] for run in bench.runs[:3]] == [None, "7", "7"], "as long a warm-up as the first of the round had"
    assert sum(line.startswith("start") for line in bench.log) == state.starts == 7
    assert state.ended == "rounds"


def test_winner_and_default_are_measured_afresh_on_seeds_that_the_race_did_not_have(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    state = bench.play()
    assert [len(state.fresh[side]) for side in ("default", "winner")] == [2, 2]
    assert not {run[1] for run in bench.runs[:9]} & {run[1] for run in bench.runs[9:]}


def test_whoever_looks_sees_the_round_the_candidate_under_way_and_what_became_of_the_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fails=lambda _, seqs: UserError(Exit.ENGINE, "out of memory") if seqs == 4 else None)
    bench.play(pairs=1)
    fourth = bench.seen[3]
    assert fourth.now is not None and fourth.race is not None
    assert (fourth.now.why, fourth.now.candidate, fourth.race.round, fourth.race.leader) == ("race", "default", 2, "a")
    assert [(each.state, each.runs) for each in fourth.race.candidates] == [("in", 1), ("in", 2), ("failed", 0)]
    last = read_progress(tmp_path / "series")
    assert last.race is not None and (last.state, last.reason, last.race.fresh_pairs) == ("ended", "rounds", 1)


def test_one_that_does_not_start_is_a_row_with_its_reason_and_costs_one_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fails=lambda _, seqs: UserError(Exit.ENGINE, "out of memory") if seqs == 4 else None)
    state = bench.play(pairs=0)
    assert state.failures == {"b": "out of memory"}
    assert [round_["b"] for round_ in bench.race.rounds[:1]] == [None]
    assert all("b" not in each.figures for each in state.rounds[1:])


def test_a_spoilt_run_is_made_again(tmp_path: Path) -> None:
    numbers: list[int] = []
    bench = Bench(
        tmp_path,
        figure=lambda number: (
            numbers.append(number)
            or (MeasuredObjective(None, "late", spoilt=True) if len(numbers) == 1 else MeasuredObjective(1.0))
        ),
    )
    state = bench.play(pairs=0)
    assert state.failures == {} and len(bench.runs) == 10


def test_a_load_generator_that_is_the_limit_throws_no_candidate_out_but_ends_the_race(tmp_path: Path) -> None:
    bench = Bench(tmp_path, figure=lambda number: MeasuredObjective(None, "late", spoilt=True))
    state = bench.play()
    assert (state.ended, state.failures, len(bench.runs), bench.race.rounds) == ("load_generator", {}, 3, [])
    assert state.rounds[0].figures == {} and state.fresh == {}


def test_the_budget_ends_the_race_between_rounds(tmp_path: Path) -> None:
    state = Bench(tmp_path, budget_s=75.0).play(pairs=1)
    assert state.ended == "budget" and len(state.rounds) == 1


@pytest.mark.parametrize(("budget_s", "fresh"), [(65.0, 0), (75.0, 2)])
def test_a_budget_that_holds_no_two_fresh_pairs_is_not_spent_on_one(
    budget_s: float, fresh: int, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, budget_s=budget_s)
    state = bench.play(pairs=5)
    assert state.ended == "budget" and len(state.rounds) == 1
    assert [len(state.fresh.get(side, [])) for side in ("default", "winner")] == [fresh] * 2
    assert bench.time <= budget_s


def test_ctrl_c_keeps_what_was_measured_and_the_race_goes_on_from_there(tmp_path: Path) -> None:
    state = Bench(tmp_path, fails=lambda run, _: KeyboardInterrupt() if run == 5 else None).play(pairs=0)
    assert state.ended == "interrupted"
    kept = read_state(tmp_path / "series")
    assert [len(each.figures) for each in kept.rounds] == [3, 1]
    resumed = Bench(tmp_path)
    state = resumed.play(kept, pairs=0)
    assert state.ended == "rounds" and len(resumed.race.rounds) == 3
    assert len(resumed.runs) == 5, "two of the round that was begun, three of the last"
    assert resumed.runs[0][1:] == (str(kept.rounds[1].seed), "7")


def test_fresh_pairs_are_kept_when_interrupted_and_only_those_that_lack_are_made(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fails=lambda run, _: KeyboardInterrupt() if run == 13 else None)
    assert bench.play(pairs=3).ended == "interrupted"
    kept = read_state(tmp_path / "series")
    assert kept.fresh_pairs == 1 and [len(kept.fresh[side]) for side in ("default", "winner")] == [1, 2]
    resumed = Bench(tmp_path)
    state = resumed.play(kept, pairs=3)
    assert len(resumed.runs) == 4 and state.fresh_pairs == 3
    assert [len(state.fresh[side]) for side in ("default", "winner")] == [3, 3]
    assert state.fresh["default"][0] == kept.fresh["default"][0]
    assert resumed.runs[0][1] == bench.runs[11][1], "the pair that was under way is made anew, on its seed"


def test_a_race_with_other_candidates_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="other candidates"):
        Bench(tmp_path).play(TuneState(candidates=["x"]))
    with pytest.raises(UserError, match="not the record of a race"):
        read_state(tmp_path)


class Searches(Bench):
    """A race in which a measurement is a search: `asked` has each one's sequences, seed, folder and first figure."""

    def __init__(self, tmp_path: Path, ends: Callable[[int], Trial | None] = lambda number: None) -> None:
        super().__init__(tmp_path)
        self.ends = ends
        self.asked: list[tuple[int | None, str, str, float | None]] = []

    def play(self, earlier: TuneState | None = None, pairs: int = 2) -> TuneState:
        series = SeriesTools(now=lambda: self.time)
        tools = TuneTools(lambda run: MeasuredObjective(None), None, pairs, series, self._search, "capacity")
        (self.tmp / "series").mkdir(exist_ok=True)
        console = Console(file=io.StringIO(), width=200)
        return TuneRun(LoadOptions(), CANDIDATES, self.race, console, tools).play(self.tmp / "series", earlier)

    def _search(self, options: LoadOptions, folder: Path, engine: SharedEngine, known: float | None) -> Trial:
        self.time += 10.0
        folder.mkdir()
        sequences = resolve(options).scenario.engine.max_num_seqs
        self.asked.append((sequences, options.overrides["prompts.seed"], folder.name, known))
        return self.ends(len(self.asked)) or Trial(MeasuredObjective(10.0 * len(self.asked)), folder)


def test_a_search_begins_where_the_candidates_last_one_ended_in_a_folder_of_its_own(tmp_path: Path) -> None:
    bench = Searches(tmp_path)
    state = bench.play(pairs=2)
    assert [each[3] for each in bench.asked[:6]] == [None, None, None, 30.0, 20.0, 10.0]
    assert len({each[2] for each in bench.asked}) == len(bench.asked) == 9 + 4
    assert bench.asked[0][1] == bench.asked[2][1] != bench.asked[3][1], "one seed a round"
    assert [len(state.fresh[side]) for side in ("default", "winner")] == [2, 2] and state.fresh_pairs == 2
    assert bench.asked[9][1] == bench.asked[10][1] not in {each[1] for each in bench.asked[:9]}
    assert [each[0] for each in bench.asked[9:]] == [bench.asked[0][0], 3, 3, bench.asked[0][0]], "in turn"


def test_a_race_of_searches_goes_on_and_only_by_the_same_objective(tmp_path: Path) -> None:
    cut = Trial(MeasuredObjective(None), ended="interrupted")
    bench = Searches(tmp_path, lambda number: cut if number == 12 else None)
    assert bench.play(pairs=2).ended == "interrupted"
    kept = read_state(tmp_path / "series")
    assert (kept.fresh_pairs, kept.objective) == (1, "capacity")
    with pytest.raises(UserError, match="by capacity, not goodput"):
        Bench(tmp_path).play(read_state(tmp_path / "series"))
    resumed = Searches(tmp_path)
    assert resumed.play(kept, pairs=2).fresh_pairs == 2 and len(resumed.asked) == 2


def test_a_search_that_the_load_generator_spoiled_is_made_again(tmp_path: Path) -> None:
    spoilt = Trial(MeasuredObjective(None, "late", spoilt=True))
    bench = Searches(tmp_path, lambda number: spoilt if number == 1 else None)
    assert bench.play(pairs=1).failures == {} and len(bench.asked) == 10 + 2
