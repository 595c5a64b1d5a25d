"""Runs the real command line in processes of its own, and finds whatever such a run leaves behind."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parents[2]
CLI = (sys.executable, "-m", "tokenswarm")
PATIENCE_S = 120.0
"""How long a test waits for anything. Never a claim about speed: only what has gone wrong lasts so long."""

_MARK = "TOKENSWARM_TEST_MARK"
_FOREIGN = ("API_KEY", "CORPUS", "MODEL", "RESULTS", "SEED", "SET", "COLUMNS", "FORCE_COLOR", "NO_COLOR")


def environment(mark: str = "", **extra: str) -> dict[str, str]:
    """This process's environment without what would steer a run. All descendants of a run inherit the mark."""
    kept = {key: value for key, value in os.environ.items() if key not in _FOREIGN and not key.startswith("LOCUST_")}
    return {**kept, _MARK: mark, "PYTHONUNBUFFERED": "1", **extra}


def marked(mark: str) -> list[psutil.Process]:
    """All living processes that carry the mark."""
    wanted = f"{_MARK}={mark}".encode()
    found = []
    for pid in psutil.pids():
        try:
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(psutil.Process(pid))
        except (OSError, psutil.Error):
            continue  # gone meanwhile, or a zombie
    return found


def command_of(process: psutil.Process) -> str:
    """Its command line; empty when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def left_behind(mark: str, patience_s: float = 20.0) -> list[str]:
    """Command lines of marked processes that are still there after a while."""
    deadline = time.monotonic() + patience_s
    while (found := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [command_of(process) for process in found]


@dataclass
class Finished:
    """A command that has ended: exit code, what it printed, its processes that did not end, its run folder if any."""

    code: int
    out: str
    err: str
    left: list[str] = field(default_factory=list)
    folder: str | None = None

    @property
    def path(self) -> Path:
        assert self.folder is not None, f"no run folder; exit code {self.code}:\n{self.out}\n{self.err}"
        return Path(self.folder)

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.path / "run.json").read_text())

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.path / "summary.json").read_text())

    @property
    def page(self) -> str:
        return (self.path / "dashboard.html").read_text()

    def table(self, name: str = "requests.csv") -> list[dict[str, str]]:
        """Rows of one of the folder's CSV files."""
        with (self.path / name).open(newline="") as file:
            return list(csv.DictReader(file))


class Started:
    """A command that goes on in the background. `results` is the folder in which it makes its run folder."""

    def __init__(self, arguments: list[str], results: Path, **extra: str) -> None:
        self.mark = uuid.uuid4().hex
        self.results = results
        results.mkdir(parents=True, exist_ok=True)
        self._out = (results.parent / f"{self.mark}.out").open("w+b")
        self._err = (results.parent / f"{self.mark}.err").open("w+b")
        self.process = subprocess.Popen(
            arguments,
            cwd=PROJECT,
            env=environment(self.mark, **extra),
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
        )

    def folder(self) -> Path | None:
        """The folder of the run, or of the series, beside which its runs may lie; None until there is one."""
        folders = [path for path in self.results.iterdir() if path.is_dir()]
        found = [path for path in folders if (path / "progress.json").exists()] or folders
        assert len(found) <= 1, found
        return found[0] if found else None

    def rows(self) -> int:
        """Rows of requests.csv so far."""
        folder = self.folder()
        with contextlib.suppress(OSError):
            return (folder / "requests.csv").read_text().count("\n") - 1 if folder else 0
        return 0

    def wait_until(self, condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait while the command runs. Fails when it ends before the condition holds."""
        deadline = time.monotonic() + patience_s
        while not condition():
            assert self.process.poll() is None, f"ended with {self.process.returncode} before {what}: {self._texts()}"
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self._texts()}"
            time.sleep(0.05)

    def find(self, part: str) -> psutil.Process | None:
        """A process of this run, other than the command itself, whose command line holds `part`."""
        for process in marked(self.mark):
            if process.pid != self.process.pid and part in command_of(process):
                return process
        return None

    def signal(self, number: signal.Signals) -> None:
        """To the command's own process alone."""
        self.process.send_signal(number)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The command's own process stands still (or has ended) while the block runs."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def finish(self, patience_s: float = 20.0, end_s: float = PATIENCE_S) -> Finished:
        """Wait for the end of the command, at most `end_s`, and then of its processes."""
        code = self.process.wait(end_s)
        left = left_behind(self.mark, patience_s)
        folder = self.folder()
        return Finished(code, *self._texts(), left, str(folder) if folder else None)

    def destroy(self) -> None:
        """Leave nothing of it behind, whatever happened."""
        for process in marked(self.mark):
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()
        self._out.close()
        self._err.close()

    def _texts(self) -> tuple[str, str]:
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read().decode())
        return texts[0], texts[1]


@contextlib.contextmanager
def started(arguments: list[str], results: Path, **extra: str) -> Iterator[Started]:
    """A command in the background that does not outlive the block."""
    run = Started(arguments, results, **extra)
    try:
        yield run
    finally:
        run.destroy()


def run_cli(*arguments: str, results: Path, end_s: float = PATIENCE_S, **extra: str) -> Finished:
    """`python -m tokenswarm` with these arguments, to its end."""
    with started([*CLI, *arguments], results, **extra) as run:
        return run.finish(end_s=end_s)


def load(results: Path, *arguments: str, settings: str = "", duration: str = "2s", **extra: str) -> list[str]:
    """The command line of a short run; `settings` are further values for --set."""
    return [
        *CLI,
        "load",
        "--results",
        str(results),
        "--duration",
        duration,
        "--set",
        f"load.warmup_s=1 load.drain_s=5 {settings}".strip(),
        *arguments,
    ]


@contextlib.contextmanager
def simulator(folder: Path, *arguments: str, **extra: str) -> Iterator[str]:
    """An engine simulator that runs by itself; yields its URL."""
    with started([*CLI, "sim", "--port", "0", *arguments], folder, **extra) as sim:
        found: list[str] = []

        def listening() -> bool:
            found[:] = re.findall(r"listening on (http://\S+)", sim._texts()[0])
            return bool(found)

        sim.wait_until(listening, "the simulator to listen")
        yield found[0]


def shared(base: Path, name: str, make: Callable[[Path], Mapping[str, Finished]]) -> dict[str, Finished]:
    """What `make(folder)` returns, made once even where several test processes ask for it.

    `base` is a folder that they have in common.
    """
    folder = base / name
    folder.mkdir(exist_ok=True)
    kept = folder / "outcome.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait here while one makes it
        if not kept.exists():
            outcomes = make(folder)
            kept.write_text(json.dumps({key: asdict(outcome) for key, outcome in outcomes.items()}))
    return {key: Finished(**values) for key, values in json.loads(kept.read_text()).items()}
