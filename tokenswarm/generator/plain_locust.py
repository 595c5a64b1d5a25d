"""A locustfile under plain Locust: the run folder and the manifest that the command line would have made."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from gevent import Timeout
from locust import User
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from tokenswarm.base.config_text import parse_set
from tokenswarm.base.endpoint import MODELS, Endpoint
from tokenswarm.base.environment import UNDER_COMMAND_VARIABLE
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.foreign import NotJson, decode
from tokenswarm.base.presence import present
from tokenswarm.client.model_list import is_pattern, model_names
from tokenswarm.contract.manifest import EXTERNAL, EngineRecord, Manifest, write_manifest
from tokenswarm.generator.new_run import NewRun, make_run_folder
from tokenswarm.generator.plan import api_key
from tokenswarm.generator.ui_session import UiSession, session_from_environment
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.mix import MixPart
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.corpus import load_corpus

_MODELS_TIMEOUT_S = 10.0
_WARMUP_SHARE = 0.25


def form_arguments(parser: LocustArgumentParser) -> None:
    """Settings of a run as arguments of Locust's own: its start form offers them, and so does its command line."""
    if os.environ.get(UNDER_COMMAND_VARIABLE):
        parser._default_config_files = []  # ~/.locust.conf and its like tell of other tests than the one asked for
    session = session_from_environment()
    parser.add_argument(
        "--scenario",
        default=session.scenario if session else "",
        help="what is asked",
        choices=session.scenarios if session else None,
        include_in_web_ui=session is not None,
    )
    parser.add_argument("--rate", default="", help="requests/s, an open loop; empty: users that wait for answers")
    parser.add_argument("--warmup", default="", help="seconds; empty: as the scenario has it, until the load is steady")
    parser.add_argument("--prompt-seed", default="", help="same seed, same prompts")
    parser.add_argument(
        "--set", default="", env_var="SET", help="any scenario values: slo.ttft_p95_ms=400 rag.documents=8"
    )


def chosen_scenario(options: object, user_classes: Iterable[type[User]]) -> tuple[Scenario, dict[str, str]]:
    """The scenario of the test that is about to begin, and the values in it that were given by hand.

    It is the one that was chosen, else the one that the user classes name; several are a mix. Raises UserError.
    """
    session = session_from_environment()
    name = getattr(options, "scenario", "") or (session.scenario if session else "")
    of_classes = None
    if not name:
        classes = list(user_classes)
        names = dict.fromkeys(name for cls in classes if (name := _scenario_of(cls)))
        if not names:
            raise UserError(Exit.USAGE, "no user class names a scenario; choose one with --scenario")
        name = next(iter(names)) if len(names) == 1 else " ".join(f"{each}:1" for each in names)
        of_classes = classes if len(names) > 1 else None
    preset = os.environ.get("ENDPOINT") if session is None else None
    overrides = dict(session.overrides) if session else {"endpoint.preset": preset} if preset else {}
    overrides |= parse_set(getattr(options, "set", "") or "")
    form = {
        "load.rate": getattr(options, "rate", ""),
        "load.warmup_s": getattr(options, "warmup", ""),
        "prompts.seed": getattr(options, "prompt_seed", "") or os.environ.get("SEED", ""),
    }
    overrides |= {key: value for key, value in form.items() if value}
    scenario = load_scenario(name, overrides)
    return scenario if of_classes is None else _mix_of(scenario, of_classes), overrides


def _scenario_of(cls: type[User]) -> str:
    """The scenario that a user class names; "" for one that is no LLMUser."""
    return getattr(cls, "scenario", "")


def _mix_of(mixed: Scenario, classes: Iterable[type[User]]) -> Scenario:
    """A mix of the scenarios that user classes name, of these very classes with the weights that Locust knows."""
    mix = present(mixed.mix)
    values = {part.scenario: part.values for part in mix.parts}
    named = {cls: name for cls in classes if (name := _scenario_of(cls))}
    scenarios = {name: load_scenario(name).name for name in set(named.values())}
    parts = tuple(
        MixPart(
            scenario=scenarios[name],
            user_class=cls.__name__,
            base=cls.__name__,
            weight=float(cls.weight),
            locustfile=cls.__module__,
            values=values[scenarios[name]],
        )
        for cls, name in named.items()
    )
    return mixed.model_copy(update={"mix": mix.model_copy(update={"parts": parts})})


def standalone_manifest(environment: Environment, workers: int) -> tuple[Manifest, Path]:
    """Make a run folder for the Locust test that begins, and its run.json. Raises UserError.

    Without a session, CORPUS, MODEL, SEED and RESULTS are taken from the environment, as make gives them.
    """
    chosen, overrides = chosen_scenario(environment.parsed_options, environment.user_classes)
    scenario, notes = _as_locust_loads(chosen, environment.parsed_options, overrides)
    session = session_from_environment() or _session_of(environment, scenario)
    corpus = load_corpus(session.corpus)
    run_id, folder = make_run_folder(
        Path(session.results), session.engine.name or EXTERNAL, scenario.name, scenario.load
    )
    manifest = NewRun(
        scenario=scenario,
        overrides=overrides,
        engine=session.engine,
        model=session.model,
        corpus=corpus,
        workers=workers,
        argv=sys.argv,
        simulated=session.simulated,
        notes=[*session.notes, *notes],
        gpus=session.gpus,
        preflight=session.preflight,
        cost=session.cost,
    ).manifest(run_id)
    write_manifest(folder, manifest)
    return manifest, folder


def _session_of(environment: Environment, scenario: Scenario) -> UiSession:
    """What can be known of an endpoint that plain Locust was given. Raises UserError."""
    if not environment.host:
        raise UserError(Exit.USAGE, "give the endpoint with --host, such as --host http://127.0.0.1:8000")
    try:
        endpoint = Endpoint(environment.host, scenario.endpoint.form())
    except ValueError as error:
        raise UserError(Exit.USAGE, str(error)) from None
    engine = EngineRecord(name=EXTERNAL, title=endpoint.host_header, base_url=environment.host, runtime=EXTERNAL)
    return UiSession(
        engine,
        os.environ.get("MODEL") or _first_model(endpoint),
        scenario="",
        scenarios=[],
        results=os.environ.get("RESULTS") or "results",
        corpus=os.environ.get("CORPUS"),
    )


def _as_locust_loads(scenario: Scenario, options: object, overrides: Mapping[str, str]) -> tuple[Scenario, list[str]]:
    """The scenario with the users and the run time that Locust was given, and notes on what had to give way.

    A run time shorter than a few warm-ups would leave little or nothing to measure, so the warm-up shrinks with it,
    unless SET asks for one. One that goes on until the load is steady takes at most a quarter of the run time.
    """
    from_locust = {"users": getattr(options, "num_users", None), "spawn_rate": getattr(options, "spawn_rate", None)}
    load: dict[str, object] = {key: value for key, value in from_locust.items() if value}
    notes = []
    if scenario.open_loop:
        load = {"max_in_flight": load["users"]} if "users" in load else {}
    elif scenario.load.shaped:
        notes.append("Steps or a ramp of users are played by `load`; this run kept the number of users it was given.")
        load |= {"users_end": None, "users_steps": None}
    run_time_s = getattr(options, "run_time", None)
    if run_time_s:
        least_s, most_s = scenario.load.warmup_least_s, scenario.load.warmup_most_s
        longest_s = run_time_s * _WARMUP_SHARE
        if least_s > longest_s and "load.warmup_s" not in overrides:
            notes.append(
                f"The warm-up was shortened from {least_s:g} s to {longest_s:g} s, to leave most of the run "
                f"time of {run_time_s:g} s for measuring."
            )
            load["warmup_s"] = most_s = longest_s
        elif scenario.load.warmup_s is None:
            load["warmup_max_s"] = most_s = min(most_s, longest_s)
        load["duration_s"] = max(1.0, float(run_time_s) - most_s)
    return scenario.model_copy(update={"load": scenario.load.model_copy(update=load)}), notes


def _first_model(endpoint: Endpoint) -> str:
    """The first model that the endpoint lists. Raises UserError."""
    form = endpoint.form
    if not form.path(MODELS) or form.proxy is not None:
        raise UserError(Exit.ENDPOINT, f"{endpoint.url} is not asked for its list of models; give one with MODEL=...")
    try:
        with Timeout(_MODELS_TIMEOUT_S):
            answer = PoolManager(retries=False, ssl_context=form.tls_context()).request(
                "GET", endpoint.url_of(MODELS), headers=form.let_in(api_key())
            )
        names = model_names(decode(answer.data)) or []
    except (HTTPError, OSError, Timeout, NotJson):
        names = []
    concrete = [name for name in names if not is_pattern(name)]
    if not concrete:
        raise UserError(
            Exit.ENDPOINT, f"{endpoint.api_url}{MODELS} lists no model; is the engine up? Give one with MODEL=..."
        )
    return concrete[0]
