"""Every kind of page that tokenswarm writes, made cheaply: runs in virtual time, and records that real series left.

`records/` holds what `decide`, `capacity`, `tune`, `oneshot`, `qualify` and `claims` wrote on the simulator (the claims
with evidence filled in by hand); their pages are made anew from it, so a page is always today's.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from tokenswarm.analysis.capacity_files import compare_capacities
from tokenswarm.analysis.claims_files import write_claims_files
from tokenswarm.analysis.compare.comparison_report import compare_runs
from tokenswarm.analysis.compare_files import write_comparison
from tokenswarm.analysis.decision_files import write_decision_files
from tokenswarm.analysis.one_shot_files import write_one_shot_files
from tokenswarm.analysis.qualification_files import write_qualification_files
from tokenswarm.analysis.render.capacity_page import render_capacity
from tokenswarm.analysis.run_report import report
from tokenswarm.analysis.tune_files import write_tune_files

from tests.analysis.figures.test_interference import folder as run_of_interference
from tests.analysis.make_run import make_run
from tests.analysis.test_load_levels import made as run_of_levels
from tokenswarm.cli import main
from tokenswarm.contract.capacity_record import read_capacity
from tokenswarm.contract.claims_record import read_claims
from tokenswarm.contract.decision_record import read_decision
from tokenswarm.contract.one_shot_record import read_one_shot
from tokenswarm.contract.qualification_record import read_qualification
from tokenswarm.contract.tables import DASHBOARD_HTML, REQUESTS_CSV
from tokenswarm.contract.tune_record import read_tune
from tokenswarm.imports.folder import import_file
from tokenswarm.run.life import LoadTools
from tokenswarm.run.options import LoadOptions
from tokenswarm.virtual.virtual_load import EngineClock, VirtualLoad

RECORDS = Path(__file__).parent / "records"
FOREIGN = Path(__file__).parents[1] / "imports" / "data"
"""Result files that other tools wrote."""
MANY = 300
"""Entries of the page of results: more than it shows at once."""


def _virtual(folder: Path, scenario: str, data: str | None = None, engine: str = "sim-vllm", **settings: str) -> Path:
    options = LoadOptions(engine=engine, scenario=scenario, results=folder, data=data, overrides=settings)
    run = VirtualLoad(EngineClock())(options, Console(file=io.StringIO()), LoadTools()).folder
    report(run)
    return run / DASHBOARD_HTML


def _recorded(workload: str, **facts: Any) -> Callable[[Path], Path]:
    """The page of a made-up run with these facts."""

    def made(folder: Path) -> Path:
        run = make_run(folder / "run", workload, seconds=30, **facts)
        report(run)
        return run / DASHBOARD_HTML

    return made


def _of_scenario(scenario: str, **load: str) -> Callable[[Path], Path]:
    """The page of a run in virtual time under this load."""
    settings = {f"load.{key}": value for key, value in load.items()}
    return lambda folder: _virtual(folder, scenario, **settings)


def _soak(folder: Path) -> Path:
    """Long enough for drift, in an open loop."""
    run = make_run(folder / "run", "chat", seconds=330, rate=4, open_loop=True)
    report(run)
    return run / DASHBOARD_HTML


def _levels(folder: Path) -> Path:
    run = run_of_levels(folder)
    report(run)
    return run / DASHBOARD_HTML


def _imported(folder: Path) -> Path:
    """A run of another tool, whose generator nobody checked."""
    [run] = import_file(FOREIGN / "vllm-bench-openai-chat.json", results=folder)
    report(run)
    return run / DASHBOARD_HTML


def _imported_comparison(folder: Path) -> Path:
    names = ("vllm-bench-openai-chat.json", "sglang-bench-serving.jsonl")
    a, b = (import_file(FOREIGN / name, results=folder) for name in names)
    write_comparison(compare_runs(a=a, b=b, labels=("vllm bench", "sglang bench")), folder / "comparison")
    return folder / "comparison" / "comparison.html"


def _interference(folder: Path) -> Path:
    """Bystanders and whoever disturbs them: the rows of two classes."""
    run = run_of_interference(folder / "run").folder
    header, *rows = (run / REQUESTS_CSV).read_text().splitlines()
    few = [row for number, row in enumerate(rows) if "Chatter" not in row or number % 4 == 0]
    (run / REQUESTS_CSV).write_text("\n".join([header, *few]) + "\n")
    report(run)
    return run / DASHBOARD_HTML


def _trace(folder: Path) -> Path:
    file = folder / "production-requests-of-a-whole-week.jsonl"
    lines = [
        {"timestamp": 400 * n, "input_length": 600 + 512 * (n % 3), "output_length": 8 + n % 40}
        | {"hash_ids": [n % 5, *range(10 + 10 * n, 11 + 10 * n + n % 3)]}
        for n in range(40)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def _replay(folder: Path) -> Path:
    return _virtual(folder, "replay", str(_trace(folder)))


def _profile(folder: Path) -> Path:
    page = folder / "profile.html"
    assert main(["profile", str(_trace(folder)), "--html", str(page)]) == 0
    return page


def _runs(folder: Path, count: int) -> list[Path]:
    made = []
    for seed in range(1, count + 1):
        name = f"20270{seed:03}-010000-sim-rag-16u-{seed:04x}"
        made.append(make_run(folder / name, "rag", seconds=25, failures=0.05, seed=seed, run_id=name))
        report(made[-1])
    return made


def _comparison(folder: Path) -> Path:
    runs = _runs(folder, 4)
    write_comparison(compare_runs(a=runs[:2], b=runs[2:]), folder / "comparison")
    return folder / "comparison" / "comparison.html"


def _pairs(folder: Path) -> Path:
    """Two engines in three pairs with the same work, each run in virtual time."""
    sides: dict[str, list[Path]] = {"sim-vllm": [], "sim-sglang": []}
    for seed in ("1", "2", "3"):
        for engine, runs in sides.items():
            work = {"prompts.seed": seed, "prompts.salt": f"pair {seed}", "chat.assistant_turns": "corpus"}
            load = {"load.users": "12", "load.duration_s": "20", "load.warmup_s": "2"}
            page = _virtual(folder, "chat", engine=engine, **work, **load)
            runs.append(page.parent)
    write_comparison(compare_runs(a=sides["sim-vllm"], b=sides["sim-sglang"]), folder / "comparison")
    return folder / "comparison" / "comparison.html"


def _copied(folder: Path, name: str) -> Path:
    shutil.copy(RECORDS / f"{name}.json", folder / f"{name}.json")
    return folder


def _capacity(folder: Path) -> Path:
    page = folder / "capacity.html"
    page.write_text(render_capacity(read_capacity(_copied(folder, "capacity"))))  # figures of its levels are recorded
    return page


def _capacities(folder: Path) -> Path:
    compare_capacities([_copied(folder, "capacity")] * 2, ("one server", "another server"), folder / "two")
    return folder / "two" / "capacities.html"


def _remade(name: str, read: Callable[[Path], Any], write: Callable[[Any, Path], object]) -> Callable[[Path], Path]:
    """The page `name`.html, made anew from the record of that name."""

    def made(folder: Path) -> Path:
        write(read(_copied(folder, name)), folder)
        return folder / f"{name}.html"

    return made


def _library(folder: Path) -> Path:
    """MANY runs of three scenarios, and what is damaged."""
    results = folder / "results"
    [run] = _runs(results, 1)
    summary = json.loads((run / "summary.json").read_text())
    for number in range(MANY):
        summary["run_id"] = f"2028{number:04}-010000-sim-rag-16u-{number:04x}"
        summary["run"]["started_at"] = f"2028-{1 + number // 28:02}-{1 + number % 28:02}T01:00:00Z"
        summary["run"]["scenario"]["name"] = ("rag", "chat", "batch")[number % 3]
        summary["latency"]["ttft_ms"]["p95"]["value"] = 300.0 + number
        (results / summary["run_id"]).mkdir()
        (results / summary["run_id"] / "summary.json").write_text(json.dumps(summary))
    (results / "torn").mkdir()
    (results / "torn" / "summary.json").write_text('{"run')
    assert main(["results", str(results)]) == 0
    return results / "index.html"


PAGES: Mapping[str, Callable[[Path], Path]] = {
    "single run": _recorded("rag", failures=0.05),
    "reasoning": _recorded("reasoning"),
    "batch": _recorded("batch", open_loop=True),
    "chat": _of_scenario("chat", users="12", duration_s="30"),
    "objectives missed": _of_scenario("rag", users="12", duration_s="30"),
    "engine overloaded": _of_scenario("chat", rate="20", duration_s="40", max_in_flight="4000"),
    "generator too slow": _recorded("chat", cpu=0.99),
    "interrupted": _recorded("chat", status="interrupted"),
    "imported": _imported,
    "soak": _soak,
    "levels": _levels,
    "agents": _of_scenario("agent", users="6", duration_s="60", warmup_s="5"),
    "structured": _of_scenario("structured", users="6", duration_s="20", warmup_s="5"),
    "interference": _interference,
    "replay": _replay,
    "comparison": _comparison,
    "pairs": _pairs,
    "imported comparison": _imported_comparison,
    "capacity": _capacity,
    "two capacities": _capacities,
    "tune": _remade("tune", read_tune, write_tune_files),
    "decision": _remade("decision", read_decision, write_decision_files),
    "claims": _remade("claims", read_claims, write_claims_files),
    "one shot": _remade("oneshot", read_one_shot, write_one_shot_files),
    "qualification": _remade("qualification", read_qualification, write_qualification_files),
    "profile": _profile,
    "results": _library,
}
"""What makes each page in an empty folder: the path of the page."""
