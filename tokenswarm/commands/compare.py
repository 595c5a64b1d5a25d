"""`compare`: compares two groups of runs, from folders or by running them in turn."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import Commands
from tokenswarm.commands.series_runs import reported, series_folder
from tokenswarm.commands.typed_values import at_least_one, dollars, margin, seconds
from tokenswarm.contract.capacity_record import CAPACITY_JSON

if TYPE_CHECKING:
    from tokenswarm.analysis.compare.ab_test import Rules
    from tokenswarm.contract.summary.summary_record import Summary
    from tokenswarm.run.monitor import RunOutcome
    from tokenswarm.run.options import LoadOptions
    from tokenswarm.series.pairs import PairSeries

_ENGINES = ("vllm", "sglang")
"""Default engines of the two sides."""

ASSISTANT_TURNS = "chat.assistant_turns"

_EPILOG = """\
from run folders, which tell themselves apart by engine, version, model, GPU or settings:
  python -m tokenswarm compare results/*rag*
  python -m tokenswarm compare results/capacity-1 results/capacity-2               two capacities
  python -m tokenswarm compare --a results/old-1 results/old-2 --b results/new-1 results/new-2
by running both sides in turn (A B B A ...), each from a cold cache, with the same prompts:
  python -m tokenswarm compare --scenario rag                                   vLLM and SGLang
  python -m tokenswarm compare --scenario rag --engines vllm --b-set "engine.prefill_budget=4096"
  python -m tokenswarm compare --scenario chat --a-host http://gpu1:8000 --b-host http://gpu2:8000"""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "compare",
        help="compare two groups of runs, or run two engines in turn and compare them",
        description="Writes comparison.html, comparison.md and comparison.json: every figure of both sides with 95% "
        "intervals, a verdict, and what the field's rule of thumb says.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="run folders, or other tools' result files (tokenswarm import --help)"
    )
    parser.add_argument("--a", nargs="+", default=[], metavar="RUN", help="run folders of side A")
    parser.add_argument("--b", nargs="+", default=[], metavar="RUN", help="run folders of side B")
    parser.add_argument("--label-a", metavar="NAME", help="name of side A")
    parser.add_argument("--label-b", metavar="NAME", help="name of side B")
    parser.add_argument("--mixed-hardware", action="store_true", help="for the rule of thumb: the fleet is mixed")
    parser.add_argument(
        "--frequent-model-changes", action="store_true", help="for the rule of thumb: models change often"
    )
    parser.add_argument(
        "--margin",
        type=margin,
        default=0.05,
        metavar="SHARE",
        help="sides whose ratio is certainly within it count as equal (default 0.05)",
    )
    parser.add_argument(
        "--run-spread",
        type=margin,
        default=None,
        metavar="SHARE",
        help="how much a run differs from its repeat (standard deviation), where a side has a "
        "single run; `tokenswarm qualify` measures it",
    )
    parser.add_argument("--any-clocks", action="store_true", help="compare runs with different GPU clocks too")
    parser.add_argument(
        "--planned-pairs",
        type=at_least_one,
        default=None,
        metavar="N",
        help="the run folders are of a series that could have ended after each of at most N pairs",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where the three files go (default: RESULTS/comparison-<time>)"
    )
    parser.add_argument("--json", action="store_true", help="print comparison.json instead of a table")
    run = parser.add_argument_group("run them first")
    run.add_argument("--scenario", metavar="NAME", help="scenario to run on both sides")
    run.add_argument(
        "--engines", metavar="A,B", help="default: vllm,sglang, and external for a side with a host; one for both sides"
    )
    run.add_argument(
        "--repeats",
        type=at_least_one,
        default=None,
        metavar="N",
        help="most pairs of runs (default 5; with --budget as many as fit); fewer if the result is clear earlier",
    )
    run.add_argument("--all-pairs", action="store_true", help="run all of them, and judge only at the end")
    run.add_argument("--budget", type=seconds, metavar="T", help="longest time for the whole series, such as 2h")
    for side in "ab":
        run.add_argument(f"--{side}-host", metavar="URL", help=f"running server of side {side.upper()}")
        run.add_argument(f"--{side}-model", metavar="M", help=f"model of side {side.upper()}")
        run.add_argument(f"--{side}-set", default="", metavar='"K=V ..."', help=f"settings of side {side.upper()} only")
    run.add_argument("--model", help="model of both sides")
    run.add_argument("--runtime", choices=("local", "docker"), help="what the engines run in")
    run.add_argument("--device", choices=("cpu", "cuda"), help="device of the engines")
    run.add_argument("--gpu-hourly-cost", type=dollars, metavar="USD", help="price of a GPU and hour")
    run.add_argument("--users", type=int, metavar="N")
    run.add_argument("--rate", type=float, metavar="R")
    run.add_argument("--duration", metavar="T", help="measured time of each run")
    run.add_argument("--workers", type=at_least_one, default=1, metavar="N")
    run.add_argument("--seed", type=int, metavar="N")
    run.add_argument("--corpus", metavar="DIR")
    run.add_argument("--set", default="", dest="settings", metavar='"K=V ..."', help="settings of both sides")
    run.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace, argv: list[str]) -> Exit:
    console = Console(stderr=options.json, markup=False)
    if options.scenario is None and (both := _capacities(options)):
        return _write_capacities(options, console, both)
    if options.scenario is None:
        return _write(options, console, options.runs, options.a, options.b)
    if options.runs or options.a or options.b:
        raise UserError(Exit.USAGE, "give run folders, or --scenario to run them first; not both")
    if options.planned_pairs is not None:
        raise UserError(Exit.USAGE, "--planned-pairs is about run folders that are there; --repeats plans a series")
    folder = options.output or series_folder(options.results, "comparison")
    series = _run_first(options, argv, console, folder)
    if not series.a or not series.b:
        problem = series.failures[-1] if series.failures else None
        raise UserError(
            problem.code if problem else Exit.INTERRUPTED,
            "there is nothing to compare: a side has no run that was measured" + (f". {problem}" if problem else ""),
        )
    options.planned_pairs = None if options.all_pairs else series.planned
    code = _write(options, console, [], series.a, series.b, folder)
    if series.interrupted:
        return Exit.INTERRUPTED
    return series.failures[-1].code if series.failures else code


def _capacities(options: argparse.Namespace) -> list[Path]:
    """The given folders, if they are two capacity searches; empty if they are runs. Raises UserError (USAGE) for a
    mixture."""
    folders = [Path(each) for each in (*options.a, *options.b, *options.runs)]
    searches = [each for each in folders if (each / CAPACITY_JSON).is_file()]
    if searches and (len(searches) != 2 or len(folders) != 2):
        raise UserError(
            Exit.USAGE,
            "two searches for a capacity can be compared, or runs; not both, and not more: "
            f"{', '.join(map(str, folders))}",
        )
    return searches


def _write_capacities(options: argparse.Namespace, console: Console, folders: list[Path]) -> Exit:
    from tokenswarm.analysis.capacity_files import COMPARED, compare_capacities

    into = options.output or series_folder(options.results, "comparison")
    document, sentence = compare_capacities(folders, (options.label_a, options.label_b), into)
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        console.print(sentence, highlight=False)
        console.print(f"comparison: {into / COMPARED}.html", highlight=False, soft_wrap=True)
    return Exit.PASSED


def _run_first(options: argparse.Namespace, argv: list[str], console: Console, folder: Path) -> PairSeries:
    from tokenswarm.run.run_plan import resolve
    from tokenswarm.series.pairs import DEFAULT_REPEATS, MOST_PAIRS, Ending, PairedRuns, SeriesTools, side_labels

    a, b = (with_scripted_answers(side) for side in _sides(options, argv))
    labels = side_labels(resolve(a), resolve(b))
    options.label_a, options.label_b = options.label_a or labels[0], options.label_b or labels[1]
    summaries: dict[str, list[Summary]] = {"a": [], "b": []}

    def after(side: str, outcome: RunOutcome) -> None:
        summary = reported(outcome.folder)
        summaries[side].append(summary)
        figures = [
            f"{name} {figure.value:,.0f} {figure.unit}"
            for name, figure in (
                ("TTFT p95", summary.percentile("ttft_ms", "p95")),
                ("output", summary.rates.get("output_tok_s")),
            )
            if figure is not None and figure.value is not None
        ]
        console.print(
            f"side {side.upper()}: {summary.outcome.headline}  {'  '.join(figures)}  {outcome.folder}",
            highlight=False,
            soft_wrap=True,
        )

    def is_settled(planned: int) -> bool:
        return _so_far(options, console, summaries, planned)

    ending = Ending(budget_s=options.budget) if options.all_pairs else Ending(is_settled, options.budget)
    repeats = options.repeats or (DEFAULT_REPEATS if options.budget is None else MOST_PAIRS)
    return PairedRuns(a, b, repeats, console, after, SeriesTools(ending=ending)).play(folder)


def _so_far(options: argparse.Namespace, console: Console, summaries: dict[str, list[Summary]], planned: int) -> bool:
    """Print the result of the pairs so far; returns whether it is settled."""
    from tokenswarm.analysis.compare.pairs_so_far import progress

    labels = options.label_a, options.label_b
    options.planned_pairs = planned
    state = progress(summaries["a"], summaries["b"], labels, _rules(options))
    pairs = min(map(len, summaries.values()))
    console.print(f"\nafter {pairs} of at most {planned} pairs, {state.sentence}", highlight=False)
    return state.settled


def _rules(options: argparse.Namespace) -> Rules:
    from tokenswarm.analysis.compare.ab_test import Rules

    return Rules(
        margin=options.margin,
        run_spread=options.run_spread,
        planned_pairs=options.planned_pairs,
        any_clocks=options.any_clocks,
    )


def _sides(options: argparse.Namespace, argv: list[str]) -> tuple[LoadOptions, LoadOptions]:
    from tokenswarm.base.config_text import parse_set
    from tokenswarm.base.masking import usable_key
    from tokenswarm.run.options import LoadOptions

    hosts = (options.a_host, options.b_host)
    if options.engines is None:
        engines = ["external" if host else engine for host, engine in zip(hosts, _ENGINES, strict=True)]
    else:
        engines = [name.strip() for name in options.engines.split(",") if name.strip()]
    if len(engines) not in (1, 2):
        raise UserError(Exit.USAGE, f"--engines takes one or two names, not '{options.engines}'")
    common = {
        "load.users": options.users,
        "load.rate": options.rate,
        "load.duration_s": options.duration,
        "prompts.seed": options.seed,
    }
    overrides = {key: str(value) for key, value in common.items() if value is not None} | parse_set(options.settings)
    sides = [
        LoadOptions(
            engine=engine,
            scenario=options.scenario,
            host=host,
            model=model or options.model,
            device=options.device,
            runtime=options.runtime,
            gpu_hourly_cost=options.gpu_hourly_cost,
            workers=options.workers,
            corpus=options.corpus,
            results=options.results,
            overrides=overrides | parse_set(settings),
            api_key=usable_key(os.environ.get("API_KEY")),
            argv=argv,
        )
        for engine, host, model, settings in (
            (engines[0], hosts[0], options.a_model, options.a_set),
            (engines[-1], hosts[1], options.b_model, options.b_set),
        )
    ]
    a, b = sides
    if (a.engine, a.host, a.model, a.overrides) == (b.engine, b.host, b.model, b.overrides):
        print("note: both sides are the same; expect no difference", file=sys.stderr)
    for side in sides:
        refuse_several_loads(side)
    return a, b


def refuse_several_loads(side: LoadOptions) -> None:
    """Refuse runs of several load levels before measuring: they have no overall figures to compare."""
    from tokenswarm.contract.levels import planned_levels
    from tokenswarm.scenario.loading import load_scenario

    load = load_scenario(side.scenario, side.overrides).load
    levels = len(planned_levels(load, 0.0, load.duration_s))
    if levels > 1:
        raise UserError(
            Exit.USAGE,
            f"a comparison needs one load, and the scenario goes through {levels} load levels "
            "(rate_steps, users_steps, rate_end or users_end of [load]); compare one at a time",
        )


def with_scripted_answers(side: LoadOptions) -> LoadOptions:
    """The options with corpus answers in chat histories, unless they say otherwise: with the engine's own answers, the
    prompts of the sides drift apart."""
    from tokenswarm.scenario.loading import load_scenario

    scenario = load_scenario(side.scenario, side.overrides)
    if scenario.mix is not None:
        chats = {part.scenario for part in scenario.mix.parts if part.values["workload"] == "chat"}
        return replace(side, overrides={**{f"{name}.{ASSISTANT_TURNS}": "corpus" for name in chats}, **side.overrides})
    if scenario.workload != "chat" or ASSISTANT_TURNS in side.overrides:
        return side
    return replace(side, overrides={ASSISTANT_TURNS: "corpus", **side.overrides})


def _with_imported(
    options: argparse.Namespace, runs: Sequence[Path | str], a: Sequence[Path | str], b: Sequence[Path | str]
) -> tuple[list[Path], list[Path], list[Path]]:
    """The folders with other tools' result files imported; two such files are the two sides."""
    from tokenswarm.commands.exchange import run_folders

    if len(runs) == 2 and all(Path(each).is_file() for each in runs):
        options.label_a, options.label_b = (
            own or Path(each).stem for own, each in zip((options.label_a, options.label_b), runs, strict=True)
        )
        runs, a, b = [], runs[:1], runs[1:]
    return (run_folders(runs, options.results), run_folders(a, options.results), run_folders(b, options.results))


def _write(
    options: argparse.Namespace,
    console: Console,
    runs: Sequence[Path | str],
    a: Sequence[Path | str],
    b: Sequence[Path | str],
    folder: Path | None = None,
) -> Exit:
    from tokenswarm.analysis.compare.comparison_report import compare_runs
    from tokenswarm.analysis.compare.rule_of_thumb import Fleet
    from tokenswarm.analysis.compare_files import COMPARISON_HTML, write_comparison
    from tokenswarm.analysis.render.compare_page import comparison_table

    runs, a, b = _with_imported(options, runs, a, b)
    comparison = compare_runs(
        runs,
        a=a,
        b=b,
        labels=(options.label_a, options.label_b),
        fleet=Fleet(options.mixed_hardware, options.frequent_model_changes),
        rules=_rules(options),
    )
    folder = folder or options.output or series_folder(options.results, "comparison")
    document = write_comparison(comparison, folder)
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        console.print(comparison_table(comparison))
        console.print(f"comparison: {folder / COMPARISON_HTML}", highlight=False, soft_wrap=True)
    return Exit.PASSED
