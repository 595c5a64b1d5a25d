"""Gives command lines to an engine's own argument parser, in the engine's own Python, and reports which ones it
rejects.

compose/engines/parsers/NAME.py reads command lines (a JSON list) and prints the parser's objection to each, or null.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tokenswarm.base.data_files import ENGINES_DIR
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines.install_paths import EnginePaths

PARSERS_DIR = ENGINES_DIR / "parsers"
_TIMEOUT_S = 600
_TAIL_CHARS = 300


def parser_script(engine: str) -> Path:
    """The script for an engine's parser. Raises UserError (ENGINE) if there is none."""
    path = PARSERS_DIR / f"{engine}.py"
    if not path.is_file():
        raise UserError(Exit.ENGINE, f"there is no way to ask the argument parser of {engine} ({path.name} is missing)")
    return path


def parser_command(engine: str, paths: EnginePaths) -> list[str]:
    """The command to run; it reads the command lines from standard input."""
    return [str(paths.python), "-P", str(parser_script(engine))]


def parser_environment(paths: EnginePaths, home: Path) -> dict[str, str]:
    """The environment for it: the engine's own programs, without the user's variables."""
    return {
        "PATH": f"{paths.bin_dir}:/usr/bin:/bin",
        "SGLANG_USE_CPU_ENGINE": "1",
        "HF_HUB_OFFLINE": "1",
        "HOME": str(home),
    }


def refusals(engine: str, paths: EnginePaths, lines: Sequence[Sequence[str]], home: Path) -> list[str | None]:
    """The real parser's objection to each command line, or None. Abbreviated flags are accepted if the engine accepts
    them. Raises UserError (ENGINE)."""
    try:
        done = subprocess.run(
            [*parser_command(engine, paths), "--as-typed"],
            text=True,
            capture_output=True,
            input=json.dumps(list(map(list, lines))),
            timeout=_TIMEOUT_S,
            env=parser_environment(paths, home),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(Exit.ENGINE, f"the argument parser of {engine} could not be asked ({error})") from None
    try:
        answers = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise UserError(
            Exit.ENGINE, f"the argument parser of {engine} could not be asked: {done.stderr.strip()[-_TAIL_CHARS:]}"
        ) from None
    if not isinstance(answers, list) or len(answers) != len(lines):
        raise UserError(
            Exit.ENGINE, f"the argument parser of {engine} gave {len(answers)} answers to {len(lines)} command lines"
        )
    return answers
