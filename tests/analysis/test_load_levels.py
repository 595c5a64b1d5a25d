"""A run with several loads: each level has figures and gates, and there are none over all of them."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tokenswarm.analysis.compare.comparison_report import compare_runs
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.dashboard import render
from tokenswarm.analysis.render.markdown import markdown
from tokenswarm.analysis.render.terminal_summary import summary_table
from tokenswarm.analysis.run_report import report
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.wording import load_sentence

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.summary_file import read_summary
from tokenswarm.contract.summary.summary_record import Summary

USERS, TTFT_MS = (32, 48, 8), (100.0, 900.0, 50.0)
SLO = {"ttft_p95_ms": 500, "error_rate": 0.01}


def host(seconds: float = 60.0) -> list[dict[str, Any]]:
    return [
        {
            "at": START + at,
            "source": "worker 0",
            "cpu_share": 0.2,
            "loop_lag_ms": 0.1,
            "read_lag_p99_ms": 0.1,
            "in_flight": 8,
        }
        for at in range(int(seconds))
    ]


def rows(failed_in: int | None = None, ttft_ms: tuple[float, ...] = TTFT_MS) -> list[dict[str, Any]]:
    """Two requests a second for 60 s, whose TTFT is that of their level of 20 s."""
    made = []
    for place in range(120):
        level, at = place // 40, START + place / 2
        cells = {"ttft_ms": ttft_ms[level] + place % 40 / 10}
        if level == failed_in:
            cells = {
                "status": "failed",
                "error": "overloaded",
                "ttft_ms": None,
                "last_token_ms": None,
                "e2e_ms": 5.0,
                "completion_tokens": None,
            }
        made.append(row(request_id=f"r{place}", sent_at=at, level=level + 1, **cells))
    return made


def changed(users: tuple[int, ...] = USERS, began: str = "changed") -> list[dict[str, Any]]:
    return [
        {
            "number": place + 1,
            "start": START + 20 * place,
            "end": START + 20 * (place + 1),
            "users": number,
            "began": began if place else "start",
        }
        for place, number in enumerate(users)
    ]


def made(
    folder: Path,
    slo: dict[str, Any] | None = None,
    failed_in: int | None = None,
    ttft_ms: tuple[float, ...] = TTFT_MS,
    **facts: Any,
) -> Path:
    scenario = manifest()["scenario"] | {"values": {"slo": SLO if slo is None else slo}}
    levels = facts.pop("levels", changed())
    return write_run(folder, rows(failed_in, ttft_ms), manifest(scenario=scenario, levels=levels, **facts), host=host())


def summary_of(folder: Path, **more: Any) -> Summary:
    return summarise(read_run(made(folder, **more)))


def test_each_level_has_the_figures_of_its_own_requests(tmp_path: Path) -> None:
    levels = summary_of(tmp_path).levels
    assert [level.users for level in levels] == list(USERS)
    medians = [level.percentile("ttft_ms", "p50").value for level in levels]
    assert medians == pytest.approx([102.0, 902.0, 52.0], abs=0.2)
    assert [level.counts.sent for level in levels] == [40, 40, 40]
    assert [(level.at_s, level.seconds) for level in levels] == [(0, 20), (20, 20), (40, 20)]


def test_a_levels_figures_are_those_of_a_run_of_that_level_alone(tmp_path: Path) -> None:
    second = summary_of(tmp_path / "whole").levels[1]
    alone = [cells for cells in rows() if cells["level"] == 2]
    phases = [{"name": "measure", "start": START + 20, "end": START + 40}]
    run = summarise(read_run(write_run(tmp_path / "alone", alone, manifest(phases=phases), host=host())))
    assert second.latency == run.latency and second.per_user_tok_s == run.per_user_tok_s
    assert second.rates["sent_s"].value == run.rates["sent_s"].value


def test_what_depends_on_the_load_is_no_number_over_several(tmp_path: Path) -> None:
    summary = summary_of(tmp_path)
    blended = [figure for figures in summary.latency.values() for figure in figures.values()]
    blended += [
        *summary.rates.values(),
        *summary.gaps.values(),
        *summary.per_user_tok_s.values(),
        summary.errors.rate,
        summary.goodput.goodput_rps,
        summary.goodput.attainment,
    ]
    assert blended and all(figure.value is None and "3 load levels" in str(figure.why) for figure in blended)
    assert summary.counts.measured.sent == 120, "counts are of the whole run"


def test_every_metric_of_the_registry_is_found_in_a_level_as_in_a_run(tmp_path: Path) -> None:
    level = summary_of(tmp_path / "a", cost={"gpu_hour_usd": 2.0, "gpus": 1}).levels[0]
    one_load = summary_of(tmp_path / "b", levels=[], cost={"gpu_hour_usd": 2.0, "gpus": 1})
    assert not one_load.levels
    missing = [
        rate.name
        for rate in METRICS.rates()
        if rate.name != "cache_efficiency"
        and (found := rate.figure_of(one_load)) is not None
        and found.value is not None
        and (rate.figure_of(level) is None or rate.figure_of(level).value is None)
    ]
    assert missing == [] and set(level.latency) == set(one_load.latency)


def test_gates_are_held_against_each_level_and_the_worst_decides(tmp_path: Path) -> None:
    summary = summary_of(tmp_path)
    states = {gate.key: (gate.state, gate.level) for gate in summary.slo}
    assert states == {
        "level1.ttft_p95_ms": ("met", 1),
        "level1.error_rate": ("met", 1),
        "level2.ttft_p95_ms": ("missed", 2),
        "level2.error_rate": ("met", 2),
        "level3.ttft_p95_ms": ("met", 3),
        "level3.error_rate": ("met", 3),
    }
    assert summary.outcome.code == Exit.SLO_MISSED
    assert "5 of 6 gates are met, 1 is missed" in summary.outcome.sentence
    assert "Level 2 (48 users): TTFT p95" in summary.outcome.sentence


def test_a_class_of_users_has_its_gates_at_each_level(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, slo={"RagReader": {"ttft_p95_ms": 500}})
    assert [(gate.key, gate.state) for gate in summary.slo] == [
        ("level1.RagReader.ttft_p95_ms", "met"),
        ("level2.RagReader.ttft_p95_ms", "missed"),
        ("level3.RagReader.ttft_p95_ms", "met"),
    ]


def test_a_level_without_a_success_makes_the_run_no_success(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, failed_in=1, slo={})
    assert summary.outcome.code == Exit.REQUESTS_FAILED
    assert "Level 2 (48 users): none of its 40 requests succeeded" in summary.outcome.sentence


def test_a_timing_error_spoils_the_level_whose_latencies_it_is_large_against(tmp_path: Path) -> None:
    late = [cells | {"ttft_uncertainty_ms": 20.0} for cells in rows()]
    scenario = manifest()["scenario"] | {"values": {"slo": SLO}}
    summary = summarise(read_run(write_run(tmp_path, late, manifest(scenario=scenario, levels=changed()), host=host())))
    known = [level.percentile("ttft_ms", "p95").value is not None for level in summary.levels]
    assert known == [False, True, False], "20 ms are much of 100 and of 50 ms, and little of 900 ms"
    states = {gate.key: gate.state for gate in summary.slo if "ttft" in gate.key}
    assert states == {
        "level1.ttft_p95_ms": "undetermined",
        "level2.ttft_p95_ms": "missed",
        "level3.ttft_p95_ms": "undetermined",
    }
    assert summary.outcome.code == Exit.INVALID
    assert any("Level 3 (8 users): TTFT may be off by 20.0 ms" in reason.sentence for reason in summary.reasons)


def test_users_changed_by_hand_stand_in_the_header(tmp_path: Path) -> None:
    summary = summary_of(tmp_path)
    assert load_sentence(summary.run.load, summary.levels) == "32 → 48 → 8 users, closed loop"


def test_a_run_of_one_load_has_no_levels_in_its_summary(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, levels=changed((32,)))
    assert summary.levels == [] and summary.percentile("ttft_ms", "p50").value is not None


def test_an_old_folder_with_steps_has_levels_too(tmp_path: Path) -> None:
    load = manifest()["load"] | {"mode": "open", "rate": 1.0, "rate_steps": [1.0, 2.0, 3.0], "users": None}
    levels = summary_of(tmp_path, levels=[], load=load).levels
    assert [level.rate for level in levels] == [1.0, 2.0, 3.0]


def test_a_ramp_is_told_as_a_ramp(tmp_path: Path) -> None:
    load = manifest()["load"] | {"mode": "open", "rate": 1.0, "rate_end": 7.0, "users": None}
    path = made(tmp_path, levels=[], load=load)
    summary = report(path)
    assert [(level.rate, level.rate_end) for level in summary.levels][:2] == [(1.0, 2.0), (2.0, 3.0)]
    assert "1 to 2 req/s" in markdown(summary)
    assert "its load changes all the time" in (path / "dashboard.html").read_text()


def test_the_page_shows_levels_and_no_card_over_all_of_them(tmp_path: Path) -> None:
    run = read_run(made(tmp_path))
    page = render(run, summarise(run))
    assert "This run was 3 loads" in page and "2: 48 users" in page
    assert "32 → 48 → 8 users" in page
    assert 'class="card"' not in page and "chart-levels-latency" in page
    bands = re.findall(r'"text":"(\d+ users)"', page)
    assert {"32 users", "48 users", "8 users"} <= set(bands)


def test_terminal_and_markdown_show_a_row_a_level(tmp_path: Path) -> None:
    summary = summary_of(tmp_path)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(summary_table(summary))
    shown = console.export_text()
    assert all(f"{number}: {users} users" in shown for number, users in enumerate(USERS, 1))
    assert "1 missed" in shown and "the run had" not in shown
    assert "| 2: 48 users |" in markdown(summary)


def test_the_levels_come_back_from_summary_json(tmp_path: Path) -> None:
    path = made(tmp_path)
    written = report(path, dashboard=False)
    assert [level.users for level in read_summary(path).levels] == [level.users for level in written.levels]


def test_a_run_of_several_loads_is_left_out_of_a_comparison(tmp_path: Path) -> None:
    folders = [made(tmp_path / name, run_id=name) for name in ("a", "b")]
    with pytest.raises(UserError, match="3 load levels"):
        compare_runs(a=folders[:1], b=folders[1:])


def test_a_baseline_is_held_against_level_by_level(tmp_path: Path) -> None:
    slower = (TTFT_MS[0], TTFT_MS[1] * 2, TTFT_MS[2])
    before, after = made(tmp_path / "a", run_id="a"), made(tmp_path / "b", run_id="b", ttft_ms=slower)
    baseline = report(after, baseline=before, dashboard=False).baseline
    assert baseline is not None
    states = {gate.key: gate.state for gate in baseline.gates if gate.key.endswith("ttft_p95_ms")}
    assert set(states) == {"level1.ttft_p95_ms", "level2.ttft_p95_ms", "level3.ttft_p95_ms"}
    assert states["level1.ttft_p95_ms"] != "missed" and states["level3.ttft_p95_ms"] != "missed"


def test_a_baseline_of_other_loads_is_not_compared(tmp_path: Path) -> None:
    before = made(tmp_path / "a", run_id="a", levels=changed((32, 64, 8)))
    baseline = report(made(tmp_path / "b", run_id="b"), baseline=before, dashboard=False).baseline
    assert baseline is not None and baseline.gates == [] and "same load levels" in baseline.notes[0]
