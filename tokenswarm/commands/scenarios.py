"""`scenarios`: list the scenarios."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tokenswarm.base.errors import Exit


def add(commands: Any) -> None:
    """Add the command to the parser."""
    scenarios = commands.add_parser("scenarios", help="list the scenarios")
    scenarios.add_argument("--json", action="store_true", help="print JSON, with every value")
    scenarios.set_defaults(run=_scenarios)


def _scenarios(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.scenario.model import load_scenario, scenario_names

    if options.json:
        print(json.dumps([load_scenario(name).values() for name in scenario_names()], indent=2))
        return Exit.PASSED
    for name in scenario_names():
        print(f"{name:<12} {load_scenario(name).title}")
    return Exit.PASSED
