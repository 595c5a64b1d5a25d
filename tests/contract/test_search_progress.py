"""progress.json is read as it was written, and not trusted if its process is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.search_progress import (
    ENDED,
    PROGRESS_FORMAT,
    BracketSoFar,
    LevelSoFar,
    RunUnderWay,
    SearchProgress,
    is_going_on,
    new_progress,
    read_progress,
    write_progress,
)


def test_it_is_read_as_it_was_written_and_says_when(tmp_path: Path) -> None:
    progress = new_progress("capacity", "vllm", "chat")
    progress.now = RunUnderWay("bisect", 4, 28, seconds=45.0)
    progress.bracket = BracketSoFar(sure_pass=24, levels=[LevelSoFar(24, "pass", 0.99, [0.96, 1.0], 800)])
    write_progress(tmp_path, progress)
    assert read_progress(tmp_path) == progress
    assert progress.updated_at >= progress.started_at > 0


def test_a_newer_one_is_refused(tmp_path: Path) -> None:
    write_progress(tmp_path, SearchProgress(format=PROGRESS_FORMAT + 1))
    with pytest.raises(UserError) as refused:
        read_progress(tmp_path)
    assert refused.value.code is Exit.RUN_FOLDER


def test_a_search_goes_on_until_it_says_that_it_ended_or_its_process_is_gone() -> None:
    mine = new_progress("tune")
    assert is_going_on(mine)
    mine.state = ENDED
    assert not is_going_on(mine)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    killed = new_progress("tune")
    killed.pid = gone.pid
    assert not is_going_on(killed)
    killed.host = "another-machine"
    assert is_going_on(killed)
