"""Checks whether the engine enforces the constraint of the requests. Several engines accept the field and ignore it.

Sends a schema together with a prompt that argues against it: an engine that answers in free text does not enforce it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenswarm.base.bounded_patterns import TooSlow
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.foreign import printable
from tokenswarm.base.masking import masked
from tokenswarm.client.answer import Answer
from tokenswarm.generator.new_run import fresh_salt
from tokenswarm.run.first_request import LoadToCheck, error_words, send_alone
from tokenswarm.workloads import create
from tokenswarm.workloads.base import Prompt

_WORDS_CHARS = 200


@dataclass(frozen=True, slots=True)
class Enforcement:
    """The result: None if there is nothing to enforce or if it is unknown, which a note says. `words`: the answer if it
    is not enforced."""

    enforced: bool | None = None
    words: str = ""
    notes: tuple[str, ...] = ()


def enforcement(load: LoadToCheck, ask: Callable[[LoadToCheck, Prompt], Answer] = send_alone) -> Enforcement:
    """Send each prompt until a constraint is not enforced. Raises UserError (ENDPOINT) if the engine rejects the
    constraint."""
    prompts = create(load.scenario, load.corpus, load.scenario.prompts.seed, fresh_salt()).argued_against()
    each = Enforcement()
    notes: list[str] = []
    enforced = False
    for prompt in prompts:
        each = _of(load, prompt, ask(load, prompt))
        if each.enforced is False:
            return each
        enforced = enforced or each.enforced is True
        notes += each.notes
    return Enforcement(True if enforced else None, notes=tuple(dict.fromkeys(notes)))


def _of(load: LoadToCheck, prompt: Prompt, answer: Answer) -> Enforcement:
    """The result of one answer. The prompt's conversation names the kind of constraint: `check regex`."""
    kind = prompt.conversation.partition(" ")[2]
    if not answer.ok:
        why = error_words(load, answer, _WORDS_CHARS) or answer.error
        status = f" ({answer.http_status})" if answer.http_status not in (None, 200) else ""
        raise UserError(
            Exit.ENDPOINT,
            f"{load.endpoint.url} refuses the constraint of scenario {load.scenario.name}"
            f"{f', {kind}' if kind else ''}{status}: {why}",
        )
    if not answer.text.strip():
        return Enforcement(
            notes=(
                "Whether the engine enforces constraints could not be determined: its answer to the check "
                "before the load held no text" + (", only reasoning." if answer.reasoning else "."),
            )
        )
    try:
        if prompt.check is None or prompt.check(answer.text):
            return Enforcement(True)
    except TooSlow as slow:
        return Enforcement(notes=(f"Whether the engine enforces constraints could not be determined: {slow}.",))
    words = printable(masked(" ".join(answer.text.split()), load.keys), _WORDS_CHARS)
    return Enforcement(False, f"{kind}: {words}" if kind else words)
