"""`python -m tokenswarm`: finds the command and turns what went wrong into one sentence and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import tokenswarm
from tokenswarm.base.early_signals import as_python_does
from tokenswarm.base.environment import leave_disturbing
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.foreign import readable
from tokenswarm.base.last_handler import report_bug
from tokenswarm.base.signals import interrupt_by_any_signal
from tokenswarm.base.terminal import last_through_everything, why_output_was_lost
from tokenswarm.base.typed import CommandParser, as_typed

COMMANDS = (
    "load",
    "ui",
    "soak",
    "compare",
    "capacity",
    "qualify",
    "oneshot",
    "claims",
    "tune",
    "decide",
    "engine",
    "profile",
    "report",
    "results",
    "exchange",
    "sim",
    "worker",
    "calibrate",
    "scenarios",
)
"""Modules of tokenswarm.commands, in the order in which the help lists them."""


_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP)
"""What is wrong with a path itself, wherever it is looked at first."""
_SHOWN_CHARS = 60


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code (see tokenswarm/base/errors.py)."""
    would_stay = leave_disturbing()
    last_through_everything()
    code = _main(list(sys.argv[1:] if argv is None else argv))
    lost = why_output_was_lost()
    if lost is not None:
        print(f"tokenswarm: standard output could not be written ({lost})", file=sys.stderr)
    if would_stay:  # in Python's prompt, and with its exit code in the place of ours
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code


def _main(arguments: list[str]) -> int:
    results: Path | None = None
    try:
        _settle_in_working_folder()
        refuse_undecodable(arguments)
        if arguments[:1] == ["sim"]:
            from tokenswarm.commands import sim

            return sim.run(arguments[1:])  # it has a parser of its own
        options = _parser().parse_args(arguments)
        as_python_does()
        interrupt_by_any_signal()
        results = getattr(options, "results", None)
        with _no_empty_folders(Path(results) if results else None):
            return int(options.run(options, ["tokenswarm", *arguments]))
    except UserError as error:
        print(f"tokenswarm: {as_typed(readable(str(error)), arguments)}", file=sys.stderr)
        return int(error.code)
    except KeyboardInterrupt as error:
        print(f"tokenswarm: interrupted{f' by {error}' if str(error) else ''}", file=sys.stderr)
        return int(Exit.INTERRUPTED)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_PATH:
            shown = readable(os.fsdecode(error.filename or ""))[:_SHOWN_CHARS]
            print(f"tokenswarm: the path {shown}... cannot be used: {str(error.strerror).lower()}", file=sys.stderr)
            return int(Exit.USAGE)
        return int(report_bug(error, "tokenswarm", Path(results) if results else None))


@contextlib.contextmanager
def _no_empty_folders(results: Path | None) -> Iterator[None]:
    """What a command that came to nothing has made is gone again: folders without a file."""
    from tokenswarm.base.files import drop_if_empty
    from tokenswarm.commands.series_runs import drop_unused_folders

    was_there = results is None or results.exists()
    try:
        yield
    finally:
        drop_unused_folders()
        if results is not None and not was_there:
            drop_if_empty(results)


def _settle_in_working_folder() -> None:
    """Raise UserError (USAGE) where it is gone. Where this process takes no modules from it, as the command
    `tokenswarm` does not, the processes that it starts take none either: a random.py there would be theirs."""
    try:
        folder = os.getcwd()
    except OSError:
        raise UserError(Exit.USAGE, "the folder in which this was started is gone: cd into another one") from None
    if not {"", folder} & set(sys.path):
        os.environ["PYTHONSAFEPATH"] = "1"


def refuse_undecodable(arguments: Sequence[str]) -> None:
    """Raise UserError (USAGE) for an argument that is not UTF-8: no file of a run could tell of it."""
    for argument in arguments:
        try:
            argument.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(Exit.USAGE, _why_undecodable(argument)) from None


def _why_undecodable(argument: str) -> str:
    try:
        meant = os.fsencode(argument).decode("utf-8")
    except UnicodeDecodeError:
        shown = argument.encode("utf-8", "backslashreplace").decode()
        return f"the argument '{shown}' is not UTF-8; give it in UTF-8"
    return (
        f"the argument '{meant}' cannot be used where Python is told of another encoding "
        f"({sys.getfilesystemencoding()}): unset PYTHONUTF8, or set LC_ALL=C.UTF-8"
    )


def _commands() -> list[ModuleType]:
    """All commands. Imported here, where an import that fails is reported as every other bug is."""
    return [importlib.import_module(f"tokenswarm.commands.{name}") for name in COMMANDS]


def _parser() -> CommandParser:
    codes = "\n".join(f"  {code.value:<4} {code.name.lower().replace('_', ' '):<16} {code.meaning}" for code in Exit)
    parser = CommandParser(
        prog="python -m tokenswarm",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Load testing for LLM inference engines, built on Locust.",
        epilog=f"exit codes:\n{codes}",
    )
    parser.add_argument("--version", action="version", version=f"tokenswarm {tokenswarm.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _commands():
        command.add(commands)
    return parser
