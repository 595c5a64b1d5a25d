"""What is known about a claim before it is run: its record, the planned runs, and the estimated time."""

from __future__ import annotations

from collections.abc import Sequence

from tokenswarm.claim_checks.claim import SPEED, Claim, load_sources
from tokenswarm.claim_checks.machine import Machine, missing
from tokenswarm.contract.claims_record import ClaimRecord, ClaimSource
from tokenswarm.engines import load_description

_START_S, _AROUND_RUN_S, _REQUEST_S, _CHECK_S = 120.0, 75.0, 6.0, 20.0
"""Times for estimates: a start, the overhead of a run, one long answer, a check."""


def record_of(claim: Claim, machine: Machine) -> ClaimRecord:
    """The record of a claim before any run."""
    known = load_sources()
    sources = [
        ClaimSource(each.source, source.title, source.url, source.date, source.setup, each.figure, each.ratio)
        for each in claim.published
        if (source := known.get(each.source)) is not None
    ]
    expect, needs = claim.expect, claim.needs
    on_gpu = bool(needs.gpus) or claim.kind == SPEED
    hardware = f"{max(needs.gpus, 1)} x {needs.gpu or 'any GPU'}" if on_gpu else "a CPU will do"
    words = ", ".join(part for part in (titles(needs.engines), hardware, needs.model) if part)
    return ClaimRecord(
        name=claim.name,
        title=claim.title,
        kind=claim.kind,
        sentence=claim.sentence,
        sources=sources,
        needs=words,
        how=how(claim),
        figure=expect.figure,
        of=expect.of,
        region=[expect.at_least, expect.at_most],
        reading=expect.reading,
        command="" if needs.lacks else f"make claims ONLY={claim.name}",
        estimate_s=estimate_s(claim),
        missing=missing(claim, machine),
        contradicts=list(claim.contradicts),
    )


def titles(engines: Sequence[str]) -> str:
    """Engine titles, as on all pages: `vLLM and SGLang`."""
    return " and ".join(load_description(name).title for name in engines)


def how(claim: Claim) -> str:
    """A description of what is run."""
    run = claim.run
    sides = " and ".join(
        dict.fromkeys(
            f"{titles([side.engine])}{f' with {side.set}' if side.set else ''}"
            for side in (run.a, run.b)
            if side is not None
        )
    )
    pairs = f"{run.repeats} pairs of runs of {sides}, scenario {run.scenario}, {run.duration_s:g} s each"
    where = f", {run.set}" if run.set else ""
    if run.by == "oneshot":
        context = f" after {run.context_tokens:,} tokens of context" if run.context_tokens else ""
        return f"one prompt{context}, {run.max_tokens} tokens, {run.repeats} repeats, fresh and cached{where}"
    if run.by == "start":
        return f"{run.repeats} starts{where}"
    if run.by == "check":
        return f"the check {run.check} on each engine{where}"
    if run.by == "sweep":
        return f"{pairs}{where}, at each of: {'; '.join(run.points)}"
    return f"{pairs}{where}"


def estimate_s(claim: Claim) -> float:
    """The estimated time for a claim, in seconds."""
    run, engines = claim.run, len(claim.needs.engines)
    if run.by == "check":
        return engines * (_START_S + _CHECK_S)
    if run.by == "start":
        return engines * run.repeats * _START_S
    if run.by == "oneshot":
        return engines * (_START_S + run.repeats * (4 if run.context_tokens else 2) * _REQUEST_S)
    series = 2 * run.repeats * (run.duration_s + _AROUND_RUN_S) + (run.repeats + 1) * _START_S
    return series * max(len(run.points), 1)
