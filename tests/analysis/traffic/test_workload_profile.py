"""The profile of a workload, on workloads whose figures are known."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from tokenswarm.analysis.render.profile_terminal import profile_table
from tokenswarm.analysis.traffic import prompt_blocks
from tokenswarm.analysis.traffic.columns import collect
from tokenswarm.analysis.traffic.workload_profile import profile

from tokenswarm.traces.request import TraceRequest


def _asked(*contents: str, **more) -> TraceRequest:
    return TraceRequest(messages=[{"role": "user", "content": content} for content in contents], **more)


def _timed(times: Sequence[float]):
    return profile(collect(TraceRequest(time_s=time, input_tokens=1) for time in times)).arrivals


def test_lengths_are_those_recorded():
    found = profile(collect(TraceRequest(input_tokens=n, output_tokens=2) for n in range(1, 102)))
    lengths = found.input_tokens
    assert (found.requests, lengths.mean, lengths.p50, lengths.max) == (101, 51, 51, 101)
    assert found.output_tokens.total == 202
    assert not found.estimated


def test_lengths_of_text_are_estimated_and_said_to_be():
    found = profile(collect([_asked("x" * 400, expected="y" * 80)] * 2))
    assert found.estimated
    assert found.input_tokens.mean == pytest.approx(100, abs=3)
    assert found.output_tokens.mean == 20


def test_arrivals_that_are_even_poisson_and_bursty_are_told_apart():
    rng = np.random.default_rng(1)
    even = _timed(np.arange(2000) / 4)
    poisson = _timed(np.cumsum(rng.exponential(0.25, 2000)))
    bursty = _timed(np.cumsum(rng.gamma(0.1, 2.5, 2000)))
    assert even.cv == pytest.approx(0, abs=0.01) and even.rate == pytest.approx(4)
    assert poisson.cv == pytest.approx(1, abs=0.1) and poisson.dispersion == pytest.approx(1, abs=0.2)
    assert bursty.cv > 2 and bursty.dispersion > 3


def test_the_largest_minute_is_found_wherever_it_begins():
    arrivals = _timed([0, 100, *(150 + n / 2 for n in range(100)), 400])
    assert (arrivals.largest_minute.start_s, arrivals.largest_minute.requests) == (150, 100)


def test_a_trace_out_of_order_gives_what_the_sorted_one_gives():
    requests = [
        TraceRequest(time_s=float(n % 7), input_tokens=16, hash_ids=[n % 3], block_tokens=16) for n in range(40)
    ]
    mixed, ordered = profile(collect(requests)), profile(collect(sorted(requests, key=lambda each: each.time_s)))
    assert mixed.arrivals.out_of_order > 0 and ordered.arrivals.out_of_order == 0
    assert mixed.hit_rate == ordered.hit_rate


def test_what_the_file_does_not_tell_has_a_reason():
    found = profile(collect([TraceRequest(input_tokens=5)]))
    assert found.hit_rate is None and "neither text nor block ids" in found.why["hit_rate"]
    assert found.arrivals is None and found.sessions is None
    assert set(found.why) == {"output_tokens", "arrivals", "sessions", "shared", "hit_rate"}


def test_two_sizes_of_blocks_are_not_put_together():
    found = profile(collect([TraceRequest(input_tokens=16, hash_ids=[1], block_tokens=size) for size in (16, 64)]))
    assert found.hit_rate is None
    assert "16, 64 tokens" in found.why["hit_rate"]


def test_a_fixed_context_is_told_from_what_sessions_repeat():
    system = "s" * 4000
    requests = []
    for session in range(10):
        history = [system]
        for turn in range(2):
            history.append(f"{session}-{turn} " + chr(65 + session) * 2000)
            requests.append(_asked(*history, session=f"s{session}", turn=turn + 1))
    found = profile(collect(requests))
    total = 10 * (6000 + 8000)
    assert found.shared.fixed == pytest.approx(20 * 4000 / total, abs=0.01)
    # The second turn finds its first: system prompt and message.
    assert found.shared.own_session == pytest.approx(10 * 6000 / total, abs=0.01)
    assert found.hit_rate.unbounded == pytest.approx((9 * 4000 + 10 * 6000) / total, abs=0.01)
    assert found.sessions.turns.mean == 2


def test_larger_blocks_find_less_of_a_text():
    requests = [_asked("a" * 1000 + str(n) * 1000) for n in range(9)]
    rates = {point.size: point.rate for point in profile(collect(requests)).hit_rate.blocks}
    assert list(rates) == [1, 16, 64, 128]
    assert list(rates.values()) == sorted(rates.values(), reverse=True)
    assert rates[1] == pytest.approx(8 / 9 * 1000 / 2000, abs=0.01)


def test_ids_of_two_scopes_are_two_blocks():
    def requests(*scopes: str):
        return [TraceRequest(input_tokens=16, hash_ids=[1], block_tokens=16, scope=scope) for scope in scopes]

    assert profile(collect(requests("a", "b"))).hit_rate.unbounded == 0
    assert profile(collect(requests("a", "a"))).hit_rate.unbounded == 0.5


def test_much_text_is_kept_in_blocks_and_gives_the_same_rates(monkeypatch):
    rng = Random(7)
    heads = ["".join(rng.choices("abcdef", k=800)) for _ in range(3)]
    requests = [_asked(rng.choice(heads) + "".join(rng.choices("xyz", k=rng.randrange(900)))) for _ in range(200)]
    fine = profile(collect(requests)).hit_rate
    monkeypatch.setattr(prompt_blocks, "MAX_SINGLE_TOKENS", 5000)
    coarse = profile(collect(requests)).hit_rate
    assert [point.size for point in coarse.blocks] == [16, 64, 128]
    assert coarse.blocks == fine.blocks[1:]
    assert coarse.lru == fine.lru


def test_the_profile_fits_a_terminal_of_80_columns(tmp_path):
    from rich.console import Console

    requests = [
        _asked("a" * 1000 + str(n), time_s=n * 1.7, session=str(n % 5), delay_s=2.0, expected="b") for n in range(50)
    ]
    console = Console(width=80, record=True, file=(tmp_path / "out").open("w"))
    console.print(profile_table(profile(collect(requests)), "trace.jsonl"))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "hit rate" in text and "requests/s" in text


def test_where_there_are_too_many_blocks_hits_are_estimated_from_a_sample_and_said_to_be(monkeypatch):
    from rich.console import Console
    from tokenswarm.analysis.cache import sampled_curve
    from tokenswarm.analysis.render.profile_page import render_profiles

    rng, sessions, requests = Random(1), [[0, 1, 2]], []
    for number in range(4000):
        ids = [*rng.choice(sessions[-400:]), *(10 * number + block for block in range(10, 15))]
        sessions.append(ids if len(ids) < 40 else [0, 1, 2])
        requests.append(
            TraceRequest(
                time_s=number * 1.0, input_tokens=16 * len(ids), hash_ids=ids, block_tokens=16, session=str(number % 99)
            )
        )
    exact = profile(collect(requests))
    monkeypatch.setattr(prompt_blocks, "MAX_BLOCKS", 20_000)
    monkeypatch.setattr(prompt_blocks, "_AT_ONCE", 5_000)
    monkeypatch.setattr(sampled_curve.BlockSampler.__init__, "__defaults__", (25_000,))
    traffic = collect(requests)
    assert len(traffic.blocks.ids) <= 20_040, "no more than that are kept"
    found = profile(traffic)
    assert (found.requests, found.input_tokens) == (exact.requests, exact.input_tokens)
    assert exact.hit_rate.sampled is None and 0 < found.hit_rate.sampled <= 0.25
    assert [point.size for point in found.hit_rate.blocks] == [point.size for point in exact.hit_rate.blocks]
    for one, other in zip(found.hit_rate.blocks, exact.hit_rate.blocks, strict=True):
        assert one.rate == pytest.approx(other.rate, abs=0.03) and one.error is not None and other.error is None
    for point in found.hit_rate.lru:
        wanted = [each.rate for each in exact.hit_rate.lru if each.tokens <= point.tokens][-1]
        assert abs(point.rate - wanted) <= point.error + 0.01
    assert len(found.hit_rate.lru) > 3
    assert found.shared.fixed == pytest.approx(exact.shared.fixed, abs=0.05)
    console = Console(width=100, record=True)
    console.print(profile_table(found, "big.jsonl"))
    shown = " ".join(console.export_text().split())
    assert "too many blocks to look at each" in shown and "points)" in shown
    assert "too many blocks to look at each" in render_profiles([("big.jsonl", found)])
    console.print(profile_table(exact, "big.jsonl"))
    assert "too many" not in console.export_text()
