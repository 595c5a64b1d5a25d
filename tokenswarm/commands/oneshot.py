"""`oneshot`: the same prompt on each engine, like comparisons that people post, but with intervals and a verdict."""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import Commands
from tokenswarm.commands.series_runs import series_folder
from tokenswarm.commands.typed_values import at_least_one, margin

if TYPE_CHECKING:
    from tokenswarm.contract.one_shot_record import ContextFile
    from tokenswarm.run.options import LoadOptions

DEFAULT_REPEATS, DEFAULT_TOKENS = 5, 256
_EPILOG = """\
examples:
  python -m tokenswarm oneshot --prompt "Explain PagedAttention." --engines vllm,sglang
  python -m tokenswarm oneshot --prompt "Explain PagedAttention." --a-host http://gpu1:8000 --b-host http://gpu2:30000
  python -m tokenswarm oneshot --prompt "Sum it up." --context report.txt --max-tokens 150 --engines vllm,sglang

Without engine or host: the engines that were left running here (make up), else the simulator.
The API key of an endpoint is read from the environment variable API_KEY."""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "oneshot",
        help="the same prompt on each engine: duration, tokens, tokens/s, TTFT, cold and cached",
        description="Asks one prompt of each engine again and again, each time cold and then once more from the cache, "
        "and writes oneshot.html, oneshot.md and oneshot.json.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    parser.add_argument("--prompt", default="", metavar="TEXT", help="what is asked")
    parser.add_argument(
        "--context",
        type=Path,
        metavar="FILE",
        help="a text before the prompt: asked fresh, cached, cached again, and without it",
    )
    parser.add_argument("--engines", metavar="A,B", help="one or two of vllm, sglang, sim, ... or external with a host")
    parser.add_argument("--host", metavar="URL", help="a running server; that of A, like --a-host")
    for side in "ab":
        parser.add_argument(f"--{side}-host", metavar="URL", help=f"running server of engine {side.upper()}")
        parser.add_argument(f"--{side}-model", metavar="M", help=f"model of engine {side.upper()}")
        parser.add_argument(f"--{side}-set", default="", metavar='"K=V ..."', help=f"settings of {side.upper()} only")
    parser.add_argument("--model", help="model of all engines")
    parser.add_argument("--runtime", choices=("local", "docker"), help="runtime of engines started here")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="device of engines started here")
    parser.add_argument("--scenario", default="chat", metavar="NAME", help="for engine settings, timeouts (chat)")
    parser.add_argument("--set", default="", dest="settings", metavar='"K=V ..."', help="values of all engines")
    parser.add_argument(
        "--repeats",
        type=at_least_one,
        default=DEFAULT_REPEATS,
        metavar="N",
        help=f"how often each engine is asked in each case (default {DEFAULT_REPEATS})",
    )
    parser.add_argument(
        "--max-tokens",
        type=at_least_one,
        default=DEFAULT_TOKENS,
        metavar="N",
        help=f"length of each answer (default {DEFAULT_TOKENS}; output.ignore_eos=false lets it end)",
    )
    parser.add_argument(
        "--margin",
        type=margin,
        default=0.05,
        metavar="SHARE",
        help="engines whose ratio is certainly within it count as equal (default 0.05)",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print oneshot.json; progress goes to standard error")
    parser.set_defaults(run=_oneshot)


def _oneshot(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.one_shot_files import ONE_SHOT_HTML, ONE_SHOT_MD, write_one_shot_files
    from tokenswarm.analysis.render.one_shot_page import contrast_table, one_shot_table
    from tokenswarm.contract.series_file import record_json
    from tokenswarm.run.run_plan import resolve
    from tokenswarm.series.one_shot import Question, ask_all
    from tokenswarm.series.pairs import side_labels

    console = Console(stderr=options.json, markup=False)
    if not options.prompt.strip():
        raise UserError(Exit.USAGE, 'there is no prompt: give the question to ask with --prompt (PROMPT="...")')
    context, file = _context(options.context)
    plans = [resolve(side) for side in _sides(options, argv)]
    labels = side_labels(*plans) if len(plans) == 2 else (plans[0].engine_title,)
    question = Question(options.prompt, context, options.max_tokens, options.repeats)
    folder = series_folder(options.results, "oneshot")
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    record, problem = ask_all(dict(zip(labels, plans, strict=True)), question, folder, console)
    record.started_at, record.context, record.margin = started, file, options.margin
    if not any(shot.status == "ok" for shot in record.shots):
        raise UserError(Exit.INTERRUPTED if record.reason else Exit.REQUESTS_FAILED, "no request was answered")
    record = write_one_shot_files(record, folder)
    if options.json:
        print(record_json(record))
    else:
        console.print(one_shot_table(record))
        if record.contrasts:
            console.print(contrast_table(record))
        console.print(record.sentence, highlight=False)
        console.print(
            f"to paste: {folder / ONE_SHOT_MD}\npage: {folder / ONE_SHOT_HTML}", highlight=False, soft_wrap=True
        )
    if problem is not None:
        raise problem
    return Exit.INTERRUPTED if record.reason == "interrupted" else Exit.PASSED


def _context(path: Path | None) -> tuple[str, ContextFile | None]:
    """The text of the file, and its description for the record. Raises UserError (DATA)."""
    from tokenswarm.contract.one_shot_record import ContextFile

    if path is None:
        return "", None
    try:
        whole = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(Exit.DATA, f"--context {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(Exit.DATA, f"--context {path} is not text in UTF-8: give a plain text file") from None
    if not whole.strip():
        raise UserError(Exit.DATA, f"--context {path} holds no text")
    return whole, ContextFile(path.name, len(whole), hashlib.sha256(whole.encode()).hexdigest())


def _sides(options: argparse.Namespace, argv: list[str]) -> list[LoadOptions]:
    """The options of each engine. Raises UserError (USAGE)."""
    from tokenswarm.base.config_text import parse_set
    from tokenswarm.base.masking import usable_key
    from tokenswarm.run.options import LoadOptions
    from tokenswarm.series.one_shot import usual_values

    if options.host and options.a_host:
        raise UserError(Exit.USAGE, "--host is the server of A: give it or --a-host, not both")
    hosts = [options.host or options.a_host, options.b_host]
    engines = _engines(options.engines, hosts)
    overrides = usual_values(options.max_tokens) | parse_set(options.settings)
    own = ((hosts[0], options.a_model, options.a_set), (hosts[1], options.b_model, options.b_set))
    return [
        LoadOptions(
            engine=engine,
            scenario=options.scenario,
            host=host,
            model=model or options.model,
            device=options.device,
            runtime=options.runtime,
            results=options.results,
            overrides=overrides | parse_set(settings),
            api_key=usable_key(os.environ.get("API_KEY")),
            argv=argv,
        )
        for engine, (host, model, settings) in zip(engines, own, strict=False)
    ]


def _engines(option: str | None, hosts: list[str | None]) -> list[str]:
    """The names of one or two engines."""
    if option is not None:
        names = [name.strip() for name in option.split(",") if name.strip()]
        if len(names) not in (1, 2):
            raise UserError(Exit.USAGE, f"--engines takes one or two names, not '{option}'")
        return names * 2 if len(names) == 1 and hosts[1] else names
    if hosts[1] and not hosts[0]:
        raise UserError(Exit.USAGE, "--b-host needs --a-host (or --host): which server is A?")
    if any(hosts):
        return ["external" for host in hosts if host]
    from tokenswarm.engines import running

    kept = list(dict.fromkeys(engine.engine for engine in running.find()))
    return kept[:2] or ["sim"]
