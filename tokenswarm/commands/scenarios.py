"""`scenarios`: list the scenarios, or check some of them."""

from __future__ import annotations

import argparse
import json
import shutil
import sys

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import Commands


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    scenarios = commands.add_parser("scenarios", help="list the scenarios, or check some without a run")
    scenarios.add_argument("--json", action="store_true", help="print JSON, with every value")
    scenarios.add_argument(
        "--check", nargs="+", metavar="NAME", help="check these scenarios (names, .toml files or mixes), and list none"
    )
    scenarios.add_argument("--data", metavar="FILE", help="file of prompts, for a scenario that takes them from one")
    scenarios.add_argument("--set", default="", dest="settings", metavar='"K=V ..."', help="further values to check")
    scenarios.set_defaults(run=_scenarios)


def _scenarios(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.base.lookup import PACKAGE, SCENARIOS, shown
    from tokenswarm.scenario.loading import load_scenario

    if options.check:
        return _check(options)
    files = SCENARIOS.files()
    if options.json:
        print(json.dumps([load_scenario(name).values() for name in files], indent=2))
        return Exit.PASSED
    rows = [
        (name, *_about(name), "" if SCENARIOS.place_of(path) == PACKAGE else shown(path))
        for name, path in files.items()
    ]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:3]]
    # 0: not a terminal but a script, which reads one line per scenario whatever COLUMNS says
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    lines = []
    for name, title, load, objectives, place in rows:
        first = "  ".join((name.ljust(widths[0]), title.ljust(widths[1]), load.ljust(widths[2])))
        more = "  ".join(filter(None, (objectives, f"({place})" if place else "")))
        lines.append((first, more))
    below = bool(room) and max(len(first) + 2 + len(more) for first, more in lines) > room
    for first, more in lines:
        print(f"{first.rstrip()}\n{' ' * (widths[0] + 2)}{more}".rstrip() if below else f"{first}  {more}".rstrip())
    return Exit.PASSED


def _check(options: argparse.Namespace) -> Exit:
    """One line per scenario: what it is, or what is wrong with it. Returns USAGE if any is wrong."""
    from tokenswarm.base.config_text import parse_set
    from tokenswarm.run.options import LoadOptions
    from tokenswarm.run.run_plan import resolve

    bad = False
    for name in options.check:
        try:
            scenario = resolve(
                LoadOptions(scenario=name, data=options.data, overrides=parse_set(options.settings))
            ).scenario
        except UserError as error:
            bad = True
            text = str(error)
            print(text if text.startswith(name) else f"{name}: {text}", file=sys.stderr)
            continue
        load = scenario.load
        how_much = f"{load.users} users" if load.rate is None else f"{load.rate:g} requests/s"
        print(
            f"{name}: valid: {scenario.title} ({how_much}, {load.duration_s:g} s, "
            f"{len(scenario.slo)} SLO{'' if len(scenario.slo) == 1 else 's'})"
        )
    return Exit.USAGE if bad else Exit.PASSED


def _about(name: str) -> tuple[str, str, str]:
    """A scenario's title, load and SLOs. If it cannot be loaded: what is wrong; the others are still listed."""
    from tokenswarm.scenario.loading import load_scenario

    try:
        scenario = load_scenario(name)
    except UserError as error:
        return f"cannot be used: {error}", "", ""
    load = scenario.load
    size = f"{load.rate:g} req/s" if scenario.open_loop and load.rate is not None else f"{load.users} users"
    objectives = ", ".join(f"{key} {value:g}" for key, value in scenario.slo.items() if isinstance(value, int | float))
    return scenario.title, f"{size}, {load.duration_s:g} s", objectives
