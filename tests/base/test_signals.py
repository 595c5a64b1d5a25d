"""Ctrl-C, SIGTERM, a closed terminal: graceful the first time, immediate the second, counted over the whole command."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tokenswarm.base import signals
from tokenswarm.base.signals import Interrupts, heeded, interrupt_by_any_signal


class Left(Exception):
    """The process would be gone."""


@pytest.fixture(autouse=True)
def stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def leave(code: int) -> None:
        raise Left(code)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(signals.os, "_exit", leave)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it is ignored where the tests run under nohup
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")]
)
def test_the_first_signal_asks_and_the_second_leaves(number: int, name: str) -> None:
    with Interrupts() as interrupts:
        asked: list[str] = []
        interrupts.on_first = lambda: asked.append("stop")
        send(number)
        assert (asked, interrupts.first_name) == (["stop"], name)
        with pytest.raises(Left):
            send(number)


def test_a_terminal_that_is_ignored_on_purpose_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert signal.SIGHUP not in heeded()
    with Interrupts() as interrupts:
        send(signal.SIGHUP)
        assert not interrupts.interrupted


def test_the_second_ctrl_c_leaves_also_where_the_first_came_to_a_part_that_has_ended() -> None:
    with Interrupts(require_double_ctrl_c=True) as outer:
        outer.on_first = lambda: None
        with Interrupts(require_double_ctrl_c=True) as inner:
            inner.on_first = lambda: None
            send(signal.SIGINT)
        assert (outer.interrupted, outer.first_at, outer.first_name) == (True, inner.first_at, "Ctrl-C")
        send(signal.SIGTERM)  # as CI systems send it a few seconds later
        with pytest.raises(Left):
            send(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_outside_a_run_any_of_them_interrupts_and_says_its_name(number: int) -> None:
    interrupt_by_any_signal()
    with pytest.raises(KeyboardInterrupt, match=signal.Signals(number).name):
        send(number)
