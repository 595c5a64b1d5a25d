"""`profile`: describes a workload before any engine runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import Commands
from tokenswarm.commands.typed_values import share

if TYPE_CHECKING:
    from tokenswarm.analysis.render.profile_rows import Named
    from tokenswarm.analysis.traffic.columns import Traffic
    from tokenswarm.analysis.traffic.workload_profile import TrafficProfile


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    profile = commands.add_parser(
        "profile",
        help="what a recorded workload is: arrivals, lengths, sessions, what its prompts share",
        description="Reads a trace or data set, of a format that it recognises by the content (.gz and .zst too), and "
        "says what the workload is, and which hit rate a prefix cache of each size would give. No engine "
        "runs.",
    )
    profile.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        nargs="+",
        help="a trace or data set, or run folders: what their measured requests were",
    )
    profile.add_argument("--format", metavar="NAME", help="its format, where the content does not tell")
    profile.add_argument(
        "--fields",
        metavar="ROLE=NAME ...",
        default="",
        help="what the fields of its rows are, where no known format fits: "
        '"prompt=question time_ms=sent.at" (docs/traffic.md)',
    )
    profile.add_argument(
        "--bad-rows",
        type=share,
        default=None,
        metavar="S",
        help="share of rows that may be unreadable (default 0.01: 1%%)",
    )
    profile.add_argument("--json", action="store_true", help="print JSON instead of tables")
    profile.add_argument("--html", metavar="PAGE", type=Path, help="write a page too, which opens offline")
    profile.add_argument(
        "--scenario",
        metavar="FILE.toml",
        type=Path,
        help="write a synthetic scenario fitted to it, without its texts, and show how near it comes",
    )
    profile.set_defaults(run=_profile)


def _profile(options: argparse.Namespace, argv: list[str]) -> Exit:
    import sys

    import msgspec
    from rich.console import Console

    from tokenswarm.analysis.render.profile_terminal import profile_table
    from tokenswarm.analysis.traffic.columns import collect
    from tokenswarm.analysis.traffic.workload_profile import profile
    from tokenswarm.traces.reader import MAX_BAD_SHARE, open_trace

    files = options.file
    if not all(str(file).strip() and file != Path() for file in files):
        raise UserError(Exit.USAGE, "say which file: make profile DATA=prod.jsonl")
    if any(file.is_dir() for file in files):
        return _profile_runs(options)
    if len(files) > 1:
        raise UserError(Exit.USAGE, "give one file, or run folders")
    options.file = files[0]
    trace = open_trace(
        options.file,
        options.format,
        MAX_BAD_SHARE if options.bad_rows is None else options.bad_rows,
        _mapping(options.fields),
    )
    traffic = collect(trace.requests())
    profiled = _advised(profile(traffic))
    if not profiled.requests:
        raise UserError(Exit.DATA, f"{options.file} has no request that was answered")
    if options.scenario is not None:
        return _fit(options, traffic)
    _write_page(options.html, [(options.file.name, profiled)])
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(profiled), indent=2).decode())
    else:
        Console().print(profile_table(profiled, f"{options.file.name} ({trace.format.title})"))
    if trace.notes.bad_rows:
        number, why = trace.notes.first_bad[0]
        print(
            f"tokenswarm: {trace.notes.bad_rows:,} of {trace.notes.rows:,} rows were left out; row {number}: {why}",
            file=sys.stderr,
        )
    return Exit.PASSED


def _fit(options: argparse.Namespace, traffic: Traffic) -> Exit:
    """Write a scenario, and show its profile beside the recorded one."""
    import msgspec
    from rich.console import Console

    from tokenswarm.analysis.render.profile_terminal import profiles_table
    from tokenswarm.commands.fitted_scenario import write_scenario

    notes, recorded, synthetic = write_scenario(options.scenario, traffic, options.file.name)
    pair = [(options.file.name, _advised(recorded)), (options.scenario.name, _advised(synthetic))]
    _write_page(options.html, pair)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode([recorded, synthetic]), indent=2).decode())
        return Exit.PASSED
    console = Console()
    console.print(profiles_table(pair))
    for note in notes:
        console.print(note, highlight=False, markup=False)
    console.print(f"\nscenario: {options.scenario}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"try it:   make load SCENARIO={options.scenario}", highlight=False, markup=False, soft_wrap=True)
    return Exit.PASSED


def _advised(profiled: TrafficProfile) -> TrafficProfile:
    """Add the advice of the rule of thumb."""
    from tokenswarm.analysis.compare.rule_of_thumb import advise_before_a_run

    profiled.rule_of_thumb = advise_before_a_run(profiled.shared.fixed if profiled.shared else None)
    return profiled


def _mapping(fields: str) -> dict[str, str]:
    """{role: field name}. Raises UserError (USAGE)."""
    words = fields.split()
    mapping = dict(word.partition("=")[::2] for word in words)
    if not all(mapping.values()) or len(mapping) != len(words):
        raise UserError(Exit.USAGE, "--fields: give ROLE=NAME, each role once, such as prompt=question")
    return mapping


def _profile_runs(options: argparse.Namespace) -> Exit:
    """Profile what each run folder sent."""
    import msgspec
    from rich.console import Console

    from tokenswarm.analysis.read.run_folder import read_run
    from tokenswarm.analysis.render.profile_terminal import profile_table
    from tokenswarm.analysis.traffic.of_run import profile_of_run

    profiles = [(folder, _advised(profile_of_run(read_run(folder)))) for folder in options.file]
    empty = next((folder for folder, each in profiles if not each.requests), None)
    if empty is not None:
        raise UserError(Exit.DATA, f"{empty} has no request of a measured phase")
    _write_page(options.html, [(folder.resolve().name, each) for folder, each in profiles])
    if options.json:
        whole = [each for _, each in profiles]
        print(msgspec.json.format(msgspec.json.encode(whole[0] if len(whole) == 1 else whole), indent=2).decode())
        return Exit.PASSED
    for folder, each in profiles:
        Console().print(profile_table(each, folder.resolve().name))
    return Exit.PASSED


def _write_page(path: Path | None, profiles: Sequence[Named]) -> None:
    """Write the page of these profiles if requested. Raises UserError (RESULTS) if it cannot be written."""
    if path is None:
        return
    from tokenswarm.analysis.render.profile_page import render_profiles
    from tokenswarm.base.files import write_whole

    write_whole(path, render_profiles(profiles))
