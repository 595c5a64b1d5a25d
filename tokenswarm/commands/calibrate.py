"""`calibrate`: how much load one worker on this machine can time accurately."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from tokenswarm.base.errors import Exit
from tokenswarm.base.typed import Commands
from tokenswarm.commands.typed_values import at_least_one, seconds

if TYPE_CHECKING:
    from tokenswarm.run.truth_run import TruthRun


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    calibrate = commands.add_parser(
        "calibrate",
        help="measure how much load one worker of this machine can time to within 2 ms",
        description="Loads a truth-logging simulator with more and more streams, compares every row with the truth, "
        "and remembers the limit: `load` advises WORKERS from it. Takes a minute or two; nothing else "
        "should run meanwhile.",
    )
    calibrate.add_argument("--seconds", type=seconds, default=8.0, metavar="S", help="length of each step (default 8)")
    calibrate.add_argument(
        "--up-to",
        type=at_least_one,
        metavar="STREAMS",
        help="end after the step of so many streams: quicker, and the limit may be higher",
    )
    calibrate.add_argument("--json", action="store_true", help="print the result as JSON; steps go to standard error")
    calibrate.set_defaults(run=_calibrate)


def _calibrate(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.run.calibration import STREAM_RATE, calibrate, ladder_up_to, path

    def on_step(streams: int, step: TruthRun, broken: str | None) -> None:
        print(
            f"{streams:>5} streams x {STREAM_RATE:g} tok/s   {step.tokens_s:>8,.0f} tok/s   TTFT error p50 "
            f"{step.ttft_error_p50_ms:.3f} p99 {step.ttft_error_p99_ms:.3f} ms   CPU {step.cpu_share:4.0%}   "
            f"{broken or 'ok'}",
            flush=True,
            file=sys.stderr if options.json else sys.stdout,
        )

    result = calibrate(on_step, options.seconds, ladder_up_to(options.up_to))
    if options.json:
        print(json.dumps(asdict(result), indent=2))
        return Exit.PASSED
    print(
        f"one worker: {result.streams} streams, {result.tokens_s:,.0f} tokens/s within 2 ms; beyond: "
        f"{result.limited_by}\nkept in {path()}"
    )
    return Exit.PASSED
