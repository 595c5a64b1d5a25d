"""`tune`: which settings of an engine serve a scenario best, by a race with paired seeds."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import make_folder
from tokenswarm.base.numbers import significant
from tokenswarm.base.typed import Commands
from tokenswarm.commands.load import add_options, load_options
from tokenswarm.commands.series_runs import reported, series_folder
from tokenswarm.commands.typed_values import at_least_none, at_least_one, seconds

if TYPE_CHECKING:
    from tokenswarm.contract.tune_record import AnswersRecord, Ratio, Tune
    from tokenswarm.engines import EngineSpec
    from tokenswarm.run.options import LoadOptions
    from tokenswarm.run.run_plan import RunPlan
    from tokenswarm.series.pairs import SeriesTools
    from tokenswarm.series.settings_race import MeasuredObjective
    from tokenswarm.series.space import Candidate, Space
    from tokenswarm.series.tune_state import TuneState

GOODPUT, CAPACITY = "goodput", "capacity"
"""Objectives of a race: requests/s within the limits at the scenario's load, or the highest load within them."""
_RUNS_OF = {GOODPUT: 1, CAPACITY: 4}
"""Approximate number of runs per measurement of a candidate."""
TASKS = 400
"""Number of tasks with known results: finds a loss of 5 points in most cases if one task in ten changes by chance."""
TUNED_TOML = "tuned.toml"
START_S = {True: 2.0, False: 120.0}
"""Assumed start time before one was observed: of the simulator, of an engine."""
_TYPICAL_ROUNDS = 3
"""Median number of runs per candidate in simulated races (docs/tune.md)."""
_EPILOG = """\
examples:
  python -m tokenswarm tune --scenario chat                                the simulator, its space of settings
  python -m tokenswarm tune --engine vllm --model Qwen/Qwen3-8B --budget 4h
  python -m tokenswarm tune --engine vllm --space my-space.toml --dry-run
  python -m tokenswarm tune --resume results/tune-20260101-120000 --scenario chat"""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "tune",
        help="race settings of an engine against each other: which flags serve a scenario best",
        description="Writes tune.html, tune.md, tune.json and tuned.toml: the winner against the default with its "
        "interval, which candidates cannot be told apart from it, and what each setting did.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    add_options(parser)
    race = parser.add_argument_group("the race")
    race.add_argument(
        "--space",
        metavar="NAME",
        help="space of settings: a name in compose/tune, or a .toml file (default: the engine's)",
    )
    race.add_argument(
        "--objective",
        choices=(GOODPUT, CAPACITY),
        default=GOODPUT,
        help="race by goodput at the scenario's load, or by capacity: the highest load within the limits, by a quick "
        "search for each candidate and round, about four times the runs (goodput)",
    )
    race.add_argument("--rounds", type=at_least_one, default=8, metavar="N", help="runs of a candidate at most (8)")
    race.add_argument(
        "--pairs", type=at_least_one, default=5, metavar="N", help="fresh pairs of winner and default at the end (5)"
    )
    race.add_argument("--budget", type=seconds, metavar="T", help="longest time for the whole, such as 2h")
    race.add_argument(
        "--tasks",
        type=at_least_none,
        default=TASKS,
        metavar="N",
        help="tasks with known results that are asked under both settings where the winner changes a "
        f"number format; 0: none ({TASKS})",
    )
    race.add_argument("--dry-run", action="store_true", help="print candidates and how long it takes; run nothing")
    race.add_argument("--resume", type=Path, metavar="DIR", help="resume an interrupted race")
    race.add_argument("--json", action="store_true", help="print tune.json; progress goes to standard error")
    parser.set_defaults(run=_tune)


def _tune(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.render.tune_page import tune_sentences
    from tokenswarm.analysis.tune_files import TUNE_HTML
    from tokenswarm.commands.compare import with_scripted_answers
    from tokenswarm.contract.series_file import record_json
    from tokenswarm.run.run_plan import resolve

    console = Console(stderr=options.json, markup=False)
    base = with_scripted_answers(load_options(options, argv))
    plan = resolve(base)
    space = space_of_engine(plan, options.space)
    _print_plan(console, plan, space, options)
    if options.dry_run:
        return Exit.PASSED
    folder = options.resume or series_folder(options.results, "tune")
    question = RaceAsked(
        options.rounds,
        options.pairs,
        options.budget,
        options.resume is not None,
        tasks=options.tasks,
        objective=options.objective,
    )
    state, tune = race_settings(base, space, question, console, folder)
    if options.json:
        print(record_json(tune))
    for sentence in tune_sentences(tune):
        console.print(sentence, highlight=False)
    console.print(f"report: {folder / TUNE_HTML}", highlight=False, soft_wrap=True)
    if state.ended == "interrupted":
        return Exit.INTERRUPTED
    if state.ended == "load_generator":
        return Exit.INVALID
    return Exit.PASSED if tune.winner is not None else Exit.ENGINE if state.failures else Exit.SLO_MISSED


def space_of_engine(plan: RunPlan, name: str | None) -> Space:
    """The named space, or the engine's default. Raises UserError (USAGE)."""
    from tokenswarm.engines import GpuSampler
    from tokenswarm.series.space import Limits, load_space

    engine = plan.engine
    if engine is None:
        raise UserError(
            Exit.USAGE,
            "tune restarts the engine for each candidate, so it cannot tune a server at "
            "HOST: name an engine, such as ENGINE=vllm",
        )
    if not plan.scenario.slo:
        raise UserError(
            Exit.USAGE,
            f"scenario {plan.scenario.name} has no limits ([slo]), so there is no goodput to "
            'tune for: set some, such as SET="slo.ttft_p95_ms=500"',
        )
    form = engine.spec.form(engine.device_asked)[1]
    ignored = {name: setting.ignored for name, setting in engine.spec.settings.items() if setting.ignored}
    gpus = plan.gpus_named
    if engine.device != "cpu" and not gpus:
        sampler = GpuSampler.open(only=plan.visible_gpus)
        gpus = len(sampler.names) if sampler is not None else None
    limits = Limits({**ignored, **form.ignored}, gpus or None, _own_settings(plan))
    return load_space(name or space_name(engine.spec), limits)


def _own_settings(plan: RunPlan) -> dict[str, object]:
    """The scenario's engine settings, by their names in a space."""
    settings = plan.scenario.engine
    own = {f"{plan.engine_name}.{key}": value for key, value in settings.own(plan.engine_name).items()}
    return {**settings.canonical(), **own}


def space_name(spec: EngineSpec) -> str:
    """The engine's default space, or that of the engine it imitates."""
    from tokenswarm.series.space import SPACES

    return spec.like if spec.like is not None and SPACES.find(spec.name) is None else spec.name


def _print_plan(console: Console, plan: RunPlan, space: Space, options: argparse.Namespace) -> None:
    simulated = plan.engine is not None and plan.engine.spec.simulated
    load, count = plan.scenario.load, len(space.candidates)
    run_s = START_S[simulated] + load.duration_s + min(load.warmup_most_s, 20.0) + 5.0
    run_s *= _RUNS_OF[options.objective]
    least, most = (
        (rounds * count + 2 * options.pairs) * run_s / 60.0
        for rounds in (min(_TYPICAL_ROUNDS, options.rounds), options.rounds)
    )
    budget = "" if options.budget is None else f", cut to the budget of {options.budget / 60:.0f} min"
    console.print(
        f"{count} candidates of {space.title or 'the space'}, by {options.objective}; about {least:.0f} min, at most "
        f"{most:.0f} min{budget}",
        highlight=False,
    )
    for each in (*(candidate.name for candidate in space.candidates), *space.notes):
        console.print(f"  {each}", highlight=False)


@dataclass(frozen=True, slots=True)
class RaceAsked:
    """Limits of a race: rounds, fresh pairs, total seconds (None: unlimited). `resume`: continue the race in its
    folder. `tasks`: number of tasks sent under both settings if the winner changes a number format; 0: none.
    `objective`: GOODPUT or CAPACITY."""

    rounds: int = 8
    pairs: int = 5
    budget_s: float | None = None
    resume: bool = False
    series: SeriesTools | None = None
    tasks: int = TASKS
    objective: str = GOODPUT


def race_settings(
    base: LoadOptions, space: Space, question: RaceAsked, console: Console, folder: Path
) -> tuple[TuneState, Tune]:
    """Race the settings of a space, and write the files of the race into `folder`. Raises UserError."""
    from tokenswarm.analysis.search.race import Race, RaceRules
    from tokenswarm.analysis.tune_files import fill_in, write_tune_files
    from tokenswarm.commands.capacity_trial import CapacityTrials
    from tokenswarm.contract.tune_record import CandidateRecord, TimeRecord, Tune
    from tokenswarm.run.run_plan import resolve
    from tokenswarm.series.settings_race import TuneRun, TuneTools
    from tokenswarm.series.space import DEFAULT
    from tokenswarm.series.tune_state import read_state

    plan = resolve(base)
    make_folder(folder)
    race = Race([each.name for each in space.candidates], RaceRules(most_rounds=question.rounds))
    tools = TuneTools(lambda run: goodput_of(run, console), question.budget_s, question.pairs)
    if question.series is not None:
        tools = replace(tools, series=question.series)
    if question.objective == CAPACITY:
        tools = replace(tools, search=CapacityTrials(tools.series, console), objective=CAPACITY)
    state = TuneRun(base, space.candidates, race, console, tools).play(
        folder, read_state(folder) if question.resume else None
    )
    engine = plan.engine
    tune = Tune(
        engine=plan.engine_name,
        engine_title=plan.engine_title,
        scenario=plan.scenario.name,
        objective=question.objective,
        unit="users" if question.objective == CAPACITY and not plan.scenario.open_loop else "requests/s",
        simulated=engine is not None and engine.spec.simulated,
        default=DEFAULT,
        reason=state.ended or "",
        candidates=[
            CandidateRecord(
                each.name,
                dict(each.settings),
                reason=state.failures.get(each.name),
                runs=[of.runs[each.name] for of in state.rounds if each.name in of.runs],
            )
            for each in space.candidates
        ],
        notes=[*space.notes, *([plan.cpu_note] if plan.cpu_note else [])],
    )
    fill_in(tune, race, _settings_as_text(plan, space))
    tune.ratio, tune.fresh_runs = _fresh_ratio(state, tune, console), state.fresh
    tune.answers = _answers(tune, base, question, console)
    tune.quality = tune.answers.sentence
    tune.time = TimeRecord(
        state.total_s,
        state.starts_s,
        state.starts,
        sum(len(of.figures) for of in state.rounds),
        sum(map(len, state.fresh.values())),
    )
    _name_runs_from(folder, tune)
    write_tune_files(tune, folder)
    _write_tuned(tune, plan, space, folder)
    return state, tune


def _name_runs_from(folder: Path, tune: Tune) -> None:
    """Make run paths relative to the folder of the race, so that results can be moved."""

    def named(runs: list[str]) -> list[str]:
        return [os.path.relpath(Path(run).resolve(), folder.resolve()) for run in runs]

    for each in tune.candidates:
        each.runs = named(each.runs)
    tune.fresh_runs = {side: named(runs) for side, runs in tune.fresh_runs.items()}
    tune.answers.runs = named(tune.answers.runs)


def _fresh_ratio(state: TuneState, tune: Tune, console: Console) -> Ratio:
    """The ratio of winner to default, over fresh pairs in which both sides have a figure; a pair has one seed."""
    from tokenswarm.analysis.tune_files import fresh_ratio
    from tokenswarm.commands.capacity_trial import found_capacity
    from tokenswarm.contract.manifest import read_manifest
    from tokenswarm.contract.tune_record import Ratio
    from tokenswarm.series.space import DEFAULT

    if tune.winner == DEFAULT:
        return Ratio(why="the default itself leads")
    if not state.fresh:
        return Ratio(why="it was not measured afresh")

    def found(folder: Path) -> tuple[str, float | None]:
        if tune.objective == CAPACITY:
            return found_capacity(folder)
        return str(read_manifest(folder).seed), goodput_of(folder, console).figure

    by_seed = {
        side: {seed: figure for seed, figure in (found(Path(run)) for run in runs) if figure is not None}
        for side, runs in state.fresh.items()
    }
    seeds = [seed for seed in by_seed["default"] if seed in by_seed["winner"]]
    return fresh_ratio(*([by_seed[side][seed] for seed in seeds] for side in ("default", "winner")))


def goodput_of(folder: Path, console: Console) -> MeasuredObjective:
    """A run's goodput in requests/s."""
    from tokenswarm.series.settings_race import MeasuredObjective

    summary = reported(folder, dashboard=False)
    figure = summary.goodput.goodput_rps
    console.print(
        f"  {summary.outcome.headline}  goodput "
        f"{'not known' if figure.value is None else f'{significant(figure.value)} requests/s'}  {folder}",
        highlight=False,
        soft_wrap=True,
    )
    if summary.verdict in ("INVALID", "INCOMPLETE"):
        why = f"its run is {summary.verdict}: {'; '.join(reason.sentence for reason in summary.reasons)}"
        return MeasuredObjective(None, why, spoilt=summary.verdict == "INVALID")
    return MeasuredObjective(None if figure.value is None else float(figure.value), figure.why or "")


def _settings_as_text(plan: RunPlan, space: Space) -> dict[str, dict[str, str]]:
    """Each candidate's value of every setting in the space; settings it omits are the scenario's or the engine's."""
    base = _own_settings(plan)
    keys = list(dict.fromkeys(key for each in space.candidates for key in each.settings))
    return {
        each.name: {key: str(each.settings.get(key, base.get(key, "engine's own"))) for key in keys}
        for each in space.candidates
    }


_CHANGES_ANSWERS = ("quantization", "kv_cache_dtype", "dtype")


def _answers(tune: Tune, base: LoadOptions, question: RaceAsked, console: Console) -> AnswersRecord:
    """Check whether answers are as good under the winner's number formats, with the same tasks under both."""
    from tokenswarm.analysis.solved_tasks import answers_of
    from tokenswarm.contract.tune_record import AnswersRecord
    from tokenswarm.series.pairs import SeriesTools
    from tokenswarm.series.quality_runs import ask_tasks
    from tokenswarm.series.space import Candidate

    winner = next((each for each in tune.candidates if each.name == tune.winner), None)
    changed = {
        key: value for key, value in (winner.settings if winner is not None else {}).items() if key in _CHANGES_ANSWERS
    }
    if not changed:
        return AnswersRecord(
            "not_at_stake", sentence="The winner changes no number format, so the answers are not at stake."
        )
    what = " ".join(f"{key}={value}" for key, value in changed.items())
    whether = f"Whether the answers stay as good under {what}"
    if tune.simulated:
        return AnswersRecord("cannot_tell", sentence=f"{whether} cannot be determined: the simulator computes none.")
    why = "" if question.tasks > 0 and tune.reason not in ("interrupted", "load_generator") else "it was left out"
    if not why:
        try:
            formats = Candidate("", changed).overrides
            return answers_of(ask_tasks(base, formats, question.tasks, console, question.series or SeriesTools()), what)
        except UserError as error:  # the race's result is kept
            why = str(error)
        except KeyboardInterrupt:
            why = "it was interrupted"
    return AnswersRecord("not_checked", sentence=f"{whether} was not checked ({why}): do so before you use it.")


def _write_tuned(tune: Tune, plan: RunPlan, space: Space, folder: Path) -> None:
    """Write tuned.toml: the winner's settings as this engine's own flags, for a scenario's [engine.NAME]."""
    from tokenswarm.base.files import write_whole
    from tokenswarm.base.toml_text import toml_value

    winner = next((each for each in space.candidates if each.name == tune.winner), None)
    if winner is None or plan.engine is None:
        return
    name, spec = plan.engine_name, plan.engine.spec
    lines = [
        f"# Settings of {spec.title} that led a race over {plan.scenario.name}; put them into the scenario.",
        f"# {winner.name}",
        f"[engine.{name}]",
    ]
    lines += [f"{key} = {toml_value(value)}" for key, value in own_flags(plan, winner).items()]
    write_whole(folder / TUNED_TOML, "\n".join(lines) + "\n")


def own_flags(plan: RunPlan, winner: Candidate) -> Mapping[str, object]:
    """The candidate's settings as the engine's own flags; a bare flag is true."""
    from tokenswarm.engines.spec.flags import resolve, setting_args

    if plan.engine is None:
        return {}
    spec, own = plan.engine.spec, f"{plan.engine_name}."
    chosen = {key: value for key, value in winner.settings.items() if "." not in key and value != "unset"}
    settings = {**plan.scenario.engine.canonical(), **chosen}
    resolved = resolve(spec, settings, plan.engine.device_asked).settings
    flags: dict[str, object] = {}
    for key in (key for key in chosen if key in resolved):
        name = ""
        for part in setting_args(spec.title, key, spec.settings[key], resolved):
            if part.startswith("--"):
                name, flags[part[2:]] = part[2:], True
            else:
                flags[name] = int(part) if part.isdecimal() else part
    return flags | {key.removeprefix(own): value for key, value in winner.settings.items() if key.startswith(own)}
