"""Whether the prefix cache was emptied before a load is known and reported, and never ends a run."""

from __future__ import annotations

import pytest

from tests.engines.helpers import fake_description
from tokenswarm.contract.manifest import CacheResetRecord
from tokenswarm.engines.cache_reset import reset_cache, reset_note
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.management_http import HttpReply, Unreachable


class Answering(Engine):
    """An engine that gives these answers to a reset, the last one again and again."""

    def __init__(self, *replies: HttpReply | Unreachable) -> None:
        super().__init__("http://127.0.0.1:1", fake_description())
        self._replies = list(replies)
        self.asked = 0

    def request(self, *_: object, **__: object) -> HttpReply:
        self.asked += 1
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if isinstance(reply, Unreachable):
            raise reply
        return reply


def said(status: int, body: bytes = b"") -> HttpReply:
    return HttpReply(status, {}, body)


YES, BUSY = said(200, b'{"success": true}'), said(200, b'{"success": false}')


def test_an_emptied_cache_needs_no_words() -> None:
    outcome = reset_cache(Answering(YES), True)
    assert (outcome.done, outcome.detail) == (True, "")
    assert reset_note(outcome, True, "a1", fresh=True) is None


def test_busy_is_waited_out_by_reading_the_body() -> None:
    engine = Answering(BUSY, YES)
    assert reset_cache(engine, True).done is True
    assert engine.asked == 2


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (said(404), "answered 404"),
        (said(401), "answered 401"),
        (said(500), "answered 500"),
        (BUSY, "still busy"),
        (Unreachable("connection refused"), "connection refused"),
    ],
)
def test_a_refusal_is_told_and_nothing_more(reply: HttpReply | Unreachable, expected: str) -> None:
    engine = Answering(reply)
    outcome = reset_cache(engine, True, wait_s=0)
    assert outcome.done is False
    assert expected in outcome.detail
    assert engine.notes == []
    assert expected in reset_note(outcome, True, "a1", fresh=True)


def test_it_is_left_alone_where_nobody_wants_it_emptied() -> None:
    engine = Answering(YES)
    outcome = reset_cache(engine, False)
    assert (outcome.done, engine.asked) == (False, 0)
    assert reset_note(outcome, False, "a1", fresh=True) is None


def test_an_unknown_engine_is_not_asked() -> None:
    assert "not one that tokenswarm knows" in reset_cache(Engine("http://127.0.0.1:1", None), True).detail


@pytest.mark.parametrize(
    ("salt", "fresh", "expected"),
    [
        ("a1", True, "Prompts are new in this run"),
        ("mine", False, "With the fixed prompts.salt of this run, prompts may find there"),
        ("", False, "With the empty prompts.salt"),
    ],
)
def test_what_follows_for_the_run_depends_on_its_salt(salt: str, fresh: bool, expected: str) -> None:
    outcome = CacheResetRecord(False, "busy.", 1.0)
    assert expected in reset_note(outcome, True, salt, fresh)
