"""GPU utilisation, memory and power through NVML, as rows of host_metrics.csv.

Needs nvidia-ml-py and a driver; without them nothing is sampled.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

_MIB = 1024 * 1024


_SM_CLOCK = 1
"""NVML_CLOCK_SM."""
_THROTTLES = (("power", 0x4 | 0x80), ("heat", 0x20 | 0x40), ("hardware", 0x8), ("sync", 0x10))
"""Bits of nvmlClocksEventReasons (nvml.h) by what they mean: SW power cap and HW power brake; SW and HW thermal
slowdown; HW slowdown; sync boost. Bits of an idle GPU and of clocks that somebody set are no throttling."""


def throttle(bits: int | None) -> str | None:
    """`power+heat`: why a GPU's clock is lowered; None if it is not, or if that is not known."""
    return None if bits is None else "+".join(name for name, mask in _THROTTLES if bits & mask) or None


class GpuSampler:
    """Reads GPUs of this machine, `handles` by their number. `open` gives None where there are none."""

    def __init__(
        self, nvml: Any, handles: Mapping[int, object], own: Callable[[], Collection[int] | None] = lambda: None
    ) -> None:
        self._nvml = nvml
        self._handles = dict(handles)
        self._own = own

    @classmethod
    def open(
        cls, module: str = "pynvml", only: str | None = None, own: Callable[[], Collection[int] | None] = lambda: None
    ) -> GpuSampler | None:
        """A sampler, or None without the library, the driver or a GPU.

        `only` names the GPUs to read, as CUDA_VISIBLE_DEVICES and GPUS do: "0,2", or UUIDs (their beginnings will do),
        up to the first one that does not exist. None, or one that names none, means all of them: better the neighbours'
        figures too than none. `own`: ids of the engine's processes; None where they are not known.
        """
        try:
            nvml = importlib.import_module(module)
            nvml.nvmlInit()
            handles = {index: nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())}
            uuids = {index: _text(nvml.nvmlDeviceGetUUID(handle)) for index, handle in handles.items()} if only else {}
        except Exception:  # the library raises its own errors, which cannot be named when it is not there
            return None
        chosen = visible(only or "", uuids) or list(handles)
        return cls(nvml, {index: handles[index] for index in chosen}, own) if handles else None

    @property
    def names(self) -> list[str]:
        """The GPUs' product names, for run.json."""
        return [_text(self._read("nvmlDeviceGetName", handle)) for handle in self._handles.values()]

    def sample(self, at: float) -> list[dict[str, object]]:
        """One row per GPU: `at` (unix seconds), `source` (`gpu` and its number in this machine), utilisation 0..1,
        memory in MiB, power in W, clock in MHz and what lowers it, energy in J, and who computes there.

        What a GPU does not report is left out of its row; and power and energy of one in MIG slices, which are those of
        the whole card, whoever has the other slices.
        """
        rows, own = [], self._own()
        for index, handle in self._handles.items():
            sliced = (self._read("nvmlDeviceGetMigMode", handle) or [0])[0] == 1
            use = self._read("nvmlDeviceGetUtilizationRates", handle)
            memory = self._read("nvmlDeviceGetMemoryInfo", handle)
            power_mw = None if sliced else self._read("nvmlDeviceGetPowerUsage", handle)
            energy_mj = None if sliced else self._read("nvmlDeviceGetTotalEnergyConsumption", handle)
            rows.append(
                {
                    "at": at,
                    "source": f"gpu {index}",
                    "gpu_util": None if use is None else use.gpu / 100,
                    "gpu_memory_mb": None if memory is None else memory.used / _MIB,
                    "gpu_power_w": None if power_mw is None else power_mw / 1000,
                    "gpu_clock_mhz": self._read("nvmlDeviceGetClockInfo", handle, _SM_CLOCK),
                    "gpu_throttle": throttle(self._throttle_bits(handle)),
                    "gpu_energy_j": None if energy_mj is None else energy_mj / 1000,
                    **self._processes(handle, own),
                }
            )
        return rows

    def _processes(self, handle: object, own: Collection[int] | None) -> dict[str, object]:
        """How many processes of the engine and of others compute on a GPU. Process ids of a container are others than
        NVML's: where none of the engine's is seen, only that nobody computes there is known."""
        running = self._read("nvmlDeviceGetComputeRunningProcesses", handle)
        if running is None or own is None:
            return {}
        mine = sum(process.pid in own for process in running)
        return {"gpu_own_processes": mine, "gpu_other_processes": len(running) - mine if mine or not running else None}

    def _throttle_bits(self, handle: object) -> int | None:
        bits = self._read("nvmlDeviceGetCurrentClocksEventReasons", handle)
        return self._read("nvmlDeviceGetCurrentClocksThrottleReasons", handle) if bits is None else bits

    def _read(self, function: str, handle: object, *further: object) -> Any:
        try:
            return getattr(self._nvml, function)(handle, *further)
        except Exception:
            return None

    def close(self) -> None:
        """Shut NVML down."""
        with contextlib.suppress(Exception):
            self._nvml.nvmlShutdown()


def visible(only: str, uuids: Mapping[int, str]) -> list[int]:
    """Numbers of the GPUs that a list such as CUDA_VISIBLE_DEVICES names, in its order, up to the first one that is not
    there.

    `uuids`: of each GPU of the machine, by number. The name of a MIG slice is that of no GPU.
    """
    chosen: list[int] = []
    for name in (part.strip() for part in only.split(",")):
        fitting = [index for index, uuid in uuids.items() if name and (name == str(index) or uuid.startswith(name))]
        if len(fitting) != 1 or fitting[0] in chosen:
            break
        chosen += fitting
    return chosen


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
