"""Writes a search's progress into its folder while it runs, for others to read (`contract.search_progress`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenswarm.contract.capacity_record import Capacity
from tokenswarm.contract.decision_record import Decision
from tokenswarm.contract.search_progress import (
    ENDED,
    FAILED,
    INTERRUPTED,
    RUNNING,
    Amounts,
    BracketSoFar,
    LevelSoFar,
    RunUnderWay,
    SearchProgress,
    StageSoFar,
    new_progress,
    write_progress,
)


@dataclass(slots=True)
class ProgressLog:
    """Maintains progress.json of one search. `fill` updates its content before each write."""

    folder: Path
    progress: SearchProgress
    fill: Callable[[SearchProgress], None]
    under_way_s: float = 0.0
    """Seconds that the current stage of a decision has taken, as last reported."""

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Context manager around the whole search; records how it ends."""
        self._write(RUNNING)
        try:
            yield
        except KeyboardInterrupt:
            self.end(INTERRUPTED)
            raise
        except BaseException as error:
            self.progress.now = None
            self.progress.reason = self.progress.sentence = str(error) or type(error).__name__
            self._write(FAILED)
            raise

    def begin(self, run: RunUnderWay, sentence: str) -> None:
        """A run begins."""
        run.began_at = time.time()
        self.progress.now, self.progress.sentence = run, sentence
        self._write(RUNNING)

    def told(self, sentence: str, under_way_s: float) -> None:
        """The current run continues and has reported something."""
        self.progress.sentence, self.under_way_s = sentence, under_way_s
        self._write(RUNNING)

    def over(self, sentence: str = "") -> None:
        """A run is over and its result is known."""
        self.progress.now, self.under_way_s = None, 0.0
        self.progress.sentence = sentence or self.progress.sentence
        self._write(RUNNING)

    def end(self, reason: str, sentence: str = "") -> None:
        """The search is over."""
        self.progress.now, self.progress.reason = None, reason
        self.progress.sentence = sentence or f"It is over: {reason}."
        self._write(INTERRUPTED if reason == INTERRUPTED else ENDED)

    def _write(self, state: str) -> None:
        self.progress.state = state
        self.fill(self.progress)
        write_progress(self.folder, self.progress)


def of_capacity(record: Capacity) -> SearchProgress:
    """The log of a capacity search that starts or resumes."""
    return new_progress("capacity", record.engine, record.scenario)


def fill_capacity(progress: SearchProgress, record: Capacity) -> None:
    """Fill in what a record knows so far."""
    figure = record.capacity
    progress.runs = len(record.runs)
    progress.spent.requests = sum(run.requests for run in record.runs)
    progress.spent.usd = sum(run.usd for run in record.runs) or None
    progress.bracket = BracketSoFar(
        figure.unit,
        record.target,
        record.precision,
        figure.sure_pass,
        figure.sure_fail,
        figure.estimate,
        list(figure.ci95),
        [LevelSoFar(each.load, each.state, each.attainment, list(each.ci95), each.requests) for each in record.levels],
    )


def fill_decision(progress: SearchProgress, decision: Decision, under_way_s: float = 0.0) -> None:
    """The stages of a decision; the one under way is `running`, for `under_way_s` so far."""
    spent = sum(stage.spent_s for stage in decision.stages) + under_way_s
    progress.spent = Amounts(spent)
    progress.left = Amounts(None if decision.budget_s is None else max(0.0, decision.budget_s - spent))
    progress.runs = len({run for side in decision.sides for run in side.runs}) + sum(
        len(side) for side in (decision.pairs.a, decision.pairs.b)
    )
    under_way = progress.now.number if progress.now is not None else 0
    progress.stages = [
        StageSoFar(
            stage.kind,
            stage.engine,
            "running" if place == under_way else stage.state,
            stage.folder,
            round(stage.spent_s + (under_way_s if place == under_way else 0.0), 1),
        )
        for place, stage in enumerate(decision.stages, start=1)
    ]
