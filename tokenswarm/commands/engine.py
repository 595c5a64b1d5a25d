"""`engine`: show how an engine would be started; start, watch and stop one that outlives a run."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import Commands
from tokenswarm.contract.manifest import engine_json

if TYPE_CHECKING:
    from tokenswarm.engines import EngineSpec
    from tokenswarm.engines.spec.flags import SettingRow
    from tokenswarm.scenario.engine_settings import EngineSettings

_MODEL = "MODEL"
"""Placeholder in a printed command if no model was named."""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "engine",
        help="inference engines: their flags; install, up, down, status, logs",
        description="Shows how an engine would be started for a scenario, and manages engines that keep running "
        "between runs.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    verb = verbs.add_parser("list", help="the known engines")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=_list)
    verb = verbs.add_parser("flags", help="print the exact command that starts an engine for a scenario")
    _what(verb)
    verb.add_argument("--port", type=int, help="default: the engine's own")
    verb.add_argument("--container", action="store_true", help="what follows the image's entry point, instead")
    verb.set_defaults(run=_flags)
    verb = verbs.add_parser("diff", help="the settings of several engines for a scenario, side by side")
    verb.add_argument("--engines", default="vllm,sglang", metavar="A,B", help="default: vllm,sglang")
    _common(verb)
    verb.set_defaults(run=_diff)
    verb = verbs.add_parser("up", help="start an engine and leave it running")
    _what(verb)
    verb.add_argument("--runtime", choices=("local", "docker"))
    verb.add_argument("--port", type=int, help="default: the engine's own")
    verb.set_defaults(run=_up)
    for name, title, run in (
        ("down", "stop engines that were left running", _down),
        ("status", "running engines and their configuration", _status),
    ):
        verb = verbs.add_parser(name, help=title)
        verb.add_argument("--engine", metavar="NAME", help="default: all")
        verb.add_argument("--json", action="store_true")
        verb.set_defaults(run=run)
    verb = verbs.add_parser("logs", help="the log of a running engine")
    verb.add_argument("--engine", metavar="NAME", help="default: the one that runs")
    verb.add_argument("--lines", type=int, default=50, metavar="N")
    verb.add_argument("--follow", action="store_true", help="follow it until it ends or Ctrl-C")
    verb.set_defaults(run=_logs)
    verb = verbs.add_parser(
        "install",
        help="make an engine's environment, for use without Docker",
        description="Makes the virtual environment of an engine for a device from pinned packages, "
        "and on a CPU the tiny random model. Does nothing if it already exists.",
    )
    verb.add_argument("--engine", required=True, metavar="NAME", help="a known engine, such as vllm")
    verb.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="what it will run on (default cpu)")
    verb.add_argument("--root", type=Path, metavar="DIR", help="folder for engines (default $TOKENSWARM_ENGINES)")
    verb.set_defaults(run=_install)
    verb = verbs.add_parser("tiny-model", help="make the tiny random model that engines serve on a CPU")
    verb.set_defaults(run=_tiny_model)


def _what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", required=True, metavar="NAME", help="vllm, sglang, sim, ...")
    parser.add_argument("--model", help="path or hub name")
    _common(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenario", default="rag", metavar="NAME", help="default: rag")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda, or what the engine has")
    parser.add_argument("--set", default="", dest="settings", metavar='"K=V ..."', help="scenario values")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _settings(options: argparse.Namespace) -> tuple[EngineSettings, list[str]]:
    """The scenario's engine settings overridden by the user's, and the names that the user set."""
    from tokenswarm.base.config_text import parse_set
    from tokenswarm.scenario.loading import load_scenario

    overrides = parse_set(options.settings)
    explicit = [key.removeprefix("engine.") for key in overrides if key.startswith("engine.")]
    return load_scenario(options.scenario, overrides).engine, explicit


# ---- what would be started


def _list(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.base.lookup import ENGINES, PACKAGE, shown
    from tokenswarm.engines import known_engines, load_description

    descriptions, broken = [], []
    for name in known_engines():
        try:
            descriptions.append(load_description(name))
        except UserError as error:  # a broken file of the user's must not prevent listing the others
            broken.append(f"{name:<10} cannot be used: {error}")
    if options.json:
        print(
            json.dumps(
                [
                    {
                        "name": spec.name,
                        "title": spec.title,
                        "default_port": spec.default_port,
                        "image": f"{spec.image.repository}:{spec.image.tag}" if spec.image else None,
                        "devices": list(spec.forms),
                    }
                    for spec in descriptions
                ],
                indent=2,
            )
        )
        return Exit.PASSED
    for spec in descriptions:
        image = f"{spec.image.repository}:{spec.image.tag}" if spec.image else "no image"
        path = ENGINES.files()[spec.name]
        of_the_user = f"  ({shown(path)})" if ENGINES.place_of(path) != PACKAGE else ""
        print(f"{spec.name:<10} {spec.title:<14} port {spec.default_port:<6} {image}{of_the_user}")
    for line in broken:
        print(line)
    return Exit.PASSED


def _flags(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.engines import Placement, command, load_description, resolve
    from tokenswarm.engines.install_paths import venv_folder

    description = load_description(options.engine)
    settings, explicit = _settings(options)
    device, _ = description.form(options.device)
    venv = venv_folder(description.name, device) if description.install else Path(sys.prefix)
    placement = Placement(
        options.model or description.fixed_served_name or _MODEL,
        options.port or description.default_port,
        bin_dir=str(venv / "bin"),
        python=str(venv / "bin" / "python"),
    )
    args = command(
        description,
        settings,
        placement,
        "container" if options.container else "local",
        device=device,
        explicit=explicit,
    )
    notes = resolve(description, settings, options.device, explicit).notes
    _, form = description.form(options.device)
    environment = {**description.command.env, **form.env}
    if options.json:
        print(json.dumps({"command": args, "environment": environment, "notes": notes}, indent=2))
        return Exit.PASSED
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if options.model is None and description.fixed_served_name is None:
        print(f"note: no --model was given; {_MODEL} stands for it", file=sys.stderr)
    assignments = [f"{key}={shlex.quote(value)}" for key, value in environment.items()]
    print(" ".join([*assignments, shlex.join(args)]))
    return Exit.PASSED


def _diff(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.engines import diff, load_description

    names = [name.strip() for name in options.engines.split(",") if name.strip()]
    if not names:
        raise UserError(Exit.USAGE, "--engines takes names such as vllm,sglang")
    descriptions = [load_description(name) for name in names]
    settings, explicit = _settings(options)
    rows = diff(descriptions, settings, options.device)
    canonical = settings.canonical()
    by_hand = {key.partition(".")[0] for key in explicit}
    origins = [
        "SET" if row.setting in by_hand else "scenario" if row.setting in canonical else "engine's default"
        for row in rows
    ]
    own = {spec.name: settings.own(spec.name) for spec in descriptions if settings.own(spec.name)}
    if options.json:
        plain = [
            {
                "setting": row.setting,
                **{name: None if cell is None else asdict(cell) for name, cell in row.engines.items()},
                "from": origin,
            }
            for row, origin in zip(rows, origins, strict=True)
        ]
        print(json.dumps({"settings": plain, "own": own}, indent=2))
        return Exit.PASSED
    console = Console(markup=False)
    console.print(_diff_table(options.scenario, descriptions, rows, origins))
    for name, table in own.items():
        console.print(f"only {name}: {table}", highlight=False, markup=False)
    return Exit.PASSED


def _diff_table(
    scenario: str, descriptions: Sequence[EngineSpec], rows: Sequence[SettingRow], origins: Sequence[str]
) -> Table:
    table = Table(
        title=f"Settings for {scenario}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for name in ("setting", "from", *(spec.title for spec in descriptions)):
        table.add_column(name, overflow="fold")
    for row, origin in zip(rows, origins, strict=True):
        cells = [row.engines[spec.name] for spec in descriptions]
        values = {json.dumps(cell.value) if cell else None for cell in cells}
        texts = [
            Text(
                "left to the engine" if cell is None else f"{_word(cell.value)}\n",
                style="dim" if cell is None else "",
            ).append("" if cell is None else shlex.join(cell.args) or "no flag", style="dim")
            for cell in cells
        ]
        table.add_row(Text(row.setting, style="bold yellow" if len(values) > 1 else ""), origin, *texts)
    return table


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- an engine that outlives a run


def _up(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.base.signals import Interrupts
    from tokenswarm.engines import StartRequest, default_runtime, load_description, running, start_engine
    from tokenswarm.engines.kept import new_log
    from tokenswarm.run.progress import working

    console = Console(stderr=options.json, markup=False)
    description = load_description(options.engine)
    there = running.find(description.name)
    if there:
        raise UserError(
            Exit.ENGINE,
            f"{description.title} is already running at {there[0].base_url} with the model "
            f"{there[0].model}; stop it with: make down ENGINE={options.engine}",
        )
    settings, explicit = _settings(options)
    runtime = options.runtime or default_runtime(description, options.device)
    request = StartRequest(
        description=description,
        log_path=new_log(description.name),
        settings=settings,
        explicit=explicit,
        model=options.model,
        device=options.device,
        port=options.port or description.default_port,
    )
    title = description.title
    with Interrupts(), working(console, f"starting {title}") as status:
        engine = start_engine(
            request, runtime, lambda seconds, line: status(f"starting {title} ... {seconds:.0f} s", line)
        )
    try:
        engine.keep()
    except BaseException:
        engine.stop()
        raise
    for note in engine.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    if options.json:
        print(json.dumps(engine_json(engine.record()), indent=2))
    else:
        console.print(
            f"{engine.title} {engine.version or ''} is ready at {engine.base_url} with the model "
            f"{engine.model} after {engine.cold_start_s:.1f} s. Stop it with: make down "
            f"ENGINE={options.engine}",
            highlight=False,
            markup=False,
        )
    return Exit.PASSED


def _none_runs(options: argparse.Namespace) -> str:
    return f"{options.engine} is not running" if options.engine else "no engine is running"


def _down(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.engines import running

    engines = running.find(options.engine)
    for engine in engines:
        running.stop(engine)
        if not options.json:
            print(f"{engine.engine} at {engine.base_url} is stopped")
    if options.json:
        print(json.dumps([engine.engine for engine in engines]))
    elif not engines:
        print(_none_runs(options))
    return Exit.PASSED


def _status(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.engines import running

    rows = []
    for there in running.find(options.engine):
        try:
            engine = running.take(there, os.environ.get("API_KEY"))
            state, version, effective = "ready", engine.version, engine.effective
        except UserError as error:
            state, version, effective = str(error), None, {}
        up_s = round(time.time() - there.started_at) if there.started_at else None
        rows.append((there, state, version, effective, up_s))
    if options.json:
        plain = [
            {
                "engine": there.engine,
                "runtime": there.runtime,
                "url": there.base_url,
                "model": there.model,
                "id": there.id,
                "state": state,
                "version": version,
                "effective": effective,
                "up_s": up_s,
            }
            for there, state, version, effective, up_s in rows
        ]
        print(json.dumps(plain, indent=2))
        return Exit.PASSED
    if not rows:
        print(_none_runs(options))
    for there, state, version, effective, up_s in rows:
        up = f"  up {up_s} s" if up_s is not None else ""
        print(
            f"{there.engine} {version or ''}  {state}  {there.base_url}  model {there.model}  "
            f"{there.runtime} {there.id[:12]}{up}"
        )
        print("  " + "  ".join(f"{key}={_word(value)}" for key, value in effective.items()))
    return Exit.PASSED


def _logs(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.engines import running

    engines = running.find(options.engine)
    if len(engines) != 1:
        names = ", ".join(engine.engine for engine in engines)
        raise UserError(
            Exit.ENGINE,
            _none_runs(options) if not engines else f"several engines run ({names}): say which with --engine",
        )
    for line in running.log_lines(engines[0], options.lines, options.follow):
        print(line, flush=options.follow)
    return Exit.PASSED


def _install(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.engines.local.install import install

    install(options.engine, options.device, options.root, lambda line: print(line, flush=True))
    return Exit.PASSED


def _tiny_model(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.engines import known_engines, load_description
    from tokenswarm.engines.install_paths import places
    from tokenswarm.engines.local.install import make_tiny_model

    for description in map(load_description, known_engines()):
        if "cpu" in description.install:
            try:
                print(make_tiny_model(places(description, "cpu").python, say=lambda line: print(line, file=sys.stderr)))
            except UserError as error:
                missing = error
            else:
                return Exit.PASSED
    raise missing
