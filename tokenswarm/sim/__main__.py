"""`python -m tokenswarm.sim`: runs the engine simulator until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import errno
import signal
import sys
from collections.abc import Sequence

import uvloop

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.last_handler import report_bug
from tokenswarm.base.runtime_tuning import freeze_gc, grow_descriptor_table
from tokenswarm.base.signals import leave_with_code_of
from tokenswarm.sim.app import App
from tokenswarm.sim.command_line import config_of, parser
from tokenswarm.sim.config import engine_of
from tokenswarm.sim.faults import Chaos
from tokenswarm.sim.server import ServerConnection, write_at_once
from tokenswarm.sim.truth import TruthLog

_BACKLOG = 4096


def build(arguments: argparse.Namespace) -> App:
    """The application that the arguments describe. Raises UserError."""
    config = config_of(arguments)
    chaos = Chaos(arguments.fault, arguments.seed)
    log = TruthLog(arguments.truth_log, arguments.truth_tokens) if arguments.truth_log else None
    return App(config, engine_of(config), chaos, log)


async def _serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    app = build(arguments)
    address = f"{arguments.host}:{arguments.port}"
    try:
        server = await loop.create_server(
            lambda: ServerConnection(app),
            arguments.host,
            arguments.port,
            backlog=_BACKLOG,
            reuse_port=False,
            start_serving=False,
        )
        for sock in server.sockets:
            write_at_once(sock)
        await server.start_serving()
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise UserError(
                Exit.PORT, f"the port {address} is taken: choose another --port, or 0 for a free one"
            ) from None
        raise UserError(Exit.USAGE, f"cannot listen on {address}: {error}") from None
    app.attach(loop)
    freeze_gc()  # a request leaves no cycles behind: there is next to nothing to find
    port = server.sockets[0].getsockname()[1]
    print(f"listening on http://{arguments.host}:{port}", flush=True)
    await stop.wait()
    server.close()
    app.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the simulator with these command line arguments until SIGINT or SIGTERM. Raises UserError."""
    arguments = parser().parse_args(argv)
    grow_descriptor_table()
    uvloop.run(_serve(arguments))
    return Exit.PASSED


def _run() -> int:
    try:
        return main()
    except UserError as error:
        print(f"tokenswarm.sim: {error}", file=sys.stderr)
        return error.code
    except Exception as error:
        return report_bug(error, "tokenswarm.sim")


if __name__ == "__main__":
    leave_with_code_of(_run, "tokenswarm.sim")
