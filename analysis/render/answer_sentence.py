"""What a run answers, in one sentence: the load at which it met its objectives, and the objective closest to its
limit.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.verdict.outcome import VALID

from tokenswarm.base.numbers import load_number
from tokenswarm.base.sentences import in_a_row
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import SloGate

_HEADLINES = (("ttft_ms", "p95"), ("e2e_ms", "p95"))
"""Shown for a run without objectives."""


def answer(summary: Summary) -> str:
    """The sentence at the top of the page; empty if the run is not VALID, because its figures then answer nothing."""
    if summary.verdict != VALID:
        return ""
    if not summary.slo:
        return _without_objectives(summary)
    return _by_level(summary) if summary.levels else _of_one_load(summary.slo, _load(summary))


def _load(summary: Summary) -> str:
    """`at 16 users`, `at 4 requests/s`."""
    load = summary.run.load
    if load.mode == "open" and load.rate is not None:
        return f"at {load_number(load.rate)} requests/s"
    if load.users is not None:
        return f"at {load.users:g} user{'' if load.users == 1 else 's'}"
    return "under this load"


def _without_objectives(summary: Summary) -> str:
    parts = []
    for key, percentile in _HEADLINES:
        figure, latency = summary.percentile(key, percentile), METRICS.latency(key)
        if figure.value is not None and latency is not None:
            parts.append(f"{latency.title} {percentile} {text.quantity(figure)}")
    rate = summary.rates.get("output_tok_s")
    if rate is not None and rate.value is not None:
        parts.append(f"{text.quantity(rate)} of output")
    at = _load(summary)
    figures = f" {at[0].upper()}{at[1:]}: {', '.join(parts)}." if parts and not summary.levels else ""
    return f"No objective was set, so nothing is met or missed.{figures}"


def _of_one_load(gates: Sequence[SloGate], at: str) -> str:
    missed = [gate for gate in gates if gate.state == "missed"]
    open_ones = [gate for gate in gates if gate.state == "undetermined"]
    unsure = [gate for gate in gates if gate.state == "met" and not gate.certain]
    if missed:
        first = max(missed, key=lambda gate: (gate.certain, -(gate.margin or 0.0)))
        others = f"; misses {_names([gate for gate in missed if gate is not first])} too" if len(missed) > 1 else ""
        certain = "" if any(gate.certain for gate in missed) else "; this is not certain"
        return (
            f"Misses {first.title} {at}: {text.quantity(first.figure)} against a limit of "
            f"{text.limit(first.limit, first.unit)}{others}{certain}."
        )
    if open_ones:
        why = open_ones[0].figure.why
        return (
            f"Misses no objective {at}, but {_names(open_ones)} {'is' if len(open_ones) == 1 else 'are'} "
            f"undetermined{f': {why}' if why and len(open_ones) == 1 else ''}."
        )
    nearest = _nearest(gates)
    if unsure:
        all_met = "Meets its objective" if len(gates) == 1 else f"Meets all {len(gates)} objectives"
        more = f"; {nearest}" if nearest else ""
        return f"{all_met} {at}, but {_names(unsure)} {'is' if len(unsure) == 1 else 'are'} not certain{more}."
    return f"Meets all SLOs {at}{f'; {nearest}' if nearest else ''}."


def _nearest(gates: Sequence[SloGate]) -> str:
    """`nearest to its limit: TPOT p95, 79% to spare`."""
    known = [gate for gate in gates if gate.margin is not None]
    if not known:
        return ""
    gate = min(known, key=lambda each: each.margin or 0.0)
    return f"nearest to its limit: {gate.title}, {_share(gate.margin or 0.0)} to spare"


def _share(margin: float) -> str:
    return f"{100 * margin:.0f}%" if margin >= 0.1 or margin == 0.0 else f"{100 * margin:.1f}%"


def _by_level(summary: Summary) -> str:
    """The load levels that met all their objectives, and what the first of the others missed."""
    gates = {level.number: [gate for gate in summary.slo if gate.level == level.number] for level in summary.levels}
    judged = [level for level in summary.levels if gates[level.number]]
    met = [level for level in judged if all(gate.state == "met" for gate in gates[level.number])]
    failed = next((level for level in judged if any(gate.state == "missed" for gate in gates[level.number])), None)
    if failed is None and len(met) == len(judged):
        unsure = any(not gate.certain for level in judged for gate in gates[level.number])
        return f"Meets all SLOs at each of its {len(judged)} levels{', not certain at every one' if unsure else ''}."
    kept = (
        f"Meets all SLOs at {in_a_row([text.level_words(level) for level in met], 'and')}"
        if met
        else "Meets all SLOs at no level"
    )
    if failed is None:
        return f"{kept}; the other levels are undetermined."
    titles = [gate.title.partition(": ")[2] for gate in gates[failed.number] if gate.state == "missed"]
    return f"{kept}; the first to miss is {text.level_words(failed)}: {in_a_row(titles, 'and')}."


def _names(gates: Sequence[SloGate]) -> str:
    return in_a_row([gate.title for gate in gates], "and")


def steady_remarks(summary: Summary) -> list[str]:
    """What is said of the measured phase's beginning: what was cut off; of a VALID run in which nothing was found, what
    so few requests cannot show."""
    steady = summary.steady_part
    reach = steady.reach if summary.verdict == VALID else None
    return [each for each in (steady.sentence, reach) if each]
