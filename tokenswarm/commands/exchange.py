"""`export`: write a run in the formats of other tools. `import`: turn result files of other tools into run folders."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import Commands
from tokenswarm.contract.tables import DASHBOARD_HTML

EXPORTS = ("vllm-bench", "llm-d", "aiperf")
_READ = (
    "vllm bench serve --save-detailed, sglang.bench_serving --output-details, aiperf profile_export.jsonl, "
    "guidellm benchmarks.json"
)


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    export = commands.add_parser(
        "export",
        help="write a run as another tool's result file",
        description="Prints a run as the JSON of vllm bench serve, as a benchmark report of llm-d (0.2.1) or as "
        "aiperf's summary. Where a figure is defined otherwise there, the document says so.",
    )
    export.add_argument("folder", metavar="RUN", help="a run folder, such as results/<run-id>")
    export.add_argument("--format", required=True, choices=EXPORTS, help="whose format")
    export.add_argument(
        "--any-verdict",
        action="store_true",
        help="write a run that is not VALID too: other tools do not show the verdict",
    )
    export.add_argument("--out", type=Path, metavar="FILE", help="write it there instead of printing it")
    export.set_defaults(run=_export)
    foreign = commands.add_parser(
        "import",
        help="turn another tool's result file into run folders",
        description=f"Reads {_READ}: a run folder for each run in it, with its report. Such a run is UNCHECKED, "
        "because it is not known whether that tool's load generator kept up. compare and report take the file too.",
    )
    foreign.add_argument("file", type=Path, metavar="FILE", help="a result file with single requests")
    foreign.add_argument("--out", type=Path, metavar="DIR", help="the run folder (default: one in the results folder)")
    foreign.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="the results folder (default: results)"
    )
    foreign.set_defaults(run=_import)


def _export(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.exports.aiperf_export import aiperf_export
    from tokenswarm.analysis.exports.llmd_report import llmd_report
    from tokenswarm.analysis.exports.measured import measured
    from tokenswarm.analysis.exports.vllm_bench_json import vllm_bench
    from tokenswarm.analysis.read.run_folder import read_run
    from tokenswarm.analysis.summary import summarise
    from tokenswarm.analysis.verdict.outcome import COMPARABLE
    from tokenswarm.base.files import write_whole

    run = read_run(options.folder)
    summary = summarise(run)
    if summary.verdict not in COMPARABLE and not options.any_verdict:
        raise UserError(
            Exit(summary.outcome.code),
            f"{options.folder} is {summary.outcome.headline}, which no reader "
            "of that format would see; --any-verdict writes it all the same",
        )
    if summary.levels:
        raise UserError(
            Exit.USAGE,
            f"{options.folder} went through {len(summary.levels)} load levels, and each of "
            "these formats is about one load",
        )
    write = dict(zip(EXPORTS, (vllm_bench, llmd_report, aiperf_export), strict=True))[options.format]
    text = json.dumps(write(measured(run, summary)), indent=2, ensure_ascii=False, allow_nan=False)
    if options.out is None:
        print(text)
    else:
        write_whole(options.out, text + "\n")
    return Exit.PASSED


def _import(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.render.terminal_summary import summary_table
    from tokenswarm.analysis.run_report import report
    from tokenswarm.imports.folder import import_file

    console = Console(markup=False)
    for folder in import_file(options.file, options.out, options.results):
        console.print(summary_table(report(folder)))
        console.print(f"dashboard: {folder / DASHBOARD_HTML}", highlight=False, soft_wrap=True)
    return Exit.PASSED


def run_folders(paths: Sequence[str | Path], results: Path) -> list[Path]:
    """Run folders as they are, and one folder per run in another tool's result file. Raises UserError."""
    from tokenswarm.imports.folder import import_file

    return [
        folder
        for path in map(Path, paths)
        for folder in (import_file(path, results=results) if path.is_file() else [path])
    ]
