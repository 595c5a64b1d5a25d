"""`scenarios`: list the scenarios."""

from __future__ import annotations

import argparse
from typing import Any

from tokenswarm.errors import Exit


def add(commands: Any) -> None:
    """Add the command to the parser."""
    scenarios = commands.add_parser("scenarios", help="list the scenarios")
    scenarios.set_defaults(run=_scenarios)


def _scenarios(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.scenario import load_scenario, scenario_names

    for name in scenario_names():
        print(f"{name:<12} {load_scenario(name).title}")
    return Exit.PASSED
