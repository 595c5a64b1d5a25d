"""`scenarios`: list the scenarios."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tokenswarm.base.errors import Exit, UserError


def add(commands: Any) -> None:
    """Add the command to the parser."""
    scenarios = commands.add_parser("scenarios", help="list the scenarios")
    scenarios.add_argument("--json", action="store_true", help="print JSON, with every value")
    scenarios.set_defaults(run=_scenarios)


def _scenarios(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.base.lookup import PACKAGE, SCENARIOS, shown
    from tokenswarm.scenario.loading import load_scenario

    files = SCENARIOS.files()
    if options.json:
        print(json.dumps([load_scenario(name).values() for name in files], indent=2))
        return Exit.PASSED
    for name, path in files.items():
        of_the_user = SCENARIOS.place_of(path) != PACKAGE
        print(f"{name:<12} {_title(name)}" + (f"  ({shown(path)})" if of_the_user else ""))
    return Exit.PASSED


def _title(name: str) -> str:
    """The scenario's title; of one that cannot be loaded what is wrong, so that the others are listed all the same."""
    from tokenswarm.scenario.loading import load_scenario

    try:
        return load_scenario(name).title
    except UserError as error:
        return f"cannot be used: {error}"
