"""The Locust processes of a run, when they misbehave."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenswarm.run import locust_process
from tokenswarm.run.locust_process import Leader, LocustProcesses, without_tracebacks


def test_one_that_never_lets_go_is_ended_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = tmp_path / "locust.py"  # found before the real one: `python -m locust` starts in this folder
    stubborn.write_text(
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('busy', flush=True)\n"
        "while True: time.sleep(1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(locust_process, "_NOT_BEGUN_S", 0.2)  # it reports nothing: its run has not begun
    monkeypatch.setattr(locust_process, "_EXIT_GRACE_S", 0.2)
    processes = LocustProcesses(Leader([Path("x.py")], "http://127.0.0.1:1", [], {}), tmp_path / "log", 0, None)
    try:
        heard = 0
        for event in processes.events():
            assert event is None
            heard += 1
            if "busy" in (tmp_path / "log").read_text():
                processes.ask_to_stop()
        assert heard and processes.leader.wait(10) != 0
        assert "had not ended 0.2 s after it was asked to" in str(processes.failure()), "not `by signal 9`"
    finally:
        processes.end()


@pytest.mark.parametrize("name", ["com,ma/my.py", "com,ma/oth,er/my.py", "plain/my,file.py"])
def test_a_comma_in_a_path_is_no_end_of_it(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text("here = 1")
    links = locust_process._LinksWithoutCommas()
    path = links.path_to(file)
    assert "," not in str(path) and path.suffix == ".py"
    assert path.read_text() == "here = 1"
    links.remove()
    assert not path.exists() and file.read_text() == "here = 1"
    assert links.path_to(Path("/a/b.py")) == Path("/a/b.py")


def test_locusts_variables_reach_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locust.py").write_text(
        "import os\n"
        "names = sorted(name for name in os.environ if 'LOCUST_' in name)\n"
        "os.write(1, f'{names}\\n'.encode())  # at once: two processes share the log\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCUST_RUN_TIME", "1s")
    processes = LocustProcesses(Leader([Path("x.py")], "http://127.0.0.1:1", [], {}), tmp_path / "log", 1, None)
    for process in (processes.leader, *processes.workers):
        process.wait(60)  # one that is asked to end earlier has not written yet
    processes.end()
    assert [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("[")] == ["[]", "[]"]


def test_of_a_traceback_the_error_alone_is_told() -> None:
    assert without_tracebacks(
        [
            "starting",
            "Traceback (most recent call last):",
            '  File "a.py", line 1, in <module>',
            "    x",
            "KeyError: 'x'",
            "During handling of the above exception, another exception occurred:",
            "Traceback (most recent call last):",
            '  File "a.py", line 3, in <module>',
            "ValueError: no x",
            "  an indented line of its own",
        ]
    ) == ["starting", "KeyError: 'x'", "ValueError: no x", "  an indented line of its own"]
