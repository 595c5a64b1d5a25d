"""Turns unexpected errors into one sentence, a log with the traceback, and their own exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from tokenswarm.base.environment import KEY_VARIABLE
from tokenswarm.base.errors import Exit
from tokenswarm.base.masking import masked

DEBUG_VARIABLE = "TOKENSWARM_DEBUG"
"""If set, the traceback is also shown on standard error."""
_PACKAGE = __name__.partition(".")[0]
_BUG = "this is a bug in tokenswarm"
_OTHER_PYTHON = (
    "this Python ({}) lacks the package {}: use the one that tokenswarm was installed for, such as .venv/bin/python"
)
_NO_MEMORY = (
    "there is too little memory for this process (of the machine, or by a limit such as ulimit -v or a container's)"
)
_NO_ROOM_FOR_CODE = ("failed to map segment", "annot allocate memory")
"""The loader's message if there is no memory for a library."""
_LIBRARY_FOLDERS = frozenset({"site-packages", "dist-packages"})
_PYTHON = ("<frozen ", str(Path(threading.__file__).parent))
"""Path prefixes of Python's own code."""
_MOST_CHARS = 300
"""Longest error message in the sentence; the log has all of it."""


def report_bug(error: Exception, program: str, folder: Path | None = None) -> Exit:
    """Print the sentence of `log_bug` on standard error; returns the exit code. Never raises."""
    lacking = _missing_package(error)
    sentence = _OTHER_PYTHON.format(sys.executable, lacking) if lacking else log_bug(error, folder)
    with contextlib.suppress(OSError, ValueError):  # standard error is closed
        print(f"{program}: {sentence}", file=sys.stderr, flush=True)
    return Exit.USAGE if lacking else exit_of(error)


def _missing_package(error: Exception) -> str:
    """The third-party package that this Python lacks, because it is not the Python of the installation; None if none is
    missing."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return "" if name == _PACKAGE or name in sys.stdlib_module_names else name


def exit_of(error: Exception) -> Exit:
    """The exit code of an unexpected error."""
    return Exit.MEMORY if is_lack_of_memory(error) else Exit.INTERNAL


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an error or one of its causes says that memory ran out, which is not a bug."""
    seen: list[BaseException] = []
    while error not in seen:
        if (
            isinstance(error, MemoryError)
            or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
            or (isinstance(error, ImportError) and any(sign in str(error) for sign in _NO_ROOM_FOR_CODE))
        ):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__ or error
    return False


def log_bug(error: Exception, folder: Path | None = None) -> str:
    """Write the traceback to a log; returns a sentence about the error and the log's location. Never raises. The log
    goes to `folder` if it exists, otherwise to the user's log folder, otherwise to the folder for temporary files.
    """
    key = (os.environ.get(KEY_VARIABLE) or "").strip()
    trace = masked("".join(traceback.format_exception(error)), key)
    log = _write(trace, folder)
    message = masked(" ".join(str(error).split())[:_MOST_CHARS], key)
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    where = (
        f"please report it with {log}, which holds the traceback"
        if log
        else f"no log could be written; {DEBUG_VARIABLE}=1 shows the traceback"
    )
    if os.environ.get(DEBUG_VARIABLE):
        with contextlib.suppress(OSError, ValueError):
            print(trace, file=sys.stderr, end="", flush=True)
    if is_lack_of_memory(error):
        return f"{_NO_MEMORY}: {what}; give it more" + (f" ({log} holds the traceback)" if log else "")
    return f"{_BUG} ({what}): {where}"


def handle_our_errors(program: str) -> None:
    """Let an error that ends this process, and that passed through code of ours, be reported as a bug, and an
    interrupt in one sentence; every other error goes where it went before. For processes whose main program is not
    ours, such as plain Locust's."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            print(f"{program}: interrupted", file=sys.stderr)
            raise SystemExit(int(Exit.INTERRUPTED))
        if not isinstance(error, Exception) or not is_ours(trace):
            before(kind, error, trace)
            return
        raise SystemExit(int(report_bug(error, program)))  # Python takes this exit code from a hook, and shows nothing

    sys.excepthook = hook


def is_ours(trace: TracebackType | None) -> bool:
    """Whether an error comes from this package: the innermost code outside Python and libraries is ours, not a user's
    (such as a locustfile)."""
    ours = False
    while trace is not None:
        code, module = trace.tb_frame.f_code, trace.tb_frame.f_globals.get("__name__") or ""
        if module.partition(".")[0] == _PACKAGE:
            ours = True
        elif not code.co_filename.startswith(_PYTHON) and _LIBRARY_FOLDERS.isdisjoint(Path(code.co_filename).parts):
            ours = False
        trace = trace.tb_next
    return ours


def _write(trace: str, folder: Path | None) -> Path | None:
    """The written file, readable only by its owner; None if it could not be written."""
    name = f"tokenswarm-error-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.log"
    for candidate in _folders(folder):
        with contextlib.suppress(OSError):
            candidate.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(candidate / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(trace)
            return candidate / name
    return None


def _folders(folder: Path | None) -> Iterator[Path]:
    if folder is not None and os.path.isdir(folder):  # Path.is_dir raises for a too long name
        yield folder
    with contextlib.suppress(Exception):  # no home folder, or the package is missing
        from platformdirs import user_log_path  # only needed here, where nothing must go wrong any more

        yield user_log_path("tokenswarm", appauthor=False)
    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir())
