"""What no command foresaw becomes one sentence, a log that holds the traceback, and an exit code of its own."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tokenswarm.base.environment import KEY_VARIABLE
from tokenswarm.base.errors import Exit
from tokenswarm.base.masking import masked

DEBUG_VARIABLE = "TOKENSWARM_DEBUG"
"""Set to anything, it shows the traceback on standard error too."""
_MOST_CHARS = 300
"""Of an error's message in the sentence; the log has all of it."""


def report_bug(error: Exception, program: str, folder: Path | None = None) -> Exit:
    """Say in one sentence what went wrong and where the traceback lies; returns the exit code.

    `folder`: where the log should go, if it is there. Else it goes to the user's folder for logs, else to the one for
    temporary files. Raises nothing.
    """
    key = (os.environ.get(KEY_VARIABLE) or "").strip()
    trace = masked("".join(traceback.format_exception(error)), key)
    log = _write(trace, folder)
    message = masked(" ".join(str(error).split())[:_MOST_CHARS], key)
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    where = f"please report it with {log}, which holds the traceback" if log else \
        f"no log could be written; {DEBUG_VARIABLE}=1 shows the traceback"
    with contextlib.suppress(OSError, ValueError):  # nobody reads standard error any more
        if os.environ.get(DEBUG_VARIABLE):
            print(trace, file=sys.stderr, end="")
        print(f"{program}: this is a bug in tokenswarm ({what}): {where}", file=sys.stderr)
    return Exit.INTERNAL


def _write(trace: str, folder: Path | None) -> Path | None:
    """The file that was written, for its owner alone; None where none could be."""
    name = f"tokenswarm-error-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.log"
    for candidate in _folders(folder):
        with contextlib.suppress(OSError):
            candidate.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(candidate / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(trace)
            return candidate / name
    return None


def _folders(folder: Path | None) -> Iterator[Path]:
    if folder is not None and folder.is_dir():
        yield folder
    with contextlib.suppress(Exception):  # no home folder, or not even the package
        from platformdirs import user_log_path  # only needed here, where nothing must go wrong any more

        yield user_log_path("tokenswarm", appauthor=False)
    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir())
