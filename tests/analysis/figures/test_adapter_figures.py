"""Figures by the popularity of adapters, and their first use apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenswarm.analysis.figures.adapter_figures import adapters_of
from tokenswarm.analysis.read.run_folder import Run, read_run
from tokenswarm.analysis.render.dashboard import render
from tokenswarm.analysis.render.terminal_summary import adapter_lines
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.verdict.spoilt import withhold

from tests.analysis import make_run


def folder(path: Path, adapters: int | None = 20) -> Run:
    """Each adapter's first request waits 500 ms; those of rank r later 100 + r ms. Ten of these are in the warm-up."""
    rng = np.random.default_rng(2)
    ranks = [*range(1, 11), *rng.integers(1, 21, 600)]
    seen: set[int] = set()
    rows = []
    for number, rank in enumerate(ranks):
        at = -1 + number / 12
        ttft = 100.0 + rank if rank in seen else 500.0
        seen.add(int(rank))
        rows.append(
            make_run.row(
                sent_at=make_run.START + at,
                adapter=int(rank),
                ttft_ms=ttft,
                request_id=f"r-{number}",
                last_token_ms=ttft + 990,
                e2e_ms=ttft + 990,
                phase="warmup" if at < 0 else "measure",
                status="failed" if rank == 20 else "ok",
            )
        )
    facts = make_run.manifest("rag")
    if adapters is not None:
        facts["scenario"]["values"]["lora"] = {"adapters": adapters}
    return read_run(make_run.write_run(path, rows, facts))


def test_the_most_popular_ranks_stand_alone_and_others_by_powers_of_two_and_all_add_up(tmp_path: Path) -> None:
    run = folder(tmp_path / "run")
    found = adapters_of(run.manifest, run.requests, run.measured)
    assert [group.ranks for group in found.groups] == [*"12345678", "9 to 16", "17 to 20"]
    assert sum(group.adapters for group in found.groups) == found.adapters == found.used == 20
    assert sum(group.ok + group.failed for group in found.groups) == len(run.measured)
    assert sum(group.share.value for group in found.groups) == pytest.approx(1)
    assert found.groups[0].ttft_p50_ms.value == 101 and found.groups[-1].failed > 0


def test_first_uses_are_apart_whatever_their_phase(tmp_path: Path) -> None:
    run = folder(tmp_path / "run")
    found = adapters_of(run.manifest, run.requests, run.measured)
    assert found.first_use_ttft_ms.value == 500 and found.first_use_ttft_ms.n == 19, "one of rank 20 failed"
    assert 101 <= found.later_ttft_ms.value <= 119


def test_a_run_without_adapters_has_none_and_one_with_them_a_table(tmp_path: Path) -> None:
    plain = folder(tmp_path / "plain", adapters=None)
    assert adapters_of(plain.manifest, plain.requests, plain.measured) is None
    run = folder(tmp_path / "run")
    summary = summarise(run)
    assert "LoRA adapters</h2>" in render(run, summary)
    assert "no prefix is shared" in summary.cache.yardstick.why
    (line, _) = adapter_lines(summary)
    assert line.plain.startswith("LoRA adapters: 20 of 20 used; median TTFT of an adapter's first use 500 ms")


def test_what_is_withheld_of_the_run_is_withheld_of_its_adapters(tmp_path: Path) -> None:
    summary = summarise(folder(tmp_path / "run"))
    withhold(summary, ["ttft"], "its timing may be off")
    assert summary.adapters.later_ttft_ms.value is None and "off" in summary.adapters.later_ttft_ms.why
    assert all(group.ttft_p50_ms.value is None for group in summary.adapters.groups)
    assert summary.adapters.groups[0].tpot_p50_ms.value is not None
