"""When more workers are advised, from what this machine was calibrated to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.make_run import START, manifest, row, write_run
from tokenswarm.base.errors import UserError
from tokenswarm.contract.manifest import HostRecord
from tokenswarm.run import calibrate
from tokenswarm.run.calibrate import Calibration, advice
from tokenswarm.run.truth_run import KnownLoad, TruthRun, judge
from tokenswarm.scenario.load import Load

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
    monkeypatch.setattr(calibrate, "stored", lambda: CALIBRATED)
    monkeypatch.setattr(calibrate, "host_facts", lambda: HostRecord(cores=8))
    told = advice(load, tokens, workers)
    assert told is None if advised is None else advised in told


def test_no_more_workers_are_advised_than_there_are_cores(monkeypatch: Any) -> None:
    monkeypatch.setattr(calibrate, "stored", lambda: CALIBRATED)
    monkeypatch.setattr(calibrate, "host_facts", lambda: HostRecord(cores=2))
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
            calibrate.calibrate(lambda *_: None, run=step)
    else:
        assert calibrate.calibrate(lambda *_: None, run=step).streams == 20
    assert (calibrate.stored() is None) is noisy


def test_a_machine_that_was_never_calibrated_is_not_judged(monkeypatch: Any) -> None:
    monkeypatch.setattr(calibrate, "stored", lambda: None)
    assert advice(Load(users=100_000), 128, 1) is None


def test_what_was_measured_on_this_processor_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert calibrate.stored() is None
    measured = calibrate.calibrate(lambda *_: None, seconds=1.0, run=lambda _: GOOD)
    assert calibrate.stored() == measured and measured.cpu
    calibrate.path().write_text(calibrate.path().read_text().replace(measured.cpu, "another processor"))
    assert calibrate.stored() is None


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
