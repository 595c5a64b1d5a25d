"""A small watcher that removes an engine's container when the process that started it ends for any reason.

Run as a file with nothing but the standard library: `python container_guard.py LABEL GRACE_S`. Its standard input is a
pipe from the starter. A line `release` means: exit and leave the container running. The end of the pipe without that
line means that the starter was killed: every container with that label is stopped and removed.
"""

from __future__ import annotations

import subprocess
import sys
import time

_NETWORKS = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"
_LOOK_FOR_S = 20.0
"""The command that creates the container may outlive the starter, so the watcher waits for its container."""


def _docker(*arguments: str) -> list[str]:
    answer = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    return answer.stdout.split()


def remove(label: str, grace_s: float) -> None:
    """Stop and remove the containers with this label, and the networks that they leave empty."""
    until = time.monotonic() + _LOOK_FOR_S
    while time.monotonic() < until:
        for container in _docker("ps", "--all", "--quiet", "--filter", f"label={label}"):
            networks = _docker("inspect", "--format", _NETWORKS, container)
            _docker("stop", "--time", f"{grace_s:.0f}", container)
            _docker("rm", "--force", "--volumes", container)
            for network in (name for name in networks if name.endswith("_default")):  # made by Compose
                _docker("network", "rm", network)  # refuses while another container is in it
            return
        time.sleep(0.5)


def main() -> None:
    """Wait for `release` or the end of the pipe."""
    label, grace_s = sys.argv[1], float(sys.argv[2])
    for line in sys.stdin:
        if line.strip() == "release":
            return
    remove(label, grace_s)


if __name__ == "__main__":
    main()
