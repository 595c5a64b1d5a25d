"""What telemetry samples besides the engine's metrics: selected GPUs, and the processes of a local engine."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.local.process_sampler import ProcessSampler
from tokenswarm.engines.watch.gpu import GpuSampler, throttle, visible
from tokenswarm.engines.watch.telemetry import Telemetry

UUIDS = {0: "GPU-aa11", 1: "GPU-aa22", 2: "GPU-bb33"}


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("0", [0]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("GPU-bb", [2]),
        ("GPU-aa22,0", [1, 0]),
        ("0,7,1", [0]),  # as CUDA does: nothing after the first one that is not there
        ("GPU-aa", []),  # which of the two?
        ("0,0", [0]),
        ("MIG-aa11", []),
        ("-1", []),
        ("", []),
    ],
)
def test_gpus_are_chosen_as_cuda_chooses_them(only: str, expected: list[int]) -> None:
    assert visible(only, UUIDS) == expected


def test_only_the_chosen_gpus_are_read_and_keep_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 3,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda handle: UUIDS[handle].encode(),
        nvmlDeviceGetName=lambda handle: f"GPU {handle}",
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=10 * handle),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=0),
        nvmlDeviceGetPowerUsage=lambda handle: 1000,
    )
    monkeypatch.setitem(sys.modules, "fake_nvml", nvml)
    sampler = GpuSampler.open("fake_nvml", only="1,GPU-bb33")
    assert sampler.names == ["GPU 1", "GPU 2"]
    assert [(row["source"], row["gpu_util"]) for row in sampler.sample(1.0)] == [("gpu 1", 0.1), ("gpu 2", 0.2)]
    assert len(GpuSampler.open("fake_nvml", only="MIG-1").names) == 3


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (None, None),
        (0x0, None),
        (0x1, None),
        (0x2, None),
        (0x4, "power"),
        (0x40, "heat"),
        (0x48, "heat+hardware"),
        (0x84, "power"),
        (0x10, "sync"),
    ],
)
def test_what_lowers_a_gpus_clock_is_told_and_an_idle_one_is_not_throttled(bits: int | None, words: str | None) -> None:
    assert throttle(bits) == words


def test_clock_and_throttling_are_read_also_by_the_older_name(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = SimpleNamespace(
        nvmlDeviceGetClockInfo=lambda handle, kind: 1410 if kind == 1 else 0,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x20,
    )
    [seen] = GpuSampler(nvml, {0: "h"}).sample(1.0)
    assert (seen["gpu_clock_mhz"], seen["gpu_throttle"], seen["gpu_util"]) == (1410, "heat", None)


def test_memory_of_an_engine_is_that_of_all_its_processes() -> None:
    child = "import sys, time; kept = bytearray(60 << 20); print(1, flush=True); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, start_new_session=True) as engine:
        engine.stdout.readline()  # the child holds its memory now
        sampler = ProcessSampler(engine.pid)
        (first,), (second,) = sampler(1.0), sampler(2.0)
        for process in psutil.Process(engine.pid).children():
            process.kill()  # its parent, which waits for it, ends then too
    assert (first["source"], first["at"], first["cpu_share"]) == ("engine", 1.0, None)
    assert 60 < first["rss_mb"] < 1000
    assert second["cpu_share"] >= 0
    assert sampler(3.0) == []


def test_samplers_write_into_host_metrics_and_one_that_fails_is_counted(tmp_path: Path) -> None:
    def broken(at: float) -> list[dict[str, object]]:
        raise KeyError("cpu_stats")

    telemetry = Telemetry(
        Engine("http://127.0.0.1:1", None),
        tmp_path,
        samplers=[broken, lambda at: [], lambda at: [{"at": at, "source": "engine", "rss_mb": 12.5}]],
    )
    assert telemetry.sample() == {}
    with (tmp_path / "host_metrics.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["source"], row["rss_mb"], row["cpu_share"], telemetry.failed) == ("engine", "12.5", "", 1)


def nvml_reading(processes: list[int]) -> SimpleNamespace:
    """As recorded of NVML's interface: energy in mJ since the driver was loaded, and who computes."""
    return SimpleNamespace(
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 123_456_789,
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [
            SimpleNamespace(pid=pid, usedGpuMemory=1 << 30) for pid in processes
        ],
    )


@pytest.mark.parametrize(
    ("processes", "own", "counts"),
    [
        ([11, 12], {11, 12}, (2, 0)),
        ([11, 99], {11}, (1, 1)),
        ([99], {11}, (0, None)),  # others, or ours under the ids of another namespace
        ([], {11}, (0, 0)),
    ],
)
def test_energy_and_who_computes_are_read(processes: list[int], own: set[int], counts: tuple) -> None:
    [seen] = GpuSampler(nvml_reading(processes), {0: "h"}, lambda: own).sample(1.0)
    assert seen["gpu_energy_j"] == 123_456.789
    assert (seen["gpu_own_processes"], seen["gpu_other_processes"]) == counts


@pytest.mark.parametrize(("mode", "joules"), [([0, 0], 123_456.789), ([1, 1], None), ([0, 1], 123_456.789)])
def test_a_card_in_mig_slices_tells_no_energy_for_it_would_be_that_of_all_slices(
    mode: list[int], joules: float | None
) -> None:
    nvml = nvml_reading([11])
    nvml.nvmlDeviceGetMigMode, nvml.nvmlDeviceGetPowerUsage = lambda handle: mode, lambda handle: 350_000
    [seen] = GpuSampler(nvml, {0: "h"}, lambda: {11}).sample(1.0)
    assert seen["gpu_energy_j"] == joules and seen["gpu_power_w"] == (joules and 350.0)


def test_whose_processes_they_are_is_not_told_where_the_engines_are_not_known() -> None:
    [seen] = GpuSampler(nvml_reading([11]), {0: "h"}).sample(1.0)
    assert "gpu_own_processes" not in seen and "gpu_other_processes" not in seen
