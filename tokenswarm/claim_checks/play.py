"""Tests claims: runs what this machine can run, and gives each claim its evidence or what it lacks.

Claims about the same engine with the same settings share one start. Verdicts come from injected rules.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import UserError
from tokenswarm.base.presence import present
from tokenswarm.base.signals import Interrupts
from tokenswarm.claim_checks.checks import CHECKS, Subject
from tokenswarm.claim_checks.claim import Claim, Expect
from tokenswarm.claim_checks.machine import Machine
from tokenswarm.claim_checks.parser_flags import refusals
from tokenswarm.claim_checks.plan_of_claim import estimate_s, record_of, titles
from tokenswarm.contract.claims_record import ClaimEvidence, ClaimRecord, Claims
from tokenswarm.contract.manifest import PreflightRecord
from tokenswarm.contract.one_shot_record import OneShot
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.engines import EngineSpec, load_description
from tokenswarm.engines.install_paths import places
from tokenswarm.run.checked_engine import CheckedEngine, EngineTools, checked_engine
from tokenswarm.run.first_request import LoadToCheck
from tokenswarm.run.monitor import RunOutcome
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import RunPlan, resolve
from tokenswarm.series.one_shot import Question, ask_all, usual_values
from tokenswarm.series.pairs import PairedRuns
from tokenswarm.workloads.corpus import load_corpus

FLAGS, WARMUP = "flags_accepted", "warmup_effect"
_CHARS_PER_TOKEN = 4
_NO_SETTINGS = {
    f"engine.{name}": "none"
    for name in ("memory_fraction", "max_num_seqs", "prefill_budget", "prefix_cache", "chunked_prefill")
}
_MOST_TOKENS = 200
"""Time limit of an answer to a check."""
_OWN_CONTEXT = 4096
"""Context length of an engine that is only checked: more than any check needs, and what the tiny model supports."""


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """Rules of the analysis: figures from runs, and states from figures."""

    compare: Callable[[Sequence[Path], Sequence[Path], str], Figure]
    spread: Callable[[Sequence[Path], Sequence[Path], str], Figure]
    trend: Callable[[Sequence[Figure]], Figure]
    one_shot: Callable[[OneShot, Path, Expect], Figure]
    mean: Callable[[Sequence[float], str], Figure]
    report: Callable[[Path], object]
    settle: Callable[[ClaimRecord, int], ClaimRecord]
    write: Callable[[Claims, Path], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """The request: `stand_in` is an engine that plays every role; `options` are common to all runs."""

    machine: Machine
    options: LoadOptions
    folder: Path
    stand_in: str | None = None
    engine_tools: EngineTools = field(default_factory=EngineTools)


def play_claims(claims: Sequence[Claim], task: Asked, rules: ClaimRules, console: Console, started_at: str) -> Claims:
    """Run what can be run. claims.json is written after each claim; Ctrl-C keeps the results so far."""
    record = Claims(
        started_at=started_at, machine=task.machine.words, claims=[record_of(claim, task.machine) for claim in claims]
    )
    by_name = {each.name: each for each in record.claims}
    testable = [claim for claim in claims if not by_name[claim.name].missing]
    tester = _Tester(task, rules, console)
    try:
        for group in _groups(testable, task.machine):
            for claim, evidence in tester.test(group):
                by_name[claim.name].evidence += evidence
                _settle(record, claims, rules)
                rules.write(record, task.folder)
    except KeyboardInterrupt:
        record.reason = "interrupted"
    _settle(record, claims, rules)
    rules.write(record, task.folder)
    return record


def _settle(record: Claims, claims: Sequence[Claim], rules: ClaimRules) -> None:
    for each, claim in zip(record.claims, claims, strict=True):
        rules.settle(each, len(claim.needs.engines) if claim.run.by == "check" else 1)
    record.simulated = any(evidence.simulated for each in record.claims for evidence in each.evidence)
    record.engine = ", ".join(dict.fromkeys(evidence.engine for each in record.claims for evidence in each.evidence))


@dataclass(frozen=True, slots=True)
class _Group:
    """Claims that are tested together. `engine`: the one that checks share; None for claims that start their own."""

    claims: tuple[Claim, ...]
    engine: str | None = None


def _groups(claims: Sequence[Claim], machine: Machine) -> list[_Group]:
    """Checks by engine and settings, those that need a fresh start first; then the other claims, the quickest first."""
    checks: dict[tuple[str, str, tuple[str, ...], bool], list[Claim]] = {}
    for claim in claims:
        if claim.run.by != "check":
            continue
        for engine in claim.needs.engines:
            if machine.lacks_engine(engine) is None:
                key = (engine, claim.run.set, tuple(claim.run.unset), claim.run.check == FLAGS)
                checks.setdefault(key, []).append(claim)
    groups = [
        _Group(tuple(sorted(group, key=lambda claim: claim.run.check != WARMUP)), engine)
        for (engine, *_), group in checks.items()
    ]
    others = sorted((claim for claim in claims if claim.run.by != "check"), key=estimate_s)
    return [*groups, *(_Group((claim,)) for claim in others)]


class _Tester:
    """Runs claims and returns the evidence."""

    def __init__(self, task: Asked, rules: ClaimRules, console: Console) -> None:
        self._asked, self._rules, self._console = task, rules, console

    def test(self, group: _Group) -> list[tuple[Claim, list[ClaimEvidence]]]:
        """Each claim of a group with its evidence. A fault is no evidence; the reason is kept."""
        names = ", ".join(claim.name for claim in group.claims)
        self._console.print(f"\n{names}{f' ({group.engine})' if group.engine else ''}", highlight=False, soft_wrap=True)
        first = group.claims[0]
        try:
            if group.engine is None:
                return [(first, [_BY[first.run.by](self, first)])]
            if first.run.check == FLAGS:
                return [(claim, [self._flags(claim, group.engine)]) for claim in group.claims]
            return self._checks(group, group.engine)
        except UserError as error:
            self._console.print(str(error), style="red", highlight=False, soft_wrap=True)
            engine = titles([group.engine] if group.engine else first.needs.engines)
            return [
                (claim, [ClaimEvidence(engine=engine, why=f"it could not be run: {_one_line(error)}")])
                for claim in group.claims
            ]

    # ---- checks

    def _checks(self, group: _Group, engine: str) -> list[tuple[Claim, list[ClaimEvidence]]]:
        first = group.claims[0]
        usual = _NO_SETTINGS | usual_values(_MOST_TOKENS) | {"engine.context_length": str(_OWN_CONTEXT)}
        options = self._options(first, engine, usual | parse_set(first.run.set))
        plan = _without_defaults(resolve(options), first.run.unset)
        seen = []
        with (
            Interrupts() as interrupts,
            checked_engine(
                plan, self._folder(first, engine), self._console, interrupts, self._tools_of(first, plan)
            ) as up,
        ):
            up.announce(self._console)
            load = LoadToCheck(up.engine.base_url, up.model, plan.scenario, plan.corpus, plan.api_key)
            for claim in group.claims:
                evidence = CHECKS[claim.run.check](Subject(up.engine, load, claim.run.trials))
                self._console.print(f"{claim.name}: {evidence.words or evidence.why}", highlight=False, soft_wrap=True)
                seen.append((claim, [_placed(evidence, up, engine, self._asked.machine)]))
        return seen

    def _tools_of(self, first: Claim, plan: RunPlan) -> EngineTools:
        """Tools for a start; without the requests before a load if the first requests are the subject."""
        tools = self._asked.engine_tools
        return replace(tools, preflight=unasked) if first.run.check == WARMUP and plan.host is None else tools

    def _flags(self, claim: Claim, engine: str) -> ClaimEvidence:
        lines = claim.run.commands.get(engine, [])
        spec = load_description(engine)
        with tempfile.TemporaryDirectory() as home:
            paths = places(spec, self._asked.machine.device)
            answers = refusals(engine, paths, [line.split() for line in lines], Path(home))
        refused = [f"`{line}`: {answer}" for line, answer in zip(lines, answers, strict=True) if answer is not None]
        words = f"the real parser accepts all {len(lines)} command lines"
        if refused:
            words = f"the real parser refuses {len(refused)} of {len(lines)} command lines: {'; '.join(refused)}"
        self._console.print(f"{claim.name}: {words}", highlight=False, soft_wrap=True)
        package = spec.package.get(self._asked.machine.device, "") if spec.package else ""
        return ClaimEvidence(
            engine=titles([engine]),
            version=package.partition("==")[2] or None,
            where=self._asked.machine.words,
            holds=not refused,
            words=words,
        )

    # ---- runs

    def _pairs(self, claim: Claim, point: str = "") -> tuple[list[Path], list[Path], ClaimEvidence]:
        """The run folders of both sides, and the evidence, still without a figure."""
        run = claim.run
        shared = {"load.duration_s": f"{run.duration_s:g}"} | parse_set(f"{run.set} {point}")
        a, b = (
            self._options(claim, side.engine, shared | parse_set(side.set)) for side in (present(run.a), present(run.b))
        )
        folder = self._folder(claim, "pairs")

        def after(side: str, outcome: RunOutcome) -> None:
            self._rules.report(outcome.folder)

        series = PairedRuns(a, b, run.repeats, self._console, after).play(folder)
        if series.interrupted:
            raise KeyboardInterrupt
        if not series.a or not series.b:
            raise series.failures[-1]
        names = [path.relative_to(self._asked.folder).as_posix() for path in (*series.a, *series.b)]
        return series.a, series.b, self._evidence(claim, names)

    def _by_pairs(self, claim: Claim) -> ClaimEvidence:
        a, b, evidence = self._pairs(claim)
        evidence.figure = self._rules.compare(a, b, claim.expect.figure)
        return _with_why(evidence)

    def _by_spread(self, claim: Claim) -> ClaimEvidence:
        a, b, evidence = self._pairs(claim)
        evidence.figure = self._rules.spread(a, b, claim.expect.figure)
        return _with_why(evidence)

    def _by_sweep(self, claim: Claim) -> ClaimEvidence:
        figures, runs = [], []
        for point in claim.run.points:
            a, b, evidence = self._pairs(claim, point)
            figures.append(self._rules.compare(a, b, claim.expect.figure))
            runs += evidence.runs
        evidence.figure, evidence.runs = self._rules.trend(figures), runs
        return _with_why(evidence)

    def _by_one_shot(self, claim: Claim) -> ClaimEvidence:
        run = claim.run
        values = (
            usual_values(run.max_tokens)
            | {"engine.context_length": str(max(8192, 2 * run.context_tokens))}
            | parse_set(run.set)
        )
        plans = {engine: resolve(self._options(claim, engine, values)) for engine in claim.needs.engines}
        context = load_corpus(None).text[: run.context_tokens * _CHARS_PER_TOKEN]
        question = Question("What is this about? Explain it at length.", context, run.max_tokens, run.repeats)
        folder = self._folder(claim, "oneshot")
        record, problem = ask_all(plans, question, folder, self._console)
        if record.reason == "interrupted":
            raise KeyboardInterrupt
        evidence = self._evidence(claim, [folder.relative_to(self._asked.folder).as_posix()])
        evidence.figure = self._rules.one_shot(record, folder, claim.expect)
        if problem is not None:
            evidence.why = str(problem)
        return _with_why(evidence)

    def _by_start(self, claim: Claim) -> ClaimEvidence:
        """Starts and how long they took; if [expect] has no figure, whether any failed."""
        engine, times, failures = claim.needs.engines[0], [], []
        plan = resolve(self._options(claim, engine, parse_set(claim.run.set)))
        for number in range(1, claim.run.repeats + 1):
            try:
                with (
                    Interrupts() as interrupts,
                    checked_engine(
                        plan,
                        self._folder(claim, f"start-{number}"),
                        self._console,
                        interrupts,
                        self._asked.engine_tools,
                    ) as up,
                ):
                    times.append(up.engine.cold_start_s or 0.0)
            except UserError as error:
                failures.append(_one_line(error))
        evidence = self._evidence(claim, [])
        if claim.expect.figure:
            evidence.figure = self._rules.mean([each for each in times if each > 0], "s")
            evidence.why = failures[0] if failures else ""
            return _with_why(evidence)
        evidence.holds = bool(failures)
        evidence.words = f"{len(failures)} of {claim.run.repeats} starts failed{f': {failures[0]}' if failures else ''}"
        return evidence

    # ---- what they have in common

    def _options(self, claim: Claim, engine: str, values: dict[str, str]) -> LoadOptions:
        options, machine, stand_in = self._asked.options, self._asked.machine, self._asked.stand_in
        host = machine.hosts.get(engine)
        own = None if host or stand_in or machine.device == "cpu" else claim.needs.model or None
        if stand_in or machine.anyway or claim.run.by == "check":
            values = honoured(values, load_description(stand_in or engine), None if stand_in else machine.device)
        return replace(
            options,
            engine=stand_in or engine,
            scenario=claim.run.scenario,
            host=host,
            model=options.model or own,
            device=options.device or (None if stand_in else machine.device),
            data=options.data if claim.needs.data else None,
            results=self._asked.folder,
            overrides={**values, **options.overrides},
        )

    def _folder(self, claim: Claim, what: str) -> Path:
        folder = self._asked.folder / f"{claim.name}-{what}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _evidence(self, claim: Claim, runs: list[str]) -> ClaimEvidence:
        names = [self._asked.stand_in] if self._asked.stand_in else claim.needs.engines
        specs = [load_description(name) for name in names]
        machine = self._asked.machine
        return ClaimEvidence(
            engine=titles(names),
            where=machine.words,
            runs=runs,
            simulated=any(spec.simulated for spec in specs),
            on_cpu=machine.device == "cpu" and not machine.gpus,
        )


_BY: dict[str, Callable[[_Tester, Claim], ClaimEvidence]] = {
    "pairs": _Tester._by_pairs,
    "spread": _Tester._by_spread,
    "sweep": _Tester._by_sweep,
    "oneshot": _Tester._by_one_shot,
    "start": _Tester._by_start,
}


def _placed(evidence: ClaimEvidence, up: CheckedEngine, engine: str, machine: Machine) -> ClaimEvidence:
    evidence.engine, evidence.version = titles([engine]), up.engine.version
    evidence.where = ", ".join(up.gpu_names) or machine.words
    evidence.simulated, evidence.on_cpu = up.engine.simulated, up.plan.engine_on_this_cpu
    return evidence


def honoured(values: Mapping[str, str], spec: EngineSpec, device: str | None) -> dict[str, str]:
    """The scenario values without engine settings that the engine does not support on this device, for claims run
    without their hardware."""
    _, form = spec.form(device)
    ignored = {name for name, setting in spec.settings.items() if setting.ignored is not None} | set(form.ignored)
    return {
        key: value for key, value in values.items() if not (key.startswith("engine.") and key.split(".")[1] in ignored)
    }


def _with_why(evidence: ClaimEvidence) -> ClaimEvidence:
    if evidence.figure.value is None and not evidence.why:
        evidence.why = evidence.figure.why or "the figure is not known of these runs"
    return evidence


def unasked(load: LoadToCheck) -> PreflightRecord:
    """What is known about an engine started here without any request."""
    return PreflightRecord(models=[load.model], model=load.model, notes=[])


def _one_line(error: UserError) -> str:
    return str(error).partition("\n")[0]


def _without_defaults(plan: RunPlan, names: Sequence[str]) -> RunPlan:
    """The plan with these settings left to the engine, even if its description has a default."""
    if plan.engine is None or not names:
        return plan
    spec = plan.engine.spec
    kept: dict[str, object] = {name: value for name, value in spec.defaults.items() if name not in names}
    wanted = {name: value for name, value in plan.engine.wanted.items() if name not in names}
    return replace(plan, engine=replace(plan.engine, spec=spec.model_copy(update={"defaults": kept}), wanted=wanted))
