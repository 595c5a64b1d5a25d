"""`python -m tokenswarm`: load, report, sim and the rest. Each command is a few lines; what it does lives elsewhere."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import tokenswarm
from tokenswarm.errors import Exit, UserError

_KEY_VARIABLE = "API_KEY"
_LOAD_EPILOG = """\
examples:
  python -m tokenswarm load                                              the simulator, RAG, 30 s
  python -m tokenswarm load --engine external --host http://gpu1:8000    a server that runs already
  python -m tokenswarm load --scenario chat --users 200 --duration 20m
  python -m tokenswarm load --scenario rag --rate 12 --set "slo.ttft_p95_ms=400 rag.documents=8"

The API key of the endpoint is read from the environment variable API_KEY.
Exit codes are listed by `python -m tokenswarm --help`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code (see tokenswarm/errors.py)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["sim"]:
            return _sim(arguments[1:])  # it has a parser of its own
        options = _parser().parse_args(arguments)
        return int(options.run(options, ["tokenswarm", *arguments]))
    except UserError as error:
        print(f"tokenswarm: {error}", file=sys.stderr)
        return int(error.code)
    except KeyboardInterrupt:
        print("tokenswarm: interrupted", file=sys.stderr)
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` closed the pipe
        return int(Exit.PASSED)


def _parser() -> argparse.ArgumentParser:
    codes = "\n".join(f"  {code.value:<4} {code.name.lower().replace('_', ' '):<16} {code.meaning}" for code in Exit)
    parser = argparse.ArgumentParser(
        prog="python -m tokenswarm", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Load testing for LLM inference engines, built on Locust.", epilog=f"exit codes:\n{codes}")
    parser.add_argument("--version", action="version", version=f"tokenswarm {tokenswarm.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _load_parser(commands)
    report = commands.add_parser("report", help="make summary.json and dashboard.html of a run folder anew",
                                 description="Reads a run folder, complete or not, and writes summary.json and "
                                             "dashboard.html into it.")
    report.add_argument("folder", metavar="RUN", help="a run folder, such as results/<run-id>")
    report.add_argument("--json", action="store_true", help="print summary.json instead of a table")
    report.set_defaults(run=_report)
    commands.add_parser("sim", help="start the engine simulator alone (its own --help tells more)", add_help=False)
    worker = commands.add_parser(
        "worker", help="generate load for a `load --master` on another machine",
        description="Waits for the master, takes scenario and prompts from it, sends its rows there. The corpus, if "
                    "the run has one of its own, must lie at the same path; the API key is read from API_KEY here too.")
    worker.add_argument("--master", type=_address, required=True, metavar="HOST:PORT", help="the master's address")
    worker.set_defaults(run=_worker)
    calibrate = commands.add_parser(
        "calibrate", help="measure how much load one worker of this machine can time to within 2 ms",
        description="Loads a truth-logging simulator with more and more streams, compares every row with the truth, "
                    "and remembers the limit: `load` advises WORKERS from it. Takes a minute or two; nothing else "
                    "should run meanwhile.")
    calibrate.add_argument("--seconds", type=float, default=8.0, metavar="S", help="length of each step (default 8)")
    calibrate.set_defaults(run=_calibrate)
    scenarios = commands.add_parser("scenarios", help="list the scenarios")
    scenarios.set_defaults(run=_scenarios)
    return parser


def _load_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "load", help="start an engine (or take a running one), load it, write a dashboard",
        description="Plays a scenario against an inference engine and writes results/<run-id>/.",
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=_LOAD_EPILOG)
    what = parser.add_argument_group("what")
    what.add_argument("--engine", default="sim", metavar="NAME",
                      help="sim (default, an embedded simulator), vllm, sglang, or external (needs --host)")
    what.add_argument("--scenario", default="rag", metavar="NAME",
                      help="rag (default), chat, batch, reasoning, or a .toml file; see `scenarios`")
    what.add_argument("--host", metavar="URL", help="load the server at this URL instead of starting one")
    what.add_argument("--model", help="model to start, or to ask for at --host (default: the one that it lists)")
    what.add_argument("--device", choices=("cpu", "cuda"), help="device of an engine that is started here")
    how = parser.add_argument_group("how much (defaults come from the scenario)")
    how.add_argument("--users", type=int, metavar="N", help="concurrent users, closed loop (load.users)")
    how.add_argument("--spawn-rate", type=float, metavar="R", help="users started per second (load.spawn_rate)")
    how.add_argument("--rate", type=float, metavar="R", help="open loop: requests per second (load.rate)")
    how.add_argument("--duration", metavar="T", help="measured time: 30s, 20m, 8h (load.duration_s)")
    how.add_argument("--workers", type=_at_least_one, default=1, metavar="N",
                     help="load-generating processes (default 1)")
    how.add_argument("--master", type=_address, metavar="HOST:PORT",
                     help="wait at this address for that many workers from other machines (see `worker`)")
    how.add_argument("--set", default="", dest="settings", metavar='"K=V ..."',
                     help='any scenario values: "load.users=200 slo.ttft_p95_ms=400"')
    prompts = parser.add_argument_group("prompts and results")
    prompts.add_argument("--seed", type=int, metavar="N", help="same seed, same prompts (prompts.seed)")
    prompts.add_argument("--corpus", metavar="DIR", help=".txt, .md and .jsonl files to make prompts of")
    prompts.add_argument("--results", type=Path, default=Path("results"), metavar="DIR",
                         help="where run folders go (default: results)")
    parser.set_defaults(run=_load)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"'{text}' is not HOST:PORT, such as 0.0.0.0:5557")
    return host.strip("[]"), int(port)


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of processes; give 1 or more")
    return value


def _load(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.load import LoadOptions, run_load
    from tokenswarm.redact import usable_key
    from tokenswarm.scenario import parse_set

    overrides = {"load.users": options.users, "load.spawn_rate": options.spawn_rate, "load.rate": options.rate,
                 "load.duration_s": options.duration, "prompts.seed": options.seed}
    given = {key: str(value) for key, value in overrides.items() if value is not None}
    given |= parse_set(options.settings)
    console = Console()
    outcome = run_load(LoadOptions(
        engine=options.engine, scenario=options.scenario, host=options.host, model=options.model,
        device=options.device, workers=options.workers, master=options.master, corpus=options.corpus,
        results=options.results, overrides=given, api_key=usable_key(os.environ.get(_KEY_VARIABLE)),
        argv=argv), console)
    if outcome.error is not None:
        print(f"tokenswarm: {outcome.error}", file=sys.stderr)
    summary = _reported(outcome.folder, console)
    if not console.is_terminal:
        print(outcome.folder)  # the last line, for a script
    if outcome.status == "interrupted":
        return Exit.INTERRUPTED
    return outcome.error.code if outcome.error is not None else _verdict(summary)


def _reported(folder: Path, console: Console) -> dict[str, Any]:
    """Summary and dashboard of a run that has just ended; its verdict goes into run.json too."""
    from tokenswarm.manifest import note_verdict
    from tokenswarm.progress import working

    with working(console, "making the dashboard"):
        from analysis.report import report  # takes a second to import, too
        from analysis.terminal import summary_table

        summary = report(folder)
    note_verdict(folder, summary["verdict"], summary["reasons"])
    console.print(summary_table(summary))
    console.print(f"dashboard: {folder / 'dashboard.html'}", highlight=False, soft_wrap=True)
    return summary


def _verdict(summary: dict[str, Any]) -> Exit:
    """The exit code that the figures call for, the gravest first."""
    counts = summary["counts"]["measured"]
    if counts["failed"] and not counts["ok"]:
        return Exit.REQUESTS_FAILED
    if summary["verdict"] == "INVALID":
        return Exit.INVALID
    return Exit.SLO_MISSED if any(gate["state"] == "missed" for gate in summary["slo"]) else Exit.PASSED


def _report(options: argparse.Namespace, argv: list[str]) -> Exit:
    import json

    from analysis.report import report
    from analysis.terminal import summary_table

    summary = report(options.folder)
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        console = Console()
        console.print(summary_table(summary))
        console.print(f"dashboard: {Path(options.folder) / 'dashboard.html'}", highlight=False, soft_wrap=True)
    return Exit.PASSED


def _sim(arguments: list[str]) -> int:
    from tokenswarm.sim.__main__ import main as simulate

    return int(simulate(arguments))


def _worker(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.locust_process import worker_command

    command = worker_command(*options.master)
    os.execv(command[0], command)  # Ctrl-C and SIGTERM reach Locust itself


def _calibrate(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.calibrate import STREAM_RATE, calibrate, path

    def on_step(streams: int, found: Any, broken: str | None) -> None:
        print(f"{streams:>5} streams x {STREAM_RATE:g} tok/s   {found.tokens_s:>8,.0f} tok/s   TTFT error p50 "
              f"{found.ttft_error_p50_ms:.3f} p99 {found.ttft_error_p99_ms:.3f} ms   CPU {found.cpu_share:4.0%}   "
              f"{broken or 'ok'}", flush=True)

    result = calibrate(on_step, options.seconds)
    print(f"one worker: {result.streams} streams, {result.tokens_s:,.0f} tokens/s within 2 ms; beyond: "
          f"{result.limited_by}\nkept in {path()}")
    return Exit.PASSED


def _scenarios(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.scenario import load_scenario, scenario_names

    for name in scenario_names():
        print(f"{name:<12} {load_scenario(name).title}")
    return Exit.PASSED
