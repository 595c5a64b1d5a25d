"""Types of command-line values, checked during parsing."""

from __future__ import annotations

import argparse


def address(text: str) -> tuple[str, int]:
    """HOST:PORT as a pair."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"'{text}' is not HOST:PORT, such as 0.0.0.0:5557")
    return host.strip("[]"), int(port)


def at_least_one(text: str) -> int:
    """An integer of at least 1."""
    return _at_least(1, text)


def at_least_none(text: str) -> int:
    """An integer of at least 0."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least {least}")
    return int(text)


def port(text: str) -> int:
    """A port to listen on."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port, such as 9646")
    return int(text)


def above_zero(text: str) -> float:
    """A number above 0."""
    return _above_zero(text, "a number above 0")


def dollars(text: str) -> float:
    """An amount above 0."""
    return _above_zero(text, "an amount of dollars above 0, such as 2.50")


def _above_zero(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not {what}")
    return value


def share(text: str) -> float:
    """A share from 0 to 1, such as 0.05."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share from 0 to 1, such as 0.05")
    return value


def margin(text: str) -> float:
    """A share above 0 and below 1, such as 0.05 or 5%."""
    try:
        value = float(text[:-1]) / 100.0 if text.endswith("%") else float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share above 0 and below 1, such as 0.05 or 5%")
    return value


def seconds(text: str) -> float:
    """A positive duration, such as 30s or 2m."""
    from tokenswarm.base.config_text import parse_duration  # imported here: it needs pydantic, which `sim` does not

    try:
        value = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' {error}") from None
    if value <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' should be a length of time above 0, such as 30s")
    return value
