"""What a run's gates come to: cases for CI, and the exit state.

A gate is met, missed or undetermined. Undetermined passes, unless it is judged strictly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.wording import bound_words, verdict_words

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
_STATES = {strict: {"met": PASSED, "missed": FAILED, "undetermined": FAILED if strict else SKIPPED}
           for strict in (False, True)}
_NOT_ENDED = ("run_ended", "still_going")


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that CI counts: a gate, the run's validity, or that requests succeed at all."""

    name: str
    state: str
    """passed | failed | skipped."""
    message: str


def cases(summary: Mapping[str, Any], strict: bool = False) -> list[Case]:
    """The cases of a run, gravest first: whether it is whole and valid, whether requests succeed, then each gate."""
    verdict, counts = summary["verdict"], summary["counts"]["measured"]
    reasons = "; ".join(reason["sentence"] for reason in summary["reasons"] if reason["verdict"] == verdict)
    ended = "; ".join(reason["sentence"] for reason in summary["reasons"] if reason["rule"] in _NOT_ENDED)
    found = [
        Case("valid", PASSED if verdict == "VALID" else FAILED, f"{verdict}{': ' + reasons if reasons else ''}"),
        Case("ended as planned", FAILED if ended else PASSED, ended or "the run went on to its end"),
        Case("requests succeed", PASSED if counts["ok"] or not counts["sent"] else FAILED,
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


def missed(summary: Mapping[str, Any], strict: bool = False) -> bool:
    """Whether any gate is missed (or undetermined, if judged strictly), those of baseline and drift too."""
    bad = ("missed", "undetermined") if strict else ("missed",)
    return any(gate["state"] in bad for gate in (*summary["slo"], *baseline_gates(summary), *_drift(summary)))
