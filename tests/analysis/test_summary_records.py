"""summary.json of many kinds of runs is complete as records, and valid by its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from tokenswarm.analysis.compare.comparison_report import compare_runs
from tokenswarm.analysis.run_report import report

from tests.analysis.make_run import START, make_run, manifest, row, write_run
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.json_schemas import summary_schema
from tokenswarm.contract.summary.summary_file import read_summary, summary_json
from tokenswarm.contract.summary.summary_record import Summary

OLD = Path(__file__).parent / "data" / "run_format_1"


def _scenario(slo: dict[str, Any]) -> dict[str, Any]:
    scenario = manifest("rag")["scenario"]
    return scenario | {"values": {"slo": slo}}


def _with_baseline(folder: Path) -> Summary:
    earlier = make_run(folder / "earlier", "rag", seconds=20)
    return report(make_run(folder / "run", "rag", seconds=20, seed=2), baseline=earlier, dashboard=False)


def _made(folder: Path, workload: str = "rag", fail_on_drift: bool = False, **facts: Any) -> Summary:
    return report(
        make_run(folder / "run", workload, **({"seconds": 20} | facts)), fail_on_drift=fail_on_drift, dashboard=False
    )


def _classes(folder: Path) -> Summary:
    rows = [row(request_id=f"r-{i}", user_class=("RagReader", "ChatUser")[i % 2]) for i in range(40)]
    slo = {"ttft_p95_ms": 900, "RagReader": {"ttft_p95_ms": 900}, "Nobody": {"ttft_p95_ms": 900}}
    return report(write_run(folder / "run", rows, manifest("rag", scenario=_scenario(slo))), dashboard=False)


def _away(folder: Path) -> Summary:
    """The engine is away from the 20th second to the 30th."""
    start = manifest("rag")["phases"][1]["start"]
    rows = [
        row(
            request_id=f"r-{i}",
            sent_at=start + i,
            **({"status": "failed", "error": "connect_refused"} if 20 <= i < 30 else {}),
        )
        for i in range(60)
    ]
    return report(write_run(folder / "run", rows), dashboard=False)


def _levels(folder: Path) -> Summary:
    levels = [
        {"number": 1, "start": START, "end": START + 30, "began": "start", "users": 4},
        {"number": 2, "start": START + 30, "end": START + 60, "began": "changed", "users": 8},
    ]
    return report(
        make_run(folder / "run", "rag", cost={"gpu_hour_usd": 2.5, "gpus": 2}, levels=levels), dashboard=False
    )


KINDS: dict[str, Callable[[Path], Summary]] = {
    "rag": _made,
    "chat": lambda folder: _made(folder, "chat"),
    "batch": lambda folder: _made(folder, "batch"),
    "reasoning": lambda folder: _made(folder, "reasoning"),
    "open loop": lambda folder: _made(folder, open_loop=True),
    "drift gates": lambda folder: _made(folder, fail_on_drift=True, seconds=700, rate=2),
    "cost": lambda folder: _made(folder, cost={"gpu_hour_usd": 2.5, "gpus": 2}),
    "invalid": lambda folder: _made(folder, cpu=0.97),
    "recorded reason": lambda folder: _made(
        folder,
        status="aborted",
        validity={
            "verdict": "INVALID",
            "reasons": [{"rule": "workers_lost", "verdict": "INVALID", "sentence": "One was lost."}],
        },
        ended_early={"rule": "disk", "code": 7, "sentence": "The disk is full."},
    ),
    "refused gate": lambda folder: _made(folder, scenario=_scenario({"no_such_figure": 3, "ttft_p95_ms": "fast"})),
    "failures": lambda folder: _made(folder, failures=0.3),
    "baseline": _with_baseline,
    "user classes": _classes,
    "levels": _levels,
    "outage": _away,
    "empty": lambda folder: report(write_run(folder / "run", []), dashboard=False),
    "nothing known": lambda folder: report(write_run(folder / "run", [], {}), dashboard=False),
}
PART_THAT_MUST_BE_THERE: dict[str, Callable[[Summary], object]] = {
    "cost": lambda summary: summary.cost,
    "baseline": lambda summary: summary.baseline.gates,
    "drift gates": lambda summary: summary.drift_gates,
    "outage": lambda summary: summary.outages.periods,
    "user classes": lambda summary: len(summary.user_classes) == 2,
    "levels": lambda summary: len(summary.levels) == 2 and summary.levels[0].cost,
    "invalid": lambda summary: summary.verdict == "INVALID",
    "recorded reason": lambda summary: summary.run.ended_early.sentence,
    "failures": lambda summary: summary.errors.kinds,
    "refused gate": lambda summary: summary.slo,
}


@cache
def _schema() -> jsonschema.Draft202012Validator:
    """That of a summary; `test_the_schema_is_one` checks it."""
    return jsonschema.Draft202012Validator(summary_schema())


def _keeps(folder: Path) -> Summary:
    """The summary of a folder, whose file is no more and no less than its records, and keeps to the schema."""
    content, summary = json.loads((folder / "summary.json").read_text()), read_summary(folder)
    _schema().validate(content)
    assert msgspec.convert(content, Summary) == summary
    assert json.loads(summary_json(summary)) == content
    return summary


@pytest.mark.parametrize("kind", KINDS)
def test_the_records_are_the_whole_of_a_summary(kind: str, tmp_path: Path) -> None:
    made = KINDS[kind](tmp_path)
    summary = _keeps(tmp_path / "run")
    assert PART_THAT_MUST_BE_THERE.get(kind, lambda _: True)(summary)
    assert summary == made


def test_the_summary_of_a_real_run_with_recorded_prompts_too(tmp_path: Path) -> None:
    for path in OLD.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    report(tmp_path, dashboard=False)
    assert _keeps(tmp_path).cache.yardstick.recorded


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(summary_schema())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The summary of a run, as it is written."""
    return summary_json(_made(tmp_path_factory.mktemp("plain")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"notes": "none"},
        {"run": {}},
        {"rates": {"requests_s": 3}},
        {"slo": [{"key": "ttft_p95_ms"}]},
        {"valid_output": {"value": "1", "unit": "share", "n": 1}},
    ],
)
def test_what_is_no_summary_does_not_keep_to_it(wrong: dict, plain: str) -> None:
    _schema().validate(json.loads(plain))
    with pytest.raises(jsonschema.ValidationError):
        _schema().validate(json.loads(plain) | wrong)


@pytest.mark.parametrize("of", ["run", "baseline", "compare"])
def test_figures_that_a_newer_version_made_are_neither_replaced_nor_compared(of: str, tmp_path: Path) -> None:
    newer, other = make_run(tmp_path / "newer", "rag", seconds=20), make_run(tmp_path / "other", "rag", seconds=20)
    (newer / "summary.json").write_text('{"format": 99}')
    ways: dict[str, Callable[[], object]] = {
        "run": lambda: report(newer),
        "baseline": lambda: report(other, baseline=newer),
        "compare": lambda: compare_runs(a=[other], b=[newer]),
    }
    with pytest.raises(UserError, match=r"newer: summary.json has format 99.*use a newer one") as caught:
        ways[of]()
    assert caught.value.code is Exit.RUN_FOLDER
    assert (newer / "summary.json").read_text() == '{"format": 99}' and not (other / "summary.json").exists()
