"""Turns the records of races, searches and pairs into the answer in decision.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenswarm.analysis.compare.ab_test import Reading, difference
from tokenswarm.analysis.compare.comparison_report import Comparison
from tokenswarm.analysis.compare.rule_of_thumb import SGLANG, VLLM, Advice, advise, agreement, traits
from tokenswarm.analysis.compare.sequential import LEAST_PAIRS, Look
from tokenswarm.analysis.search.decision import (
    CAPACITY,
    DECIDED,
    ERROR,
    GOODPUT,
    MARGIN,
    SAME,
    Interval,
    RaceResult,
    choose,
    ratio_of,
    settings_to_take,
)
from tokenswarm.analysis.search.quality import WORSE

from tokenswarm.base.numbers import load_number
from tokenswarm.contract.capacity_record import ENDINGS, UNITS, Capacity, CapacityFigure
from tokenswarm.contract.decision_record import Decision, RatioToRunnerUp, SideRecord
from tokenswarm.contract.manifest import Manifest, read_manifest
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.summary_file import read_summary
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.tune_record import Ratio, Tune

ONE_ENGINE, NONE, GOING = "one_engine", "none", "going"


def interval_of(ratio: Ratio, p: float | None = None) -> Interval | None:
    """A record's figure with its interval; None if there is no figure above 0."""
    if ratio.value is None or ratio.value <= 0.0:
        return None
    low, high = ratio.ci95 or (None, None)
    return Interval(ratio.value, low, high, p)


def ratio_record(interval: Interval) -> Ratio:
    """The same as a record; an interval that lacks an end is left out."""
    if interval.low is None or interval.high is None:
        return Ratio(interval.value, why="an end of its interval is not known")
    return Ratio(interval.value, [interval.low, interval.high])


# ---- one engine


def chosen_settings(tune: Tune) -> tuple[str, str]:
    """The candidate whose settings go on, and why. Settings under which answers are certainly worse are excluded."""
    if tune.answers.state == WORSE:
        return tune.default, "the winner's answers are surely worse"
    left = tune.default in tune.equal_to_winner
    return settings_to_take(RaceResult(tune.winner, tune.default, left, interval_of(tune.ratio)))


def take_search(side: SideRecord, record: Capacity, folder: Path) -> None:
    """Copy the result of a capacity search into the engine's record. `folder`: the search's folder.

    The price is that of the highest load that certainly passes, else of the load closest to the estimate.
    """
    figure = side.capacity = record.capacity
    runs = [run.run for run in record.runs if not run.died]
    if runs:
        side.gpus = gpus_of(read_manifest(folder / runs[0]))
    side.per_gpu = per_gpu(figure, side.gpus)
    load = figure.sure_pass if figure.sure_pass is not None else figure.estimate
    levels = [level for level in record.levels if level.run and load is not None]
    if load is None or not levels:
        why = "no load surely passes"
        side.usd_per_million_output_tokens, side.output_tok_s = Ratio(why=why), Ratio(why=why)
        side.joules_per_output_token = Ratio(why=why)
        return
    level = min(levels, key=lambda each: abs(each.load - load))
    side.priced_load = level.load
    summaries = [read_summary(folder / run) for run in level.run if (folder / run).is_dir()]
    longest = max(summaries, key=lambda summary: summary.run.window.seconds or 0.0, default=None)
    if longest is not None:
        side.output_tok_s = _ratio(longest.rates.get("output_tok_s"))
        side.joules_per_output_token = _ratio(longest.energy.per_output_token)
        if side.joules_per_output_token.value is None:
            side.joules_per_output_token = Ratio(why=longest.energy.why or "not measured")
        side.usd_per_million_output_tokens = (
            Ratio(why="no price of a GPU was given")
            if longest.cost is None
            else _ratio(longest.cost.per_million_output_tokens)
        )


def gpus_of(manifest: Manifest) -> int:
    """GPUs that an engine used: those that are paid for, else those that it reports; at least 1."""
    if manifest.cost is not None and manifest.cost.gpus:
        return int(manifest.cost.gpus)
    counts = [manifest.engine.effective.get(key) for key in ("tensor_parallel", "data_parallel")]
    product = 1
    for count in counts:
        product *= count if isinstance(count, int) and count > 0 else 1
    return product


_WIDEST_BRACKET = 1.5
"""If the certain fail is this many times the certain pass, the middle of the bracket is not used."""


def per_gpu(figure: CapacityFigure, gpus: int) -> Ratio:
    """The capacity of one GPU; the middle of the bracket if there is no estimate."""
    low, high = figure.ci95
    value = figure.estimate
    if low and high and (value is None or high / low > _WIDEST_BRACKET**2):
        value = (low * high) ** 0.5 if high / low <= _WIDEST_BRACKET else None
    if value is None:
        unit = UNITS[figure.unit]
        bound = (
            f"between {load_number(low / gpus)} and {load_number(high / gpus)} {unit}"
            if low and high
            else f"at least {load_number(low / gpus)} {unit}"
            if low
            else f"below {load_number(high / gpus)} {unit}"
            if high
            else "not known"
        )
        return Ratio(None, None, f"{bound} ({ENDINGS.get(figure.reason, 'no search was made')})")
    ends = [low / gpus, high / gpus] if low is not None and high is not None else None
    return Ratio(value / gpus, ends, None if ends else "an end of its interval is not known")


def _ratio(figure: Figure | None) -> Ratio:
    if figure is None or figure.value is None:
        return Ratio(why=(figure.why if figure is not None else None) or "not measured")
    low, high = figure.ends
    return Ratio(float(figure.value), None if low is None or high is None else [float(low), float(high)])


# ---- both


def paired_goodput(
    a: Sequence[Summary], b: Sequence[Summary], gpus: tuple[int, int], planned: int
) -> tuple[Ratio, float | None, int]:
    """B's goodput per GPU over A's from runs with the same seed, with interval, p and the number of pairs, at the look
    after these pairs out of `planned`.
    """
    by_seed = [
        {
            str(summary.run.seed): float(value) / count
            for summary in side
            if summary.verdict == "VALID" and (value := summary.goodput.goodput_rps.value) is not None
        }
        for side, count in ((a, gpus[0]), (b, gpus[1]))
    ]
    seeds = [seed for seed in by_seed[0] if seed in by_seed[1]]
    if len(seeds) < LEAST_PAIRS:
        return Ratio(why=f"fewer than {LEAST_PAIRS} pairs of valid runs"), None, len(seeds)
    sides = [[Reading(values[seed]) for seed in seeds] for values in by_seed]
    paired = difference(*sides, ratio=True, paired=True, look=Look(len(seeds), max(planned, len(seeds))))
    if paired is None:
        return Ratio(why="a side met the limits in no request of a run"), None, len(seeds)
    if not paired.spread:  # e.g. small counts: that nothing varied does not prove that nothing can
        return Ratio(paired.change, why="no pair differs from another, so nothing is known of chance"), None, len(seeds)
    return Ratio(paired.change, [paired.low, paired.high]), paired.p, len(seeds)


def is_settled(ratio: Ratio, p: float | None, pairs: int, planned: int) -> bool:
    """Whether the pairs may end: certainly different, or certainly equal within the margin, at this look."""
    known = interval_of(ratio, p)
    return (
        known is not None
        and Look(pairs, max(planned, pairs)).may_stop
        and (known.direction(ERROR / 2.0) != 0 or known.is_within(MARGIN))
    )


def take_rule_of_thumb(decision: Decision, comparison: Comparison) -> None:
    """What the field's rule of thumb says about the workload of the pairs.

    The rule is about vLLM and SGLang; they are recognised by the engines' titles.
    """
    advice = advise(
        traits([member.totals for member in comparison.members.values()], str(comparison.groups.a[0].run.model))
    )
    kin = {name: side.title for side in decision.sides for name in (VLLM, SGLANG) if name in side.title}
    beside = "" if len(kin) == 2 else " It is about vLLM and SGLang."
    decision.pairs.rule_of_thumb = f"{advice.sentence}{beside}"
    decision.pairs.rule_of_thumb_engine = kin.get(advice.engine or "") if len(kin) == 2 else None


def _rule_of_thumb(decision: Decision) -> str:
    """The rule's sentence, and whether the answer agrees with it."""
    pairs = decision.pairs
    if pairs.rule_of_thumb_engine is None:
        return pairs.rule_of_thumb
    winner = next((side.title for side in decision.sides if side.engine == decision.engine), None)
    named = Advice(pairs.rule_of_thumb_engine, pairs.rule_of_thumb, ())
    return f"{pairs.rule_of_thumb} {agreement(named, winner)}".strip()


def judge(decision: Decision) -> None:
    """Put the answer into the decision: which engine, by which figure, its ratio to the other, and whether the rule of
    thumb agrees.
    """
    _judge(decision)
    decision.rule_of_thumb = _rule_of_thumb(decision)


def _judge(decision: Decision) -> None:
    sides = [side for side in decision.sides if side.failure is None]
    decision.engine, decision.settings, decision.capacity = None, {}, None
    decision.usd_per_million_output_tokens, decision.ratio, decision.ratios = Ratio(), RatioToRunnerUp(), []
    over = all(stage.state in ("done", "failed", "skipped") for stage in decision.stages)
    if not over and not decision.reason:
        decision.state = GOING
        return
    if len(sides) < 2:
        measured = [side for side in sides if side.per_gpu.value is not None]
        decision.state = ONE_ENGINE if measured and over else NONE if over else GOING
        if decision.state == ONE_ENGINE:
            _take(decision, measured[0])
        return
    first, second = sides
    figures = {CAPACITY: _capacities(first, second), GOODPUT: None}
    goodput = interval_of(decision.pairs.goodput, decision.pairs.p)
    figures[GOODPUT] = None if goodput is None else goodput.inverse()
    choice = choose(figures[CAPACITY], figures[GOODPUT])
    decision.state = choice.state if over or choice.state == DECIDED else GOING
    ahead, behind = (first, second) if choice.first or choice.state != DECIDED else (second, first)
    for name, ratio in figures.items():
        if ratio is not None:
            record = ratio_record(ratio if ahead is first else ratio.inverse())
            decision.ratios.append(RatioToRunnerUp(record.value, record.ci95, record.why, name, behind.title))
    if decision.ratios:
        wanted = choice.by or (GOODPUT if choice.state == SAME else CAPACITY)
        decision.ratio = next((each for each in decision.ratios if each.of == wanted), decision.ratios[0])
    if choice.contradicted:
        decision.notes = list(
            dict.fromkeys(
                [
                    *decision.notes,
                    "Capacity and goodput at the load of the pairs point to "
                    "different engines: look at both before you act.",
                ]
            )
        )
    if choice.state == DECIDED:
        _take(decision, ahead)


def _take(decision: Decision, side: SideRecord) -> None:
    decision.engine, decision.settings, decision.capacity = side.engine, side.settings, side.capacity
    decision.usd_per_million_output_tokens = side.usd_per_million_output_tokens


def _capacities(first: SideRecord, second: SideRecord) -> Interval | None:
    over, under = interval_of(first.per_gpu), interval_of(second.per_gpu)
    if over is None or under is None:
        return None
    brackets = any(side.capacity.cliff or side.capacity.estimate is None for side in (first, second))
    return ratio_of(over, under, brackets)
