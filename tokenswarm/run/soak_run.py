"""An unattended run of hours: abort rules, figures at any time, and an end within a grace period.

Summaries are made in separate processes with the lowest priority, so that neither the load generator nor its monitor
waits for them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path

import msgspec
import psutil

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import replace_whole
from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import note_verdict
from tokenswarm.contract.summary.summary_file import read_summary, write_summary
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import OutcomeRecord
from tokenswarm.contract.tables import DASHBOARD_HTML, JUNIT_XML, SUMMARY_JSON, SUMMARY_MD
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.scenario.abort import Abort, AbortRules, AbortSettings, EndedRequests
from tokenswarm.scenario.model import Scenario

PROGRESS_INTERVAL_S = 60.0
SUMMARY_INTERVAL_S = 60.0
IDLE_SHARE = 20
"""Pause between summaries, in multiples of the previous one's CPU time: they cost at most 5% of a core."""
_LOWEST_PRIORITY = 19
_POLL_S = 0.05
_MOST_SAID = 65536
_KEPT_BACK_S = 1.0
"""Part of the grace period reserved for reporting how the run ended."""

_WRITTEN = (SUMMARY_JSON, JUNIT_XML, SUMMARY_MD, DASHBOARD_HTML)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def next_summary_at(began: float, cpu_s: float, interval_s: float = SUMMARY_INTERVAL_S) -> float:
    """When the next live summary is due, given the start and the CPU time of the previous one."""
    return began + max(interval_s, IDLE_SHARE * cpu_s)


class ReportProcess:
    """`tokenswarm report` on a run folder, in a separate process that the terminal's Ctrl-C does not reach. Call `wait`
    or `kill` once. Raises OSError if it cannot be started.
    """

    def __init__(self, folder: Path, options: Sequence[str] = (), idle: bool = False) -> None:
        """`idle`: use only idle CPU and disk time."""
        self.cpu_s = 0.0
        """CPU time used, as of the last call of `running`."""
        self._folder = folder
        with tempfile.TemporaryFile() as output:  # not a pipe, which nobody would read: a full pipe would block it
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tokenswarm", "report", str(folder), "--quiet", *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                start_new_session=True,
                env=os.environ | dict.fromkeys(_THREADS, "1"),
            )
            self._output = os.dup(output.fileno())
        self._watched = psutil.Process(self._process.pid)
        if idle:
            with contextlib.suppress(psutil.Error, OSError, AttributeError, ValueError):  # not every system has both
                self._watched.nice(_LOWEST_PRIORITY)
                self._watched.ionice(psutil.IOPRIO_CLASS_IDLE)

    @property
    def running(self) -> bool:
        with contextlib.suppress(psutil.Error):
            times = self._watched.cpu_times()
            self.cpu_s = max(self.cpu_s, times.user + times.system)
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill it. Its files are replaced atomically, so none is left half written."""
        cut_off = self.running
        self._process.kill()
        self._process.wait()
        os.close(self._output)
        for name in _WRITTEN if cut_off else ():
            for unfinished in self._folder.glob(f".{name}.*"):
                unfinished.unlink(missing_ok=True)

    def wait(self, deadline: Callable[[], float | None]) -> bool:
        """Whether it ended by itself, and well, before `deadline()` on the monotonic clock (None: whenever).

        Raises UserError (RESULTS) with what it said if it failed.
        """
        while self.running:
            until = deadline()
            if until is not None and time.monotonic() >= until:
                self.kill()
                return False
            time.sleep(_POLL_S)
        output = os.pread(self._output, _MOST_SAID, 0).decode("utf-8", "replace").strip()
        os.close(self._output)
        if self._process.returncode:
            last = output.splitlines()[-1] if output else f"exit code {self._process.returncode}"
            raise UserError(Exit.RESULTS, f"the report could not be made: {last.removeprefix('tokenswarm: ')}")
        return True


class LiveSummary:
    """Keeps summary.json, junit.xml and summary.md of a running run up to date. Call `tick` regularly."""

    def __init__(
        self,
        folder: Path,
        options: Sequence[str],
        interval_s: float = SUMMARY_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
        start: Callable[..., ReportProcess] = ReportProcess,
    ) -> None:
        self._folder, self._options, self._interval_s = folder, [*options, "--no-dashboard"], interval_s
        self._clock, self._start = clock, start
        self._process: ReportProcess | None = None
        self._began = clock()
        self._due = self._began + interval_s

    def tick(self) -> None:
        """Start a summary when one is due. Never waits; a failed summary has no further effect."""
        if self._process is not None and not self._process.running:
            self._process.kill()  # reaps it
            self._due = next_summary_at(self._began, self._process.cpu_s, self._interval_s)
            self._process = None
        if self._process is None and self._clock() >= self._due:
            self._began = self._clock()
            with contextlib.suppress(OSError):
                self._process = self._start(self._folder, self._options, idle=True)
            if self._process is None:
                self._due = self._began + self._interval_s

    def stop(self) -> None:
        """Kill the summary in progress, if any."""
        if self._process is not None:
            self._process.kill()
            self._process = None


class _Ended(msgspec.Struct):
    """Finished requests by outcome and error kind, from the load generator's report."""

    outcomes: dict[str, int]
    error_kinds: dict[str, int]


class Soak:
    """Watches a run (see `monitor.Watch`) and ensures that there are figures at its end. `report_options`: options of
    `report` (--strict, --baseline, --fail-on-drift).
    """

    progress_interval_s = PROGRESS_INTERVAL_S
    engine_gone = Exit.ENGINE_GONE

    def __init__(
        self,
        report_options: Sequence[str] = (),
        grace_s: float = 30.0,
        summary_interval_s: float = SUMMARY_INTERVAL_S,
        judged: Callable[[Summary], OutcomeRecord] = attrgetter("outcome"),
    ) -> None:
        """`grace_s`: from the first signal to the end of the command. judged(summary): recomputes the `outcome` of a
        summary."""
        self._judged = judged
        self._options, self._grace_s, self._summary_interval_s = list(report_options), grace_s, summary_interval_s
        self._rules = AbortRules(AbortSettings())
        self._live: LiveSummary | None = None
        self._folder: Path | None = None
        self._final: ReportProcess | None = None

    # ---- while the run goes on

    def begin(self, folder: Path, scenario: Scenario) -> None:
        self._folder = folder
        self._rules = AbortRules(scenario.abort)
        self._live = LiveSummary(folder, self._options, self._summary_interval_s)

    def look(self, live: Mapping[str, object] | None) -> Abort | None:
        present(self._live).tick()
        if live is None:
            return None
        ended = msgspec.convert(live, _Ended)
        return (
            self._rules.look(EndedRequests.of(time.monotonic(), ended.outcomes, ended.error_kinds))
            or self._look_at_disk()
        )

    def _look_at_disk(self) -> Abort | None:
        try:
            disk = shutil.disk_usage(present(self._folder))
        except OSError:
            return None  # whoever cannot write there reports it
        return self._rules.look_at_disk(disk.free, disk.total)

    def over(self, outcome: RunOutcome) -> None:
        present(self._live).stop()
        if outcome.interrupted_at is not None:  # every second counts, since the engine is being stopped
            with contextlib.suppress(OSError):  # `conclude` tries again
                self._final = ReportProcess(outcome.folder, self._options)

    def kill(self) -> None:
        """Kill the report in progress."""
        if self._live is not None:
            present(self._live).stop()
        if self._final is not None:
            self._final.kill()

    # ---- afterwards

    def conclude(self, outcome: RunOutcome, interrupted_at: Callable[[], float | None]) -> Summary:
        """Make the report and return the summary. `interrupted_at()`: when a signal came meanwhile, if one did.

        If the grace ends before the report is made, the last live summary is what there is; it says so. Raises
        UserError where there is none.
        """

        def deadline() -> float | None:
            first = outcome.interrupted_at if outcome.interrupted_at is not None else interrupted_at()
            return None if first is None else first + self._grace_s - _KEPT_BACK_S

        try:
            self._final = self._final or ReportProcess(outcome.folder, self._options)
        except OSError as error:
            raise UserError(Exit.RESULTS, f"the report could not be begun: {error.strerror}") from None
        if not self._final.wait(deadline):
            self._admit(outcome.folder)
        summary = _read_summary(outcome.folder)
        note_verdict(outcome.folder, summary.verdict, summary.reasons)
        return summary

    def _admit(self, folder: Path) -> None:
        """Mark the last live summary and its files as preliminary."""
        summary = _read_summary(folder)
        sentence = (
            f"The run was interrupted, and the grace of {self._grace_s:g} s was over before its figures were "
            "made: these are of some minutes before. Make them anew with: python -m tokenswarm report "
            f"{folder.name}"
        )
        summary.notes.append(sentence)
        summary.run.going, summary.run.status = False, "interrupted"
        for reason in summary.reasons:
            if reason.rule == "still_going":
                before = summary.outcome.headline, reason.sentence
                reason.rule, reason.verdict, reason.sentence = "run_ended", "ENDED_EARLY", sentence
                summary.outcome = self._judged(summary)
                _replace_words(folder, before, (summary.outcome.headline, sentence))
        write_summary(folder, summary)


def _replace_words(folder: Path, before: tuple[str, str], now: tuple[str, str]) -> None:
    """Replace headline and reason in the files of a live summary, since there is no time to make them again."""
    for name, mark in ((JUNIT_XML, ": "), (SUMMARY_MD, "**: ")):
        with contextlib.suppress(OSError):
            page = (folder / name).read_text("utf-8")
            replace_whole(folder / name, page.replace(before[0] + mark, now[0] + mark).replace(before[1], now[1]))


def _read_summary(folder: Path) -> Summary:
    try:
        return read_summary(folder)
    except UserError:
        raise UserError(
            Exit.INTERRUPTED,
            f"there was no time for a report; the rows are kept. Make it with: python -m tokenswarm report {folder}",
        ) from None
