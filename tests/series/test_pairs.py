"""A comparison's runs: in pairs that share work, on engines that are started as seldom as possible."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.run.helpers import ANSWERS, FakeEngine
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.manifest import CacheResetRecord, Manifest, PreflightRecord, WarmupRecord, write_manifest
from tokenswarm.engines import load_description
from tokenswarm.run.checked_engine import EngineTools
from tokenswarm.run.life import LoadTools
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import resolve
from tokenswarm.series.pairs import Ending, PairedRuns, PairSeries, SeriesTools, order, side_labels


class Endpoint(FakeEngine):
    """An engine whose cache can be emptied, or not."""

    def __init__(self, log: list[str], name: str, resets: bool) -> None:
        super().__init__(log)
        self.own_name, self._resets = name, resets
        self.description = load_description("sim")

    def reset_prefix_cache(self, wait_s: float) -> bool:
        return self._resets

    def stop(self) -> None:
        self.log.append(f"stop {self.own_name}")


class Bench:
    """A series without engines and load: `log` is what was done in order, `runs` what each run was asked for."""

    def __init__(
        self,
        tmp_path: Path,
        *,
        resets: bool = True,
        fails: Callable[[int], UserError | None] | None = None,
        refuses: str = "",
    ) -> None:
        self.log: list[str] = []
        self.runs: list[dict[str, str]] = []
        self.console = Console(file=io.StringIO(), width=200)
        self._tmp, self._resets, self._fails, self._refuses = tmp_path, resets, fails, refuses
        self._time = 0.0

    def play(self, a: LoadOptions, b: LoadOptions, repeats: int = 3, ending: Ending | None = None) -> PairSeries:
        engine = EngineTools(bring_up=self._bring_up, preflight=self._preflight)
        tools = SeriesTools(engine=engine, run=self._run, now=self._now, ending=ending or Ending())
        return PairedRuns(a, b, repeats, self.console, lambda side, _: self.log.append(f"report {side}"), tools).play(
            self._tmp / "comparison"
        )

    def _now(self) -> float:
        self._time += 60.0
        return self._time

    def _bring_up(self, plan: Any, folder: Path, _: Console) -> Endpoint:
        name = plan.host or plan.scenario.engine.prefill_budget
        self.log.append(f"start {name}")
        return Endpoint(self.log, name, self._resets)

    def _preflight(self, load: Any) -> PreflightRecord:
        if self._refuses:
            raise UserError(Exit.MODEL, self._refuses)
        return PreflightRecord(**ANSWERS)

    def _run(self, options: LoadOptions, console: Console, tools: LoadTools) -> RunOutcome:
        self.runs.append(dict(options.overrides))
        number = len(self.runs)
        if self._fails is not None and (problem := self._fails(number)) is not None:
            raise problem
        folder = self._tmp / f"run-{number}"
        folder.mkdir()
        tools.engine.release(tools.engine.bring_up(resolve(options), folder, console))
        write_manifest(
            folder,
            Manifest(
                warmup=WarmupRecord(seconds=5.0 + number, answer_s=0.1 * number),
                cache_reset=CacheResetRecord(self._resets, "", 0.0),
            ),
        )
        return RunOutcome(folder, "complete")

    @property
    def printed(self) -> str:
        return self.console.file.getvalue()


def flags(budget: int, **more: Any) -> LoadOptions:
    """A side that is an engine of ours with a setting."""
    return LoadOptions(engine="sim", overrides={"engine.prefill_budget": str(budget), **more})


def server(host: str) -> LoadOptions:
    """A side that is a server which runs already."""
    return LoadOptions(engine="external", host=host)


def test_both_runs_of_a_pair_share_seed_salt_and_warm_up_and_each_pair_has_another_seed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    series = bench.play(flags(1, **{"prompts.seed": "7"}), flags(2, **{"prompts.seed": "7"}))
    assert (len(series.a), len(series.b), series.failures) == (3, 3, [])
    pairs = [bench.runs[place : place + 2] for place in (0, 2, 4)]
    assert [[run["prompts.seed"] for run in pair] for pair in pairs] == [["7", "7"], ["8", "8"], ["9", "9"]]
    assert all(pair[0]["prompts.salt"] == pair[1]["prompts.salt"] for pair in pairs)
    assert len({pair[0]["prompts.salt"] for pair in pairs}) == 3
    assert [["load.warmup_s" in run for run in pair] for pair in pairs] == [[False, True]] * 3
    assert [pair[1]["load.warmup_s"] for pair in pairs] == ["6", "8", "10"], "as long as the first run of the pair took"
    assert [[run.get("load.answer_s") for run in pair] for pair in pairs] == [
        [None, "0.1"],
        [None, "0.3"],
        [None, "0.5"],
    ]


def test_an_engine_is_started_only_where_its_settings_change_and_both_are_checked_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.play(flags(1), flags(2))
    assert bench.log == [
        "start 2",
        "stop 2",
        "start 1",  # checked: A last, whose run is first
        "report a",
        "stop 1",
        "start 2",
        "report b",
        "report b",
        "stop 2",
        "start 1",
        "report a",
        "report a",
        "stop 1",
        "start 2",
        "report b",
        "stop 2",
    ]


def test_sides_that_differ_in_what_is_asked_share_one_engine(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.play(flags(1, **{"load.users": "4"}), flags(1, **{"load.users": "8"}), repeats=2)
    assert [entry for entry in bench.log if "report" not in entry] == ["start 1", "stop 1"]


def test_a_side_that_does_not_answer_is_told_before_any_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path, refuses="serves another model")
    with pytest.raises(UserError, match="serves another model"):
        bench.play(flags(1), flags(2))
    assert bench.runs == [] and bench.log == ["start 2", "stop 2"]


@pytest.mark.parametrize(
    ("a", "b", "resets", "own"),
    [
        (server("http://one:1"), server("http://one:1"), False, True),
        (server("http://one:1"), server("http://one:1"), True, False),
        (server("http://one:1"), server("http://two:1"), False, True),  # two names may be one server
        (flags(1), flags(2), False, False),  # each begins with an engine of its own
        (flags(1, **{"load.users": "4"}), flags(1), False, True),
    ],
)
def test_runs_that_could_profit_from_each_other_have_salts_of_their_own_of_equal_length(
    tmp_path: Path, a: LoadOptions, b: LoadOptions, resets: bool, own: bool
) -> None:
    bench = Bench(tmp_path, resets=resets)
    bench.play(a, b, repeats=2)
    salts = [run["prompts.salt"] for run in bench.runs]
    assert (salts[0] != salts[1], salts[2] != salts[3]) == (own, own)
    assert len({len(salt) for salt in salts}) == 1
    assert [run["prompts.seed"] for run in bench.runs] == ["1", "1", "2", "2"]
    assert ("a salt of its own" in bench.printed) == own


def test_after_the_first_pair_the_rest_is_estimated(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.play(flags(1), flags(2), repeats=5)
    assert "one pair took 60 s; the other 4 take about 4 min more" in bench.printed


def test_a_series_ends_with_the_pair_that_settles_it(tmp_path: Path) -> None:
    bench, asked = Bench(tmp_path), []

    def is_settled(planned: int) -> bool:
        asked.append((len(bench.runs), planned))
        return len(bench.runs) == 6

    series = bench.play(flags(1), flags(2), repeats=5, ending=Ending(is_settled))
    assert (asked, len(series.a), len(series.b), series.planned) == ([(2, 5), (4, 5), (6, 5)], 3, 3, 5)


def test_nobody_is_asked_after_the_last_pair(tmp_path: Path) -> None:
    bench, asked = Bench(tmp_path), []
    bench.play(flags(1), flags(2), repeats=2, ending=Ending(lambda planned: bool(asked.append(planned))))
    assert (asked, len(bench.runs)) == ([2], 4)


@pytest.mark.parametrize(("budget_s", "pairs"), [(100.0, 1), (400.0, 2), (100_000.0, 8)])
def test_a_budget_plans_as_many_pairs_as_it_holds_and_no_more_begin(
    tmp_path: Path, budget_s: float, pairs: int
) -> None:
    bench = Bench(tmp_path)
    series = bench.play(flags(1), flags(2), repeats=8, ending=Ending(budget_s=budget_s))
    assert (len(series.a), len(series.b)) == (pairs, pairs)
    assert ("holds no second one" in bench.printed) == (pairs == 1)


def test_a_pair_that_would_end_after_the_budget_is_not_begun(tmp_path: Path) -> None:
    """The first pair promised more than the later ones keep: each look at the clock takes a minute here."""
    bench = Bench(tmp_path)
    series = bench.play(flags(1), flags(2), repeats=20, ending=Ending(budget_s=900.0))
    assert len(series.a) < series.planned
    assert "the budget of 15 min holds no further pair" in bench.printed


def test_a_run_that_fails_costs_itself_and_a_side_that_fails_twice_ends_the_series(tmp_path: Path) -> None:
    def fails(number: int) -> UserError | None:
        return UserError(Exit.ENGINE, "it died") if number in (2, 3) else None

    bench = Bench(tmp_path, fails=fails)
    series = bench.play(flags(1), flags(2))
    assert len(bench.runs) == 3 and len(series.a) == 1 and series.b == []
    assert [str(failure) for failure in series.failures] == ["it died", "it died"]
    assert bench.log[-1].startswith("stop") or bench.log.count("start 2") == bench.log.count("stop 2")


def test_no_side_is_always_first() -> None:
    assert "".join(order(4)) == "abbaabba"


@pytest.mark.parametrize(
    ("a", "b", "labels"),
    [
        (flags(1), flags(2), ("prefill_budget=1", "prefill_budget=2")),
        (
            LoadOptions(),
            LoadOptions(overrides={"engine.prefix_cache": "false"}),
            ("prefix_cache=true", "prefix_cache=false"),
        ),
        (LoadOptions(engine="vllm"), LoadOptions(engine="sglang"), ("vLLM", "SGLang")),
        (
            LoadOptions(engine="sim-vllm"),
            LoadOptions(engine="sim-sglang"),
            ("vLLM-like simulator", "SGLang-like simulator"),
        ),
        (server("http://one:1"), server("http://two:1"), ("http://one:1", "http://two:1")),
        (LoadOptions(), LoadOptions(), ("Simulator (1)", "Simulator (2)")),
    ],
)
def test_labels_name_what_differs(a: LoadOptions, b: LoadOptions, labels: tuple[str, str]) -> None:
    quiet = [resolve(replace(side, runtime="local")) for side in (a, b)]
    assert side_labels(*quiet) == labels
