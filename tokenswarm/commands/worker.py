"""`worker`: generates load for a `load --master` on another machine."""

from __future__ import annotations

import argparse
import os

from tokenswarm.base.environment import without_disturbing
from tokenswarm.base.errors import Exit
from tokenswarm.base.typed import Commands
from tokenswarm.commands.typed_values import address


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    worker = commands.add_parser(
        "worker",
        help="generate load for a `load --master` on another machine",
        description="Waits for the master, takes scenario and prompts from it, sends its rows there. The corpus, if "
        "the run has one of its own, must be at the same path; the API key is read from API_KEY here too.",
    )
    worker.add_argument("--master", type=address, required=True, metavar="HOST:PORT", help="the master's address")
    worker.set_defaults(run=_worker)


def _worker(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.run.locust_process import worker_command

    command = worker_command(*options.master)
    os.execve(command[0], command, without_disturbing())  # Ctrl-C and SIGTERM reach Locust itself
