"""`ui`: an engine, and Locust's web UI with live LLM figures for starting runs."""

from __future__ import annotations

import argparse

from rich.console import Console

from tokenswarm.base.errors import Exit
from tokenswarm.base.typed import Commands
from tokenswarm.commands.load import add_options, load_options
from tokenswarm.commands.typed_values import port


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "ui",
        help="start an engine (or take a running one) and Locust's web UI with live LLM figures",
        description="Serves Locust's web UI with a tab LLM. Each run that is started there gets a run folder and a "
        "dashboard. Users, rate, scenario and seed given here are what the start form begins with.",
    )
    web = parser.add_argument_group("web UI")
    web.add_argument(
        "--web-host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where it listens (default 127.0.0.1); elsewhere it asks for the password in UI_PASSWORD",
    )
    web.add_argument(
        "--published-on",
        metavar="ADDRESS",
        help="in a container: the address of the host at which the port is published; that, and not "
        "--web-host, then decides whether a login is asked for",
    )
    web.add_argument("--web-port", type=port, default=8089, metavar="N", help="default 8089")
    add_options(parser)
    parser.set_defaults(run=_ui)


def _ui(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.run.web_session import run_ui

    run_ui(load_options(options, argv), options.web_host, options.web_port, Console(markup=False), options.published_on)
    return Exit.PASSED
