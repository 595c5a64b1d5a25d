"""`results`: list all runs and series of a results folder, and make its index page. `prune`: remove old ones."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import Commands
from tokenswarm.commands.typed_values import at_least_one, seconds

if TYPE_CHECKING:
    from tokenswarm.analysis.library.entries import Entry

INDEX_HTML = "index.html"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    results = commands.add_parser("results", help="list all runs and series, and make results/index.html")
    results.add_argument(
        "results",
        nargs="?",
        type=Path,
        default=Path("results"),
        metavar="FOLDER",
        help="the results folder (default: results)",
    )
    results.add_argument("--scenario", metavar="NAME", help="only those of this scenario")
    results.add_argument("--engine", metavar="NAME", help="only those of this engine, such as vllm")
    results.add_argument(
        "--kind",
        metavar="KIND",
        help="only one kind: run, comparison, capacity, capacities, tune, oneshot, claims, qualification, "
        "decision, series or damaged",
    )
    results.add_argument("--label", metavar="TEXT", help="only those whose label contains this")
    results.add_argument(
        "--limit",
        type=at_least_one,
        default=40,
        metavar="N",
        help="how many the terminal lists, the newest first (default: 40; the page has all)",
    )
    results.add_argument("--json", action="store_true", help="print all entries as JSON")
    results.set_defaults(run=_results)
    prune = commands.add_parser("prune", help="remove old results, after saying which")
    prune.add_argument(
        "results",
        nargs="?",
        type=Path,
        default=Path("results"),
        metavar="FOLDER",
        help="the results folder (default: results)",
    )
    prune.add_argument("--older-than", type=_age, metavar="AGE", help="results older than this: 30d, 12h")
    prune.add_argument(
        "--most", type=_bytes, metavar="SIZE", help="the oldest, until the rest take at most this: 20G, 500M"
    )
    prune.add_argument("--labelled", action="store_true", help="also runs with a label, which are kept otherwise")
    prune.add_argument("--dry-run", action="store_true", help="only say which would go")
    prune.set_defaults(run=_prune)


def _results(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.library.entries import read_library
    from tokenswarm.analysis.library.trends import trends
    from tokenswarm.analysis.render.library_page import library_list, render_library
    from tokenswarm.base.files import write_whole

    _is_folder(options.results)
    everything = read_library(options.results)
    if not options.json:
        write_whole(options.results / INDEX_HTML, render_library(everything, trends(everything)))
    entries = [entry for entry in everything if _wanted(entry, options)]
    if options.json:
        print(json.dumps([_as_json(entry) for entry in entries], indent=2))
        return Exit.PASSED
    console = Console(markup=False)
    console.print(library_list(entries[: max(options.limit, 0)]))
    if len(entries) > options.limit:
        console.print(f"the newest {options.limit} of {len(entries)}; --limit shows more, the page has all")
    if not entries:
        console.print("nothing there is like that" if everything else "there is no result yet: make load")
    console.print(f"page: {options.results / INDEX_HTML}", highlight=False, soft_wrap=True)
    return Exit.PASSED


def _is_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(Exit.RUN_FOLDER, f"there is no results folder at {folder}; name the one that --results had")


def _wanted(entry: Entry, options: argparse.Namespace) -> bool:
    engine = (options.engine or "").casefold()
    return (
        (not options.scenario or entry.scenario == options.scenario)
        and (
            not engine
            or engine in entry.engine.casefold()
            or engine == entry.engine_name.casefold()
            or f"-{engine}-" in entry.name.casefold()
        )
        and (not options.kind or entry.kind == options.kind)
        and (not options.label or options.label.casefold() in entry.label.casefold())
    )


def _as_json(entry: Entry) -> dict[str, object]:
    return {
        "folder": str(entry.folder),
        "name": entry.name,
        "kind": entry.kind,
        "started_at": entry.started_at or None,
        "engine": entry.engine or None,
        "version": entry.version or None,
        "model": entry.model or None,
        "scenario": entry.scenario or None,
        "load": entry.load_words or None,
        "label": entry.label or None,
        "outcome": entry.outcome or None,
        "valid": entry.valid,
        "sentence": entry.sentence or None,
        "simulated": entry.simulated,
        "figures": {
            key: {"value": figure.value, "unit": figure.unit, "ci95": figure.ci95}
            for key, figure in entry.figures.items()
        },
        "page": str(entry.folder / entry.page) if entry.page else None,
    }


def _prune(options: argparse.Namespace, argv: list[str]) -> Exit:
    from datetime import UTC, datetime

    from tokenswarm.analysis.library.entries import read_library
    from tokenswarm.analysis.library.pruning import PruningRules, size_of, to_prune

    _is_folder(options.results)
    if options.older_than is None and options.most is None:
        raise UserError(Exit.USAGE, "say what to remove: --older-than 30d, --most 20G, or both")
    top = [entry for entry in read_library(options.results) if "/" not in entry.name]
    sized = [(entry, size_of(entry.folder)) for entry in top]
    rules = PruningRules(options.older_than, options.most, not options.labelled)
    gone = to_prune(sized, rules, datetime.now(UTC))
    for entry, size in gone:
        print(f"{'would remove' if options.dry_run else 'removing'} {entry.folder} ({size / 1e6:,.1f} MB)")
        if not options.dry_run:
            try:
                shutil.rmtree(entry.folder)
            except OSError as error:
                raise UserError(Exit.RESULTS, f"{entry.folder} cannot be removed ({error.strerror or error})") from None
    freed = sum(size for _, size in gone) / 1e6
    print(
        f"{len(gone)} of {len(sized)} folders, {freed:,.1f} MB"
        + (" would be freed; without --dry-run they are removed" if options.dry_run else " freed")
    )
    return Exit.PASSED


def _age(value: str) -> float:
    """A positive duration in seconds; also in days, unlike durations elsewhere."""
    days = re.fullmatch(r"(\d+(?:\.\d+)?)d", value.strip())
    return float(days[1]) * 86_400 if days and float(days[1]) > 0 else seconds(value)


def _bytes(value: str) -> int:
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", value.strip(), re.IGNORECASE)
    if not size:
        raise argparse.ArgumentTypeError(f"'{value}' is not a size, such as 20G or 500M")
    return int(float(size[1]) * _UNITS[size[2].upper()])
