"""Each user class of a mix is judged by its own scenario's objectives: goodput, gates, and the totals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise

from tokenswarm.contract.objectives import RequestBounds
from tokenswarm.contract.summary.summary_record import Summary

from ..make_run import START, manifest, row, write_run

RAG, BATCH = {"ttft_p95_ms": 200}, {"e2e_p95_ms": 5000, "error_rate": 0.1}


def mixed(
    tmp_path: Path,
    of_mix: dict[str, Any] | None = None,
    rag: dict[str, Any] | None = None,
    batch: dict[str, Any] | None = None,
    **cells: Any,
) -> Summary:
    """30 requests of each class: a third of the readers' wait for 300 ms, every one of the batch job's does so."""
    rows = []
    for i in range(30):
        rows.append(row(request_id=f"r{i}", sent_at=START + i, ttft_ms=(300.0 if i % 3 == 0 else 100.0) + i / 1000))
        rows.append(
            row(request_id=f"b{i}", sent_at=START + i, user_class="BatchClassifier", ttft_ms=300.0 + i / 1000) | cells
        )
    facts = manifest(seconds=60.0)
    facts["scenario"] = facts["scenario"] | {"workload": "mix", "values": {"slo": of_mix or {}}}
    facts["classes"] = {
        "RagReader": {"name": "rag", "values": {"slo": RAG if rag is None else rag}},
        "BatchClassifier": {"name": "batch", "values": {"slo": BATCH if batch is None else batch}},
    }
    return summarise(read_run(write_run(tmp_path, rows, facts)))


def test_a_request_is_good_where_it_keeps_the_objectives_of_its_own_class(tmp_path: Path) -> None:
    summary = mixed(tmp_path)
    readers, job = summary.user_classes["RagReader"], summary.user_classes["BatchClassifier"]
    assert readers.attainment.value == pytest.approx(20 / 30)
    assert job.attainment.value == 1.0, "nobody waits for a document: its TTFT is not bounded"
    assert summary.goodput.attainment.value == pytest.approx(50 / 60)
    assert summary.goodput.goodput_rps.value == pytest.approx(50 / 60)
    assert summary.goodput.goodput_rps.value == pytest.approx(readers.goodput_rps.value + job.goodput_rps.value)


def test_the_bounds_of_a_mix_name_their_class_and_those_of_a_class_do_not(tmp_path: Path) -> None:
    summary = mixed(tmp_path)
    assert summary.goodput.bounds == {"RagReader.ttft_ms": 200.0, "BatchClassifier.e2e_ms": 5000.0}
    assert summary.of_class("RagReader").goodput.bounds == {"ttft_ms": 200.0}
    assert mixed(tmp_path / "same", batch=RAG).goodput.bounds == {"ttft_ms": 200.0}


def test_each_class_has_the_gates_of_its_scenario_over_its_own_requests(tmp_path: Path) -> None:
    failing = {"status": "failed", "error": "overloaded"}
    gates = {gate.key: gate for gate in mixed(tmp_path, {"error_rate": 0.6}, **failing).slo}
    assert gates["RagReader.ttft_p95_ms"].state == "missed" and gates["RagReader.ttft_p95_ms"].user_class == "RagReader"
    assert gates["BatchClassifier.error_rate"].state == "missed"
    assert gates["BatchClassifier.error_rate"].figure.value == 1.0
    assert gates["error_rate"].state == "met", "the mix's own objective is about all requests"
    assert gates["error_rate"].figure.value == 0.5 and gates["error_rate"].user_class is None


def test_a_line_of_the_mix_about_a_class_takes_the_place_of_that_classs_own(tmp_path: Path) -> None:
    summary = mixed(tmp_path, {"RagReader": {"ttft_p95_ms": 400}})
    gates = [gate for gate in summary.slo if gate.user_class == "RagReader"]
    assert [(gate.key, gate.limit, gate.state) for gate in gates] == [("RagReader.ttft_p95_ms", 400, "met")]


def test_goodput_of_the_whole_is_not_known_where_a_class_does_not_say_what_is_good(tmp_path: Path) -> None:
    summary = mixed(tmp_path, batch={"error_rate": 0.1})
    assert summary.goodput.goodput_rps.value is None
    assert summary.goodput.attainment.why == "BatchClassifier has no objective on a latency"
    assert summary.user_classes["RagReader"].attainment.value == pytest.approx(20 / 30)
    assert summary.user_classes["BatchClassifier"].attainment.value is None


def test_a_class_of_which_nobody_came_misses_its_gates(tmp_path: Path) -> None:
    facts = manifest(seconds=60.0)
    facts["classes"] = {"RagReader": {"values": {"slo": RAG}}, "BatchClassifier": {"values": {"slo": BATCH}}}
    facts["scenario"]["values"] = {}
    rows = [row(request_id=f"r{i}", sent_at=START + i) for i in range(30)]
    gates = {gate.key: gate for gate in summarise(read_run(write_run(tmp_path, rows, facts))).slo}
    assert gates["RagReader.ttft_p95_ms"].state == "met"
    assert gates["BatchClassifier.e2e_p95_ms"].state == "missed"
    assert gates["BatchClassifier.e2e_p95_ms"].figure.why == "no BatchClassifier sent a request"


def test_bounds_are_known_over_several_classes_where_each_has_some() -> None:
    bounds = RequestBounds({}, {"A": {"ttft_ms": 1.0}, "B": {}})
    assert bounds.bounded(["A"]) and not bounds.bounded(["A", "B"]) and not bounds.bounded([])
    assert not bounds.bounded(["A", "Other"]), "whoever has no scenario of its own is bound by the leading one"
    assert RequestBounds({"ttft_ms": 1.0}).bounded([]) and RequestBounds({"ttft_ms": 1.0}).of(float("nan"))


def test_the_shares_that_came_out_of_a_mix_stand_beside_those_asked_for(tmp_path: Path) -> None:
    rows = [row(request_id=f"r{i}", sent_at=START + i, turn=1 + i % 2) for i in range(40)]
    rows += [row(request_id=f"b{i}", sent_at=START + i, user_class="BatchClassifier", turn=1) for i in range(10)]
    facts = manifest(seconds=60.0)
    parts = [{"user_class": "RagReader", "weight": 3}, {"user_class": "BatchClassifier", "weight": 1}]
    facts["scenario"]["values"] = {"mix": {"of": "sessions", "parts": parts}}
    summary = summarise(read_run(write_run(tmp_path, rows, facts)))
    share = summary.user_classes["RagReader"].share
    assert (share.of, share.asked, share.requests.value) == ("sessions", 0.75, 0.8)
    assert share.sessions.value == pytest.approx(20 / 30)
    note = next(note for note in summary.notes if note.startswith("Mix:"))
    assert "session starts were to be RagReader 75" in note and "RagReader 80" in note
