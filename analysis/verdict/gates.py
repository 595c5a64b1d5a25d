"""The results of a run's gates: how it came out, and the matching cases for CI.

A gate is met, missed or undetermined. Undetermined passes, unless judged strictly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.verdict.outcome import BY_NAME, INTERRUPTED, VALID, decide, facts_of_reasons
from tokenswarm.analysis.wording import bound_words, verdict_words

from tokenswarm.base.errors import Exit
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import Gate, OutcomeRecord, SloGate

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
_STATES = {
    strict: {"met": PASSED, "missed": FAILED, "undetermined": FAILED if strict else SKIPPED} for strict in (False, True)
}
_NOT_ENDED = ("began", "run_ended", "still_going")


@dataclass(frozen=True, slots=True)
class Case:
    """One CI test case: a gate, the run's validity, or that any request succeeded."""

    name: str
    state: str
    """passed | failed | skipped."""
    message: str


def judged(summary: Summary, strict: bool = False) -> OutcomeRecord:
    """How the run came out, as in `outcome` of summary.json."""
    gates: list[SloGate | Gate] = [*summary.slo, *baseline_gates(summary), *(summary.drift_gates or [])]
    states = {gate.state for gate in gates}
    facts = facts_of_reasons(
        (reason.verdict for reason in summary.reasons),
        missed="missed" in states,
        undetermined="undetermined" in states,
        strict=strict,
        cause=_cause(summary),
    )
    decision = decide(facts)
    outcome = decision.outcome
    blamed = [reason.sentence for reason in summary.reasons if reason.verdict == outcome.name]
    return OutcomeRecord(outcome.name, outcome.headline, int(decision.code), " ".join(blamed) or gates_sentence(gates))


def sentence_of(gate: SloGate | Gate) -> str:
    """The result of any gate: of an SLO, the baseline or drift."""
    return sentence(gate) if isinstance(gate, SloGate) else gate.sentence


def _cause(summary: Summary) -> int | None:
    """The exit code that the run recorded for ending early; that of an interruption if it recorded only that."""
    code = summary.run.ended_early.code
    return int(Exit.INTERRUPTED) if code is None and summary.run.status == INTERRUPTED else code


def gates_sentence(gates: Sequence[SloGate | Gate]) -> str:
    """`2 of 3 gates are met, 1 is undetermined`, and the first missed gate; never more than is known."""
    if not gates:
        return "The run is valid; it has no gates."
    count = {state: sum(gate.state == state for gate in gates) for state in ("met", "missed", "undetermined")}
    if count["met"] == len(gates):
        unsure = sum(isinstance(gate, SloGate) and not gate.certain for gate in gates)
        if len(gates) == 1:
            return f"The one gate is met{', not certain' if unsure else ''}."
        return f"All {len(gates)} gates are met{f', {unsure} of them not certain' if unsure else ''}."
    parts = [f"{n} {'is' if n == 1 else 'are'} {state}" for state, n in count.items() if n and state != "met"]
    met = f"{count['met'] or 'None'} of {_gates(len(gates))} {'is' if count['met'] < 2 else 'are'} met"
    first = next((f" {sentence_of(gate)}." for gate in gates if gate.state == "missed"), "")
    return f"{', '.join([met, *parts])}.{first}"


def _gates(n: int) -> str:
    return f"{n} gate{'' if n == 1 else 's'}"


def cases(summary: Summary, strict: bool = False) -> list[Case]:
    """The cases of a run, most serious first: whether it is complete and valid, whether requests succeed, then each
    gate.

    At least one fails exactly if the exit code is not 0.
    """
    outcome, counts = judged(summary, strict), summary.counts.measured
    valid = BY_NAME[outcome.name].verdict == VALID
    ended = "; ".join(reason.sentence for reason in summary.reasons if reason.rule in _NOT_ENDED)
    of_run = [
        Case("valid", PASSED if valid else FAILED, "VALID" if valid else f"{outcome.headline}: {outcome.sentence}"),
        Case("ended as planned", FAILED if ended else PASSED, ended or "the run went on to its end"),
        Case(
            "requests succeed",
            PASSED if counts.ok else FAILED,
            f"{counts.ok:,} ok, {counts.failed:,} failed, {counts.cancelled:,} cancelled",
        ),
    ]
    of_slo = [Case(f"slo.{gate.key}", _STATES[strict][gate.state], sentence(gate)) for gate in summary.slo]
    others = [
        Case(f"{name}.{gate.key}", _STATES[strict][gate.state], gate.sentence)
        for name, gates in (("baseline", baseline_gates(summary)), ("drift", summary.drift_gates or []))
        for gate in gates
    ]
    return [*of_run, *of_slo, *others]


def baseline_gates(summary: Summary) -> list[Gate]:
    """The gates against an earlier run; empty without a baseline."""
    return summary.baseline.gates if summary.baseline is not None else []


def sentence(gate: SloGate) -> str:
    """`TTFT p95: 512 ms (480 – 540), limit ≤ 400 ms: missed, 112 ms over`."""
    figure = gate.figure
    if figure.value is None:
        return f"{gate.title}: undetermined, {figure.why or 'not measured'}; limit {bound_words(gate)}"
    between = text.interval(figure)
    return (
        f"{gate.title}: {text.quantity(figure)}{f' ({between})' if between else ''}, limit "
        f"{bound_words(gate)}: {verdict_words(gate)}"
    )
