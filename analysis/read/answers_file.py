"""The answers that a run kept, if it was asked to (`output.keep_answers`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenswarm.base.numbers import json_value
from tokenswarm.contract.tables import ANSWERS_JSONL, CUT_BY_LENGTH

_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t\r"} | {127: 0x2421}
"""Control characters as Unicode's pictures of them."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """One answer. `valid`: None if it was not checked. `cut`: only the beginning of its text was kept. `why`: what
    makes it invalid, if the check could say.
    """

    request_id: str
    document: str
    finish_reason: str
    valid: bool | None
    text: str
    cut: bool
    why: str = ""


def kept_answers(folder: Path, most: int) -> list[KeptAnswer]:
    """At most this many answers of a run folder: invalid ones first (those cut by length last among them). Empty if
    there are none; damaged lines are skipped.
    """
    try:
        lines = (folder / ANSWERS_JSONL).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    answers = [answer for line in lines if (answer := _answer(line)) is not None]
    return sorted(answers, key=_place)[:most]


def _place(answer: KeptAnswer) -> int:
    if answer.valid is not False:
        return 2
    return 1 if answer.finish_reason == CUT_BY_LENGTH else 0


def visible(text: str) -> str:
    """A text with a visible symbol for each control character, except line breaks and tabs."""
    return text.translate(_PICTURES)


def _answer(line: str) -> KeptAnswer | None:
    try:
        table = json_value(line)
    except ValueError:
        return None
    if not isinstance(table, dict) or not isinstance(table.get("text"), str):
        return None
    valid = table.get("valid_output")
    request_id, document, finish = (str(table.get(name) or "") for name in ("request_id", "document", "finish_reason"))
    return KeptAnswer(
        request_id,
        document,
        finish,
        valid if isinstance(valid, bool) else None,
        table["text"],
        table.get("cut") is True,
        str(table.get("why") or ""),
    )
