"""`qualify`: how noisy a machine is, from pairs of identical runs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import Commands
from tokenswarm.commands.compare import refuse_several_loads, with_scripted_answers
from tokenswarm.commands.load import add_options, load_options
from tokenswarm.commands.series_runs import reported, series_folder
from tokenswarm.commands.typed_values import at_least_one, seconds
from tokenswarm.contract.qualification_record import QUALIFICATION_JSON

if TYPE_CHECKING:
    from tokenswarm.contract.qualification_record import Qualification
    from tokenswarm.contract.summary.summary_record import Summary
    from tokenswarm.run.monitor import RunOutcome
    from tokenswarm.series.pairs import PairSeries

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
        help="where its page and files go (default: RESULTS/qualification-<time>)",
    )
    own.add_argument("--json", action="store_true", help=f"print {QUALIFICATION_JSON} instead of a table")


def _qualify(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.compare.groups import named_groups
    from tokenswarm.analysis.compare.noise import noise
    from tokenswarm.analysis.qualification_files import qualification_of, write_qualification_files
    from tokenswarm.contract.series_file import record_json

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
    record = qualification_of(groups, figures, {each.name: each for each in (*series.a, *series.b)}, folder)
    write_qualification_files(record, folder)
    if options.json:
        print(record_json(record))
    else:
        _show(console, record, folder)
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


def _show(console: Console, record: Qualification, folder: Path) -> None:
    from tokenswarm.analysis.qualification_files import QUALIFICATION_HTML
    from tokenswarm.analysis.render.qualification_page import qualification_table

    if record.simulated:
        console.print("SIMULATED (no real engine was measured)", style="bold magenta")
    console.print(qualification_table(record))
    console.print(record.sentence, highlight=False)
    for note in record.notes:
        console.print(f"warning: {note}", style="yellow", highlight=False)
    for run in record.left_out:
        console.print(f"left out: {run.run_id}, {run.why}", highlight=False, soft_wrap=True)
    console.print(f"qualification: {folder / QUALIFICATION_HTML}", highlight=False, soft_wrap=True)
