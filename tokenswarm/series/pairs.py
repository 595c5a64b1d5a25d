"""Runs of two sides in turn: A B B A A B ..., each from a cold cache, all with the same prompts.

In turn, so that a machine that warms up or a neighbour that comes and goes weighs on both sides alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import shown_url
from tokenswarm.generator.new_run import fresh_salt
from tokenswarm.run.life import run_load
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions

DEFAULT_REPEATS = 5
"""Of each side. Three find a difference of 10% in p95 TTFT only every other time (docs/comparing.md)."""
_MOST_FAILURES = 2
"""Runs of one side that may fail before the series is given up: an engine that does not start will not start."""


@dataclass(slots=True)
class Series:
    """The run folders of both sides, in the order of their runs, and how the series ended."""

    a: list[Path] = field(default_factory=list)
    b: list[Path] = field(default_factory=list)
    failures: list[UserError] = field(default_factory=list)
    interrupted: bool = False


def order(repeats: int) -> Iterator[str]:
    """`a b b a a b ...`: every side `repeats` times, and neither always first."""
    for number in range(repeats):
        yield from "ab" if number % 2 == 0 else "ba"


def run_series(a: LoadOptions, b: LoadOptions, repeats: int, console: Console,
               after: Callable[[str, RunOutcome], None]) -> Series:
    """Run both sides in turn; after(side, outcome) is called when a run has left a folder.

    A run that fails costs itself only: the sentence is kept in `failures`, and the series goes on unless that side
    has failed twice. Ctrl-C ends the series in good order.
    """
    salt = fresh_salt()
    series, failed = Series(), {"a": 0, "b": 0}
    sides = {"a": a, "b": b}
    for number, side in enumerate(order(repeats), 1):
        options = replace(sides[side], overrides={"prompts.salt": salt, **sides[side].overrides})
        console.print(Text.assemble("\n", (f"run {number} of {2 * repeats}", "bold"), f": side {side.upper()}, "
                                    f"{options.engine}" + (f" at {shown_url(options.host)}" if options.host else "")))
        try:
            outcome = run_load(options, console)
        except UserError as error:
            outcome, problem = None, error
        except KeyboardInterrupt:
            series.interrupted = True
            return series
        else:
            problem = outcome.error
            getattr(series, side).append(outcome.folder)
            after(side, outcome)
            if outcome.status == "interrupted":
                series.interrupted = True
                return series
        if problem is not None:
            series.failures.append(problem)
            failed[side] += 1
            console.print(f"side {side.upper()}: {problem}", style="red", markup=False, highlight=False)
            if problem.code is Exit.USAGE or failed[side] == _MOST_FAILURES:
                return series
    return series
