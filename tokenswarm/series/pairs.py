"""Runs of two sides in pairs: A B, B A, A B ...

Both runs of a pair share seed, work and warm-up; each pair has another seed, so that the result does not depend on one
sequence of prompts. The sides take turns, so that a machine that warms up or a noisy neighbor affects both alike. An
engine is restarted only if its settings change: B's serves two runs in a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import shown_url
from tokenswarm.contract.manifest import read_manifest
from tokenswarm.generator.new_run import fresh_salt
from tokenswarm.run.checked_engine import EngineTools
from tokenswarm.run.life import LoadTools, run_load
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import RunPlan, resolve
from tokenswarm.run.shared_engine import SharedEngine, same_engine

DEFAULT_REPEATS = 5
"""Runs per side. Three find a 10% difference in p95 TTFT only half of the time (docs/comparing.md)."""
MOST_PAIRS = 30
"""Most pairs if a time budget decides the number."""
_MOST_FAILURES = 2
"""The series is given up after this many failed runs of one side: an engine that did not start will not start."""
SEED, SALT, WARMUP, ANSWER = "prompts.seed", "prompts.salt", "load.warmup_s", "load.answer_s"


@dataclass(slots=True)
class PairSeries:
    """The run folders of both sides, in order, and how the series ended."""

    a: list[Path] = field(default_factory=list)
    b: list[Path] = field(default_factory=list)
    failures: list[UserError] = field(default_factory=list)
    interrupted: bool = False
    planned: int = 0
    """The maximum number of pairs, fixed before any comparison."""
    gone_through: int = 0
    """Completed pairs, including failed ones; the 0-based number of the next pair."""

    def whole(self) -> PairSeries:
        """The state from which an interrupted series resumes: without the runs of the incomplete pair."""
        most = self.gone_through
        return PairSeries(self.a[:most], self.b[:most], planned=self.planned, gone_through=most)


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends a series before its last pair. `is_settled(planned)` is called after each pair but the last, with the
    maximum number of pairs: whether the question is answered. `budget_s`: no pair starts that would not end by then.
    The number of pairs is reduced to fit after the first pair, before any result is looked at."""

    is_settled: Callable[[int], bool] = lambda planned: False
    budget_s: float | None = None


@dataclass(frozen=True, slots=True)
class SeriesTools:
    """Functions that make the runs; tests inject their own."""

    engine: EngineTools = field(default_factory=EngineTools)
    run: Callable[[LoadOptions, Console, LoadTools], RunOutcome] = lambda options, console, tools: run_load(
        options, console, tools=tools
    )
    now: Callable[[], float] = time.monotonic
    ending: Ending = Ending()
    checks: bool = True
    """Whether both sides are started and checked before the first run."""


def order(repeats: int) -> Iterator[str]:
    """`a b b a a b ...`: each side `repeats` times, and neither always first."""
    for number in range(repeats):
        yield from "ab" if number % 2 == 0 else "ba"


def work_of(pair: int, seed: int, salts: tuple[str, str], warm: Mapping[str, str]) -> tuple[dict[str, str], ...]:
    """What the first and the second run of a pair (from 0) have in common, as scenario values by dotted name; `salts`
    are the same one, or two of the same length where the second could find in a cache what the first left there.

    `warm`: what the first one's warm-up showed (`shown_by_warmup`), by which the second goes too.
    """
    return tuple({**warm, SEED: str(seed + pair), SALT: salt} for salt in salts)


def shown_by_warmup(outcome: RunOutcome) -> dict[str, str]:
    """A run's warm-up time and answer times, as scenario values for other runs with the same work."""
    warmup = read_manifest(outcome.folder).warmup
    if warmup is None or warmup.seconds is None:
        return {}
    warm = {WARMUP: f"{round(float(warmup.seconds), 1):g}"}
    return warm if isinstance(warmup.answer_s, msgspec.UnsetType) else {**warm, ANSWER: f"{warmup.answer_s:g}"}


class PairedRuns:
    """A series in progress. after(side, outcome) is called when a run has written its folder."""

    def __init__(
        self,
        a: LoadOptions,
        b: LoadOptions,
        repeats: int,
        console: Console,
        after: Callable[[str, RunOutcome], None],
        tools: SeriesTools | None = None,
    ) -> None:
        self.series = PairSeries(planned=repeats)
        self._sides: Mapping[str, LoadOptions] = {"a": a, "b": b}
        self._plans = {side: resolve(options) for side, options in self._sides.items()}
        self._repeats, self._console, self._after = repeats, console, after
        self._tools = tools or SeriesTools()
        self._engine = SharedEngine(self._tools.engine)
        self._failed = {"a": 0, "b": 0}
        self._own_salts = False
        self._created = self._tools.now()

    def play(self, folder: Path, earlier: PairSeries | None = None) -> PairSeries:
        """Check both sides, then run them in turn. Logs of the engines that are checked go into `folder`. `earlier`: a
        series of the same sides that was interrupted, which goes on.

        A run that fails costs itself only: the sentence is kept in `failures`, and the series goes on unless that side
        has failed twice. Ctrl-C ends the series in good order. Raises UserError for what is wrong with a side.
        """
        try:
            if earlier is not None:
                self._go_on_from(earlier)
            if self._tools.checks:
                self._check(folder)
            self._console.print(self._time_ahead(), highlight=False)
            pair, slowest_s = self.series.gone_through, 0.0
            while pair < self._repeats:
                began = self._tools.now()
                if not self._pair(pair):
                    break
                pair, slowest_s = pair + 1, max(slowest_s, self._tools.now() - began)
                self.series.gone_through = pair
                if pair == 1:
                    self._plan(slowest_s)
                if self._is_over(pair, slowest_s):
                    break
        except KeyboardInterrupt:
            self.series.interrupted = True
        finally:
            self._engine.close()
        return self.series

    # ---- before the first run

    def _go_on_from(self, earlier: PairSeries) -> None:
        """The planned number of pairs stays the same, since all looks at the pairs share one error budget."""
        self.series = earlier.whole()
        self._repeats = self.series.planned = earlier.planned or self._repeats

    def _check(self, folder: Path) -> None:
        """Check that both sides start and answer before spending time on either, and whether their caches can be
        emptied."""
        emptied = []
        for side in "ba":  # A last: the first run is its
            self._console.print(f"checking side {side.upper()}", highlight=False)
            emptied.append(self._engine.check(self._plans[side], folder / f"check-{side}", self._console))
        own_engines = all(plan.engine is not None for plan in self._plans.values()) and not same_engine(
            *self._plans.values()
        )
        self._own_salts = not (all(emptied) or own_engines)
        if self._own_salts:
            self._console.print(
                "note: the prefix cache cannot be proved empty between the runs, so each has a salt of "
                "its own over the same work: no run profits from the one before",
                highlight=False,
            )

    # ---- a pair

    def _pair(self, pair: int) -> bool:
        """Both runs of a pair. Returns False if the series is over."""
        seed = self._plans["a"].scenario.prompts.seed
        salt = fresh_salt()
        salts = (salt, fresh_salt() if self._own_salts else salt)
        warm: dict[str, str] = {}
        for place, side in enumerate("ab" if pair % 2 == 0 else "ba"):
            work = work_of(pair, seed, salts, warm)[place]
            outcome = self._run(side, 2 * pair + place + 1, work)
            if outcome is None or self.series.interrupted:
                return False
            if place == 0 and outcome.folder is not None:
                warm = shown_by_warmup(outcome)
                self._own_salts = self._own_salts or self._not_emptied(outcome)
                salts = (salt, fresh_salt()) if self._own_salts else salts
        return True

    def _not_emptied(self, outcome: RunOutcome) -> bool:
        """Handle a shared cache that could not be emptied this time, although it could when checked."""
        reset = read_manifest(outcome.folder).cache_reset
        shared = self._plans["a"].engine is None or same_engine(*self._plans.values())
        return shared and reset is not None and reset.done is False

    def _run(self, side: str, number: int, work: Mapping[str, str]) -> RunOutcome | None:
        """One run; None if the series is over."""
        mine = self._sides[side]
        options = replace(mine, overrides={**work, **mine.overrides, SEED: work[SEED]})
        console, series = self._console, self.series
        where = f" at {shown_url(options.host)}" if options.host else ""
        console.print(
            Text.assemble(
                "\n",
                (f"run {number} of {2 * self._repeats}", "bold"),
                f": side {side.upper()}, {self._plans[side].engine_title}{where}, seed {work[SEED]}",
            )
        )
        outcome, problem = RunOutcome(None), None  # type: ignore[arg-type]  # no folder yet
        try:
            outcome = self._tools.run(options, console, LoadTools(engine=self._engine.tools))
        except UserError as error:
            problem = error
            self._engine.close()  # whatever is wrong with it, the next run gets a new one
        else:
            problem = outcome.error
            getattr(series, side).append(outcome.folder)
            self._after(side, outcome)
            series.interrupted = outcome.status == "interrupted"
        if problem is not None:
            series.failures.append(problem)
            self._failed[side] += 1
            console.print(f"side {side.upper()}: {problem}", style="red", markup=False, highlight=False)
            if problem.code is Exit.USAGE or self._failed[side] == _MOST_FAILURES:
                return None
        return outcome

    def _time_ahead(self) -> str:
        """The estimated total time from the scenario's own durations, until a pair has been measured."""
        load, runs = self._plans["a"].scenario.load, 2 * self._repeats
        warmup_s = load.warmup_max_s if load.warmup_s is None else load.warmup_s
        shortest, longest = runs * load.duration_s, runs * (load.duration_s + warmup_s + load.drain_s)
        budget_s = self._tools.ending.budget_s
        if budget_s is not None and budget_s < longest:
            return f"as many pairs of runs of {load.duration_s:g} s as {_minutes(budget_s)} hold"
        return (
            f"at most {runs} runs of {load.duration_s:g} s: {_minutes(shortest)} to {_minutes(longest)} with "
            "warm-ups and drains, and the starts of engines; the first pair will tell it better"
        )

    def _plan(self, pair_s: float) -> None:
        """Announce the number of pairs and the total time, once the first pair was measured."""
        budget_s = self._tools.ending.budget_s
        if budget_s is not None:
            left_s = budget_s - (self._tools.now() - self._created)
            self._repeats = min(self._repeats, 1 + max(0, int(left_s / pair_s) if pair_s > 0 else self._repeats))
        self.series.planned = self._repeats
        more = self._repeats - 1
        if more > 0:
            self._console.print(
                f"\none pair took {_minutes(pair_s)}; the other {more} take about {_minutes(pair_s * more)} more",
                highlight=False,
            )
        elif budget_s is not None:
            self._console.print(
                f"\none pair took {_minutes(pair_s)}: the budget of {_minutes(budget_s)} holds no second one",
                highlight=False,
            )

    def _is_over(self, pairs: int, slowest_s: float) -> bool:
        """Whether the series ends before its last pair."""
        ending = self._tools.ending
        if pairs >= self._repeats:
            return False
        if ending.is_settled(self._repeats):
            return True
        spent_s = self._tools.now() - self._created
        if ending.budget_s is None or spent_s + slowest_s <= ending.budget_s:
            return False
        self._console.print(
            f"the budget of {_minutes(ending.budget_s)} holds no further pair: {_minutes(spent_s)} are "
            f"spent, and a pair takes up to {_minutes(slowest_s)}",
            highlight=False,
        )
        return True


def run_series(
    a: LoadOptions,
    b: LoadOptions,
    repeats: int,
    console: Console,
    after: Callable[[str, RunOutcome], None],
    folder: Path,
) -> PairSeries:
    """Run both sides in turn; see `PairedRuns`."""
    return PairedRuns(a, b, repeats, console, after).play(folder)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def side_labels(a: RunPlan, b: RunPlan) -> tuple[str, str]:
    """Labels that say how the sides differ: engine, endpoint, model, or settings with their values."""
    engines = _engines(a, b)
    hosts = [each and shown_url(each) for each in (a.host, b.host)]
    named = [
        (first, second)
        for first, second in (engines, hosts, (a.model, b.model))
        if first != second and first and second
    ]
    values = _flat(a.scenario.values()), _flat(b.scenario.values())
    # Constraint fields follow from the engine.
    own = "endpoint." if a.engine_name != b.engine_name else ()
    keys = [
        key
        for key in {**values[0], **values[1]}
        if values[0].get(key) != values[1].get(key) and not key.startswith(own)
    ]
    for key in keys:
        name = key.removeprefix("engine.")
        named.append((f"{name}={_shown(values[0].get(key))}", f"{name}={_shown(values[1].get(key))}"))
    if not named:
        return f"{engines[0]} (1)", f"{engines[1]} (2)"
    return " ".join(first for first, _ in named), " ".join(second for _, second in named)


def _engines(a: RunPlan, b: RunPlan) -> tuple[str, str]:
    """Engine titles, as on all pages; names if two descriptions have the same title."""
    if a.engine_title == b.engine_title:
        return (a.engine_title, b.engine_title) if a.engine_name == b.engine_name else (a.engine_name, b.engine_name)
    return a.engine_title, b.engine_title


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and "kind" not in value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(value: object) -> str:
    return "unset" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
