"""`qualify`: how noisy a machine is, from pairs of runs of one and the same thing."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import make_folder, write_whole
from tokenswarm.base.typed import Commands
from tokenswarm.commands.compare import refuse_several_loads, with_scripted_answers
from tokenswarm.commands.load import add_options, load_options
from tokenswarm.commands.series_runs import reported, series_folder
from tokenswarm.commands.typed_values import at_least_one, seconds

if TYPE_CHECKING:
    from tokenswarm.analysis.compare.groups import Groups
    from tokenswarm.analysis.compare.noise import Noise
    from tokenswarm.contract.summary.summary_record import Summary
    from tokenswarm.run.monitor import RunOutcome
    from tokenswarm.series.pairs import PairSeries

QUALIFICATION_JSON = "qualification.json"
DEFAULT_PAIRS = 5
_EPILOG = """\
examples:
  python -m tokenswarm qualify --engine vllm --scenario rag
  python -m tokenswarm qualify --engine external --host http://gpu1:8000 --rate 12 --duration 60s --pairs 8

Both sides of each pair are the same engine with the same settings and the same work: what they differ by is noise."""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "qualify",
        help="how noisy this machine is: the smallest difference that a comparison here can find",
        description="Runs one engine against itself in pairs, and reports how much runs differ, which "
        "difference a number of pairs can find, and how many pairs 10%% takes. Takes the options of `load`, and these:",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    add_options(parser)
    parser.set_defaults(run=_qualify)
    own = parser.add_argument_group("qualify")
    own.add_argument(
        "--pairs",
        type=at_least_one,
        metavar="N",
        help=f"pairs of runs (default {DEFAULT_PAIRS}; with --budget as many as fit)",
    )
    own.add_argument("--budget", type=seconds, metavar="T", help="longest time for all of it, such as 1h")
    own.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"where {QUALIFICATION_JSON} goes (default: RESULTS/qualification-<time>)",
    )
    own.add_argument("--json", action="store_true", help=f"print {QUALIFICATION_JSON} instead of a table")


def _qualify(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.compare.groups import named_groups
    from tokenswarm.analysis.compare.noise import noise

    if options.keep or options.master:
        raise UserError(
            Exit.USAGE,
            "qualify starts and stops its engine itself, and has its own workers: leave --keep and --master out",
        )
    if options.pairs == 1:
        raise UserError(Exit.USAGE, "one pair says nothing of its spread: --pairs 2 or more, better 5")
    console = Console(stderr=options.json, markup=False)
    folder = options.output or series_folder(options.results, "qualification")
    series, sides = _run_pairs(options, argv, console, folder)
    groups = named_groups(sides["a"], sides["b"], "first", "second")
    figures = noise(groups.a, groups.b)
    if not figures:
        raise UserError(
            Exit.INVALID,
            "fewer than two pairs of valid runs were made: nothing is known of the noise"
            + (f". {series.failures[-1]}" if series.failures else ""),
        )
    document = _document(groups, figures)
    make_folder(folder)
    write_whole(folder / QUALIFICATION_JSON, json.dumps(document, indent=2, allow_nan=False) + "\n")
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        _show(console, groups, figures, folder)
    if series.interrupted:
        return Exit.INTERRUPTED
    return series.failures[-1].code if series.failures else Exit.PASSED


def _run_pairs(
    options: argparse.Namespace, argv: list[str], console: Console, folder: Path
) -> tuple[PairSeries, dict[str, list[Summary]]]:
    from tokenswarm.series.pairs import MOST_PAIRS, Ending, PairedRuns, SeriesTools

    side = with_scripted_answers(load_options(options, argv))
    refuse_several_loads(side)
    summaries: dict[str, list[Summary]] = {"a": [], "b": []}

    def after(name: str, outcome: RunOutcome) -> None:
        summary = reported(outcome.folder)
        summaries[name].append(summary)
        console.print(f"{summary.outcome.headline}  {outcome.folder}", highlight=False, soft_wrap=True)

    pairs = options.pairs or (DEFAULT_PAIRS if options.budget is None else MOST_PAIRS)
    tools = SeriesTools(ending=Ending(budget_s=options.budget))
    return PairedRuns(side, replace(side), pairs, console, after, tools).play(folder), summaries


def _document(groups: Groups, figures: list[Noise]) -> dict[str, object]:
    """qualification.json (docs/comparing.md)."""
    return {
        "format": 1,
        "simulated": bool(groups.a[0].simulated),
        "runs": [summary.run_id for side in (groups.a, groups.b) for summary in side],
        "left_out": [{"run_id": run.run_id, "why": run.why} for run in groups.left_out],
        "figures": [
            {
                "key": each.figure.key,
                "title": each.figure.title,
                "headline": each.figure.headline,
                "pairs": each.pairs,
                "run_spread": each.run_spread,
                "pair_spread": each.pair_spread,
                "pair_spread_ci95": list(each.pair_spread_ci95),
                "smallest_found": {str(pairs): share for pairs, share in each.smallest.items()},
                "pairs_for_10_percent": each.pairs_for_sought,
                "second_to_first": {"value": each.second_to_first, "p": each.second_to_first_p},
                "sentence": each.sentence(),
            }
            for each in figures
        ],
    }


def _show(console: Console, groups: Groups, figures: list[Noise], folder: Path) -> None:
    from tokenswarm.analysis.wording import percent

    if groups.a[0].simulated:
        console.print("SIMULATED (no real engine was measured)", style="bold magenta")
    numbers = list(figures[0].smallest)
    table = Table(
        title="How much repeated runs differ (standard deviations), and what a comparison finds in 80% of series",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in ("", "runs", "pairs", "(95%)", *(f"{count} pairs find" for count in numbers), "10% takes"):
        table.add_column(name, justify="left" if name == "" else "right", overflow="fold")
    for each in figures:
        takes = each.pairs_for_sought
        table.add_row(
            each.figure.title,
            percent(each.run_spread),
            percent(each.pair_spread),
            " to ".join(map(percent, each.pair_spread_ci95)),
            *(percent(share) for share in each.smallest.values()),
            f"{takes} pairs" if takes else "> 1,000 pairs",
        )
    console.print(table)
    for each in figures:
        if each.figure.headline and each.second_to_first_p < 0.01:
            console.print(
                f"warning: {each.figure.title} of the second run of a pair is {each.second_to_first:.3g} times that "
                f"of the first (p {each.second_to_first_p:.2g}), though nothing differs: runs profit from, or suffer "
                "by, what went before them",
                style="yellow",
                highlight=False,
            )
    for run in groups.left_out:
        console.print(f"left out: {run.run_id}, {run.why}", highlight=False, soft_wrap=True)
    console.print(f"qualification: {folder / QUALIFICATION_JSON}", highlight=False, soft_wrap=True)
