"""`capacity`: the highest load at which the scenario's SLOs hold."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokenswarm.base.errors import Exit
from tokenswarm.base.typed import Commands
from tokenswarm.commands.load import add_options, load_options
from tokenswarm.commands.series_runs import series_folder
from tokenswarm.commands.typed_values import above_zero, at_least_one, dollars, seconds, share
from tokenswarm.contract.search_progress import INTERRUPTED

if TYPE_CHECKING:
    from tokenswarm.commands.capacity_series import CapacityAsked
    from tokenswarm.contract.capacity_record import Capacity
    from tokenswarm.run.options import LoadOptions
    from tokenswarm.run.run_plan import RunPlan


_BUDGET_S, _SIMULATED_BUDGET_S = 7200.0, 600.0


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "capacity",
        help="the highest load at which the scenario's SLOs hold",
        description="Doubles the load until the SLOs surely fail, closes in on the highest that passes, and writes "
        "capacity.html, capacity.md, capacity.json and junit.xml, with an ordinary run folder for every "
        "measurement.",
    )
    add_options(parser)
    search = parser.add_argument_group("the search")
    search.add_argument(
        "--of",
        choices=("users", "rate"),
        default=None,
        dest="of",
        help="users of a closed loop or requests/s (default: what the scenario has; "
        "rate begins at --rate, else at a quarter of the users)",
    )
    search.add_argument(
        "--target",
        type=share,
        default=0.95,
        metavar="SHARE",
        help="share of sent requests that must meet every limit (default 0.95)",
    )
    search.add_argument(
        "--precision",
        type=share,
        default=0.10,
        metavar="SHARE",
        help="how far apart pass and fail may be at the end (default 0.1)",
    )
    search.add_argument(
        "--budget",
        type=seconds,
        metavar="T",
        help="longest time, such as 30m (default 2h; of a simulated engine 10m)",
    )
    search.add_argument(
        "--max-requests",
        type=at_least_one,
        metavar="N",
        help="start no further run once this many requests were sent, warm-ups included",
    )
    search.add_argument(
        "--max-usd",
        type=dollars,
        metavar="USD",
        help="start no further run once tokens have cost this much (needs prices: docs/endpoints.md)",
    )
    search.add_argument(
        "--at-least", type=above_zero, metavar="N", help="the exit code says whether it can serve this load"
    )
    search.add_argument(
        "--tiers",
        metavar="NAME",
        help="further limits, checked at the same levels: a file of compose/tiers or one of its "
        "tiers, such as mlperf or mlperf:llama3.1-8b (default: the scenario's [slo.tiers])",
    )
    search.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan with an estimate of time, requests and money; run nothing",
    )
    search.add_argument("--resume", type=Path, metavar="DIR", help="resume the search in this folder")
    search.add_argument("--json", action="store_true", help="print capacity.json; progress goes to standard error")
    parser.set_defaults(run=_capacity)


def _capacity(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.capacity_files import CAPACITY_HTML
    from tokenswarm.analysis.render.capacity_words import capacity_sentence
    from tokenswarm.commands.capacity_series import CapacityAsked, capacity_of
    from tokenswarm.run.run_plan import resolve
    from tokenswarm.series.capacity_runs import Budget

    console = Console(stderr=options.json, markup=False)
    folder = options.resume or series_folder(options.results, "capacity")
    load = _options(options, argv)
    plan = resolve(load)
    question = CapacityAsked(
        folder,
        options.of,
        options.target,
        options.precision,
        Budget(options.budget or _default_budget_s(plan), options.max_requests, options.max_usd),
        options.resume is not None,
        tiers=options.tiers,
        at_least=options.at_least,
        plan=plan,
    )
    if options.dry_run:
        return _print_plan(console, plan, question)
    record = capacity_of(load, question, console)
    if options.json:
        print(json.dumps(json.loads((folder / "capacity.json").read_text("utf-8")), indent=2))
    console.print(f"\n{capacity_sentence(record)}", highlight=False)
    console.print(f"report: {folder / CAPACITY_HTML}", highlight=False, soft_wrap=True)
    return exit_of(record, options.at_least)


def _default_budget_s(plan: RunPlan) -> float:
    """The default time limit. A search ends by itself, but with loads of thousands of users that takes long; for the
    simulator less is enough."""
    engine = plan.engine
    return _SIMULATED_BUDGET_S if engine is not None and engine.spec.simulated else _BUDGET_S


def _print_plan(console: Console, plan: RunPlan, question: CapacityAsked) -> Exit:
    """Print what a search would do and what it would take."""
    from tokenswarm.commands.capacity_forecast import forecast_lines
    from tokenswarm.commands.capacity_series import new_record

    for line in forecast_lines(plan, new_record(plan, question), question.budget):
        console.print(line, highlight=False)
    return Exit.PASSED


def _options(options: argparse.Namespace, argv: list[str]) -> LoadOptions:
    """The load options. `--of rate` begins with --rate, or with one request/s per four users."""
    from tokenswarm.run.run_plan import resolve

    wanted = load_options(options, argv)
    if options.of == "rate" and "load.rate" not in wanted.overrides:
        load = resolve(wanted).scenario.load
        if load.rate is None:
            return load_options(options, argv, **{"load.rate": f"{max(0.25, load.users / 4):g}"})
    return wanted


def exit_of(record: Capacity, at_least: float | None) -> Exit:
    """The exit code of a search, compared with `at_least` if it is given."""
    from tokenswarm.analysis.render.capacity_page import carries

    if record.capacity.reason == INTERRUPTED:
        return Exit.INTERRUPTED
    if at_least is None:
        return Exit.PASSED
    return {True: Exit.PASSED, False: Exit.SLO_MISSED, None: Exit.UNDETERMINED}[carries(record, at_least)]
