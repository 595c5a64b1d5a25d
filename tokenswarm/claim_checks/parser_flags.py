"""Command lines given to an engine's own argument parser, in the engine's own Python: which of them does it refuse?

compose/engines/parsers/NAME.py reads command lines (a JSON list) and prints what the parser said against each, null
where it accepted.
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
    """The script for an engine's parser. Raises UserError (ENGINE) where there is none."""
    path = PARSERS_DIR / f"{engine}.py"
    if not path.is_file():
        raise UserError(Exit.ENGINE, f"there is no way to ask the argument parser of {engine} ({path.name} is missing)")
    return path


def parser_command(engine: str, paths: EnginePaths) -> list[str]:
    """What to run; it reads the command lines from its standard input."""
    return [str(paths.python), "-P", str(parser_script(engine))]


def parser_environment(paths: EnginePaths, home: Path) -> dict[str, str]:
    """The environment to run it in: the engine's own programs, and nothing of the user's."""
    return {
        "PATH": f"{paths.bin_dir}:/usr/bin:/bin",
        "SGLANG_USE_CPU_ENGINE": "1",
        "HF_HUB_OFFLINE": "1",
        "HOME": str(home),
    }


def refusals(engine: str, paths: EnginePaths, lines: Sequence[Sequence[str]], home: Path) -> list[str | None]:
    """What the real parser says against each command line, as somebody types it (abbreviated flags are taken where the
    engine takes them); None where it accepts. Raises UserError (ENGINE)."""
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
