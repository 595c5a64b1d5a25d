"""How a run came out: headline, verdict and exit code, from one total function of the known facts.

Everything that reports an outcome (exit code, terminal, page, junit.xml, summary.md, comparison) uses it; the table in
docs/gates.md is generated from OUTCOMES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tokenswarm.base.errors import Exit

VALID, INCOMPLETE, INVALID, OVERLOADED = "VALID", "INCOMPLETE", "INVALID", "OVERLOADED"
UNCHECKED = "UNCHECKED"
"""The verdicts on figures, `verdict` of summary.json: only those of a VALID run can be relied on."""
COMPARABLE = frozenset({VALID, UNCHECKED})
"""Verdicts with which a run may enter a comparison, which mentions it if a run was not checked."""
COMPLETE, INTERRUPTED = "complete", "interrupted"
"""Values of `status` in run.json."""
NOTE = "NOTE"
"""For a reason that changes nothing."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The deciding facts. `cause`: the exit code in run.json for why it could not run, or ended early."""

    could_not_run: bool = False
    ended_early: bool = False
    incomplete: bool = False
    """Rows or the manifest are missing, or the run has not ended."""
    no_success: bool = False
    invalid: bool = False
    overloaded: bool = False
    unchecked: bool = False
    """Another tool measured it, and it is not known whether that tool kept up."""
    missed: bool = False
    """A gate was missed."""
    undetermined: bool = False
    """A gate is undetermined."""
    strict: bool = False
    """An undetermined gate does not pass."""
    cause: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One possible outcome of a run. `code`: its exit code, unless the run recorded its own `cause`."""

    name: str
    holds: Callable[[RunFacts], bool]
    when: str
    """In words, as in docs/gates.md."""
    code: Exit
    verdict: str
    tells_cause: bool = False

    @property
    def headline(self) -> str:
        return self.name.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A run's outcome and exit code."""

    outcome: Outcome
    code: Exit


OUTCOMES: tuple[Outcome, ...] = (
    Outcome(
        "COULD_NOT_RUN",
        lambda facts: facts.could_not_run,
        "the run ended before anything was measured, because something failed",
        Exit.LOAD_GENERATOR,
        INCOMPLETE,
        tells_cause=True,
    ),
    Outcome(
        "ENDED_EARLY",
        lambda facts: facts.ended_early,
        "it was interrupted, given up, or its process died",
        Exit.ENDED_EARLY,
        INCOMPLETE,
        tells_cause=True,
    ),
    Outcome(
        "INCOMPLETE",
        lambda facts: facts.incomplete,
        "rows or `run.json` are missing, or the run is still going",
        Exit.INCOMPLETE,
        INCOMPLETE,
    ),
    Outcome(
        "NO_SUCCESS",
        lambda facts: facts.no_success,
        "no request succeeded, also where none ended",
        Exit.REQUESTS_FAILED,
        INCOMPLETE,
    ),
    Outcome(
        "INVALID",
        lambda facts: facts.invalid,
        "the load generator spoilt a headline or gated figure",
        Exit.INVALID,
        INVALID,
    ),
    Outcome(
        "OVERLOADED",
        lambda facts: facts.overloaded,
        "the engine did not keep up with the arrivals, so figures depend on how long the run was",
        Exit.OVERLOADED,
        OVERLOADED,
    ),
    Outcome(
        "UNCHECKED",
        lambda facts: facts.unchecked,
        "another tool measured the run, and it is not known whether its load generator kept up",
        Exit.UNDETERMINED,
        UNCHECKED,
    ),
    Outcome("SLO_MISSED", lambda facts: facts.missed, "a gate is missed", Exit.SLO_MISSED, VALID),
    Outcome(
        "UNDETERMINED",
        lambda facts: facts.undetermined and facts.strict,
        "a gate is undetermined, and STRICT=1",
        Exit.UNDETERMINED,
        VALID,
    ),
    Outcome("PASSED", lambda facts: True, "none of these", Exit.PASSED, VALID),
)
"""Most serious first: the first that applies is the run's outcome."""
BY_NAME = {outcome.name: outcome for outcome in OUTCOMES}
_VERDICT_CODES = frozenset(outcome.code for outcome in OUTCOMES if not outcome.tells_cause)


def decide(facts: RunFacts) -> Conclusion:
    """The outcome of a run. Total: every combination of facts has one, and only a flawless run is PASSED."""
    outcome = next(each for each in OUTCOMES if each.holds(facts))
    return Conclusion(outcome, _code(outcome, facts.cause))


def _code(outcome: Outcome, cause: int | None) -> Exit:
    """The recorded cause, if it is the code of a cause: a wrong entry must not turn a flaw into a pass."""
    known = next((code for code in Exit if code == cause), None)
    return known if outcome.tells_cause and known is not None and known not in _VERDICT_CODES else outcome.code


def facts_of_reasons(verdicts: Iterable[str], **further: Any) -> RunFacts:
    """The facts that follow from the verdicts of reasons; `further`: the others, as in `RunFacts`."""
    named = set(verdicts)
    return RunFacts(
        could_not_run="COULD_NOT_RUN" in named,
        ended_early="ENDED_EARLY" in named,
        incomplete="INCOMPLETE" in named,
        no_success="NO_SUCCESS" in named,
        invalid="INVALID" in named,
        overloaded="OVERLOADED" in named,
        unchecked="UNCHECKED" in named,
        **further,
    )
