"""`load`: start an engine or take a running one, load it, write a dashboard."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokenswarm.base.errors import Exit
from tokenswarm.base.typed import Commands
from tokenswarm.commands.metrics_options import add_metrics_options, open_metrics
from tokenswarm.commands.typed_values import address, at_least_one, dollars
from tokenswarm.commands.verdict import exit_code, tell_ci
from tokenswarm.contract.summary.summary_file import summary_json
from tokenswarm.contract.summary.summary_record import Summary

if TYPE_CHECKING:
    from tokenswarm.run.options import LoadOptions

_KEY_VARIABLE = "API_KEY"
_LOAD_EPILOG = """\
examples:
  python -m tokenswarm load                                              the simulator, RAG, 30 s
  python -m tokenswarm load --engine external --host http://gpu1:8000    a server that runs already
  python -m tokenswarm load --scenario chat --users 200 --duration 20m
  python -m tokenswarm load --scenario rag --rate 12 --set "slo.ttft_p95_ms=400 rag.documents=8"

The API key of the endpoint is read from the environment variable API_KEY.
Exit codes are listed by `python -m tokenswarm --help`."""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "load",
        help="start an engine (or take a running one), load it, write a dashboard",
        description="Plays a scenario against an inference engine and writes results/<run-id>/.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_LOAD_EPILOG,
    )
    add_options(parser)
    add_gates(parser)
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="check what was asked for, print the effective scenario as TOML, and run nothing",
    )
    parser.set_defaults(run=_load)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run; see `load_options`."""
    what = parser.add_argument_group("what")
    what.add_argument(
        "--engine",
        metavar="NAME",
        help="sim (default, an embedded simulator), vllm, sglang, or external (needs --host)",
    )
    what.add_argument(
        "--scenario",
        default="rag",
        metavar="NAME",
        help="rag (default), chat, batch, reasoning, dataset, replay, or a .toml file; see `scenarios`",
    )
    what.add_argument("--host", metavar="URL", help="load the server at this URL instead of starting one")
    what.add_argument(
        "--endpoint",
        metavar="NAME",
        help="what the server at --host needs: openai, azure, vllm, sglang, ollama, ... or a .toml file "
        "(docs/endpoints.md)",
    )
    what.add_argument("--model", help="model to start, or to ask for at --host (default: the one that it lists)")
    what.add_argument(
        "--runtime",
        choices=("local", "docker"),
        help="how an engine started here is run (default: docker if it can provide a GPU, else local)",
    )
    what.add_argument(
        "--keep",
        action="store_true",
        help="leave the engine running afterwards; the next load takes it over (see `engine`)",
    )
    what.add_argument("--device", choices=("cpu", "cuda"), help="device of an engine started here")
    how = parser.add_argument_group("how much (defaults come from the scenario)")
    how.add_argument("--users", type=int, metavar="N", help="concurrent users, closed loop (load.users)")
    how.add_argument("--spawn-rate", type=float, metavar="R", help="users started per second (load.spawn_rate)")
    how.add_argument("--rate", type=float, metavar="R", help="open loop: requests per second (load.rate)")
    how.add_argument("--duration", metavar="T", help="measured time: 30s, 20m, 8h (load.duration_s)")
    how.add_argument(
        "--workers", type=at_least_one, default=1, metavar="N", help="load-generating processes (default 1)"
    )
    how.add_argument(
        "--master",
        type=address,
        metavar="HOST:PORT",
        help="wait at this address for that many workers from other machines (see `worker`)",
    )
    how.add_argument(
        "--set",
        default="",
        dest="settings",
        metavar='"K=V ..."',
        help='any scenario values: "load.users=200 slo.ttft_p95_ms=400"',
    )
    prompts = parser.add_argument_group("prompts and results")
    prompts.add_argument("--seed", type=int, metavar="N", help="same seed, same prompts (prompts.seed)")
    prompts.add_argument("--data", metavar="FILE", help="file of prompts, for a scenario that takes them from one")
    prompts.add_argument("--corpus", metavar="DIR", help=".txt, .md and .jsonl files to make prompts of")
    prompts.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="where run folders go (default: results)"
    )
    prompts.add_argument("--label", metavar="TEXT", help="your own name for the run, to find it by")
    prompts.add_argument(
        "--gpu-hourly-cost",
        type=dollars,
        metavar="USD",
        help="price of a GPU and hour: what tokens and requests cost is shown",
    )
    add_metrics_options(parser)


def add_gates(parser: argparse.ArgumentParser) -> None:
    """Add the options for judging a run and for its output."""
    result = parser.add_argument_group("what comes of it")
    result.add_argument(
        "--baseline",
        metavar="RUN,RUN",
        help="earlier runs, or last:5, the last valid ones of this kind: a regression against them is "
        "a missed gate (a single one cannot show any)",
    )
    result.add_argument(
        "--strict", action="store_true", help="an SLO that is undetermined (too few requests) counts as missed"
    )
    result.add_argument(
        "--fail-on-drift",
        action="store_true",
        help="a latency, rate, error rate or memory that became worse over the run is a missed gate "
        "(runs of 5 minutes or more)",
    )
    result.add_argument("--json", action="store_true", help="print summary.json; progress goes to standard error")


def load_options(options: argparse.Namespace, argv: list[str], **further: str | None) -> LoadOptions:
    """The load options from those of `add_options`. `further`: additional scenario values, None = unset."""
    from tokenswarm.base.config_text import parse_set
    from tokenswarm.base.masking import usable_key
    from tokenswarm.run.options import LoadOptions

    open_metrics(options)
    if getattr(options, "baseline", None) is not None:
        from tokenswarm.analysis.compare.baseline import baseline_folders
        from tokenswarm.analysis.library.kinds import wanted_last
        from tokenswarm.analysis.read.run_folder import read_run

        for folder in [] if wanted_last(options.baseline) else baseline_folders(options.baseline):
            read_run(folder)  # now, not after hours of measuring
    overrides = {
        "load.users": options.users,
        "load.spawn_rate": options.spawn_rate,
        "load.rate": options.rate,
        "load.duration_s": options.duration,
        "prompts.seed": options.seed,
    }
    values = {key: str(value) for key, value in overrides.items() if value is not None}
    values |= {key: value for key, value in further.items() if value is not None}
    values |= {"endpoint.preset": options.endpoint} if options.endpoint else {}
    values |= parse_set(options.settings)
    preset = values.get("endpoint.preset") is not None
    return LoadOptions(
        engine=options.engine or ("external" if preset else "sim"),
        scenario=options.scenario,
        host=options.host,
        model=options.model,
        device=options.device,
        runtime=options.runtime,
        keep=options.keep,
        gpu_hourly_cost=options.gpu_hourly_cost,
        workers=options.workers,
        master=options.master,
        corpus=options.corpus,
        data=options.data,
        results=options.results,
        label=options.label,
        overrides=values,
        api_key=usable_key(os.environ.get(_KEY_VARIABLE)),
        argv=argv,
    )


def _print_config(options: LoadOptions) -> Exit:
    """Print the effective scenario of a run, and refuse whatever a run would refuse before it contacts an engine."""
    from tokenswarm.base.toml_text import toml_text
    from tokenswarm.run.run_plan import resolve

    print(toml_text(resolve(options).scenario.values()), end="")
    return Exit.PASSED


def _load(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.run.life import run_load

    if options.print_config:
        return _print_config(load_options(options, argv))
    console = Console(stderr=options.json, markup=False)  # with --json, standard output is only the summary
    outcome = run_load(load_options(options, argv), console)
    if outcome.error is not None:
        print(f"tokenswarm: {outcome.error}", file=sys.stderr)
    try:
        summary = _reported(outcome.folder, console, options)
    except KeyboardInterrupt as error:
        by = f" by {error}" if str(error) else ""
        print(
            f"tokenswarm: interrupted{by} before the dashboard was made; the rows are kept. Make it with: "
            f"python -m tokenswarm report {outcome.folder}",
            file=sys.stderr,
        )
        return Exit.INTERRUPTED
    if not console.is_terminal and not options.json:
        print(outcome.folder)  # the last line, for a script
    return exit_code(summary)


def _reported(folder: Path, console: Console, options: argparse.Namespace) -> Summary:
    """Write summary and dashboard of a finished run; its verdict also goes into run.json."""
    from tokenswarm.contract.manifest import note_verdict
    from tokenswarm.run.progress import working

    with working(console, "making the dashboard"):
        from tokenswarm.analysis.render.terminal_summary import summary_table
        from tokenswarm.analysis.run_report import report  # takes a second to import

        summary = report(folder, options.strict, options.baseline, fail_on_drift=options.fail_on_drift)
    note_verdict(folder, summary.verdict, summary.reasons)
    tell_ci(folder)
    if options.json:
        print(summary_json(summary))
        return summary
    console.print(summary_table(summary))
    console.print(f"dashboard: {folder / 'dashboard.html'}", highlight=False, soft_wrap=True)
    return summary
