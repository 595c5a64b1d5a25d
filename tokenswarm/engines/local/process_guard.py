"""A small watcher that ends an engine when the process that started it ends for any reason.

Run as a file with nothing but the standard library: `python process_guard.py PROCESS_GROUP GRACE_S`. Its standard input
is a pipe from the starter. A line `release` means: exit and leave the engine running. The end of the pipe without that
line means that the starter was killed: the whole process group is ended.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_group(group: int, grace_s: float) -> None:
    """SIGTERM to the group, and SIGKILL to what is left of it after `grace_s`."""
    try:
        os.killpg(group, signal.SIGTERM)
        until = time.monotonic() + grace_s
        while _alive(group) and time.monotonic() < until:
            time.sleep(0.1)
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def main() -> None:
    """Wait for `release` or the end of the pipe."""
    group, grace_s = int(sys.argv[1]), float(sys.argv[2])
    for line in sys.stdin:
        if line.strip() == "release":
            return
    end_group(group, grace_s)


if __name__ == "__main__":
    main()
