"""`sim`: the engine simulator alone. It has its own parser, so that its --help is complete."""

from __future__ import annotations

from tokenswarm.base.typed import Commands


def add(commands: Commands) -> None:
    """List the command; `run` is called before this parser is used."""
    commands.add_parser("sim", help="start the engine simulator alone (see its own --help)", add_help=False)


def run(arguments: list[str]) -> int:
    """Serve until interrupted; returns the exit code."""
    from tokenswarm.sim.__main__ import main as simulate

    return int(simulate(arguments))
