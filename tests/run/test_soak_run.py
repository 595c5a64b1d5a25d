"""A soak's summaries while it goes on and at its end, with processes that tests make up."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.signals import Interrupts
from tokenswarm.contract.summary.summary_file import read_summary
from tokenswarm.contract.summary.verdict_records import OutcomeRecord
from tokenswarm.run import soak_run as soaking
from tokenswarm.run.life import interruption
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.progress import RunProgress
from tokenswarm.run.soak_run import LiveSummary, ReportProcess, Soak, next_summary_at


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Report:
    """Stands in for a report's process; takes `seconds` of the clock, and so much CPU time."""

    def __init__(self, clock: Clock, seconds: float, cpu_s: float | None = None) -> None:
        self._clock, self._until = clock, clock.now + seconds
        self.cpu_s = seconds if cpu_s is None else cpu_s
        self.killed = False

    @property
    def running(self) -> bool:
        return self._clock.now < self._until

    def kill(self) -> None:
        self.killed = True


def begun(seconds: float, until: int, cpu_s: float | None = None) -> list[float]:
    """When live summaries begin that take so long each, and so much CPU time (None: all that long)."""
    clock, moments = Clock(), []

    def start(*_: Any, idle: bool) -> Report:
        assert idle
        moments.append(clock.now)
        return Report(clock, seconds, cpu_s)

    live = LiveSummary(Path("run"), [], clock=clock, start=start)
    for second in range(until):
        clock.now = float(second)
        live.tick()
    return moments


def test_summaries_are_made_each_minute() -> None:
    assert begun(2.0, 200) == [60, 120, 180]


def test_a_summary_that_takes_long_is_made_less_often_and_never_twice_at_once() -> None:
    assert begun(10.0, 500) == [60, 260, 460]
    assert begun(1000.0, 900) == [60]


def test_a_summary_that_waits_for_a_busy_machine_costs_it_nothing() -> None:
    assert begun(40.0, 200, cpu_s=2.0) == [60, 120, 180]
    assert begun(70.0, 250, cpu_s=2.0) == [60, 130, 200]


@pytest.mark.parametrize(("took", "due"), [(0.5, 60.0), (3.0, 60.0), (3.5, 70.0), (60.0, 1200.0)])
def test_what_summaries_cost_is_bounded(took: float, due: float) -> None:
    assert next_summary_at(0.0, took) == due


def test_no_summary_outlives_the_run() -> None:
    clock = Clock()
    made: list[Report] = []
    live = LiveSummary(
        Path("run"), [], clock=clock, start=lambda *_, idle: made.append(Report(clock, 50.0)) or made[-1]
    )
    clock.now = 61.0
    live.tick()
    live.stop()
    assert [report.killed for report in made] == [True]


def script(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What runs instead of a report: a small program, which gets the folder as its last argument but one."""
    real = soaking.subprocess.Popen
    monkeypatch.setattr(
        soaking.subprocess, "Popen", lambda command, **more: real([sys.executable, "-c", text, command[4]], **more)
    )


def test_a_report_runs_with_the_lowest_priority_while_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(
        monkeypatch,
        "import os, sys, time\nwhile os.nice(0) < 19: time.sleep(0.01)\n"
        "open(sys.argv[1] + '/nice', 'w').write(str(os.nice(0)))",
    )
    assert ReportProcess(tmp_path, idle=True).wait(lambda: time.monotonic() + 60)
    assert (tmp_path / "nice").read_text() == "19"


def test_a_report_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, "import sys; sys.exit('tokenswarm: the disk is full')")
    with pytest.raises(UserError, match="the report could not be made: the disk is full") as caught:
        ReportProcess(tmp_path).wait(lambda: None)
    assert caught.value.code == Exit.RESULTS


def test_a_report_that_is_cut_off_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(
        monkeypatch,
        "import sys, time\nopen(sys.argv[1] + '/.summary.json.x', 'w').write('half')\n"
        "open(sys.argv[1] + '/begun', 'w').close()\ntime.sleep(600)",
    )
    report = ReportProcess(tmp_path)
    assert report.wait(lambda: time.monotonic() if (tmp_path / "begun").exists() else None) is False
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


def folder_with_summary(folder: Path) -> Path:
    reason = {"rule": "still_going", "sentence": "The run is still going."}
    summary = {
        "verdict": "INCOMPLETE",
        "reasons": [reason],
        "notes": [],
        "run": {"going": True, "status": "running"},
        "outcome": {"name": "INCOMPLETE", "headline": "INCOMPLETE", "code": 6, "sentence": reason["sentence"]},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "junit.xml").write_text("<x>INCOMPLETE: The run is still going.</x>")
    (folder / "run.json").write_text("{}")
    return folder


def test_a_report_that_does_not_get_done_within_the_grace_leaves_the_last_live_summary_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, "import time; time.sleep(600)")
    folder = folder_with_summary(tmp_path)
    ended = OutcomeRecord("ENDED_EARLY", "ENDED EARLY", 130, "It was interrupted.")
    soak = Soak(grace_s=1.1, judged=lambda summary: ended if summary.run.status == "interrupted" else OutcomeRecord())
    summary = soak.conclude(RunOutcome(folder, "interrupted", interrupted_at=time.monotonic()), lambda: None)
    assert "the grace of 1.1 s was over" in summary.notes[0] and "tokenswarm report" in summary.notes[0]
    assert (summary.run.going, summary.run.status) == (False, "interrupted")
    assert [reason.rule for reason in summary.reasons] == ["run_ended"]
    page = (folder / "junit.xml").read_text()
    assert "still going" not in page and f"ENDED EARLY: {summary.notes[0]}" in page
    assert summary.outcome == ended
    assert read_summary(folder) == summary
    assert json.loads((folder / "run.json").read_text())["validity"]["verdict"] == "INCOMPLETE"


def test_a_signal_while_the_report_is_made_starts_the_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, "import time; time.sleep(600)")
    folder = folder_with_summary(tmp_path)
    now = time.monotonic()
    summary = Soak(grace_s=1.1).conclude(RunOutcome(folder, "complete"), lambda: now)
    assert summary.notes


def test_without_any_summary_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, "import time; time.sleep(600)")
    with pytest.raises(UserError, match="no time for a report") as caught:
        Soak(grace_s=1.0).conclude(RunOutcome(tmp_path, "interrupted", interrupted_at=time.monotonic()), lambda: None)
    assert caught.value.code == Exit.INTERRUPTED


def test_an_unattended_run_takes_only_a_second_ctrl_c_for_a_wish_to_quit(monkeypatch: pytest.MonkeyPatch) -> None:
    quits: list[int] = []
    monkeypatch.setattr(os, "_exit", quits.append)
    with Interrupts(require_double_ctrl_c=True) as interrupts:
        interrupts.on_first = lambda: None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):  # as a CI system sends them
            os.kill(os.getpid(), number)
        assert quits == [] and interruption(interrupts).sentence == "the run was interrupted by Ctrl-C"
        os.kill(os.getpid(), signal.SIGINT)
        assert quits == [Exit.INTERRUPTED]


def test_an_attended_run_is_quit_by_any_second_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    quits: list[int] = []
    monkeypatch.setattr(os, "_exit", quits.append)
    with Interrupts() as interrupts:
        interrupts.on_first = lambda: None
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert quits == [Exit.INTERRUPTED]


def test_without_a_terminal_there_is_a_line_a_minute_with_the_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from rich.console import Console

    clock = Clock()
    monkeypatch.setattr("tokenswarm.run.progress.time.monotonic", clock)
    figures = {
        "requests": 1234,
        "errors": 2,
        "measured_requests": 1200,
        "measured_errors": 2,
        "ttft_p95_ms": 321.0,
        "output_tok_s": 4567.0,
        "last_s": 10.0,
        "in_flight": 8,
    }
    with RunProgress(Console(width=80), 5.0, 28800.0, None, 60.0) as progress:
        progress.phase("measure")
        for second in range(7500):
            clock.now = float(second)
            progress.figures(figures)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 124, "the phase, the first figures soon, then one line a minute"
    assert lines[-1].split("  ", 1)[1] == (
        "measuring 2:04:10/8:00:00  1,200 requests measured, TTFT p95 321 ms, "
        "2 errors; last 10 s 4,567 tok/s; now 8 in flight"
    )
    assert all(line[:4].isdigit() and line[19] == "Z" for line in lines)
