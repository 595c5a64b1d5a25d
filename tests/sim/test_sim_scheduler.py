"""Continuous batching in model time: no clock, no server."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from tokenswarm.sim.block_cache import BlockCache
from tokenswarm.sim.flat import FlatEngine
from tokenswarm.sim.hardware import EngineProfile, SpeculationModel, load_profile
from tokenswarm.sim.jobs import EngineLimits, Job
from tokenswarm.sim.radix_cache import RadixCache
from tokenswarm.sim.scheduler import BatchEngine

NO_LIMIT = 1 << 30


class Recorder:
    """A profile whose steps last a second for each token computed, and which notes what each step held."""

    request_overhead_s = 0.0
    emit_s = 0.0

    def __init__(self) -> None:
        self.steps: list[tuple[list[tuple[int, int]], int]] = []

    def step_s(self, prefill, decode_contexts, decodes, speculation=None):
        self.steps.append((list(prefill), decodes))
        return float(sum(length for _, length in prefill) + decodes)


def engine(policy="mixed", cache=None, **limits):
    """A batch engine on a recorder: (engine, recorder, cache)."""
    settings = EngineLimits(kv_tokens=limits.pop("kv_tokens", 10_000), **limits)
    cache = cache or BlockCache(settings.kv_tokens, settings.block_size)
    recorder = Recorder()
    return BatchEngine(recorder, settings, cache, policy), recorder, cache


def job(name: str, prompt: int, output: int, text: bytes | None = None) -> Job:
    """A job whose text is its own, or the given one."""
    rng = random.Random(name)
    data = text if text is not None else rng.randbytes(4 * prompt)
    return Job(name, data + rng.randbytes(4 * output), prompt, output)


def drain(model, until_s: float = 1e9) -> list[tuple[float, str]]:
    """Everything that happens by a time: (seconds, job)."""
    return [(at_s, done.request_id) for at_s, done, _ in model.advance(until_s, NO_LIMIT)]


def test_one_job_is_computed_and_then_decodes_step_by_step():
    model, recorder, _ = engine()
    model.submit(job("a", prompt=10, output=3), 5.0)
    assert drain(model) == [(15.0, "a"), (16.0, "a"), (17.0, "a")]
    assert recorder.steps == [([(0, 10)], 0), ([], 1), ([], 1)]
    assert model.next_s() is None


def test_a_long_prompt_is_cut_into_chunks_of_the_token_budget():
    model, recorder, _ = engine(max_batched_tokens=4)
    model.submit(job("a", prompt=10, output=1), 0.0)
    assert drain(model) == [(10.0, "a")]
    assert recorder.steps == [([(0, 4)], 0), ([(4, 4)], 0), ([(8, 2)], 0)]


def test_no_step_computes_more_than_the_budget():
    model, recorder, _ = engine(max_batched_tokens=16, max_num_seqs=12)
    rng = random.Random(1)
    for number in range(60):
        model.submit(job(str(number), rng.randint(1, 80), rng.randint(1, 20)), number * 7.0)
    drain(model)
    sizes = [sum(length for _, length in prefill) + decodes for prefill, decodes in recorder.steps]
    assert max(sizes) == 16
    assert max(decodes + len(prefill) for prefill, decodes in recorder.steps) <= 12


def test_whole_prompts_may_exceed_the_budget_but_come_one_at_a_time():
    model, recorder, _ = engine(max_batched_tokens=4, chunked_prefill=False)
    for name in "ab":
        model.submit(job(name, prompt=10, output=1), 0.0)
    drain(model)
    assert recorder.steps == [([(0, 10)], 0), ([(0, 10)], 0)]


def test_mixed_steps_decode_while_a_prompt_is_computed():
    model, recorder, _ = engine(max_batched_tokens=4)
    model.submit(job("a", prompt=2, output=5), 0.0)
    model.submit(job("b", prompt=6, output=1), 1.0)
    drain(model)
    assert recorder.steps[1] == ([(0, 3)], 1)


def test_prefill_first_steps_do_not_decode_while_a_prompt_waits():
    model, recorder, _ = engine("prefill-first", RadixCache(10_000), max_batched_tokens=4)
    model.submit(job("a", prompt=2, output=5), 0.0)
    model.submit(job("b", prompt=6, output=1), 1.0)
    drain(model)
    assert recorder.steps[:3] == [([(0, 2)], 0), ([(0, 4)], 0), ([(4, 2)], 0)]
    assert all(not (prefill and decodes) for prefill, decodes in recorder.steps)


def test_a_job_that_arrives_during_a_step_waits_for_its_end():
    model, _, _ = engine()
    model.submit(job("a", prompt=10, output=1), 0.0)
    model.submit(job("b", prompt=5, output=1), 3.0)
    assert drain(model) == [(10.0, "a"), (15.0, "b")]


def test_being_looked_at_late_changes_nothing():
    def run(looks: list[float]) -> list[tuple[float, str]]:
        model, _, _ = engine(max_batched_tokens=8)
        arrivals = [(number * 3.0, job(str(number), 5 + number, 4)) for number in range(8)]
        out = []
        for look in sorted({*looks, *(at for at, _ in arrivals)}):
            out += drain(model, look)
            for at, arrived in arrivals:
                if at == look:
                    model.submit(arrived, at)
        return out + drain(model)

    assert run([]) == run([number * 0.5 for number in range(400)])


def test_tokens_beyond_the_limit_of_a_call_come_with_the_next():
    model, _, _ = engine()
    for name in "abc":
        model.submit(job(name, prompt=2, output=2), 0.0)
    first = model.advance(100.0, 4)
    rest = model.advance(100.0, 4)
    assert len(first) == 4 and len(rest) == 2
    assert [at for at, _, _ in first + rest] == sorted(at for at, _, _ in first + rest)


def test_a_full_batch_makes_others_wait_in_order():
    model, _, _ = engine(max_num_seqs=1)
    for name in "abc":
        model.submit(job(name, prompt=1, output=2), 0.0)
    assert drain(model, 1.0) == [(1.0, "a")]
    assert (model.running(), model.waiting()) == (1, 2)
    assert [name for _, name in drain(model)] == ["a", "b", "b", "c", "c"]


@pytest.mark.parametrize(("policy", "kind"), [("mixed", "block"), ("prefill-first", "radix")])
def test_memory_is_never_exceeded_and_every_job_gets_all_of_its_tokens(policy, kind):
    cache = BlockCache(160, 4) if kind == "block" else RadixCache(160)
    model, _, cache = engine(policy, cache, kv_tokens=160, block_size=4, max_batched_tokens=32)
    rng = random.Random(2)
    jobs = [job(str(number), rng.randint(1, 60), rng.randint(1, 90)) for number in range(40)]
    for number, each in enumerate(jobs):
        model.submit(each, number * 20.0)
    got: dict[str, int] = {}
    while (now := model.next_s()) is not None:
        for _, name in drain(model, now):
            got[name] = got.get(name, 0) + 1
        assert 0 <= cache.held() <= cache.capacity
    assert got == {each.request_id: each.output_tokens for each in jobs}
    assert model.counters.preemptions > 0
    assert model.counters.generation_tokens == sum(got.values())
    assert model.kv_usage() == 0.0


def test_a_preempted_job_goes_on_where_it_was_after_being_computed_again():
    cache = RadixCache(60, enabled=False)
    model, recorder, _ = engine(cache=cache, kv_tokens=60)
    model.submit(job("old", prompt=10, output=45), 0.0)
    model.submit(job("young", prompt=10, output=35), 0.0)
    tokens = drain(model)
    assert model.counters.preemptions >= 1
    assert [name for _, name in tokens].count("young") == 35
    # what it had (10 of the prompt and some of the answer) is computed in one go when it comes back
    assert any(length > 10 for prefill, _ in recorder.steps for _, length in prefill)
    assert model.counters.prompt_tokens == 20


@pytest.mark.parametrize(("kind", "cached"), [("block", 32), ("radix", 39)])
def test_a_prompt_that_was_seen_is_computed_only_from_where_it_differs(kind, cached):
    cache = BlockCache(1000, 16) if kind == "block" else RadixCache(1000)
    model, recorder, _ = engine(cache=cache)
    text = random.Random(0).randbytes(160)
    for at_s in (0.0, 100.0):
        asked = job(f"at {at_s}", 40, 1, text)
        model.submit(asked, at_s)
        drain(model, at_s + 50)
    assert asked.cached_tokens == cached
    assert recorder.steps[1] == (([(cached, 40 - cached)], 0) if cached < 39 else ([(39, 1)], 0))
    assert (model.counters.prefix_query_tokens, model.counters.prefix_hit_tokens) == (80, cached)


def test_an_answer_can_be_found_as_part_of_the_next_prompt():
    model, _, _ = engine(cache=RadixCache(1000))
    first = job("first", 20, 10)
    model.submit(first, 0.0)
    drain(model)
    second = job("second", 40, 1, first.sequence + b"next" * 10)
    model.submit(second, 100.0)
    drain(model)
    assert second.cached_tokens == 29  # the last token of an answer is never computed


def test_a_cancelled_job_frees_its_memory_and_place_at_once():
    model, _, cache = engine(max_num_seqs=1)
    jobs = [job(name, prompt=20, output=50) for name in "abc"]
    for each in jobs:
        model.submit(each, 0.0)
    drain(model, 25.0)
    model.cancel(jobs[0])
    model.cancel(jobs[1])
    assert cache.held() == 0
    assert {name for _, name in drain(model)} == {"c"}


def test_the_cache_cannot_be_flushed_while_jobs_are_in_the_engine():
    model, _, _ = engine()
    model.submit(job("a", prompt=10, output=1), 0.0)
    assert not model.flush()
    drain(model)
    assert model.flush()


def test_tokens_of_one_step_are_handed_out_one_after_another():
    recorder = Recorder()
    recorder.emit_s = 0.25
    model = BatchEngine(recorder, EngineLimits(kv_tokens=1000), BlockCache(1000, 16), "mixed")
    for name in "abc":
        model.submit(job(name, prompt=1, output=1), 0.0)
    assert drain(model) == [(3.25, "a"), (3.5, "b"), (3.75, "c")]


def test_the_first_token_of_a_lone_request_comes_after_overhead_prefill_and_emission():
    profile = EngineProfile(
        name="p", title="p", kind="roofline", context_length=100, kv_tokens=100, memory_bandwidth=100.0,
        compute=1e9, weight_bytes=200.0, parameters=1.0, step_overhead_s=0.5, request_overhead_s=0.25, emit_s=0.125,
    )  # fmt: skip
    model = BatchEngine(profile, EngineLimits(kv_tokens=100), BlockCache(100, 16), "mixed")
    model.submit(job("a", prompt=10, output=2), 1.0)
    # 200 B / 100 B/s + 0.5 s = 2.5 s a step
    times = [at for at, _ in drain(model)]
    assert times == pytest.approx([1.0 + 0.25 + 2.5 + 0.125, 1.0 + 0.25 + 5.0 + 0.125])


def test_decode_slows_down_as_the_batch_grows():
    profile = EngineProfile(
        name="p", title="p", kind="roofline", context_length=10_000, kv_tokens=100_000, memory_bandwidth=1e6,
        compute=1e12, weight_bytes=1e3, parameters=1.0, kv_bytes_per_token=10.0,
    )  # fmt: skip

    def gap_s(jobs: int) -> float:
        model = BatchEngine(replace(profile), EngineLimits(kv_tokens=100_000), BlockCache(100_000, 16), "mixed")
        for number in range(jobs):
            model.submit(job(str(number), 100, 10), 0.0)
        times = sorted({at for at, _ in drain(model)})
        return times[-1] - times[-2]

    assert gap_s(1) < gap_s(8) < gap_s(32)


def test_the_flat_engine_keeps_its_two_numbers_whatever_the_load():
    model = FlatEngine(ttft_s=0.1, gap_s=0.01)
    for number in range(200):
        model.submit(job(str(number), 10, 5), number * 0.001)
    tokens = drain(model)
    assert len(tokens) == 1000
    for name in ("0", "57", "199"):
        times = [at for at, who in tokens if who == name]
        assert times == pytest.approx([int(name) * 0.001 + 0.1 + k * 0.01 for k in range(5)])
    assert tokens == sorted(tokens, key=lambda token: token[0])


def test_a_job_cancelled_in_the_flat_engine_gets_no_more_tokens():
    model = FlatEngine(0.1, 0.1)
    stays, goes = job("stays", 1, 3), job("goes", 1, 3)
    model.submit(goes, 0.0)
    model.submit(stays, 0.0)
    drain(model, 0.15)
    model.cancel(goes)
    assert {name for _, name in drain(model)} == {"stays"}
    assert model.running() == 0


# ---- levers


def times_of(model, jobs: list[Job], at_s: float = 0.0) -> dict[str, list[float]]:
    """When the events of each job leave, by `compute`."""
    for one in jobs:
        one.times = []
        model.submit(one, at_s)
    while model.next_step_s() is not None:
        model.compute(1e9)
    return {one.request_id: one.times for one in jobs}


@pytest.mark.parametrize("policy", ["mixed", "prefill-first"])
@pytest.mark.parametrize("kv_tokens", [600, 20_000])
def test_many_steps_at_once_give_the_times_of_one_by_one(policy, kv_tokens):
    """Also where memory runs out, jobs are preempted, and jobs arrive in the middle."""
    profile = replace(load_profile("h100-8b"), emit_s=1e-5)

    def build():
        settings = EngineLimits(kv_tokens=kv_tokens, max_num_seqs=8, max_batched_tokens=256)
        cache = BlockCache(kv_tokens, 16) if policy == "mixed" else RadixCache(kv_tokens)
        rng = random.Random(5)
        jobs = [job(f"j{n}", prompt=rng.randrange(5, 200), output=rng.randrange(1, 120)) for n in range(30)]
        return BatchEngine(profile, settings, cache, policy), jobs, [0.03 * n for n in range(30)]

    model, jobs, arrivals = build()
    slow: dict[str, list[float]] = {}
    for one, at_s in zip(jobs, arrivals, strict=True):
        for left_s, done, _ in model.advance(at_s, NO_LIMIT):
            slow.setdefault(done.request_id, []).append(left_s)
        model.submit(one, at_s)
    for left_s, done, _ in model.advance(1e9, NO_LIMIT):
        slow.setdefault(done.request_id, []).append(left_s)
    fast, jobs, arrivals = build()
    for one, at_s in zip(jobs, arrivals, strict=True):
        while fast.compute(at_s):
            pass
        one.times = []
        fast.submit(one, at_s)
    while fast.next_step_s() is not None:
        fast.compute(1e9)
    assert {one.request_id: one.times for one in jobs} == {name: pytest.approx(times) for name, times in slow.items()}
    assert fast.counters == model.counters


def test_speculation_gives_the_tokens_of_its_acceptance_and_asks_its_price():
    profile = load_profile("h100-8b")
    plain, drafted = (
        BatchEngine(profile, EngineLimits(kv_tokens=100_000, speculation=each), BlockCache(100_000, 16), "mixed")
        for each in (None, SpeculationModel(3, 0.7, 0.05))
    )
    one_by_one, several = (times_of(each, [job("a", 100, 2000)])["a"] for each in (plain, drafted))
    counters = drafted.counters
    mean = 1 + counters.accepted_tokens / counters.drafts
    assert mean == pytest.approx(SpeculationModel(3, 0.7, 0.05).mean_tokens, rel=0.05)
    assert counters.generation_tokens == 2000 and len(several) == pytest.approx(2000 / mean, rel=0.02)
    speedup = (one_by_one[-1] - one_by_one[0]) / (several[-1] - several[0])
    drafting_share = 3 * 0.05 * profile.weight_bytes / (profile.memory_bandwidth * profile.bandwidth_efficiency)
    assert 1.5 < speedup < mean and drafting_share > 0


def test_which_drafts_are_right_is_the_prompt_s_own_luck():
    speculation = SpeculationModel(4, 0.6, 0.0)
    runs = [times_of(engine(speculation=speculation)[0], [job("a", 20, 200)])["a"] for _ in range(2)]
    assert runs[0] == runs[1]


def test_several_tokens_leave_in_one_event_but_the_first_alone():
    model, _, _ = engine(stream_interval=4)
    one = job("a", prompt=10, output=10)
    times_of(model, [one])
    assert one.counts == [1, 4, 4, 1] and len(one.times) == 4


def test_without_chunks_a_long_prompt_holds_up_the_answers_that_stream():
    def longest_gap(chunked: bool) -> float:
        model, _, _ = engine(max_batched_tokens=64, chunked_prefill=chunked)
        talking, long = job("talking", 5, 60), job("long", 1000, 1)
        talking.times, long.times = [], []
        model.submit(talking, 0.0)
        model.submit(long, 30.0)
        while model.next_step_s() is not None:
            model.compute(1e9)
        return max(later - earlier for earlier, later in pairwise(talking.times))

    assert longest_gap(False) > 1000 > 70 > longest_gap(True)
