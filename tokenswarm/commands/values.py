"""Values of the command line, checked while it is parsed."""

from __future__ import annotations

import argparse


def address(text: str) -> tuple[str, int]:
    """HOST:PORT as a pair."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"'{text}' is not HOST:PORT, such as 0.0.0.0:5557")
    return host.strip("[]"), int(port)


def at_least_one(text: str) -> int:
    """A number of processes."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of processes; give 1 or more")
    return value
