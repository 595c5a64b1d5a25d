"""`python -m tokenswarm`: finds the command and turns what went wrong into one sentence and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import tokenswarm
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.last_handler import report_bug


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code (see tokenswarm/base/errors.py)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    results: Path | None = None
    try:
        if arguments[:1] == ["sim"]:
            from tokenswarm.commands import sim

            return sim.run(arguments[1:])  # it has a parser of its own
        options = _parser().parse_args(arguments)
        results = getattr(options, "results", None)
        return int(options.run(options, ["tokenswarm", *arguments]))
    except UserError as error:
        print(f"tokenswarm: {error}", file=sys.stderr)
        return int(error.code)
    except KeyboardInterrupt:
        print("tokenswarm: interrupted", file=sys.stderr)
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` closed the pipe
        return int(Exit.PASSED)
    except Exception as error:
        return int(report_bug(error, "tokenswarm", Path(results) if results else None))


def _commands() -> tuple[ModuleType, ...]:
    """All commands. Imported here, where an import that fails is reported as every other bug is."""
    from tokenswarm.commands import calibrate, compare, engine, load, profile, report, scenarios, sim, soak, ui, worker

    return load, ui, soak, compare, engine, profile, report, sim, worker, calibrate, scenarios


def _parser() -> argparse.ArgumentParser:
    codes = "\n".join(f"  {code.value:<4} {code.name.lower().replace('_', ' '):<16} {code.meaning}" for code in Exit)
    parser = argparse.ArgumentParser(
        prog="python -m tokenswarm", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Load testing for LLM inference engines, built on Locust.", epilog=f"exit codes:\n{codes}")
    parser.add_argument("--version", action="version", version=f"tokenswarm {tokenswarm.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _commands():
        command.add(commands)
    return parser
