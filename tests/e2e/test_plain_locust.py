"""The locustfiles under plain Locust, without tokenswarm's own command line."""

from __future__ import annotations

from tokenswarm.base.errors import Exit

from .support import Finished


def test_plain_locust_makes_a_run_folder(series: dict[str, Finished]) -> None:
    run = series["locust"]
    assert run.code == 0, run.err
    assert run.left == []
    manifest = run.manifest
    assert manifest["status"] == "complete" and manifest["simulated"] is True
    assert manifest["model"] == "sim-8b"
    assert manifest["counts"]["rows"] == len(run.table()) > 0


def test_manifest_holds_what_locust_was_given(series: dict[str, Finished]) -> None:
    load = series["locust"].manifest["load"]
    assert load["users"] == 4 and load["warmup_s"] == 1.0 and load["duration_s"] == 3.0
    assert any("warm-up was shortened" in note for note in series["locust"].manifest["notes"])


def test_some_requests_are_measured(series: dict[str, Finished]) -> None:
    assert {row["phase"] for row in series["locust"].table()} >= {"warmup", "measure"}
    assert [phase["name"] for phase in series["locust"].manifest["phases"]][:2] == ["warmup", "measure"]


def test_report_makes_the_dashboard_of_such_a_run(series: dict[str, Finished]) -> None:
    assert series["report"].code == Exit.PASSED, series["report"].err
    assert "SIMULATED" in series["report"].out
    assert series["locust"].summary["counts"]["measured"]["ok"] > 0
    assert "SIMULATED" in series["locust"].page
