"""GPU utilisation, memory and power through NVML, as rows of host_metrics.csv.

Needs the extra `gpu` (nvidia-ml-py) and a driver; without either there is simply nothing to sample.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

_MIB = 1024 * 1024


class GpuSampler:
    """Reads all GPUs of this machine. `open` gives None where there are none."""

    def __init__(self, nvml: Any, handles: list[Any]) -> None:
        self._nvml = nvml
        self._handles = handles

    @classmethod
    def open(cls, module: str = "pynvml") -> GpuSampler | None:
        """A sampler, or None without the library, the driver or a GPU."""
        try:
            nvml = importlib.import_module(module)
            nvml.nvmlInit()
            handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        except Exception:  # the library raises its own errors, which cannot be named when it is not there
            return None
        return cls(nvml, handles) if handles else None

    @property
    def names(self) -> list[str]:
        """The GPUs' product names, for run.json."""
        names = [self._read("nvmlDeviceGetName", handle) for handle in self._handles]
        return [name.decode() if isinstance(name, bytes) else str(name) for name in names]

    def sample(self, at: float) -> list[dict[str, object]]:
        """One row per GPU: `at` (unix seconds), `source`, utilisation 0..1, memory in MiB, power in W.

        What a GPU does not report is left out of its row.
        """
        rows = []
        for index, handle in enumerate(self._handles):
            use = self._read("nvmlDeviceGetUtilizationRates", handle)
            memory = self._read("nvmlDeviceGetMemoryInfo", handle)
            power_mw = self._read("nvmlDeviceGetPowerUsage", handle)
            rows.append(
                {
                    "at": at,
                    "source": f"gpu {index}",
                    "gpu_util": None if use is None else use.gpu / 100,
                    "gpu_memory_mb": None if memory is None else memory.used / _MIB,
                    "gpu_power_w": None if power_mw is None else power_mw / 1000,
                }
            )
        return rows

    def _read(self, function: str, handle: Any) -> Any:
        try:
            return getattr(self._nvml, function)(handle)
        except Exception:
            return None

    def close(self) -> None:
        """Give NVML back."""
        with contextlib.suppress(Exception):
            self._nvml.nvmlShutdown()
