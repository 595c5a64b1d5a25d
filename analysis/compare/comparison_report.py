"""From run folders to the whole content of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
from tokenswarm.analysis.compare import rule_of_thumb
from tokenswarm.analysis.compare.ab_test import USUAL_RULES, Rules
from tokenswarm.analysis.compare.by_class import compare_classes
from tokenswarm.analysis.compare.comparison import Result, Verdict, as_dict, compare, in_pairs, judge
from tokenswarm.analysis.compare.groups import (
    Groups,
    SetupDifference,
    named_groups,
    refuse_unlike,
    setup_differences,
    shared_settings,
    split,
    unfair,
    with_equal_clocks,
)
from tokenswarm.analysis.compare.histories import Histories, histories, history_notes
from tokenswarm.analysis.compare.noise import pair_noise_words
from tokenswarm.analysis.compare.side_names import engine_name
from tokenswarm.analysis.figures.quantities import is_ok, latency_of
from tokenswarm.analysis.figures.statistics import interpolate
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import recorded_notes, summarise
from tokenswarm.analysis.wording import load_sentence

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.metric import Place
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.summary_file import refuse_newer_summary
from tokenswarm.contract.summary.summary_record import Summary

QUANTILES = np.unique(np.concatenate([np.linspace(0, 95, 96), np.linspace(95, 100, 51)]))
"""Points of a drawn distribution, in percent: denser in the tail."""


@dataclass(frozen=True)
class Member:
    """What is kept of one run: its summary, its distributions (ms at QUANTILES), its contribution to the workload's
    traits.
    """

    folder: Path
    summary: Summary
    curves: dict[str, np.ndarray]
    totals: rule_of_thumb.Totals
    engine_table: dict[str, object]
    noted: list[str]
    histories: Histories | None


@dataclass(frozen=True)
class Comparison:
    """The whole content of the page."""

    groups: Groups
    members: dict[str, Member]
    results: list[Result]
    classes: dict[str, list[Result]]
    """The same for each user class of a mix; empty if there is only one."""
    verdict: Verdict
    advice: rule_of_thumb.Advice | None
    agreement: str
    unfair: list[str]
    notes: list[str]
    """What the runs themselves noted about their set-up, each sentence once."""
    setup: list[SetupDifference]
    rules: Rules

    @property
    def simulated(self) -> bool:
        return bool(self.groups.a[0].simulated)


def curve_titles() -> dict[str, str]:
    """The latencies whose distributions are drawn: key to title."""
    return {latency.key: latency.title for latency in METRICS.latencies_at(Place.CURVES)}


def read_member(folder: str | Path) -> Member:
    """Read and reduce one run. Raises UserError(RUN_FOLDER)."""
    refuse_newer_summary(Path(folder))
    run = read_run(folder)
    summary = summarise(run)
    curves, ok = {}, is_ok(run.measured)
    for latency in METRICS.latencies_at(Place.CURVES):
        values = latency_of(latency, run.measured)[ok]
        known = np.sort(values[~np.isnan(values)])
        if len(known):
            curves[latency.key] = interpolate(known, QUANTILES)
    return Member(
        Path(folder),
        summary,
        curves,
        rule_of_thumb.totals(run.measured, summary.run.window.seconds),
        run.manifest.scenario.table("engine"),
        recorded_notes(run),
        histories(run),
    )


def _notes(members: Sequence[Member]) -> list[str]:
    """Notes such as that an engine ran on a CPU, or which settings it ignored.

    Notes on one run's intervals are left out: here the spread between runs counts.
    """
    notes = list(dict.fromkeys(note for member in members for note in member.noted))
    return [*notes, *history_notes([member.histories for member in members])]


def compare_runs(
    runs: Sequence[str | Path] = (),
    *,
    a: Sequence[str | Path] = (),
    b: Sequence[str | Path] = (),
    labels: tuple[str | None, str | None] = (None, None),
    fleet: rule_of_thumb.Fleet | None = None,
    rules: Rules = USUAL_RULES,
) -> Comparison:
    """Compare `runs`, which are grouped by how they differ, or the runs of `a` with those of `b`.

    Raises UserError: USAGE if the runs do not form two groups, INVALID if a group has no runs left.
    """
    if bool(runs) == bool(a or b) or bool(a) != bool(b):
        raise UserError(Exit.USAGE, "give run folders to compare: RUN RUN ..., or --a RUN ... --b RUN ...")
    members = {}
    for folder in [*runs, *a, *b]:
        member = read_member(folder)
        if member.summary.run_id in members:
            raise UserError(Exit.USAGE, f"the run {member.summary.run_id} is given twice")
        members[member.summary.run_id] = member
    summaries = [member.summary for member in members.values()]
    groups = split(summaries) if runs else named_groups(summaries[: len(a)], summaries[len(a) :], *labels)
    refuse_unlike(groups)
    if not rules.any_clocks:
        groups = with_equal_clocks(groups)
    groups.a.sort(key=lambda summary: summary.run.started_at or "")
    results = compare(groups.a, groups.b, rules)
    used = [members[summary.run_id] for summary in (*groups.a, *groups.b)]
    open_loop = any(member.summary.run.load.mode == "open" for member in used)
    verdict = judge(results, groups.label_a, groups.label_b, open_loop, rules)
    advice, agreement = _thumb(groups, verdict, used, fleet or rule_of_thumb.Fleet())
    engine_table = {key: value for member in used for key, value in member.engine_table.items()}
    return Comparison(
        groups,
        members,
        results,
        compare_classes(groups.a, groups.b, rules),
        verdict,
        advice,
        agreement,
        unfair(groups),
        [*_of_the_series(groups, results, rules), *_of_the_correction(results), *_notes(used)],
        setup_differences(groups, engine_table),
        rules,
    )


def _of_the_correction(results: Sequence[Result]) -> list[str]:
    """A sentence on figures whose interval excludes equality, and which are undecided all the same."""
    figures = [result.metric.title for result in results if result.corrected]
    if not figures:
        return []
    further = sum(not result.metric.headline and result.difference is not None for result in results)
    return [
        f"Undecided although the interval excludes equality: {', '.join(figures)}. Each interval is for its figure "
        f"alone; among {further} figures outside the headline such a difference may be chance (Holm)."
    ]


def _of_the_series(groups: Groups, results: Sequence[Result], rules: Rules) -> list[str]:
    """Sentences on how the pairs were made and chosen, if that is not the default."""
    pairs = in_pairs(groups.a, groups.b)
    if pairs is None:
        return []
    notes, done = [], len(pairs[0])
    if rules.planned_pairs is not None and rules.planned_pairs > 1:
        notes.append(
            f"{done} of at most {rules.planned_pairs} pairs were made. The series could end after each, "
            "so each look has a share of the 5%: the intervals are as wide as it takes for all looks "
            "together to hold the true value in 95% of series."
        )
    notes += [
        words
        for each in results
        if each.metric.headline and each.difference and (words := pair_noise_words(each.metric.title, each.difference))
    ]
    paired = {run.run_id for side in pairs for run in side}
    alone = [run.run_id for run in (*groups.a, *groups.b) if run.run_id not in paired]
    if alone:
        notes.append(
            f"These runs have no partner of their seed on the other side and enter no figure: {', '.join(alone)}."
        )
    return notes


def _thumb(
    groups: Groups, verdict: Verdict, used: Sequence[Member], fleet: rule_of_thumb.Fleet
) -> tuple[rule_of_thumb.Advice | None, str]:
    """The rule of thumb, for vLLM against SGLang only."""
    engines = [str(group[0].run.engine.title) for group in (groups.a, groups.b)]
    if set(engines) != {rule_of_thumb.VLLM, rule_of_thumb.SGLANG}:
        return None, ""
    traits = rule_of_thumb.traits([member.totals for member in used], str(groups.a[0].run.model), fleet)
    advice = rule_of_thumb.advise(traits)
    winner = {None: None, "a": engines[0], "b": engines[1]}[verdict.winner]
    return advice, rule_of_thumb.agreement(advice, winner)


def _about(groups: Groups) -> dict[str, object]:
    """What a list of results says of it: both engines by their titles, and what all runs have in common."""
    runs = [summary.run for summary in (*groups.a, *groups.b)]
    models = dict.fromkeys(run.model for run in runs)
    scenarios = dict.fromkeys(run.scenario.name for run in runs)
    loads = {load_sentence(run.load) for run in runs}
    return {
        "started_at": min((run.started_at for run in runs if run.started_at), default=None),
        "engine": ", ".join(dict.fromkeys(engine_name(summary) for summary in (*groups.a, *groups.b))),
        "model": ", ".join(filter(None, models)),
        "scenario": ", ".join(filter(None, scenarios)),
        "load": msgspec.to_builtins(runs[0].load) if len(loads) == 1 else None,
    }


def document(comparison: Comparison) -> dict[str, object]:
    """comparison.json (described in docs/comparing.md)."""
    groups = comparison.groups
    return {
        "format": 1,
        **_about(groups),
        "verdict": asdict(comparison.verdict)
        | {"winner_label": {"a": groups.label_a, "b": groups.label_b}.get(comparison.verdict.winner or "")},
        "rules": asdict(comparison.rules),
        "simulated": comparison.simulated,
        "told_apart_by": groups.by,
        "a": {"label": groups.label_a, "runs": [summary.run_id for summary in groups.a]},
        "b": {"label": groups.label_b, "runs": [summary.run_id for summary in groups.b]},
        "left_out": [asdict(each) for each in groups.left_out],
        "figures": [as_dict(result) for result in comparison.results],
        "user_classes": {name: [as_dict(result) for result in results] for name, results in comparison.classes.items()},
        "rule_of_thumb": None
        if comparison.advice is None
        else asdict(comparison.advice) | {"agreement": comparison.agreement},
        "unfair": comparison.unfair,
        "notes": comparison.notes,
        "shared_settings": shared_settings(groups),
        "setup_differences": [asdict(each) for each in comparison.setup],
    }
