"""Whose answers the chat histories of runs contain, and what share of their prompts that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenswarm.analysis.read.prompts import RecordedPrompts, read_prompts
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.tables import PROMPTS_CSV

CORPUS = "corpus"


@dataclass(frozen=True, slots=True)
class Histories:
    """Of one run. `turns`: whose answers the histories contain (chat.assistant_turns). Characters of all prompts, of
    the earlier answers in them, and of the newest of these in each: the ones before stood in an earlier prompt.
    """

    turns: str
    chars: int
    answer_chars: int
    newest_chars: int


def histories(run: Run) -> Histories | None:
    """None if the run has no chat histories, or its prompts were not recorded."""
    scenarios = [*run.manifest.classes.values(), run.manifest.scenario]  # in a mix, the class that chats
    turns = next((each for own in scenarios if (each := own.table("chat").get("assistant_turns")) is not None), None)
    prompts = read_prompts(run.folder / PROMPTS_CSV) if turns is not None else None
    if prompts is None:
        return None
    total, answers, newest = _chars(prompts)
    return Histories(str(turns), total, answers, newest) if answers else None


def _chars(prompts: RecordedPrompts) -> tuple[int, int, int]:
    chars = prompts.messages.chars[prompts.sequence].astype(np.int64)
    answers = np.flatnonzero(prompts.messages.assistant[prompts.sequence])
    request = np.searchsorted(prompts.starts, answers, side="right")
    newest = answers[np.diff(request, append=-1) != 0]
    return int(chars.sum()), int(chars[answers].sum()), int(chars[newest].sum())


def history_notes(of_each_run: Sequence[Histories | None]) -> list[str]:
    """One sentence for the page if any of the runs has histories."""
    known = [each for each in of_each_run if each is not None]
    if not known:
        return []
    chars = sum(each.chars for each in known)
    share = sum(each.answer_chars for each in known) / chars
    newest = sum(each.newest_chars for each in known) / chars
    if {each.turns for each in known} == {CORPUS}:
        return [
            "Chat histories hold texts of the corpus in place of the engine's answers, so that the prompts of both "
            "sides are equal (chat.assistant_turns=corpus). A prefix cache cannot find such a text in the first prompt "
            f"that holds it, where it may find an answer of the engine's own. That concerns {newest:.0%} of the prompt "
            f"tokens, about; {share:.0%} are texts that stand for answers."
        ]
    return [
        "Chat histories hold the engine's own answers (chat.assistant_turns=engine), so that the prompts of the "
        f"sides drift apart: these answers are {share:.0%} of the prompt tokens, about."
    ]
