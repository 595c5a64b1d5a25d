"""`claims`: published claims, tested on this machine: supported, contradicted, undecided, or what is missing."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import Commands
from tokenswarm.commands.series_runs import reported, series_folder
from tokenswarm.commands.typed_values import at_least_one

if TYPE_CHECKING:
    from tokenswarm.claim_checks.machine import Machine
    from tokenswarm.claim_checks.play import ClaimRules
    from tokenswarm.contract.claims_record import Claims
    from tokenswarm.engines.spec.engine_spec import Device
    from tokenswarm.run.options import LoadOptions

_ENGINES = ("vllm", "sglang", "trtllm")
_EPILOG = """\
examples:
  python -m tokenswarm claims --list                                   all claims, what each runs, what is missing here
  python -m tokenswarm claims --engines vllm                           what this machine can test of vLLM
  python -m tokenswarm claims --only throughput-8b --dry-run           what it would run, and for how long
  python -m tokenswarm claims --host vllm=http://gpu1:8000 --host sglang=http://gpu1:30000 --gpu H100 --gpus 1

A figure of a CPU or of the simulator never supports or contradicts a claim about speed."""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "claims",
        help="what blog posts and benchmarks say about engines, tested on this machine",
        description="Runs what this machine can of claims/*.toml and writes claims.html, claims.md and claims.json: "
        "supported, contradicted, undecided, or not testable here and what is missing.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "--engines", metavar="A,B", help=f"default: {','.join(_ENGINES)}, those that are available here"
    )
    parser.add_argument("--only", metavar="NAME,NAME", help="these claims alone")
    parser.add_argument("--list", action="store_true", dest="listing", help="list the claims, and run nothing")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run, and for how long")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="ENGINE=URL",
        help="a running server of that engine; may be repeated",
    )
    parser.add_argument("--gpu", default="", metavar="NAME", help="GPU of the --host servers, such as H100")
    parser.add_argument("--gpus", type=at_least_one, default=1, metavar="N", help="and how many (default 1)")
    parser.add_argument("--any-gpu", action="store_true", help="accept any kind of GPU, not only the one a claim names")
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="also run claims about speed without their hardware: gives figures, never a verdict",
    )
    parser.add_argument("--model", help="model of all engines (default: that of the claim; on a CPU the tiny one)")
    parser.add_argument("--data", metavar="FILE", help="file of prompts (ShareGPT), for claims that need one")
    parser.add_argument("--runtime", choices=("local", "docker"), help="runtime of engines started here")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="device of engines started here")
    parser.add_argument("--set", default="", dest="settings", metavar='"K=V ..."', help="scenario values of all runs")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print claims.json; progress goes to standard error")
    parser.set_defaults(run=_claims)


def _claims(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.claims_files import CLAIMS_HTML, CLAIMS_MD
    from tokenswarm.analysis.render.claims_page import claims_table, list_table, sentence
    from tokenswarm.base.files import make_folder
    from tokenswarm.claim_checks.claim import load_claims
    from tokenswarm.claim_checks.plan_of_claim import record_of
    from tokenswarm.claim_checks.play import Asked, play_claims
    from tokenswarm.contract.claims_record import Claims
    from tokenswarm.contract.series_file import record_json

    console = Console(stderr=options.json, markup=False)
    claims = load_claims([name.strip() for name in (options.only or "").split(",") if name.strip()])
    names = [name.strip() for name in (options.engines or "").split(",") if name.strip()] or list(_ENGINES)
    stand_in = "sim" if names == ["sim"] else None
    machine = _machine(options, names, stand_in)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if options.listing or options.dry_run:
        record = Claims(
            started_at=started, machine=machine.words, claims=[record_of(claim, machine) for claim in claims]
        )
        if options.json:
            print(record_json(record))
        else:
            console.print(list_table(record))
            _say_how_long(record, console)
        return Exit.PASSED
    folder = series_folder(options.results, "claims")
    make_folder(folder)
    task = Asked(machine, _load_options(options, argv), folder, stand_in)
    record = play_claims(claims, task, _rules(), console, started)
    if options.json:
        print(record_json(record))
    else:
        console.print(claims_table(record))
        console.print(
            f"{sentence(record)}\nto paste: {folder / CLAIMS_MD}\npage: {folder / CLAIMS_HTML}",
            highlight=False,
            soft_wrap=True,
        )
    return Exit.INTERRUPTED if record.reason == "interrupted" else Exit.PASSED


def _say_how_long(record: Claims, console: Console) -> None:
    from tokenswarm.analysis.wording import duration

    here = [claim for claim in record.claims if not claim.missing]
    total = sum(claim.estimate_s for claim in here)
    console.print(
        f"{len(here)} of {len(record.claims)} claims can be tested here"
        + (f", in about {duration(total)} (fewer starts where claims share one)" if here else ""),
        highlight=False,
    )


def _machine(options: argparse.Namespace, names: list[str], stand_in: str | None) -> Machine:
    from tokenswarm.claim_checks.machine import Machine, engines_here, find_gpus

    hosts = dict(_host(text) for text in options.host)
    gpus = (options.gpu,) * options.gpus if options.gpu else find_gpus()
    device: Device = options.device or ("cuda" if gpus and not hosts else "cpu")
    if stand_in:  # it stands in for every engine
        engines: dict[str, str | None] = dict.fromkeys(_ENGINES)
    else:
        engines = engines_here(names, device, options.runtime)
    return Machine(
        gpus=gpus,
        engines=engines,
        hosts=hosts,
        device=device,
        any_gpu=options.any_gpu,
        anyway=options.anyway,
        data=options.data is not None,
    )


def _host(text: str) -> tuple[str, str]:
    engine, equals, url = text.partition("=")
    if not equals or "://" not in url:
        raise UserError(Exit.USAGE, f"--host '{text}' should be ENGINE=URL, such as vllm=http://127.0.0.1:8000")
    return engine, url


def _load_options(options: argparse.Namespace, argv: list[str]) -> LoadOptions:
    from tokenswarm.base.config_text import parse_set
    from tokenswarm.base.masking import usable_key
    from tokenswarm.run.options import LoadOptions

    return LoadOptions(
        model=options.model,
        device=options.device,
        runtime=options.runtime,
        data=options.data,
        overrides=parse_set(options.settings),
        api_key=usable_key(os.environ.get("API_KEY")),
        argv=argv,
    )


def _rules() -> ClaimRules:
    from tokenswarm.analysis import claims_files
    from tokenswarm.analysis.verdict.claim_evidence import settle
    from tokenswarm.claim_checks.play import ClaimRules

    return ClaimRules(
        compare=claims_files.ratio_of_runs,
        spread=claims_files.spread_of_runs,
        trend=claims_files.trend_of,
        one_shot=lambda record, folder, expect: claims_files.one_shot_figure(
            record, folder, (expect.case_a, expect.case_b), expect.figure
        ),
        mean=claims_files.mean_of,
        report=reported,
        settle=settle,
        write=claims_files.write_claims_files,
    )
