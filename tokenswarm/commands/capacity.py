"""`capacity`: the highest load at which the scenario's SLOs hold."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import make_folder
from tokenswarm.commands.load import add_options, load_options
from tokenswarm.commands.series_runs import reported, series_folder
from tokenswarm.commands.values import seconds, share

if TYPE_CHECKING:
    from tokenswarm.contract.capacity import Capacity


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "capacity", help="the highest load at which the scenario's SLOs hold",
        description="Doubles the load until the SLOs surely fail, closes in on the highest that passes, and writes "
                    "capacity.json, with an ordinary run folder for every measurement.")
    add_options(parser)
    search = parser.add_argument_group("the search")
    search.add_argument("--of", choices=("users", "rate"), default=None, dest="of",
                        help="users of a closed loop or requests/s (default: what the scenario has)")
    search.add_argument("--target", type=share, default=0.95, metavar="SHARE",
                        help="share of sent requests that must meet every limit (default 0.95)")
    search.add_argument("--precision", type=share, default=0.10, metavar="SHARE",
                        help="how far apart pass and fail may be at the end (default 0.1)")
    search.add_argument("--budget", type=seconds, metavar="T", help="longest time, such as 30m")
    search.add_argument("--at-least", type=float, metavar="N", help="the exit code says whether it carries so much")
    search.add_argument("--resume", type=Path, metavar="DIR", help="go on with the search of this folder")
    search.add_argument("--json", action="store_true", help="print capacity.json; progress goes to standard error")
    parser.set_defaults(run=_capacity)


def _capacity(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.capacity import evidence_of, evidence_of_runs, with_answer
    from tokenswarm.analysis.search.capacity_search import RATE, USERS, Evidence, SearchSettings, next_step
    from tokenswarm.contract.capacity import Capacity, CapacityFigure, read_capacity
    from tokenswarm.contract.objectives import bounds_of
    from tokenswarm.run.run_plan import resolve
    from tokenswarm.series.capacity import CapacityPlan, CapacityRule, search_capacity

    console = Console(stderr=options.json, markup=False)
    asked = load_options(options, argv)
    plan = resolve(asked)
    load = plan.scenario.load
    unit = {"users": USERS, "rate": RATE, None: RATE if plan.scenario.open_loop else USERS}[options.of]
    if (unit == RATE) is not plan.scenario.open_loop:
        raise UserError(Exit.USAGE, "--of rate needs a scenario with load.rate, and --of users one without: give "
                                    "--rate R to begin with, or leave --of out")
    bounds = bounds_of(plan.scenario.values().get("slo"))
    if not bounds:
        raise UserError(Exit.USAGE, f"scenario {plan.scenario.name} bounds no latency in [slo], so every load passes: "
                                    'give one, such as --set "slo.ttft_p95_ms=500"')
    folder = options.resume or series_folder(options.results, "capacity")
    start = float(load.users if load.rate is None else load.rate)
    if options.resume is not None:
        record = read_capacity(folder)
    else:
        record = Capacity(capacity=CapacityFigure(unit), slo=bounds, target=options.target,
                          precision=options.precision, start=start, engine=plan.engine_name,
                          scenario=plan.scenario.name, series=folder.name)
        make_folder(folder)
    settings = SearchSettings(record.start, record.capacity.unit, record.target, record.precision)
    evidence: list[Evidence] = evidence_of_runs(record.runs, folder, record.target)

    def after(outcome: Any, run: Any) -> int:
        summary = reported(outcome.folder)
        record.simulated = record.simulated or bool(summary.simulated)
        evidence.append(evidence_of(outcome.folder, run.load, record.target, run.died))
        return evidence[-1].blocks.requests

    rule = CapacityRule(lambda: next_step(settings, evidence), after,
                        lambda record, reason: with_answer(record, settings, evidence, reason))
    search = CapacityPlan(asked, folder, plan.scenario.prompts.seed, load.duration_s, options.budget)
    record = search_capacity(search, rule, record, console)
    if options.json:
        print(json.dumps(json.loads((folder / "capacity.json").read_text("utf-8")), indent=2))
    console.print(f"\n{sentence(record)}\n{folder / 'capacity.json'}", highlight=False, soft_wrap=True)
    return _exit(record, options.at_least)


def sentence(record: Capacity) -> str:
    """`capacity: 42 users (95%: 40 to 45), sure pass 38, sure fail 48; ended: precision`."""
    figure = record.capacity
    unit = "users" if figure.unit == "users" else "requests/s"
    ends = ["?" if end is None else f"{end:.3g}" for end in figure.ci95]
    simulated = "SIMULATED: " if record.simulated else ""
    if figure.sure_fail is None and figure.limit is not None:
        why = "a limit of rates" if figure.reason == "refused" else \
            "the load generator (the verdict of that run says why)"
        least = "not known" if figure.sure_pass is None else f">= {figure.sure_pass:g} {unit}"
        return f"{simulated}capacity: {least}, limited at {figure.limit:g} {unit} by {why}; ended: {figure.reason}"
    value = "not known" if figure.estimate is None else f"{figure.estimate:.3g} {unit}"
    remarks = "".join(text for flag, text in ((figure.cliff, "; attainment falls as at a cliff"),
                                              (figure.non_monotone, "; a higher load passes: not monotone")) if flag)
    return f"{simulated}capacity: {value} (95%: {ends[0]} to {ends[1]} {unit}); ended: {figure.reason}{remarks}"


def _exit(record: Capacity, at_least: float | None) -> Exit:
    figure = record.capacity
    if figure.reason == "interrupted":
        return Exit.INTERRUPTED
    if at_least is None:
        return Exit.PASSED
    low, high = figure.ci95
    if low is not None and low >= at_least:
        return Exit.PASSED
    return Exit.SLO_MISSED if high is not None and high < at_least else Exit.UNDETERMINED
