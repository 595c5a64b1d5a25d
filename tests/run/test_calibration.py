"""What a machine can time: how a step is judged against the truth, which limit it broke, when to add workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.manifest import HostRecord
from tokenswarm.run import calibration
from tokenswarm.run.calibration import STREAM_RATE, Calibration, advice, what_breaks
from tokenswarm.run.truth_run import KnownLoad, TruthRun, judge, truth_run
from tokenswarm.scenario.load_settings import Load

GOOD = TruthRun(
    requests=1,
    lost=0,
    tokens_s=1e6,
    cpu_us_per_token=10.0,
    cpu_share=0.1,
    ttft_error_p50_ms=0.0,
    ttft_error_p99_ms=0.0,
    e2e_error_p99_ms=0.0,
    bound_p99_ms=0.0,
    beyond_bound=0,
    server_late_p99_ms=0.0,
    rss_growth_mb=0.0,
    waited_s=0.0,
)
CALIBRATED = Calibration(tokens_s=40_000.0, streams=400, limited_by="", cpu="", version="", at="")


@pytest.mark.parametrize(
    ("load", "tokens", "workers", "advised"),
    [
        (Load(users=100), 128, 1, None),
        (Load(users=1000), 128, 1, "WORKERS=4"),
        (Load(users=10, users_steps=(10, 1000)), 128, 1, "WORKERS=4"),
        (Load(users=1000), 128, 4, None),
        (Load(rate=200.0), 10, 1, None),  # however many it lets be in flight
        (Load(rate=200.0), 1000, 1, "WORKERS=8"),
        (Load(rate=10.0, rate_end=200.0), 1000, 7, "WORKERS=8"),
    ],
)
def test_workers_are_advised_for_what_has_to_be_timed(
    load: Load, tokens: int, workers: int, advised: str | None, monkeypatch: Any
) -> None:
    monkeypatch.setattr(calibration, "stored", lambda: CALIBRATED)
    monkeypatch.setattr(calibration, "host_facts", lambda: HostRecord(cores=8))
    told = advice(load, tokens, workers)
    assert told is None if advised is None else advised in told


def test_no_more_workers_are_advised_than_there_are_cores(monkeypatch: Any) -> None:
    monkeypatch.setattr(calibration, "stored", lambda: CALIBRATED)
    monkeypatch.setattr(calibration, "host_facts", lambda: HostRecord(cores=2))
    told = advice(Load(users=1000), 128, 1)
    assert "WORKERS=" not in told and "takes 4 workers and this machine has 2 cores: use more machines" in told


@pytest.mark.parametrize(("cpu_share", "noisy"), [(0.21, True), (0.95, False)])
def test_a_noisy_machine_is_told_and_nothing_is_stored(
    cpu_share: float, noisy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def step(load: KnownLoad) -> TruthRun:
        late = load.streams > 20
        return replace(GOOD, cpu_share=cpu_share if late else 0.1, ttft_error_p99_ms=7.0 if late else 0.1)

    if noisy:
        with pytest.raises(UserError, match="this machine is noisy: with 40 streams the worker used only 21%"):
            calibration.calibrate(lambda *_: None, run=step)
    else:
        assert calibration.calibrate(lambda *_: None, run=step).streams == 20
    assert (calibration.stored() is None) is noisy


def test_a_machine_that_was_never_calibrated_is_not_judged(monkeypatch: Any) -> None:
    monkeypatch.setattr(calibration, "stored", lambda: None)
    assert advice(Load(users=100_000), 128, 1) is None


def test_what_was_measured_on_this_processor_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert calibration.stored() is None
    measured = calibration.calibrate(lambda *_: None, seconds=1.0, run=lambda _: GOOD)
    assert calibration.stored() == measured and measured.cpu
    calibration.path().write_text(calibration.path().read_text().replace(measured.cpu, "another processor"))
    assert calibration.stored() is None


def test_a_run_is_judged_by_what_lies_in_its_measured_phase(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run",
        [row(request_id="r1", ttft_ms=100.0, e2e_ms=900.0, ttft_uncertainty_ms=0.1)],
        manifest(),
        host=[
            {"at": START + second, "source": "worker 0", "cpu_share": 0.5, "tokens": 10, "rss_mb": 50.0}
            for second in range(60)
        ],
    )
    sent_ns = int((START + 1) * 1e9)
    truth = {"r1": {"first_write_ns": sent_ns + 99_000_000, "last_write_ns": sent_ns + 900_000_000, "max_late_ns": 0}}
    judged = judge(folder, truth, 0.0, 0.0)
    assert (judged.requests, judged.lost, judged.beyond_bound) == (1, 0, 1)
    late = truth["r1"] | {"first_write_ns": int(START * 1e9) + 98_000_000}
    held = late | {"first_written_ns": int(START * 1e9) + 99_950_000}  # the server was held as it wrote
    assert [judge(folder, {"r1": true}, 0.0, 0.0).beyond_bound for true in (late, held)] == [1, 0]
    assert judged.cpu_share == pytest.approx(0.5) and judged.tokens_s == pytest.approx(10.0)


# ---- each limit, and each kind of row


def held(streams: int = 20) -> TruthRun:
    """A step at which nothing is broken."""
    return replace(GOOD, tokens_s=streams * STREAM_RATE)


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({}, None),
        ({"lost": 2}, "2 requests failed"),
        ({"ttft_error_p99_ms": 2.01}, "TTFT error p99 2.01 ms"),
        ({"cpu_share": 0.91}, "91% of a core"),
        ({"tokens_s": 1500.0}, "only 1,500 of 1,869 tokens/s arrived"),
    ],
)
def test_each_limit_can_be_broken(change: dict[str, Any], broken: str | None) -> None:
    assert what_breaks(20, replace(held(), **change)) == broken


def test_one_disturbance_is_not_the_limit_and_two_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[int] = []

    def step(load: KnownLoad) -> TruthRun:
        asked.append(load.streams)
        lost = load.streams == 80 or asked == [20, 40]  # at 40 only the first time
        return replace(held(load.streams), lost=int(lost))

    result = calibration.calibrate(lambda *_: None, run=step)
    assert asked == [20, 40, 40, 80, 80]
    assert (result.streams, result.tokens_s, result.limited_by) == (40, 4000.0, "1 requests failed")


def test_a_machine_that_cannot_hold_the_first_step_is_refused_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="cannot time even 20 streams") as refused:
        calibration.calibrate(lambda *_: None, run=lambda _: replace(GOOD, lost=1))
    assert refused.value.code == Exit.INVALID and calibration.stored() is None


def test_the_ladder_can_end_early_but_not_before_its_first_step() -> None:
    assert calibration.ladder_up_to(None) == calibration.LADDER
    assert calibration.ladder_up_to(100) == (20, 40, 80)
    with pytest.raises(UserError, match="the first step has 20 streams"):
        calibration.ladder_up_to(19)


def known(name: str, **cells: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request sent 1 s into the measured phase, and what the server knows of it: both say 100 and 900 ms."""
    sent_ns = int((START + 1) * 1e9)
    plain = {"request_id": name, "sent_at": START + 1, "ttft_ms": 100.0, "e2e_ms": 900.0, "ttft_uncertainty_ms": 0.1}
    truth = {"first_write_ns": sent_ns + 100_000_000, "last_write_ns": sent_ns + 900_000_000, "max_late_ns": 0}
    return row(**plain | cells), truth


def judged(folder: Path, requests: list[tuple[dict[str, Any], dict[str, Any] | None]], **host: Any) -> TruthRun:
    samples = [
        {"at": START + second, "cpu_share": 0.5, "tokens": 10, "rss_mb": 50.0, **host, "source": source}
        for source in ("worker 0", "worker 1")
        for second in range(60)
    ]
    write_run(folder, [row for row, _ in requests], manifest(), host=samples)
    return judge(folder, {row["request_id"]: true for row, true in requests if true is not None}, 0.0, 1.5)


def test_errors_are_what_a_row_says_beyond_what_was_true(tmp_path: Path) -> None:
    row, true = known("r", ttft_ms=103.0, e2e_ms=895.0)
    result = judged(tmp_path / "run", [(row, true | {"max_late_ns": 7_000_000})])
    assert result.ttft_error_p50_ms == pytest.approx(3.0, abs=1e-3)
    assert (result.e2e_error_p99_ms, result.ttft_error_p99_ms) == pytest.approx((5.0, 3.0), abs=1e-3)
    assert (result.bound_p99_ms, result.server_late_p99_ms, result.waited_s) == (0.1, 7.0, 1.5)


def test_what_failed_or_never_reached_the_server_is_lost_and_what_was_cut_or_warmed_up_does_not_count(
    tmp_path: Path,
) -> None:
    _, true = known("x")
    result = judged(
        tmp_path / "run",
        [
            known("good"),
            known("failed", status="failed"),
            (known("unknown")[0], None),
            (known("cancelled", status="cancelled")[0], true),
            (known("early", phase="warmup")[0], None),
        ],
    )
    assert (result.requests, result.lost) == (1, 2)


def test_the_work_of_all_workers_is_added_up_inside_the_window(tmp_path: Path) -> None:
    result = judged(tmp_path / "run", [known("r")])
    assert (result.tokens_s, result.cpu_share) == pytest.approx((20.0, 1.0))
    assert result.cpu_us_per_token == pytest.approx(0.5 / 10 * 1e6)


def test_memory_that_grows_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    judged(folder, [known("r")])
    grown = [
        {"at": START + second, "source": "worker 0", "cpu_share": 0.5, "tokens": 10, "rss_mb": 50.0 + second}
        for second in range(60)
    ]
    write_run(folder, [known("r")[0]], manifest(), host=grown)
    assert judge(folder, {"r": known("r")[1]}, 0.0, 0.0).rss_growth_mb == pytest.approx(52.0, abs=3)


def test_a_run_without_a_success_or_without_seconds_is_no_judgement(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no request succeeded"):
        judged(tmp_path / "none", [known("r", status="failed")])
    write_run(tmp_path / "short", [known("r")[0]], manifest(), host=[])
    with pytest.raises(UserError, match="too short to judge"):
        judge(tmp_path / "short", {"r": known("r")[1]}, 0.0, 0.0)


@pytest.mark.slow
def test_a_real_load_is_held_against_what_the_server_wrote() -> None:
    """How well it was timed depends on this machine; that each request was found on both sides does not."""
    result = truth_run(KnownLoad(streams=3, rate=50.0, tokens=10, seconds=6.0))
    assert result.requests > 5 and result.lost == 0
    assert 0 < result.tokens_s < 3 * 50 and 0 < result.cpu_share < 1
    assert 0 <= result.ttft_error_p50_ms <= result.ttft_error_p99_ms
