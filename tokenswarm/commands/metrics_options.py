"""Options to expose a run's live metrics to Prometheus (docs/observe.md)."""

from __future__ import annotations

import argparse
import errno
import os
import socket

from tokenswarm.base.environment import METRICS_VARIABLE
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.commands.typed_values import port


def add_metrics_options(parser: argparse.ArgumentParser) -> None:
    """--metrics-port and --metrics-host."""
    watch = parser.add_argument_group("watching it from outside")
    watch.add_argument(
        "--metrics-port",
        type=port,
        metavar="N",
        help="serve live metrics for Prometheus at this port, for as long as the load generator runs",
    )
    watch.add_argument(
        "--metrics-host",
        metavar="ADDRESS",
        help="where that port listens (default 127.0.0.1); there is no login, so anyone who can reach it can read it",
    )


def open_metrics(options: argparse.Namespace) -> None:
    """Tell the load generator where to serve. Raises UserError before anything is started: PORT if the port is taken,
    USAGE if the address is not this machine's or has no port."""
    if options.metrics_port is None:
        if options.metrics_host is not None:
            raise UserError(Exit.USAGE, "--metrics-host needs --metrics-port (METRICS_PORT): the port to listen at")
        return
    host = (options.metrics_host or "127.0.0.1").strip("[]")
    _try(host, options.metrics_port)
    # The Locust process that directs the run inherits it.
    shown = f"[{host}]" if ":" in host else host
    os.environ[METRICS_VARIABLE] = f"{shown}:{options.metrics_port}"


def _try(host: str, port: int) -> None:
    """Try to listen there for a moment."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                Exit.PORT,
                f"metrics cannot be served at port {port} of {host}: it is taken; choose "
                "another METRICS_PORT (--metrics-port), or stop what listens there",
            ) from None
        raise UserError(
            Exit.PORT if error.errno == errno.EACCES else Exit.USAGE,
            f"metrics cannot be served at port {port} of {host} ({error.strerror}): METRICS_HOST (--metrics-host) must "
            "be an address of this machine, and ports below 1024 need root",
        ) from None
