"""Starts, follows and stops the Locust processes of a run, for the command line."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenswarm.base.environment import LIVE_VARIABLE, RUN_VARIABLE, UNDER_COMMAND_VARIABLE, without_disturbing
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.ports import free_port
from tokenswarm.scenario.model import Scenario

_LOCUST = (sys.executable, "-m", "tokenswarm.locust_main")
LOG_NAME = "locust.log"
"""The names that `generator.plan` reads; not imported from there, since the generator's imports are slow."""
_POLL_S = 0.25
_EXIT_GRACE_S = 20.0
_STOP_S = 60.0
"""Time limit for a run to end after a stop: requests in flight are cancelled, workers hand over their rows."""
_NOT_BEGUN_S = 3.0
"""The same for a run that has not begun: there is nothing to hand over, and a leader that waits for workers on other
machines does not listen."""
_LEAVES_S = 5.0
_MOST_REPLACED = 20
"""Most replacement workers, so that one that always ends is not replaced forever."""
_SAYS = "tokenswarm: "
"""How our messages begin in Locust's log."""
_OWN_CODES = frozenset(code.value for code in Exit) - {Exit.PASSED, Exit.USAGE}
"""Locust itself ends with 0, 1 or 2."""
_BETWEEN_TRACEBACKS = ("During handling of the above exception", "The above exception was the direct cause")
_LOCAL_WORKERS_WAIT_S, _REMOTE_WORKERS_WAIT_S = 60, 1800


@dataclass(frozen=True, slots=True)
class Leader:
    """How the leading (or only) process is started."""

    locustfiles: Collection[Path]
    base_url: str
    arguments: Sequence[str]
    """Further Locust arguments, only for the leader."""
    variables: Mapping[str, str]
    """Additions to its environment."""


class LocustProcesses:
    """One local Locust process, or a master with workers; each in its own session, so that Ctrl-C in the terminal
    reaches only the command line.
    """

    def __init__(self, leader: Leader, log: Path, workers: int, master: tuple[str, int] | None) -> None:
        """`workers` 0: the leader generates the load itself. `master`: the address for workers on other machines;
        without it, workers are started here.
        """
        self._log_path = log
        self._socket, theirs = socket.socketpair()
        self._received = b""
        self._asked_at: float | None = None
        self._heard = self._given_up = False
        inherited = {**without_disturbing(), UNDER_COMMAND_VARIABLE: "1"}
        environment = {**inherited, **leader.variables, LIVE_VARIABLE: str(theirs.fileno())}
        self._links = _LinksWithoutCommas()
        files = ",".join(str(self._links.path_to(file)) for file in leader.locustfiles)
        arguments = [*_LOCUST, "-f", files, "--host", leader.base_url]
        leading = list(leader.arguments)
        self._log = log.open("ab")
        self.leader: subprocess.Popen
        self.workers: list[subprocess.Popen] = []
        self._told: set[int] = set()
        self._replaced = 0
        if workers:
            host, port = master or ("127.0.0.1", free_port())
            leading = [*leading, "--master", "--master-bind-host", host, "--master-bind-port", str(port)]
            self.leader = self._start([*arguments, *leading], environment, (theirs.fileno(),))
            self._worker_command, self._inherited = [*arguments, *following(host, port)], inherited
            if master is None:
                self.workers = [self._start(self._worker_command, inherited, ()) for _ in range(workers)]
        else:
            self.leader = self._start([*arguments, *leading], environment, (theirs.fileno(),))
        theirs.close()

    @classmethod
    def headless(
        cls, scenario: Scenario, folder: Path, base_url: str, workers: int, master: tuple[str, int] | None = None
    ) -> LocustProcesses:
        """The processes of one run, whose folder has its run.json."""
        # Without --only-summary Locust would write its statistics into the log every two seconds.
        leading = [
            "--headless",
            "--only-summary",
            *users_arguments(scenario),
            "--csv",
            str(folder / "locust"),
            "--loglevel",
            "INFO",
        ]
        several = workers if workers > 1 or master is not None else 0
        if several:
            wait_s = _LOCAL_WORKERS_WAIT_S if master is None else _REMOTE_WORKERS_WAIT_S
            leading += ["--expect-workers", str(workers), "--expect-workers-max-wait", str(wait_s)]
        leader = Leader(scenario.locustfile_paths, base_url, leading, {RUN_VARIABLE: str(folder)})
        return cls(leader, folder / LOG_NAME, several, master)

    def _start(
        self, arguments: list[str], environment: dict[str, str], descriptors: tuple[int, ...]
    ) -> subprocess.Popen:
        return subprocess.Popen(
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
            start_new_session=True,
        )

    def events(self) -> Iterator[Mapping[str, object] | None]:
        """The leader's reports as they come, and None at least four times a second. Ends when the leader does."""
        while True:
            ready, _, _ = select.select([self._socket], [], [], _POLL_S)
            if self._asked_at is not None and time.monotonic() - self._asked_at > self._stop_s:
                self._given_up = True
                self.kill()  # for example user code that never yields; what was written is kept
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
                self._heard = True
                yield json.loads(line)

    @property
    def _stop_s(self) -> float:
        return _STOP_S if self._heard else _NOT_BEGUN_S

    def ask_to_stop(self) -> None:
        """End the run gracefully: rows are handed over."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        self.tell("stop")

    @property
    def asked_to_stop(self) -> bool:
        """Whether the run was asked to stop."""
        return self._asked_at is not None

    def tell(self, what: str, **facts: object) -> None:
        """Send the leader a message (see `generator.reporter`)."""
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps({"do": what, **facts}).encode() + b"\n")

    def log_tail(self, lines: int = 12) -> list[str]:
        """The last lines of Locust's output; of a traceback only the error, and where the rest is."""
        printed = self._log_lines()
        kept = without_tracebacks(printed)
        cut = [] if len(kept) == len(printed) else [f"(the traceback is in {self._log_path})"]
        return [*kept[-lines:], *cut]

    def _log_lines(self) -> list[str]:
        try:
            text = self._log_path.read_text("utf-8", "replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()]

    def failure(self) -> UserError:
        """Why the leader ended early: its own sentence if it used one of our exit codes, otherwise its last output."""
        if self._given_up:
            return UserError(
                Exit.LOAD_GENERATOR,
                f"the load generator had not ended {self._stop_s:g} s after it was asked to, and was killed; the rows "
                "that it wrote are kept.",
            )
        with contextlib.suppress(subprocess.TimeoutExpired):  # it closed its socket, so it is about to exit
            self.leader.wait(_LEAVES_S)
        return self._failure_of(self.leader) or UserError(
            Exit.LOAD_GENERATOR,
            quoted(
                f"the load generator ended{_how(self.leader)} before the run did; the rows that it wrote are kept.",
                self.log_tail(),
            ),
        )

    def ended_workers(self, then: str, badly: bool = False) -> list[str]:
        """A sentence for each local worker that ended by itself since the last call. `then`: the consequence, if the
        worker gave no reason. `badly`: leave out those that ended normally."""
        sentences = []
        for number, worker in enumerate(self.workers, 1):
            ended = worker.poll() not in ((None, 0) if badly else (None,))
            if ended and worker.pid not in self._told and self._asked_at is None:
                self._told.add(worker.pid)
                failure = self._failure_of(worker)
                sentences.append(
                    f"load-generating process {number} of {len(self.workers)} ended{_how(worker)}"
                    + (f": {failure}" if failure else f"; {then}")
                )
        return sentences

    def replace_ended_workers(self) -> None:
        """Replace each local worker that has ended, a few times at most."""
        for number, worker in enumerate(self.workers):
            if worker.poll() is not None and self._replaced < _MOST_REPLACED:
                self._replaced += 1
                self.workers[number] = self._start(self._worker_command, self._inherited, ())

    def dead_worker(self) -> UserError | None:
        """A local worker that ended by itself, or None."""
        for number, worker in enumerate(self.workers, 1):
            if worker.poll() is not None:
                return self._failure_of(worker) or UserError(
                    Exit.LOAD_GENERATOR,
                    quoted(
                        f"load-generating process {number} of {len(self.workers)} ended{_how(worker)} before the run "
                        "began.",
                        self.log_tail(),
                    ),
                )
        return None

    def _failure_of(self, process: subprocess.Popen) -> UserError | None:
        if process.returncode not in _OWN_CODES:
            return None
        sentences = [line for line in self._log_lines() if line.startswith(_SAYS)]
        return UserError(Exit(process.returncode), sentences[-1].removeprefix(_SAYS)) if sentences else None

    def end(self) -> None:
        """Wait a little for all processes to exit, then kill them."""
        deadline = time.monotonic() + _EXIT_GRACE_S
        for process in [self.leader, *self.workers]:
            if process is not self.leader and self.leader.returncode not in (None, 0):
                break  # nothing is left to stop the workers or to take their rows
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
        self.kill()
        self._links.remove()
        self._log.close()
        self._socket.close()

    def kill_at_once(self) -> None:
        """Kill all processes without waiting; for signal handlers, so it takes none of Popen's locks."""
        for process in [self.leader, *self.workers]:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill all processes."""
        for process in [self.leader, *self.workers]:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _how(process: subprocess.Popen) -> str:
    """` by signal 9 (often a lack of memory)`, ` with 1`; empty if unknown."""
    code = process.returncode
    if code is None:
        return ""
    why = " (often a lack of memory)" if code == -signal.SIGKILL else ""
    return f" by signal {-code}{why}" if code < 0 else f" with {code}"


class _LinksWithoutCommas:
    """Links to files with a comma in their path, which Locust would split there."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def path_to(self, file: Path) -> Path:
        """A path to the file without a comma."""
        if "," not in str(file):
            return file
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="tokenswarm-"))
        link = self._folder / str(len(list(self._folder.iterdir())))
        if "," not in file.name:
            link.symlink_to(file.parent.absolute())
            return link / file.name
        link.mkdir()
        (link / file.name.replace(",", "_")).symlink_to(file.absolute())
        return link / file.name.replace(",", "_")

    def remove(self) -> None:
        """Remove the links, not their targets."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def quoted(sentence: str, lines: Sequence[str]) -> str:
    """The sentence followed by log lines."""
    return sentence + (" It said:" + "".join(f"\n  | {line}" for line in lines) if lines else "")


def without_tracebacks(lines: Iterable[str]) -> list[str]:
    """The lines of a log without the frames of tracebacks; the errors themselves stay."""
    kept, inside = [], False
    for line in lines:
        if line.lstrip().startswith("Traceback (most recent call last)"):
            inside = True
        elif inside and line.startswith((" ", "\t")):
            continue
        elif not line.startswith(_BETWEEN_TRACEBACKS):
            inside = False
            kept.append(line)
    return kept


def users_arguments(scenario: Scenario) -> list[str]:
    """Locust's arguments for the scenario's users; they can be changed in its start form."""
    load = scenario.load
    users = load.users if load.rate is None else load.max_in_flight
    spawn_rate = load.spawn_rate if load.rate is None else load.max_in_flight
    return ["--users", str(users), "--spawn-rate", f"{spawn_rate:g}"]


def following(host: str, port: int) -> list[str]:
    """Locust's arguments for a worker of the master at this address."""
    return ["--worker", "--master-host", host, "--master-port", str(port)]


def worker_command(host: str, port: int) -> list[str]:
    """The command for another machine, which gets locustfile and plan from the master."""
    return [*_LOCUST, "-f", "-", *following(host, port)]
