"""Each scenario through the whole command line, on the embedded simulator."""

from __future__ import annotations

import csv

from tokenswarm.base.errors import Exit
from tokenswarm.contract.tables import (
    ENGINE_METRIC_COLUMNS,
    ENGINE_METRICS_CSV,
    HOST_METRIC_COLUMNS,
    HOST_METRICS_CSV,
    PROMPT_COLUMNS,
    PROMPTS_CSV,
    REQUEST_COLUMNS,
    REQUESTS_CSV,
    names,
)

from .support import Finished

MANIFEST_KEYS = {
    "format",
    "run_id",
    "status",
    "started_at",
    "ended_at",
    "simulated",
    "engine",
    "model",
    "scenario",
    "load",
    "seed",
    "salt",
    "argv",
    "host",
    "gpus",
    "versions",
    "git",
    "phases",
    "counts",
    "preflight",
    "validity",
}
USER_CLASSES = {
    "rag": "RagReader",
    "chat": "MultiTurnChatter",
    "batch": "BatchClassifier",
    "reasoning": "ReasoningUser",
}


def test_exit_code_follows_the_verdict(scenario_run: Finished) -> None:
    # A busy machine may make a run INVALID or miss an objective; the code must then say so.
    summary = scenario_run.summary
    missed = any(gate["state"] == "missed" for gate in summary["slo"])
    expected = Exit.INVALID if summary["verdict"] == "INVALID" else Exit.SLO_MISSED if missed else Exit.PASSED
    assert scenario_run.code == expected, scenario_run.err
    assert scenario_run.err == ""


def test_run_folder_is_complete(scenario_run: Finished) -> None:
    present = {path.name for path in scenario_run.path.iterdir()}
    assert present >= {
        "run.json",
        "requests.csv",
        "engine_metrics.csv",
        "host_metrics.csv",
        "locust_stats.csv",
        "locust_failures.csv",
        "locust_exceptions.csv",
        "locust_stats_history.csv",
        "summary.json",
        "dashboard.html",
    }
    for name, columns in (
        (REQUESTS_CSV, REQUEST_COLUMNS),
        (ENGINE_METRICS_CSV, ENGINE_METRIC_COLUMNS),
        (HOST_METRICS_CSV, HOST_METRIC_COLUMNS),
        (PROMPTS_CSV, PROMPT_COLUMNS),
    ):
        with (scenario_run.path / name).open(newline="") as file:
            assert next(csv.reader(file)) == names(columns)
        assert scenario_run.table(name), name
    assert not [name for name in present if name.startswith(".")], "temporary files were left"


def test_each_row_has_its_prompt_and_the_engine_gets_no_more_than_prompts_allow(scenario_run: Finished) -> None:
    rows = {(row["worker"], row["request_id"].rpartition("-")[2]) for row in scenario_run.table()}
    assert {(row["worker"], row["request"]) for row in scenario_run.table(PROMPTS_CSV)} == rows
    measured = scenario_run.summary["cache"]["yardstick"]
    assert measured["recorded"] and measured["requests_lost"] == measured["damaged_lines"] == 0
    assert measured["token_error"]["value"] < 0.05  # the simulator's tokens have four bytes
    assert measured["engine"]["value"] <= measured["ideal_range"][1] + 0.01


def test_manifest_tells_what_was_run(scenario_run: Finished) -> None:
    manifest = scenario_run.manifest
    assert set(manifest) >= MANIFEST_KEYS
    assert manifest["run_id"] == scenario_run.path.name
    assert manifest["status"] == "complete"
    assert [phase["name"] for phase in manifest["phases"]] == ["warmup", "measure", "drain"]
    assert all(
        before["end"] == after["start"]
        for before, after in zip(manifest["phases"], manifest["phases"][1:], strict=False)
    )
    assert manifest["scenario"]["overrides"]["load.users"] == "6"
    assert manifest["scenario"]["values"]["load"]["users"] == manifest["load"]["users"] == 6
    assert manifest["preflight"]["sdk_compatible"] is True
    assert manifest["engine"]["runtime"] == "local" and manifest["engine"]["cold_start_s"] > 0
    assert manifest["validity"]["verdict"] == scenario_run.summary["verdict"]


def test_everything_says_simulated(scenario_run: Finished) -> None:
    assert scenario_run.manifest["simulated"] is True
    assert scenario_run.summary["simulated"] is True
    assert "SIMULATED" in scenario_run.out
    assert "SIMULATED" in scenario_run.page


def test_counts_rows_and_locusts_own_totals_agree(scenario_run: Finished) -> None:
    rows, counts = scenario_run.table(), scenario_run.manifest["counts"]
    by_status = {status: sum(row["status"] == status for row in rows) for status in ("ok", "failed", "cancelled")}
    assert {status: counts[status] for status in by_status} == by_status
    assert counts["sent"] == counts["rows"] == len(rows) > 0
    assert by_status["ok"] > 0 and by_status["failed"] == 0
    total = next(row for row in scenario_run.table("locust_stats.csv") if row["Name"] == "Aggregated")
    assert int(total["Request Count"]) == by_status["ok"] + by_status["failed"]
    assert int(total["Failure Count"]) == by_status["failed"]


def test_locust_has_one_entry_per_user_class(scenario_run: Finished) -> None:
    entries = [row["Name"] for row in scenario_run.table("locust_stats.csv") if row["Name"] != "Aggregated"]
    expected = USER_CLASSES[scenario_run.manifest["scenario"]["name"]]
    assert entries == [expected]
    assert {row["user_class"] for row in scenario_run.table()} == {expected}


def test_no_process_is_left(scenario_run: Finished) -> None:
    assert scenario_run.left == []


def test_output_that_is_piped_is_plain_text(scenario_run: Finished) -> None:
    assert "\x1b" not in scenario_run.out and "\r" not in scenario_run.out
    assert scenario_run.out.splitlines()[-1] == str(scenario_run.path)


def test_rows_hold_what_the_scenario_is_about(scenario_run: Finished) -> None:
    rows = [row for row in scenario_run.table() if row["status"] == "ok"]
    name = scenario_run.manifest["scenario"]["name"]
    for row in rows:
        assert float(row["ttft_ms"]) <= float(row["ttfo_ms"] or "inf")
        assert float(row["ttft_ms"]) <= float(row["last_token_ms"]) == float(row["e2e_ms"])
        assert row["token_source"] == "usage" and int(row["completion_tokens"]) > 0
    if name == "rag":
        assert any(int(row["cached_tokens"]) > 500 for row in rows), "shared documents were never cached"
    elif name == "chat":
        assert any(int(row["turn"]) > 1 and int(row["cached_tokens"]) > 0 for row in rows)
    elif name == "batch":
        assert {row["valid_output"] for row in rows} <= {"true", "false"}
        assert all(int(row["completion_tokens"]) <= 10 for row in rows)
    else:
        thinking = [row for row in rows if row["ttfo_ms"]]
        assert thinking and all(float(row["ttfo_ms"]) > float(row["ttft_ms"]) for row in thinking)
