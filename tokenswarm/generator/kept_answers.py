"""A sample of answers that a run keeps on request (`output.keep_answers`): invalid ones first."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping

from tokenswarm.base.masking import masked
from tokenswarm.client.answer import Answer
from tokenswarm.contract.tables import CUT_BY_LENGTH

KEPT_CHARS = 4000
"""Longest kept text of an answer; longer ones are cut."""


class KeptAnswers:
    """The answers that a process keeps of the measure phase: the first `most` invalid ones, with those cut by length
    last, since they show only that; then valid ones, as far as there is room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._invalid: list[str] = []
        self._cut: list[str] = []
        self._others: list[str] = []

    def add(
        self,
        row: Mapping[str, object],
        answer: Answer,
        keys: Collection[str],
        why: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Consider an answer, whose row is `row`. Known keys are masked. `why` returns what makes it invalid."""
        if not self._most or row["phase"] != "measure" or not answer.ok:
            return
        kept = self._others
        if row["valid_output"] is False:
            kept = self._cut if row["finish_reason"] == CUT_BY_LENGTH else self._invalid
        if len(kept) >= self._most:
            return
        names = ("request_id", "user_class", "document", "finish_reason", "valid_output", "completion_tokens")
        text = masked(answer.text, tuple(keys))
        line = {name: row[name] for name in names}
        if row["valid_output"] is False:
            line["why"] = masked(why() or "", tuple(keys)) or None
        kept.append(json.dumps({**line, "text": text[:KEPT_CHARS], "cut": len(text) > KEPT_CHARS}) + "\n")

    def lines(self) -> list[str]:
        """The kept answers, invalid ones first, as JSON lines."""
        return [*self._invalid, *self._cut, *self._others][: self._most]
