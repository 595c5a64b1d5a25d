"""Does what a page of the documentation says, in a copy of the checkout, as a reader would."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tokenswarm.base.errors import Exit

from .support import PATIENCE_S, PROJECT, environment

_VERDICTS = {Exit.PASSED, Exit.SLO_MISSED, Exit.INVALID, Exit.OVERLOADED, Exit.UNDETERMINED}
"""A busy machine may make any run slow or INVALID; nothing else may happen."""

_NOT_RUN = "<!-- not run by the test -->"
"""On a page: what comes after it wants an engine or hours."""

_NOT_SHARED = {".git", "results", ".github"}
_STEP = re.compile(
    r'^```\w+ title="(?P<path>[^"]+)"\n(?P<text>.*?)^```$|^```.*?^```$|^ {4}(?P<command>\S[^\n]*)$',
    re.MULTILINE | re.DOTALL,
)


def checkout(folder: Path) -> Path:
    """A folder that looks like this checkout; what a reader makes in it does not get into the real one."""
    folder.mkdir()
    for entry in PROJECT.iterdir():
        if entry.name not in _NOT_SHARED:
            (folder / entry.name).symlink_to(entry)
    return folder


def steps(page: str) -> list[tuple[str, str]]:
    """What the page tells its reader to do, in order: ("write PATH", the text) and ("run", a command)."""
    text = (PROJECT / "docs" / page).read_text("utf-8").partition(_NOT_RUN)[0]
    found = []
    for step in _STEP.finditer(text):
        if step["path"]:
            found.append((f"write {step['path']}", step["text"]))
        elif step["command"]:
            found.append(("run", step["command"]))
    return found


def reader_environment(**extra: str) -> dict[str, str]:
    """The environment of somebody at a terminal: no variable of make or of pytest steers what they start."""
    clean = {key: value for key, value in environment(**extra).items() if not key.startswith(("MAKE", "PYTEST"))}
    return clean | {"PATH": os.environ["PATH"]}


class Reader:
    """Somebody who does what the page says. `quickly`: what of a command's words stands for others, shorter ones;
    `settings`: SET of their environment."""

    def __init__(self, folder: Path, quickly: Mapping[str, str], settings: str) -> None:
        self.folder = checkout(folder)
        self._quickly, self._settings = quickly, settings
        self.output: list[str] = []
        self.made: list[Path] = []

    def run(self, command: str) -> None:
        """A command to its end."""
        before = self._runs()
        for words, shorter in self._quickly.items():
            command = command.replace(words, shorter)
        command = command.replace('SET="', f'SET="{self._settings} ')  # else it would take the place of theirs
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=reader_environment(SET=self._settings),
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            stdin=subprocess.DEVNULL,
        )
        self.output.append(done.stdout + done.stderr)
        code = int(own[1]) if (own := re.search(r"Error (\d+)", done.stderr)) else done.returncode
        assert code in _VERDICTS, f"{command}: {code}\n{self.output[-1]}"
        self.made += sorted(self._runs() - before)

    def start(self, command: str) -> subprocess.Popen[str]:
        """A command in another terminal."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=reader_environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _runs(self) -> set[Path]:
        return {path.parent for path in (self.folder / "results").rglob("run.json")}


@contextlib.contextmanager
def follow(page: str, folder: Path, quickly: Mapping[str, str], settings: str) -> Iterator[Reader]:
    """Do what a page says. The simulator that it starts, if any, runs until the block ends, at a port of its own."""
    reader = Reader(folder, {"8088": str(_free_port()), **quickly}, settings)
    port = reader._quickly["8088"]
    simulator = None
    try:
        for what, text in steps(page):
            if what != "run":
                (reader.folder / what.removeprefix("write ")).write_text(text, "utf-8")
            elif text.startswith("make sim"):
                simulator = reader.start(text.replace("8088", port))
                _wait_for(int(port))
            else:
                reader.run(text)
        yield reader
    finally:
        if simulator is not None:
            _end(simulator)


@contextlib.contextmanager
def served() -> Iterator[str]:
    """A simulator that stands in for a page's own server: its URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "tokenswarm", "sim"],
        env=reader_environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as simulator:
        try:
            assert simulator.stdout is not None
            yield simulator.stdout.readline().split()[-1]
        finally:
            simulator.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the simulator does not listen")


def _end(process: subprocess.Popen[str]) -> None:
    """`make` and what it started."""
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)
