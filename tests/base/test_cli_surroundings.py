"""What surrounds a command: its arguments' encoding, Locust's variables."""

from __future__ import annotations

import pytest

from tokenswarm.base.environment import without_locust
from tokenswarm.cli import main


def test_an_argument_that_is_not_utf8_is_refused_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "--results", "bad\udcff"]) == 2
    assert "the argument 'bad\\udcff' is not UTF-8" in capsys.readouterr().err


def test_locusts_own_variables_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCUST_RUN_TIME", "1s")
    monkeypatch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
    monkeypatch.setenv("MODEL", "m")
    monkeypatch.setenv("TOKENSWARM_SESSION", "x")  # of another run
    monkeypatch.setenv("TOKENSWARM_LIVE_FD", "99")
    names = without_locust()
    assert names["MODEL"] == "m"
    assert not [name for name in names if name.startswith(("LOCUST_", "TOKENSWARM_SESSION", "TOKENSWARM_LIVE"))]
