"""The flat engine model: a fixed TTFT and a fixed gap, whatever the load. Pure."""

from __future__ import annotations

import heapq

from tokenswarm.base.presence import present
from tokenswarm.sim.jobs import Counters, Emission, Job


class FlatEngine:
    """Every job gets token k (from 0) at arrival + ttft_s + k * gap_s. No queue, no memory limit, no prefix cache."""

    def __init__(self, ttft_s: float, gap_s: float) -> None:
        self.counters = Counters()
        self._ttft_s = ttft_s
        self._gap_s = gap_s
        self._heap: list[tuple[float, int, Job]] = []
        self._order = 0
        self._running = 0

    def submit(self, job: Job, at_s: float) -> None:
        """See EngineModel."""
        job.arrival_s = job.ready_s = job.admitted_s = at_s
        self._order += 1
        self._running += 1
        self.counters.prompt_tokens += job.prompt_tokens
        self.counters.prefix_query_tokens += job.prompt_tokens
        heapq.heappush(self._heap, (at_s + job.compile_s + self._ttft_s, self._order, job))

    def cancel(self, job: Job) -> None:
        """See EngineModel. Its entry stays in the heap until its time has come."""
        if not (job.finished or job.cancelled):
            self._running -= 1
        job.cancelled = True

    def next_s(self) -> float | None:
        """See EngineModel."""
        heap = self._heap
        while heap and heap[0][2].cancelled:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def next_step_s(self) -> float | None:
        """See EngineModel."""
        return self.next_s()

    def compute(self, until_s: float) -> list[Job]:
        """See EngineModel."""
        while (at_s := self.next_s()) is not None and at_s <= until_s:
            for left_s, job, _ in self.advance(at_s, 1):
                present(job.times).append(left_s)
                if job.finished:
                    return [job]
        return []

    def advance(self, now_s: float, limit: int) -> list[Emission]:
        """See EngineModel."""
        heap = self._heap
        tokens: list[Emission] = []
        while heap and heap[0][0] <= now_s and len(tokens) < limit:
            at_s, order, job = heap[0]
            if job.cancelled:
                heapq.heappop(heap)
                continue
            tokens.append((at_s, job, 1))
            job.generated += 1
            if job.generated == job.output_tokens:
                job.finished = True
                self._running -= 1
                heapq.heappop(heap)
            else:
                # from the arrival, not from the last token: rounding must not add up
                due_s = job.arrival_s + job.compile_s + self._ttft_s + job.generated * self._gap_s
                heapq.heapreplace(heap, (due_s, order, job))
        self.counters.generation_tokens += len(tokens)
        return tokens

    def flush(self) -> bool:
        """See EngineModel."""
        return self._running == 0

    def running(self) -> int:
        """See EngineModel."""
        return self._running

    def waiting(self) -> int:
        """See EngineModel."""
        return 0

    def kv_usage(self) -> float:
        """See EngineModel."""
        return 0.0
