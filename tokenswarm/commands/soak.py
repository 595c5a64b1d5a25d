"""`soak`: an unattended run of hours, for CI: one line a minute, abort rules, a graceful end on SIGTERM."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import Commands
from tokenswarm.commands.load import add_gates, add_options, load_options
from tokenswarm.commands.typed_values import seconds, share
from tokenswarm.commands.verdict import exit_code, tell_ci
from tokenswarm.contract.summary.summary_file import summary_json
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.tables import DASHBOARD_HTML

_DURATION = "1h"
_TABLE_TAKES_S = 4.0
_EPILOG = """\
examples:
  python -m tokenswarm soak --engine vllm --scenario chat --duration 8h
  python -m tokenswarm soak --engine external --host http://gpu1:8000 --duration 30m --abort-error-rate 0.1
  python -m tokenswarm soak --duration 4h --grace 8s --strict --baseline results/<earlier run>

It ends early, each with an exit code of its own, when too many requests fail, when the engine is gone, or when the
disk is nearly full: the table [abort] of the scenario (docs/soak.md). A restart of the engine is survived.
The API key of the endpoint is read from the environment variable API_KEY."""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "soak",
        help="an unattended run of hours, for CI: abort rules, figures at any time, a clean end on SIGTERM",
        description="Plays a scenario for hours. Takes every option of `load`, and these:",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    add_options(parser)
    add_gates(parser)
    parser.set_defaults(duration=_DURATION, run=_soak)
    soak = parser.add_argument_group("soak (--duration is 1h unless given)")
    soak.add_argument(
        "--abort-error-rate",
        type=share,
        metavar="S",
        help="end the run when more than this share of requests failed within abort.window_s (60 s) "
        "(abort.error_rate, default 0.5)",
    )
    soak.add_argument(
        "--grace",
        type=seconds,
        default=30.0,
        metavar="T",
        help="time from SIGTERM (or Ctrl-C) to the end, report included (default 30s)",
    )
    soak.add_argument(
        "--summary-every",
        type=seconds,
        default=60.0,
        metavar="T",
        help="how often summary.json is rewritten meanwhile; less often where that takes long (default 60s)",
    )


def _soak(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.verdict.gates import judged
    from tokenswarm.base.signals import Interrupts
    from tokenswarm.run.life import run_load
    from tokenswarm.run.progress import working
    from tokenswarm.run.soak_run import Soak

    console = Console(stderr=options.json, markup=False)
    rate = options.abort_error_rate
    wanted = load_options(options, argv, **{"abort.error_rate": None if rate is None else str(rate)})
    soak = Soak(
        _report_options(options),
        options.grace,
        options.summary_every,
        judged=lambda summary: judged(summary, options.strict),
    )
    with Interrupts(require_double_ctrl_c=True) as late:
        late.on_first = lambda: None
        late.on_hard_exit.append(soak.kill)
        outcome = run_load(wanted, console, soak)
        if outcome.error is not None:
            print(f"tokenswarm: {outcome.error}", file=sys.stderr, flush=True)
        try:
            with working(console, "making the dashboard"):
                summary = soak.conclude(outcome, lambda: late.first_at)
        except UserError as error:
            if outcome.error is None:
                raise
            print(f"tokenswarm: {error}", file=sys.stderr)  # a full disk prevents the report; keep the reason
            return outcome.error.code
        first = outcome.interrupted_at if outcome.interrupted_at is not None else late.first_at
        in_time = first is None or time.monotonic() < first + options.grace - _TABLE_TAKES_S
        _show(outcome.folder, summary, options, console, in_time)
        return exit_code(summary)


def _report_options(options: argparse.Namespace) -> list[str]:
    return [
        *(["--strict"] if options.strict else []),
        *(["--baseline", options.baseline] if options.baseline else []),
        *(["--fail-on-drift"] if options.fail_on_drift else []),
    ]


def _show(folder: Path, summary: Summary, options: argparse.Namespace, console: Console, in_time: bool) -> None:
    """Print the result; only the verdict if there is no time for tables, which take seconds to import."""
    tell_ci(folder)
    if options.json:
        print(summary_json(summary))
        return
    if in_time:
        from tokenswarm.analysis.render.terminal_summary import summary_table

        console.print(summary_table(summary))
    else:
        console.print(f"{summary.outcome.headline}: no time for more", highlight=False)
    if (folder / DASHBOARD_HTML).exists():
        console.print(f"dashboard: {folder / DASHBOARD_HTML}", highlight=False, soft_wrap=True)
    if not console.is_terminal:
        print(folder)  # the last line, for a script
