"""summary.json through its one reader and its one writer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.manifest import HostRecord, LoadRecord, Reason
from tokenswarm.contract.summary.cache_records import Cache, Yardstick
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.header_records import Header
from tokenswarm.contract.summary.request_records import Cost, Counts, Outcomes
from tokenswarm.contract.summary.summary_file import (
    read_summary,
    refuse_newer_summary,
    summary_json,
    write_summary,
)
from tokenswarm.contract.summary.summary_record import SUMMARY_FORMAT, Summary
from tokenswarm.contract.summary.time_records import OutagePeriod, Outages
from tokenswarm.contract.summary.verdict_records import Baseline, Gate, SloGate

MEASURED = Figure(120.0, "ms", 40, [100.0, None])
NOT_MEASURED = Figure(unit="ms", n=3, why="needs 20 requests, has 3")


def rich_summary() -> Summary:
    """One that has something of everything that may be absent."""
    return Summary(
        run_id="r",
        verdict="INVALID",
        reasons=[Reason("worker_cpu", "INVALID", 0.97, 0.9, "share", "Busy.")],
        run=Header(load=LoadRecord(mode="open", rate=2)),
        latency={"ttft_ms": {"p50": MEASURED, "p95": NOT_MEASURED}},
        rates={"own_rate": Figure(3, "tok/s", 3)},
        cost=Cost(2.5, 2),
        slo=[
            SloGate("ttft_p95_ms", "TTFT p95", "<=", 400, "ms", "met", True, 0.7, MEASURED),
            SloGate("A.x", "A: x", user_class="A"),
        ],
        cache=Cache(yardstick=Yardstick(recorded=True, requests=3, blame="engine")),
        outages=Outages(1, periods=[OutagePeriod(1.0, 1.0, 2.0, True, 3, {"connect_refused": 3})]),
        counts=Counts(measured=Outcomes(3, 1, 1, 1)),
        baseline=Baseline("earlier", 0.05, [], [Gate("k", "t")]),
        drift_gates=[],
    )


def content(summary: Summary) -> dict:
    return json.loads(summary_json(summary))


def written(folder: Path, **cells: object) -> Path:
    (folder / "summary.json").write_text(json.dumps(cells))
    return folder


@pytest.mark.parametrize("summary", [Summary(), rich_summary()], ids=["nothing known", "much known"])
def test_what_is_written_is_what_is_read(tmp_path: Path, summary: Summary) -> None:
    write_summary(tmp_path, summary)
    assert read_summary(tmp_path) == summary
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"], "no temporary file is left"


@pytest.mark.parametrize("broken", [None, "", "{", "[1]"])
def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path, broken: str | None) -> None:
    if broken is not None:
        (tmp_path / "summary.json").write_text(broken)
    with pytest.raises(UserError, match=r"summary\.json cannot be read") as caught:
        read_summary(tmp_path)
    assert caught.value.code is Exit.RUN_FOLDER
    refuse_newer_summary(tmp_path)  # it may be made anew


@pytest.mark.parametrize("look", [read_summary, refuse_newer_summary])
def test_a_newer_format_is_refused_with_what_to_do(tmp_path: Path, look) -> None:
    with pytest.raises(UserError, match=f"summary.json has format {SUMMARY_FORMAT + 1}.*newer one") as caught:
        look(written(tmp_path, format=SUMMARY_FORMAT + 1))
    assert caught.value.code is Exit.RUN_FOLDER


def test_an_older_file_is_read_with_defaults_for_what_it_lacks(tmp_path: Path) -> None:
    old = written(
        tmp_path,
        verdict="VALID",
        latency={"ttft_ms": {"p50": {"value": 9.5, "unit": "ms", "n": 20}}},
        run={"model": "m"},
        rates={"requests_s": {"value": None, "unit": "req/s", "n": 0, "why": "no"}},
    )
    summary = read_summary(old)
    assert (summary.verdict, summary.run.model, summary.percentile("ttft_ms", "p50").value) == ("VALID", "m", 9.5)
    assert summary.percentile("ttft_ms", "p50").ends == (None, None)
    assert summary.percentile("ttft_ms", "p95").value is None and summary.percentile("own_ms", "p50").value is None
    assert summary.cost is None and summary.outages.periods == [] and summary.run.load.mode is None


def test_of_a_file_of_wrong_types_the_rest_is_read(tmp_path: Path) -> None:
    summary = read_summary(
        written(
            tmp_path,
            verdict=3,
            run_id="r",
            notes="none",
            counts={"measured": {"sent": 4}},
            slo=[{"key": "k", "limit": "fast"}, "x"],
        )
    )
    assert (summary.verdict, summary.run_id, summary.notes, summary.counts.measured.sent) == ("INCOMPLETE", "r", [], 4)
    assert [(gate.key, gate.limit, gate.state) for gate in summary.slo] == [("k", None, "undetermined")]


def test_what_may_be_absent_is_left_out_only_where_it_says_nothing() -> None:
    bare, rich = content(Summary()), content(rich_summary())
    assert rich.keys() - bare.keys() == {"baseline", "drift_gates"}
    assert rich["latency"]["ttft_ms"] == {
        "p50": {"value": 120.0, "unit": "ms", "n": 40, "ci95": [100.0, None]},
        "p95": {"value": None, "unit": "ms", "n": 3, "why": "needs 20 requests, has 3"},
    }
    assert rich["rates"]["own_rate"] == {"value": 3, "unit": "tok/s", "n": 3, "ci95": None}
    assert ["user_class" in gate for gate in rich["slo"]] == [False, True]
    assert bare["cache"]["yardstick"].keys() == {"recorded", "why"}
    assert "why" not in rich["cache"]["yardstick"] and rich["cache"]["yardstick"]["limited"] is None
    assert bare["run"]["load"] == {} and rich["run"]["load"]["rate"] == 2 and rich["run"]["host"] == {}
    assert content(Summary(run=Header(host=HostRecord(cores=2))))["run"]["host"]["cores"] == 2


def test_numbers_of_numpy_are_written_as_plain_ones() -> None:
    figure = Figure(np.float32(0.5), "ms", np.int64(7), [np.float64(0.25), None])
    out = content(Summary(rates={"r": figure}, simulated=np.bool_(True)))
    assert out["rates"]["r"] == {"value": 0.5, "unit": "ms", "n": 7, "ci95": [0.25, None]}
    assert out["simulated"] is True
    assert (
        content(Summary(per_user_tok_s={"p50": Figure(np.array([1.5])[0], "tok/s")}))["per_user_tok_s"]["p50"]["value"]
        == 1.5
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), np.float32("nan"), np.float64("inf")])
def test_what_is_not_finite_is_never_written(bad: float) -> None:
    out = content(
        Summary(
            rates={"r": Figure(bad, "tok/s", 3, [1.0, 2.0]), "s": Figure(1.0, "tok/s", 3, [bad, 2.0])},
            goodput=Summary().goodput,
            cost=Cost(gpu_hour_usd=bad),
        )
    )
    assert out["rates"]["r"] == {"value": None, "unit": "tok/s", "n": 3, "why": "the result was not a finite number"}
    assert out["rates"]["s"]["ci95"] == [None, 2.0] and out["cost"]["gpu_hour_usd"] is None
