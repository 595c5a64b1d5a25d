"""Continuous batching, step by step, in model time. Pure: the caller brings the time.

A step computes some tokens of some sequences: chunks of prompts, and one token of each sequence that decodes. It
lasts as long as the profile says; at its end every sequence whose known tokens are all computed has a new token.
"""

from __future__ import annotations

import math
import random
import zlib
from collections import deque
from typing import Literal

from tokenswarm.base.presence import present
from tokenswarm.sim.hardware import EngineProfile
from tokenswarm.sim.jobs import Counters, Emission, EngineLimits, Job
from tokenswarm.sim.kv import KVCache, Lease

_NO_LIMIT = 1 << 60

_ROUNDING_TOKENS = 512
"""Free tokens for each job beside those of the steps ahead: its last block may be about to be begun."""

_RESERVE_TOKENS = 32
"""Free tokens that a new job must leave for each running one. Without it a job that has just given way would come
back at once and give way again; engines reserve for the same reason (vLLM a watermark, SGLang new_token_ratio)."""


class BatchEngine:
    """See jobs.EngineModel.

    policy `mixed`: decodes first, then prompt chunks while the token budget lasts (vLLM). `prefill-first`: a step
    with prompt chunks has no decodes (SGLang). When the KV cache is full the job that was admitted last is
    preempted: it gives its memory back and is computed again later.
    """

    def __init__(
        self, profile: EngineProfile, limits: EngineLimits, cache: KVCache, policy: Literal["mixed", "prefill-first"]
    ) -> None:
        self.counters = Counters()
        self._profile = profile
        self._cache = cache
        self._prefill_first = policy == "prefill-first"
        self._max_seqs = limits.max_num_seqs
        self._max_tokens = limits.max_batched_tokens
        self._whole_prompts = not limits.chunked_prefill
        self._speculation = limits.speculation
        self._width = 1 if limits.speculation is None else limits.speculation.tokens + 1
        self._interval = limits.stream_interval
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._step: list[tuple[Job, int]] = []
        self._step_end_s: float | None = None
        self._idle_since_s = 0.0
        self._emitted_s = 0.0
        self._pending: deque[Emission] = deque()
        """What has left and was not handed out: of jobs that do not note the times themselves."""
        self._ended: list[Job] = []
        """Those that do, and that have finished since `compute` was asked."""

    # --- EngineModel ---

    def submit(self, job: Job, at_s: float) -> None:
        """See EngineModel. The job can enter a step once it has been received and tokenised."""
        job.arrival_s = at_s
        job.ready_s = at_s + self._profile.request_overhead_s + job.compile_s
        place = len(self._waiting)
        while place and self._waiting[place - 1].ready_s > job.ready_s:  # those whose constraints are being compiled
            place -= 1
        self._waiting.insert(place, job)

    def cancel(self, job: Job) -> None:
        """See EngineModel."""
        if job.cancelled:
            return
        job.cancelled = True
        if job.finished:
            return
        if job.lease is not None:
            self._close(job)
            self._running.remove(job)
        else:
            self._waiting.remove(job)

    def next_s(self) -> float | None:
        """See EngineModel."""
        step_s = self.next_step_s()
        if not self._pending:
            return step_s
        return self._pending[0][0] if step_s is None else min(self._pending[0][0], step_s)

    def next_step_s(self) -> float | None:
        """See EngineModel."""
        if self._step_end_s is not None:
            return self._step_end_s
        return max(self._waiting[0].ready_s, self._idle_since_s) if self._waiting else None

    def advance(self, now_s: float, limit: int) -> list[Emission]:
        """See EngineModel. Computes all steps that ended by now_s; what is beyond `limit` waits for the next call."""
        while (at_s := self.next_step_s()) is not None and at_s <= now_s:
            self._go_on(at_s)
        pending, tokens = self._pending, list[Emission]()
        while pending and pending[0][0] <= now_s and len(tokens) < limit:
            tokens.append(pending.popleft())
        return tokens

    def compute(self, until_s: float) -> list[Job]:
        """See EngineModel."""
        while (at_s := self.next_step_s()) is not None and at_s <= until_s:
            self._go_on(at_s)
            if finished := self._ended:
                self._ended = []
                return finished
            self._decode_on(until_s)
        return []

    def _go_on(self, at_s: float) -> None:
        """End the step that ends then, and start the next one."""
        if self._step_end_s is not None:
            self._step_end_s = None
            self._finish_step(at_s)
        self._start_step(at_s)

    def flush(self) -> bool:
        """See EngineModel."""
        if self._running or self._waiting:
            return False
        self._cache.flush()
        return True

    def running(self) -> int:
        """See EngineModel."""
        return len(self._running)

    def waiting(self) -> int:
        """See EngineModel."""
        return len(self._waiting)

    def kv_usage(self) -> float:
        """See EngineModel."""
        return self._cache.held() / self._cache.capacity

    # --- a step ---

    def _start_step(self, at_s: float) -> None:
        # with whole prompts a step must be able to hold the longest one
        budget = _NO_LIMIT if self._whole_prompts else self._max_tokens
        step: list[tuple[Job, int]] = []
        prefill: list[tuple[int, int]] = []
        contexts = decodes = 0
        preempted = False
        prompts_only = self._prefill_first and self._has_prompts(at_s)
        for job in list(self._running):
            if budget <= 0:
                break
            lease, computed = job.lease, job.computed
            if lease is None:
                continue  # preempted below, for a job before it
            count, width = job.prompt_tokens + job.generated - computed, 1
            if count == 1 and job.generated:  # it decodes
                if prompts_only:
                    continue
                width = self._width  # the drafted tokens are verified in the same step
            if count > budget:
                count = budget
            if computed + count + width - 1 > lease.room:
                kept, victims = self._make_room(job, computed + count + width - 1)
                preempted = preempted or victims
                if not kept:
                    break  # it was the last one in the batch: it gave way itself
            if count == 1:
                decodes += 1
                contexts += computed + 1
            else:
                prefill.append((computed, count))
            budget -= count * width
            step.append((job, count))
        if not preempted:
            self._admit(at_s, budget, step, prefill)
        if not step:
            self._idle_since_s = at_s
            return
        self.counters.steps += 1
        self._step = step
        more = () if self._speculation is None else (self._speculation,)
        self._step_end_s = at_s + self._profile.step_s(prefill, contexts, decodes, *more)

    def _has_prompts(self, at_s: float) -> bool:
        """Whether there is prompt work that a step starting now could do."""
        if any(job.prompt_tokens + job.generated - job.computed > 1 or not job.generated for job in self._running):
            return True
        if not self._waiting or self._waiting[0].ready_s > at_s or len(self._running) >= self._max_seqs:
            return False
        job = self._waiting[0]
        lease = self._try_open(job, job.prompt_tokens + job.generated)
        if lease is None:
            return False
        self._cache.close(lease, 0)
        return True

    def _try_open(self, job: Job, known: int) -> Lease | None:
        """Memory for all that is known of a job, if that leaves room for the next tokens of those that run."""
        cache = self._cache
        lease = cache.open(job.sequence, known)
        if cache.grow(lease, known) and cache.capacity - cache.held() >= _RESERVE_TOKENS * len(self._running):
            return lease
        cache.close(lease, 0)
        return None

    def _make_room(self, job: Job, tokens: int) -> tuple[bool, bool]:
        """(the job has room now, somebody was preempted): preempts from the end of the batch until it fits."""
        preempted = False
        while not self._cache.grow(job.lease, tokens):
            victim = self._running.pop()
            self._close(victim)
            victim.computed = 0
            self._waiting.appendleft(victim)
            self.counters.preemptions += 1
            preempted = True
            if victim is job:
                return False, True
        return True, preempted

    def _admit(self, at_s: float, budget: int, step: list[tuple[Job, int]], prefill: list[tuple[int, int]]) -> None:
        """Takes jobs from the queue in order, while there is budget, a free place and memory for the whole prompt."""
        while self._waiting and len(self._running) < self._max_seqs and budget > 0:
            job = self._waiting[0]
            if job.ready_s > at_s:
                return
            known = job.prompt_tokens + job.generated
            if self._whole_prompts and prefill and known + sum(n for _, n in prefill) > self._max_tokens:
                return
            lease = self._try_open(job, known)
            if lease is None:
                return
            self._waiting.popleft()
            self._running.append(job)
            job.lease = lease
            job.computed = lease.cached
            if job.admitted_s is None:
                job.admitted_s = at_s
                job.cached_tokens = lease.cached
                self.counters.prompt_tokens += job.prompt_tokens
                self.counters.prefix_query_tokens += job.prompt_tokens
                self.counters.prefix_hit_tokens += lease.cached
            count = min(known - job.computed, budget)
            if self._cache.commits_early:
                self._cache.commit(lease, job.computed + count)
            prefill.append((job.computed, count))
            budget -= count
            step.append((job, count))

    def _finish_step(self, at_s: float) -> None:
        emit_s, begin_s, emitted = self._profile.emit_s, max(self._emitted_s, at_s), 0
        interval, speculation, generated = self._interval, self._speculation, 0
        plain = speculation is None and interval == 1
        finished = False
        for job, count in self._step:
            if job.cancelled or job.lease is None:
                continue
            job.computed += count
            if count > 1:
                self._cache.commit(job.lease, job.computed)
            if job.computed < job.prompt_tokens + job.generated:
                continue
            tokens = 1
            if speculation is not None and job.generated:
                tokens += self._accepted(job)
                job.computed += tokens - 1
            job.generated += tokens
            generated += tokens
            if job.generated == job.output_tokens:
                job.finished = finished = True
                self._close(job)
            if not plain:
                job.held += tokens
                if not (job.finished or job.generated == job.held or job.held >= interval):
                    continue
                tokens, job.held = job.held, 0
            # the API server hands events out one after another, while the next step already runs
            emitted += 1
            if job.times is None:
                self._pending.append((begin_s + emitted * emit_s, job, tokens))
                continue
            job.times.append(begin_s + emitted * emit_s)
            if not plain:
                job.counts.append(tokens)
            if job.finished:
                self._ended.append(job)
        self.counters.generation_tokens += generated
        if finished:
            self._running = [job for job in self._running if not job.finished]
        self._emitted_s = begin_s + emitted * emit_s
        self._step = []

    def _accepted(self, job: Job) -> int:
        """How many drafted tokens of a step are right; never more than the job still wants."""
        speculation, accepted = present(self._speculation), 0
        job.luck = job.luck or random.Random(zlib.crc32(job.sequence))
        while accepted < speculation.tokens and job.luck.random() < speculation.acceptance:
            accepted += 1
        self.counters.drafts += 1
        self.counters.draft_tokens += speculation.tokens
        self.counters.accepted_tokens += accepted
        at = self.counters.accepted_at = self.counters.accepted_at or [0] * speculation.tokens
        for place in range(accepted):
            at[place] += 1
        return min(accepted, job.output_tokens - job.generated - 1)

    def _decode_on(self, until_s: float) -> None:
        """Many steps at once, with the same outcome as one by one: while all that happens is that every job of the
        batch decodes, none finishes, nobody new can enter, and the memory is there."""
        step, size = self._step, len(self._step)
        if self._speculation is not None or self._interval > 1:
            return
        if self._step_end_s is None or not size or size != len(self._running) or size > self._max_tokens:
            return
        if step[-1][1] != 1:  # who has just entered stands last: the usual reason, seen at once
            return
        contexts, fewest_left = size, _NO_LIMIT
        for job, count in step:
            if count != 1 or not job.generated:
                return
            contexts += job.computed
            if (left := job.output_tokens - job.generated) < fewest_left:
                fewest_left = left
        free = self._cache.capacity - self._cache.held()
        steps = min(fewest_left - 1, free // size - _ROUNDING_TOKENS)
        if self._waiting:
            until_s = min(until_s, math.nextafter(self._waiting[0].ready_s, -math.inf))
        end_s, emitted_s, emit_s, step_s = self._step_end_s, self._emitted_s, self._profile.emit_s, self._profile.step_s
        begins: list[float] = []
        emitting_s, done = size * emit_s, 0
        while done < steps and end_s <= until_s:
            begin_s = emitted_s if emitted_s > end_s else end_s
            begins.append(begin_s)
            emitted_s = begin_s + emitting_s
            contexts += size
            done += 1
            end_s += step_s((), contexts, size)
        if not done:
            return
        for place, (job, _) in enumerate(step, start=1):
            job.computed += done
            job.generated += done
            after_s = place * emit_s
            present(job.times).extend([begin_s + after_s for begin_s in begins])
            if job.computed >= job.lease.room:
                self._cache.grow(job.lease, job.computed + 1)
        self._step_end_s, self._emitted_s = end_s, emitted_s
        self.counters.steps += done
        self.counters.generation_tokens += done * size

    def _close(self, job: Job) -> None:
        self._cache.close(job.lease, job.computed)
        job.lease = None
