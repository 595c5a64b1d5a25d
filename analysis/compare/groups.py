"""Assigns runs to sides, checks that the comparison is fair, and finds differences in set-up. Works on manifests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
from tokenswarm.analysis.compare.side_names import OF_THE_PAIR, engine_name, engine_version, side_names
from tokenswarm.analysis.figures.gpu_states import clocks_apart
from tokenswarm.analysis.verdict.outcome import COMPARABLE

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.sentences import in_a_row
from tokenswarm.contract.summary.summary_record import Summary

_ENGINES_OWN = frozenset({"version", "block_size", "kv_capacity_tokens", "model_path", "attention_backend"})
"""Settings that an engine reports without being asked for: they are part of what is compared."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run that is excluded from all figures, and why."""

    run_id: str
    why: str
    code: int
    """The exit code of the run."""


@dataclass(frozen=True, slots=True)
class SetupDifference:
    """A setting in which the sides differ. `excused` says why that is expected; None if it is not."""

    name: str
    a: str
    b: str
    excused: str | None


@dataclass(frozen=True)
class Groups:
    """The two sides: labels, summaries of the runs used, the runs left out, and the differences between them."""

    label_a: str
    label_b: str
    a: list[Summary]
    b: list[Summary]
    by: str
    left_out: list[LeftOut] = field(default_factory=list)


def _settings(summary: Summary) -> str:
    return json.dumps(summary.run.effective, sort_keys=True)


SAME_TOKENS = 0.002
"""Factors that differ by less may come from one tokenizer with two chat templates."""
VARIED = "what you varied"
"""Excuse of a setting that is compared."""


def _overrides(summary: Summary) -> str:
    overrides = sorted(summary.run.overrides.items())
    return " ".join(f"{key}={value}" for key, value in overrides if key not in OF_THE_PAIR) or "no SET"


_KEYS: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("engine", engine_name),
    ("engine version", engine_version),
    ("model", lambda summary: str(summary.run.model)),
    ("GPUs", lambda summary: ", ".join(summary.run.gpus) or "no GPU seen"),
    ("settings", _overrides),
    ("effective configuration", _settings),
    ("endpoint", lambda summary: str(summary.run.engine.base_url)),
)
"""Properties by which runs are grouped; the first with exactly two values is used."""
_NAMES = frozenset({"engine", "engine version", "model", "GPUs"})
"""Kinds whose values make good names as they are."""


def usable(summaries: Sequence[Summary]) -> tuple[list[Summary], list[LeftOut]]:
    """The runs whose figures may be compared, and those that may not."""
    good, out = [], []
    for summary in summaries:
        outcome = summary.outcome
        if summary.levels:
            out.append(
                LeftOut(
                    summary.run_id,
                    f"of {len(summary.levels)} load levels, and no figure over all of them is about one load",
                    int(Exit.USAGE),
                )
            )
        elif summary.verdict in COMPARABLE:
            good.append(summary)
        else:
            out.append(LeftOut(summary.run_id, f"{outcome.headline}: {outcome.sentence}", outcome.code))
    return good, out


def _none_left(out: Sequence[LeftOut], side: str = "") -> UserError:
    """The error if no run is left. Exit code and reason are those of the first run left out; in a series they are
    mostly the same.
    """
    code = next((each for each in Exit if each and out and each == out[0].code), Exit.INVALID if out else Exit.USAGE)
    if not out:
        return UserError(code, f"no run {side}is left to compare")
    first, others = out[0], out[1:]
    alike = [run for run in others if run.why.partition(":")[0] == first.why.partition(":")[0]]
    kind, _, why = first.why.rstrip(".").partition(": ")
    reasons = [f"{in_a_row([run.run_id for run in (first, *alike)], 'and')} {'are' if alike else 'is'} {kind}"]
    if why:
        reasons[0] += f"{'; the first' if alike else ''}: {why}"
    reasons += [f"{run.run_id} is {run.why}" for run in others if run not in alike]
    return UserError(code, f"no run {side}is left to compare: {'; '.join(reasons)}")


def split(summaries: Sequence[Summary]) -> Groups:
    """Two groups, told apart by the first property that has exactly two values. Raises UserError(USAGE) if none has."""
    good, out = usable(summaries)
    if not good:
        raise _none_left(out)
    for title, key in _KEYS:
        kinds = list(dict.fromkeys(key(summary) for summary in good))
        if len(kinds) > 2:
            raise UserError(
                Exit.USAGE,
                f"these runs are of {len(kinds)} kinds by their {title} ({', '.join(kinds)}); "
                "say which stand against which: --a RUN ... --b RUN ...",
            )
        if len(kinds) == 2:
            a, b = ([summary for summary in good if key(summary) == kind] for kind in kinds)
            label_a, label_b = kinds if title in _NAMES else side_names(a[0], b[0])
            return Groups(label_a, label_b, a, b, title, out)
    names = ", ".join(summary.run_id for summary in good)
    left_out = f"; left out: {'; '.join(f'{run.run_id} ({run.why})' for run in out)}" if out else ""
    raise UserError(
        Exit.USAGE,
        f"these runs do not fall into two sides: {names}{left_out}. Name the sides: --a RUN ... --b RUN ...",
    )


def named_groups(a: Sequence[Summary], b: Sequence[Summary], label_a: str | None, label_b: str | None) -> Groups:
    """The groups given by name. Raises UserError, with the code of a run that was left out, if a side has no runs
    left.
    """
    (good_a, out_a), (good_b, out_b) = usable(a), usable(b)
    for side, good, out in (("A", good_a, out_a), ("B", good_b, out_b)):
        if not good:
            raise _none_left(out, f"of side {side} ")
    labels = side_names(good_a[0], good_b[0])
    return Groups(label_a or labels[0], label_b or labels[1], good_a, good_b, "choice", [*out_a, *out_b])


def with_equal_clocks(groups: Groups) -> Groups:
    """The same groups without runs whose GPUs ran at different clocks: both runs of a pair (by seed), else the runs
    that differ from A's first.

    Clocks of different kinds of GPU are not compared. Raises UserError(INVALID) if a side has no runs left.
    """
    first = groups.a[0]
    partners = {summary.run.seed: summary for summary in groups.a}
    in_pairs = len(partners) == len(groups.a) and {summary.run.seed for summary in groups.b} & set(partners)
    against = (
        [(summary, partners[summary.run.seed]) for summary in groups.b if summary.run.seed in partners]
        if in_pairs
        else [(summary, first) for summary in (*groups.a[1:], *groups.b)]
    )
    out: dict[str, str] = {}
    for summary, other in against:
        why = clocks_apart(other.run.gpu_states, summary.run.gpu_states) if summary.run.gpus == other.run.gpus else None
        if why is not None:
            out[summary.run_id] = f"not comparable with {other.run_id}: {why}"
            if in_pairs:
                out[other.run_id] = f"not comparable with {summary.run_id}: {why}"
    if not out:
        return groups
    left_out = [*groups.left_out, *(LeftOut(run_id, why, int(Exit.INVALID)) for run_id, why in out.items())]
    a, b = ([summary for summary in group if summary.run_id not in out] for group in (groups.a, groups.b))
    if not (a and b):
        raise _none_left([each for each in left_out if each.run_id in out])
    return replace(groups, a=a, b=b, left_out=left_out)


def shared_settings(groups: Groups) -> str:
    """What was set for all runs of both sides (SET); may be empty."""
    tables = [summary.run.overrides for summary in (*groups.a, *groups.b)]
    return " ".join(
        f"{key}={value}"
        for key, value in sorted(tables[0].items())
        if key not in OF_THE_PAIR and all(table.get(key) == value for table in tables)
    )


def _varied(groups: Groups) -> set[str]:
    """The engine settings given different values on the two sides: the subject of the comparison."""
    sides = [[summary.run.overrides for summary in group] for group in (groups.a, groups.b)]
    keys = {key for side in sides for table in side for key in table if key.startswith("engine.")}
    return {
        key.rpartition(".")[2]
        for key in keys
        if {table.get(key) for table in sides[0]}.isdisjoint({table.get(key) for table in sides[1]})
    }


def about(groups: Groups) -> list[str]:
    """What each side is, if its label does not say so: the settings that only it has, or its endpoint."""
    tables = [group[0].run.overrides for group in (groups.a, groups.b)]
    own = [
        " ".join(
            f"{key}={value}"
            for key, value in sorted(table.items())
            if other.get(key) != value and key not in OF_THE_PAIR
        )
        for table, other in (tables, tables[::-1])
    ]
    if not any(own):
        own = [group[0].run.engine.base_url or "" for group in (groups.a, groups.b)]
    return [
        f"{engine_version(group[0])}, {text or ('endpoint not known' if group[0].run.measured_by else 'nothing set')}"
        for group, text in zip((groups.a, groups.b), own, strict=True)
    ]


def refuse_unlike(groups: Groups) -> None:
    """Raises UserError(USAGE) for comparisons that make no sense: a simulator and a real engine, or two workloads."""
    kinds = {summary.simulated for summary in (*groups.a, *groups.b)}
    if None in kinds and len(kinds) > 1:
        raise UserError(
            Exit.USAGE,
            "of some of these runs it is not known whether a simulator or a real engine "
            "answered (run.json does not tell `simulated`): compare them among themselves",
        )
    if len(kinds) > 1:
        raise UserError(
            Exit.USAGE,
            "some of these runs are of the simulator and some of a real engine: "
            "their figures say nothing about each other",
        )
    names = {str(summary.run.scenario.name) for summary in (*groups.a, *groups.b)}
    if len(names) > 1:
        raise UserError(
            Exit.USAGE,
            f"these runs are of different scenarios ({', '.join(sorted(names))}), so neither "
            "side is better: compare runs of one",
        )


def unfair(groups: Groups) -> list[str]:
    """Sentences on what differs between these runs besides the thing compared; empty if nothing does."""
    runs = [*groups.a, *groups.b]
    checks: tuple[tuple[str, Callable[[Summary], object]], ...] = (
        ("load", _load),
        ("limit of a good request (goodput)", _bounds),
        ("measured seconds", lambda summary: summary.run.load.duration_s),
        ("model", lambda summary: summary.run.model),
        ("load generator's machine", lambda summary: summary.run.host.hostname),
        ("tool that measured", lambda summary: summary.run.measured_by or "tokenswarm"),
    )
    sentences = []
    for title, key in checks:
        kinds = list(dict.fromkeys(str(value) if (value := key(summary)) else "not told" for summary in runs))
        if len(kinds) > 1 and title != groups.by:
            sentences.append(f"The {title} is not the same in all runs: {', '.join(kinds)}.")
    return [*sentences, *_other_tokens(groups), *_other_work(groups)]


def _other_tokens(groups: Groups) -> list[str]:
    """A sentence if the models' tokens differ in length.

    Each seed has its own texts, whose length was measured. So runs with the same seed are compared, if both sides have
    any.
    """
    of_seeds = [
        {summary.run.seed: summary.run.chars_per_token for summary in group if summary.run.chars_per_token is not None}
        for group in (groups.a, groups.b)
    ]
    common = of_seeds[0].keys() & of_seeds[1].keys()
    sides = [sorted({factor for seed, factor in side.items() if not common or seed in common}) for side in of_seeds]
    pairs = (
        [(of_seeds[0][seed], of_seeds[1][seed]) for seed in common]
        or [(min(side[0] for side in sides), max(side[-1] for side in sides))]
        if all(sides)
        else []
    )
    if all(max(pair) <= (1 + SAME_TOKENS) * min(pair) for pair in pairs):
        return []
    a, b = (" / ".join(f"{factor:.2f}" for factor in dict.fromkeys(side)) for side in sides)
    return [
        f"The tokens are not the same on both sides: one of {groups.label_a} has {a} characters, one of "
        f"{groups.label_b} {b}. Prompts have as many tokens on both sides but not the same text, and token rates, "
        "TPOT and prices of a token are about different amounts of text."
    ]


def _other_work(groups: Groups) -> list[str]:
    """Sentences if the sides did not do the same work. In a series each pair has its own seed and salt, so what counts
    is that both sides have the same set.
    """
    sides = [Counter(str(summary.run.seed) for summary in group) for group in (groups.a, groups.b)]
    if sides[0] != sides[1]:
        only = [", ".join((side - other).elements()) or "none" for side, other in (sides, sides[::-1])]
        return [
            f"The seed of the prompts is not the same on both sides: only {groups.label_a} has {only[0]}, only "
            f"{groups.label_b} has {only[1]}."
        ]
    salts = [{(summary.run.seed, summary.run.salt) for summary in group} for group in (groups.a, groups.b)]
    if salts[0] != salts[1]:
        return ["The prompts are not the same in all runs (another salt); their kind and length are."]
    return []


def _load(summary: Summary) -> str:
    load = msgspec.structs.asdict(summary.run.load)
    keys = (
        "mode",
        "users",
        "users_end",
        "users_steps",
        "rate",
        "rate_end",
        "rate_steps",
        "arrivals",
        "max_in_flight",
        "prompts",
    )
    settings = {key: load[key] for key in keys if load[key] is not None and load[key] is not msgspec.UNSET}
    if settings.get("mode") == "open":
        settings.pop("users", None)
    else:
        settings.pop("max_in_flight", None)
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def _bounds(summary: Summary) -> str:
    bounds = sorted(summary.goodput.bounds.items())
    return " and ".join(f"{key} <= {value:g}" for key, value in bounds) or "none"


def setup_differences(groups: Groups, scenario_engine: Mapping[str, object]) -> list[SetupDifference]:
    """The differences between the sides' effective configurations, by canonical name. `scenario_engine`: the scenario's
    [engine] table.
    """
    sides = [[summary.run.effective for summary in group] for group in (groups.a, groups.b)]
    own = {key for table in scenario_engine.values() if isinstance(table, dict) for key in table}
    varied = _varied(groups)
    differences = []
    for name in sorted({key for side in sides for effective in side for key in effective}):
        a, b = (_in_words(side, name) for side in sides)
        if a != b:
            differences.append(SetupDifference(name, a, b, VARIED if name in varied else _excuse(name, own)))
    others: tuple[tuple[str, Callable[[Summary], str | None]], ...] = (
        ("version", lambda summary: summary.run.engine.version),
        ("model", lambda summary: summary.run.model),
    )
    for name, of in others:
        a, b = (_in_words([{name: of(summary)} for summary in group], name) for group in (groups.a, groups.b))
        if a != b and name not in {each.name for each in differences}:
            differences.append(
                SetupDifference(
                    name, a, b, "the sides are told apart by it" if name in groups.by else _excuse(name, own)
                )
            )
    return differences


def _in_words(side: Sequence[Mapping[str, object]], name: str) -> str:
    values = dict.fromkeys(
        "not told" if table.get(name) is None else json.dumps(table[name]).strip('"') for table in side
    )
    return " / ".join(values)


def _excuse(name: str, own: set[str]) -> str | None:
    if name in _ENGINES_OWN:
        return "the engine's own"
    return "the scenario sets it for one engine" if name in own else None
