"""What a run's gates come to: how it came out, and cases for CI that say the same.

A gate is met, missed or undetermined. Undetermined passes, unless it is judged strictly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.verdict.outcome import BY_NAME, INTERRUPTED, VALID, decide, facts_of_reasons
from tokenswarm.analysis.wording import bound_words, verdict_words

from tokenswarm.base.errors import Exit

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
_STATES = {strict: {"met": PASSED, "missed": FAILED, "undetermined": FAILED if strict else SKIPPED}
           for strict in (False, True)}
_NOT_ENDED = ("began", "run_ended", "still_going")


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that CI counts: a gate, the run's validity, or that requests succeed at all."""

    name: str
    state: str
    """passed | failed | skipped."""
    message: str


def judged(summary: Mapping[str, Any], strict: bool = False) -> dict[str, Any]:
    """How the run came out, as `outcome` of summary.json tells it: its name, its headline, the exit code, and why."""
    gates = [*summary["slo"], *baseline_gates(summary), *_drift(summary)]
    states = {gate["state"] for gate in gates}
    facts = facts_of_reasons((reason["verdict"] for reason in summary["reasons"]), missed="missed" in states,
                             undetermined="undetermined" in states, strict=strict, cause=_cause(summary))
    decision = decide(facts)
    outcome = decision.outcome
    blamed = [reason["sentence"] for reason in summary["reasons"] if reason["verdict"] == outcome.name]
    return {"name": outcome.name, "headline": outcome.headline, "code": int(decision.code),
            "sentence": " ".join(blamed) or gates_sentence(gates)}


def sentence_of(gate: Mapping[str, Any]) -> str:
    """What any gate, of an SLO, the baseline or drift, came to."""
    return gate["sentence"] if "sentence" in gate else sentence(gate)


def _cause(summary: Mapping[str, Any]) -> int | None:
    """The exit code that the run itself gave for ending early; that of an interruption where it tells that alone."""
    code = (summary["run"]["ended_early"] or {}).get("code")
    if code is None and summary["run"]["status"] == INTERRUPTED:
        return int(Exit.INTERRUPTED)
    return code if isinstance(code, int) else None


def gates_sentence(gates: Sequence[Mapping[str, Any]]) -> str:
    """`2 of 3 gates are met, 1 is undetermined`, and the first that is missed; never more than is known."""
    if not gates:
        return "The run is valid; it has no gates."
    count = {state: sum(gate["state"] == state for gate in gates) for state in ("met", "missed", "undetermined")}
    if count["met"] == len(gates):
        return "The one gate is met." if len(gates) == 1 else f"All {len(gates)} gates are met."
    parts = [f"{n} {'is' if n == 1 else 'are'} {state}" for state, n in count.items() if n and state != "met"]
    met = f"{count['met'] or 'None'} of {_gates(len(gates))} {'is' if count['met'] < 2 else 'are'} met"
    first = next((f" {sentence_of(gate)}." for gate in gates if gate["state"] == "missed"), "")
    return f"{', '.join([met, *parts])}.{first}"


def _gates(n: int) -> str:
    return f"{n} gate{'' if n == 1 else 's'}"


def cases(summary: Mapping[str, Any], strict: bool = False) -> list[Case]:
    """The cases of a run, gravest first: whether it is whole and valid, whether requests succeed, then each gate.

    One of them fails exactly where the exit code is not 0."""
    outcome, counts = judged(summary, strict), summary["counts"]["measured"]
    valid = BY_NAME[outcome["name"]].verdict == VALID
    told = "VALID" if valid else f"{outcome['headline']}: {outcome['sentence']}"
    ended = "; ".join(reason["sentence"] for reason in summary["reasons"] if reason["rule"] in _NOT_ENDED)
    found = [
        Case("valid", PASSED if valid else FAILED, told),
        Case("ended as planned", FAILED if ended else PASSED, ended or "the run went on to its end"),
        Case("requests succeed", PASSED if counts["ok"] else FAILED,
             f"{counts['ok']:,} ok, {counts['failed']:,} failed, {counts['cancelled']:,} cancelled"),
    ]
    found += [_gate(gate, strict) for gate in summary["slo"]]
    for name, gates in (("baseline", baseline_gates(summary)), ("drift", _drift(summary))):
        found += [Case(f"{name}.{gate['key']}", _STATES[strict][gate["state"]], gate["sentence"]) for gate in gates]
    return found


def baseline_gates(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The gates against an earlier run; none where there was no baseline."""
    return (summary.get("baseline") or {}).get("gates", [])


def _drift(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    return summary.get("drift_gates") or []


def _gate(gate: Mapping[str, Any], strict: bool) -> Case:
    return Case(f"slo.{gate['key']}", _STATES[strict][gate["state"]], sentence(gate))


def sentence(gate: Mapping[str, Any]) -> str:
    """`TTFT p95: 512 ms (480 – 540), limit <= 400 ms: missed by 28%`."""
    figure = gate["figure"]
    if figure["value"] is None:
        return f"{gate['title']}: undetermined, {figure.get('why') or 'not measured'}; limit {bound_words(dict(gate))}"
    between = text.interval(figure)
    return (f"{gate['title']}: {text.quantity(figure)}{f' ({between})' if between else ''}, limit "
            f"{bound_words(dict(gate))}: {verdict_words(dict(gate))}")
