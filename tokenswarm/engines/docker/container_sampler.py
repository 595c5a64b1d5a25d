"""CPU and memory of an engine that runs in a container, as rows of host_metrics.csv."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker.models.containers import Container

_MIB = 1024 * 1024


def memory_bytes(memory: Mapping[str, Any]) -> float | None:
    """Memory in use without reclaimable page cache, as `docker stats` shows it. None if Docker reports nothing, for
    example when the container has just ended.
    """
    usage = memory.get("usage")
    if usage is None:
        return None
    details = memory.get("stats") or {}
    cache = details.get("inactive_file", details.get("total_inactive_file", 0))  # cgroups v2 and v1
    return usage - cache if cache < usage else usage


class ContainerSampler:
    """Reads Docker's counters of a container with one quick request per call. Source: `engine`."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._before: tuple[float, float] | None = None
        """Time and CPU seconds of the last reading."""

    def __call__(self, at: float) -> list[dict[str, object]]:
        """One row: CPU as a share of one core since the last call (empty the first time), memory in MiB; no row when
        the container has ended. Raises OSError when Docker does not answer.
        """
        from docker.errors import DockerException, NotFound

        try:
            # one_shot: Docker would else wait a second for a second reading of its own.
            stats = self._container.client.api.stats(self._container.id, stream=False, one_shot=True)
        except NotFound:
            return []
        except DockerException as error:
            raise OSError(str(error)) from error
        memory = memory_bytes(stats.get("memory_stats") or {})
        if memory is None:
            return []
        used_s = stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
        share = None
        if self._before is not None and at > self._before[0] and used_s >= self._before[1]:
            share = (used_s - self._before[1]) / (at - self._before[0])
        self._before = at, used_s
        return [{"at": at, "source": "engine", "rss_mb": memory / _MIB, "cpu_share": share}]
