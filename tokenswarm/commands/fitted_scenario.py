"""`profile --scenario`: fits a synthetic scenario to recorded traffic, and reports how close it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import write_whole
from tokenswarm.base.toml_text import toml_text

if TYPE_CHECKING:
    from tokenswarm.analysis.traffic.columns import Traffic
    from tokenswarm.analysis.traffic.fit import Fit, FittedLaw
    from tokenswarm.analysis.traffic.workload_profile import TrafficProfile

MOST_REQUESTS = 5_000
"""Most requests used to check how close a fitted scenario is."""
_CONTEXT_STEP = 1024
_SLO = {"ttft_p95_ms": 1000, "tpot_p95_ms": 50, "error_rate": 0.01}


def write_scenario(path: Path, traffic: Traffic, source: str) -> tuple[list[str], TrafficProfile, TrafficProfile]:
    """Fit a scenario to the traffic, write it to `path`, and try it out without an engine.

    Returns (sentences on the fit, the profile of the recorded requests, that of as many synthetic ones), both of at
    most MOST_REQUESTS. Raises UserError: RESULTS if the file is there already or cannot be written, DATA if there is
    nothing to fit.
    """
    from tokenswarm.analysis.traffic.columns import first_requests
    from tokenswarm.analysis.traffic.fit import fit
    from tokenswarm.analysis.traffic.workload_profile import profile

    if path.exists():
        raise UserError(Exit.RESULTS, f"{path} already exists: name another file, or remove it")
    try:
        fitted = fit(traffic)
    except ValueError as error:
        raise UserError(Exit.DATA, f"no scenario can be fitted: {error}") from None
    write_whole(path, scenario_text(fitted, path.stem, source))
    recorded = first_requests(traffic, MOST_REQUESTS)
    return notes_of(fitted), profile(recorded), profile(_synthetic(path, recorded))


def _synthetic(path: Path, recorded: Traffic) -> Traffic:
    """The same number of requests from the scenario, with the recorded block size."""
    from dataclasses import replace

    from tokenswarm.analysis.traffic.columns import collect
    from tokenswarm.analysis.traffic.prompt_blocks import BYTES_PER_TOKEN, coarser
    from tokenswarm.scenario.loading import load_scenario
    from tokenswarm.workloads.corpus import load_corpus
    from tokenswarm.workloads.sample_requests import sample_requests

    scenario = load_scenario(str(path), {"prompts.chars_per_token": str(BYTES_PER_TOKEN)})
    made = collect(sample_requests(scenario, load_corpus(), len(recorded)))
    size = recorded.blocks.block_tokens if recorded.blocks is not None else None
    if made.blocks is not None and size is not None and size % made.blocks.block_tokens == 0:
        made = replace(made, blocks=coarser(made.blocks, size))
    return made


def scenario_text(fitted: Fit, name: str, source: str) -> str:
    """The scenario as TOML, without any prompt text. `source`: a description of what it was fitted to."""
    arrivals, shared = fitted.arrivals, fitted.beginnings
    load: dict[str, object] = {"duration_s": 60, "max_in_flight": 512, "drain_s": 60}
    if arrivals is not None:
        load = {"rate": arrivals.rate, "arrivals": arrivals.law, **load}
        if arrivals.law == "gamma":
            load["burstiness_cv"] = arrivals.cv
    answers = fitted.answer_tokens
    synthetic = {
        "popular": [{"share": each.share, "tokens": each.tokens} for each in shared.popular] if shared else [],
        "beginnings": max(1, shared.others) if shared else 1,
        "zipf_s": shared.zipf_s if shared else 0.0,
        "beginning_tokens": shared.tokens.law if shared else 1,
        "with_beginning": shared.share if shared else 0.0,
        "turns": fitted.turns.law,
        "first_tokens": fitted.first_tokens.law,
        "later_tokens": fitted.later_tokens.law if fitted.later_tokens else 1,
        "answer_tokens": answers.law if answers else 128,
    }
    context = -(-int(fitted.longest_tokens * 1.1) // _CONTEXT_STEP) * _CONTEXT_STEP
    return (
        f"# Fitted to {source} by `tokenswarm profile`: figures alone, no text of it.\n"
        "# The limits of [slo] are this project's defaults: set your own.\n"
    ) + toml_text(
        {
            "name": name,
            "title": f"As {source}",
            "description": "Sessions whose lengths, turns and shared beginnings are those of recorded traffic.",
            "locustfile": "synthetic.py",
            "workload": "synthetic",
            "load": load,
            "user": {"think_time_s": fitted.pause_s.law if fitted.pause_s else 0},
            "output": {"max_tokens": _longest(answers), "temperature": 0.0, "ignore_eos": True},
            "slo": _SLO,
            "prompts": {"state": "steady", "seed": 1, "salt": "run", "chars_per_token": "auto"},
            "synthetic": synthetic,
            "engine": {"context_length": context, "prefix_cache": True, "chunked_prefill": True},
        }
    )


def _longest(answers: FittedLaw | None) -> int:
    """The longest answer of a distribution, in tokens."""
    if answers is None:
        return 128
    if not isinstance(answers.law, dict):
        return max(1, round(float(answers.law)))
    values = answers.law.get("values")
    return max(1, round(max(values) if isinstance(values, list) else float(str(answers.law["max"]))))


def notes_of(fitted: Fit) -> list[str]:
    """Sentences about the fit for its readers."""
    notes = []
    if fitted.inferred:
        notes.append(
            "The file names no sessions: a request that begins with all of an earlier one is taken for its next turn."
        )
    if fitted.arrivals is None:
        notes.append("The file has no times: the scenario has no rate; set load.rate or load.users.")
    elif fitted.arrivals.law == "gamma":
        notes.append(
            "Arrivals are independent gaps with the spread on record: slow changes of the rate over hours are "
            "not in it."
        )
    if fitted.beginnings is None:
        notes.append("Nothing is known of what prompts share, or nothing is shared.")
    laws = {
        "turns": fitted.turns,
        "first_tokens": fitted.first_tokens,
        "later_tokens": fitted.later_tokens,
        "answer_tokens": fitted.answer_tokens,
        "pauses": fitted.pause_s,
    }
    far = {name: law.distance for name, law in laws.items() if law is not None and law.of > 1}
    if far:
        name = max(far, key=lambda each: far[each])
        notes.append(
            f"Of the distributions {name} is furthest from the record: by {far[name]:.3f} (Kolmogorov-Smirnov)."
        )
    return notes
