"""`report`: make the summary and dashboard of a run folder again."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.typed import Commands
from tokenswarm.commands.typed_values import share
from tokenswarm.commands.verdict import exit_code, tell_ci
from tokenswarm.contract.capacity_record import CAPACITY_JSON
from tokenswarm.contract.summary.summary_file import summary_json
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.tables import DASHBOARD_HTML


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    report = commands.add_parser(
        "report",
        help="make summary.json and dashboard.html of a run folder again",
        description="Reads a run folder, complete or not, and writes summary.json, "
        "dashboard.html, junit.xml and summary.md into it.",
    )
    report.add_argument(
        "folder",
        metavar="RUN",
        help="a run folder, such as results/<run-id>, or another tool's result file (tokenswarm import --help)",
    )
    report.add_argument("--json", action="store_true", help="print summary.json instead of a table")
    report.add_argument("--gate", action="store_true", help="end with the exit code that the run itself would have had")
    report.add_argument(
        "--strict", action="store_true", help="a gate that is undetermined counts as missed (implies --gate)"
    )
    report.add_argument(
        "--baseline",
        metavar="RUN,RUN",
        help="earlier runs: a regression against them is a missed gate (a single one cannot show any)",
    )
    report.add_argument(
        "--tolerance", type=share, default=None, metavar="S", help="by how much it may be worse (default 0.05: 5%%)"
    )
    report.add_argument("--fail-on-drift", action="store_true", help="a series that became worse is a missed gate")
    report.add_argument("--no-dashboard", action="store_true", help="make summary.json, junit.xml and summary.md only")
    report.add_argument("--quiet", action="store_true", help="print nothing; gate only where --gate says so")
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace, argv: list[str]) -> Exit:
    from tokenswarm.analysis.run_report import report

    if not options.folder:
        raise UserError(Exit.USAGE, "say which run: make report RUN=results/<run-id>")
    if (Path(options.folder) / CAPACITY_JSON).is_file():
        return _report_capacity(Path(options.folder), options)
    options.folder = _folder(options.folder)
    further = {} if options.tolerance is None else {"tolerance": options.tolerance}
    summary = report(
        options.folder,
        options.strict,
        options.baseline,
        fail_on_drift=options.fail_on_drift,
        dashboard=not options.no_dashboard,
        **further,
    )
    if options.json:
        print(summary_json(summary))
    elif not options.quiet:
        _show(summary, None if options.no_dashboard else Path(options.folder) / DASHBOARD_HTML)
    if not options.gate and (options.quiet or not (options.strict or options.baseline or options.fail_on_drift)):
        return Exit.PASSED
    tell_ci(Path(options.folder))
    return exit_code(summary)


def _folder(path: str) -> str:
    """The run folder, or the one made from another tool's result file."""
    from tokenswarm.commands.exchange import run_folders

    folders = run_folders([path], Path("results"))
    if len(folders) > 1:
        raise UserError(
            Exit.USAGE,
            f"{path} holds {len(folders)} runs, which are now {', '.join(map(str, folders))}: report one of them",
        )
    return str(folders[0])


def _report_capacity(folder: Path, options: argparse.Namespace) -> Exit:
    """The same for the folder of a capacity search: its runs are judged again."""
    from tokenswarm.analysis.capacity_files import CAPACITY_HTML, remake_capacity
    from tokenswarm.analysis.render.capacity_words import capacity_sentence
    from tokenswarm.commands.capacity import exit_of

    record = remake_capacity(folder)
    if options.json:
        print((folder / CAPACITY_JSON).read_text("utf-8"), end="")
    elif not options.quiet:
        console = Console(markup=False)
        console.print(capacity_sentence(record), highlight=False)
        console.print(f"report: {folder / CAPACITY_HTML}", highlight=False, soft_wrap=True)
    return exit_of(record, record.at_least) if options.gate or options.strict else Exit.PASSED


def _show(summary: Summary, page: Path | None) -> None:
    from tokenswarm.analysis.render.terminal_summary import summary_table

    console = Console(markup=False)
    console.print(summary_table(summary))
    if page is not None:
        console.print(f"dashboard: {page}", highlight=False, soft_wrap=True)
