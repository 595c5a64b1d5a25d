"""Sessions that are already under way when a run begins.

At any moment, the users of a service are in the middle of a session, more likely of a long one than of a short one: the
length of such a session is length-biased, and its age is uniform within it (the inspection paradox of renewal theory;
Cox, Renewal Theory, 1962, section 5.4). A run in which all users begin a session at once would serve young sessions
first and old ones later, and its figures would depend on its duration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

from tokenswarm.base.tool_call import ToolCall
from tokenswarm.workloads.base import BEFORE, Prompt, Session, Workload, rng_for

CANDIDATES = 8
"""Number of sessions from which one is drawn in proportion to its turns. More would be closer to the law and cost more.
"""
_MOST_TURNS = 200
"""Most turns to look at, since a user-written session may be endless."""


def under_way(workload: Workload, number: int, at_s: float, answer_tokens: float) -> Session:
    """The session that user `number` is in the middle of when it arrives, `at_s` seconds after the run's start. Its
    earlier turns were never sent; their answers are corpus texts of at most `answer_tokens` tokens. If sessions have
    only one turn, this is an ordinary session.
    """
    rng = rng_for(workload.seed, BEFORE, "age", number)
    sessions = [Joined(workload, number * CANDIDATES + place, at_s, answer_tokens) for place in range(CANDIDATES)]
    lengths = [session.length() for session in sessions]
    if max(lengths) == 0:
        return sessions[0]
    chosen = rng.choices(sessions, weights=lengths)[0]
    chosen.skip(rng.randrange(chosen.length()))
    return chosen


class Joined(Session):
    """A session of the workload, starting from some turn."""

    def __init__(self, workload: Workload, number: int, at_s: float, answer_tokens: float) -> None:
        super().__init__(BEFORE, number)
        self._whole = workload.session_at(BEFORE, number, at_s)
        self.conversation, self.turns = self._whole.conversation, self._whole.turns
        self._workload, self._source = workload, (workload.seed, BEFORE, number, "unsent answers")
        self._answer_tokens = answer_tokens
        self._skipped = 0

    def length(self) -> int:
        """Turns of the whole session. If unknown: its turns with corpus answers."""
        if self._whole.turns is not None:
            return self._whole.turns
        rng, count = rng_for(*self._source), 0
        for prompt in islice(self._whole, _MOST_TURNS):
            self._answer(prompt, rng)
            count += 1
        return count

    def skip(self, turns: int) -> None:
        """Skip the first `turns`."""
        self._skipped = turns
        if self._whole.turns is not None:
            self.turns = self._whole.turns - turns

    def record_answer(self, answer: str, calls: Sequence[ToolCall] = ()) -> None:
        """See `Session`."""
        self._whole.record_answer(answer, calls)

    def sub_sessions(self) -> Sequence[Session]:
        """See `Session`."""
        return self._whole.sub_sessions()

    def __iter__(self) -> Iterator[Prompt]:
        self._whole.record_answer("")
        rng, prompts = rng_for(*self._source), iter(self._whole)
        for prompt in islice(prompts, self._skipped):
            self._answer(prompt, rng)
        yield from prompts

    def _answer(self, prompt: Prompt, rng: Random) -> None:
        tokens = prompt.max_tokens or self._answer_tokens
        self._whole.record_unsent(self._workload.lengths.excerpt(self._workload.corpus, rng, tokens))
