"""The Locust processes of a run, as the command line sees them: started, listened to, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenswarm.errors import Exit, UserError
from tokenswarm.scenario import Scenario

LOG_NAME = "locust.log"
_RUN_VARIABLE, _LIVE_VARIABLE = "TOKENSWARM_RUN", "TOKENSWARM_LIVE_FD"
_POLL_S = 0.25
_EXIT_GRACE_S = 20.0
_LOCAL_WORKERS_WAIT_S, _REMOTE_WORKERS_WAIT_S = 60, 1800


class LocustProcesses:
    """One local Locust process, or a master with workers; each in a session of its own, so that Ctrl-C in the
    terminal reaches only the command line.

    `master` is the address at which workers from other machines are awaited; without it they are started here.
    """

    def __init__(self, scenario: Scenario, folder: Path, base_url: str, workers: int,
                 master: tuple[str, int] | None = None) -> None:
        self._folder = folder
        self._socket, theirs = socket.socketpair()
        self._received = b""
        environment = {**os.environ, _RUN_VARIABLE: str(folder), _LIVE_VARIABLE: str(theirs.fileno())}
        load = scenario.load
        users = load.users if load.rate is None else load.max_in_flight
        spawn_rate = load.spawn_rate if load.rate is None else load.max_in_flight
        arguments = [sys.executable, "-m", "locust", "-f", str(scenario.locustfile_path), "--host", base_url]
        leading = [*arguments, "--headless", "--users", str(users), "--spawn-rate", f"{spawn_rate:g}",
                   "--csv", str(folder / "locust"), "--loglevel", "INFO"]
        self._log = (folder / LOG_NAME).open("ab")
        self.leader: subprocess.Popen
        self.workers: list[subprocess.Popen] = []
        if workers > 1 or master is not None:
            host, port = master or ("127.0.0.1", _free_port())
            wait_s = _LOCAL_WORKERS_WAIT_S if master is None else _REMOTE_WORKERS_WAIT_S
            leading += ["--master", "--master-bind-host", host, "--master-bind-port", str(port),
                        "--expect-workers", str(workers), "--expect-workers-max-wait", str(wait_s)]
            self.leader = self._start(leading, environment, (theirs.fileno(),))
            if master is None:
                plain = {key: value for key, value in environment.items()
                         if key not in (_RUN_VARIABLE, _LIVE_VARIABLE)}
                self.workers = [self._start([*arguments, *following(host, port)], plain, ()) for _ in range(workers)]
        else:
            self.leader = self._start(leading, environment, (theirs.fileno(),))
        theirs.close()

    def _start(self, arguments: list[str], environment: dict[str, str], descriptors: tuple[int, ...]
               ) -> subprocess.Popen:
        return subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, stdout=self._log,
                                stderr=subprocess.STDOUT, pass_fds=descriptors, start_new_session=True)

    def events(self) -> Iterator[dict[str, Any] | None]:
        """What the leader reports, as it comes; None at least four times a second. Ends when the leader does."""
        while True:
            ready, _, _ = select.select([self._socket], [], [], _POLL_S)
            if not ready:
                yield None
                continue
            try:
                data = self._socket.recv(65536)
            except OSError:
                data = b""
            if not data:
                return
            *lines, self._received = (self._received + data).split(b"\n")
            for line in lines:
                yield json.loads(line)

    def ask_to_stop(self) -> None:
        """Let the run end now, gracefully: rows are handed over."""
        with contextlib.suppress(OSError):
            self._socket.sendall(b"stop\n")

    def log_tail(self, lines: int = 12) -> list[str]:
        """The last lines that Locust printed."""
        try:
            text = (self._folder / LOG_NAME).read_text("utf-8", "replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-lines:]

    def end(self) -> None:
        """Wait a little for all processes to leave, then make them."""
        deadline = time.monotonic() + _EXIT_GRACE_S
        for process in [self.leader, *self.workers]:
            if process is not self.leader and self.leader.returncode not in (None, 0):
                break  # nobody is left to tell the workers that it is over, nor to take their rows
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
        self.kill()
        self._log.close()
        self._socket.close()

    def kill_at_once(self) -> None:
        """End all processes without waiting; made for a signal handler, so it takes none of Popen's locks."""
        for process in [self.leader, *self.workers]:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End all processes at once."""
        for process in [self.leader, *self.workers]:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def following(host: str, port: int) -> list[str]:
    """Locust's arguments for a worker of the master at this address."""
    return ["--worker", "--master-host", host, "--master-port", str(port)]


def worker_command(host: str, port: int) -> list[str]:
    """What to run on another machine: it gets locustfile and plan from the master."""
    return [sys.executable, "-m", "locust", "-f", "-", *following(host, port)]


def _free_port() -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError as error:
            raise UserError(Exit.PORT, f"no free port on 127.0.0.1: {error.strerror}") from None
        return probe.getsockname()[1]
