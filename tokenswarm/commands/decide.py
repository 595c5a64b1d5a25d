"""`decide`: which engine serves a scenario best, with which settings, its capacity, and at what price."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import make_folder
from tokenswarm.base.foreign import table
from tokenswarm.base.typed import Commands
from tokenswarm.commands.load import add_options, load_options
from tokenswarm.commands.series_runs import series_folder
from tokenswarm.commands.typed_values import at_least_one, seconds
from tokenswarm.contract.search_progress import INTERRUPTED

if TYPE_CHECKING:
    from tokenswarm.commands.decide_stages import Stages
    from tokenswarm.contract.decision_record import Decision
    from tokenswarm.run.options import LoadOptions
    from tokenswarm.run.run_plan import RunPlan

_SIMULATED = "sim-vllm,sim-sglang"
"""Default engines: two variants of the simulator."""
_BUDGET_S, _VIRTUAL_BUDGET_S = 7200.0, 21600.0
_EPILOG = """\
examples:
  python -m tokenswarm decide --scenario chat                 two simulated engines, in virtual time: minutes
  python -m tokenswarm decide --scenario rag --engines vllm,sglang --model Qwen/Qwen3-8B --budget 4h
  python -m tokenswarm decide --scenario rag --engines vllm,sglang --dry-run
  python -m tokenswarm decide --scenario chat --resume results/decision-20260101-120000"""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "decide",
        help="which engine, which flags, how much load, at what price: one page",
        description="For each engine a race over its settings and a search for its capacity within the SLOs, then both "
        "in interleaved pairs. Writes decision.html, decision.md and decision.json.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    add_options(parser)
    group = parser.add_argument_group("the decision")
    group.add_argument("--engines", metavar="A,B", help=f"one or two engines (default: {_SIMULATED}, the simulator)")
    group.add_argument(
        "--budget",
        type=seconds,
        metavar="T",
        help="longest time for the whole (default 2h; in virtual time 6h of the engines' time, which is "
        "computed in minutes)",
    )
    group.add_argument("--space", metavar="NAME", help="space of settings of the races (default: each engine's own)")
    group.add_argument(
        "--rounds", type=at_least_one, default=8, metavar="N", help="runs of a candidate of a race at most (8)"
    )
    group.add_argument(
        "--by-the-clock",
        action="store_true",
        help="run simulated engines as servers under real load, not in virtual time",
    )
    group.add_argument("--dry-run", action="store_true", help="print the stages and how long they take; run nothing")
    group.add_argument("--resume", type=Path, metavar="DIR", help="resume an interrupted decision")
    group.add_argument("--json", action="store_true", help="print decision.json; progress goes to standard error")
    parser.set_defaults(run=_decide)


def _decide(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.decision_files import DECISION_HTML
    from tokenswarm.analysis.render.decision_page import decision_sentences
    from tokenswarm.commands.decide_stages import Stages
    from tokenswarm.contract.series_file import record_json
    from tokenswarm.series.decision_stages import decide

    console = Console(stderr=options.json, markup=False)
    sides = _sides(options, argv)
    folder = options.resume or series_folder(options.results, "decision")
    decision = _new(options, argv, sides) if options.resume is None else _going_on(folder, sides)
    stages = Stages(options, [base for base, _ in sides], decision, folder, console)
    _print_plan(console, decision, stages)
    if options.dry_run:
        return Exit.PASSED
    make_folder(folder)
    decide(decision, stages.tools(), console)
    if options.json:
        print(record_json(decision))
    console.print()
    for sentence in decision_sentences(decision):
        console.print(sentence, highlight=False)
    console.print(f"report: {folder / DECISION_HTML}", highlight=False, soft_wrap=True)
    return _exit(decision)


def _exit(decision: Decision) -> Exit:
    """The exit code; undecided is a normal end."""
    if decision.reason == INTERRUPTED:
        return Exit.INTERRUPTED
    if decision.state == "none":
        return Exit.ENGINE if any(side.failure for side in decision.sides) else Exit.SLO_MISSED
    return Exit.PASSED


def _sides(options: argparse.Namespace, argv: list[str]) -> list[tuple[LoadOptions, RunPlan]]:
    """Each engine's options and plan. Raises UserError (USAGE)."""
    from dataclasses import replace

    from tokenswarm.commands.compare import refuse_several_loads, with_scripted_answers
    from tokenswarm.contract.objectives import bounds_of
    from tokenswarm.run.run_plan import resolve

    text = options.engines or options.engine or _SIMULATED
    names = [name.strip() for name in text.split(",") if name.strip()]
    if options.host or not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise UserError(
            Exit.USAGE,
            "decide starts one or two engines itself, with settings of its own: give "
            f"ENGINES=A,B (--engines), not '{options.host or text}'",
        )
    sides = []
    for name in names:
        base = with_scripted_answers(replace(load_options(options, argv), engine=name))
        refuse_several_loads(base)
        plan = resolve(base)
        if plan.engine is None:
            raise UserError(Exit.USAGE, f"decide cannot start '{name}': name an engine, such as vllm or sglang")
        if not bounds_of(plan.scenario.values().get("slo")):
            raise UserError(
                Exit.USAGE,
                f"scenario {plan.scenario.name} bounds no latency in [slo], so there is no "
                'capacity to find: give one, such as SET="slo.ttft_p95_ms=500"',
            )
        sides.append((base, plan))
    return sides


def _new(options: argparse.Namespace, argv: list[str], sides: list[tuple[LoadOptions, RunPlan]]) -> Decision:
    from tokenswarm.contract.decision_record import Decision, SideRecord
    from tokenswarm.generator.new_run import utc_now
    from tokenswarm.series.decision_stages import planned_stages
    from tokenswarm.virtual.virtual_load import can_be_virtual

    scenario = sides[0][1].scenario
    engines = [plan.engine for _, plan in sides if plan.engine is not None]
    records = [
        SideRecord(plan.engine_name, engine.spec.title) for (_, plan), engine in zip(sides, engines, strict=True)
    ]
    virtual = not options.by_the_clock and all(can_be_virtual(plan) for _, plan in sides)
    return Decision(
        scenario=scenario.name,
        model=options.model or "",
        slo=dict(table(scenario.values().get("slo"))),
        started_at=utc_now(),
        simulated=any(engine.spec.simulated for engine in engines),
        virtual=virtual,
        load_unit="requests_s" if scenario.open_loop else "users",
        sides=records,
        stages=planned_stages(records),
        budget_s=options.budget or (_VIRTUAL_BUDGET_S if virtual else _BUDGET_S),
        notes=[note for _, plan in sides if (note := plan.cpu_note)],
        argv=argv,
    )


def _going_on(folder: Path, sides: list[tuple[LoadOptions, RunPlan]]) -> Decision:
    from tokenswarm.contract.decision_record import DECISION_JSON, read_resumable_decision
    from tokenswarm.contract.series_file import damaged
    from tokenswarm.series.decision_stages import planned_stages

    decision = read_resumable_decision(folder)
    names = [plan.engine_name for _, plan in sides]
    earlier = [side.engine for side in decision.sides]
    if names != earlier or any(plan.scenario.name != decision.scenario for _, plan in sides):
        raise UserError(
            Exit.USAGE,
            f"the decision to resume was about {' and '.join(earlier)} and scenario {decision.scenario}: give the same",
        )
    wanted, there = (
        [(stage.kind, stage.engine, stage.folder) for stage in stages]
        for stages in (planned_stages(decision.sides), decision.stages)
    )
    if wanted != there:
        raise damaged(folder / DECISION_JSON, "its stages are not those of its engines")
    return decision


def _print_plan(console: Console, decision: Decision, stages: Stages) -> None:
    names = " and ".join(side.title for side in decision.sides)
    budget = decision.budget_s or 0.0
    console.print(
        f"{names}, scenario {decision.scenario}: {len(decision.stages)} stages in at most "
        f"{budget / 60.0:.0f} min" + (" of the engines' time" if decision.virtual else ""),
        highlight=False,
    )
    for line in stages.plan_lines():
        console.print(f"  {line}", highlight=False)
    if decision.virtual:
        least, most = stages.virtual_minutes()
        console.print(
            f"computed in virtual time: about {least:.0f} to {most:.0f} min on this machine, no GPU, nothing "
            "is sent; --by-the-clock runs the servers",
            highlight=False,
        )
