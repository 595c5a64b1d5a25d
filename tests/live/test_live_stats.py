"""Live figures, however they were split over processes and seconds, are those that the finished run's report gives."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise

from tests.analysis import make_run
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import bounds_of
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import REQUEST_COLUMNS, REQUESTS_CSV
from tokenswarm.live import live_stats as live
from tokenswarm.live.aggregate import RELATIVE_ERROR, Delta, LatencySketch
from tokenswarm.live.live_stats import LiveStats

SECONDS = 30.0
CONVERT = {"int": int, "ms": float, "unix_s": float, "float": float, "bool": lambda cell: cell == "true"}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of requests.csv as the load generator had them."""
    kinds = {column.name: CONVERT.get(column.kind, str) for column in REQUEST_COLUMNS}
    with (folder / REQUESTS_CSV).open(newline="", encoding="utf-8") as file:
        return [
            {name: kinds[name](cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(file)
        ]


def merged(rows: list[dict[str, Any]], workload: str, workers: int) -> LiveStats:
    """As a master has it from several workers that report every 40 requests, over the wire."""
    slo = make_run.SLO[workload]
    timeline = Timeline(make_run.START - make_run.WARMUP_S)
    timeline.set_window(make_run.START, SECONDS, make_run.DRAIN_S)
    stats = LiveStats(timeline, bounded=lambda _: True, open_loop=False)
    for worker in range(workers):
        mine = rows[worker::workers]
        for first in range(0, len(mine), 40):
            part = Delta()
            for row in mine[first : first + 40]:
                part.add(row, bounds_of(slo), timeline)
            wire = msgspec.msgpack.encode(part.packed())
            stats.merge(Delta.unpacked(msgspec.msgpack.decode(wire)))
    return stats


@pytest.mark.parametrize("workload", ["rag", "batch", "reasoning"])
def test_live_figures_are_the_reports_within_the_sketchs_error(tmp_path: Path, workload: str) -> None:
    folder = make_run.make_run(tmp_path / "run", workload, seconds=SECONDS, rate=20, failures=0.05)
    rows = rows_of(folder)
    stats = merged(rows, workload, workers=3)
    total = stats.snapshot()["since_start"]["total"]
    summary = summarise(read_run(folder))
    assert stats.counts == {status: getattr(summary.counts.all_phases, status) for status in stats.counts}
    assert {status: total[status] for status in stats.counts} == {
        status: getattr(summary.counts.measured, status) for status in stats.counts
    }
    for name in ("output_tok_s", "total_tok_s", "requests_s"):
        assert total[name] == pytest.approx(summary.rates[name].value, rel=1e-6), name
    assert total["goodput_rps"] == pytest.approx(summary.goodput.goodput_rps.value)
    assert total["attainment"] == pytest.approx(summary.goodput.attainment.value)
    assert total["hit_rate"] == pytest.approx(summary.cache.hit_rate.value)
    good = [row for row in rows if row["phase"] == "measure" and row["status"] == "ok"]
    for name in ("ttft", "ttfo", "e2e"):
        values = np.array([row[f"{name}_ms"] for row in good])
        for q in METRICS["ttft"].percentiles:
            low, high = (np.percentile(values, q, method=side) for side in ("lower", "higher"))
            assert low * (1 - RELATIVE_ERROR) <= total[f"{name}_p{q}_ms"] <= high * (1 + RELATIVE_ERROR), (name, q)
    tpot = summary.latency["tpot_ms"]["p50"].value
    assert total["tpot_p50_ms"] == pytest.approx(tpot, rel=2 * RELATIVE_ERROR)


@pytest.mark.parametrize("error_ms", [0.5, 4.5, 60.0, 5000.0])
@pytest.mark.parametrize("workload", ["rag", "reasoning"])
def test_what_the_report_withholds_for_its_timing_is_withheld_live_too(
    tmp_path: Path, workload: str, error_ms: float
) -> None:
    folder = make_run.make_run(tmp_path / "run", workload, seconds=SECONDS, rate=20)
    with (folder / REQUESTS_CSV).open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    with (folder / REQUESTS_CSV).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(row | {"ttft_uncertainty_ms": str(error_ms)} for row in table)
    stats = merged(rows_of(folder), workload, workers=2)
    since, report = stats.snapshot()["since_start"], summarise(read_run(folder)).latency
    withheld = {key for key, figures in report.items() if "its timing may be off" in (figures["p50"].why or "")}
    assert withheld == set(since["total"]["untimed"]) & set(report)
    assert {"ttft_ms"} <= withheld if error_ms > 4.0 else not withheld
    assert "tpot_ms" in withheld if error_ms > 1000.0 else "tpot_ms" not in withheld
    for block in (since["total"], *since["classes"].values()):
        for key in report:
            name = f"{key.removesuffix('_ms')}_p50_ms"
            assert name not in block or (block[name] is None) == (key in withheld), name
    line = stats.figures()
    assert (line["ttft_p95_ms"] is None) == ("ttft_ms" in withheld) == bool(line["ttft_why"])
    for why in (line["ttft_why"], since["total"]["untimed"]["ttft_ms"]) if withheld else ():
        words, ms = re.fullmatch(r"(its timing may be off by) ([\d.,]+) ms, limit [\d.]+ ms", why).groups()
        assert words in report["ttft_ms"]["p50"].why
        assert float(ms.replace(",", "")) == pytest.approx(error_ms, rel=3 * RELATIVE_ERROR)


def test_classes_add_up_to_the_total(tmp_path: Path) -> None:
    rows = rows_of(make_run.make_run(tmp_path / "run", "rag", seconds=SECONDS))
    for row in rows[::3]:
        row["user_class"] = "Other"
    since = merged(rows, "rag", workers=2).snapshot()["since_start"]
    assert sorted(since["classes"]) == ["Other", "RagReader"]
    for name in ("ok", "failed", "requests", "output_tok_s", "goodput_rps"):
        assert sum(block[name] for block in since["classes"].values()) == pytest.approx(since["total"][name]), name


def test_what_ended_more_than_ten_seconds_ago_is_no_longer_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    timeline = Timeline(0.0)
    stats = LiveStats(timeline, bounded=lambda _: False, open_loop=False)
    for status, step in (("ok", 6.0), ("failed", 6.0)):
        part = Delta()
        part.add(
            make_run.row(
                status=status,
                error=None if status == "ok" else "overloaded",
                **dict.fromkeys(("lateness_ms", "scheduled_at")),
            ),
            {},
            timeline,
        )
        stats.merge(part)
        now[0] += step
    last = stats.snapshot()["last"]["total"]
    assert (last["ok"], last["failed"], last["errors"]) == (0, 1, {"overloaded": 1})
    assert (last["goodput_rps"], last["output_tok_s"]) == (None, 10.0)
    assert stats.counts["ok"] == 1


def test_a_report_to_the_master_does_not_grow_with_the_requests() -> None:
    rng = np.random.default_rng(1)
    timeline = Timeline(0.0, 0.0, 1e12, 1e12)

    def size(requests: int) -> int:
        part = Delta()
        for ttft in rng.lognormal(5, 1.0, requests):
            part.add(
                make_run.row(
                    ttft_ms=float(ttft),
                    ttfo_ms=float(ttft),
                    last_token_ms=float(ttft) * 3,
                    e2e_ms=float(ttft) * 3,
                    lateness_ms=None,
                    error=None,
                ),
                {},
                timeline,
            )
        return len(msgspec.msgpack.encode(part.packed()))

    assert size(10_000) < 1.6 * size(1_000) < 16_000


def test_counts_at_bounds_are_those_of_the_values_up_to_the_bins_width() -> None:
    values = np.random.default_rng(2).lognormal(4, 1.5, 5_000)
    distribution = LatencySketch()
    for value in values:
        distribution.add(float(value))
    for bound, count in zip((10, 50, 200, 1e9), distribution.at_most((10, 50, 200, 1e9)), strict=True):
        near = [(values <= bound * factor).sum() for factor in (1 - RELATIVE_ERROR, 1 + RELATIVE_ERROR)]
        assert near[0] <= count <= near[1]
    assert distribution.total == pytest.approx(values.sum())


def test_nothing_seen_yet_is_no_figure_and_no_error() -> None:
    snapshot = LiveStats(Timeline(0.0), bounded=lambda _: True, open_loop=True).snapshot()
    assert snapshot["since_start"]["total"]["ttft_p95_ms"] is None
    assert snapshot["since_start"]["total"]["output_tok_s"] is None
    assert snapshot["generator"]["light"] == "grey"
    msgspec.json.encode(snapshot)


@pytest.mark.parametrize(("told", "rate"), [([500, 0], 0.25), ([500, None], 0.25), ([None, None], None), ([0, 0], 0.0)])
def test_an_engine_that_leaves_out_its_misses_has_them_counted_all_the_same(told: list, rate: float | None) -> None:
    part = Delta()
    for cached in told:
        part.add(make_run.row(cached_tokens=cached, lateness_ms=None, error=None), {}, Timeline(0.0))
    (tally,) = part.tallies.values()
    assert tally.hit_rate == rate
